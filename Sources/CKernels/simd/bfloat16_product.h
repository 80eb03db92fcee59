// The template of products with bfloat16 operands. An including file opens the target's functions and defines
// BFLOAT16_KERNELS (the table's name), PRODUCT_VECTORS (vectors of columns that a tile of six rows keeps in registers) and
// BFLOAT16_NATIVE: 1 uses VDPBF16PS on words that hold a pair of k, the even one low; 0 keeps rounded values as fp32 and
// chains two fused multiply-adds, denormals flushed by the control register (simd/flush.h).
enum { PRODUCT_BLOCK = 256, PRODUCT_COLUMNS = 64, PRODUCT_TILE_ROWS = 6 };

/// Floats that a row of the workspace takes, or a column of the scratch: rounded values, or words of two.
#if BFLOAT16_NATIVE
#define STORED(k) (((k) + 1) / 2)
#else
#define STORED(k) (((k) + 1) / 2 * 2)
#endif

/// Rounds `count` ≤ 32 elements, `step` apart, into one stored run of STORED(count) floats.
CK_INLINE void store_run(const float *x, size_t step, size_t count, float *out) {
    if (count == 32 && step == 1) {
#if BFLOAT16_NATIVE
        v_store(out, v_pairs(v_load(x), v_load(x + LANES)));
#else
        v_store(out, v_bfloat16(v_load(x)));
        v_store(out + LANES, v_bfloat16(v_load(x + LANES)));
#endif
        return;
    }
    for (size_t i = 0; i < count; i += 2) {
        float even = ck_bfloat16(x[i * step]), odd = i + 1 < count ? ck_bfloat16(x[(i + 1) * step]) : 0.0f;
#if BFLOAT16_NATIVE
        out[i / 2] = ck_from_bits(ck_bits(even) >> 16 | ck_bits(odd));
#else
        out[i] = even;
        out[i + 1] = odd;
#endif
    }
}

/// Sixteen rows of `width` = STORED(32) floats become `width` rows of sixteen.
CK_INLINE void transpose_runs(const float *runs, float *out, size_t stride) {
    for (size_t i = 0; i < STORED(32); i += LANES) v_transpose(runs + i, STORED(32), out + i * stride, stride);
}

static void bfloat16_pack(const ck_product_args *args, size_t row, size_t rows, float *workspace) {
    size_t width = STORED(args->inputs);
    if (args->a_k == 1) {
        for (size_t m = row; m < row + rows; m++)
            for (size_t k = 0; k < args->inputs; k += 32)
                store_run(args->a + m * args->a_row + k, 1, ck_smaller(32, args->inputs - k), workspace + m * width + STORED(k));
        return;
    }
    // Elements of a k lie side by side: sixteen rows by thirty-two k at a time, turned twice.
    for (size_t m = row; m < row + rows; m += LANES) {
        size_t count = ck_smaller(LANES, row + rows - m), k = 0;
        if (count == LANES && args->a_row == 1) {
            for (; k + 32 <= args->inputs; k += 32) {
                float turned[LANES * 32];
                for (int half = 0; half < 2; half++)
                    v_transpose(args->a + m + (k + half * LANES) * args->a_k, args->a_k, turned + half * LANES, 32);
                for (size_t r = 0; r < LANES; r++) store_run(turned + r * 32, 1, 32, workspace + (m + r) * width + STORED(k));
            }
        }
        for (; k < args->inputs; k += 32)
            for (size_t r = 0; r < count; r++)
                store_run(args->a + (m + r) * args->a_row + k * args->a_k, args->a_k, ck_smaller(32, args->inputs - k),
                          workspace + (m + r) * width + STORED(k));
    }
}

/// Copies k × columns of b into [STORED(k)][64], rounded; zeros up to a multiple of sixteen columns.
static void bfloat16_gather(const ck_product_args *args, size_t k, size_t inputs, size_t column, size_t columns, float *out) {
    const float *b = args->b + k * args->b_k + column * args->b_column;
    for (size_t n = 0; n < columns; n += LANES) {
        size_t count = ck_smaller(LANES, columns - n), i = 0;
        if (args->b_column == 1) {
            for (; i < inputs; i += 2) {
                vf even = v_bfloat16(v_load_first(b + i * args->b_k + n, count));
                vf odd = i + 1 < inputs ? v_bfloat16(v_load_first(b + (i + 1) * args->b_k + n, count)) : (vf)0.0f;
#if BFLOAT16_NATIVE
                v_store(out + i / 2 * PRODUCT_COLUMNS + n, v_pair(even, odd));
#else
                v_store(out + i * PRODUCT_COLUMNS + n, even);
                v_store(out + (i + 1) * PRODUCT_COLUMNS + n, odd);
#endif
            }
            continue;
        }
        for (; i < inputs; i += 32) {
            size_t length = ck_smaller(32, inputs - i);
            float runs[LANES * 32];
            if (length < 32 || count < LANES) memset(runs, 0, sizeof runs);
            for (size_t j = 0; j < count; j++) store_run(b + i * args->b_k + (n + j) * args->b_column, args->b_k, length, runs + j * STORED(32));
            if (length == 32) {
                transpose_runs(runs, out + STORED(i) * PRODUCT_COLUMNS + n, PRODUCT_COLUMNS);
            } else {
                for (size_t s = 0; s < STORED(length); s++)
                    for (size_t j = 0; j < LANES; j++) out[(STORED(i) + s) * PRODUCT_COLUMNS + n + j] = runs[j * STORED(32) + s];
            }
        }
    }
}

/// One register tile: R rows and V vectors of columns over one block of k.
typedef struct {
    const float *a;
    size_t aRow;
    const float *b;  // [stored][64]
    size_t pairs;
    float *chain;    // [6][64]: where the block's sums go
} chain_tile;

CK_INLINE void chain_body(const int R, const int V, const chain_tile *t) {
    vf sum[PRODUCT_TILE_ROWS][PRODUCT_VECTORS];  // not [R][V]: clang would keep an array of variable length in memory
#pragma clang loop unroll(full)
    for (int r = 0; r < R; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) sum[r][v] = (vf)0.0f;
    const float *a = t->a, *b = t->b;
    for (size_t pair = t->pairs; pair > 0; pair--) {
#if BFLOAT16_NATIVE
        vf column[PRODUCT_VECTORS];
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) column[v] = v_load(b + (size_t)v * LANES);
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++) {
            __m512bh value = (__m512bh)_mm512_set1_epi32((int)ck_bits(a[(size_t)r * t->aRow]));
#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++) sum[r][v] = (vf)_mm512_dpbf16_ps((__m512)sum[r][v], value, (__m512bh)column[v]);
        }
        a += 1;
        b += PRODUCT_COLUMNS;
#else
#pragma clang loop unroll(full)
        for (int odd = 1; odd >= 0; odd--) {
            vf column[PRODUCT_VECTORS];
#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++) column[v] = v_load(b + (size_t)odd * PRODUCT_COLUMNS + (size_t)v * LANES);
#pragma clang loop unroll(full)
            for (int r = 0; r < R; r++) {
                vf value = (vf)a[(size_t)r * t->aRow + (size_t)odd];
#pragma clang loop unroll(full)
                for (int v = 0; v < V; v++) sum[r][v] = v_fma(value, column[v], sum[r][v]);
            }
        }
        a += 2;
        b += 2 * PRODUCT_COLUMNS;
#endif
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < R; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) v_store(t->chain + (size_t)r * PRODUCT_COLUMNS + (size_t)v * LANES, sum[r][v]);
}

#define CHAIN_TILE(R, V) \
    static __attribute__((noinline)) void chain_##R##_##V(const chain_tile *t) { chain_body(R, V, t); }
#if PRODUCT_VECTORS == 4
#define CHAIN_TILES(R) CHAIN_TILE(R, 1) CHAIN_TILE(R, 2) CHAIN_TILE(R, 3) CHAIN_TILE(R, 4)
#define CHAIN_NAMES(R) {chain_##R##_1, chain_##R##_2, chain_##R##_3, chain_##R##_4}
#else
#define CHAIN_TILES(R) CHAIN_TILE(R, 1)
#define CHAIN_NAMES(R) {chain_##R##_1}
#endif
CHAIN_TILES(1) CHAIN_TILES(2) CHAIN_TILES(3) CHAIN_TILES(4) CHAIN_TILES(5) CHAIN_TILES(6)

typedef void (*chain_function)(const chain_tile *);
static const chain_function chain_tiles[6][PRODUCT_VECTORS] = {CHAIN_NAMES(1), CHAIN_NAMES(2), CHAIN_NAMES(3), CHAIN_NAMES(4), CHAIN_NAMES(5), CHAIN_NAMES(6)};

#if !BFLOAT16_NATIVE
#include "flush.h"

/// The same chains by the definition, for tiles whose flushing the processor may have judged otherwise.
static void define_chains(size_t height, size_t columns, const chain_tile *t) {
    for (size_t r = 0; r < height; r++)
        for (size_t n = 0; n < columns; n++) {
            const float *a = t->a + r * t->aRow, *b = t->b + n;
            float chain = 0.0f;
            for (size_t pair = 0; pair < t->pairs; pair++) {
                chain = ck_fma_flushed(a[2 * pair + 1], b[(2 * pair + 1) * PRODUCT_COLUMNS], chain);
                chain = ck_fma_flushed(a[2 * pair], b[2 * pair * PRODUCT_COLUMNS], chain);
            }
            t->chain[r * PRODUCT_COLUMNS + n] = chain;
        }
}
#endif

/// The chains of `height` rows and all columns of the block. Denormals are flushed in here and nowhere else.
static void run_chains(size_t height, size_t vectors, chain_tile t) {
#if !BFLOAT16_NATIVE
    const chain_tile whole = t;
    flush_state before = flush_begin();
#endif
    for (size_t v = 0; v < vectors; v += PRODUCT_VECTORS) {
        chain_tiles[height - 1][ck_smaller(vectors - v, PRODUCT_VECTORS) - 1](&t);
        t.b += PRODUCT_VECTORS * LANES;
        t.chain += PRODUCT_VECTORS * LANES;
    }
#if !BFLOAT16_NATIVE
    if (flush_end(before)) define_chains(height, vectors * LANES, &whole);
#endif
}

/// out = [residual +] ([bias +] ([out +] chain)), bias and residual with the last block only.
static void add_chains(
    const ck_product_args *args, size_t row, size_t height, size_t column, size_t columns, const float *chain, bool first, bool last) {
    for (size_t r = 0; r < height; r++)
        for (size_t n = 0; n < columns; n += LANES) {
            size_t count = columns - n, index = (row + r) * args->out_stride + column + n;
            vf y = (first ? (vf)0.0f : v_load_first(args->out + index, count)) + v_load(chain + r * PRODUCT_COLUMNS + n);
            if (last && args->bias) y = y + v_load_first(args->bias + column + n, count);
            if (last && args->residual) y = v_load_first(args->residual + index, count) + y;
            v_store_first(args->out + index, y, count);
        }
}

static void bfloat16_part(
    const ck_product_args *args, const float *workspace, size_t row, size_t rows, size_t column, size_t columns, float *scratch) {
    size_t vectors = (columns + LANES - 1) / LANES, tiles = (rows + PRODUCT_TILE_ROWS - 1) / PRODUCT_TILE_ROWS, block = 0;
    size_t width = STORED(args->inputs);
    _Alignas(64) float chain[PRODUCT_TILE_ROWS * PRODUCT_COLUMNS];
    do {
        size_t inputs = ck_smaller(PRODUCT_BLOCK, args->inputs - block);
        bool first = block == 0 && !args->accumulate, last = block + inputs == args->inputs;
        bfloat16_gather(args, block, inputs, column, columns, scratch);
        size_t at = row;
        for (size_t left = tiles; left > 0; left--) {
            size_t height = (row + rows - at + left - 1) / left;
            run_chains(height, vectors, (chain_tile){workspace + at * width + STORED(block), width, scratch, (inputs + 1) / 2, chain});
            add_chains(args, at, height, column, columns, chain, first, last);
            at += height;
        }
        block += inputs;
    } while (block < args->inputs);
}

const ck_bfloat16_kernels BFLOAT16_KERNELS = {.pack = bfloat16_pack, .part = bfloat16_part};

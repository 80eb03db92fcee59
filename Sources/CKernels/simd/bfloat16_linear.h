// Products with bfloat16 weights. An including file defines BFLOAT16_LINEAR (the table's name), BFLOAT16_ROWS (most rows of a
// tile) and BFLOAT16_NATIVE: 1 uses VDPBF16PS on rows kept as pairs like the weights; 0 keeps rows as rounded floats and chains
// two fused multiply-adds on each word's halves, denormals flushed by the control register (flush.h).

static void bfloat16_linear_pack(const ck_pack_args *a, size_t begin, size_t end) {
    ck_pack_narrow(CK_BFLOAT16, a, PANEL_VECTORS * LANES, begin, end);
}

static void bfloat16_linear_prepare(const ck_linear_args *a, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *x = a->x + row * a->x_stride;
        float *out = a->prepared + row * ck_prepared_stride(a->inputs);
        size_t k = 0;
#if BFLOAT16_NATIVE
        for (; k + 2 * LANES <= a->inputs; k += 2 * LANES) v_store(out + k / 2, v_pairs(v_load(x + k), v_load(x + k + LANES)));
        for (; k < a->inputs; k += 2) {
            uint32_t odd = k + 1 < a->inputs ? ck_bits(ck_bfloat16(x[k + 1])) : 0;
            out[k / 2] = ck_from_bits(ck_bits(ck_bfloat16(x[k])) >> 16 | odd);
        }
#else
        for (; k + LANES <= a->inputs; k += LANES) v_store(out + k, v_bfloat16(v_load(x + k)));
        for (; k < a->inputs; k++) out[k] = ck_bfloat16(x[k]);
        if (k % 2) out[k] = 0.0f;
#endif
    }
}

CK_INLINE void bfloat16_tile_body(const int R, const int V, const narrow_tile *t) {
    vf sum[BFLOAT16_ROWS][4];  // not [R][V]: clang would keep an array of variable length in memory
#pragma clang loop unroll(full)
    for (int r = 0; r < R; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) sum[r][v] = (vf)0.0f;
    const float *x = t->x, *w = t->w;
    const size_t xRow = t->xRow, wK = t->wK, wV = t->wV;
    for (size_t pair = t->words; pair > 0; pair--) {
        vf column[4];
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) {
            column[v] = v_load(w + (size_t)v * wV);
            if (R <= 2) __builtin_prefetch(w + (size_t)v * wV + 1024, 0, 3);
        }
#if BFLOAT16_NATIVE
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++) {
            __m512bh value = (__m512bh)_mm512_set1_epi32((int)ck_bits(x[(size_t)r * xRow]));
#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++) sum[r][v] = (vf)_mm512_dpbf16_ps((__m512)sum[r][v], value, (__m512bh)column[v]);
        }
        x += 1;
#else
#pragma clang loop unroll(full)
        for (int odd = 1; odd >= 0; odd--) {
            vf half[4];
#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++) half[v] = odd ? v_pair_odd(column[v]) : v_pair_even(column[v]);
#pragma clang loop unroll(full)
            for (int r = 0; r < R; r++) {
                vf value = (vf)x[(size_t)r * xRow + (size_t)odd];
#pragma clang loop unroll(full)
                for (int v = 0; v < V; v++) sum[r][v] = v_fma(value, half[v], sum[r][v]);
            }
        }
        x += 2;
#endif
        w += wK;
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < R; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) v_store(t->sums + (size_t)r * SUM_STRIDE + (size_t)v * LANES, sum[r][v]);
}

#define bfloat16_tile(R, V) \
    static __attribute__((noinline)) void bfloat16_tile_##R##_##V(const narrow_tile *t) { bfloat16_tile_body(R, V, t); }
NARROW_ROW(bfloat16_tile, 1) NARROW_ROW(bfloat16_tile, 2) NARROW_ROW(bfloat16_tile, 3)
NARROW_ROW(bfloat16_tile, 4) NARROW_ROW(bfloat16_tile, 5)
#if BFLOAT16_ROWS == 6
NARROW_ROW(bfloat16_tile, 6)
#endif
static const narrow_function bfloat16_tiles[BFLOAT16_ROWS][4] = {
    NARROW_NAMES(bfloat16_tile, 1), NARROW_NAMES(bfloat16_tile, 2), NARROW_NAMES(bfloat16_tile, 3),
    NARROW_NAMES(bfloat16_tile, 4), NARROW_NAMES(bfloat16_tile, 5),
#if BFLOAT16_ROWS == 6
    NARROW_NAMES(bfloat16_tile, 6),
#endif
};

#if BFLOAT16_NATIVE
static void bfloat16_chains(narrow_tile t, size_t rows, size_t vectors) { narrow_run(bfloat16_tiles, BFLOAT16_ROWS, t, rows, vectors); }
#else
#include "flush.h"

/// The chains of one row and one vector by the definition, where the processor may have judged their flushing otherwise.
static void bfloat16_define(const narrow_tile *t) {
    for (size_t n = 0; n < LANES; n++) {
        float chain = 0.0f;
        for (size_t pair = 0; pair < t->words; pair++) {
            uint32_t word = ck_bits(t->w[pair * t->wK + n]);
            chain = ck_fma_flushed(t->x[2 * pair + 1], ck_pair_odd(word), chain);
            chain = ck_fma_flushed(t->x[2 * pair], ck_pair_even(word), chain);
        }
        t->sums[n] = chain;
    }
}

/// The chains of one block. Denormals are flushed in here and nowhere else. Where the flushing is in doubt each row, and of such
/// a row each vector, runs by itself, so that only the doubtful ones go the slow way.
static __attribute__((noinline)) void bfloat16_chains(narrow_tile t, size_t rows, size_t vectors) {
    flush_state before = flush_begin();
    narrow_run(bfloat16_tiles, BFLOAT16_ROWS, t, rows, vectors);
    if (!flush_end(before)) return;
    if (rows == 1 && vectors == 1) return bfloat16_define(&t);
    for (size_t i = 0; i < (rows > 1 ? rows : vectors); i++) {
        narrow_tile part = t;
        part.x += rows > 1 ? i * t.xRow : 0;
        part.w += rows > 1 ? 0 : i * t.wV;
        part.sums += i * (rows > 1 ? SUM_STRIDE : LANES);
        bfloat16_chains(part, 1, rows > 1 ? vectors : 1);
    }
}
#endif

/// A function of its own, so that no addition moves to where denormals are flushed.
static __attribute__((noinline)) void bfloat16_add(float *sums, const float *chains, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++)
        for (size_t n = 0; n < columns; n += LANES)
            v_store(sums + r * SUM_STRIDE + n, v_load(sums + r * SUM_STRIDE + n) + v_load(chains + r * SUM_STRIDE + n));
}

static void bfloat16_chunk(const ck_linear_args *a, size_t row, size_t rows, size_t column, size_t vectors, size_t wK, size_t wV) {
    _Alignas(64) float sums[ROW_CHUNK * SUM_STRIDE], chains[ROW_CHUNK * SUM_STRIDE];
    size_t stride = ck_prepared_stride(a->inputs);
    memset(sums, 0, rows * SUM_STRIDE * sizeof(float));
    narrow_tile t = {
        a->prepared + row * stride, stride, a->panels + column * ck_column_words(CK_BFLOAT16, a->inputs), wK, wV, 0, a->prepared, chains,
    };
    for (size_t k = 0; k < a->inputs; k += CK_BLOCK) {
        t.words = (ck_minimum_size(CK_BLOCK, a->inputs - k) + 1) / 2;
        bfloat16_chains(t, rows, vectors);
        bfloat16_add(sums, chains, rows, vectors * LANES);
        t.x += BFLOAT16_NATIVE ? t.words : 2 * t.words;
        t.w += t.words * wK;
    }
    finish(a, sums, row, rows, column, ck_minimum_size(vectors * LANES, a->outputs - column));
}

static void bfloat16_linear(const ck_linear_args *a, size_t panelBegin, size_t panelEnd, size_t rowBegin, size_t rowEnd) {
    narrow_panels(bfloat16_chunk, CK_BFLOAT16, a, panelBegin, panelEnd, rowBegin, rowEnd);
}

const ck_narrow_kernels BFLOAT16_LINEAR = {bfloat16_linear_pack, bfloat16_linear_prepare, bfloat16_linear};

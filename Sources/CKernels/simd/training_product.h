// The template of training's products. An including file opens the target's functions and defines PRODUCT_PART (the name)
// and PRODUCT_VECTORS (vectors of columns that a tile of six rows keeps in registers).

enum { PRODUCT_BLOCK = 256, PRODUCT_COLUMNS = 64, PRODUCT_TILE_ROWS = 6 };

/// One register tile: R rows and V vectors of columns over one block of k.
typedef struct {
    const float *a;
    size_t aRow, aK;
    const float *b;  // [k][64]
    size_t k;
    float *out;
    const float *residual, *bias;  // or NULL; applied with the last block
    size_t outStride, lastCount;   // columns of the tile's last vector
    bool first;                    // nothing is in `out` yet
} product_tile;

CK_INLINE void product_body(const int R, const int V, const bool across, const product_tile *t) {
    vf sum[PRODUCT_TILE_ROWS][PRODUCT_VECTORS];  // not [R][V]: clang would keep an array of variable length in memory
#pragma clang loop unroll(full)
    for (int r = 0; r < R; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) sum[r][v] = (vf)0.0f;
    const float *a = t->a, *b = t->b;
    const size_t aRow = across ? 1 : t->aRow, aK = across ? t->aK : 1;
    for (size_t k = t->k; k > 0; k--) {
        vf column[PRODUCT_VECTORS];
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) column[v] = v_load(b + (size_t)v * LANES);
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++) {
            vf value = (vf)a[(size_t)r * aRow];
#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++) sum[r][v] = v_fma(value, column[v], sum[r][v]);
        }
        a += aK;
        b += PRODUCT_COLUMNS;
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < V; v++) {
        size_t count = v == V - 1 ? t->lastCount : LANES, at = (size_t)v * LANES;
        vf bias = t->bias ? v_load_first(t->bias + at, count) : (vf)0.0f;
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++) {
            size_t index = (size_t)r * t->outStride + at;
            vf y = (t->first ? (vf)0.0f : v_load_first(t->out + index, count)) + sum[r][v];
            if (t->bias) y = y + bias;
            if (t->residual) y = v_load_first(t->residual + index, count) + y;
            v_store_first(t->out + index, y, count);
        }
    }
}

#define PRODUCT_TILE(R, V)                                                                                                     \
    static __attribute__((noinline)) void product_along_##R##_##V(const product_tile *t) { product_body(R, V, false, t); }     \
    static __attribute__((noinline)) void product_across_##R##_##V(const product_tile *t) { product_body(R, V, true, t); }
#if PRODUCT_VECTORS == 4
#define PRODUCT_TILES(R) PRODUCT_TILE(R, 1) PRODUCT_TILE(R, 2) PRODUCT_TILE(R, 3) PRODUCT_TILE(R, 4)
#define PRODUCT_NAMES(kind, R) {product_##kind##_##R##_1, product_##kind##_##R##_2, product_##kind##_##R##_3, product_##kind##_##R##_4}
#else
#define PRODUCT_TILES(R) PRODUCT_TILE(R, 1)
#define PRODUCT_NAMES(kind, R) {product_##kind##_##R##_1}
#endif
PRODUCT_TILES(1) PRODUCT_TILES(2) PRODUCT_TILES(3) PRODUCT_TILES(4) PRODUCT_TILES(5) PRODUCT_TILES(6)

typedef void (*product_function)(const product_tile *);
#define PRODUCT_TABLE(kind)                                                                                                       \
    {PRODUCT_NAMES(kind, 1), PRODUCT_NAMES(kind, 2), PRODUCT_NAMES(kind, 3), PRODUCT_NAMES(kind, 4), PRODUCT_NAMES(kind, 5), \
     PRODUCT_NAMES(kind, 6)}
static const product_function product_along[6][PRODUCT_VECTORS] = PRODUCT_TABLE(along);
static const product_function product_across[6][PRODUCT_VECTORS] = PRODUCT_TABLE(across);

/// Copies k × columns of b into [k][64], zeros up to a multiple of sixteen columns.
static void product_gather(const ck_product_args *args, size_t k, size_t inputs, size_t column, size_t columns, float *out) {
    const float *b = args->b + k * args->b_k + column * args->b_column;
    if (args->b_column == 1 && columns == PRODUCT_COLUMNS) {
        for (size_t i = 0; i < inputs; i++) {
            const float *from = b + i * args->b_k;
            for (int n = 0; n < PRODUCT_COLUMNS; n += LANES) {
                __builtin_prefetch(from + 8 * args->b_k + n, 0, 3);
                v_store(out + i * PRODUCT_COLUMNS + n, v_load(from + n));
            }
        }
        return;
    }
    for (size_t n = 0; n < columns; n += LANES) {
        size_t count = columns - n < LANES ? columns - n : LANES, i = 0;
        if (args->b_column == 1) {
            for (; i < inputs; i++) v_store(out + i * PRODUCT_COLUMNS + n, v_load_first(b + i * args->b_k + n, count));
            continue;
        }
        if (count == LANES && args->b_k == 1)
            for (; i + LANES <= inputs; i += LANES) v_transpose(b + n * args->b_column + i, args->b_column, out + i * PRODUCT_COLUMNS + n, PRODUCT_COLUMNS);
        for (; i < inputs; i++)
            for (size_t j = 0; j < LANES; j++)
                out[i * PRODUCT_COLUMNS + n + j] = j < count ? b[i * args->b_k + (n + j) * args->b_column] : 0.0f;
    }
}

void PRODUCT_PART(const ck_product_args *args, size_t row, size_t rows, size_t column, size_t columns, float *scratch) {
    const product_function(*kinds)[PRODUCT_VECTORS] = args->a_k == 1 ? product_along : product_across;
    size_t vectors = (columns + LANES - 1) / LANES, tiles = (rows + PRODUCT_TILE_ROWS - 1) / PRODUCT_TILE_ROWS, block = 0;
    do {
        size_t inputs = args->inputs - block < PRODUCT_BLOCK ? args->inputs - block : PRODUCT_BLOCK;
        bool last = block + inputs == args->inputs;
        product_gather(args, block, inputs, column, columns, scratch);
        size_t at = row;
        for (size_t left = tiles; left > 0; left--) {
            size_t height = (row + rows - at + left - 1) / left;
            for (size_t v = 0; v < vectors; v += PRODUCT_VECTORS) {
                size_t wide = vectors - v < PRODUCT_VECTORS ? vectors - v : PRODUCT_VECTORS, n = column + v * LANES;
                size_t lastCount = columns - (v + wide - 1) * LANES;
                product_tile t = {
                    args->a + at * args->a_row + block * args->a_k, args->a_row, args->a_k, scratch + v * LANES, inputs,
                    args->out + at * args->out_stride + n,
                    last && args->residual ? args->residual + at * args->out_stride + n : NULL, last && args->bias ? args->bias + n : NULL,
                    args->out_stride, lastCount < LANES ? lastCount : LANES, block == 0 && !args->accumulate,
                };
                kinds[height - 1][wide - 1](&t);
            }
            at += height;
        }
        block += inputs;
    } while (block < args->inputs);
}

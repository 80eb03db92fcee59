// The register tile behind every product: R rows times V vectors of columns, a chain of fused multiply-adds over k.
// An including file defines TILE_ROWS (most rows of a tile) and PANEL_VECTORS (vectors of a panel).

enum {
    TILE_ADD,    // c += chain from zero
    TILE_CHAIN,  // the chain continues from c and ends there
    TILE_SET,    // c = chain from zero, times `scale`
};

/// c[r·cStride + v·16 …] of x[r·xRow + k·xK] · w[k·wK + v·wV …]. Where `narrow`, w are bfloat16 numbers.
typedef struct {
    const float *x;
    size_t xRow, xK;
    const float *w;
    size_t wK, wV;
    size_t k;
    float *c;
    size_t cStride;
    float scale;
    bool narrow;
} tile_args;

/// w, `index` elements on.
CK_INLINE const float *tile_weight(const bool narrow, const float *w, size_t index) {
    return narrow ? (const float *)(const void *)((const uint16_t *)(const void *)w + index) : w + index;
}

CK_INLINE void tile_body(const int R, const int V, const int mode, const bool unitK, const bool prefetch, const bool narrow, const tile_args *t) {
    vf sum[R][V];
#pragma clang loop unroll(full)
    for (int r = 0; r < R; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) sum[r][v] = mode == TILE_CHAIN ? v_load(t->c + (size_t)r * t->cStride + (size_t)v * LANES) : (vf)0.0f;
    const float *x = t->x, *w = t->w;
    const size_t xRow = t->xRow, xK = unitK ? 1 : t->xK, wK = t->wK, wV = t->wV;
    for (size_t k = t->k; k > 0; k--) {
        vf column[V];
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) {
            const float *at = tile_weight(narrow, w, (size_t)v * wV);
            column[v] = narrow ? v_load_narrow((const uint16_t *)(const void *)at) : v_load(at);
        }
        if (prefetch)
#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++) __builtin_prefetch(w + (size_t)v * wV + 1024, 0, 3);
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++) {
            vf value = (vf)x[(size_t)r * xRow];
#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++) sum[r][v] = v_fma(value, column[v], sum[r][v]);
        }
        x += xK;
        w = tile_weight(narrow, w, wK);
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < R; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) {
            float *c = t->c + (size_t)r * t->cStride + (size_t)v * LANES;
            if (mode == TILE_ADD) v_store(c, v_load(c) + sum[r][v]);
            else v_store(c, mode == TILE_SET ? sum[r][v] * t->scale : sum[r][v]);
        }
}

#define TILE_FUNCTION(R, V)                                                                                     \
    static __attribute__((noinline)) void tile_add_##R##_##V(const tile_args *t) {                              \
        if (R <= 2) tile_body(R, V, TILE_ADD, true, true, false, t);                                            \
        else tile_body(R, V, TILE_ADD, true, false, false, t);                                                  \
    }                                                                                                           \
    static __attribute__((noinline)) void tile_across_##R##_##V(const tile_args *t) { tile_body(R, V, TILE_ADD, false, false, false, t); } \
    static __attribute__((noinline)) void tile_chain_##R##_##V(const tile_args *t) { tile_body(R, V, TILE_CHAIN, true, false, false, t); } \
    static __attribute__((noinline)) void tile_set_##R##_##V(const tile_args *t) { tile_body(R, V, TILE_SET, true, false, false, t); } \
    static __attribute__((noinline)) void tile_narrow_chain_##R##_##V(const tile_args *t) { tile_body(R, V, TILE_CHAIN, true, false, true, t); } \
    static __attribute__((noinline)) void tile_narrow_set_##R##_##V(const tile_args *t) { tile_body(R, V, TILE_SET, true, false, true, t); }
#define TILE_ROW(R) TILE_FUNCTION(R, 1) TILE_FUNCTION(R, 2) TILE_FUNCTION(R, 3) TILE_FUNCTION(R, 4)
TILE_ROW(1) TILE_ROW(2) TILE_ROW(3) TILE_ROW(4) TILE_ROW(5) TILE_ROW(6)

typedef void (*tile_function)(const tile_args *);
#define TILE_NAMES(kind, R) {tile_##kind##_##R##_1, tile_##kind##_##R##_2, tile_##kind##_##R##_3, tile_##kind##_##R##_4}
#define TILE_TABLE(kind) \
    {TILE_NAMES(kind, 1), TILE_NAMES(kind, 2), TILE_NAMES(kind, 3), TILE_NAMES(kind, 4), TILE_NAMES(kind, 5), TILE_NAMES(kind, 6)}
static const tile_function tile_add[6][4] = TILE_TABLE(add), tile_across[6][4] = TILE_TABLE(across);
static const tile_function tile_chain[6][4] = TILE_TABLE(chain), tile_set[6][4] = TILE_TABLE(set);
static const tile_function tile_narrow_chain[6][4] = TILE_TABLE(narrow_chain), tile_narrow_set[6][4] = TILE_TABLE(narrow_set);

/// Most vectors that tiles of `rows` rows keep in registers.
CK_INLINE size_t tile_vectors(size_t rows) {
#if TILE_REGISTERS >= 24
    return 4;
#else
    return rows == 1 ? 4 : rows == 2 ? 2 : 1;
#endif
}

/// `rows` rows and `vectors` vectors of columns in tiles, rows shared out evenly (8 = 4 + 4).
CK_INLINE void tile_run(const tile_function kinds[6][4], tile_args t, size_t rows, size_t vectors) {
    size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (; tiles > 0; tiles--) {
        size_t r = (rows + tiles - 1) / tiles, most = tile_vectors(r);
        tile_args part = t;
        for (size_t v = 0; v < vectors; v += most) {
            kinds[r - 1][ck_minimum_size(most, vectors - v) - 1](&part);
            part.w = tile_weight(t.narrow, part.w, most * t.wV);
            part.c += most * LANES;
        }
        t.x += r * t.xRow;
        t.c += r * t.cStride;
        rows -= r;
    }
}

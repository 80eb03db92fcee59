// Products with int8 weights. An including file defines INT8_LINEAR (the table's name), INT8_ROWS (most rows of a tile) and
// INT8_DOT: how four products meet in a lane,
//   DOT_NATIVE: VPDPBUSD on bytes; a row's numbers in quads like the weights;
//   DOT_PAIRS:  VPMADDWD on 16 bits, which cannot saturate as VPMADDUBSW does; a row's quad is two words, numbers 0 and 2, 1 and 3;
//   DOT_LANES:  products of 32 bits in plain lanes; quads.
// Weights are bytes q + 128: their products are 128·Σ q_x too large, which is where a group's sum begins.

/// Words of a row's quad.
enum { QUAD_WORDS = INT8_DOT == DOT_PAIRS ? 2 : 1 };

static void int8_linear_pack(const ck_pack_args *a, size_t begin, size_t end) { ck_pack_narrow(CK_INT8, a, PANEL_VECTORS * LANES, begin, end); }

/// ck_int8 in sixteen lanes.
CK_INLINE vi v_int8(vf x, vf scale) {
    vf q = x / scale;
    q = v_select(q == q, q, (vf)0.0f);
    q = v_select(q < (vf)127.0f, q, (vf)127.0f);
    q = v_select(q > (vf)-127.0f, q, (vf)-127.0f);
    return __builtin_bit_cast(vi, v_bits(q + 0x1.8p23f) - ck_bits(0x1.8p23f));
}

typedef signed char v_bytes __attribute__((ext_vector_type(16), aligned(1), may_alias));
typedef int32_t v_half __attribute__((ext_vector_type(8), aligned(4), may_alias));

CK_INLINE void store_quads(float *out, vi q) {
#if INT8_DOT == DOT_PAIRS
    vu u = __builtin_bit_cast(vu, q);
    v_half low = __builtin_bit_cast(v_half, __builtin_shufflevector(u, u, 0, 1, 4, 5, 8, 9, 12, 13));
    v_half high = __builtin_bit_cast(v_half, __builtin_shufflevector(u, u, 2, 3, 6, 7, 10, 11, 14, 15));
    *(v_half *)out = (low & 0xffff) | (high << 16);
#else
    *(v_bytes *)out = __builtin_convertvector(q, v_bytes);
#endif
}

/// The scale; for each group where its sum begins; then quads, zeros beyond K.
static void int8_linear_prepare(const ck_linear_args *a, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *x = a->x + row * a->x_stride;
        float *out = a->prepared + row * ck_prepared_stride(a->inputs), *quads = out + 1 + ck_groups(a->inputs);
        vu most = (vu)0u;
        for (size_t k = 0; k < a->inputs; k += LANES) {
            vu bits = v_bits(v_load_first(x + k, a->inputs - k)) & 0x7fffffffu;
            most = bits > most ? bits : most;
        }
        uint32_t largest = 0;
        for (int i = 0; i < LANES; i++) largest = most[i] > largest ? most[i] : largest;
        out[0] = ck_int8_scale(largest);
        for (size_t k = 0; k < a->inputs; k += CK_GROUP) {
            size_t end = ck_smaller(k + CK_GROUP, a->inputs);
            vi sum = (vi)0;
            for (size_t i = k; i < end; i += LANES) {
                vi q = v_int8(v_load_first(x + i, end - i), (vf)out[0]);
                sum = sum + q;
                if (end - i >= LANES) {
                    store_quads(quads + i / 4 * QUAD_WORDS, q);
                } else {
                    float words[LANES / 2];
                    store_quads(words, q);
                    memcpy(quads + i / 4 * QUAD_WORDS, words, (end - i + 3) / 4 * QUAD_WORDS * sizeof(float));
                }
            }
            int32_t total = 0;
            for (int i = 0; i < LANES; i++) total += sum[i];
            out[1 + k / CK_GROUP] = ck_from_bits((uint32_t)(-128 * total));
        }
    }
}

/// A word of weights made ready once for all rows of a tile.
typedef struct {
    vi even, odd;  // DOT_NATIVE: the word itself, and nothing
} dot_column;

CK_INLINE dot_column dot_ready(const float *w) {
    vu word = v_bits(v_load(w));
#if INT8_DOT == DOT_PAIRS
    return (dot_column){__builtin_bit_cast(vi, word & 0x00ff00ffu), __builtin_bit_cast(vi, word >> 8 & 0x00ff00ffu)};
#else
    return (dot_column){__builtin_bit_cast(vi, word), (vi)0};
#endif
}

#if INT8_DOT == DOT_PAIRS
CK_INLINE vi v_madd(vi a, vi b) {
#if PANEL_VECTORS == 1
    v_half low = (v_half)_mm256_madd_epi16((__m256i)a.lo, (__m256i)b.lo), high = (v_half)_mm256_madd_epi16((__m256i)a.hi, (__m256i)b.hi);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    return (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#endif
}
#endif

/// sum + the four products with the quad at x.
CK_INLINE vi dot(vi sum, dot_column w, const float *x) {
    int32_t quad = (int32_t)ck_bits(x[0]);
#if INT8_DOT == DOT_NATIVE
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w.even, _mm512_set1_epi32(quad));
#elif INT8_DOT == DOT_PAIRS
    sum = sum + v_madd(w.even, (vi)quad);
    return sum + v_madd(w.odd, (vi)(int32_t)ck_bits(x[1]));
#else
#pragma clang loop unroll(full)
    for (int i = 0; i < 32; i += 8) sum = sum + (w.even >> i & 0xff) * (vi)(int32_t)(int8_t)(quad >> i);
    return sum;
#endif
}

/// sums = fma(dot of the group, the group's scale, sums).
CK_INLINE void int8_tile_body(const int R, const int V, const narrow_tile *t) {
    vi sum[INT8_ROWS][4];
#pragma clang loop unroll(full)
    for (int r = 0; r < R; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) sum[r][v] = (vi)(int32_t)ck_bits(t->start[(size_t)r * t->xRow]);
    const float *x = t->x, *w = t->w;
    const size_t xRow = t->xRow, wK = t->wK, wV = t->wV;
    for (size_t quad = t->words; quad > 0; quad--) {
        dot_column column[4];
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) {
            column[v] = dot_ready(w + (size_t)v * wV);
            if (R <= 2) __builtin_prefetch(w + (size_t)v * wV + 1024, 0, 3);
        }
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++)
#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++) sum[r][v] = dot(sum[r][v], column[v], x + (size_t)r * xRow);
        x += QUAD_WORDS;
        w += wK;
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < V; v++) {
        vf scale = v_load(w + (size_t)v * wV);
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++) {
            float *c = t->sums + (size_t)r * SUM_STRIDE + (size_t)v * LANES;
            v_store(c, v_fma(__builtin_convertvector(sum[r][v], vf), scale, v_load(c)));
        }
    }
}

#define int8_tile(R, V) \
    static __attribute__((noinline)) void int8_tile_##R##_##V(const narrow_tile *t) { int8_tile_body(R, V, t); }
NARROW_ROW(int8_tile, 1) NARROW_ROW(int8_tile, 2) NARROW_ROW(int8_tile, 3) NARROW_ROW(int8_tile, 4)
#if INT8_ROWS == 6
NARROW_ROW(int8_tile, 5) NARROW_ROW(int8_tile, 6)
#endif
static const narrow_function int8_tiles[INT8_ROWS][4] = {
    NARROW_NAMES(int8_tile, 1), NARROW_NAMES(int8_tile, 2), NARROW_NAMES(int8_tile, 3), NARROW_NAMES(int8_tile, 4),
#if INT8_ROWS == 6
    NARROW_NAMES(int8_tile, 5), NARROW_NAMES(int8_tile, 6),
#endif
};

static void int8_chunk(const ck_linear_args *a, size_t row, size_t rows, size_t column, size_t vectors, size_t wK, size_t wV) {
    _Alignas(64) float sums[ROW_CHUNK * SUM_STRIDE];
    size_t stride = ck_prepared_stride(a->inputs);
    const float *prepared = a->prepared + row * stride;
    memset(sums, 0, rows * SUM_STRIDE * sizeof(float));
    narrow_tile t = {
        prepared + 1 + ck_groups(a->inputs), stride, a->panels + column * ck_column_words(CK_INT8, a->inputs), wK, wV, 0, prepared + 1, sums,
    };
    for (size_t k = 0; k < a->inputs; k += CK_GROUP) {
        t.words = (ck_minimum_size(CK_GROUP, a->inputs - k) + 3) / 4;
        narrow_run(int8_tiles, INT8_ROWS, t, rows, vectors);
        t.x += t.words * QUAD_WORDS;
        t.start += 1;
        t.w += (t.words + 1) * wK;
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t n = 0; n < vectors * LANES; n += LANES) v_store(sums + r * SUM_STRIDE + n, v_load(sums + r * SUM_STRIDE + n) * prepared[r * stride]);
    finish(a, sums, row, rows, column, ck_minimum_size(vectors * LANES, a->outputs - column));
}

static void int8_linear(const ck_linear_args *a, size_t panelBegin, size_t panelEnd, size_t rowBegin, size_t rowEnd) {
    narrow_panels(int8_chunk, CK_INT8, a, panelBegin, panelEnd, rowBegin, rowEnd);
}

const ck_narrow_kernels INT8_LINEAR = {int8_linear_pack, int8_linear_prepare, int8_linear};

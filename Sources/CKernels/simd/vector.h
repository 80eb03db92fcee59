// Sixteen virtual lanes in clang's vector extensions: one zmm, two ymm or four NEON registers.
#include <string.h>

typedef float vf __attribute__((ext_vector_type(16)));
typedef float vf_unaligned __attribute__((ext_vector_type(16), aligned(4), may_alias));
typedef int32_t vi __attribute__((ext_vector_type(16)));
typedef uint32_t vu __attribute__((ext_vector_type(16)));
typedef uint16_t vn_unaligned __attribute__((ext_vector_type(16), aligned(2), may_alias));
typedef uint64_t vu64 __attribute__((ext_vector_type(8)));

enum { LANES = 16 };

CK_INLINE vf v_load(const float *p) { return *(const vf_unaligned *)p; }
CK_INLINE void v_store(float *p, vf v) { *(vf_unaligned *)p = v; }
/// Sixteen bfloat16 numbers.
CK_INLINE vf v_load_narrow(const uint16_t *p) { return __builtin_bit_cast(vf, __builtin_convertvector(*(const vn_unaligned *)p, vu) << 16); }
CK_INLINE vf v_splat(float x) { return (vf)x; }
CK_INLINE vf v_fma(vf a, vf b, vf c) { return __builtin_elementwise_fma(a, b, c); }
CK_INLINE vf v_select(vi mask, vf a, vf b) { return mask ? a : b; }
CK_INLINE vi v_lane(void) { return (vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

/// Lanes from ..< to (which may lie outside 0 … 16).
CK_INLINE vi v_between(int from, int to) { return (v_lane() >= (vi)from) & (v_lane() < (vi)to); }

/// The first `count` elements, zeros beyond; nothing beyond is read.
CK_INLINE vf v_load_first(const float *p, size_t count) {
    if (count >= LANES) return v_load(p);
    float lanes[LANES] = {0};
    for (size_t i = 0; i < count; i++) lanes[i] = p[i];
    return v_load(lanes);
}

CK_INLINE void v_store_first(float *p, vf v, size_t count) {
    if (count >= LANES) {
        v_store(p, v);
        return;
    }
    float lanes[LANES];
    v_store(lanes, v);
    for (size_t i = 0; i < count; i++) p[i] = lanes[i];
}

/// Lanes i and i + 8, then i and i + 4, i + 2, i + 1.
CK_INLINE float v_tree(vf v) {
    v = v + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v = v + __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3);
    v = v + __builtin_shufflevector(v, v, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1);
    v = v + __builtin_shufflevector(v, v, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0);
    return v[0];
}

CK_INLINE vf v_low(vf a, vf b) { return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
CK_INLINE vf v_high(vf a, vf b) { return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31); }

/// out[c][r] = x[r][c] of a 16 × 16 block: four rounds of interleaving rows i and i + 8.
CK_INLINE void v_transpose(const float *x, size_t xStride, float *out, size_t outStride) {
    vf a[16], b[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) a[i] = v_load(x + (size_t)i * xStride);
#pragma clang loop unroll(full)
    for (int round = 0; round < 2; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < 8; i++) {
            b[2 * i] = v_low(a[i], a[i + 8]);
            b[2 * i + 1] = v_high(a[i], a[i + 8]);
        }
#pragma clang loop unroll(full)
        for (int i = 0; i < 8; i++) {
            a[2 * i] = v_low(b[i], b[i + 8]);
            a[2 * i + 1] = v_high(b[i], b[i + 8]);
        }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) v_store(out + (size_t)i * outStride, a[i]);
}

// Products with weights narrower than fp32: bfloat16 and int8 (reproducibility.md 2 and 3). ck_linear and ck_pack come here
// where their arguments' precision says so.
//
// Order of each element:
//   CK_BFLOAT16: rows and weights are rounded to bfloat16 (nearest, ties to even, in integers); then as ck_bfloat16_product:
//     blocks of 256 k; in a block a chain from zero takes the pairs of k ascending, the odd element first, a missing one zero,
//     denormals flushed as VDPBF16PS does; block sums are added to +0 in fp32, denormals kept.
//   CK_INT8: of a column's group of 128 k, and of a row, scale = largest |x| / 127; 1 where that is zero; NaN where an element is
//     not finite. q = x / scale, at most ±127, to the nearest integer, ties to even; 0 under a NaN scale. Then, from +0,
//     acc = fma(float(Σ q_x·q_w), w's scale, acc), groups ascending; acc times the row's scale.
// Then, as in ck_linear.h, + bias, activation, + residual.
//
// Panels are those of ck_linear.h with words of 32 bits in place of floats, a column's words being
//   CK_BFLOAT16: pairs of k, the even one low; of an odd K the last odd one is zero;
//   CK_INT8: group by group, quads of k as bytes q + 128, the lowest k low, then the scale. What is missing of a quad is any byte.
#ifndef CK_NARROW_H
#define CK_NARROW_H

#include "ck_linear.h"

enum { CK_GROUP = 128 };

/// Floats of `prepared`: each row takes the same number, whatever the variant keeps there.
size_t ck_prepared_floats(size_t rows, size_t inputs);

/// One variant of one precision, for items on the calling thread. Panels are the same for all variants of an instruction set;
/// what `prepare` writes is for this variant's `linear` alone.
typedef struct {
    void (*pack)(const ck_pack_args *, size_t panel_begin, size_t panel_end);
    void (*prepare)(const ck_linear_args *, size_t row_begin, size_t row_end);
    void (*linear)(const ck_linear_args *, size_t panel_begin, size_t panel_end, size_t row_begin, size_t row_end);
} ck_narrow_kernels;

extern const ck_narrow_kernels ck_bfloat16_linear_plain, ck_int8_linear_plain;
#if defined(__x86_64__)
extern const ck_narrow_kernels ck_bfloat16_linear_avx2, ck_int8_linear_avx2, ck_bfloat16_linear_avx512, ck_int8_linear_avx512;
/// With VDPBF16PS and VPDPBUSD; the two above are for processors that have AVX-512 without them.
extern const ck_narrow_kernels ck_bfloat16_linear_native, ck_int8_linear_native;
#elif defined(__aarch64__)
extern const ck_narrow_kernels ck_bfloat16_linear_neon, ck_int8_linear_neon;
#endif

/// The variants of a precision that this processor can run for an instruction set: the fastest is first. Two at most, the
/// rest NULL.
void ck_narrow_variants(int32_t isa, int32_t precision, const ck_narrow_kernels *variants[2]);

/// ck_linear with the variant given, for tests that compare them.
void ck_linear_with(ck_pool *pool, const ck_narrow_kernels *kernels, const ck_linear_args *args);

#endif

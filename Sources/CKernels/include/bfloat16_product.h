// The products of training with bfloat16 operands and fp32 sums (reproducibility.md 2).
#ifndef BFLOAT16_PRODUCT_H
#define BFLOAT16_PRODUCT_H

#include "training_product.h"

/// As ck_product, but both factors are rounded to bfloat16 (nearest, ties to even, in integers) before they meet:
/// out[m][n] = residual[m][n] + (bias[n] + Σ_k bf16(a(m, k))·bf16(b(k, n))).
///
/// Order of each element: blocks of 256 k; in a block one accumulator from zero takes the pairs of k ascending, of each pair
/// the odd element first (a missing one counts as zero): acc = fma(a[2j], b[2j], fma(a[2j+1], b[2j+1], acc)), where denormal
/// operands, accumulators and results are zeros of their sign, smallness being judged after rounding. That is VDPBF16PS.
/// Block sums, bias and residual are added in fp32 as ck_product does, denormals kept.
///
/// `workspace`: ck_bfloat16_product_floats(rows, inputs) floats, 64-byte aligned; holds the left factor, rounded.
void ck_bfloat16_product(ck_pool *pool, const ck_product_args *args, float *workspace);

size_t ck_bfloat16_product_floats(size_t rows, size_t inputs);

/// One variant of the product: `pack` rounds rows of the left factor into the workspace, `part` multiplies as a
/// ck_product_part does, the left factor taken from there.
typedef struct {
    void (*pack)(const ck_product_args *args, size_t row, size_t rows, float *workspace);
    void (*part)(const ck_product_args *args, const float *workspace, size_t row, size_t rows, size_t column, size_t columns, float *scratch);
} ck_bfloat16_kernels;

/// The definition needs no packing: its `pack` is NULL.
extern const ck_bfloat16_kernels ck_bfloat16_plain;
#if defined(__x86_64__)
extern const ck_bfloat16_kernels ck_bfloat16_avx2, ck_bfloat16_avx512;
/// With VDPBF16PS itself; `ck_bfloat16_avx512` is for processors that have AVX-512 without it.
extern const ck_bfloat16_kernels ck_bfloat16_native;
#elif defined(__aarch64__)
extern const ck_bfloat16_kernels ck_bfloat16_neon;
#endif

/// The variants that this processor can run for an instruction set: the fastest is first. Two at most, the rest NULL.
void ck_bfloat16_variants(int32_t isa, const ck_bfloat16_kernels *variants[2]);

/// A product with the variant given, for tests that compare them.
void ck_bfloat16_product_with(ck_pool *pool, const ck_bfloat16_kernels *kernels, const ck_product_args *args, float *workspace);

#endif

// The products of training, straight from unpacked matrices: weights change every step, so packing them as a whole would be
// read once. Blocks of the right factor are gathered in each thread's own cache instead.
#ifndef TRAINING_PRODUCT_H
#define TRAINING_PRODUCT_H

#include "ck_pool.h"

/// out[m][n] = residual[m][n] + (bias[n] + Σ_k a(m, k)·b(k, n)), with a(m, k) at a[m·a_row + k·a_k] and b(k, n) at
/// b[k·b_k + n·b_column]; one stride of each factor is 1, so either may stand transposed.
///
/// Order of each element as in ck_linear.h (reproducibility.md 1): blocks of 256 k; in a block one accumulator from zero
/// takes fma(a, b, acc), k ascending; block sums are added in order to +0 (or, accumulating, to what `out` holds); then
/// + bias, + residual. Neither rows, threads nor instruction set change a bit.
typedef struct {
    const float *a;
    size_t a_row, a_k;
    const float *b;
    size_t b_k, b_column;
    size_t rows, inputs, columns;
    const float *bias;      // or NULL
    const float *residual;  // or NULL; row stride out_stride; may be `out`
    float *out;             // overlaps neither a nor b
    size_t out_stride;
    bool accumulate;
} ck_product_args;

/// On all threads of the pool, with its instruction set. Takes 64 KB of each thread's scratch.
void ck_product(ck_pool *pool, const ck_product_args *args);

/// The part of a product in rows and columns given, on the calling thread; `column` is a multiple of 64. `scratch` has room
/// for 256 · 64 floats, 64-byte aligned. One function an instruction set; the plain one is the definition.
typedef void (*ck_product_part)(const ck_product_args *args, size_t row, size_t rows, size_t column, size_t columns, float *scratch);

void ck_product_plain(const ck_product_args *args, size_t row, size_t rows, size_t column, size_t columns, float *scratch);
#if defined(__x86_64__)
void ck_product_avx2(const ck_product_args *args, size_t row, size_t rows, size_t column, size_t columns, float *scratch);
void ck_product_avx512(const ck_product_args *args, size_t row, size_t rows, size_t column, size_t columns, float *scratch);
#elif defined(__aarch64__)
void ck_product_neon(const ck_product_args *args, size_t row, size_t rows, size_t column, size_t columns, float *scratch);
#endif

#endif

// Matrix product with packed weights: out[r][n] = residual[r][n] + activation(bias[n] + Σ x[r][k]·W[k][n]).
//
// Order of each element (reproducibility.md 1): blocks of 256 k; in a block one accumulator from zero takes
// fma(x[k], w[k], acc), k ascending; block sums are added in order to +0 (or, accumulating, to what `out` holds); then
// + bias, activation, + residual. Lanes run across columns, so neither rows, threads nor instruction set change a bit.
#ifndef CK_LINEAR_H
#define CK_LINEAR_H

#include "ck_functions.h"
#include "ck_pool.h"

/// Weights stand in panels of `panel_columns` columns (the table's), each k-major and contiguous: panel p holds columns
/// p·C …, [K][width], width = C but in the last panel, which is as wide as the columns left, rounded up to 16, zeros beyond.
typedef struct {
    const float *x;
    size_t rows, x_stride;
    const float *panels;
    size_t inputs, outputs;
    const float *bias;      // or NULL
    int32_t activation;     // CK_LINEAR … CK_TANH
    const float *residual;  // or NULL; row stride out_stride; may be `out`
    float *out;             // never overlaps x
    size_t out_stride;
    bool accumulate;
} ck_linear_args;

/// Floats in the panels of a K × N matrix: K · (N rounded up to 16), whatever the panel width.
size_t ck_panel_floats(size_t inputs, size_t outputs);

/// Multiplies on all threads of the pool. The panels must have been packed with the pool's table.
void ck_linear(ck_pool *pool, const ck_linear_args *args);

/// Source of a packing: element (k, n) at source[k·k_stride + n·n_stride]; one of the strides is 1.
typedef struct {
    const float *source;
    size_t k_stride, n_stride;
    size_t inputs, outputs;
    float *panels;
} ck_pack_args;

void ck_pack(ck_pool *pool, const ck_pack_args *args);

/// out[c][r] = x[r][c], on all threads.
void ck_transpose(ck_pool *pool, const float *x, size_t rows, size_t columns, size_t x_stride, float *out, size_t out_stride);

#endif

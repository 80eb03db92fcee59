// Matrix product with packed weights: out[r][n] = residual[r][n] + activation(bias[n] + Σ x[r][k]·W[k][n]).
//
// Order of each element (reproducibility.md 1): blocks of 256 k; in a block one accumulator from zero takes
// fma(x[k], w[k], acc), k ascending; block sums are added in order to +0 (or, accumulating, to what `out` holds); then
// + bias, activation, + residual. Lanes run across columns, so neither rows, threads nor instruction set change a bit.
// Weights may be narrower than fp32: ck_narrow.h says how they are kept and multiplied; what follows the sum is the same.
#ifndef CK_LINEAR_H
#define CK_LINEAR_H

#include "ck_functions.h"
#include "ck_pool.h"

/// What weights are kept as.
enum { CK_FLOAT32 = 0, CK_BFLOAT16 = 1, CK_INT8 = 2 };

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
    bool accumulate;        // with CK_FLOAT32 only
    int32_t precision;      // of the panels
    float *prepared;        // but with CK_FLOAT32: ck_prepared_floats of memory, 64-byte aligned, for the rows as rounded
} ck_linear_args;

/// Words of 32 bits in the panels of a K × N matrix: those of a column (CK_FLOAT32: K) times N rounded up to 16, whatever
/// the panel width.
size_t ck_panel_words(int32_t precision, size_t inputs, size_t outputs);

/// Multiplies on all threads of the pool. The panels must have been packed with the pool's table.
void ck_linear(ck_pool *pool, const ck_linear_args *args);

/// Source of a packing: element (k, n) at source[k·k_stride + n·n_stride]; one of the strides is 1.
typedef struct {
    const float *source;
    size_t k_stride, n_stride;
    size_t inputs, outputs;
    float *panels;
    int32_t precision;
} ck_pack_args;

void ck_pack(ck_pool *pool, const ck_pack_args *args);

/// out[k] = W[k][column] as the pool's table packed it: how a head serves as the token embedding.
void ck_read_column(const ck_kernels *kernels, int32_t precision, const float *panels, size_t inputs, size_t outputs, size_t column, float *out);

/// out[c][r] = x[r][c], on all threads.
void ck_transpose(ck_pool *pool, const float *x, size_t rows, size_t columns, size_t x_stride, float *out, size_t out_stride);

#endif

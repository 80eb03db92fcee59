// Operations on single rows. Sums over a row use 16 virtual lanes (lane i takes elements i, i + 16, …) and one fixed tree:
// lanes i and i + 8, then i and i + 4, i + 2, i + 1.
#ifndef CK_ROWS_H
#define CK_ROWS_H

#include "ck_pool.h"

/// mean = Σx / n; variance = Σ(x − mean)² / n by fma; rstd = 1 / sqrt(variance + ε);
/// out = fma((x − mean)·rstd, gain, bias).
typedef struct {
    const float *x;
    size_t rows, width, x_stride;
    const float *gain, *bias;
    float epsilon;
    float *out;
    size_t out_stride;
    float *mean, *rstd;  // one a row, or NULL
} ck_layer_norm_args;

void ck_layer_norm(ck_pool *pool, const ck_layer_norm_args *args);

/// out[r] = tokens[ids[r]] + positions[places[r]] (positions NULL: the first alone).
typedef struct {
    const float *tokens, *positions;
    const int32_t *ids, *places;
    size_t rows, width;
    float *out;
    size_t out_stride;
} ck_embedding_args;

void ck_embedding(ck_pool *pool, const ck_embedding_args *args);

/// out[i] = function(x[i]) over rows · width contiguous elements, on all threads.
void ck_map(ck_pool *pool, int32_t function, const float *x, float *out, size_t count);

/// a[i] += b[i], on all threads.
void ck_add(ck_pool *pool, float *a, const float *b, size_t count);

/// Whether any element is NaN.
bool ck_has_nan(const float *x, size_t count);

/// Largest element (NaN never wins; −0 is returned as +0; −inf of an empty or all-NaN row).
float ck_maximum(const float *x, size_t count);

/// Index of the largest element, the lowest on ties; 0 where none is above −inf.
size_t ck_argmax(const float *x, size_t count);

/// log Σ exp(x): maximum + log of the 16-lane sum of exp(x − maximum).
float ck_log_sum_exp(const float *x, size_t count);

#endif

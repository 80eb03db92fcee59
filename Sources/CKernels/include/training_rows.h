// Backward passes over rows (reproducibility.md 12). Sums over rows (gradients of bias, gain, embeddings) are chains over
// blocks of 256 rows from row 0: in a block one accumulator from zero, rows ascending; block sums added in order to +0, or
// (accumulate) to what is there. `first_row` must be a multiple of 256 when a micro-batch comes in chunks.
#ifndef TRAINING_ROWS_H
#define TRAINING_ROWS_H

#include "ck_rows.h"
#include "training_dropout.h"

/// With x̂ = (x − mean)·rstd, h = dy·gain, m1 = Σh / n, m2 = Σ fma(h, x̂) / n (16 lanes, tree):
/// dx = [dx +] rstd·fma(−x̂, m2, h − m1).
typedef struct {
    const float *x, *dy;
    size_t rows, width, x_stride, dy_stride;
    const float *mean, *rstd, *gain;
    float *dx;
    size_t dx_stride;
    bool accumulate_dx;             // dx += (the residual's gradient)
    float *gain_gradient;           // [width]: Σ over rows, fma(dy, x̂)
    float *bias_gradient;           // [width]: Σ over rows, dy
    bool accumulate_parameters;
} ck_layer_norm_backward_args;

void ck_layer_norm_backward(ck_pool *pool, const ck_layer_norm_backward_args *args);

/// dx[i] = dy[i] · f′(x[i]); `activation` CK_LINEAR … CK_TANH, x its input. dx may be dy.
void ck_activation_backward(ck_pool *pool, int32_t activation, const float *x, const float *dy, float *dx, size_t count);

/// out[n] = [out[n] +] Σ over rows of dy[r][n].
void ck_column_sums(ck_pool *pool, const float *dy, size_t rows, size_t columns, size_t stride, float *out, bool accumulate);

/// Softmax cross-entropy of rows of logits, gradient in place: loss = log Σexp(z − max) − (z[label] − max);
/// z becomes (exp(z − max) / Σ − [label])·scale. A label < 0: loss 0, gradient row of zeros.
typedef struct {
    float *logits;
    size_t rows, vocabulary, stride;
    const int32_t *labels;
    float scale;
    float *losses;
    bool gradient;  // false: logits stay as they are
} ck_cross_entropy_args;

void ck_cross_entropy(ck_pool *pool, const ck_cross_entropy_args *args);

/// gradient[ids[r]] += Σ over rows with that id in each block of 256 rows, in row order; blocks in order.
void ck_embedding_gradient(ck_pool *pool, const float *dy, size_t rows, size_t width, size_t stride, const int32_t *ids,
                           float *gradient);

#endif

// AdamW and the gradient's norm, over flat arrays.
#ifndef TRAINING_OPTIMIZER_H
#define TRAINING_OPTIMIZER_H

#include "ck_pool.h"

/// g = gradient·gradient_scale; m = fma(beta1, m, (1 − beta1)·g); v = fma(beta2, v, ((1 − beta2)·g)·g);
/// p = p·decay_keep; p = p − step_size·(m / (sqrt(v) / root_correction + epsilon)). decay_keep = 1 − lr·decay,
/// step_size = lr / (1 − beta1^t), root_correction = sqrt(1 − beta2^t), formed by the caller in double and rounded once.
typedef struct {
    float *weights, *first_moment, *second_moment;
    const float *gradient;
    size_t count;
    float gradient_scale, beta1, one_minus_beta1, beta2, one_minus_beta2;
    float step_size, root_correction, epsilon, decay_keep;
} ck_adamw_args;

void ck_adamw(ck_pool *pool, const ck_adamw_args *args);

/// Σ x²: blocks of 65,536, 16 lanes by fma and the tree within a block, blocks added in order in double.
double ck_square_sum(ck_pool *pool, const float *x, size_t count);

#endif

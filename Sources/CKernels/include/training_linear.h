// The backward products of a linear layer y = x·W + b: dX = dY·Wᵀ is ck_linear with the transposed weights packed
// (ck_pack with the strides exchanged); dW = Xᵀ·dY is here.
#ifndef TRAINING_LINEAR_H
#define TRAINING_LINEAR_H

#include "ck_linear.h"

/// gradient = [gradient +] Xᵀ·dY: for each element a product with k = rows in order, blocks of 256 from row 0
/// (reproducibility.md 12). Chunks of one micro-batch accumulate to the same bits when every chunk but the last is a
/// multiple of 256 rows.
typedef struct {
    const float *x;   // [rows][inputs]
    size_t x_stride;
    const float *dy;  // [rows][outputs]
    size_t dy_stride;
    size_t rows, inputs, outputs;
    float *gradient;  // contiguous: [inputs][outputs], or [outputs][inputs] when `output_major`
    bool output_major;
    bool accumulate;
    float *workspace;  // ck_weight_gradient_floats floats, 64-byte aligned
} ck_weight_gradient_args;

size_t ck_weight_gradient_floats(size_t rows, size_t inputs, size_t outputs);
void ck_weight_gradient(ck_pool *pool, const ck_weight_gradient_args *args);

#endif

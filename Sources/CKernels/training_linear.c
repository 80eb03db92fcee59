// Weight gradients: the left matrix is transposed, the right one packed, and ck_linear multiplies them.
#pragma STDC FP_CONTRACT OFF

#include "training_linear.h"

#include "divide.h"

size_t ck_weight_gradient_floats(size_t rows, size_t inputs, size_t outputs) {
    return ck_multiple(ck_multiple(inputs, 16) * rows, 16) + ck_multiple(outputs, 16) * rows + 16;
}

void ck_weight_gradient(ck_pool *pool, const ck_weight_gradient_args *args) {
    // Element (i, o) = Σ x[r][i]·dy[r][o]; the fused products commute, so either side may be the packed one.
    bool swap = args->output_major;
    const float *left = swap ? args->dy : args->x, *right = swap ? args->x : args->dy;
    size_t leftStride = swap ? args->dy_stride : args->x_stride, rightStride = swap ? args->x_stride : args->dy_stride;
    size_t m = swap ? args->outputs : args->inputs, n = swap ? args->inputs : args->outputs;
    float *transposed = args->workspace, *panels = transposed + ck_multiple(ck_multiple(m, 16) * args->rows, 16);
    ck_transpose(pool, left, args->rows, m, leftStride, transposed, args->rows);
    ck_pack_args packing = {right, rightStride, 1, args->rows, n, panels};
    ck_pack(pool, &packing);
    ck_linear_args product = {
        .x = transposed, .rows = m, .x_stride = args->rows, .panels = panels, .inputs = args->rows, .outputs = n,
        .out = args->gradient, .out_stride = n, .accumulate = args->accumulate,
    };
    ck_linear(pool, &product);
}

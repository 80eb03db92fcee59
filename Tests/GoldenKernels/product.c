// Random products, for the fp32 and the bfloat16 kernels alike.
#pragma STDC FP_CONTRACT OFF

#include "product.h"

#include <stdlib.h>

static size_t product_size(golden_numbers *numbers, const size_t *favourites, size_t count, size_t limit) {
    return golden_bool(numbers) ? favourites[golden_integer(numbers, 0, count - 1)] : golden_integer(numbers, 1, limit);
}

golden_product golden_make_product(golden_numbers *numbers) {
    size_t rows = product_size(numbers, (const size_t[]){1, 5, 6, 7, 96, 97, 192, 193}, 8, 230);
    size_t inputs = product_size(numbers, (const size_t[]){1, 15, 16, 255, 256, 257, 512, 513}, 8, 600);
    size_t columns = product_size(numbers, (const size_t[]){1, 15, 16, 17, 63, 64, 65, 128, 129}, 9, 200);
    bool leftTransposed = golden_bool(numbers), rightTransposed = golden_bool(numbers);
    size_t slack = golden_integer(numbers, 0, 3), outStride = columns + slack;
    bool hasBias = golden_bool(numbers), hasResidual = golden_bool(numbers), accumulates = golden_bool(numbers);
    size_t leftWidth = leftTransposed ? rows + slack : inputs + slack, rightWidth = rightTransposed ? inputs + slack : columns + slack;
    golden_product p = {.left_count = (leftTransposed ? inputs : rows) * leftWidth, .right_count = (rightTransposed ? columns : inputs) * rightWidth};
    p.out_count = rows * outStride;
    p.left = golden_uniform(numbers, p.left_count, 1);
    p.right = golden_uniform(numbers, p.right_count, 1);
    p.bias = golden_uniform(numbers, columns, 1);
    p.residual = golden_uniform(numbers, p.out_count, 1);
    p.args = (ck_product_args){
        .a = p.left, .a_row = leftTransposed ? 1 : leftWidth, .a_k = leftTransposed ? leftWidth : 1, .b = p.right,
        .b_k = rightTransposed ? 1 : rightWidth, .b_column = rightTransposed ? rightWidth : 1, .rows = rows, .inputs = inputs, .columns = columns,
        .bias = hasBias ? p.bias : NULL, .residual = hasResidual ? p.residual : NULL, .out = golden_uniform(numbers, p.out_count, 1),
        .out_stride = outStride, .accumulate = accumulates,
    };
    return p;
}

void golden_free_product(golden_product *p) { free(p->left), free(p->right), free(p->bias), free(p->residual), free(p->args.out); }

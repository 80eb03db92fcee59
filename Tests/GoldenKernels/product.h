// A random product of training, as ProductTests.swift draws it.
#ifndef GOLDEN_PRODUCT_H
#define GOLDEN_PRODUCT_H

#include "golden.h"

typedef struct {
    ck_product_args args;
    float *left, *right, *bias, *residual;
    size_t left_count, right_count, out_count;
} golden_product;

/// Sizes around every block and tile border, either factor transposed, strides wider than the rows.
golden_product golden_make_product(golden_numbers *numbers);
void golden_free_product(golden_product *product);

#endif

// Products with bfloat16 operands: every variant that the processor has for the instruction set.
#pragma STDC FP_CONTRACT OFF

#include "golden.h"

#include <math.h>
#include <stdlib.h>

#include "product.h"

static uint64_t product_hash(const golden_run *run, uint64_t hash, const ck_bfloat16_kernels *kernels, golden_product *p) {
    float *workspace = golden_floats(ck_bfloat16_product_floats(p->args.rows, p->args.inputs));
    ck_bfloat16_product_with(run->pool, kernels, &p->args, workspace);
    free(workspace);
    return golden_hash(hash, p->args.out, p->out_count);
}

/// Ordinary values, and exponents that put products and sums about 2⁻¹²⁶, where denormals are flushed.
static float scaled(float x, int scaling) {
    switch (scaling) {
    case 1: return x * 0x1p-63f;
    case 2: return fabsf(x) < 0.2f ? x * 0x1p-122f : x * 0x1p-66f;
    default: return x;
    }
}

static void shapes(const golden_run *run, const ck_bfloat16_kernels *kernels) {
    uint64_t hash = GOLDEN_EMPTY;
    for (int i = 0; i < 24; i++) {
        golden_numbers numbers = {1100 + (uint64_t)i};
        golden_product p = golden_make_product(&numbers);
        for (size_t j = 0; j < p.left_count; j++) p.left[j] = scaled(p.left[j], i % 3);
        for (size_t j = 0; j < p.right_count; j++) p.right[j] = scaled(p.right[j], i % 3);
        hash = product_hash(run, hash, kernels, &p);
        golden_free_product(&p);
    }
    golden_found(run, "bfloat16 products", hash);
}

/// One output of two inputs: a₁·b₁, then a₀·b₀ onto it. Results about 2⁻¹²⁶, where a processor judges smallness before or
/// after rounding: 2⁻¹²⁶ − 2⁻¹⁵⁰ is a zero, 2⁻¹²⁶ − 2⁻¹⁵¹ is 2⁻¹²⁶. Sums that are inexact come beside them in the same row.
static void borders(const golden_run *run, const ck_bfloat16_kernels *kernels) {
    static const float evens[] = {-0x1p-75f, 0x1p-75f, -0x1p-76f, 0x1p-76f, -0x1p-77f, 0x1p-126f, 0x1p-127f, 1.0f, 0x1p-13f, -0x1.8p-76f};
    static const float factors[] = {0x1p-75f, -0x1p-75f, 0x1p-76f, 0x1p-12f, 1.0f, 0x1p-63f};
    static const float odds[] = {0x1p-63f, -0x1p-63f, 0x1p-64f, 0x1p-12f, 0.0f, 1.0f, 0x1p-100f};
    enum { EVENS = 10, FACTORS = 6, ODDS = 7, COLUMNS = FACTORS * ODDS };
    float a[EVENS * 2], b[2 * COLUMNS], out[EVENS * COLUMNS];
    uint64_t hash = GOLDEN_EMPTY;
    for (int odd = 0; odd < ODDS; odd++) {
        for (int m = 0; m < EVENS; m++) a[2 * m] = evens[m], a[2 * m + 1] = odds[odd];
        for (int n = 0; n < COLUMNS; n++) b[n] = factors[n % FACTORS], b[COLUMNS + n] = odds[n / FACTORS];
        golden_product p = {
            .args = {.a = a, .a_row = 2, .a_k = 1, .b = b, .b_k = COLUMNS, .b_column = 1, .rows = EVENS, .inputs = 2, .columns = COLUMNS, .out = out, .out_stride = COLUMNS},
            .out_count = EVENS * COLUMNS,
        };
        hash = product_hash(run, hash, kernels, &p);
    }
    golden_found(run, "bfloat16 borders", hash);
}

void golden_bfloat16(const golden_run *run) {
    const ck_bfloat16_kernels *variants[2];
    ck_bfloat16_variants(run->isa, variants);
    for (int i = 0; i < 2 && variants[i]; i++) {
        golden_numbers numbers = {4711};
        golden_product p = golden_make_product(&numbers);
        golden_found(run, "bfloat16 product", product_hash(run, GOLDEN_EMPTY, variants[i], &p));
        golden_free_product(&p);
        shapes(run, variants[i]);
        borders(run, variants[i]);
    }
}

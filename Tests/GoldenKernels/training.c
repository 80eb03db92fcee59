// Training's products, gradients of weights, attention forward and backward.
#pragma STDC FP_CONTRACT OFF

#include "golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "product.h"

static void products(const golden_run *run) {
    uint64_t hash = GOLDEN_EMPTY;
    for (uint64_t seed = 0; seed < 30; seed++) {
        golden_numbers numbers = {1000 + seed};
        golden_product problem = golden_make_product(&numbers);
        ck_product(run->pool, &problem.args);
        hash = golden_hash(hash, problem.args.out, problem.out_count);
        golden_free_product(&problem);
    }
    golden_found(run, "products", hash);
}

static void weight_gradients(const golden_run *run) {
    golden_numbers numbers = {156};
    uint64_t hash = GOLDEN_EMPTY;
    for (int i = 0; i < 12; i++) {
        size_t rows = golden_integer(&numbers, 1, 600), inputs = golden_integer(&numbers, 1, 90), outputs = golden_integer(&numbers, 1, 90);
        float *x = golden_uniform(&numbers, rows * inputs, 1), *dy = golden_uniform(&numbers, rows * outputs, 1);
        float *gradient = golden_uniform(&numbers, inputs * outputs, 1), *workspace = golden_floats(ck_weight_gradient_floats(rows, inputs, outputs));
        ck_weight_gradient_args args = {
            x, inputs, dy, outputs, rows, inputs, outputs, gradient, golden_bool(&numbers), golden_bool(&numbers), workspace,
        };
        ck_weight_gradient(run->pool, &args);
        hash = golden_hash(hash, gradient, inputs * outputs);
        free(x), free(dy), free(gradient), free(workspace);
    }
    golden_found(run, "weight gradients", hash);
}

typedef struct {
    size_t sequences, length, heads, width, window;
    bool head_by_head;
    const ck_dropout_args *dropout;
} attention_case;

/// Adds `out` (where `forward` is set), then the gradients of queries, keys and values.
static uint64_t attention_hash(const golden_run *run, uint64_t hash, golden_numbers *numbers, attention_case c, bool forward) {
    size_t channels = c.heads * c.width, rows = c.sequences * c.length, distance = c.head_by_head ? c.width : channels;
    float *x = golden_uniform(numbers, rows * channels * 3, 1.5f), *gradient = golden_uniform(numbers, rows * channels, 1);
    float *out = golden_filled(rows * channels, NAN), *statistics = golden_filled(rows * c.heads * 2, NAN);
    float *dx = golden_filled(rows * channels * 3, NAN);
    ck_training_attention_args args = {
        .sequences = c.sequences, .length = c.length, .heads = c.heads, .head_width = c.width, .scale = 0.25f, .window = (uint32_t)c.window,
        .queries = x, .keys = x + distance, .values = x + 2 * distance, .stride = 3 * channels, .head_stride = c.head_by_head ? 3 * c.width : c.width,
        .out = out, .out_stride = channels, .statistics = statistics, .dropout = c.dropout,
    };
    ck_training_attention(run->pool, &args);
    ck_training_attention_backward_args backward = {args, gradient, channels, dx, dx + distance, dx + 2 * distance, 3 * channels};
    ck_training_attention_backward(run->pool, &backward);
    if (forward) hash = golden_hash(golden_hash(hash, out, rows * channels), statistics, rows * c.heads * 2);
    hash = golden_hash(hash, dx, rows * channels * 3);
    free(x), free(gradient), free(out), free(statistics), free(dx);
    return hash;
}

static void attention(const golden_run *run) {
    // The inference case of the same seed comes first in the numbers: 300 positions of 2 heads of 40, three times.
    golden_numbers numbers = {51};
    for (int i = 0; i < 3 * 300 * 2 * 40; i++) golden_float(&numbers, 1);
    attention_case one = {.sequences = 1, .length = 280, .heads = 1, .width = 40};
    golden_found(run, "attention backward", attention_hash(run, GOLDEN_EMPTY, &numbers, one, false));
    numbers.state = 157;
    uint64_t hash = GOLDEN_EMPTY;
    for (uint32_t i = 0; i < 12; i++) {
        ck_dropout_args mask = {.rate = 0.3, .seed = 9, .step = i, .first_row = 5, .site = 0x20000013};
        attention_case c = {
            golden_integer(&numbers, 1, 2), golden_integer(&numbers, 1, i % 4 == 0 ? 300 : 120), golden_integer(&numbers, 1, 2), golden_integer(&numbers, 1, 50),
            i % 2 == 0 ? 0 : golden_integer(&numbers, 1, 80), golden_bool(&numbers), i % 3 == 0 ? NULL : &mask,
        };
        hash = attention_hash(run, hash, &numbers, c, true);
    }
    golden_found(run, "training attention of many shapes", hash);
}

void golden_training(const golden_run *run) {
    products(run);
    weight_gradients(run);
    attention(run);
}

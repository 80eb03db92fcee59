// Operations on rows and flat arrays, forward and backward, the optimizer and dropout.
#pragma STDC FP_CONTRACT OFF

#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/// Where the results of one run go: one by one under numbered names, or all into one hash.
typedef struct {
    const golden_run *run;
    bool one_by_one;
    int index;
    uint64_t hash;
} rows_sink;

static void rows_found(rows_sink *sink, const char *name, const float *values, size_t count) {
    if (!sink->one_by_one) {
        sink->hash = golden_hash(sink->hash, values, count);
        return;
    }
    char numbered[64];
    snprintf(numbered, sizeof numbered, "%d %s", sink->index++, name);
    golden_found(sink->run, numbered, golden_hash(GOLDEN_EMPTY, values, count));
}

typedef struct {
    size_t rows, width;
    float *x, *dy, *gain, *bias, *out, *mean, *rstd;
} rows_case;

static void norms(rows_sink *sink, const rows_case *c, golden_numbers *numbers) {
    ck_pool *pool = sink->run->pool;
    size_t count = c->rows * c->width;
    ck_layer_norm_args norm = {
        .x = c->x, .rows = c->rows, .width = c->width, .x_stride = c->width, .gain = c->gain, .bias = c->bias, .epsilon = 1e-5f, .out = c->out,
        .out_stride = c->width, .mean = c->mean, .rstd = c->rstd,
    };
    ck_layer_norm(pool, &norm);
    rows_found(sink, "layer norm", c->out, count);
    rows_found(sink, "mean", c->mean, c->rows);
    rows_found(sink, "rstd", c->rstd, c->rows);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        float *dx = golden_uniform(numbers, count, 1), *gain = golden_uniform(numbers, c->width, 1), *bias = golden_uniform(numbers, c->width, 1);
        ck_layer_norm_backward_args backward = {
            .x = c->x, .dy = c->dy, .rows = c->rows, .width = c->width, .x_stride = c->width, .dy_stride = c->width, .mean = c->mean,
            .rstd = c->rstd, .gain = c->gain, .dx = dx, .dx_stride = c->width, .accumulate_dx = accumulate, .gain_gradient = gain,
            .bias_gradient = bias, .accumulate_parameters = accumulate,
        };
        ck_layer_norm_backward(pool, &backward);
        rows_found(sink, "norm dx", dx, count);
        rows_found(sink, "gain gradient", gain, c->width);
        rows_found(sink, "bias gradient", bias, c->width);
        float *sums = golden_uniform(numbers, c->width, 1);
        ck_column_sums(pool, c->dy, c->rows, c->width, c->width, sums, accumulate);
        rows_found(sink, "column sums", sums, c->width);
        free(dx), free(gain), free(bias), free(sums);
    }
}

static void activations(rows_sink *sink, const rows_case *c) {
    static const char *const names[] = {"linear", "geluNew", "gelu", "relu", "silu", "quickGelu", "tanh"};
    static const char *const primes[] = {"linear'", "geluNew'", "gelu'", "relu'", "silu'", "quickGelu'", "tanh'"};
    size_t count = c->rows * c->width;
    for (int32_t activation = CK_LINEAR; activation <= CK_TANH; activation++) {
        ck_map(sink->run->pool, activation, c->x, c->out, count);
        rows_found(sink, names[activation], c->out, count);
        ck_activation_backward(sink->run->pool, activation, c->x, c->dy, c->out, count);
        rows_found(sink, primes[activation], c->out, count);
    }
}

static void losses(rows_sink *sink, const rows_case *c, golden_numbers *numbers) {
    size_t count = c->rows * c->width;
    int32_t *labels = golden_memory(c->rows * sizeof(int32_t));
    for (size_t row = 0; row < c->rows; row++) labels[row] = row % 4 == 3 ? -1 : (int32_t)golden_integer(numbers, 0, c->width - 1);
    float *losses = golden_filled(c->rows, NAN), *logits = golden_copy(c->x, count);
    ck_cross_entropy_args args = {
        .logits = logits, .rows = c->rows, .vocabulary = c->width, .stride = c->width, .labels = labels, .scale = 0.125f, .losses = losses, .gradient = true,
    };
    ck_cross_entropy(sink->run->pool, &args);
    rows_found(sink, "losses", losses, c->rows);
    rows_found(sink, "logit gradient", logits, count);
    free(labels), free(losses), free(logits);
}

static void embeddings(rows_sink *sink, const rows_case *c, golden_numbers *numbers) {
    int32_t *ids = golden_memory(c->rows * sizeof(int32_t));
    for (size_t row = 0; row < c->rows; row++) ids[row] = (int32_t)golden_integer(numbers, 0, 4);
    float *table = golden_uniform(numbers, 5 * c->width, 1);
    ck_embedding_args args = {.tokens = table, .ids = ids, .rows = c->rows, .width = c->width, .out = c->out, .out_stride = c->width};
    ck_embedding(sink->run->pool, &args);
    rows_found(sink, "embedding", c->out, c->rows * c->width);
    ck_embedding_gradient(sink->run->pool, c->dy, c->rows, c->width, c->width, ids, table);
    rows_found(sink, "embedding gradient", table, 5 * c->width);
    free(ids), free(table);
}

static void optimizer(rows_sink *sink, const rows_case *c, golden_numbers *numbers) {
    size_t count = c->rows * c->width;
    float *weights = golden_copy(c->x, count), *first = golden_uniform(numbers, count, 0.1f), *second = golden_uniform(numbers, count, 0.1f);
    for (size_t i = 0; i < count; i++) second[i] = second[i] * second[i];
    ck_adamw_args args = {
        .weights = weights, .first_moment = first, .second_moment = second, .gradient = c->dy, .count = count, .gradient_scale = 0.7f,
        .beta1 = (float)0.9, .one_minus_beta1 = (float)(1 - 0.9), .beta2 = (float)0.999, .one_minus_beta2 = (float)(1 - 0.999),
        .step_size = (float)(1e-3 / 0.19), .root_correction = (float)__builtin_sqrt(0.002), .epsilon = (float)1e-8,
        .decay_keep = (float)(1 - 1e-3 * 0.05),
    };
    ck_adamw(sink->run->pool, &args);
    rows_found(sink, "weights", weights, count);
    rows_found(sink, "first moment", first, count);
    rows_found(sink, "second moment", second, count);
    float sum = (float)ck_square_sum(sink->run->pool, c->x, count);
    rows_found(sink, "square sum", &sum, 1);
    free(weights), free(first), free(second);
}

static void dropout(rows_sink *sink, const rows_case *c) {
    size_t count = c->rows * c->width;
    float *dropped = golden_copy(c->x, count);
    ck_dropout_args args = {
        .x = dropped, .rows = c->rows, .width = c->width, .stride = c->width, .rate = 0.3, .seed = 5, .step = 6, .first_row = 7, .site = 8,
    };
    ck_dropout(sink->run->pool, &args);
    rows_found(sink, "dropout", dropped, count);
    free(dropped);
}

static void all_rows(rows_sink *sink, size_t rows, size_t width, uint64_t seed) {
    golden_numbers numbers = {seed};
    float *x = golden_uniform(&numbers, rows * width, 3), *dy = golden_uniform(&numbers, rows * width, 1);
    float *gain = golden_uniform(&numbers, width, 1), *bias = golden_uniform(&numbers, width, 1);
    rows_case c = {rows, width, x, dy, gain, bias, golden_filled(rows * width, NAN), golden_filled(rows, NAN), golden_filled(rows, NAN)};
    norms(sink, &c, &numbers);
    activations(sink, &c);
    losses(sink, &c, &numbers);
    embeddings(sink, &c, &numbers);
    optimizer(sink, &c, &numbers);
    dropout(sink, &c);
    free(x), free(dy), free(gain), free(bias), free(c.out), free(c.mean), free(c.rstd);
}

/// A long tensor (several blocks of the norm), positions beside tokens, and sums of two arrays.
static void flat(const golden_run *run) {
    golden_numbers numbers = {154};
    size_t count = 150001, rows = 37, width = 75;
    float *x = golden_uniform(&numbers, count, 2), *y = golden_uniform(&numbers, count, 2);
    golden_found(run, "square sum of a long tensor", golden_hash_double(GOLDEN_EMPTY, ck_square_sum(run->pool, x, count)));
    int32_t *ids = golden_memory(rows * sizeof(int32_t)), *places = golden_memory(rows * sizeof(int32_t));
    for (size_t row = 0; row < rows; row++) {
        ids[row] = (int32_t)golden_integer(&numbers, 0, 40);
        places[row] = (int32_t)golden_integer(&numbers, 0, 40);
    }
    float *out = golden_filled(rows * width, NAN);
    ck_embedding_args args = {.tokens = x, .positions = y, .ids = ids, .places = places, .rows = rows, .width = width, .out = out, .out_stride = width};
    ck_embedding(run->pool, &args);
    golden_found(run, "embedding with positions", golden_hash(GOLDEN_EMPTY, out, rows * width));
    ck_add(run->pool, x, y, count);
    golden_found(run, "addition", golden_hash(GOLDEN_EMPTY, x, count));
    free(x), free(y), free(ids), free(places), free(out);
}

void golden_rows(const golden_run *run) {
    rows_sink named = {run, true, 0, GOLDEN_EMPTY};
    all_rows(&named, 300, 75, 52);
    rows_sink together = {run, false, 0, GOLDEN_EMPTY};
    golden_numbers numbers = {155};
    for (uint64_t i = 0; i < 10; i++) {
        size_t rows = golden_integer(&numbers, 1, i % 5 == 0 ? 530 : 20), width = golden_integer(&numbers, 1, 200);
        all_rows(&together, rows, width, 500 + i);
    }
    golden_found(run, "rows of many shapes", together.hash);
    flat(run);
}

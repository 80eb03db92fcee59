// The kernels of one instruction set. Each works on a range of independent items on the calling thread; the functions that
// take a pool divide the items. Tests compare tables with each other; everybody else goes through the pool.
#ifndef CK_TABLE_H
#define CK_TABLE_H

#include "ck_attention.h"
#include "ck_linear.h"
#include "ck_rotary.h"
#include "ck_rows.h"
#include "ck_sampling.h"
#include "training_attention.h"
#include "training_optimizer.h"
#include "training_rows.h"

struct ck_kernels {
    int32_t isa;
    size_t panel_columns;  // a multiple of 16
    size_t query_tile;     // rows that attention takes at once

    void (*linear)(const ck_linear_args *, size_t panel_begin, size_t panel_end, size_t row_begin, size_t row_end);
    void (*pack)(const ck_pack_args *, size_t panel_begin, size_t panel_end);
    void (*transpose)(const float *x, size_t rows, size_t columns, size_t x_stride, float *out, size_t out_stride);
    void (*layer_norm)(const ck_layer_norm_args *, size_t row_begin, size_t row_end);
    void (*map)(int32_t function, const float *x, float *out, size_t count);
    void (*add)(float *a, const float *b, const float *c, size_t count);  // a = b + c
    bool (*has_nan)(const float *x, size_t count);
    float (*maximum)(const float *x, size_t count);
    float (*divide_maximum)(float *z, size_t count, float divisor);
    float (*exponentials)(const float *z, size_t count, float maximum, float *p);
    uint64_t (*fixed_weights)(const float *p, size_t count, uint64_t *w);
    /// Sum of the fixed weights of p < bound, and how many are not below it.
    uint64_t (*weights_below)(const float *p, size_t count, float bound, size_t *above);
    int32_t (*race)(const ck_race_key *, const float *p, size_t count);
    int32_t (*race_candidates)(const ck_race_key *, const int32_t *ids, const float *p, size_t count);

    void (*rotary)(const ck_rotary_args *, size_t row_begin, size_t row_end);
    /// `rows` ≤ query_tile; scratch: ck_attention_scratch bytes.
    void (*attention)(const ck_attention_shape *, const ck_attention_span *, size_t head, size_t row, size_t rows, float *scratch);

    void (*layer_norm_backward)(const ck_layer_norm_backward_args *, size_t row_begin, size_t row_end);
    void (*layer_norm_parameters)(const ck_layer_norm_backward_args *, size_t column_begin, size_t column_end);
    void (*activation_backward)(int32_t activation, const float *x, const float *dy, float *dx, size_t count);
    void (*column_sums)(const float *dy, size_t rows, size_t stride, float *out, bool accumulate, size_t column_begin, size_t column_end);
    void (*cross_entropy)(const ck_cross_entropy_args *, size_t row_begin, size_t row_end);
    void (*attention_backward)(const ck_training_attention_backward_args *, size_t sequence, size_t head, float *scratch);
    void (*adamw)(const ck_adamw_args *, size_t begin, size_t end);
    float (*square_sum)(const float *x, size_t count);
    void (*dropout)(const ck_dropout_args *, size_t row_begin, size_t row_end);
};

/// Bytes of scratch that `attention` needs for rows that see up to `positions` positions.
size_t ck_attention_scratch(const ck_kernels *kernels, const ck_attention_shape *shape, size_t positions);

/// Bytes of scratch that `attention_backward` needs.
size_t ck_attention_backward_scratch(const ck_kernels *kernels, size_t length, size_t head_width);

#endif

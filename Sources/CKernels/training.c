// Training's operations divided over a pool; the arithmetic is in the tables.
#pragma STDC FP_CONTRACT OFF

#include <string.h>

#include "divide.h"

enum { CK_ROW_WORK = 8192, CK_GRADIENT_ROWS = 256, CK_NORM_BLOCK = 65536 };

typedef struct {
    ck_pool *pool;
    const ck_kernels *kernels;
    const void *args;
    size_t count, grain, scratch;
} ck_training_job;

static size_t ck_job_end(const ck_training_job *job, size_t part) { return ck_smaller((part + 1) * job->grain, job->count); }

static void ck_norm_rows_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    job->kernels->layer_norm_backward(job->args, part * job->grain, ck_job_end(job, part));
}

static void ck_norm_columns_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    job->kernels->layer_norm_parameters(job->args, part * job->grain, ck_job_end(job, part));
}

void ck_layer_norm_backward(ck_pool *pool, const ck_layer_norm_backward_args *args) {
    ck_training_job job = {pool, ck_pool_kernels(pool), args, args->width, 0, 0};
    // Parameters first: dx may be dy.
    if (args->gain_gradient) {
        job.grain = ck_grain(pool, args->width, ck_larger(args->rows, 1), CK_ROW_WORK, 16);
        ck_pool_run(pool, ck_parts(args->width, job.grain), ck_norm_columns_part, &job);
    }
    if (args->rows == 0) return;
    job.count = args->rows;
    job.grain = ck_grain(pool, args->rows, args->width, CK_ROW_WORK, 1);
    ck_pool_run(pool, ck_parts(args->rows, job.grain), ck_norm_rows_part, &job);
}

typedef struct {
    int32_t activation;
    const float *x, *dy;
    float *dx;
} ck_activation_args;

static void ck_activation_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    const ck_activation_args *a = job->args;
    size_t begin = part * job->grain;
    job->kernels->activation_backward(a->activation, a->x + begin, a->dy + begin, a->dx + begin, ck_job_end(job, part) - begin);
}

void ck_activation_backward(ck_pool *pool, int32_t activation, const float *x, const float *dy, float *dx, size_t count) {
    ck_activation_args args = {activation, x, dy, dx};
    ck_training_job job = {pool, ck_pool_kernels(pool), &args, count, ck_grain(pool, count, 1, CK_ROW_WORK, 16), 0};
    ck_pool_run(pool, ck_parts(count, job.grain), ck_activation_part, &job);
}

typedef struct {
    const float *dy;
    size_t rows, stride;
    float *out;
    bool accumulate;
} ck_column_args;

static void ck_column_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    const ck_column_args *a = job->args;
    job->kernels->column_sums(a->dy, a->rows, a->stride, a->out, a->accumulate, part * job->grain, ck_job_end(job, part));
}

void ck_column_sums(ck_pool *pool, const float *dy, size_t rows, size_t columns, size_t stride, float *out, bool accumulate) {
    ck_column_args args = {dy, rows, stride, out, accumulate};
    ck_training_job job = {pool, ck_pool_kernels(pool), &args, columns, ck_grain(pool, columns, ck_larger(rows, 1), 4 * CK_ROW_WORK, 16), 0};
    ck_pool_run(pool, ck_parts(columns, job.grain), ck_column_part, &job);
}

static void ck_cross_entropy_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    job->kernels->cross_entropy(job->args, part * job->grain, ck_job_end(job, part));
}

void ck_cross_entropy(ck_pool *pool, const ck_cross_entropy_args *args) {
    ck_training_job job = {pool, ck_pool_kernels(pool), args, args->rows, ck_grain(pool, args->rows, args->vocabulary, CK_ROW_WORK, 1), 0};
    ck_pool_run(pool, ck_parts(args->rows, job.grain), ck_cross_entropy_part, &job);
}

typedef struct {
    const float *dy;
    size_t rows, width, stride, block;
    const int32_t *ids;
    const uint32_t *order;  // rows of the block, by id, then by row
    float *gradient;
} ck_embedding_gradient_args;

static void ck_embedding_gradient_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    const ck_embedding_gradient_args *a = job->args;
    size_t begin = part * job->grain, width = ck_job_end(job, part) - begin;
    float chain[256];
    for (size_t from = begin; from < begin + width; from += 256) {
        size_t columns = ck_smaller(256, begin + width - from);
        for (size_t i = 0; i < a->rows;) {
            int32_t id = a->ids[a->order[i]];
            memset(chain, 0, sizeof chain);
            for (; i < a->rows && a->ids[a->order[i]] == id; i++) job->kernels->add(chain, chain, a->dy + a->order[i] * a->stride + from, columns);
            float *gradient = a->gradient + (size_t)id * a->width + from;
            job->kernels->add(gradient, gradient, chain, columns);
        }
    }
}

void ck_embedding_gradient(ck_pool *pool, const float *dy, size_t rows, size_t width, size_t stride, const int32_t *ids, float *gradient) {
    for (size_t block = 0; block < rows; block += CK_GRADIENT_ROWS) {
        uint32_t order[CK_GRADIENT_ROWS];
        size_t count = ck_smaller(CK_GRADIENT_ROWS, rows - block);
        for (size_t i = 0; i < count; i++) {  // insertion keeps equal ids in row order
            size_t at = i;
            for (; at > 0 && ids[block + order[at - 1]] > ids[block + i]; at--) order[at] = order[at - 1];
            order[at] = (uint32_t)i;
        }
        ck_embedding_gradient_args args = {dy + block * stride, count, width, stride, block, ids + block, order, gradient};
        ck_training_job job = {pool, ck_pool_kernels(pool), &args, width, ck_grain(pool, width, count, CK_ROW_WORK, 16), 0};
        ck_pool_run(pool, ck_parts(width, job.grain), ck_embedding_gradient_part, &job);
    }
}

static void ck_dropout_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    job->kernels->dropout(job->args, part * job->grain, ck_job_end(job, part));
}

void ck_dropout(ck_pool *pool, const ck_dropout_args *args) {
    if (!(args->rate > 0)) return;
    ck_training_job job = {pool, ck_pool_kernels(pool), args, args->rows, ck_grain(pool, args->rows, args->width, CK_ROW_WORK, 1), 0};
    ck_pool_run(pool, ck_parts(args->rows, job.grain), ck_dropout_part, &job);
}

static void ck_adamw_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    job->kernels->adamw(job->args, part * job->grain, ck_job_end(job, part));
}

void ck_adamw(ck_pool *pool, const ck_adamw_args *args) {
    ck_training_job job = {pool, ck_pool_kernels(pool), args, args->count, ck_grain(pool, args->count, 1, 2 * CK_ROW_WORK, 16), 0};
    ck_pool_run(pool, ck_parts(args->count, job.grain), ck_adamw_part, &job);
}

typedef struct {
    const float *x;
    float *sums;
} ck_square_args;

static void ck_square_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    const ck_square_args *a = job->args;
    size_t begin = part * CK_NORM_BLOCK;
    a->sums[part] = job->kernels->square_sum(a->x + begin, ck_smaller(CK_NORM_BLOCK, job->count - begin));
}

double ck_square_sum(ck_pool *pool, const float *x, size_t count) {
    // Batches of blocks keep the partial sums on the stack.
    enum { CK_BATCH = 1024 };
    float sums[CK_BATCH];
    double total = 0;
    for (size_t begin = 0; begin < count; begin += (size_t)CK_BATCH * CK_NORM_BLOCK) {
        ck_square_args args = {x + begin, sums};
        size_t length = ck_smaller((size_t)CK_BATCH * CK_NORM_BLOCK, count - begin), blocks = ck_parts(length, CK_NORM_BLOCK);
        ck_training_job job = {pool, ck_pool_kernels(pool), &args, length, CK_NORM_BLOCK, 0};
        ck_pool_run(pool, blocks, ck_square_part, &job);
        for (size_t i = 0; i < blocks; i++) total += (double)sums[i];
    }
    return total;
}

/// Bytes for one head's keys and values as pages, their addresses, and the tile's scores.
static size_t ck_training_pages(const ck_training_attention_args *a) { return ck_parts(a->length, CK_PAGE_POSITIONS); }

static void ck_training_attention_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    const ck_training_attention_args *a = job->args;
    size_t sequence = part / a->heads, head = part % a->heads, first = sequence * a->length;
    size_t pages = ck_training_pages(a), floats = ck_multiple(ck_page_floats(1, a->head_width, false), 16);
    char *memory = ck_pool_scratch(job->pool, thread, job->scratch);
    float **addresses = (float **)memory;
    float *page = (float *)(memory + ck_multiple(pages * sizeof(float *), 64)), *scratch = page + pages * floats;
    for (size_t i = 0; i < pages; i++) addresses[i] = page + i * floats;

    ck_attention_shape shape = {1, a->head_width, a->scale, a->window, false};
    ck_store_keys_values(&shape, addresses, 0, 0, (uint32_t)a->length, a->keys + first * a->stride + head * a->head_stride,
                         a->values + first * a->stride + head * a->head_stride, a->stride, a->head_stride);
    ck_attention_dropout dropout = ck_training_dropout(a, sequence, head);
    ck_attention_span span = {addresses, 0, a->queries + first * a->stride + head * a->head_stride, a->stride, a->head_stride,
                              a->out + first * a->out_stride + head * a->head_width, a->out_stride, (uint32_t)a->length, 0,
                              a->statistics ? a->statistics + part * a->length * 2 : NULL,
                              a->dropout ? &dropout : NULL};
    size_t tile = job->kernels->query_tile;
    for (size_t row = 0; row < a->length; row += tile)
        job->kernels->attention(&shape, &span, 0, row, ck_smaller(tile, a->length - row), scratch);
}

void ck_training_attention(ck_pool *pool, const ck_training_attention_args *args) {
    const ck_kernels *kernels = ck_pool_kernels(pool);
    ck_attention_shape shape = {1, args->head_width, args->scale, args->window, false};
    size_t pages = ck_training_pages(args);
    size_t bytes = ck_multiple(pages * sizeof(float *), 64) + pages * ck_multiple(ck_page_floats(1, args->head_width, false), 16) * sizeof(float)
        + ck_attention_scratch(kernels, &shape, args->length);
    ck_training_job job = {pool, kernels, args, args->sequences * args->heads, 1, bytes};
    ck_pool_run(pool, job.count, ck_training_attention_part, &job);
}

static void ck_training_attention_backward_part(void *context, size_t part, size_t thread) {
    const ck_training_job *job = context;
    const ck_training_attention_backward_args *a = job->args;
    float *scratch = ck_pool_scratch(job->pool, thread, job->scratch);
    job->kernels->attention_backward(a, part / a->forward.heads, part % a->forward.heads, scratch);
}

size_t ck_attention_backward_scratch(const ck_kernels *kernels, size_t length, size_t head_width) {
    size_t padded = ck_multiple(length, 64), dv = ck_value_stride(head_width);
    if (kernels->isa == CK_PLAIN) return 2 * length * length * sizeof(float);
    // P and dS of 256 rows, keys and values packed both ways, and the sums of dK and dV.
    return sizeof(float) * (2 * 256 * (padded + 16) + 8 * padded * (dv + 16) + 4096);
}

void ck_training_attention_backward(ck_pool *pool, const ck_training_attention_backward_args *args) {
    const ck_kernels *kernels = ck_pool_kernels(pool);
    size_t bytes = ck_attention_backward_scratch(kernels, args->forward.length, args->forward.head_width);
    ck_training_job job = {pool, kernels, args, args->forward.sequences * args->forward.heads, 1, bytes};
    ck_pool_run(pool, job.count, ck_training_attention_backward_part, &job);
}

// Inference's operations divided over a pool; the arithmetic is in the tables.
#pragma STDC FP_CONTRACT OFF

#include <string.h>

#include "divide.h"

/// About two microseconds of row work: less is not worth waking another core for.
enum { CK_ROW_WORK = 8192 };

typedef struct {
    void (*linear)(const ck_linear_args *, size_t panel_begin, size_t panel_end, size_t row_begin, size_t row_end);
    void (*prepare)(const ck_linear_args *, size_t row_begin, size_t row_end);
    const ck_linear_args *args;
    size_t prepare_grain, panels, panel_grain, row_grain, row_parts;
} ck_linear_job;

static void ck_prepare_part(void *context, size_t part, size_t thread) {
    const ck_linear_job *job = context;
    job->prepare(job->args, part * job->prepare_grain, ck_smaller((part + 1) * job->prepare_grain, job->args->rows));
}

static void ck_linear_part(void *context, size_t part, size_t thread) {
    const ck_linear_job *job = context;
    size_t panel = part / job->row_parts * job->panel_grain, row = part % job->row_parts * job->row_grain;
    job->linear(job->args, panel, ck_smaller(panel + job->panel_grain, job->panels), row, ck_smaller(row + job->row_grain, job->args->rows));
}

/// The fastest variant for narrow weights; NULL for fp32.
static const ck_narrow_kernels *ck_narrow(ck_pool *pool, int32_t precision) {
    if (precision == CK_FLOAT32) return NULL;
    const ck_narrow_kernels *variants[2];
    ck_narrow_variants(ck_isa_of(ck_pool_kernels(pool)), precision, variants);
    return variants[0];
}

void ck_linear(ck_pool *pool, const ck_linear_args *args) { ck_linear_with(pool, ck_narrow(pool, args->precision), args); }

void ck_linear_with(ck_pool *pool, const ck_narrow_kernels *narrow, const ck_linear_args *args) {
    if (args->rows == 0 || args->outputs == 0) return;
    const ck_kernels *kernels = ck_pool_kernels(pool);
    ck_linear_job job = {kernels->linear, NULL, args, 0, ck_parts(args->outputs, kernels->panel_columns), 0, args->rows, 1};
    if (narrow) {
        job.linear = narrow->linear;
        job.prepare = narrow->prepare;
        job.prepare_grain = ck_grain(pool, args->rows, args->inputs, CK_ROW_WORK, 1);
        ck_pool_run(pool, ck_parts(args->rows, job.prepare_grain), ck_prepare_part, &job);
    }
    size_t threads = ck_pool_threads(pool);
    if (threads == 1 || args->inputs * args->outputs * (args->rows + 2) < 120000) {
        job.linear(args, 0, job.panels, 0, args->rows);
        return;
    }
    // Panels first, so that each thread streams its own range of the weights; rows too where panels are few.
    size_t wanted = threads * 6;
    job.panel_grain = ck_larger(job.panels / wanted, 1);
    size_t panelParts = ck_parts(job.panels, job.panel_grain);
    if (panelParts < wanted && args->rows >= 48) {
        job.row_grain = ck_larger(ck_multiple(ck_parts(args->rows, ck_parts(wanted, panelParts)), 24), 24);
        job.row_parts = ck_parts(args->rows, job.row_grain);
    }
    ck_pool_run(pool, panelParts * job.row_parts, ck_linear_part, &job);
}

typedef struct {
    void (*pack)(const ck_pack_args *, size_t panel_begin, size_t panel_end);
    const ck_pack_args *args;
    size_t panels, grain;
} ck_pack_job;

static void ck_pack_part(void *context, size_t part, size_t thread) {
    const ck_pack_job *job = context;
    job->pack(job->args, part * job->grain, ck_smaller((part + 1) * job->grain, job->panels));
}

void ck_pack(ck_pool *pool, const ck_pack_args *args) {
    if (args->inputs == 0 || args->outputs == 0) return;
    const ck_kernels *kernels = ck_pool_kernels(pool);
    const ck_narrow_kernels *narrow = ck_narrow(pool, args->precision);
    size_t panels = ck_parts(args->outputs, kernels->panel_columns);
    ck_pack_job job = {
        narrow ? narrow->pack : kernels->pack, args, panels, ck_grain(pool, panels, args->inputs * kernels->panel_columns, 16384, 1),
    };
    ck_pool_run(pool, ck_parts(panels, job.grain), ck_pack_part, &job);
}

typedef struct {
    const ck_kernels *kernels;
    const float *x;
    size_t rows, columns, x_stride;
    float *out;
    size_t out_stride, grain;
} ck_transpose_job;

static void ck_transpose_part(void *context, size_t part, size_t thread) {
    const ck_transpose_job *job = context;
    size_t begin = part * job->grain, end = ck_smaller(begin + job->grain, job->columns);
    job->kernels->transpose(job->x + begin, job->rows, end - begin, job->x_stride, job->out + begin * job->out_stride, job->out_stride);
}

void ck_transpose(ck_pool *pool, const float *x, size_t rows, size_t columns, size_t x_stride, float *out, size_t out_stride) {
    if (rows == 0 || columns == 0) return;
    ck_transpose_job job = {ck_pool_kernels(pool), x, rows, columns, x_stride, out, out_stride, 0};
    job.grain = ck_grain(pool, columns, rows, 16384, 16);
    ck_pool_run(pool, ck_parts(columns, job.grain), ck_transpose_part, &job);
}

typedef struct {
    const ck_kernels *kernels;
    const void *args;
    size_t rows, grain;
} ck_row_job;

static void ck_layer_norm_part(void *context, size_t part, size_t thread) {
    const ck_row_job *job = context;
    job->kernels->layer_norm(job->args, part * job->grain, ck_smaller((part + 1) * job->grain, job->rows));
}

void ck_layer_norm(ck_pool *pool, const ck_layer_norm_args *args) {
    if (args->rows == 0) return;
    ck_row_job job = {ck_pool_kernels(pool), args, args->rows, ck_grain(pool, args->rows, args->width, CK_ROW_WORK, 1)};
    ck_pool_run(pool, ck_parts(args->rows, job.grain), ck_layer_norm_part, &job);
}

static void ck_embedding_part(void *context, size_t part, size_t thread) {
    const ck_row_job *job = context;
    const ck_embedding_args *a = job->args;
    for (size_t row = part * job->grain; row < ck_smaller((part + 1) * job->grain, job->rows); row++) {
        const float *token = a->tokens + (size_t)a->ids[row] * a->width;
        float *out = a->out + row * a->out_stride;
        if (a->positions) job->kernels->add(out, token, a->positions + (size_t)a->places[row] * a->width, a->width);
        else memcpy(out, token, a->width * sizeof(float));
    }
}

void ck_embedding(ck_pool *pool, const ck_embedding_args *args) {
    if (args->rows == 0) return;
    ck_row_job job = {ck_pool_kernels(pool), args, args->rows, ck_grain(pool, args->rows, args->width, 4 * CK_ROW_WORK, 1)};
    ck_pool_run(pool, ck_parts(args->rows, job.grain), ck_embedding_part, &job);
}

static void ck_rotary_part(void *context, size_t part, size_t thread) {
    const ck_row_job *job = context;
    job->kernels->rotary(job->args, part * job->grain, ck_smaller((part + 1) * job->grain, job->rows));
}

void ck_rotary(ck_pool *pool, const ck_rotary_args *args) {
    if (args->rows == 0 || args->pairs == 0) return;
    size_t each = 4 * args->heads * args->pairs;
    ck_row_job job = {ck_pool_kernels(pool), args, args->rows, ck_grain(pool, args->rows, each, CK_ROW_WORK, 1)};
    ck_pool_run(pool, ck_parts(args->rows, job.grain), ck_rotary_part, &job);
}

typedef struct {
    const ck_kernels *kernels;
    int32_t function;
    const float *x, *y;
    float *out;
    size_t count, grain;
} ck_flat_job;

static void ck_map_part(void *context, size_t part, size_t thread) {
    const ck_flat_job *job = context;
    size_t begin = part * job->grain, count = ck_smaller(job->grain, job->count - begin);
    job->kernels->map(job->function, job->x + begin, job->out + begin, count);
}

void ck_map(ck_pool *pool, int32_t function, const float *x, float *out, size_t count) {
    ck_flat_job job = {ck_pool_kernels(pool), function, x, NULL, out, count, ck_grain(pool, count, 1, CK_ROW_WORK, 16)};
    ck_pool_run(pool, ck_parts(count, job.grain), ck_map_part, &job);
}

static void ck_add_part(void *context, size_t part, size_t thread) {
    const ck_flat_job *job = context;
    size_t begin = part * job->grain, count = ck_smaller(job->grain, job->count - begin);
    job->kernels->add(job->out + begin, job->x + begin, job->y + begin, count);
}

void ck_add(ck_pool *pool, float *a, const float *b, size_t count) {
    ck_flat_job job = {ck_pool_kernels(pool), 0, a, b, a, count, ck_grain(pool, count, 1, 4 * CK_ROW_WORK, 16)};
    ck_pool_run(pool, ck_parts(count, job.grain), ck_add_part, &job);
}

bool ck_has_nan(const float *x, size_t count) { return ck_current()->has_nan(x, count); }
float ck_maximum(const float *x, size_t count) { return ck_current()->maximum(x, count); }

size_t ck_argmax(const float *x, size_t count) {
    float best = ck_current()->maximum(x, count);
    for (size_t i = 0; i < count && best > -__builtin_inff(); i++)
        if (x[i] == best) return i;
    return 0;
}

/// Log of the sum in the fixed order; exponentials are formed in pieces whose lanes continue.
float ck_log_sum_exp(const float *x, size_t count) {
    const ck_kernels *kernels = ck_current();
    float best = kernels->maximum(x, count);
    if (!(best > -__builtin_inff()) || best == __builtin_inff()) return best;
    float sum = kernels->exponentials(x, count, best, NULL);
    return best + ck_logf(sum);
}

// Attention divided over a pool: a part is one tile of query rows of one head of one span.
#pragma STDC FP_CONTRACT OFF

#include <string.h>

#include "divide.h"
#include "target.h"

size_t ck_value_stride(size_t head_width) { return ck_multiple(head_width, 16); }
size_t ck_page_floats(size_t heads, size_t head_width, bool narrow) {
    return heads * CK_PAGE_POSITIONS * (head_width + ck_value_stride(head_width)) / (narrow ? 2 : 1);
}

size_t ck_attention_scratch(const ck_kernels *kernels, const ck_attention_shape *shape, size_t positions) {
    // Scores of a tile (whole blocks of 16, aligned at 16 positions), and one row of value sums each.
    return sizeof(float) * kernels->query_tile * (ck_multiple(positions + 16, 16) + 2 * ck_value_stride(shape->head_width));
}

typedef struct {
    const ck_kernels *kernels;
    ck_pool *pool;
    const ck_attention_shape *shape;
    const ck_attention_span *spans;
    size_t count, scratch, tiles_a_part;
} ck_attention_job;

static size_t ck_span_groups(const ck_attention_job *job, const ck_attention_span *span) {
    return ck_parts(ck_parts(span->rows, job->kernels->query_tile), job->tiles_a_part);
}

static void ck_attention_part(void *context, size_t part, size_t thread) {
    const ck_attention_job *job = context;
    const ck_attention_span *span = job->spans;
    size_t heads = job->shape->heads;
    for (; part >= ck_span_groups(job, span) * heads; span++) part -= ck_span_groups(job, span) * heads;
    float *scratch = ck_pool_scratch(job->pool, thread, job->scratch);
    size_t head = part % heads, tile = job->kernels->query_tile;
    size_t row = part / heads * job->tiles_a_part * tile, end = ck_smaller(row + job->tiles_a_part * tile, span->rows);
    for (; row < end; row += tile) job->kernels->attention(job->shape, span, head, row, ck_smaller(tile, end - row), scratch);
}

void ck_attention(ck_pool *pool, const ck_attention_shape *shape, const ck_attention_span *spans, size_t count) {
    ck_attention_job job = {ck_pool_kernels(pool), pool, shape, spans, count, 0, 4};
    size_t parts = 0, positions = 0, work = 0;
    for (size_t i = 0; i < count; i++) {
        parts += ck_span_groups(&job, &spans[i]) * shape->heads;
        positions = ck_larger(positions, (size_t)spans[i].first_position + spans[i].rows);
        work += (size_t)spans[i].rows * (spans[i].first_position + spans[i].rows) * shape->head_width * shape->heads;
    }
    job.scratch = ck_attention_scratch(job.kernels, shape, positions);
    if (work < 60000) {
        for (size_t part = 0; part < parts; part++) ck_attention_part(&job, part, 0);
    } else {
        ck_pool_run(pool, parts, ck_attention_part, &job);
    }
}

CK_TARGET_BEGIN

#include "definition/functions.h"
#include "definition/bfloat16.h"

static uint16_t narrowed(float x) { return (uint16_t)(ck_bits(ck_bfloat16(x)) >> 16); }

/// One head's key and value of one position; `values` are the page's.
static void store_wide(const float *key, const float *value, size_t d, size_t dv, float *column, float *values) {
    for (size_t i = 0; i < d; i++) column[i * 16] = key[i];
    memcpy(values, value, d * sizeof(float));
    memset(values + d, 0, (dv - d) * sizeof(float));
}

static void store_narrow(const float *key, const float *value, size_t d, size_t dv, uint16_t *column, uint16_t *values) {
    for (size_t i = 0; i < d; i++) column[i * 16] = narrowed(key[i]);
    for (size_t i = 0; i < d; i++) values[i] = narrowed(value[i]);
    memset(values + d, 0, (dv - d) * sizeof(uint16_t));
}

void ck_store_keys_values(const ck_attention_shape *shape, float *const *pages, size_t page_offset, uint32_t first_position, uint32_t rows,
                          const float *keys, const float *values, size_t stride, size_t head_stride) {
    size_t d = shape->head_width, dv = ck_value_stride(d);
    for (size_t row = 0; row < rows; row++) {
        size_t position = first_position + row, place = position % CK_PAGE_POSITIONS;
        float *page = pages[position / CK_PAGE_POSITIONS] + page_offset;
        for (size_t head = 0; head < shape->heads; head++) {
            const float *key = keys + row * stride + head * head_stride, *value = values + row * stride + head * head_stride;
            size_t column = head * CK_PAGE_POSITIONS * d + place / 16 * 16 * d + place % 16;
            size_t line = shape->heads * CK_PAGE_POSITIONS * d + (head * CK_PAGE_POSITIONS + place) * dv;
            uint16_t *narrow = (uint16_t *)(void *)page;
            if (shape->narrow) store_narrow(key, value, d, dv, narrow + column, narrow + line);
            else store_wide(key, value, d, dv, page + column, page + line);
        }
    }
}

CK_TARGET_END

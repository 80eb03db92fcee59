// Surveys of functions over many floats, divided over a pool.
#pragma STDC FP_CONTRACT OFF

#include "ck_survey.h"

#include <stdatomic.h>

#include "divide.h"

/// Floats at a time: in and out stay in the first cache.
enum { CK_SURVEY_PIECE = 2048, CK_SURVEY_PART = 1 << 16 };

typedef struct {
    const ck_kernels *kernels;
    int32_t function;
    uint32_t first, step;
    uint64_t count;
    _Atomic uint64_t sum;
} ck_survey_job;

static inline uint64_t ck_mix(uint64_t v) {
    v = (v ^ v >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return (v ^ v >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
}

static void ck_survey_part(void *context, size_t part, size_t thread) {
    ck_survey_job *job = context;
    uint64_t begin = (uint64_t)part * CK_SURVEY_PART, end = begin + CK_SURVEY_PART, sum = 0;
    if (end > job->count) end = job->count;
    float x[CK_SURVEY_PIECE], y[CK_SURVEY_PIECE], ones[CK_SURVEY_PIECE];
    for (size_t i = 0; i < CK_SURVEY_PIECE; i++) ones[i] = 1.0f;
    for (; begin < end; begin += CK_SURVEY_PIECE) {
        size_t count = end - begin < CK_SURVEY_PIECE ? (size_t)(end - begin) : CK_SURVEY_PIECE;
        uint32_t from = job->first + (uint32_t)begin * job->step;
        for (size_t i = 0; i < count; i++) x[i] = __builtin_bit_cast(float, from + (uint32_t)i * job->step);
        if (job->function >= CK_DERIVATIVE) job->kernels->activation_backward(job->function - CK_DERIVATIVE, x, ones, y, count);
        else job->kernels->map(job->function, x, y, count);
        for (size_t i = 0; i < count; i++) {
            uint32_t bits = y[i] != y[i] ? 0x7fc00000u : __builtin_bit_cast(uint32_t, y[i]);
            sum += ck_mix((uint64_t)(from + (uint32_t)i * job->step) << 32 | bits);
        }
    }
    atomic_fetch_add_explicit(&job->sum, sum, memory_order_relaxed);
}

uint64_t ck_survey(ck_pool *pool, int32_t function, uint32_t first, uint32_t step, uint64_t count) {
    ck_survey_job job = {ck_pool_kernels(pool), function, first, step, count, 0};
    ck_pool_run(pool, (size_t)((count + CK_SURVEY_PART - 1) / CK_SURVEY_PART), ck_survey_part, &job);
    return atomic_load_explicit(&job.sum, memory_order_relaxed);
}

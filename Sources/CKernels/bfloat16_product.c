// Products with bfloat16 operands: the definition in plain C, and the division of a product over a pool.
#pragma STDC FP_CONTRACT OFF

#include "bfloat16_product.h"
#include "divide.h"
#include "target.h"

enum { PRODUCT_BLOCK = 256, PRODUCT_COLUMNS = 64, PRODUCT_ROWS = 96 };

CK_TARGET_BEGIN

#include "definition/functions.h"
#include "definition/bfloat16.h"

static void plain_part(
    const ck_product_args *args, const float *workspace, size_t row, size_t rows, size_t column, size_t columns, float *scratch) {
    for (size_t m = row; m < row + rows; m++) {
        for (size_t n = column; n < column + columns; n++) {
            const float *a = args->a + m * args->a_row, *b = args->b + n * args->b_column;
            size_t index = m * args->out_stride + n;
            float sum = args->accumulate ? args->out[index] : 0.0f;
            for (size_t begin = 0; begin < args->inputs; begin += PRODUCT_BLOCK) {
                float chain = 0.0f;
                for (size_t k = begin; k < ck_smaller(begin + PRODUCT_BLOCK, args->inputs); k += 2) {
                    bool whole = k + 1 < args->inputs;
                    float aOdd = whole ? a[(k + 1) * args->a_k] : 0.0f, bOdd = whole ? b[(k + 1) * args->b_k] : 0.0f;
                    chain = ck_fma_flushed(ck_bfloat16(aOdd), ck_bfloat16(bOdd), chain);
                    chain = ck_fma_flushed(ck_bfloat16(a[k * args->a_k]), ck_bfloat16(b[k * args->b_k]), chain);
                }
                sum = sum + chain;
            }
            if (args->bias) sum = sum + args->bias[n];
            if (args->residual) sum = args->residual[index] + sum;
            args->out[index] = sum;
        }
    }
}

CK_TARGET_END

const ck_bfloat16_kernels ck_bfloat16_plain = {.pack = NULL, .part = plain_part};

void ck_bfloat16_variants(int32_t isa, const ck_bfloat16_kernels *variants[2]) {
    variants[0] = &ck_bfloat16_plain;
    variants[1] = NULL;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (isa == CK_AVX2) variants[0] = &ck_bfloat16_avx2;
    if (isa == CK_AVX512) {
        bool native = __builtin_cpu_supports("avx512bf16");
        variants[0] = native ? &ck_bfloat16_native : &ck_bfloat16_avx512;
        variants[1] = native ? &ck_bfloat16_avx512 : NULL;
    }
#elif defined(__aarch64__)
    if (isa == CK_NEON) variants[0] = &ck_bfloat16_neon;
#endif
}

size_t ck_bfloat16_product_floats(size_t rows, size_t inputs) { return ck_multiple(rows * ck_multiple(inputs, 2), 16) + 16; }

typedef struct {
    ck_pool *pool;
    const ck_bfloat16_kernels *kernels;
    const ck_product_args *args;
    float *workspace;
    size_t pack_grain, row_grain, row_parts;
} ck_bfloat16_job;

static void pack_run(void *context, size_t index, size_t thread) {
    const ck_bfloat16_job *job = context;
    size_t row = index * job->pack_grain;
    job->kernels->pack(job->args, row, ck_smaller(job->pack_grain, job->args->rows - row), job->workspace);
}

static void product_run(void *context, size_t index, size_t thread) {
    const ck_bfloat16_job *job = context;
    const ck_product_args *a = job->args;
    size_t row = index % job->row_parts * job->row_grain, column = index / job->row_parts * PRODUCT_COLUMNS;
    float *scratch = ck_pool_scratch(job->pool, thread, PRODUCT_BLOCK * PRODUCT_COLUMNS * sizeof(float));
    job->kernels->part(a, job->workspace, row, ck_smaller(job->row_grain, a->rows - row), column, ck_smaller(PRODUCT_COLUMNS, a->columns - column), scratch);
}

void ck_bfloat16_product_with(ck_pool *pool, const ck_bfloat16_kernels *kernels, const ck_product_args *args, float *workspace) {
    if (args->rows == 0 || args->columns == 0) return;
    size_t threads = ck_pool_threads(pool), panels = ck_parts(args->columns, PRODUCT_COLUMNS), wanted = 4 * threads;
    ck_bfloat16_job job = {pool, kernels, args, workspace, ck_grain(pool, args->rows, args->inputs, 1 << 14, 16), args->rows, 1};
    if (kernels->pack) ck_pool_run(pool, ck_parts(args->rows, job.pack_grain), pack_run, &job);
    // Each part gathers its block of b anew, so rows are divided no finer than the threads need.
    if (threads > 1 && panels < wanted && args->rows > PRODUCT_ROWS) {
        size_t parts = ck_smaller(ck_parts(wanted, panels), ck_parts(args->rows, PRODUCT_ROWS));
        job.row_grain = ck_multiple(ck_parts(args->rows, parts), 6);
        job.row_parts = ck_parts(args->rows, job.row_grain);
    }
    ck_pool_run(pool, panels * job.row_parts, product_run, &job);
}

void ck_bfloat16_product(ck_pool *pool, const ck_product_args *args, float *workspace) {
    const ck_bfloat16_kernels *variants[2];
    ck_bfloat16_variants(ck_isa_of(ck_pool_kernels(pool)), variants);
    ck_bfloat16_product_with(pool, variants[0], args, workspace);
}

// Training's products: the definition in plain C, and the division of a product over a pool.
#pragma STDC FP_CONTRACT OFF

#include "training_product.h"
#include "divide.h"
#include "target.h"

enum { PRODUCT_BLOCK = 256, PRODUCT_COLUMNS = 64, PRODUCT_ROWS = 96 };

CK_TARGET_BEGIN

void ck_product_plain(const ck_product_args *args, size_t row, size_t rows, size_t column, size_t columns, float *scratch) {
    for (size_t m = row; m < row + rows; m++) {
        for (size_t n = column; n < column + columns; n++) {
            size_t index = m * args->out_stride + n;
            float sum = args->accumulate ? args->out[index] : 0.0f;
            for (size_t begin = 0; begin < args->inputs; begin += PRODUCT_BLOCK) {
                float chain = 0.0f;
                for (size_t k = begin; k < ck_smaller(begin + PRODUCT_BLOCK, args->inputs); k++)
                    chain = __builtin_fmaf(args->a[m * args->a_row + k * args->a_k], args->b[k * args->b_k + n * args->b_column], chain);
                sum = sum + chain;
            }
            if (args->bias) sum = sum + args->bias[n];
            if (args->residual) sum = args->residual[index] + sum;
            args->out[index] = sum;
        }
    }
}

CK_TARGET_END

static ck_product_part ck_product_of(int32_t isa) {
    switch (isa) {
#if defined(__x86_64__)
    case CK_AVX2: return ck_product_avx2;
    case CK_AVX512: return ck_product_avx512;
#elif defined(__aarch64__)
    case CK_NEON: return ck_product_neon;
#endif
    default: return ck_product_plain;
    }
}

typedef struct {
    ck_pool *pool;
    ck_product_part part;
    const ck_product_args *args;
    size_t row_grain, row_parts;
} ck_product_job;

static void ck_product_run(void *context, size_t index, size_t thread) {
    const ck_product_job *job = context;
    const ck_product_args *a = job->args;
    size_t row = index % job->row_parts * job->row_grain, column = index / job->row_parts * PRODUCT_COLUMNS;
    float *scratch = ck_pool_scratch(job->pool, thread, PRODUCT_BLOCK * PRODUCT_COLUMNS * sizeof(float));
    job->part(a, row, ck_smaller(job->row_grain, a->rows - row), column, ck_smaller(PRODUCT_COLUMNS, a->columns - column), scratch);
}

void ck_product(ck_pool *pool, const ck_product_args *args) {
    if (args->rows == 0 || args->columns == 0) return;
    ck_product_job job = {pool, ck_product_of(ck_isa_of(ck_pool_kernels(pool))), args, args->rows, 1};
    size_t panels = ck_parts(args->columns, PRODUCT_COLUMNS), threads = ck_pool_threads(pool), wanted = 4 * threads;
    // Each part gathers its block of b anew, so rows are divided no finer than the threads need.
    if (threads > 1 && panels < wanted && args->rows > PRODUCT_ROWS) {
        size_t parts = ck_smaller(ck_parts(wanted, panels), ck_parts(args->rows, PRODUCT_ROWS));
        job.row_grain = ck_multiple(ck_parts(args->rows, parts), 6);
        job.row_parts = ck_parts(args->rows, job.row_grain);
    }
    ck_pool_run(pool, panels * job.row_parts, ck_product_run, &job);
}

// Functions of single values, Philox blocks and double precision, for callers outside the kernels.
#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "target.h"

CK_TARGET_BEGIN

#include "definition/functions.h"
#include "definition/philox.h"
#include "definition/doubles.h"

float ck_expf(float x) { return ck_scalar_exp(x); }
float ck_logf(float x) { return ck_scalar_log(x); }
float ck_log1pf(float x) { return ck_scalar_log1p(x); }
float ck_tanhf(float x) { return ck_scalar_tanh(x); }
float ck_erff(float x) { return ck_scalar_erf(x); }
float ck_apply(int32_t function, float x) { return ck_scalar_apply(function, x); }

void ck_philox(uint64_t seed, const uint32_t counter[4], uint32_t out[4]) { ck_philox_block(seed, counter, out); }
float ck_uniform(uint32_t x) { return ck_scalar_uniform(x); }

double ck_exp(double x) { return ck_double_exp(x); }
double ck_log(double x) { return ck_double_log(x); }
double ck_sin(double x) { return ck_double_sin(x); }
double ck_cos(double x) { return ck_double_cos(x); }

void ck_normal(uint64_t seed, uint32_t stream, uint32_t purpose, uint64_t first, double deviation, float *out, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t element = first + i;
        uint32_t counter[4] = {(uint32_t)(element / 2), (uint32_t)(element / 2 >> 32), stream, purpose}, words[4];
        ck_philox_block(seed, counter, words);
        uint64_t low = (uint64_t)words[1] << 32 | words[0], high = (uint64_t)words[3] << 32 | words[2];
        // 52 bits and a half: never 0, never 1.
        double u = ((double)(low >> 12) + 0.5) * 0x1p-52, angle = CK_TWO_PI * (((double)(high >> 12) + 0.5) * 0x1p-52);
        double radius = __builtin_sqrt(-2.0 * ck_double_log(u));
        double value = radius * (element % 2 == 0 ? ck_double_cos(angle) : ck_double_sin(angle));
        out[i] = (float)(value * deviation);
    }
}

void ck_rotary_table(size_t positions, size_t pairs, double base, float *cosines, float *sines) {
    double logarithm = ck_double_log(base);
    for (size_t i = 0; i < pairs; i++) {
        float exponent = (float)(2 * i) / (float)(2 * pairs);
        float frequency = 1.0f / (float)ck_double_exp((double)exponent * logarithm);
        for (size_t position = 0; position < positions; position++) {
            float angle = (float)position * frequency;
            cosines[position * pairs + i] = (float)ck_double_cos((double)angle);
            sines[position * pairs + i] = (float)ck_double_sin((double)angle);
        }
    }
}

CK_TARGET_END

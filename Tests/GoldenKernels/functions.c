// Functions of one variable, double precision, random numbers.
#pragma STDC FP_CONTRACT OFF

#include "golden.h"

#include <stdio.h>
#include <stdlib.h>

/// One float in 4099, and whole stretches where something begins or ends: zeros and denormals, the smallest normal numbers, the
/// polynomials' ends and branches, 1 and its neighbours, overflow, infinities and NaNs, of both signs.
static uint64_t survey(const golden_run *run, int32_t function) {
    static const float places[] = {
        0.0f, 0x1p-126f, 0x1p-24f, 0x1p-12f, 0.34657359f, 0.55f, 0.625f, 0.70710678f, 0.921875f, 1.0f, 1.41421356f, 2.0f, 3.92f, 5.0f, 9.01f, 17.0f,
        51.0f, 64.0f, 87.3f, 88.72f, 103.97f, 0x1p24f, 0x1p64f, 0x1.fffffep127f,
    };
    uint64_t sum = ck_survey(run->pool, function, 0, 4099, (UINT64_C(1) << 32) / 4099);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        uint32_t bits = __builtin_bit_cast(uint32_t, places[i]), first = bits < 1024 ? 0 : bits - 1024;
        for (uint32_t sign = 0; sign < 2; sign++) sum = 31 * sum + ck_survey(run->pool, function, first | sign << 31, 1, 2048);
    }
    return sum;
}

static void surveys(const golden_run *run) {
    for (int32_t function = CK_GELU_NEW; function <= CK_ERF; function++) {
        char name[40];
        snprintf(name, sizeof name, "survey of function %d", function);
        golden_found(run, name, survey(run, function));
        if (function > CK_TANH) continue;
        snprintf(name, sizeof name, "survey of derivative %d", function);
        golden_found(run, name, survey(run, CK_DERIVATIVE + function));
    }
}

/// The functions of single values, which the sampler calls: equal to the mapped ones by another road.
static void single(const golden_run *run) {
    uint64_t hash = GOLDEN_EMPTY;
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 20011) {
        float x = __builtin_bit_cast(float, (uint32_t)bits);
        float y[] = {ck_expf(x), ck_logf(x), ck_log1pf(x), ck_tanhf(x), ck_erff(x), ck_apply(CK_GELU_NEW, x)};
        hash = golden_hash(hash, y, sizeof y / sizeof *y);
    }
    golden_found(run, "single values", hash);
}

static void doubles(const golden_run *run) {
    golden_numbers numbers = {158};
    uint64_t hash = GOLDEN_EMPTY;
    for (int i = 0; i < 20000; i++) {
        double unit = ((double)(golden_next(&numbers) >> 12) + 0.5) * 0x1p-52, x = (unit - 0.5) * 1420, angle = (unit - 0.5) * 2e6;
        hash = golden_hash_double(hash, ck_exp(x));
        hash = golden_hash_double(hash, ck_log(ck_exp(x / 2)));
        hash = golden_hash_double(hash, ck_sin(angle));
        hash = golden_hash_double(hash, ck_cos(angle));
    }
    golden_found(run, "double functions", hash);
}

static void random_numbers(const golden_run *run) {
    float *normal = golden_floats(100000);
    ck_normal(53, 2, 1, 0, 0.02, normal, 100000);
    golden_found(run, "normal", golden_hash(GOLDEN_EMPTY, normal, 100000));
    free(normal);
    golden_numbers numbers = {159};
    uint64_t hash = GOLDEN_EMPTY;
    for (int i = 0; i < 5000; i++) {
        uint64_t seed = golden_next(&numbers), low = golden_next(&numbers), high = golden_next(&numbers);
        uint32_t counter[4] = {(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high, (uint32_t)(high >> 32)}, words[4];
        ck_philox(seed, counter, words);
        float uniform[4];
        for (int j = 0; j < 4; j++) uniform[j] = ck_uniform(words[j]);
        hash = golden_hash(golden_hash_words(hash, words, 4), uniform, 4);
    }
    golden_found(run, "philox", hash);
    ck_mt19937 generator;
    ck_mt19937_seed(&generator, 5489);
    hash = GOLDEN_EMPTY;
    for (int i = 0; i < 5000; i++) {
        uint32_t word = ck_mt19937_next(&generator);
        float draw = ck_torch_exponential(&generator);
        hash = golden_hash(golden_hash_words(hash, &word, 1), &draw, 1);
        if (i % 97 == 0) ck_torch_skip(&generator, (uint64_t)i);
    }
    golden_found(run, "torch's numbers", hash);
}

void golden_functions(const golden_run *run) {
    surveys(run);
    single(run);
    doubles(run);
    random_numbers(run);
}

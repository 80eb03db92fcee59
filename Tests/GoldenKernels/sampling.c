// Choosing a token: row passes, the exponential race, filters.
#pragma STDC FP_CONTRACT OFF

#include "golden.h"

#include <stdlib.h>

/// Draws over 5,000 tokens, at 200 places.
static void races(const golden_run *run) {
    golden_numbers numbers = {54};
    size_t count = 5000;
    float *p = golden_uniform(&numbers, count, 6), tokens[200];
    for (size_t i = 0; i < count; i++) p[i] = ck_expf(p[i] - 6);
    for (uint32_t position = 0; position < 200; position++) {
        ck_race_key key = {99, position, position % 3, 0};
        tokens[position] = (float)run->kernels->race(&key, p, count);
    }
    golden_found(run, "race", golden_hash(GOLDEN_EMPTY, tokens, 200));
    free(p);
}

/// One row of scores through everything that the tables know.
static uint64_t row_passes(const golden_run *run, uint64_t hash, float *z, size_t count, uint64_t seed) {
    const ck_kernels *kernels = run->kernels;
    float *p = golden_floats(count), maximum = kernels->divide_maximum(z, count, seed % 2 ? 0.7f : 1.0f);
    float sums[] = {maximum, kernels->maximum(z, count), kernels->exponentials(z, count, maximum, p), kernels->exponentials(z, count, maximum, NULL)};
    hash = golden_hash(golden_hash(hash, sums, 4), p, count);
    hash = golden_hash_wide(hash, kernels->has_nan(z, count));
    uint64_t *weights = golden_memory(count * sizeof(uint64_t));
    hash = golden_hash_wide(hash, kernels->fixed_weights(p, count, weights));
    hash = golden_hash_wide(hash, kernels->fixed_weights(p, count, NULL));
    for (size_t i = 0; i < count; i++) hash = golden_hash_wide(hash, weights[i]);
    for (float bound = 0.5f; bound > 1e-6f; bound *= 0.06f) {
        size_t above;
        hash = golden_hash_wide(hash, kernels->weights_below(p, count, bound, &above));
        hash = golden_hash_wide(hash, above);
    }
    int32_t *ids = golden_memory(count * sizeof(int32_t));
    float *listed = golden_floats(count);
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        if (i % 3 != seed % 3) ids[found] = (int32_t)i, listed[found++] = p[i];
    for (uint32_t sample = 0; sample < 8; sample++) {
        ck_race_key key = {seed, 17, sample, 16};
        hash = golden_hash_wide(hash, (uint32_t)kernels->race(&key, p, count));
        hash = golden_hash_wide(hash, (uint32_t)kernels->race_candidates(&key, ids, listed, found));
    }
    free(p), free(weights), free(ids), free(listed);
    return hash;
}

/// The operations that choose their kernels themselves: the process's current instruction set.
static uint64_t filters(uint64_t hash, const float *z, size_t count, uint64_t seed) {
    float *p = golden_floats(count), maximum = ck_maximum(z, count), logSum = ck_log_sum_exp(z, count);
    ck_exponentials(z, count, maximum, p);
    hash = golden_hash_wide(golden_hash(hash, &logSum, 1), ck_argmax(z, count));
    for (size_t k = 1; k <= count; k = 3 * k + 1) {
        float kth = ck_kth_largest(z, count, k);
        hash = golden_hash(hash, &kth, 1);
    }
    for (int i = 0; i < 4; i++) {
        float *cut = golden_copy(z, count);
        hash = golden_hash_wide(hash, ck_top_p(cut, p, count, maximum, (const double[]){0, 0.5, 0.95, 0.9999}[i]));
        hash = golden_hash(hash, cut, count);
        free(cut);
    }
    ck_finisher best[20];
    ck_race_key key = {seed, 3, 1, 0};
    size_t places = ck_race_best(&key, NULL, p, count, 20, best);
    for (size_t i = 0; i < places; i++) hash = golden_hash_wide(golden_hash(hash, &best[i].ratio, 1), (uint32_t)best[i].place);
    ck_mt19937 generator;
    ck_mt19937_seed(&generator, seed);
    hash = golden_hash_wide(hash, (uint32_t)ck_torch_race(&generator, NULL, p, count));
    places = ck_torch_race_best(&generator, NULL, p, count, 20, best);
    for (size_t i = 0; i < places; i++) hash = golden_hash_wide(golden_hash(hash, &best[i].ratio, 1), (uint32_t)best[i].place);
    free(p);
    return hash;
}

/// What decides between equals: weights that reach the cut of top_p exactly, and finishers of one ratio.
static void ties(const golden_run *run) {
    uint64_t hash = GOLDEN_EMPTY;
    for (size_t count = 2; count <= 40; count += 2) {
        float z[40], p[40];
        for (size_t i = 0; i < count; i++) z[i] = 1, p[i] = 1;
        hash = golden_hash_wide(hash, ck_top_p(z, p, count, 1, 0.5));
        hash = golden_hash(hash, z, count);
    }
    // One id many times draws one number.
    int32_t ids[30];
    float p[30];
    for (int32_t i = 0; i < 30; i++) ids[i] = 7 + i % 3, p[i] = 0.25f;
    ck_race_key key = {5, 6, 0, 0};
    ck_finisher best[20];
    size_t places = ck_race_best(&key, ids, p, 30, 20, best);
    for (size_t i = 0; i < places; i++) hash = golden_hash_wide(golden_hash(hash, &best[i].ratio, 1), (uint32_t)best[i].place);
    hash = golden_hash_wide(hash, (uint32_t)run->kernels->race_candidates(&key, ids, p, 30));
    golden_found(run, "ties", hash);
}

void golden_sampling(const golden_run *run) {
    races(run);
    ties(run);
    golden_numbers numbers = {160};
    uint64_t passes = GOLDEN_EMPTY, filtered = GOLDEN_EMPTY;
    for (uint64_t i = 0; i < 24; i++) {
        size_t count = golden_integer(&numbers, 1, i % 4 == 0 ? 9000 : 300);
        float *z = golden_uniform(&numbers, count, (float)(i % 9) * 2);
        if (i % 3 == 1)
            for (size_t j = 0; j < count; j++) z[j] = (float)(int32_t)(z[j] * 2);
        if (i % 5 == 4)
            for (size_t j = 0; j + 1 < count; j += 3) z[j] = -__builtin_inff();
        filtered = filters(filtered, z, count, i);
        if (i % 7 == 6) z[count / 2] = __builtin_nanf("");
        passes = row_passes(run, passes, z, count, i);
        free(z);
    }
    golden_found(run, "sampling's row passes", passes);
    golden_found(run, "filters and finishers", filtered);
}

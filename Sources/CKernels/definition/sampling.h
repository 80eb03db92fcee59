// Row passes of the sampler: the definition of ck_sampling.h.

static float plain_divide_maximum(float *z, size_t count, float divisor) {
    if (divisor != 1.0f)
        for (size_t i = 0; i < count; i++) z[i] = z[i] / divisor;
    return plain_maximum(z, count);
}

/// p may be NULL: the sum alone.
static float plain_exponentials(const float *z, size_t count, float maximum, float *p) {
    ck_lanes sum = ck_zero_lanes();
    for (size_t i = 0; i < count; i++) {
        float value = ck_scalar_exp(z[i] - maximum);
        if (p) p[i] = value;
        sum.lane[i % 16] = sum.lane[i % 16] + value;
    }
    return ck_tree(sum);
}

/// p·2⁴⁰ is exact; p outside 0 … 1 (or NaN) counts as 0.
CK_INLINE uint64_t ck_fixed_weight(float p) { return p >= 0.0f && p <= 1.0f ? (uint64_t)(int64_t)(p * 0x1p40f) : 0; }

static uint64_t plain_fixed_weights(const float *p, size_t count, uint64_t *w) {
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t weight = ck_fixed_weight(p[i]);
        if (w) w[i] = weight;
        total += weight;
    }
    return total;
}

static uint64_t plain_weights_below(const float *p, size_t count, float bound, size_t *above) {
    uint64_t total = 0;
    *above = 0;
    for (size_t i = 0; i < count; i++) {
        *above += p[i] >= bound;
        total += p[i] < bound ? ck_fixed_weight(p[i]) : 0;
    }
    return total;
}

static int32_t plain_race_candidates(const ck_race_key *key, const int32_t *ids, const float *p, size_t count) {
    ck_race_state state = {0.0f, -1};
    for (size_t i = 0; i < count; i++) {
        uint32_t counter[4], words[4];
        ck_race_counter(key, ids[i], counter);
        ck_philox_block(key->seed, counter, words);
        ck_race_enter(&state, words[ids[i] % 4], p[i], ids[i]);
    }
    return state.id;
}

static int32_t plain_race(const ck_race_key *key, const float *p, size_t count) {
    ck_race_state state = {0.0f, -1};
    for (size_t i = 0; i < count; i++) {
        uint32_t counter[4], words[4];
        ck_race_counter(key, (int32_t)i, counter);
        ck_philox_block(key->seed, counter, words);
        ck_race_enter(&state, words[i % 4], p[i], (int32_t)i);
    }
    return state.id;
}

// Row passes of the sampler in sixteen lanes.

static float simd_divide_maximum(float *z, size_t count, float divisor) {
    if (divisor != 1.0f) { EACH_VECTOR(v_store_first(z + i, v_load_first(z + i, n) / divisor, n);) }
    return simd_maximum(z, count);
}

static float simd_exponentials(const float *z, size_t count, float maximum, float *p) {
    vf sum = (vf)0.0f;
    size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        vf e = v_exp(v_load(z + i) - maximum);
        if (p) v_store(p + i, e);
        sum = sum + e;
    }
    if (whole < count) {
        vf e = v_select(v_between(0, (int)(count - whole)), v_exp(v_load_first(z + whole, count - whole) - maximum), (vf)0.0f);
        if (p) v_store_first(p + whole, e, count - whole);
        sum = sum + e;
    }
    return v_tree(sum);
}

/// 2⁴⁰·p is below 2⁴¹: its high and low 20 bits apart are exact in 32-bit integers.
CK_INLINE void add_weights(vf p, vu64 total[2]) {
    vf scaled = p * 0x1p20f;
    vi high = __builtin_convertvector(scaled, vi);
    vi low = __builtin_convertvector((scaled - __builtin_convertvector(high, vf)) * 0x1p20f, vi);
    vu64 h = __builtin_bit_cast(vu64, high), l = __builtin_bit_cast(vu64, low);
    total[0] += (h & 0xffffffffu) + (h >> 32);
    total[1] += (l & 0xffffffffu) + (l >> 32);
}

CK_INLINE uint64_t all_weights(const vu64 total[2]) { return (__builtin_reduce_add(total[0]) << 20) + __builtin_reduce_add(total[1]); }

static uint64_t simd_fixed_weights(const float *p, size_t count, uint64_t *w) {
    if (w) return plain_fixed_weights(p, count, w);
    vu64 total[2] = {(vu64)0, (vu64)0};
    size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        vf v = v_load(p + i);
        add_weights(v_select((v >= 0.0f) & (v <= 1.0f), v, (vf)0.0f), total);
    }
    return all_weights(total) + plain_fixed_weights(p + whole, count - whole, NULL);
}

static uint64_t simd_weights_below(const float *p, size_t count, float bound, size_t *above) {
    vu64 total[2] = {(vu64)0, (vu64)0};
    vi reached = (vi)0;
    size_t whole = count / LANES * LANES, rest;
    for (size_t i = 0; i < whole; i += LANES) {
        vf v = v_load(p + i);
        reached -= v >= bound;
        add_weights(v_select((v >= 0.0f) & (v <= 1.0f) & (v < bound), v, (vf)0.0f), total);
    }
    uint64_t sum = all_weights(total) + plain_weights_below(p + whole, count - whole, bound, &rest);
    *above = (size_t)__builtin_reduce_add(reached) + rest;
    return sum;
}

/// Lanes that may win: u·(1 − 2⁻¹⁹)·best ≤ p, u rounded from the word alone, which never exceeds the true u.
CK_INLINE vi race_candidates_of(vu words, vf p, float best) {
    vf u = __builtin_convertvector(words, vf) * 0x1p-32f;
    return (p > 0.0f) & (u * (best * 0x1.ffffcp-1f) <= p);
}

static int32_t simd_race(const ck_race_key *key, const float *p, size_t count) {
    ck_race_state state = {0.0f, -1};
    size_t id = 0;
    for (; id + 4 * LANES <= count; id += 4 * LANES) {
        vu words[4] = {(vu)(uint32_t)(id / 4) + __builtin_bit_cast(vu, v_lane()), (vu)key->position, (vu)key->sample, (vu)key->purpose_and_draw};
        v_philox(key->seed, words);
        // Word j of lane i belongs to id + 4i + j.
        vf w[4], a, b, c, d;
        for (int j = 0; j < 4; j++) w[j] = v_of_bits(words[j]);
        a = v_low(w[0], w[2]);
        b = v_low(w[1], w[3]);
        c = v_high(w[0], w[2]);
        d = v_high(w[1], w[3]);
        vf inOrder[4] = {v_low(a, b), v_high(a, b), v_low(c, d), v_high(c, d)};
        for (int j = 0; j < 4; j++) {
            vi may = race_candidates_of(v_bits(inOrder[j]), v_load(p + id + j * LANES), state.best);
            if (__builtin_reduce_or(may) == 0) continue;
            for (int i = 0; i < LANES; i++) {
                size_t at = id + (size_t)j * LANES + (size_t)i;
                if (may[i]) ck_race_enter(&state, v_bits(inOrder[j])[i], p[at], (int32_t)at);
            }
        }
    }
    for (; id < count; id++) {
        uint32_t counter[4], words[4];
        ck_race_counter(key, (int32_t)id, counter);
        ck_philox_block(key->seed, counter, words);
        ck_race_enter(&state, words[id % 4], p[id], (int32_t)id);
    }
    return state.id;
}

static int32_t simd_race_candidates(const ck_race_key *key, const int32_t *ids, const float *p, size_t count) {
    ck_race_state state = {0.0f, -1};
    for (size_t i = 0; i < count; i += LANES) {
        size_t n = ck_minimum_size(LANES, count - i);
        vu id = (vu)0;
        for (size_t j = 0; j < n; j++) id[j] = (uint32_t)ids[i + j];
        vu words[4] = {id >> 2, (vu)key->position, (vu)key->sample, (vu)key->purpose_and_draw};
        v_philox(key->seed, words);
        vu which = id & 3u;
        vu word = which == 0u ? words[0] : which == 1u ? words[1] : which == 2u ? words[2] : words[3];
        vi may = race_candidates_of(word, v_load_first(p + i, n), state.best);
        for (size_t j = 0; j < n; j++)
            if (may[j]) ck_race_enter(&state, word[j], p[i + j], ids[i + j]);
    }
    return state.id;
}

// Philox4x32-10 and one step of the exponential race: the definition of ck_philox.h and ck_sampling.h.

CK_INLINE void ck_philox_block(uint64_t seed, const uint32_t counter[4], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/// (x + ½)·2⁻³² is exact in double; one rounding to float; at most 1 − 2⁻²⁴.
CK_INLINE float ck_scalar_uniform(uint32_t x) {
    float u = (float)(((double)x + 0.5) * 0x1p-32);
    return u < 0x1.fffffep-1f ? u : 0x1.fffffep-1f;
}

typedef struct {
    float best;
    int32_t id;
} ck_race_state;

/// Enters one candidate. Its quotient p / q is compared only where p / u·(1 + 2⁻²⁰) could reach the best.
CK_INLINE void ck_race_enter(ck_race_state *state, uint32_t word, float p, int32_t id) {
    if (!(p > 0.0f)) return;
    float u = ck_scalar_uniform(word);
    if (state->id >= 0 && u * 0x1.ffffep-1f > p / state->best) return;
    float score = p / -ck_scalar_log1p(-u);
    if (score > state->best || state->id < 0 || (score == state->best && id < state->id)) *state = (ck_race_state){score, id};
}

CK_INLINE void ck_race_counter(const ck_race_key *key, int32_t id, uint32_t counter[4]) {
    counter[0] = (uint32_t)id / 4;
    counter[1] = key->position;
    counter[2] = key->sample;
    counter[3] = key->purpose_and_draw;
}

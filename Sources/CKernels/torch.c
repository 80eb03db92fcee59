// torch's MT19937 and the draws made of it: the definition of ck_torch.h, and its only form.
#pragma STDC FP_CONTRACT OFF

#include "ck_torch.h"

#include "ck_functions.h"

enum { MIDDLE = 397 };

static inline uint32_t ck_twist(uint32_t high, uint32_t low, uint32_t far) {
    uint32_t mixed = (high & 0x80000000u) | (low & 0x7fffffffu);
    return far ^ (mixed >> 1) ^ (-(low & 1u) & 0x9908b0dfu);
}

static void ck_next_block(ck_mt19937 *g) {
    uint32_t *s = g->state;
    int i = 0;
    for (; i < CK_MT19937_WORDS - MIDDLE; i++) s[i] = ck_twist(s[i], s[i + 1], s[i + MIDDLE]);
    for (; i < CK_MT19937_WORDS - 1; i++) s[i] = ck_twist(s[i], s[i + 1], s[i + MIDDLE - CK_MT19937_WORDS]);
    s[i] = ck_twist(s[i], s[0], s[MIDDLE - 1]);
    g->next = 0;
}

void ck_mt19937_seed(ck_mt19937 *g, uint64_t seed) {
    g->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < CK_MT19937_WORDS; i++) g->state[i] = 1812433253u * (g->state[i - 1] ^ (g->state[i - 1] >> 30)) + i;
    g->next = CK_MT19937_WORDS;
}

uint32_t ck_mt19937_next(ck_mt19937 *g) {
    if (g->next == CK_MT19937_WORDS) ck_next_block(g);
    uint32_t y = g->state[g->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

void ck_torch_skip(ck_mt19937 *g, uint64_t draws) {
    uint64_t outputs = 2 * draws;
    while (outputs > CK_MT19937_WORDS - g->next) {
        outputs -= CK_MT19937_WORDS - g->next;
        ck_next_block(g);
    }
    g->next += (uint32_t)outputs;
}

/// The uniform number of 53 bits that an exponential draw is made of.
static inline double ck_torch_uniform(ck_mt19937 *g) {
    uint64_t high = ck_mt19937_next(g), low = ck_mt19937_next(g);
    return (double)((high << 32 | low) & 0x1fffffffffffffu) * 0x1p-53;
}

/// −log1p(−u), the rounding of 1 − u repaired.
static inline float ck_torch_of_uniform(double u) {
    double w = 1.0 - u;
    return (float)(w == 1.0 ? u : -(ck_log(w) + ((1.0 - w) - u) / w));
}

float ck_torch_exponential(ck_mt19937 *g) { return ck_torch_of_uniform(ck_torch_uniform(g)); }

int32_t ck_torch_race(const ck_mt19937 *row, const int32_t *ids, const float *p, size_t count) {
    ck_mt19937 g = *row;
    float best = 0.0f;
    int32_t winner = -1;
    uint64_t drawn = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t id = ids ? (uint64_t)ids[i] : i;
        if (id != drawn) ck_torch_skip(&g, id - drawn);
        drawn = id + 1;
        double u = ck_torch_uniform(&g);
        // q ≥ u·(1 − 2⁻²⁴): no log where even p / u cannot win.
        if (!(p[i] > 0.0f) || u * (double)best * (1.0 - 0x1p-20) > (double)p[i]) continue;
        float ratio = p[i] / ck_torch_of_uniform(u);
        if (winner < 0 || ratio > best) {
            best = ratio;
            winner = (int32_t)id;
        }
    }
    return winner;
}

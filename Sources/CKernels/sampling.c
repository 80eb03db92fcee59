// Sampling's operations on one row, on the current instruction set, and exact selections by radix.
#pragma STDC FP_CONTRACT OFF

#include "ck_sampling.h"

#include "ck_table.h"

enum { CK_BINS = 2048, CK_GROUP = 64, CK_MOST_GROUPS = 4096 };

float ck_divide_maximum(float *z, size_t count, float divisor) { return ck_current()->divide_maximum(z, count, divisor); }
float ck_exponentials(const float *z, size_t count, float maximum, float *p) { return ck_current()->exponentials(z, count, maximum, p); }
uint64_t ck_fixed_weights(const float *p, size_t count, uint64_t *w) { return ck_current()->fixed_weights(p, count, w); }
int32_t ck_race(const ck_race_key *key, const float *p, size_t count) { return ck_current()->race(key, p, count); }

int32_t ck_race_candidates(const ck_race_key *key, const int32_t *ids, const float *p, size_t count) {
    return ck_current()->race_candidates(key, ids, p, count);
}

/// Unsigned integers in the order of the floats; −0 equals +0, NaN counts as −inf.
static inline uint32_t ck_ordered(float z) {
    uint32_t bits = __builtin_bit_cast(uint32_t, z == z ? z + 0.0f : -__builtin_inff());
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static inline float ck_of_ordered(uint32_t key) {
    return __builtin_bit_cast(float, key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/// Digits of 11, 11 and 10 bits, the highest first.
static const int ck_shift[3] = {21, 10, 0};
static const uint32_t ck_digit_mask[3] = {0x7ff, 0x7ff, 0x3ff};

static float ck_select_largest(const float *z, size_t count, size_t k) {
    uint32_t prefix = 0, known = 0;
    for (int level = 0; level < 3; level++) {
        uint32_t bins[CK_BINS] = {0};
        for (size_t i = 0; i < count; i++) {
            uint32_t key = ck_ordered(z[i]);
            if ((key & known) == prefix) bins[key >> ck_shift[level] & ck_digit_mask[level]]++;
        }
        uint32_t digit = ck_digit_mask[level];
        for (; bins[digit] < k; digit--) k -= bins[digit];
        prefix |= digit << ck_shift[level];
        known |= ck_digit_mask[level] << ck_shift[level];
    }
    return ck_of_ordered(prefix);
}

float ck_kth_largest(const float *z, size_t count, size_t k) {
    if (count == 0) return -__builtin_inff();
    if (k >= count) k = count;
    size_t groups = count / CK_GROUP;
    if (groups > CK_MOST_GROUPS || k * 4 > groups) return ck_select_largest(z, count, k);
    // The k-th largest of the groups' maxima bounds the answer from below, so only groups that reach it are looked at.
    const ck_kernels *kernels = ck_current();
    float maxima[CK_MOST_GROUPS], candidates[CK_MOST_GROUPS];
    for (size_t group = 0; group < groups; group++) maxima[group] = kernels->maximum(z + group * CK_GROUP, CK_GROUP);
    float bound = ck_select_largest(maxima, groups, k);
    size_t found = 0;
    for (size_t group = 0; group <= groups; group++) {
        if (group < groups && maxima[group] < bound) continue;
        size_t end = group < groups ? (group + 1) * CK_GROUP : count;
        for (size_t i = group * CK_GROUP; i < end; i++) {
            if (!(z[i] >= bound)) continue;
            if (found == CK_MOST_GROUPS) return ck_select_largest(z, count, k);
            candidates[found++] = z[i];
        }
    }
    return ck_select_largest(candidates, found, k);
}

static inline uint64_t ck_weight(float p) { return p >= 0.0f && p <= 1.0f ? (uint64_t)(int64_t)(p * 0x1p40f) : 0; }

/// Drops, in place, what top_p drops of `count` scores in id order, given that lower scores weighing `below` are gone.
/// Returns how many stay.
static size_t ck_cut(float *z, const float *p, size_t count, float maximum, uint64_t below, uint64_t threshold) {
    // The highest score whose lower ones, all together, may be dropped: digit by digit.
    uint32_t prefix = 0, known = 0, best = ck_ordered(maximum);
    for (int level = 0; level < 3; level++) {
        uint64_t bins[CK_BINS] = {0};
        for (size_t i = 0; i < count; i++) {
            uint32_t key = ck_ordered(z[i]);
            if ((key & known) == prefix) bins[key >> ck_shift[level] & ck_digit_mask[level]] += ck_weight(p[i]);
        }
        uint32_t digit = 0, last = ck_digit_mask[level];
        if ((best & known) == prefix) last = best >> ck_shift[level] & ck_digit_mask[level];
        for (; digit < last && below + bins[digit] <= threshold; digit++) below += bins[digit];
        prefix |= digit << ck_shift[level];
        known |= ck_digit_mask[level] << ck_shift[level];
    }
    // Scores equal to it: the higher ids first, but never the last of the best.
    size_t kept = 0, equal = 0;
    for (size_t i = 0; i < count; i++) equal += ck_ordered(z[i]) == prefix;
    for (size_t i = count; i-- > 0;) {
        uint32_t key = ck_ordered(z[i]);
        bool drop = key < prefix;
        if (key == prefix) {
            equal--;
            drop = below + ck_weight(p[i]) <= threshold && !(prefix == best && equal == 0);
            below = drop ? below + ck_weight(p[i]) : UINT64_MAX / 2;
        }
        if (drop) z[i] = -__builtin_inff();
        else kept += z[i] > -__builtin_inff();
    }
    return kept;
}

size_t ck_top_p(float *z, const float *p, size_t count, float maximum, double top_p) {
    const ck_kernels *kernels = ck_current();
    uint64_t threshold = (uint64_t)((1.0 - top_p) * (double)kernels->fixed_weights(p, count, NULL));
    // The long tail goes at once: a bound on p below which all together may be dropped, with few enough left above it.
    static const float bounds[] = {0x1p-5f, 0x1p-9f, 0x1p-13f, 0x1p-18f};
    for (int i = 0; i < 4; i++) {
        size_t above;
        uint64_t below = kernels->weights_below(p, count, bounds[i], &above);
        if (below > threshold) continue;
        if (above > CK_MOST_GROUPS) break;
        float scores[CK_MOST_GROUPS], weights[CK_MOST_GROUPS];
        int32_t ids[CK_MOST_GROUPS];
        size_t found = 0;
        for (size_t id = 0; id < count; id++) {
            if (p[id] >= bounds[i]) {
                scores[found] = z[id];
                weights[found] = p[id];
                ids[found++] = (int32_t)id;
            }
            z[id] = -__builtin_inff();
        }
        size_t kept = ck_cut(scores, weights, found, maximum, below, threshold);
        for (size_t j = 0; j < found; j++) z[ids[j]] = scores[j];
        return kept;
    }
    return ck_cut(z, p, count, maximum, 0, threshold);
}

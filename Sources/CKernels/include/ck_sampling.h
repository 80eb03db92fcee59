// Choosing a token (reproducibility.md 8 – 10).
#ifndef CK_SAMPLING_H
#define CK_SAMPLING_H

#include "ck_isa.h"

/// Where a draw stands: Philox counter words 1 … 3 under the key `seed`; word 0 is token id ÷ 4, and the id's low two bits
/// pick the output word. `purpose_and_draw` = purpose | draw << 4.
typedef struct {
    uint64_t seed;
    uint32_t position, sample, purpose_and_draw;
} ck_race_key;

/// z[i] /= divisor (skipped for 1); returns the maximum as ck_maximum does.
float ck_divide_maximum(float *z, size_t count, float divisor);

/// p[i] = exp(z[i] − maximum), unnormalised; returns the 16-lane sum. p may be z, or NULL for the sum alone.
float ck_exponentials(const float *z, size_t count, float maximum, float *p);

/// Exponential race over token ids 0 ..< count: u = ck_uniform(word), q = −log1p(−u), the largest p / q wins, ties to the
/// lower id, p = 0 never wins. Logs are taken only where u·(1 − 2⁻²⁰) ≤ p / best, since q ≥ u. −1 where every p is 0.
int32_t ck_race(const ck_race_key *key, const float *p, size_t count);

/// The same over listed candidates: p[i] belongs to ids[i].
int32_t ck_race_candidates(const ck_race_key *key, const int32_t *ids, const float *p, size_t count);

/// w[i] = ⌊p[i]·2⁴⁰⌋ for p in 0 … 1; returns Σw. w may be NULL.
uint64_t ck_fixed_weights(const float *p, size_t count, uint64_t *w);

/// The k-th largest score (1 ≤ k; k ≥ count gives the smallest). NaN counts as −inf. Linear in count.
float ck_kth_largest(const float *z, size_t count, size_t k);

/// top_p: scores in ascending order (equal scores: higher id first) are dropped while their cumulative weight
/// ⌊exp(z − maximum)·2⁴⁰⌋ stays ≤ ⌊(1 − top_p)·Σw⌋; the best always stays. Dropped scores become −inf in place.
/// `p` holds exp(z − maximum). Returns how many stay (scores above −inf).
size_t ck_top_p(float *z, const float *p, size_t count, float maximum, double top_p);

#endif

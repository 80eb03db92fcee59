// Drawing several tokens without replacement: the places of an exponential race in order.
#ifndef CK_RACE_BEST_H
#define CK_RACE_BEST_H

#include "ck_sampling.h"
#include "ck_torch.h"

/// A finisher: its place in the list of candidates, and p / q.
typedef struct {
    float ratio;
    int32_t place;
} ck_finisher;

/// The first `k` of the race of ck_race_candidates, best first, ties to the lower place; `ids` NULL: candidate i is id i.
/// Candidates with p = 0 never finish. Returns how many finished, at most k.
size_t ck_race_best(const ck_race_key *key, const int32_t *ids, const float *p, size_t count, size_t k, ck_finisher *best);

/// The same with torch's draws; the generator stands at the row's first draw and stays there.
size_t ck_torch_race_best(const ck_mt19937 *row, const int32_t *ids, const float *p, size_t count, size_t k, ck_finisher *best);

#endif

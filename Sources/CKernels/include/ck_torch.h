// torch's random numbers on a CPU: MT19937 (Matsumoto, Nishimura 1998) and the exponential draws made of it, so that
// seeds of torch-based tools can be replayed (docs/reproducibility.md, "torch's numbers").
#ifndef CK_TORCH_H
#define CK_TORCH_H

#include "ck_isa.h"

enum { CK_MT19937_WORDS = 624 };

/// The generator's block of words; `next` of them are used.
typedef struct {
    uint32_t state[CK_MT19937_WORDS];
    uint32_t next;
} ck_mt19937;

/// torch.manual_seed: the seed's low 32 bits count.
void ck_mt19937_seed(ck_mt19937 *generator, uint64_t seed);

/// The next output.
uint32_t ck_mt19937_next(ck_mt19937 *generator);

/// Passes over `draws` exponential draws, two outputs each.
void ck_torch_skip(ck_mt19937 *generator, uint64_t draws);

/// The next exponential draw: two outputs, the first one the high word, their low 53 bits · 2⁻⁵³ = u;
/// −log1p(−u) in double, rounded to float.
float ck_torch_exponential(ck_mt19937 *generator);

/// torch.multinomial of one row for one sample: element id of the row has draw number id; the largest p / q wins, ties to
/// the lower id, p = 0 never wins. `ids` in ascending order, or NULL: p[i] belongs to id i. The generator stands at the
/// row's first draw and stays there. −1 where every p is 0.
int32_t ck_torch_race(const ck_mt19937 *row, const int32_t *ids, const float *p, size_t count);

#endif

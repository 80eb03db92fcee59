// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#ifndef CK_PHILOX_H
#define CK_PHILOX_H

#include "ck_isa.h"

/// One block: out[0 … 3] of counter[0 … 3] under the key `seed` (its low word first).
void ck_philox(uint64_t seed, const uint32_t counter[4], uint32_t out[4]);

/// fp32((x + ½)·2⁻³²), at most 1 − 2⁻²⁴ (reproducibility.md 9).
float ck_uniform(uint32_t x);

/// out[i] = mean 0, deviation 1, by Box–Muller in double over element `first + i` of a stream: counter words (element ÷ 2,
/// its high word, stream, purpose); the block's first 64 bits give the radius, its last the angle; even elements take the
/// cosine, odd ones the sine. Rounded to float once after multiplying by `deviation`.
void ck_normal(uint64_t seed, uint32_t stream, uint32_t purpose, uint64_t first, double deviation, float *out, size_t count);

#endif

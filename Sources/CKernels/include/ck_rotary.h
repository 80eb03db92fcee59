// Rotary positions (Su et al. 2021): pairs of a head's first columns are turned by an angle that grows with the position.
#ifndef CK_ROTARY_H
#define CK_ROTARY_H

#include "ck_pool.h"

/// Turns queries and keys in place, the pairs being half of the turned columns apart. With c = cosines[places[r]][i],
/// s = sines[places[r]][i] (inverse: −s), a = x[i], b = x[i + pairs] of row r, head h at x + r·stride + h·head_stride:
/// x[i] = fma(a, c, −(b·s)), x[i + pairs] = fma(b, c, a·s), i < pairs; the other columns stay.
typedef struct {
    float *queries, *keys;
    size_t rows, stride, heads, head_stride, pairs;
    const float *cosines, *sines;  // [positions][pairs]
    const int32_t *places;
    bool inverse;  // the transposed turn, which carries gradients back
} ck_rotary_args;

void ck_rotary(ck_pool *pool, const ck_rotary_args *args);

/// Fills both tables. The angle is fp32(p)·fp32(1 / fp32(base^fp32(i / pairs))), rounded to fp32 at each of these steps as
/// transformers does; power, sine and cosine are formed in double and rounded once. positions ≤ 10^6.
void ck_rotary_table(size_t positions, size_t pairs, double base, float *cosines, float *sines);

#endif

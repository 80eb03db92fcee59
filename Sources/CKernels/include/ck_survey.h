// One number for all the bits that a function of one variable gives: how instruction sets and machines are compared over
// every float there is.
#ifndef CK_SURVEY_H
#define CK_SURVEY_H

#include "ck_pool.h"

/// Added to an activation's code: its derivative, as ck_activation_backward multiplies by it.
enum { CK_DERIVATIVE = 64 };

/// Σ mix(x << 32 | bits of function(x)) mod 2⁶⁴ over the floats whose bits are x = first + i·step, i < count, NaNs counting as
/// 0x7fc00000; mix(v) = (w ^ w >> 29)·0xBF58476D1CE4E5B9, w = (v ^ v >> 32)·0x9E3779B97F4A7C15. A sum knows no order, so
/// neither threads nor pieces change it: surveys of two ranges add up to that of both.
/// `function`: CK_LINEAR … CK_ERF, or CK_LINEAR … CK_TANH plus CK_DERIVATIVE. first + (count − 1)·step < 2³².
uint64_t ck_survey(ck_pool *pool, int32_t function, uint32_t first, uint32_t step, uint64_t count);

#endif

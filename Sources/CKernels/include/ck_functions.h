// Functions of one variable: own polynomials in a fixed order of fused multiply-adds, so their bits are the same on every
// machine. None calls libm.
#ifndef CK_FUNCTIONS_H
#define CK_FUNCTIONS_H

#include "ck_isa.h"

/// exp: 0 below −87.3, +inf above 88.72, within 1 ulp between.
float ck_expf(float x);
/// log: −inf at ±0, NaN below.
float ck_logf(float x);
/// log(1 + x), accurate near 0; −inf at −1, NaN below.
float ck_log1pf(float x);
float ck_tanhf(float x);
float ck_erff(float x);

enum {
    CK_LINEAR = 0,
    CK_GELU_NEW = 1,    // x / (1 + exp(−2u)), u = √(2/π)·(x + 0.044715 x³): equal to ½x(1 + tanh u)
    CK_GELU = 2,        // ½x(1 + erf(x/√2))
    CK_RELU = 3,        // x > 0 ? x : 0
    CK_SILU = 4,        // x / (1 + exp(−x))
    CK_QUICK_GELU = 5,  // x / (1 + exp(−1.702 x))
    CK_TANH = 6,
    CK_EXP = 7,
    CK_LOG = 8,
    CK_LOG1P = 9,
    CK_ERF = 10,
};

/// out[i] = function(x[i]); `function` is one of the names above; out may be x.
float ck_apply(int32_t function, float x);

/// Double precision, for schedules and initial weights; within 1 ulp in the ranges named.
double ck_exp(double x);                      // 0 below −708, +inf above 709.7
double ck_log(double x);
double ck_sin(double x);                      // |x| ≤ 10^6
double ck_cos(double x);                      // |x| ≤ 10^6

#endif

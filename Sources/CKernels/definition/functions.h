// Functions of one variable, scalar: the definition. The template in simd/functions.h follows it line by line.
#include <stdint.h>

#include "ck_functions.h"

#define CK_FMA(a, b, c) __builtin_fmaf((a), (b), (c))
#define CK_FMAD(a, b, c) __builtin_fma((a), (b), (c))
#define CK_INLINE static inline __attribute__((always_inline))

CK_INLINE float ck_from_bits(uint32_t bits) { return __builtin_bit_cast(float, bits); }
CK_INLINE uint32_t ck_bits(float x) { return __builtin_bit_cast(uint32_t, x); }

#include "coefficients.h"

// exp(x) = 2ⁿ·exp(r), n = round(x / ln 2), r in ±ln 2 / 2; exp(r) = 1 + (r + r²·P(r)).
CK_INLINE float ck_scalar_exp(float x) {
    float t = CK_FMA(x, CK_LOG2E, CK_ROUND);
    float n = t - CK_ROUND;
    float r = CK_FMA(n, -CK_LN2_HIGH, x);
    r = CK_FMA(n, -CK_LN2_LOW, r);
    float p = CK_EXP_4;
    p = CK_FMA(p, r, CK_EXP_3);
    p = CK_FMA(p, r, CK_EXP_2);
    p = CK_FMA(p, r, CK_EXP_1);
    p = CK_FMA(p, r, CK_EXP_0);
    p = CK_FMA(p, r * r, r) + 1.0f;
    // 2ⁿ in two exact factors: n may be 128.
    int32_t k = (int32_t)(ck_bits(t) - ck_bits(CK_ROUND));
    int32_t half = k >> 1;  // an arithmetic shift
    float y = p * ck_from_bits(((uint32_t)half + 127u) << 23) * ck_from_bits(((uint32_t)k - (uint32_t)half + 127u) << 23);
    y = x < CK_EXP_LOWEST ? 0.0f : y;
    y = x > CK_EXP_HIGHEST ? __builtin_inff() : y;
    return x != x ? x : y;
}

// x = m·2ᵏ, m in √½ … √2, f = m − 1, s = f / (2 + f): log m = f − (f²/2 − s·(f²/2 + R(s²))).
CK_INLINE float ck_scalar_log(float x) {
    float scaled = x < CK_SMALLEST_NORMAL ? x * 0x1p23f : x;
    int32_t bias = x < CK_SMALLEST_NORMAL ? 127 + 23 : 127;
    uint32_t u = ck_bits(scaled) + (0x3f800000u - CK_ROOT_HALF_BITS);
    int32_t k = (int32_t)(u >> 23) - bias;
    float m = ck_from_bits((u & 0x007fffffu) + CK_ROOT_HALF_BITS);
    float f = m - 1.0f;
    float s = f / (2.0f + f);
    float z = s * s;
    float p = CK_LOG_3;
    p = CK_FMA(p, z, CK_LOG_2);
    p = CK_FMA(p, z, CK_LOG_1);
    p = CK_FMA(p, z, CK_LOG_0);
    float halfSquare = (0.5f * f) * f;
    float n = (float)k;
    float low = CK_FMA(s, CK_FMA(p, z, halfSquare), n * CK_LOG_LN2_LOW);
    float y = CK_FMA(n, CK_LOG_LN2_HIGH, f - (halfSquare - low));
    y = x == __builtin_inff() ? x : y;
    y = x == 0.0f ? -__builtin_inff() : y;
    y = x < 0.0f ? __builtin_nanf("") : y;
    return x != x ? x : y;
}

// log(1 + x) = log u + (x − (u − 1)) / u, u = fl(1 + x): the quotient repairs what rounding u lost.
CK_INLINE float ck_scalar_log1p(float x) {
    float u = 1.0f + x;
    float d = u - 1.0f;
    float y = ck_scalar_log(u) + (x - d) / u;
    y = x == __builtin_inff() ? x : y;
    y = x == -1.0f ? -__builtin_inff() : y;
    y = u == 1.0f ? x : y;
    return x != x ? x : y;
}

CK_INLINE float ck_scalar_tanh(float x) {
    float a = __builtin_fabsf(x);
    float s = x * x;
    float p = CK_TANH_5;
    p = CK_FMA(p, s, CK_TANH_4);
    p = CK_FMA(p, s, CK_TANH_3);
    p = CK_FMA(p, s, CK_TANH_2);
    p = CK_FMA(p, s, CK_TANH_1);
    p = CK_FMA(p, s, CK_TANH_0);
    float small = CK_FMA(p * s, x, x);
    float large = 1.0f - 2.0f / (ck_scalar_exp(2.0f * a) + 1.0f);
    float y = __builtin_copysignf(a < CK_TANH_SPLIT ? small : large, x);
    return x != x ? x : y;
}

CK_INLINE float ck_scalar_erf(float x) {
    float a = __builtin_fabsf(x);
    float s = x * x;
    float p = CK_ERF_6;
    p = CK_FMA(p, s, CK_ERF_5);
    p = CK_FMA(p, s, CK_ERF_4);
    p = CK_FMA(p, s, CK_ERF_3);
    p = CK_FMA(p, s, CK_ERF_2);
    p = CK_FMA(p, s, CK_ERF_1);
    p = CK_FMA(p, s, CK_ERF_0);
    float small = CK_FMA(p, x, x);
    float t = a < CK_ERF_END ? a : CK_ERF_END;
    float q = CK_ERFC_6;
    q = CK_FMA(q, t, CK_ERFC_5);
    q = CK_FMA(q, t, CK_ERFC_4);
    q = CK_FMA(q, t, CK_ERFC_3);
    q = CK_FMA(q, t, CK_ERFC_2);
    q = CK_FMA(q, t, CK_ERFC_1);
    q = CK_FMA(q, t, CK_ERFC_0);
    q = CK_FMA(q, t, -t);
    float large = 1.0f - ck_scalar_exp(q);
    large = a >= CK_ERF_END ? 1.0f : large;
    large = __builtin_copysignf(large, x);
    float y = a < CK_ERF_SPLIT ? small : large;
    return x != x ? x : y;
}

// x·σ(kx) = x / (1 + exp(−kx)).
CK_INLINE float ck_scalar_gate(float x, float minusScaled) { return x / (1.0f + ck_scalar_exp(minusScaled)); }

// −2u of gelu_new: −2√(2/π)·x·(1 + 0.044715 x²).
CK_INLINE float ck_scalar_gelu_new_exponent(float x) {
    return (CK_GELU_NEW_SCALE * x) * CK_FMA(CK_GELU_NEW_CUBIC * x, x, 1.0f);
}

// x > 0 ? x : 0, compared in integers: of the floating-point choice compilers make ARM's FMAXNM, which lets a signalling NaN through.
CK_INLINE float ck_scalar_relu(float x) { return ck_bits(x) - 1u < 0x7f800000u ? x : 0.0f; }

CK_INLINE float ck_scalar_apply(int32_t function, float x) {
    switch (function) {
    case CK_GELU_NEW: return ck_scalar_gate(x, ck_scalar_gelu_new_exponent(x));
    case CK_GELU: return (0.5f * x) * (1.0f + ck_scalar_erf(x * CK_ROOT_HALF));
    case CK_RELU: return ck_scalar_relu(x);
    case CK_SILU: return ck_scalar_gate(x, -x);
    case CK_QUICK_GELU: return ck_scalar_gate(x, -CK_QUICK_GELU_SCALE * x);
    case CK_TANH: return ck_scalar_tanh(x);
    case CK_EXP: return ck_scalar_exp(x);
    case CK_LOG: return ck_scalar_log(x);
    case CK_LOG1P: return ck_scalar_log1p(x);
    case CK_ERF: return ck_scalar_erf(x);
    default: return x;
    }
}

// f′ of the gate x·σ(t), t = −minusScaled, t′ = slope: σ + x·slope·σ·(1 − σ), with σ = 1 / (1 + e), 1 − σ = e·σ.
// Where e overflows both terms vanish.
CK_INLINE float ck_scalar_gate_derivative(float x, float minusScaled, float slope) {
    float e = ck_scalar_exp(minusScaled);
    float sigma = 1.0f / (1.0f + e);
    float rest = e == __builtin_inff() ? 1.0f : e * sigma;
    return CK_FMA((x * slope) * sigma, rest, sigma);
}

CK_INLINE float ck_scalar_derivative(int32_t activation, float x) {
    switch (activation) {
    case CK_GELU_NEW: {
        float slope = -CK_GELU_NEW_SCALE * CK_FMA(3.0f * CK_GELU_NEW_CUBIC * x, x, 1.0f);
        return ck_scalar_gate_derivative(x, ck_scalar_gelu_new_exponent(x), slope);
    }
    case CK_GELU: {
        float cdf = 0.5f * (1.0f + ck_scalar_erf(x * CK_ROOT_HALF));
        return CK_FMA(x * CK_INVERSE_ROOT_TWO_PI, ck_scalar_exp((-0.5f * x) * x), cdf);
    }
    case CK_RELU: return x > 0.0f ? 1.0f : 0.0f;
    case CK_SILU: return ck_scalar_gate_derivative(x, -x, 1.0f);
    case CK_QUICK_GELU: return ck_scalar_gate_derivative(x, -CK_QUICK_GELU_SCALE * x, CK_QUICK_GELU_SCALE);
    case CK_TANH: {
        float y = ck_scalar_tanh(x);
        return CK_FMA(-y, y, 1.0f);
    }
    default: return 1.0f;
    }
}

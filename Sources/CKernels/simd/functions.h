// definition/functions.h in sixteen lanes, line by line.

CK_INLINE vf v_of_bits(vu bits) { return __builtin_bit_cast(vf, bits); }
CK_INLINE vu v_bits(vf x) { return __builtin_bit_cast(vu, x); }
CK_INLINE vf v_abs(vf x) { return v_of_bits(v_bits(x) & 0x7fffffffu); }
CK_INLINE vf v_copysign(vf x, vf sign) { return v_of_bits((v_bits(x) & 0x7fffffffu) | (v_bits(sign) & 0x80000000u)); }

CK_INLINE vf v_exp(vf x) {
    vf t = v_fma(x, (vf)CK_LOG2E, (vf)CK_ROUND);
    vf n = t - CK_ROUND;
    vf r = v_fma(n, (vf)-CK_LN2_HIGH, x);
    r = v_fma(n, (vf)-CK_LN2_LOW, r);
    vf p = (vf)CK_EXP_4;
    p = v_fma(p, r, (vf)CK_EXP_3);
    p = v_fma(p, r, (vf)CK_EXP_2);
    p = v_fma(p, r, (vf)CK_EXP_1);
    p = v_fma(p, r, (vf)CK_EXP_0);
    p = v_fma(p, r * r, r) + 1.0f;
    vi k = __builtin_bit_cast(vi, v_bits(t) - ck_bits(CK_ROUND));
    vi half = k >> 1;
    vu first = (__builtin_bit_cast(vu, half) + 127u) << 23, second = (__builtin_bit_cast(vu, k - half) + 127u) << 23;
    vf y = p * v_of_bits(first) * v_of_bits(second);
    y = v_select(x < CK_EXP_LOWEST, (vf)0.0f, y);
    y = v_select(x > CK_EXP_HIGHEST, (vf)__builtin_inff(), y);
    return v_select(x != x, x, y);
}

CK_INLINE vf v_log(vf x) {
    vi tiny = x < CK_SMALLEST_NORMAL;
    vf scaled = v_select(tiny, x * 0x1p23f, x);
    vi bias = tiny ? (vi)(127 + 23) : (vi)127;
    vu u = v_bits(scaled) + (0x3f800000u - CK_ROOT_HALF_BITS);
    vi k = __builtin_bit_cast(vi, u >> 23) - bias;
    vf m = v_of_bits((u & 0x007fffffu) + CK_ROOT_HALF_BITS);
    vf f = m - 1.0f;
    vf s = f / (2.0f + f);
    vf z = s * s;
    vf p = (vf)CK_LOG_3;
    p = v_fma(p, z, (vf)CK_LOG_2);
    p = v_fma(p, z, (vf)CK_LOG_1);
    p = v_fma(p, z, (vf)CK_LOG_0);
    vf halfSquare = (0.5f * f) * f;
    vf n = __builtin_convertvector(k, vf);
    vf low = v_fma(s, v_fma(p, z, halfSquare), n * CK_LOG_LN2_LOW);
    vf y = v_fma(n, (vf)CK_LOG_LN2_HIGH, f - (halfSquare - low));
    y = v_select(x == __builtin_inff(), x, y);
    y = v_select(x == 0.0f, (vf)-__builtin_inff(), y);
    y = v_select(x < 0.0f, (vf)__builtin_nanf(""), y);
    return v_select(x != x, x, y);
}

CK_INLINE vf v_log1p(vf x) {
    vf u = 1.0f + x;
    vf d = u - 1.0f;
    vf y = v_log(u) + (x - d) / u;
    y = v_select(x == __builtin_inff(), x, y);
    y = v_select(x == -1.0f, (vf)-__builtin_inff(), y);
    y = v_select(u == 1.0f, x, y);
    return v_select(x != x, x, y);
}

CK_INLINE vf v_tanh(vf x) {
    vf a = v_abs(x);
    vf s = x * x;
    vf p = (vf)CK_TANH_5;
    p = v_fma(p, s, (vf)CK_TANH_4);
    p = v_fma(p, s, (vf)CK_TANH_3);
    p = v_fma(p, s, (vf)CK_TANH_2);
    p = v_fma(p, s, (vf)CK_TANH_1);
    p = v_fma(p, s, (vf)CK_TANH_0);
    vf small = v_fma(p * s, x, x);
    vf large = 1.0f - 2.0f / (v_exp(2.0f * a) + 1.0f);
    vf y = v_copysign(v_select(a < CK_TANH_SPLIT, small, large), x);
    return v_select(x != x, x, y);
}

CK_INLINE vf v_erf(vf x) {
    vf a = v_abs(x);
    vf s = x * x;
    vf p = (vf)CK_ERF_6;
    p = v_fma(p, s, (vf)CK_ERF_5);
    p = v_fma(p, s, (vf)CK_ERF_4);
    p = v_fma(p, s, (vf)CK_ERF_3);
    p = v_fma(p, s, (vf)CK_ERF_2);
    p = v_fma(p, s, (vf)CK_ERF_1);
    p = v_fma(p, s, (vf)CK_ERF_0);
    vf small = v_fma(p, x, x);
    vf t = v_select(a < CK_ERF_END, a, (vf)CK_ERF_END);
    vf q = (vf)CK_ERFC_6;
    q = v_fma(q, t, (vf)CK_ERFC_5);
    q = v_fma(q, t, (vf)CK_ERFC_4);
    q = v_fma(q, t, (vf)CK_ERFC_3);
    q = v_fma(q, t, (vf)CK_ERFC_2);
    q = v_fma(q, t, (vf)CK_ERFC_1);
    q = v_fma(q, t, (vf)CK_ERFC_0);
    q = v_fma(q, t, -t);
    vf large = 1.0f - v_exp(q);
    large = v_select(a >= CK_ERF_END, (vf)1.0f, large);
    large = v_copysign(large, x);
    vf y = v_select(a < CK_ERF_SPLIT, small, large);
    return v_select(x != x, x, y);
}

CK_INLINE vf v_gate(vf x, vf minusScaled) { return x / (1.0f + v_exp(minusScaled)); }
CK_INLINE vf v_gelu_new_exponent(vf x) { return (CK_GELU_NEW_SCALE * x) * v_fma(CK_GELU_NEW_CUBIC * x, x, (vf)1.0f); }

CK_INLINE vf v_apply(int32_t function, vf x) {
    switch (function) {
    case CK_GELU_NEW: return v_gate(x, v_gelu_new_exponent(x));
    case CK_GELU: return (0.5f * x) * (1.0f + v_erf(x * CK_ROOT_HALF));
    case CK_RELU: return v_select(v_bits(x) - 1u < 0x7f800000u, x, (vf)0.0f);
    case CK_SILU: return v_gate(x, -x);
    case CK_QUICK_GELU: return v_gate(x, -CK_QUICK_GELU_SCALE * x);
    case CK_TANH: return v_tanh(x);
    case CK_EXP: return v_exp(x);
    case CK_LOG: return v_log(x);
    case CK_LOG1P: return v_log1p(x);
    case CK_ERF: return v_erf(x);
    default: return x;
    }
}

CK_INLINE vf v_gate_derivative(vf x, vf minusScaled, vf slope) {
    vf e = v_exp(minusScaled);
    vf sigma = 1.0f / (1.0f + e);
    vf rest = v_select(e == __builtin_inff(), (vf)1.0f, e * sigma);
    return v_fma((x * slope) * sigma, rest, sigma);
}

CK_INLINE vf v_derivative(int32_t activation, vf x) {
    switch (activation) {
    case CK_GELU_NEW: {
        vf slope = -CK_GELU_NEW_SCALE * v_fma(3.0f * CK_GELU_NEW_CUBIC * x, x, (vf)1.0f);
        return v_gate_derivative(x, v_gelu_new_exponent(x), slope);
    }
    case CK_GELU: {
        vf cdf = 0.5f * (1.0f + v_erf(x * CK_ROOT_HALF));
        return v_fma(x * CK_INVERSE_ROOT_TWO_PI, v_exp((-0.5f * x) * x), cdf);
    }
    case CK_RELU: return v_select(x > 0.0f, (vf)1.0f, (vf)0.0f);
    case CK_SILU: return v_gate_derivative(x, -x, (vf)1.0f);
    case CK_QUICK_GELU: return v_gate_derivative(x, -CK_QUICK_GELU_SCALE * x, (vf)CK_QUICK_GELU_SCALE);
    case CK_TANH: {
        vf y = v_tanh(x);
        return v_fma(-y, y, (vf)1.0f);
    }
    default: return (vf)1.0f;
    }
}

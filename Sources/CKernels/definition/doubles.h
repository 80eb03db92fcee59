// exp, log, sin and cos in double precision: Taylor and area-tangent series in a fixed order of fused multiply-adds.
#define CK_TWO_PI 0x1.921fb54442d18p+2

CK_INLINE double ck_double_from_bits(uint64_t bits) { return __builtin_bit_cast(double, bits); }
CK_INLINE uint64_t ck_double_bits(double x) { return __builtin_bit_cast(uint64_t, x); }

// x = n·ln 2 + r, |r| ≤ ln 2 / 2; Σ rⁱ / i! to i = 13 (the rest is below 2⁻⁵⁷).
CK_INLINE double ck_double_exp(double x) {
    if (x != x) return x;
    if (x < -708.0) return 0.0;
    if (x > 0x1.62e42fefa39efp+9) return __builtin_inf();
    double n = CK_FMAD(x, 0x1.71547652b82fep+0, 0x1.8p52) - 0x1.8p52;
    double r = CK_FMAD(n, -0x1.62e42fefap-1, x);
    r = CK_FMAD(n, -0x1.cf79abc9e3b39p-40, r);
    static const double inverse[] = {
        1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800,
        1.0 / 479001600, 1.0 / 6227020800.0,
    };
    double p = inverse[11];
    for (int i = 10; i >= 0; i--) p = CK_FMAD(p, r, inverse[i]);
    p = CK_FMAD(p, r * r, r) + 1.0;
    int64_t k = (int64_t)n, half = k >> 1;
    return p * ck_double_from_bits((uint64_t)(half + 1023) << 52) * ck_double_from_bits((uint64_t)(k - half + 1023) << 52);
}

// x = m·2ᵏ, m in √½ … √2, f = m − 1, s = f / (2 + f): log m = f − (f²/2 − s·(f²/2 + R)), R = Σ 2s²ⁱ / (2i + 1).
CK_INLINE double ck_double_log(double x) {
    if (x != x || x == __builtin_inf()) return x;
    if (x == 0.0) return -__builtin_inf();
    if (x < 0.0) return __builtin_nan("");
    int64_t bias = 1023;
    if (x < 0x1p-1022) {
        x = x * 0x1p54;
        bias += 54;
    }
    uint64_t u = ck_double_bits(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
    int64_t k = (int64_t)(u >> 52) - bias;
    double f = ck_double_from_bits((u & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1.0;
    double s = f / (2.0 + f), z = s * s;
    double p = 2.0 / 23;
    for (int i = 21; i >= 3; i -= 2) p = CK_FMAD(p, z, 2.0 / i);
    double halfSquare = (0.5 * f) * f, n = (double)k;
    double low = CK_FMAD(s, CK_FMAD(p, z, halfSquare), n * 0x1.cf79abc9e3b39p-40);
    return CK_FMAD(n, 0x1.62e42fefap-1, f - (halfSquare - low));
}

// π/2 in three parts; x − n·π/2 within 2⁻⁵³ relative for |x| ≤ 10⁶ but at its multiples, where it is absolute.
CK_INLINE double ck_double_reduce(double x, int64_t *quadrant) {
    double n = CK_FMAD(x, 0x1.45f306dc9c883p-1, 0x1.8p52) - 0x1.8p52;
    *quadrant = (int64_t)n;
    double r = CK_FMAD(n, -0x1.921fb54442d18p+0, x);
    return CK_FMAD(n, -0x1.1a62633145c07p-54, r);
}

CK_INLINE double ck_double_sin_part(double r) {
    static const double c[] = {
        -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800.0, -1.0 / 1307674368000.0,
        1.0 / 355687428096000.0,
    };
    double z = r * r, p = c[7];
    for (int i = 6; i >= 0; i--) p = CK_FMAD(p, z, c[i]);
    return CK_FMAD(p * z, r, r);
}

CK_INLINE double ck_double_cos_part(double r) {
    static const double c[] = {
        1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200.0, 1.0 / 20922789888000.0,
        -1.0 / 6402373705728000.0,
    };
    double z = r * r, p = c[7];
    for (int i = 6; i >= 0; i--) p = CK_FMAD(p, z, c[i]);
    // 1 − z/2 + z²·p, the rounding of 1 − z/2 repaired.
    double half = 0.5 * z, w = 1.0 - half;
    return w + (((1.0 - w) - half) + (z * z) * p);
}

CK_INLINE double ck_double_sin(double x) {
    int64_t quadrant;
    double r = ck_double_reduce(x, &quadrant);
    double y = (quadrant & 1) ? ck_double_cos_part(r) : ck_double_sin_part(r);
    return (quadrant & 2) ? -y : y;
}

CK_INLINE double ck_double_cos(double x) {
    int64_t quadrant;
    double r = ck_double_reduce(x, &quadrant);
    double y = (quadrant & 1) ? ck_double_sin_part(r) : ck_double_cos_part(r);
    return ((quadrant + 1) & 2) ? -y : y;
}

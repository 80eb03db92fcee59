// bfloat16: rounding, and the fused multiply-add of VDPBF16PS.

/// To bfloat16 and back: nearest, ties to even, in integers, so that denormals agree everywhere. A NaN stays one.
CK_INLINE float ck_bfloat16(float x) {
    uint32_t u = ck_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return ck_from_bits((u | 0x400000u) & 0xffff0000u);
    return ck_from_bits((u + 0x7fffu + (u >> 16 & 1u)) & 0xffff0000u);
}

/// A denormal becomes a zero of its sign.
CK_INLINE float ck_flushed(float x) {
    uint32_t u = ck_bits(x);
    return (u & 0x7fffffffu) < 0x00800000u ? ck_from_bits(u & 0x80000000u) : x;
}

/// fma(a, b, c) of bfloat16 a and b, denormals read and written as zeros. A result is small when it is below 2⁻¹²⁶ after
/// rounding to 24 bits with an unbounded exponent, as x86 judges it: of 2⁻¹²⁶ only what was at least 2⁻¹²⁶ − 2⁻¹⁵¹ stays.
CK_INLINE float ck_fma_flushed(float a, float b, float c) {
    a = ck_flushed(a);
    b = ck_flushed(b);
    c = ck_flushed(c);
    float y = CK_FMA(a, b, c);
    if (!(__builtin_fabsf(y) <= 0x1p-126f)) return y;
    // The product is exact in double. So is the sum wherever it is near the bound, for c is then a multiple of 2⁻¹⁴⁹.
    double exact = (double)a * (double)b + (double)c;
    return __builtin_fabs(exact) < 0x1p-126 - 0x1p-151 ? ck_from_bits(ck_bits(y) & 0x80000000u) : y;
}

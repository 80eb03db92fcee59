// Rounding to bfloat16 in sixteen lanes, and words that hold a pair, the even element low.

/// ck_bfloat16 in sixteen lanes.
CK_INLINE vf v_bfloat16(vf x) {
    vu u = __builtin_bit_cast(vu, x);
    vu rounded = u + 0x7fffu + (u >> 16 & 1u);
    return __builtin_bit_cast(vf, (x != x ? (u | 0x400000u) : rounded) & 0xffff0000u);
}

/// Sixteen words of a pair each from the even and the odd elements, already rounded.
CK_INLINE vf v_pair(vf even, vf odd) { return __builtin_bit_cast(vf, __builtin_bit_cast(vu, even) >> 16 | __builtin_bit_cast(vu, odd)); }

/// Words of thirty-two elements in a row.
CK_INLINE vf v_pairs(vf low, vf high) {
    low = v_bfloat16(low);
    high = v_bfloat16(high);
    vf even = __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    vf odd = __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return v_pair(even, odd);
}

CK_INLINE vf v_pair_even(vf word) { return __builtin_bit_cast(vf, __builtin_bit_cast(vu, word) << 16); }
CK_INLINE vf v_pair_odd(vf word) { return __builtin_bit_cast(vf, __builtin_bit_cast(vu, word) & 0xffff0000u); }

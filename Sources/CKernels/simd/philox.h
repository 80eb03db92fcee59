// Philox4x32-10 in sixteen lanes.

/// 32 × 32 → 64 bits, even and odd lanes apart; high and low words stay in their lanes.
CK_INLINE void v_multiply(vu a, uint64_t factor, vu *high, vu *low) {
    vu64 pairs = __builtin_bit_cast(vu64, a);
    vu64 even = (pairs & 0xffffffffu) * factor, odd = (pairs >> 32) * factor;
    *high = __builtin_bit_cast(vu, even >> 32 | (odd & 0xffffffff00000000u));
    *low = __builtin_bit_cast(vu, (even & 0xffffffffu) | odd << 32);
}

/// Philox4x32-10 of sixteen counters.
CK_INLINE void v_philox(uint64_t seed, vu counter[4]) {
    vu c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        vu high0, low0, high1, low1;
        v_multiply(c0, 0xD2511F53u, &high0, &low0);
        v_multiply(c2, 0xCD9E8D57u, &high1, &low1);
        c0 = high1 ^ c1 ^ k0;
        c2 = high0 ^ c3 ^ k1;
        c1 = low1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    counter[0] = c0;
    counter[1] = c1;
    counter[2] = c2;
    counter[3] = c3;
}

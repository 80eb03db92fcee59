// Dropout in sixteen lanes: sixty-four elements take sixteen blocks of Philox.

CK_INLINE vu v_low_words(vu a, vu b) { return __builtin_bit_cast(vu, v_low(__builtin_bit_cast(vf, a), __builtin_bit_cast(vf, b))); }
CK_INLINE vu v_high_words(vu a, vu b) { return __builtin_bit_cast(vu, v_high(__builtin_bit_cast(vf, a), __builtin_bit_cast(vf, b))); }

/// `first` is a multiple of sixteen.
static void simd_drop(const ck_dropout_args *a, size_t row, size_t first, float *x, size_t count) {
    uint32_t threshold = (uint32_t)(a->rate * 0x1p32);
    float keep = (float)(1.0 - a->rate);
    for (size_t i = 0; i < count; i += 4 * LANES) {
        vu words[4] = {__builtin_bit_cast(vu, v_lane()) + (uint32_t)((first + i) / 4), (vu)a->step, (vu)(a->first_row + (uint32_t)row), (vu)a->site};
        v_philox(a->seed, words);
        // Word w of block q belongs to element 4q + w.
        vu even = v_low_words(words[0], words[2]), odd = v_low_words(words[1], words[3]);
        vu evenHigh = v_high_words(words[0], words[2]), oddHigh = v_high_words(words[1], words[3]);
        vu each[4] = {v_low_words(even, odd), v_high_words(even, odd), v_low_words(evenHigh, oddHigh), v_high_words(evenHigh, oddHigh)};
        for (size_t v = 0; v < 4 && i + v * LANES < count; v++) {
            size_t at = i + v * LANES, n = count - at;
            v_store_first(x + at, v_select(each[v] >= threshold, v_load_first(x + at, n) / keep, (vf)0.0f), n);
        }
    }
}

static void simd_dropout(const ck_dropout_args *a, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) simd_drop(a, row, 0, a->x + row * a->stride, a->width);
}

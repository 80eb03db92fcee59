// Products with bfloat16 and int8 weights: the definition of ck_narrow.h.
#include "bfloat16.h"

CK_INLINE size_t ck_groups(size_t inputs) { return (inputs + CK_GROUP - 1) / CK_GROUP; }

/// Words of a column.
CK_INLINE size_t ck_column_words(int32_t precision, size_t inputs) {
    if (precision == CK_BFLOAT16) return (inputs + 1) / 2;
    return precision == CK_INT8 ? (inputs + 3) / 4 + ck_groups(inputs) : inputs;
}

/// Floats from row to row of `prepared`: enough for rounded floats, and for a scale, a number a group and pairs of bytes.
CK_INLINE size_t ck_prepared_stride(size_t inputs) { return (inputs + 15) / 16 * 16 + 16; }

/// The scale of numbers of which the largest has these bits without its sign.
CK_INLINE float ck_int8_scale(uint32_t largest) {
    if (largest >= 0x7f800000u) return __builtin_nanf("");
    float scale = ck_from_bits(largest) / 127.0f;
    return scale == 0.0f ? 1.0f : scale;
}

/// −127 … 127. Adding 1.5·2²³ leaves the nearest integer in the low bits, ties to even.
CK_INLINE int32_t ck_int8(float x, float scale) {
    float q = x / scale;
    q = q == q ? q : 0.0f;
    q = q < 127.0f ? q : 127.0f;
    q = q > -127.0f ? q : -127.0f;
    return (int32_t)(ck_bits(q + 0x1.8p23f) - ck_bits(0x1.8p23f));
}

CK_INLINE float ck_pair_even(uint32_t word) { return ck_from_bits(word << 16); }
CK_INLINE float ck_pair_odd(uint32_t word) { return ck_from_bits(word & 0xffff0000u); }

/// Where a column's words begin in panels of `columns` columns, and how far apart they are.
CK_INLINE const float *ck_column_of(int32_t precision, const float *panels, size_t inputs, size_t outputs, size_t columns, size_t n, size_t *width) {
    size_t panel = n / columns;
    *width = ck_panel_width(outputs, columns, panel);
    return panels + panel * columns * ck_column_words(precision, inputs) + n % columns;
}

/// out[k] of one column: fp32, bfloat16, or q·scale.
CK_INLINE void ck_column_values(int32_t precision, const float *word, size_t width, size_t inputs, float *out) {
    if (precision == CK_INT8) {
        for (size_t k = 0; k < inputs; k += CK_GROUP) {
            size_t count = ck_minimum_size(CK_GROUP, inputs - k), quads = (count + 3) / 4;
            for (size_t i = 0; i < count; i++) {
                int32_t q = (int32_t)(ck_bits(word[i / 4 * width]) >> i % 4 * 8 & 0xffu) - 128;
                out[k + i] = (float)q * word[quads * width];
            }
            word += (quads + 1) * width;
        }
    } else if (precision == CK_BFLOAT16) {
        for (size_t k = 0; k < inputs; k++) {
            uint32_t pair = ck_bits(word[k / 2 * width]);
            out[k] = k % 2 ? ck_pair_odd(pair) : ck_pair_even(pair);
        }
    } else {
        for (size_t k = 0; k < inputs; k++) out[k] = word[k * width];
    }
}

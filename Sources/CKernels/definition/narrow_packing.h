// Packing of bfloat16 and int8 panels: the same C for every instruction set, over columns, so that compilers find the vectors.
#include <string.h>

enum { PACK_COLUMNS = 64 };

/// A group of a panel's source, [count][width], zeros beyond the columns that there are.
CK_INLINE void ck_gather_group(const ck_pack_args *a, size_t first, size_t width, size_t k, size_t count, float *out) {
    size_t used = ck_minimum_size(width, a->outputs - first);
    const float *source = a->source + k * a->k_stride + first * a->n_stride;
    if (used < width) memset(out, 0, count * width * sizeof(float));
    if (a->n_stride == 1) {
        for (size_t i = 0; i < count; i++) memcpy(out + i * width, source + i * a->k_stride, used * sizeof(float));
    } else {
        for (size_t n = 0; n < used; n++)
            for (size_t i = 0; i < count; i++) out[i * width + n] = source[n * a->n_stride + i * a->k_stride];
    }
}

CK_INLINE void ck_pack_pairs(const float *group, size_t count, size_t width, float *out) {
    for (size_t i = 0; i < count; i += 2) {
        const float *even = group + i * width, *odd = i + 1 < count ? even + width : NULL;
        for (size_t n = 0; n < width; n++)
            out[n] = ck_from_bits(ck_bits(ck_bfloat16(even[n])) >> 16 | (odd ? ck_bits(ck_bfloat16(odd[n])) : 0));
        out += width;
    }
}

CK_INLINE void ck_pack_quads(const float *group, size_t count, size_t width, float *out) {
    uint32_t largest[PACK_COLUMNS] = {0};
    float scale[PACK_COLUMNS];
    for (size_t i = 0; i < count; i++)
        for (size_t n = 0; n < width; n++) {
            uint32_t bits = ck_bits(group[i * width + n]) & 0x7fffffffu;
            largest[n] = bits > largest[n] ? bits : largest[n];
        }
    for (size_t n = 0; n < width; n++) scale[n] = ck_int8_scale(largest[n]);
    for (size_t i = 0; i < count; i += 4) {
        uint32_t word[PACK_COLUMNS] = {0};
        for (size_t j = 0; j < ck_minimum_size(4, count - i); j++)
            for (size_t n = 0; n < width; n++) word[n] |= (uint32_t)(ck_int8(group[(i + j) * width + n], scale[n]) + 128) << j * 8;
        memcpy(out, word, width * sizeof(float));
        out += width;
    }
    memcpy(out, scale, width * sizeof(float));
}

/// Panels of `columns` ≤ 64 columns.
CK_INLINE void ck_pack_narrow(const int32_t precision, const ck_pack_args *a, size_t columns, size_t panelBegin, size_t panelEnd) {
    float group[CK_GROUP * PACK_COLUMNS];
    for (size_t panel = panelBegin; panel < panelEnd; panel++) {
        size_t first = panel * columns, width = ck_panel_width(a->outputs, columns, panel);
        float *out = a->panels + first * ck_column_words(precision, a->inputs);
        for (size_t k = 0; k < a->inputs; k += CK_GROUP) {
            size_t count = ck_minimum_size(CK_GROUP, a->inputs - k);
            ck_gather_group(a, first, width, k, count, group);
            if (precision == CK_BFLOAT16) ck_pack_pairs(group, count, width, out);
            else ck_pack_quads(group, count, width, out);
            out += (precision == CK_BFLOAT16 ? (count + 1) / 2 : (count + 3) / 4 + 1) * width;
        }
    }
}

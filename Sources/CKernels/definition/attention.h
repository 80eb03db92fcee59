// Attention over pages: the definition of ck_attention.h.

CK_INLINE size_t ck_round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// The address of an element of a page; a narrow one takes half a float.
CK_INLINE const float *ck_element(const ck_attention_shape *shape, const float *base, size_t index) {
    return shape->narrow ? (const float *)(const void *)((const uint16_t *)(const void *)base + index) : base + index;
}

/// What stands there.
CK_INLINE float ck_element_value(const ck_attention_shape *shape, const float *base, size_t index) {
    return shape->narrow ? ck_from_bits((uint32_t)((const uint16_t *)(const void *)base)[index] << 16) : base[index];
}

/// Keys of 16 positions from `position` (a multiple of 16): [d][16].
CK_INLINE const float *ck_key_block(const ck_attention_shape *shape, const ck_attention_span *span, size_t head, size_t position) {
    size_t d = shape->head_width;
    const float *page = span->pages[position / CK_PAGE_POSITIONS] + span->page_offset;
    return ck_element(shape, page, head * CK_PAGE_POSITIONS * d + position % CK_PAGE_POSITIONS * d);
}

/// Values of one position; the following ones of the page are dv further each.
CK_INLINE const float *ck_value_row(const ck_attention_shape *shape, const ck_attention_span *span, size_t head, size_t position) {
    size_t d = shape->head_width, dv = ck_round_up(d, 16);
    const float *page = span->pages[position / CK_PAGE_POSITIONS] + span->page_offset;
    return ck_element(shape, page, shape->heads * CK_PAGE_POSITIONS * d + head * CK_PAGE_POSITIONS * dv + position % CK_PAGE_POSITIONS * dv);
}

/// First position that the row standing at `position` sees.
CK_INLINE size_t ck_first_visible(const ck_attention_shape *shape, size_t position) {
    return shape->window > 0 && position + 1 > shape->window ? position + 1 - shape->window : 0;
}

static void plain_attention(
    const ck_attention_shape *shape, const ck_attention_span *span, size_t head, size_t row, size_t rows, float *scratch) {
    size_t d = shape->head_width;
    for (size_t r = row; r < row + rows; r++) {
        const float *q = span->queries + r * span->query_stride + head * span->query_head_stride;
        float *out = span->out + r * span->out_stride + head * d;
        size_t end = span->first_position + r + 1, begin = ck_first_visible(shape, end - 1);
        float maximum = -__builtin_inff();
        for (size_t j = begin; j < end; j++) {
            const float *keys = ck_key_block(shape, span, head, j / 16 * 16);
            float score = 0.0f;
            for (size_t i = 0; i < d; i++) score = CK_FMA(q[i], ck_element_value(shape, keys, i * 16 + j % 16), score);
            score = score * shape->scale;
            scratch[j - begin] = score;
            maximum = score > maximum ? score : maximum;
        }
        maximum = maximum + 0.0f;
        ck_lanes sum = ck_zero_lanes();
        for (size_t j = begin; j < end; j++) {
            scratch[j - begin] = ck_scalar_exp(scratch[j - begin] - maximum);
            sum.lane[j % 16] = sum.lane[j % 16] + scratch[j - begin];
        }
        float total = ck_tree(sum);
        const ck_attention_dropout *dropout = span->dropout;
        if (dropout) plain_drop(dropout->mask, dropout->row + r, dropout->element + begin, scratch, end - begin);
        for (size_t i = 0; i < d; i++) {
            float value = 0.0f;
            for (size_t block = begin / CK_BLOCK * CK_BLOCK; block < end; block += CK_BLOCK) {
                float chain = 0.0f;
                size_t first = block < begin ? begin : block;
                for (size_t j = first; j < ck_minimum_size(block + CK_BLOCK, end); j++)
                    chain = CK_FMA(scratch[j - begin], ck_element_value(shape, ck_value_row(shape, span, head, j), i), chain);
                value = value + chain;
            }
            out[i] = value / total;
        }
        if (span->statistics) {
            float *statistics = span->statistics + (head * span->rows + r) * 2;
            statistics[0] = maximum;
            statistics[1] = total;
        }
    }
}

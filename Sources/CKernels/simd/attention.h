// Attention over pages for up to QUERY_TILE rows at once: scores of whole blocks of 16 positions, then row by row maximum,
// exponentials and sum of the visible lanes, then values. Rows of a tile share most positions; those that only some of
// them see (at the ends) are taken row by row, so nothing invisible enters a chain of values.

/// p = exp(score − maximum) of the visible lanes, 0 in the others; returns the sum.
CK_INLINE float visible_exponentials(float *scores, size_t origin, size_t begin, size_t end, float *maximumOut) {
    vf best = (vf)-__builtin_inff();
    size_t first = (begin - origin) / LANES * LANES;
    for (size_t i = first; origin + i < end; i += LANES) {
        vi visible = v_between((int)(begin - origin) - (int)i, (int)(end - origin) - (int)i);
        vf v = v_load(scores + i);
        best = v_select(visible & (v > best), v, best);
    }
    float maximum = -__builtin_inff();
    for (int j = 0; j < LANES; j++) maximum = best[j] > maximum ? best[j] : maximum;
    maximum = maximum + 0.0f;
    vf sum = (vf)0.0f;
    for (size_t i = first; origin + i < end; i += LANES) {
        vi visible = v_between((int)(begin - origin) - (int)i, (int)(end - origin) - (int)i);
        vf p = v_select(visible, v_exp(v_load(scores + i) - maximum), (vf)0.0f);
        v_store(scores + i, p);
        sum = sum + p;
    }
    *maximumOut = maximum;
    return v_tree(sum);
}

static void simd_attention(
    const ck_attention_shape *shape, const ck_attention_span *span, size_t head, size_t row, size_t rows, float *scratch) {
    size_t d = shape->head_width, dv = ck_round_up(d, LANES), vectors = dv / LANES;
    size_t firstEnd = span->first_position + row + 1, lastEnd = firstEnd + rows - 1;
    size_t begin = ck_first_visible(shape, firstEnd - 1), lastBegin = ck_first_visible(shape, lastEnd - 1);
    size_t origin = begin / LANES * LANES, stride = ck_round_up(lastEnd - origin, LANES);
    float *scores = scratch, *chain = scores + rows * stride, *sums = chain + rows * dv, total[QUERY_TILE];
    const float *queries = span->queries + row * span->query_stride + head * span->query_head_stride;

    // Scores: keys of a page stand in blocks d·16 apart, so up to four blocks make one tile.
    for (size_t position = origin; position < lastEnd;) {
        size_t pageEnd = (position / CK_PAGE_POSITIONS + 1) * CK_PAGE_POSITIONS;
        size_t blocks = (ck_minimum_size(pageEnd, lastEnd) - position + LANES - 1) / LANES;
        tile_args t = {
            queries, span->query_stride, 1, ck_key_block(shape, span, head, position), LANES, d * LANES, d, scores + (position - origin), stride,
            shape->scale, shape->narrow,
        };
        tile_run(shape->narrow ? tile_narrow_set : tile_set, t, rows, blocks);
        position += blocks * LANES;
    }

    for (size_t r = 0; r < rows; r++) {
        float maximum;
        total[r] = visible_exponentials(scores + r * stride, origin, ck_first_visible(shape, firstEnd + r - 1), firstEnd + r, &maximum);
        if (span->statistics) {
            float *statistics = span->statistics + (head * span->rows + row + r) * 2;
            statistics[0] = maximum;
            statistics[1] = total[r];
        }
        const ck_attention_dropout *dropout = span->dropout;
        if (dropout) simd_drop(dropout->mask, dropout->row + row + r, dropout->element + origin, scores + r * stride, stride);
    }

    const tile_function(*chains)[4] = shape->narrow ? tile_narrow_chain : tile_chain;
    memset(chain, 0, 2 * rows * dv * sizeof(float));
    for (size_t position = begin; position < lastEnd;) {
        // Up to the next border: page, and where the set of rows that see a position changes.
        size_t end = ck_minimum_size(lastEnd, (position / CK_PAGE_POSITIONS + 1) * CK_PAGE_POSITIONS);
        if (position < lastBegin) end = ck_minimum_size(end, lastBegin);
        if (position < firstEnd) end = ck_minimum_size(end, firstEnd);
        const float *values = ck_value_row(shape, span, head, position);
        tile_args t = {scores + (position - origin), stride, 1, values, dv, LANES, end - position, chain, dv, 1.0f, shape->narrow};
        if (position >= lastBegin && position < firstEnd) {
            tile_run(chains, t, rows, vectors);
        } else {
            for (size_t r = 0; r < rows; r++) {
                size_t from = ck_first_visible(shape, firstEnd + r - 1), to = ck_minimum_size(end, firstEnd + r);
                if (from < position) from = position;
                if (from >= to) continue;
                tile_args one = {
                    scores + r * stride + (from - origin), stride, 1, ck_element(shape, values, (from - position) * dv), dv, LANES, to - from,
                    chain + r * dv, dv, 1.0f, shape->narrow,
                };
                tile_run(chains, one, 1, vectors);
            }
        }
        position = end;
        if (position % CK_BLOCK == 0 || position == lastEnd)
            for (size_t i = 0; i < rows * dv; i += LANES) {
                v_store(sums + i, v_load(sums + i) + v_load(chain + i));
                v_store(chain + i, (vf)0.0f);
            }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < d; i += LANES)
            v_store_first(span->out + (row + r) * span->out_stride + head * d + i, v_load(sums + r * dv + i) / total[r], d - i);
}

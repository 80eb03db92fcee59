// Causal attention's backward pass: 256 rows at a time, their probabilities and score gradients in scratch, every product a
// run of register tiles. A tile may include positions that a row does not see: their P and dS are zeros, which leave a
// chain as it is.

/// Where the pieces of one head stand in scratch.
typedef struct {
    size_t d, dv, length, padded, stride;
    float *keyBlocks, *valueBlocks;    // [T / 16][d][16]
    float *keys, *queries, *gradients;  // [T][dv], zeros beyond d
    float *dk, *dv_;                   // [T][dv]
    float *dq;                         // [256][dv]
    float *p, *ds;                     // [256][stride]
} attention_backward_space;

static void gather_rows(const float *from, size_t stride, size_t rows, size_t d, size_t dv, float *out) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < dv; i += LANES) {
            size_t n = i < d ? ck_minimum_size(LANES, d - i) : 0;
            v_store(out + r * dv + i, v_load_first(from + r * stride + i, n));
        }
}

/// [T][dv] into blocks [T / 16][d][16], zeros beyond T.
static void block_rows(const float *rows, size_t length, size_t d, size_t dv, float *out) {
    for (size_t block = 0; block < length; block += LANES) {
        float *target = out + block * d;
        size_t n = ck_minimum_size(LANES, length - block), i = 0;
        if (n == LANES)
            for (; i + LANES <= d; i += LANES) v_transpose(rows + block * dv + i, dv, target + i * LANES, LANES);
        for (; i < d; i++)
            for (size_t j = 0; j < LANES; j++) target[i * LANES + j] = j < n ? rows[(block + j) * dv + i] : 0.0f;
    }
}

/// Turns scores and dP of one row into P and dS; zeros at what the row does not see.
CK_INLINE void score_gradients(float *p, float *ds, size_t columns, size_t begin, size_t end, float maximum, float sum, float scale) {
    vf lanes = (vf)0.0f;
    for (size_t j = 0; j < columns; j += LANES) {
        vi visible = v_between((int)begin - (int)j, (int)end - (int)j);
        vf probability = v_select(visible, v_exp(v_load(p + j) - maximum) / sum, (vf)0.0f);
        lanes = v_select(visible, v_fma(probability, v_load(ds + j), lanes), lanes);
        v_store(p + j, probability);
    }
    float inner = v_tree(lanes);
    for (size_t j = 0; j < columns; j += LANES) {
        vi visible = v_between((int)begin - (int)j, (int)end - (int)j);
        v_store(ds + j, v_select(visible, (v_load(p + j) * (v_load(ds + j) - inner)) * scale, (vf)0.0f));
    }
}

/// Rows `first` ..< `first + rows` of one head: their P and dS, their dQ, and their share of dK and dV.
static void backward_rows(const ck_training_attention_backward_args *a, const attention_backward_space *s, size_t sequence, size_t head, size_t first, size_t rows) {
    const ck_training_attention_args *f = &a->forward;
    ck_attention_shape shape = {f->heads, s->d, f->scale, f->window, false};
    ck_attention_dropout mask = ck_training_dropout(f, sequence, head);
    size_t base = sequence * f->length, columns = ck_round_up(first + rows, LANES);
    const float *statistics = f->statistics + (sequence * f->heads + head) * f->length * 2;
    for (size_t r = 0; r < rows; r += TILE_ROWS) {
        size_t count = ck_minimum_size(TILE_ROWS, rows - r), seen = ck_round_up(first + r + count, LANES);
        tile_args scores = {s->queries + (first + r) * s->dv, s->dv, 1, s->keyBlocks, LANES, s->d * LANES, s->d, s->p + r * s->stride, s->stride, f->scale};
        tile_args products = {s->gradients + (first + r) * s->dv, s->dv, 1, s->valueBlocks, LANES, s->d * LANES, s->d, s->ds + r * s->stride, s->stride, 1.0f};
        tile_run(tile_set, scores, count, seen / LANES);
        tile_run(tile_set, products, count, seen / LANES);
        for (size_t i = r; i < r + count; i++) {
            size_t row = first + i;
            memset(s->p + i * s->stride + seen, 0, (columns - seen) * sizeof(float));
            memset(s->ds + i * s->stride + seen, 0, (columns - seen) * sizeof(float));
            if (f->dropout) simd_drop(f->dropout, mask.row + row, mask.element, s->ds + i * s->stride, seen);
            score_gradients(s->p + i * s->stride, s->ds + i * s->stride, seen, ck_first_visible(&shape, row), row + 1, statistics[row * 2],
                            statistics[row * 2 + 1], f->scale);
            if (f->dropout) simd_drop(f->dropout, mask.row + row, mask.element, s->p + i * s->stride, seen);
        }
        // dQ: blocks of 256 positions up to the tile's last row.
        memset(s->dq + r * s->dv, 0, count * s->dv * sizeof(float));
        for (size_t j = 0; j < first + r + count; j += CK_BLOCK) {
            tile_args t = {s->ds + r * s->stride + j, s->stride, 1, s->keys + j * s->dv, s->dv, LANES, ck_minimum_size(CK_BLOCK, first + r + count - j),
                           s->dq + r * s->dv, s->dv, 1.0f};
            tile_run(tile_add, t, count, s->dv / LANES);
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < s->d; c += LANES)
            v_store_first(a->dqueries + (base + first + r) * a->dstride + head * f->head_stride + c, v_load(s->dq + r * s->dv + c), s->d - c);
    // dK and dV of every position seen: one chain over these rows each.
    for (size_t j = 0; j < first + rows; j += TILE_ROWS) {
        size_t count = ck_minimum_size(TILE_ROWS, first + rows - j), from = j > first ? j - first : 0;
        tile_args keys = {s->ds + from * s->stride + j, 1, s->stride, s->queries + (first + from) * s->dv, s->dv, LANES, rows - from, s->dk + j * s->dv, s->dv, 1.0f};
        tile_args values = {s->p + from * s->stride + j, 1, s->stride, s->gradients + (first + from) * s->dv, s->dv, LANES, rows - from, s->dv_ + j * s->dv, s->dv, 1.0f};
        tile_run(tile_across, keys, count, s->dv / LANES);
        tile_run(tile_across, values, count, s->dv / LANES);
    }
}

static void simd_attention_backward(const ck_training_attention_backward_args *a, size_t sequence, size_t head, float *scratch) {
    const ck_training_attention_args *f = &a->forward;
    size_t d = f->head_width, dv = ck_round_up(d, LANES), length = f->length, padded = ck_round_up(length, LANES), base = sequence * length;
    attention_backward_space s = {.d = d, .dv = dv, .length = length, .padded = padded, .stride = padded + LANES};
    s.keyBlocks = scratch;
    s.valueBlocks = s.keyBlocks + padded * dv;
    s.keys = s.valueBlocks + padded * dv;
    s.queries = s.keys + padded * dv;
    s.gradients = s.queries + padded * dv;
    s.dk = s.gradients + padded * dv;
    s.dv_ = s.dk + padded * dv;
    s.dq = s.dv_ + padded * dv;
    s.p = s.dq + CK_BLOCK * dv;
    s.ds = s.p + CK_BLOCK * s.stride;

    gather_rows(f->keys + base * f->stride + head * f->head_stride, f->stride, length, d, dv, s.keys);
    gather_rows(f->queries + base * f->stride + head * f->head_stride, f->stride, length, d, dv, s.queries);
    gather_rows(a->dout + base * a->dout_stride + head * d, a->dout_stride, length, d, dv, s.gradients);
    block_rows(s.keys, length, d, dv, s.keyBlocks);
    gather_rows(f->values + base * f->stride + head * f->head_stride, f->stride, length, d, dv, s.dk);
    block_rows(s.dk, length, d, dv, s.valueBlocks);
    memset(s.dk, 0, 2 * padded * dv * sizeof(float));
    for (size_t first = 0; first < length; first += CK_BLOCK) backward_rows(a, &s, sequence, head, first, ck_minimum_size(CK_BLOCK, length - first));
    for (size_t r = 0; r < length; r++)
        for (size_t c = 0; c < d; c += LANES) {
            v_store_first(a->dkeys + (base + r) * a->dstride + head * f->head_stride + c, v_load(s.dk + r * dv + c), d - c);
            v_store_first(a->dvalues + (base + r) * a->dstride + head * f->head_stride + c, v_load(s.dv_ + r * dv + c), d - c);
        }
}

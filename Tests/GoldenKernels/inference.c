// Products with packed weights, attention over pages, rotary positions.
#pragma STDC FP_CONTRACT OFF

#include "golden.h"

#include <math.h>
#include <stdlib.h>

/// x · W with everything that may be added; `k_stride` 1 packs W from its transposed form.
typedef struct {
    size_t rows, inputs, outputs;
    const float *x, *weights, *bias, *residual, *start;
    int32_t activation;
    bool output_major;
    int32_t precision;
} linear_case;

static uint64_t linear_hash(const golden_run *run, uint64_t hash, const linear_case *c) {
    float *panels = golden_filled(ck_panel_words(c->precision, c->inputs, c->outputs), NAN);
    float *prepared = c->precision == CK_FLOAT32 ? NULL : golden_filled(ck_prepared_floats(c->rows, c->inputs), NAN);
    ck_pack_args packing = {
        c->weights, c->output_major ? 1 : c->outputs, c->output_major ? c->inputs : 1, c->inputs, c->outputs, panels, c->precision,
    };
    ck_pack(run->pool, &packing);
    size_t count = c->rows * c->outputs;
    float *out = c->start ? golden_copy(c->start, count) : golden_filled(count, NAN);
    ck_linear_args args = {
        .x = c->x, .rows = c->rows, .x_stride = c->inputs, .panels = panels, .inputs = c->inputs, .outputs = c->outputs, .bias = c->bias,
        .activation = c->activation, .residual = c->residual, .out = out, .out_stride = c->outputs, .accumulate = c->start != NULL,
        .precision = c->precision, .prepared = prepared,
    };
    ck_linear(run->pool, &args);
    hash = golden_hash(hash, out, count);
    free(panels);
    free(prepared);
    free(out);
    return hash;
}

static void linear_activations(const golden_run *run) {
    static const char *const names[] = {
        "linear linear", "linear geluNew", "linear gelu", "linear relu", "linear silu", "linear quickGelu", "linear tanh",
    };
    golden_numbers numbers = {50};
    float *x = golden_uniform(&numbers, 7 * 600, 1), *weights = golden_uniform(&numbers, 600 * 100, 1), *bias = golden_uniform(&numbers, 100, 1);
    float *residual = golden_uniform(&numbers, 700, 1);
    for (int32_t activation = CK_LINEAR; activation <= CK_TANH; activation++) {
        linear_case c = {7, 600, 100, x, weights, bias, residual, NULL, activation, false, CK_FLOAT32};
        golden_found(run, names[activation], linear_hash(run, GOLDEN_EMPTY, &c));
    }
    free(x), free(weights), free(bias), free(residual);
}

/// Sizes around every tile and panel, ordinary values and edges, in one hash.
static void linear_shapes(const golden_run *run, int32_t precision, const char *name) {
    golden_numbers numbers = {150};
    uint64_t hash = GOLDEN_EMPTY;
    for (int i = 0; i < 48; i++) {
        size_t rows = golden_integer(&numbers, 1, i % 6 == 5 ? 60 : 14), inputs = golden_integer(&numbers, 1, 530);
        size_t outputs = golden_integer(&numbers, 1, 170), count = rows * outputs;
        bool edges = i % 4 == 3;
        float *x = edges ? golden_edges(&numbers, rows * inputs) : golden_uniform(&numbers, rows * inputs, 1);
        float *weights = edges ? golden_edges(&numbers, inputs * outputs) : golden_uniform(&numbers, inputs * outputs, 1);
        float *bias = golden_uniform(&numbers, outputs, 1), *residual = golden_uniform(&numbers, count, 1), *start = golden_uniform(&numbers, count, 1);
        linear_case c = {
            rows, inputs, outputs, x, weights, golden_bool(&numbers) ? bias : NULL, golden_bool(&numbers) ? residual : NULL,
            golden_integer(&numbers, 0, 2) == 1 ? start : NULL, (int32_t)golden_integer(&numbers, 0, CK_TANH), golden_bool(&numbers), precision,
        };
        // Block sums go on from what stands in `out` with float32 weights only.
        if (precision != CK_FLOAT32) c.start = NULL;
        hash = linear_hash(run, hash, &c);
        free(x), free(weights), free(bias), free(residual), free(start);
    }
    golden_found(run, name, hash);
}

/// Two inputs an output, as the borders of bfloat16.c: results about 2⁻¹²⁶, where a processor judges smallness before or after
/// rounding. Ordinary rows and columns stand between, so that tiles are of both kinds.
static void narrow_borders(const golden_run *run) {
    static const float evens[] = {-0x1p-75f, 0x1p-75f, -0x1p-76f, 0x1p-76f, 0x1p-126f, 0x1p-127f, 1.0f, -0x1.8p-76f};
    static const float odds[] = {0x1p-63f, -0x1p-63f, 0x1p-64f, 0.0f, 1.0f, 0x1p-100f, 0x1p-12f};
    enum { EVENS = 8, ODDS = 7, ROWS = EVENS * ODDS, COLUMNS = 90 };
    float x[2 * ROWS], weights[2 * COLUMNS];
    for (int row = 0; row < ROWS; row++) x[2 * row] = evens[row % EVENS], x[2 * row + 1] = odds[row / EVENS];
    for (int n = 0; n < COLUMNS; n++) weights[n] = evens[n % EVENS] * (n % 3 == 2 ? 0x1p40f : 1), weights[COLUMNS + n] = odds[n % ODDS] * (n % 3 == 2 ? 0x1p40f : 1);
    linear_case c = {ROWS, 2, COLUMNS, x, weights, NULL, NULL, NULL, CK_LINEAR, false, CK_BFLOAT16};
    golden_found(run, "linear borders with bfloat16 weights", linear_hash(run, GOLDEN_EMPTY, &c));
}

static void transposition(const golden_run *run) {
    golden_numbers numbers = {151};
    uint64_t hash = GOLDEN_EMPTY;
    for (int i = 0; i < 8; i++) {
        size_t rows = golden_integer(&numbers, 1, 90), columns = golden_integer(&numbers, 1, 90), stride = columns + golden_integer(&numbers, 0, 3);
        float *x = golden_uniform(&numbers, rows * stride, 1), *out = golden_filled(columns * (rows + 2), 9);
        ck_transpose(run->pool, x, rows, columns, stride, out, rows + 2);
        hash = golden_hash(hash, out, columns * (rows + 2));
        free(x), free(out);
    }
    golden_found(run, "transposition", hash);
}

typedef struct {
    size_t count, heads, head_width, window, chunk;
    const float *queries, *keys, *values;
    bool narrow;
} attention_case;

/// Stores all positions and asks for all rows, `chunk` rows at a time, as a prefill does.
static uint64_t attention_hash(const golden_run *run, uint64_t hash, const attention_case *c) {
    enum { OFFSET = 7 };
    size_t stride = c->heads * c->head_width, pageCount = (c->count + CK_PAGE_POSITIONS - 1) / CK_PAGE_POSITIONS;
    float **pages = golden_memory(pageCount * sizeof(float *));
    for (size_t i = 0; i < pageCount; i++) pages[i] = golden_filled(ck_page_floats(c->heads, c->head_width, c->narrow) + OFFSET, NAN);
    float *out = golden_filled(c->count * stride, NAN);
    ck_attention_shape shape = {c->heads, c->head_width, 0.25f, (uint32_t)c->window, c->narrow};
    for (size_t first = 0; first < c->count; first += c->chunk) {
        size_t at = first * stride;
        uint32_t rows = (uint32_t)(c->chunk < c->count - first ? c->chunk : c->count - first);
        ck_store_keys_values(&shape, pages, OFFSET, (uint32_t)first, rows, c->keys + at, c->values + at, stride, c->head_width);
        ck_attention_span span = {
            .pages = pages, .page_offset = OFFSET, .queries = c->queries + at, .query_stride = stride, .query_head_stride = c->head_width,
            .out = out + at, .out_stride = stride, .rows = rows, .first_position = (uint32_t)first,
        };
        ck_attention(run->pool, &shape, &span, 1);
    }
    hash = golden_hash(hash, out, c->count * stride);
    for (size_t i = 0; i < pageCount; i++) free(pages[i]);
    free(pages), free(out);
    return hash;
}

static uint64_t random_attention(const golden_run *run, uint64_t hash, golden_numbers *numbers, attention_case c) {
    size_t floats = c.count * c.heads * c.head_width;
    float *queries = golden_uniform(numbers, floats, 2), *keys = golden_uniform(numbers, floats, 2), *values = golden_uniform(numbers, floats, 1);
    c.queries = queries, c.keys = keys, c.values = values;
    hash = attention_hash(run, hash, &c);
    free(queries), free(keys), free(values);
    return hash;
}

static void attention(const golden_run *run) {
    golden_numbers numbers = {51};
    golden_found(run, "attention", random_attention(run, GOLDEN_EMPTY, &numbers, (attention_case){.count = 300, .heads = 2, .head_width = 40, .chunk = 300}));
    numbers.state = 152;
    uint64_t hash = GOLDEN_EMPTY;
    for (int i = 0; i < 16; i++) {
        attention_case c = {.count = golden_integer(&numbers, 1, 290), .heads = golden_integer(&numbers, 1, 2), .head_width = golden_integer(&numbers, 1, 72)};
        c.window = i % 3 == 2 ? golden_integer(&numbers, 1, 90) : 0;
        c.chunk = golden_integer(&numbers, 1, 2) == 1 ? c.count : golden_integer(&numbers, 1, 70);
        hash = random_attention(run, hash, &numbers, c);
    }
    golden_found(run, "attention shapes", hash);
    numbers.state = 154;
    hash = GOLDEN_EMPTY;
    for (int i = 0; i < 8; i++) {
        attention_case c = {.count = golden_integer(&numbers, 1, 290), .heads = golden_integer(&numbers, 1, 2), .head_width = golden_integer(&numbers, 1, 72)};
        c.chunk = golden_integer(&numbers, 1, 2) == 1 ? c.count : golden_integer(&numbers, 1, 70);
        c.narrow = true;
        hash = random_attention(run, hash, &numbers, c);
    }
    golden_found(run, "attention shapes over bfloat16 pages", hash);
}

typedef struct {
    size_t rows, heads, head_width, pairs;
    bool head_by_head, inverse;
} rotary_case;

enum { ROTARY_POSITIONS = 50 };

static uint64_t rotary_hash(const golden_run *run, uint64_t hash, golden_numbers *numbers, rotary_case c, uint64_t *tableHash) {
    size_t floats = c.rows * c.heads * c.head_width * 3, table = ROTARY_POSITIONS * c.pairs;
    float *x = golden_uniform(numbers, floats, 2), *cosines = golden_floats(2 * table), *sines = cosines + table;
    int32_t *places = golden_memory(c.rows * sizeof(int32_t));
    for (size_t row = 0; row < c.rows; row++) places[row] = (int32_t)golden_integer(numbers, 0, ROTARY_POSITIONS - 1);
    ck_rotary_table(ROTARY_POSITIONS, c.pairs, 10000, cosines, sines);
    if (tableHash) *tableHash = golden_hash(GOLDEN_EMPTY, cosines, 2 * table);
    ck_rotary_args args = {
        .queries = x, .keys = x + (c.head_by_head ? c.head_width : c.heads * c.head_width), .rows = c.rows, .stride = 3 * c.heads * c.head_width,
        .heads = c.heads, .head_stride = c.head_by_head ? 3 * c.head_width : c.head_width, .pairs = c.pairs, .cosines = cosines, .sines = sines,
        .places = places, .inverse = c.inverse,
    };
    ck_rotary(run->pool, &args);
    hash = golden_hash(hash, x, floats);
    free(x), free(cosines), free(places);
    return hash;
}

static void rotary(const golden_run *run) {
    golden_numbers numbers = {62};
    uint64_t table, hash = rotary_hash(run, GOLDEN_EMPTY, &numbers, (rotary_case){33, 3, 50, 21, false, false}, &table);
    golden_found(run, "rotary", hash);
    golden_found(run, "rotary table", table);
    numbers.state = 153;
    hash = GOLDEN_EMPTY;
    for (int i = 0; i < 12; i++) {
        size_t pairs = golden_integer(&numbers, 1, 40);
        rotary_case c = {golden_integer(&numbers, 1, 70), golden_integer(&numbers, 1, 4), 2 * pairs + golden_integer(&numbers, 0, 20), pairs, i % 2 == 0, i % 3 == 0};
        hash = rotary_hash(run, hash, &numbers, c, NULL);
    }
    golden_found(run, "rotary shapes", hash);
}

void golden_inference(const golden_run *run) {
    linear_activations(run);
    linear_shapes(run, CK_FLOAT32, "linear shapes");
    linear_shapes(run, CK_BFLOAT16, "linear shapes with bfloat16 weights");
    linear_shapes(run, CK_INT8, "linear shapes with int8 weights");
    narrow_borders(run);
    transposition(run);
    attention(run);
    rotary(run);
}

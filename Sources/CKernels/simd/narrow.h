// What the products with bfloat16 and int8 weights share: how rows and panels are walked. An including file opens the
// target's functions and defines PANEL_VECTORS (as the fp32 kernels do) and NARROW_REGISTERS (vectors that a tile may keep).

// How int8 products meet in a lane (int8_linear.h).
#define DOT_NATIVE 0
#define DOT_PAIRS 1
#define DOT_LANES 2

/// A register tile over one block of k: R rows, V vectors of columns.
typedef struct {
    const float *x;      // prepared
    size_t xRow;
    const float *w;
    size_t wK, wV;       // from word to word of a column, from vector to vector
    size_t words;
    const float *start;  // int8: where a row's sum of the group begins, xRow apart
    float *sums;         // [rows][SUM_STRIDE]
} narrow_tile;

typedef void (*narrow_function)(const narrow_tile *);

#define NARROW_NAMES(kind, R) {kind##_##R##_1, kind##_##R##_2, kind##_##R##_3, kind##_##R##_4}
#define NARROW_ROW(kind, R) kind(R, 1) kind(R, 2) kind(R, 3) kind(R, 4)

/// `rows` rows and `vectors` vectors in tiles of at most `height` rows, shared out evenly.
CK_INLINE void narrow_run(const narrow_function kinds[][4], size_t height, narrow_tile t, size_t rows, size_t vectors) {
    size_t tiles = (rows + height - 1) / height;
    for (; tiles > 0; tiles--) {
        size_t r = (rows + tiles - 1) / tiles;
        size_t most = ck_larger(1, ck_smaller(4, NARROW_REGISTERS / r));
        narrow_tile part = t;
        for (size_t v = 0; v < vectors; v += most) {
            kinds[r - 1][ck_smaller(most, vectors - v) - 1](&part);
            part.w += most * t.wV;
            part.sums += most * LANES;
        }
        t.x += r * t.xRow;
        t.start += r * t.xRow;
        t.sums += r * SUM_STRIDE;
        rows -= r;
    }
}

/// Rows `row` ..< `row + rows` (at most ROW_CHUNK) of `vectors` vectors of columns from `column`.
typedef void (*narrow_chunk)(const ck_linear_args *a, size_t row, size_t rows, size_t column, size_t vectors, size_t wK, size_t wV);

CK_INLINE void narrow_panels(
    const narrow_chunk chunk, const int32_t precision, const ck_linear_args *a, size_t panelBegin, size_t panelEnd, size_t rowBegin, size_t rowEnd) {
    size_t words = ck_column_words(precision, a->inputs);
    size_t rows = rowEnd - rowBegin, chunks = ck_parts(rows, ROW_CHUNK), each = ck_multiple(ck_parts(rows, chunks), 12);
    // Panels of one vector are taken four at a time, one stream of weights each.
    size_t together = PANEL_VECTORS == 1 ? 4 : 1;
    for (size_t panel = panelBegin; panel < panelEnd; panel += together) {
        size_t width = ck_panel_width(a->outputs, PANEL_VECTORS * LANES, panel);
        size_t vectors = PANEL_VECTORS == 1 ? ck_smaller(together, panelEnd - panel) : width / LANES;
        size_t wV = PANEL_VECTORS == 1 ? words * LANES : LANES;
        for (size_t row = rowBegin; row < rowEnd; row += each)
            chunk(a, row, ck_smaller(each, rowEnd - row), panel * PANEL_VECTORS * LANES, vectors, width, wV);
    }
}

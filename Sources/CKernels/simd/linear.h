// Matrix product with packed weights: panel by panel, and within one blocks of 256 k over a chunk of rows, so that the
// block of weights stays in the second-level cache while all rows pass. Sums wait on the stack; bias, activation and
// residual are applied on the way out.

#include "finish.h"

/// Rows `row` ..< `row + rows` (at most ROW_CHUNK) of `vectors` vectors of columns from `column`.
static void linear_chunk(const ck_linear_args *a, size_t row, size_t rows, size_t column, size_t vectors, size_t wK, size_t wV) {
    _Alignas(64) float sums[ROW_CHUNK * SUM_STRIDE];
    size_t columns = ck_minimum_size(vectors * LANES, a->outputs - column);
    for (size_t r = 0; r < rows; r++)
        for (size_t n = 0; n < vectors * LANES; n += LANES) {
            vf start = (vf)0.0f;
            if (a->accumulate && n < columns) start = v_load_first(a->out + (row + r) * a->out_stride + column + n, columns - n);
            v_store(sums + r * SUM_STRIDE + n, start);
        }
    for (size_t k = 0; k < a->inputs; k += CK_BLOCK) {
        tile_args t = {
            a->x + row * a->x_stride + k, a->x_stride, 1, a->panels + column * a->inputs + k * wK, wK, wV,
            ck_minimum_size(CK_BLOCK, a->inputs - k), sums, SUM_STRIDE, 1.0f,
        };
        tile_run(tile_add, t, rows, vectors);
    }
    finish(a, sums, row, rows, column, columns);
}

static void simd_linear(const ck_linear_args *a, size_t panelBegin, size_t panelEnd, size_t rowBegin, size_t rowEnd) {
    size_t rows = rowEnd - rowBegin, chunks = (rows + ROW_CHUNK - 1) / ROW_CHUNK;
    size_t chunk = ((rows + chunks - 1) / chunks + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    // Panels of one vector are taken four at a time, one stream of weights each.
    size_t together = PANEL_VECTORS == 1 ? 4 : 1;
    for (size_t panel = panelBegin; panel < panelEnd; panel += together) {
        size_t column = panel * PANEL_VECTORS * LANES;
        size_t panels = ck_minimum_size(together, panelEnd - panel);
        size_t width = ck_panel_width(a->outputs, PANEL_VECTORS * LANES, panel);
        size_t vectors = PANEL_VECTORS == 1 ? panels : width / LANES;
        size_t wV = PANEL_VECTORS == 1 ? a->inputs * LANES : LANES;
        for (size_t row = rowBegin; row < rowEnd; row += chunk)
            linear_chunk(a, row, ck_minimum_size(chunk, rowEnd - row), column, vectors, width, wV);
    }
}

/// Sixteen outputs of one panel whose source is contiguous in k: transposed block by block.
static void pack_across(const float *source, size_t nStride, size_t inputs, size_t used, float *out, size_t width) {
    size_t k = 0;
    if (used == LANES)
        for (; k + LANES <= inputs; k += LANES) v_transpose(source + k, nStride, out + k * width, width);
    for (; k < inputs; k++) {
        for (size_t n = 0; n < used; n++) out[k * width + n] = source[n * nStride + k];
        for (size_t n = used; n < LANES; n++) out[k * width + n] = 0.0f;
    }
}

static void simd_pack(const ck_pack_args *a, size_t panelBegin, size_t panelEnd) {
    size_t columns = PANEL_VECTORS * LANES;
    for (size_t panel = panelBegin; panel < panelEnd; panel++) {
        size_t first = panel * columns, width = ck_panel_width(a->outputs, columns, panel);
        float *out = a->panels + first * a->inputs;
        for (size_t n = 0; n < width; n += LANES) {
            size_t used = first + n < a->outputs ? ck_minimum_size(LANES, a->outputs - first - n) : 0;
            const float *source = a->source + (first + n) * a->n_stride;
            if (a->n_stride == 1) {
                for (size_t k = 0; k < a->inputs; k++) v_store(out + k * width + n, v_load_first(source + k * a->k_stride, used));
            } else if (a->k_stride == 1) {
                pack_across(source, a->n_stride, a->inputs, used, out + n, width);
            } else {
                ck_pack_panels(a, columns, panel, panel + 1);
                break;
            }
        }
    }
}

static void simd_transpose(const float *x, size_t rows, size_t columns, size_t xStride, float *out, size_t outStride) {
    size_t r = 0;
    for (; r + LANES <= rows; r += LANES) {
        size_t c = 0;
        for (; c + LANES <= columns; c += LANES) v_transpose(x + r * xStride + c, xStride, out + c * outStride + r, outStride);
        for (; c < columns; c++)
            for (size_t i = r; i < r + LANES; i++) out[c * outStride + i] = x[i * xStride + c];
    }
    for (; r < rows; r++)
        for (size_t c = 0; c < columns; c++) out[c * outStride + r] = x[r * xStride + c];
}

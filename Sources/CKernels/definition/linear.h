// Matrix product with packed weights: the definition of ck_linear.h.
#include "panels.h"

static void plain_linear(const ck_linear_args *a, size_t panelBegin, size_t panelEnd, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *x = a->x + row * a->x_stride;
        for (size_t n = panelBegin * 16; n < ck_minimum_size(panelEnd * 16, a->outputs); n++) {
            const float *w = a->panels + (n / 16) * 16 * a->inputs + n % 16;
            float sum = a->accumulate ? a->out[row * a->out_stride + n] : 0.0f;
            for (size_t begin = 0; begin < a->inputs; begin += CK_BLOCK) {
                float chain = 0.0f;
                for (size_t k = begin; k < ck_minimum_size(begin + CK_BLOCK, a->inputs); k++) chain = CK_FMA(x[k], w[k * 16], chain);
                sum = sum + chain;
            }
            ck_finish(a, row, n, sum);
        }
    }
}

/// Panels of any width; the last one's missing columns are zero.
CK_INLINE void ck_pack_panels(const ck_pack_args *a, size_t columns, size_t panelBegin, size_t panelEnd) {
    for (size_t panel = panelBegin; panel < panelEnd; panel++) {
        size_t first = panel * columns;
        size_t width = ck_panel_width(a->outputs, columns, panel);
        size_t used = ck_minimum_size(width, a->outputs - first);
        float *out = a->panels + first * a->inputs;
        for (size_t k = 0; k < a->inputs; k++) {
            const float *source = a->source + k * a->k_stride + first * a->n_stride;
            for (size_t n = 0; n < used; n++) out[k * width + n] = source[n * a->n_stride];
            for (size_t n = used; n < width; n++) out[k * width + n] = 0.0f;
        }
    }
}

static void plain_pack(const ck_pack_args *a, size_t panelBegin, size_t panelEnd) { ck_pack_panels(a, 16, panelBegin, panelEnd); }

static void plain_transpose(const float *x, size_t rows, size_t columns, size_t xStride, float *out, size_t outStride) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) out[c * outStride + r] = x[r * xStride + c];
}

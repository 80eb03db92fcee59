// Panels of packed weights, and what follows the sum of a product (ck_linear.h).
#include <string.h>

enum { CK_BLOCK = 256 };

CK_INLINE size_t ck_minimum_size(size_t a, size_t b) { return a < b ? a : b; }

/// Width of panel `panel`: C, or for the last what is left, rounded up to 16.
CK_INLINE size_t ck_panel_width(size_t outputs, size_t columns, size_t panel) {
    size_t padded = (outputs + 15) / 16 * 16;
    return ck_minimum_size(columns, padded - panel * columns);
}

/// What follows the sum: bias, activation, residual.
CK_INLINE void ck_finish(const ck_linear_args *a, size_t row, size_t n, float sum) {
    size_t index = row * a->out_stride + n;
    if (a->bias) sum = sum + a->bias[n];
    sum = ck_scalar_apply(a->activation, sum);
    if (a->residual) sum = a->residual[index] + sum;
    a->out[index] = sum;
}

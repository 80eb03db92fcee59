// How the sums of a product leave: bias, activation and residual on the way out (ck_linear.h).

enum { ROW_CHUNK = 96, SUM_STRIDE = 64 };

CK_INLINE void finish_rows(const int32_t activation, const ck_linear_args *a, const float *sums, size_t row, size_t rows, size_t column, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        size_t index = (row + r) * a->out_stride + column;
        for (size_t n = 0; n < columns; n += LANES) {
            size_t count = ck_minimum_size(LANES, columns - n);
            vf y = v_load(sums + r * SUM_STRIDE + n);
            if (a->bias) y = y + v_load_first(a->bias + column + n, count);
            y = v_apply(activation, y);
            if (a->residual) y = v_load_first(a->residual + index + n, count) + y;
            v_store_first(a->out + index + n, y, count);
        }
    }
}

static __attribute__((noinline)) void finish(const ck_linear_args *a, const float *sums, size_t row, size_t rows, size_t column, size_t columns) {
    switch (a->activation) {
    case CK_GELU_NEW: finish_rows(CK_GELU_NEW, a, sums, row, rows, column, columns); break;
    case CK_GELU: finish_rows(CK_GELU, a, sums, row, rows, column, columns); break;
    case CK_RELU: finish_rows(CK_RELU, a, sums, row, rows, column, columns); break;
    case CK_SILU: finish_rows(CK_SILU, a, sums, row, rows, column, columns); break;
    case CK_QUICK_GELU: finish_rows(CK_QUICK_GELU, a, sums, row, rows, column, columns); break;
    case CK_TANH: finish_rows(CK_TANH, a, sums, row, rows, column, columns); break;
    default: finish_rows(CK_LINEAR, a, sums, row, rows, column, columns); break;
    }
}

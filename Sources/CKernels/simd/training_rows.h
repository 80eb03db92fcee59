// Backward passes over rows in sixteen lanes.

static void simd_layer_norm_backward(const ck_layer_norm_backward_args *a, size_t rowBegin, size_t rowEnd) {
    size_t count = a->width;
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *x = a->x + row * a->x_stride, *dy = a->dy + row * a->dy_stride;
        float *dx = a->dx + row * a->dx_stride;
        float mean = a->mean[row], rstd = a->rstd[row];
        vf sum = (vf)0.0f, products = (vf)0.0f;
        EACH_VECTOR({
            // Lanes beyond the row have dy = 0, so they add nothing.
            vf normal = (v_load_first(x + i, n) - mean) * rstd, h = v_load_first(dy + i, n) * v_load_first(a->gain + i, n);
            sum = sum + h;
            products = v_fma(h, normal, products);
        })
        float m1 = v_tree(sum) / (float)count, m2 = v_tree(products) / (float)count;
        EACH_VECTOR({
            vf normal = (v_load_first(x + i, n) - mean) * rstd, h = v_load_first(dy + i, n) * v_load_first(a->gain + i, n);
            vf gradient = rstd * v_fma(-normal, (vf)m2, h - m1);
            v_store_first(dx + i, a->accumulate_dx ? v_load_first(dx + i, n) + gradient : gradient, n);
        })
    }
}

/// Columns are taken four vectors at a time where there are as many.
#define EACH_COLUMN_GROUP(body1, body4)                                         \
    for (size_t column = columnBegin; column < columnEnd;) {                    \
        if (column + 4 * LANES <= columnEnd) {                                  \
            body4;                                                              \
            column += 4 * LANES;                                                \
        } else {                                                                \
            body1;                                                              \
            column += LANES;                                                    \
        }                                                                       \
    }

CK_INLINE void norm_parameter_group(const ck_layer_norm_backward_args *a, size_t column, size_t columns, const int V) {
    vf gain[V], bias[V];
    for (int v = 0; v < V; v++) {
        gain[v] = a->accumulate_parameters ? v_load_first(a->gain_gradient + column + v * LANES, columns) : (vf)0.0f;
        bias[v] = a->accumulate_parameters ? v_load_first(a->bias_gradient + column + v * LANES, columns) : (vf)0.0f;
    }
    for (size_t block = 0; block < a->rows; block += CK_BLOCK) {
        vf gainChain[V], biasChain[V];
        for (int v = 0; v < V; v++) gainChain[v] = biasChain[v] = (vf)0.0f;
        for (size_t row = block; row < ck_minimum_size(block + CK_BLOCK, a->rows); row++) {
            const float *x = a->x + row * a->x_stride + column, *dy = a->dy + row * a->dy_stride + column;
            for (int v = 0; v < V; v++) {
                vf g = v_load_first(dy + v * LANES, columns);
                gainChain[v] = v_fma(g, (v_load_first(x + v * LANES, columns) - a->mean[row]) * a->rstd[row], gainChain[v]);
                biasChain[v] = biasChain[v] + g;
            }
        }
        for (int v = 0; v < V; v++) {
            gain[v] = gain[v] + gainChain[v];
            bias[v] = bias[v] + biasChain[v];
        }
    }
    for (int v = 0; v < V; v++) {
        v_store_first(a->gain_gradient + column + v * LANES, gain[v], columns);
        v_store_first(a->bias_gradient + column + v * LANES, bias[v], columns);
    }
}

static void simd_layer_norm_parameters(const ck_layer_norm_backward_args *a, size_t columnBegin, size_t columnEnd) {
    EACH_COLUMN_GROUP(norm_parameter_group(a, column, columnEnd - column, 1), norm_parameter_group(a, column, LANES, 4))
}

CK_INLINE void activation_backward_body(const int32_t activation, const float *x, const float *dy, float *dx, size_t count) {
    EACH_VECTOR(v_store_first(dx + i, v_load_first(dy + i, n) * v_derivative(activation, v_load_first(x + i, n)), n);)
}

static void simd_activation_backward(int32_t activation, const float *x, const float *dy, float *dx, size_t count) {
    switch (activation) {
    case CK_GELU_NEW: activation_backward_body(CK_GELU_NEW, x, dy, dx, count); break;
    case CK_GELU: activation_backward_body(CK_GELU, x, dy, dx, count); break;
    case CK_RELU: activation_backward_body(CK_RELU, x, dy, dx, count); break;
    case CK_SILU: activation_backward_body(CK_SILU, x, dy, dx, count); break;
    case CK_QUICK_GELU: activation_backward_body(CK_QUICK_GELU, x, dy, dx, count); break;
    case CK_TANH: activation_backward_body(CK_TANH, x, dy, dx, count); break;
    default: activation_backward_body(CK_LINEAR, x, dy, dx, count); break;
    }
}

CK_INLINE void column_sum_group(const float *dy, size_t rows, size_t stride, float *out, bool accumulate, size_t columns, const int V) {
    vf sum[V];
    for (int v = 0; v < V; v++) sum[v] = accumulate ? v_load_first(out + v * LANES, columns) : (vf)0.0f;
    for (size_t block = 0; block < rows; block += CK_BLOCK) {
        vf chain[V];
        for (int v = 0; v < V; v++) chain[v] = (vf)0.0f;
        for (size_t row = block; row < ck_minimum_size(block + CK_BLOCK, rows); row++)
            for (int v = 0; v < V; v++) chain[v] = chain[v] + v_load_first(dy + row * stride + v * LANES, columns);
        for (int v = 0; v < V; v++) sum[v] = sum[v] + chain[v];
    }
    for (int v = 0; v < V; v++) v_store_first(out + v * LANES, sum[v], columns);
}

static void simd_column_sums(
    const float *dy, size_t rows, size_t stride, float *out, bool accumulate, size_t columnBegin, size_t columnEnd) {
    EACH_COLUMN_GROUP(column_sum_group(dy + column, rows, stride, out + column, accumulate, columnEnd - column, 1),
                      column_sum_group(dy + column, rows, stride, out + column, accumulate, LANES, 4))
}

static void simd_cross_entropy(const ck_cross_entropy_args *a, size_t rowBegin, size_t rowEnd) {
    size_t count = a->vocabulary;
    for (size_t row = rowBegin; row < rowEnd; row++) {
        float *z = a->logits + row * a->stride;
        int32_t label = a->labels[row];
        if (label < 0) {
            a->losses[row] = 0.0f;
            if (a->gradient) memset(z, 0, count * sizeof(float));
            continue;
        }
        float maximum = simd_maximum(z, count), target = z[label] - maximum;
        float sum = simd_exponentials(z, count, maximum, a->gradient ? z : NULL);
        a->losses[row] = ck_scalar_log(sum) - target;
        if (!a->gradient) continue;
        float p = z[label];
        EACH_VECTOR(v_store_first(z + i, (v_load_first(z + i, n) / sum) * a->scale, n);)
        z[label] = (p / sum - 1.0f) * a->scale;
    }
}

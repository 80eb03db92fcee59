// Backward passes over rows: the definition of ../include/training_rows.h.

static void plain_layer_norm_backward(const ck_layer_norm_backward_args *a, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *x = a->x + row * a->x_stride, *dy = a->dy + row * a->dy_stride;
        float *dx = a->dx + row * a->dx_stride;
        float mean = a->mean[row], rstd = a->rstd[row];
        ck_lanes sum = ck_zero_lanes(), products = ck_zero_lanes();
        for (size_t i = 0; i < a->width; i++) {
            float normal = (x[i] - mean) * rstd, h = dy[i] * a->gain[i];
            sum.lane[i % 16] = sum.lane[i % 16] + h;
            products.lane[i % 16] = CK_FMA(h, normal, products.lane[i % 16]);
        }
        float m1 = ck_tree(sum) / (float)a->width, m2 = ck_tree(products) / (float)a->width;
        for (size_t i = 0; i < a->width; i++) {
            float normal = (x[i] - mean) * rstd, h = dy[i] * a->gain[i];
            float gradient = rstd * CK_FMA(-normal, m2, h - m1);
            dx[i] = a->accumulate_dx ? dx[i] + gradient : gradient;
        }
    }
}

static void plain_layer_norm_parameters(const ck_layer_norm_backward_args *a, size_t columnBegin, size_t columnEnd) {
    for (size_t i = columnBegin; i < columnEnd; i++) {
        float gain = a->accumulate_parameters ? a->gain_gradient[i] : 0.0f;
        float bias = a->accumulate_parameters ? a->bias_gradient[i] : 0.0f;
        for (size_t block = 0; block < a->rows; block += CK_BLOCK) {
            float gainChain = 0.0f, biasChain = 0.0f;
            for (size_t row = block; row < ck_minimum_size(block + CK_BLOCK, a->rows); row++) {
                float dy = a->dy[row * a->dy_stride + i];
                gainChain = CK_FMA(dy, (a->x[row * a->x_stride + i] - a->mean[row]) * a->rstd[row], gainChain);
                biasChain = biasChain + dy;
            }
            gain = gain + gainChain;
            bias = bias + biasChain;
        }
        a->gain_gradient[i] = gain;
        a->bias_gradient[i] = bias;
    }
}

#define PLAIN_BACKWARD(ACTIVATION) \
    case ACTIVATION: \
        for (size_t i = 0; i < count; i++) dx[i] = dy[i] * ck_scalar_derivative(ACTIVATION, x[i]); \
        break;

static void plain_activation_backward(int32_t activation, const float *x, const float *dy, float *dx, size_t count) {
    switch (activation) {
        PLAIN_BACKWARD(CK_GELU_NEW)
        PLAIN_BACKWARD(CK_GELU)
        PLAIN_BACKWARD(CK_RELU)
        PLAIN_BACKWARD(CK_SILU)
        PLAIN_BACKWARD(CK_QUICK_GELU)
        PLAIN_BACKWARD(CK_TANH)
    default:
        for (size_t i = 0; i < count; i++) dx[i] = dy[i] * 1.0f;
    }
}

static void plain_column_sums(
    const float *dy, size_t rows, size_t stride, float *out, bool accumulate, size_t columnBegin, size_t columnEnd) {
    for (size_t i = columnBegin; i < columnEnd; i++) {
        float sum = accumulate ? out[i] : 0.0f;
        for (size_t block = 0; block < rows; block += CK_BLOCK) {
            float chain = 0.0f;
            for (size_t row = block; row < ck_minimum_size(block + CK_BLOCK, rows); row++) chain = chain + dy[row * stride + i];
            sum = sum + chain;
        }
        out[i] = sum;
    }
}

static void plain_cross_entropy(const ck_cross_entropy_args *a, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        float *z = a->logits + row * a->stride;
        int32_t label = a->labels[row];
        if (label < 0) {
            a->losses[row] = 0.0f;
            for (size_t i = 0; a->gradient && i < a->vocabulary; i++) z[i] = 0.0f;
            continue;
        }
        float maximum = plain_maximum(z, a->vocabulary);
        float target = z[label] - maximum;
        ck_lanes lanes = ck_zero_lanes();
        for (size_t i = 0; i < a->vocabulary; i++) {
            float p = ck_scalar_exp(z[i] - maximum);
            lanes.lane[i % 16] = lanes.lane[i % 16] + p;
            if (a->gradient) z[i] = p;
        }
        float sum = ck_tree(lanes);
        a->losses[row] = ck_scalar_log(sum) - target;
        for (size_t i = 0; a->gradient && i < a->vocabulary; i++) {
            float p = z[i] / sum;
            z[i] = ((size_t)label == i ? p - 1.0f : p) * a->scale;
        }
    }
}

// Row reductions: the definition of ck_rows.h.

typedef struct {
    float lane[16];
} ck_lanes;

CK_INLINE ck_lanes ck_zero_lanes(void) { return (ck_lanes){{0}}; }

/// Lanes i and i + 8, then i and i + 4, i + 2, i + 1.
CK_INLINE float ck_tree(ck_lanes sum) {
    for (int distance = 8; distance > 0; distance /= 2)
        for (int i = 0; i < distance; i++) sum.lane[i] = sum.lane[i] + sum.lane[i + distance];
    return sum.lane[0];
}

static void plain_layer_norm(const ck_layer_norm_args *a, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *x = a->x + row * a->x_stride;
        float *out = a->out + row * a->out_stride;
        ck_lanes sum = ck_zero_lanes();
        for (size_t i = 0; i < a->width; i++) sum.lane[i % 16] = sum.lane[i % 16] + x[i];
        float mean = ck_tree(sum) / (float)a->width;
        ck_lanes squares = ck_zero_lanes();
        for (size_t i = 0; i < a->width; i++) {
            float d = x[i] - mean;
            squares.lane[i % 16] = CK_FMA(d, d, squares.lane[i % 16]);
        }
        float variance = ck_tree(squares) / (float)a->width;
        float rstd = 1.0f / __builtin_sqrtf(variance + a->epsilon);
        for (size_t i = 0; i < a->width; i++) out[i] = CK_FMA((x[i] - mean) * rstd, a->gain[i], a->bias[i]);
        if (a->mean) a->mean[row] = mean;
        if (a->rstd) a->rstd[row] = rstd;
    }
}

/// A loop a function: of one loop with the choice inside, clang makes code that computes all of them for every element.
#define PLAIN_MAP(FUNCTION) \
    case FUNCTION: \
        for (size_t i = 0; i < count; i++) out[i] = ck_scalar_apply(FUNCTION, x[i]); \
        break;

static void plain_map(int32_t function, const float *x, float *out, size_t count) {
    switch (function) {
        PLAIN_MAP(CK_GELU_NEW)
        PLAIN_MAP(CK_GELU)
        PLAIN_MAP(CK_RELU)
        PLAIN_MAP(CK_SILU)
        PLAIN_MAP(CK_QUICK_GELU)
        PLAIN_MAP(CK_TANH)
        PLAIN_MAP(CK_EXP)
        PLAIN_MAP(CK_LOG)
        PLAIN_MAP(CK_LOG1P)
        PLAIN_MAP(CK_ERF)
    default:
        for (size_t i = 0; i < count; i++) out[i] = x[i];
    }
}

static void plain_add(float *a, const float *b, const float *c, size_t count) {
    for (size_t i = 0; i < count; i++) a[i] = b[i] + c[i];
}

static bool plain_has_nan(const float *x, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (x[i] != x[i]) return true;
    return false;
}

static float plain_maximum(const float *x, size_t count) {
    float best = -__builtin_inff();
    for (size_t i = 0; i < count; i++) best = x[i] > best ? x[i] : best;
    return best + 0.0f;
}

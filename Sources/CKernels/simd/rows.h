// Row reductions in sixteen lanes. A last partial vector adds nothing in the lanes it lacks.

static void simd_layer_norm(const ck_layer_norm_args *a, size_t rowBegin, size_t rowEnd) {
    size_t width = a->width, whole = width / LANES * LANES;
    vi rest = v_between(0, (int)(width - whole));
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *x = a->x + row * a->x_stride;
        float *out = a->out + row * a->out_stride;
        vf sum = (vf)0.0f;
        for (size_t i = 0; i < whole; i += LANES) sum = sum + v_load(x + i);
        if (whole < width) sum = sum + v_load_first(x + whole, width - whole);
        float mean = v_tree(sum) / (float)width;
        vf squares = (vf)0.0f;
        for (size_t i = 0; i < whole; i += LANES) {
            vf d = v_load(x + i) - mean;
            squares = v_fma(d, d, squares);
        }
        if (whole < width) {
            vf d = v_select(rest, v_load_first(x + whole, width - whole) - mean, (vf)0.0f);
            squares = v_fma(d, d, squares);
        }
        float variance = v_tree(squares) / (float)width;
        float rstd = 1.0f / __builtin_sqrtf(variance + a->epsilon);
        for (size_t i = 0; i < whole; i += LANES)
            v_store(out + i, v_fma((v_load(x + i) - mean) * rstd, v_load(a->gain + i), v_load(a->bias + i)));
        for (size_t i = whole; i < width; i++) out[i] = CK_FMA((x[i] - mean) * rstd, a->gain[i], a->bias[i]);
        if (a->mean) a->mean[row] = mean;
        if (a->rstd) a->rstd[row] = rstd;
    }
}

#define EACH_VECTOR(...)                                                      \
    for (size_t i = 0; i < count; i += LANES) {                               \
        size_t n = ck_minimum_size(LANES, count - i);                         \
        __VA_ARGS__                                                           \
    }

CK_INLINE void map_body(const int32_t function, const float *x, float *out, size_t count) {
    EACH_VECTOR(v_store_first(out + i, v_apply(function, v_load_first(x + i, n)), n);)
}

static void simd_map(int32_t function, const float *x, float *out, size_t count) {
    switch (function) {
    case CK_GELU_NEW: map_body(CK_GELU_NEW, x, out, count); break;
    case CK_GELU: map_body(CK_GELU, x, out, count); break;
    case CK_RELU: map_body(CK_RELU, x, out, count); break;
    case CK_SILU: map_body(CK_SILU, x, out, count); break;
    case CK_QUICK_GELU: map_body(CK_QUICK_GELU, x, out, count); break;
    case CK_TANH: map_body(CK_TANH, x, out, count); break;
    case CK_EXP: map_body(CK_EXP, x, out, count); break;
    case CK_LOG: map_body(CK_LOG, x, out, count); break;
    case CK_LOG1P: map_body(CK_LOG1P, x, out, count); break;
    case CK_ERF: map_body(CK_ERF, x, out, count); break;
    default: map_body(CK_LINEAR, x, out, count); break;
    }
}

static void simd_add(float *a, const float *b, const float *c, size_t count) {
    EACH_VECTOR(v_store_first(a + i, v_load_first(b + i, n) + v_load_first(c + i, n), n);)
}

static bool simd_has_nan(const float *x, size_t count) {
    vi found = (vi)0;
    EACH_VECTOR(vf v = v_load_first(x + i, n); found = found | (v != v);)
    return __builtin_reduce_or(found) != 0;
}

static float simd_maximum(const float *x, size_t count) {
    vf best[4] = {(vf)-__builtin_inff(), (vf)-__builtin_inff(), (vf)-__builtin_inff(), (vf)-__builtin_inff()};
    size_t whole = count / 64 * 64;
    for (size_t i = 0; i < whole; i += 64)
        for (int j = 0; j < 4; j++) {
            vf v = v_load(x + i + j * LANES);
            best[j] = v_select(v > best[j], v, best[j]);
        }
    float largest = -__builtin_inff();
    for (size_t i = whole; i < count; i++) largest = x[i] > largest ? x[i] : largest;
    for (int j = 1; j < 4; j++) best[0] = v_select(best[j] > best[0], best[j], best[0]);
    for (int j = 0; j < LANES; j++) largest = best[0][j] > largest ? best[0][j] : largest;
    return largest + 0.0f;
}

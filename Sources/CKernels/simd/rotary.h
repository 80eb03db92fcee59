// Rotary positions in sixteen lanes; what is left of a head's pairs goes the definition's way.

CK_INLINE void rotate_head(float *x, size_t pairs, const float *cosines, const float *sines, float sign) {
    size_t whole = pairs / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        vf a = v_load(x + i), b = v_load(x + pairs + i), c = v_load(cosines + i), s = sign * v_load(sines + i);
        v_store(x + i, v_fma(a, c, -(b * s)));
        v_store(x + pairs + i, v_fma(b, c, a * s));
    }
    ck_rotate(x, whole, pairs, cosines, sines, sign);
}

static void simd_rotary(const ck_rotary_args *a, size_t rowBegin, size_t rowEnd) {
    float sign = a->inverse ? -1.0f : 1.0f;
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *cosines = a->cosines + (size_t)a->places[row] * a->pairs, *sines = a->sines + (size_t)a->places[row] * a->pairs;
        for (size_t head = 0; head < a->heads; head++) {
            rotate_head(a->queries + row * a->stride + head * a->head_stride, a->pairs, cosines, sines, sign);
            rotate_head(a->keys + row * a->stride + head * a->head_stride, a->pairs, cosines, sines, sign);
        }
    }
}

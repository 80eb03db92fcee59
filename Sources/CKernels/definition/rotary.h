// Rotary positions: the definition of ../include/ck_rotary.h.

CK_INLINE void ck_rotate(float *x, size_t from, size_t pairs, const float *cosines, const float *sines, float sign) {
    for (size_t i = from; i < pairs; i++) {
        float a = x[i], b = x[i + pairs], s = sign * sines[i];
        x[i] = CK_FMA(a, cosines[i], -(b * s));
        x[i + pairs] = CK_FMA(b, cosines[i], a * s);
    }
}

static void plain_rotary(const ck_rotary_args *a, size_t rowBegin, size_t rowEnd) {
    float sign = a->inverse ? -1.0f : 1.0f;
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *cosines = a->cosines + (size_t)a->places[row] * a->pairs, *sines = a->sines + (size_t)a->places[row] * a->pairs;
        for (size_t head = 0; head < a->heads; head++) {
            ck_rotate(a->queries + row * a->stride + head * a->head_stride, 0, a->pairs, cosines, sines, sign);
            ck_rotate(a->keys + row * a->stride + head * a->head_stride, 0, a->pairs, cosines, sines, sign);
        }
    }
}

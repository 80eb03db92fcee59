// AdamW and sums of squares: the definition of ../include/training_optimizer.h.

static void plain_adamw(const ck_adamw_args *a, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        float g = a->gradient[i] * a->gradient_scale;
        float m = CK_FMA(a->beta1, a->first_moment[i], a->one_minus_beta1 * g);
        float v = CK_FMA(a->beta2, a->second_moment[i], (a->one_minus_beta2 * g) * g);
        float denominator = __builtin_sqrtf(v) / a->root_correction + a->epsilon;
        a->first_moment[i] = m;
        a->second_moment[i] = v;
        a->weights[i] = a->weights[i] * a->decay_keep - a->step_size * (m / denominator);
    }
}

static float plain_square_sum(const float *x, size_t count) {
    ck_lanes lanes = ck_zero_lanes();
    for (size_t i = 0; i < count; i++) lanes.lane[i % 16] = CK_FMA(x[i], x[i], lanes.lane[i % 16]);
    return ck_tree(lanes);
}

// AdamW and sums of squares in sixteen lanes.

static void simd_adamw(const ck_adamw_args *a, size_t begin, size_t end) {
    size_t count = end - begin;
    float *weights = a->weights + begin, *first = a->first_moment + begin, *second = a->second_moment + begin;
    const float *gradient = a->gradient + begin;
    EACH_VECTOR({
        vf g = v_load_first(gradient + i, n) * a->gradient_scale;
        vf m = v_fma((vf)a->beta1, v_load_first(first + i, n), a->one_minus_beta1 * g);
        vf v = v_fma((vf)a->beta2, v_load_first(second + i, n), (a->one_minus_beta2 * g) * g);
        vf denominator = __builtin_elementwise_sqrt(v) / a->root_correction + a->epsilon;
        v_store_first(first + i, m, n);
        v_store_first(second + i, v, n);
        v_store_first(weights + i, v_load_first(weights + i, n) * a->decay_keep - a->step_size * (m / denominator), n);
    })
}

static float simd_square_sum(const float *x, size_t count) {
    vf sum = (vf)0.0f;
    EACH_VECTOR(vf v = v_load_first(x + i, n); sum = v_fma(v, v, sum);)
    return v_tree(sum);
}

// Causal attention's backward pass: the definition of ../include/training_attention.h.

static void plain_attention_backward(const ck_training_attention_backward_args *a, size_t sequence, size_t head, float *scratch) {
    const ck_training_attention_args *f = &a->forward;
    size_t d = f->head_width, length = f->length, first = sequence * length;
    const float *q = f->queries + first * f->stride + head * f->head_stride, *k = f->keys + first * f->stride + head * f->head_stride;
    const float *v = f->values + first * f->stride + head * f->head_stride;
    const float *dout = a->dout + first * a->dout_stride + head * d;
    const float *statistics = f->statistics + (sequence * f->heads + head) * length * 2;
    ck_attention_shape shape = {f->heads, d, f->scale, f->window, false};
    ck_attention_dropout mask = ck_training_dropout(f, sequence, head);
    float *p = scratch, *ds = scratch + length * length;

    for (size_t i = 0; i < length; i++) {
        ck_lanes lanes = ck_zero_lanes();
        for (size_t j = ck_first_visible(&shape, i); j <= i; j++) {
            float score = 0.0f, product = 0.0f;
            for (size_t c = 0; c < d; c++) score = CK_FMA(q[i * f->stride + c], k[j * f->stride + c], score);
            for (size_t c = 0; c < d; c++) product = CK_FMA(dout[i * a->dout_stride + c], v[j * f->stride + c], product);
            if (f->dropout) plain_drop(f->dropout, mask.row + i, mask.element + j, &product, 1);
            float probability = ck_scalar_exp(score * f->scale - statistics[i * 2]) / statistics[i * 2 + 1];
            p[i * length + j] = probability;
            ds[i * length + j] = product;
            lanes.lane[j % 16] = CK_FMA(probability, product, lanes.lane[j % 16]);
        }
        float inner = ck_tree(lanes);
        for (size_t j = ck_first_visible(&shape, i); j <= i; j++) {
            ds[i * length + j] = (p[i * length + j] * (ds[i * length + j] - inner)) * f->scale;
            if (f->dropout) plain_drop(f->dropout, mask.row + i, mask.element + j, &p[i * length + j], 1);
        }
    }
    float *dq = a->dqueries + first * a->dstride + head * f->head_stride, *dk = a->dkeys + first * a->dstride + head * f->head_stride;
    float *dv = a->dvalues + first * a->dstride + head * f->head_stride;
    for (size_t row = 0; row < length; row++) {
        for (size_t c = 0; c < d; c++) {
            float dqSum = 0.0f, dkSum = 0.0f, dvSum = 0.0f;
            for (size_t block = 0; block < length; block += CK_BLOCK) {
                float dqChain = 0.0f, dkChain = 0.0f, dvChain = 0.0f;
                for (size_t at = block; at < ck_minimum_size(block + CK_BLOCK, length); at++) {
                    if (at <= row && at >= ck_first_visible(&shape, row)) dqChain = CK_FMA(ds[row * length + at], k[at * f->stride + c], dqChain);
                    if (row <= at && row >= ck_first_visible(&shape, at)) {
                        dkChain = CK_FMA(ds[at * length + row], q[at * f->stride + c], dkChain);
                        dvChain = CK_FMA(p[at * length + row], dout[at * a->dout_stride + c], dvChain);
                    }
                }
                dqSum = dqSum + dqChain;
                dkSum = dkSum + dkChain;
                dvSum = dvSum + dvChain;
            }
            dq[row * a->dstride + c] = dqSum;
            dk[row * a->dstride + c] = dkSum;
            dv[row * a->dstride + c] = dvSum;
        }
    }
}

// Dropout: the definition of ../include/training_dropout.h.

/// Elements `first` ..< `first + count` of a row, which stand at x.
static void plain_drop(const ck_dropout_args *a, size_t row, size_t first, float *x, size_t count) {
    uint64_t threshold = (uint64_t)(a->rate * 0x1p32);
    float keep = (float)(1.0 - a->rate);
    for (size_t i = 0; i < count; i++) {
        uint32_t counter[4] = {(uint32_t)((first + i) / 4), a->step, a->first_row + (uint32_t)row, a->site}, words[4];
        ck_philox_block(a->seed, counter, words);
        x[i] = words[(first + i) % 4] >= threshold ? x[i] / keep : 0.0f;
    }
}

static void plain_dropout(const ck_dropout_args *a, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) plain_drop(a, row, 0, a->x + row * a->stride, a->width);
}

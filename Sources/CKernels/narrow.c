// Products with bfloat16 and int8 weights: the definition in plain C, and which variant a processor runs.
#pragma STDC FP_CONTRACT OFF

#include "ck_narrow.h"
#include "divide.h"
#include "target.h"

CK_TARGET_BEGIN

#include "definition/functions.h"
#include "definition/panels.h"
#include "definition/narrow.h"
#include "definition/narrow_packing.h"

static void plain_bfloat16_pack(const ck_pack_args *a, size_t begin, size_t end) { ck_pack_narrow(CK_BFLOAT16, a, 16, begin, end); }
static void plain_int8_pack(const ck_pack_args *a, size_t begin, size_t end) { ck_pack_narrow(CK_INT8, a, 16, begin, end); }

/// Rows as bfloat16 values in fp32, an odd K filled up with zero.
static void plain_bfloat16_prepare(const ck_linear_args *a, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        float *out = a->prepared + row * ck_prepared_stride(a->inputs);
        for (size_t k = 0; k < a->inputs; k++) out[k] = ck_bfloat16(a->x[row * a->x_stride + k]);
        if (a->inputs % 2) out[a->inputs] = 0.0f;
    }
}

static void plain_bfloat16_linear(const ck_linear_args *a, size_t panelBegin, size_t panelEnd, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *x = a->prepared + row * ck_prepared_stride(a->inputs);
        for (size_t n = panelBegin * 16; n < ck_minimum_size(panelEnd * 16, a->outputs); n++) {
            const float *w = a->panels + n / 16 * 16 * ck_column_words(CK_BFLOAT16, a->inputs) + n % 16;
            float sum = 0.0f;
            for (size_t begin = 0; begin < a->inputs; begin += CK_BLOCK) {
                float chain = 0.0f;
                for (size_t k = begin; k < ck_minimum_size(begin + CK_BLOCK, a->inputs); k += 2) {
                    uint32_t pair = ck_bits(w[k / 2 * 16]);
                    chain = ck_fma_flushed(x[k + 1], ck_pair_odd(pair), chain);
                    chain = ck_fma_flushed(x[k], ck_pair_even(pair), chain);
                }
                sum = sum + chain;
            }
            ck_finish(a, row, n, sum);
        }
    }
}

/// A row's scale, then its numbers in bytes.
static void plain_int8_prepare(const ck_linear_args *a, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *x = a->x + row * a->x_stride;
        float *out = a->prepared + row * ck_prepared_stride(a->inputs);
        uint32_t largest = 0;
        for (size_t k = 0; k < a->inputs; k++) {
            uint32_t bits = ck_bits(x[k]) & 0x7fffffffu;
            largest = bits > largest ? bits : largest;
        }
        out[0] = ck_int8_scale(largest);
        for (size_t k = 0; k < a->inputs; k++) ((int8_t *)(out + 1))[k] = (int8_t)ck_int8(x[k], out[0]);
    }
}

static void plain_int8_linear(const ck_linear_args *a, size_t panelBegin, size_t panelEnd, size_t rowBegin, size_t rowEnd) {
    for (size_t row = rowBegin; row < rowEnd; row++) {
        const float *prepared = a->prepared + row * ck_prepared_stride(a->inputs);
        const int8_t *x = (const int8_t *)(prepared + 1);
        for (size_t n = panelBegin * 16; n < ck_minimum_size(panelEnd * 16, a->outputs); n++) {
            const float *w = a->panels + n / 16 * 16 * ck_column_words(CK_INT8, a->inputs) + n % 16;
            float sum = 0.0f;
            for (size_t begin = 0; begin < a->inputs; begin += CK_GROUP) {
                size_t count = ck_minimum_size(CK_GROUP, a->inputs - begin), quads = (count + 3) / 4;
                int32_t dot = 0;
                for (size_t i = 0; i < count; i++) dot += x[begin + i] * ((int32_t)(ck_bits(w[i / 4 * 16]) >> i % 4 * 8 & 0xffu) - 128);
                sum = CK_FMA((float)dot, w[quads * 16], sum);
                w += (quads + 1) * 16;
            }
            ck_finish(a, row, n, sum * prepared[0]);
        }
    }
}

size_t ck_panel_words(int32_t precision, size_t inputs, size_t outputs) { return ck_column_words(precision, inputs) * ck_multiple(outputs, 16); }

size_t ck_prepared_floats(size_t rows, size_t inputs) { return rows * ck_prepared_stride(inputs); }

void ck_read_column(const ck_kernels *kernels, int32_t precision, const float *panels, size_t inputs, size_t outputs, size_t column, float *out) {
    size_t width;
    const float *word = ck_column_of(precision, panels, inputs, outputs, kernels->panel_columns, column, &width);
    ck_column_values(precision, word, width, inputs, out);
}

CK_TARGET_END

const ck_narrow_kernels ck_bfloat16_linear_plain = {plain_bfloat16_pack, plain_bfloat16_prepare, plain_bfloat16_linear};
const ck_narrow_kernels ck_int8_linear_plain = {plain_int8_pack, plain_int8_prepare, plain_int8_linear};

void ck_narrow_variants(int32_t isa, int32_t precision, const ck_narrow_kernels *variants[2]) {
    variants[0] = precision == CK_INT8 ? &ck_int8_linear_plain : &ck_bfloat16_linear_plain;
    variants[1] = NULL;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (isa == CK_AVX2) variants[0] = precision == CK_INT8 ? &ck_int8_linear_avx2 : &ck_bfloat16_linear_avx2;
    if (isa == CK_AVX512) {
        const ck_narrow_kernels *emulated = precision == CK_INT8 ? &ck_int8_linear_avx512 : &ck_bfloat16_linear_avx512;
        const ck_narrow_kernels *native = precision == CK_INT8 ? &ck_int8_linear_native : &ck_bfloat16_linear_native;
        bool has = precision == CK_INT8 ? __builtin_cpu_supports("avx512vnni") : __builtin_cpu_supports("avx512bf16");
        variants[0] = has ? native : emulated;
        variants[1] = has ? emulated : NULL;
    }
#elif defined(__aarch64__)
    if (isa == CK_NEON) variants[0] = precision == CK_INT8 ? &ck_int8_linear_neon : &ck_bfloat16_linear_neon;
#endif
}

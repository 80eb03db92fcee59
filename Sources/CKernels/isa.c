// Chooses the table of kernels that this processor can run.
#pragma STDC FP_CONTRACT OFF

#include "ck_isa.h"
#include "ck_table.h"

#include <stdatomic.h>

extern const ck_kernels ck_kernels_plain;
#if defined(__x86_64__)
extern const ck_kernels ck_kernels_avx2, ck_kernels_avx512;
#elif defined(__aarch64__)
extern const ck_kernels ck_kernels_neon;
#endif

const ck_kernels *ck_kernels_of(int32_t isa) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa == CK_PLAIN && avx2) return &ck_kernels_plain;
    if (isa == CK_AVX2 && avx2) return &ck_kernels_avx2;
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512dq");
    if (isa == CK_AVX512 && avx512) return &ck_kernels_avx512;
#else
    if (isa == CK_PLAIN) return &ck_kernels_plain;
#if defined(__aarch64__)
    if (isa == CK_NEON) return &ck_kernels_neon;
#endif
#endif
    return NULL;
}

static _Atomic(const ck_kernels *) chosen;

const ck_kernels *ck_current(void) {
    const ck_kernels *kernels = atomic_load_explicit(&chosen, memory_order_acquire);
    if (kernels != NULL) return kernels;
    static const int32_t widest[] = {CK_AVX512, CK_AVX2, CK_NEON, CK_PLAIN};
    for (int i = 0; i < 4 && kernels == NULL; i++) kernels = ck_kernels_of(widest[i]);
    if (kernels == NULL) kernels = &ck_kernels_plain;
    atomic_store_explicit(&chosen, kernels, memory_order_release);
    return kernels;
}

bool ck_select(int32_t isa) {
    const ck_kernels *kernels = ck_kernels_of(isa);
    if (kernels == NULL) return false;
    atomic_store_explicit(&chosen, kernels, memory_order_release);
    return true;
}

int32_t ck_isa_of(const ck_kernels *kernels) { return kernels->isa; }

// VDPBF16PS for processors with AVX-512 that lack it, so that the kernels which use it can be run there. Included before every
// kernel of such a build; the product never is.
//
// Intel's manual (Software Developer's Manual, VDPBF16PS): both operands hold pairs; the odd products are added first, then the
// even ones, each by a fused multiply-add that rounds to nearest even, reads denormals as zeros and writes them as zeros,
// whatever MXCSR says.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

__attribute__((target("avx512f"), noinline, unused)) static __m512 emulated_dpbf16_ps(__m512 sum, __m512bh left, __m512bh right) {
    const __m512i high = _mm512_set1_epi32((int)0xffff0000);
    __m512i x = (__m512i)left, y = (__m512i)right;
    __m512 odd[2] = {(__m512)_mm512_and_si512(x, high), (__m512)_mm512_and_si512(y, high)};
    __m512 even[2] = {(__m512)_mm512_slli_epi32(x, 16), (__m512)_mm512_slli_epi32(y, 16)};
    unsigned kept = _mm_getcsr();
    _mm_setcsr(0x9fc0);
    // Neither may leave its place between the two settings of the register, of which the compiler knows nothing.
    __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(odd[0]), "v"(odd[1]) : "memory");
    __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(even[0]), "v"(even[1]) : "memory");
    _mm_setcsr(kept);
    return sum;
}

#define _mm512_dpbf16_ps emulated_dpbf16_ps
#define __builtin_cpu_supports(name) (__builtin_strcmp(name, "avx512bf16") == 0 || __builtin_cpu_supports(name))

#endif

// Products with bfloat16 weights for AVX-512 with VDPBF16PS.
#pragma STDC FP_CONTRACT OFF

#if defined(__x86_64__)

#include <immintrin.h>

#include "ck_narrow.h"
#include "divide.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))), apply_to = function)
// Vectors are passed only between functions that are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-function"

#define PANEL_VECTORS 4
#define NARROW_REGISTERS 24
#define BFLOAT16_LINEAR ck_bfloat16_linear_native
#define BFLOAT16_ROWS 6
#define BFLOAT16_NATIVE 1

#include "simd/narrow_kernels.h"
#include "simd/bfloat16_linear.h"

#pragma clang attribute pop

#endif

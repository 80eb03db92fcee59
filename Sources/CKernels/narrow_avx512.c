// Products with bfloat16 and int8 weights for AVX-512 without its extensions for them.
#pragma STDC FP_CONTRACT OFF

#if defined(__x86_64__)

#include <immintrin.h>

#include "ck_narrow.h"
#include "divide.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
// Vectors are passed only between functions that are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-function"

#define PANEL_VECTORS 4
#define NARROW_REGISTERS 24
#define BFLOAT16_LINEAR ck_bfloat16_linear_avx512
#define BFLOAT16_ROWS 6
#define BFLOAT16_NATIVE 0
#define INT8_LINEAR ck_int8_linear_avx512
#define INT8_ROWS 4
#define INT8_DOT DOT_PAIRS

#include "simd/narrow_kernels.h"
#include "simd/bfloat16_linear.h"
#include "simd/int8_linear.h"

#pragma clang attribute pop

#endif

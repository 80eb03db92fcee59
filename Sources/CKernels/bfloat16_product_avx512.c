// Products with bfloat16 operands for AVX-512 without its bfloat16 extension.
#pragma STDC FP_CONTRACT OFF

#if defined(__x86_64__)

#include <immintrin.h>

#include "divide.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
// Vectors are passed only between functions that are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-function"

#define BFLOAT16_KERNELS ck_bfloat16_avx512
#define PRODUCT_VECTORS 4
#define BFLOAT16_NATIVE 0

#include "definition/functions.h"
#include "definition/bfloat16.h"
#include "simd/vector.h"
#include "simd/bfloat16.h"
#include "simd/bfloat16_product.h"

#pragma clang attribute pop

#endif

// Training's products for AVX-512.
#pragma STDC FP_CONTRACT OFF

#if defined(__x86_64__)

#include "CKernels.h"
#include "training_product.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
// Vectors are passed only between functions that are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-function"

#define PRODUCT_PART ck_product_avx512
#define PRODUCT_VECTORS 4

#include "definition/functions.h"
#include "simd/vector.h"
#include "simd/training_product.h"

#pragma clang attribute pop

#endif

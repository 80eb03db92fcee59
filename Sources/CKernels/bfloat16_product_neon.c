// Products with bfloat16 operands for NEON: two fused multiply-adds a pair. (BFMLALT and BFMLALB would be the same two; BFDOT
// and BFMMLA round otherwise and must not be used.)
#pragma STDC FP_CONTRACT OFF

#if defined(__aarch64__)

#include "divide.h"

// Vectors are passed only between functions that are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-function"

#define BFLOAT16_KERNELS ck_bfloat16_neon
#define PRODUCT_VECTORS 1
#define BFLOAT16_NATIVE 0

#include "definition/functions.h"
#include "definition/bfloat16.h"
#include "simd/vector.h"
#include "simd/bfloat16.h"
#include "simd/bfloat16_product.h"

#endif

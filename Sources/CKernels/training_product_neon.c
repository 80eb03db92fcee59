// Training's products for NEON.
#pragma STDC FP_CONTRACT OFF

#if defined(__aarch64__)

#include "CKernels.h"
#include "training_product.h"

// Vectors are passed only between functions that are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-function"

#define PRODUCT_PART ck_product_neon
#define PRODUCT_VECTORS 1

#include "definition/functions.h"
#include "simd/vector.h"
#include "simd/training_product.h"

#endif

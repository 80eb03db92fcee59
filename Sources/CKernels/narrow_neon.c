// Products with bfloat16 and int8 weights for NEON. With bfloat16: two fused multiply-adds a pair. (BFMLALT and BFMLALB would be
// the same two; BFDOT and BFMMLA round otherwise and must not be used.)
#pragma STDC FP_CONTRACT OFF

#if defined(__aarch64__)

#include "ck_narrow.h"
#include "divide.h"

// Vectors are passed only between functions that are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-function"

#define PANEL_VECTORS 1
#define NARROW_REGISTERS 4
#define BFLOAT16_LINEAR ck_bfloat16_linear_neon
#define BFLOAT16_ROWS 5
#define BFLOAT16_NATIVE 0
#define INT8_LINEAR ck_int8_linear_neon
#define INT8_ROWS 4
#define INT8_DOT DOT_LANES

#include "simd/narrow_kernels.h"
#include "simd/bfloat16_linear.h"
#include "simd/int8_linear.h"

#endif

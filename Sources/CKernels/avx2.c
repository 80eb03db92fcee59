// The kernels for AVX2.
#pragma STDC FP_CONTRACT OFF

#if defined(__x86_64__)

#include "CKernels.h"

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
// Vectors are passed only between functions that are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-function"

#define ISA_TABLE ck_kernels_avx2
#define ISA_CODE CK_AVX2
#define PANEL_VECTORS 1
#define TILE_ROWS 6
#define TILE_REGISTERS 12
#define QUERY_TILE 6

#include "simd/kernels.h"

#pragma clang attribute pop

#include "simd/table.h"

#endif

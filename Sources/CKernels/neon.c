// The kernels for NEON.
#pragma STDC FP_CONTRACT OFF

#if defined(__aarch64__)

#include "CKernels.h"

// Vectors are passed only between functions that are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-function"

#define ISA_TABLE ck_kernels_neon
#define ISA_CODE CK_NEON
#define PANEL_VECTORS 1
#define TILE_ROWS 6
#define TILE_REGISTERS 6
#define QUERY_TILE 6

#include "simd/kernels.h"
#include "simd/table.h"

#endif

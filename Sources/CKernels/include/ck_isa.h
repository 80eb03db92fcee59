// Which instruction set the kernels use. A processor has `plain` (on x86 where it has AVX2 and FMA, else nothing) and what it reports.
#ifndef CK_ISA_H
#define CK_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CK_PLAIN = 0, CK_AVX2 = 1, CK_AVX512 = 2, CK_NEON = 3, CK_ISA_COUNT = 4 };

typedef struct ck_kernels ck_kernels;

/// The table of one instruction set, or NULL where this processor or build lacks it.
const ck_kernels *ck_kernels_of(int32_t isa);

/// The table used by operations that take no pool. Starts as the widest available; where none is, the plain one, which must not run there:
/// whoever computes asks `ck_kernels_of` first.
const ck_kernels *ck_current(void);

/// Makes `isa` current; false (and no change) where it is unavailable.
bool ck_select(int32_t isa);

/// The instruction set of a table.
int32_t ck_isa_of(const ck_kernels *kernels);

#endif

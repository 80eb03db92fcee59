// The bits that docs/reproducibility.md promises: every operation of the engine over fixed inputs, one hash a case.
//
// The cases are written once, here, in C, so that one text serves the test suite (GoldenTests.swift) and the build for
// another processor that runs under emulation (Tests/EndToEnd/cross_kernels_test.py). Both compare with golden.txt.
#ifndef GOLDEN_KERNELS_H
#define GOLDEN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Takes one result: the name stands in golden.txt, the hash is FNV-1a over the bits, NaNs counting alike. A name may be
/// reported several times (variants of an operation); the hashes must be equal.
typedef void (*golden_report)(void *context, const char *name, uint64_t hash);

/// Computes every case with the instruction set `isa` (as in ck_isa.h) on `threads` threads. Operations that take no pool run
/// with the process's current set. False where the processor lacks `isa` or memory for the threads.
bool golden_compute(int32_t isa, size_t threads, golden_report report, void *context);

#endif

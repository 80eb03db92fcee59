// What the cases share: numbers from a seed, hashes, memory.
#ifndef GOLDEN_H
#define GOLDEN_H

#include "CKernels.h"
#include "golden_kernels.h"

typedef struct {
    int32_t isa;
    const ck_kernels *kernels;
    ck_pool *pool;
    golden_report report;
    void *context;
} golden_run;

void golden_functions(const golden_run *run);
void golden_inference(const golden_run *run);
void golden_sampling(const golden_run *run);
void golden_rows(const golden_run *run);
void golden_training(const golden_run *run);
void golden_bfloat16(const golden_run *run);

// SplitMix64, and the values that Swift's standard library makes of a generator (`Float.random(in: -s...s)`,
// `Int.random`, `Bool.random`), as Tests/TestSupport uses them: tests in both languages see the same numbers.
typedef struct {
    uint64_t state;
} golden_numbers;

uint64_t golden_next(golden_numbers *numbers);
size_t golden_integer(golden_numbers *numbers, size_t least, size_t most);
bool golden_bool(golden_numbers *numbers);
float golden_float(golden_numbers *numbers, float scale);
/// Uniform in −scale … scale; to be freed.
float *golden_uniform(golden_numbers *numbers, size_t count, float scale);
/// Denormals, signed zeros, huge and ordinary values mixed; to be freed.
float *golden_edges(golden_numbers *numbers, size_t count);

/// 64-byte aligned; ends the process where memory is refused.
void *golden_memory(size_t bytes);
float *golden_floats(size_t count);
float *golden_filled(size_t count, float value);
float *golden_copy(const float *values, size_t count);

// FNV-1a.
#define GOLDEN_EMPTY UINT64_C(0xcbf29ce484222325)
uint64_t golden_hash(uint64_t hash, const float *values, size_t count);
uint64_t golden_hash_words(uint64_t hash, const uint32_t *words, size_t count);
uint64_t golden_hash_wide(uint64_t hash, uint64_t word);
uint64_t golden_hash_double(uint64_t hash, double value);

void golden_found(const golden_run *run, const char *name, uint64_t hash);

#endif

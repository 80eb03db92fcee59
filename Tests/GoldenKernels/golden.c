// Numbers, hashes, and the list of the families of cases.
#pragma STDC FP_CONTRACT OFF

#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t golden_next(golden_numbers *numbers) {
    uint64_t z = numbers->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/// Below `bound`, by Lemire's multiplication, of 64 bits.
static uint64_t golden_below(golden_numbers *numbers, uint64_t bound) {
    unsigned __int128 product = (unsigned __int128)golden_next(numbers) * bound;
    if ((uint64_t)product < bound) {
        uint64_t least = (0 - bound) % bound;
        while ((uint64_t)product < least) product = (unsigned __int128)golden_next(numbers) * bound;
    }
    return (uint64_t)(product >> 64);
}

size_t golden_integer(golden_numbers *numbers, size_t least, size_t most) { return least + golden_below(numbers, most - least + 1); }

bool golden_bool(golden_numbers *numbers) { return (golden_next(numbers) >> 17 & 1) == 0; }

float golden_float(golden_numbers *numbers, float scale) {
    const uint32_t most = 1u << 24, bound = most + 1;
    uint64_t product = (uint64_t)(uint32_t)golden_next(numbers) * bound;
    if ((uint32_t)product < bound) {
        uint32_t least = (0u - bound) % bound;
        while ((uint32_t)product < least) product = (uint64_t)(uint32_t)golden_next(numbers) * bound;
    }
    uint32_t random = (uint32_t)(product >> 32);
    if (random == most) return scale;
    return (scale - -scale) * ((float)random * 0x1p-24f) + -scale;
}

float *golden_uniform(golden_numbers *numbers, size_t count, float scale) {
    float *values = golden_floats(count);
    for (size_t i = 0; i < count; i++) values[i] = golden_float(numbers, scale);
    return values;
}

float *golden_edges(golden_numbers *numbers, size_t count) {
    static const float special[] = {
        0.0f, -0.0f, 0x1p-149f, -0x1p-149f, 0x1p-126f, -0x1p-126f, 0x1.fffffcp-127f, 0x1p-140f, 1e18f, -1e18f, 1.0f, -1.0f, 0x1p-75f, -0x1p-75f,
    };
    float *values = golden_floats(count);
    for (size_t i = 0; i < count; i++)
        values[i] = golden_bool(numbers) ? special[golden_integer(numbers, 0, sizeof special / sizeof *special - 1)] : golden_float(numbers, 2);
    return values;
}

void *golden_memory(size_t bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, bytes + 64) != 0) {
        fputs("no memory for the golden cases\n", stderr);
        exit(70);
    }
    return memory;
}

float *golden_floats(size_t count) { return golden_memory(count * sizeof(float)); }

float *golden_filled(size_t count, float value) {
    float *values = golden_floats(count);
    for (size_t i = 0; i < count; i++) values[i] = value;
    return values;
}

float *golden_copy(const float *values, size_t count) { return memcpy(golden_floats(count), values, count * sizeof(float)); }

uint64_t golden_hash_words(uint64_t hash, const uint32_t *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ (words[i] >> shift & 0xff)) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t golden_hash(uint64_t hash, const float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t word = values[i] != values[i] ? 0x7fc00000u : __builtin_bit_cast(uint32_t, values[i]);
        hash = golden_hash_words(hash, &word, 1);
    }
    return hash;
}

uint64_t golden_hash_wide(uint64_t hash, uint64_t word) { return golden_hash_words(hash, (const uint32_t[]){(uint32_t)word, (uint32_t)(word >> 32)}, 2); }

uint64_t golden_hash_double(uint64_t hash, double value) {
    return golden_hash_wide(hash, value != value ? UINT64_C(0x7ff8000000000000) : __builtin_bit_cast(uint64_t, value));
}

void golden_found(const golden_run *run, const char *name, uint64_t hash) { run->report(run->context, name, hash); }

bool golden_compute(int32_t isa, size_t threads, golden_report report, void *context) {
    const ck_kernels *kernels = ck_kernels_of(isa);
    ck_pool *pool = kernels ? ck_pool_create(threads, kernels) : NULL;
    if (pool == NULL) return false;
    golden_run run = {isa, kernels, pool, report, context};
    golden_functions(&run);
    golden_inference(&run);
    golden_sampling(&run);
    golden_rows(&run);
    golden_training(&run);
    golden_bfloat16(&run);
    ck_pool_destroy(pool);
    return true;
}

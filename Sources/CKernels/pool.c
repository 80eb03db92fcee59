// The thread team of ck_pool.h.
//
// A loop is published as one 64-bit ticket: number of the loop (24 bits), parts (20), next part (20). A thread claims a
// part by adding one to the ticket; what it gets back says whether it may run and which loop it joined, so a thread that
// wakes late can never run a part of a loop that has ended: the loop's fields stay until every claimed part is done.
#define _GNU_SOURCE
#pragma STDC FP_CONTRACT OFF

#include "ck_pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CK_PART_BITS = 20, CK_SPIN_NANOSECONDS = 50000, CK_SPIN_ROUND = 64 };
#define CK_PART_MASK ((1ull << CK_PART_BITS) - 1)

typedef struct {
    _Alignas(64) void *memory;
    size_t bytes;
} ck_scratch;

struct ck_pool {
    size_t threads;
    const ck_kernels *kernels;
    ck_scratch *scratch;
    pthread_t *workers;
    size_t started;

    // Written by the caller before the ticket, read by those who claimed a part.
    ck_part body;
    void *context;

    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic uint32_t done;   // parts finished; a futex word for the caller
    _Atomic uint32_t caller_sleeps;
    _Alignas(64) _Atomic uint32_t epoch;  // loops published; a futex word for the workers
    _Atomic uint32_t sleepers;
    _Atomic bool stopping;
};

typedef struct {
    ck_pool *pool;
    size_t thread;
} ck_worker_start;

static void ck_futex_wait(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void ck_futex_wake(_Atomic uint32_t *word, int count) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static inline void ck_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t ck_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/// Spins until `ready` or about 50 µs have gone by.
#define CK_SPIN_UNTIL(ready)                                                        \
    for (uint64_t deadline = 0; !(ready);) {                                        \
        for (int round = 0; round < CK_SPIN_ROUND && !(ready); round++) ck_pause(); \
        uint64_t now = ck_nanoseconds();                                            \
        if (deadline == 0) deadline = now + CK_SPIN_NANOSECONDS;                    \
        if (now >= deadline) break;                                                 \
    }

static inline uint64_t ck_ticket_parts(uint64_t ticket) { return ticket >> CK_PART_BITS & CK_PART_MASK; }
static inline bool ck_ticket_open(uint64_t ticket) { return (ticket & CK_PART_MASK) < ck_ticket_parts(ticket); }

/// Claims and runs parts until none is left.
static void ck_take_parts(ck_pool *pool, size_t thread) {
    uint32_t finished = 0, parts = 0;
    for (;;) {
        if (!ck_ticket_open(atomic_load_explicit(&pool->ticket, memory_order_acquire))) break;
        uint64_t ticket = atomic_fetch_add_explicit(&pool->ticket, 1, memory_order_acq_rel);
        if (!ck_ticket_open(ticket)) break;
        parts = (uint32_t)ck_ticket_parts(ticket);
        pool->body(pool->context, ticket & CK_PART_MASK, thread);
        // Counted one by one: a held back count of one loop must never be added to the next.
        finished = atomic_fetch_add(&pool->done, 1) + 1;
        if (finished == parts && atomic_load(&pool->caller_sleeps)) ck_futex_wake(&pool->done, 1);
    }
}

static void *ck_worker(void *argument) {
    ck_worker_start start = *(ck_worker_start *)argument;
    free(argument);
    ck_pool *pool = start.pool;
    uint32_t seen = 0;
    for (;;) {
        CK_SPIN_UNTIL(atomic_load_explicit(&pool->epoch, memory_order_acquire) != seen);
        while (atomic_load(&pool->epoch) == seen) {
            atomic_fetch_add(&pool->sleepers, 1);
            if (atomic_load(&pool->epoch) == seen) ck_futex_wait(&pool->epoch, seen);
            atomic_fetch_sub(&pool->sleepers, 1);
        }
        seen = atomic_load(&pool->epoch);
        if (atomic_load(&pool->stopping)) return NULL;
        ck_take_parts(pool, start.thread);
    }
}

static void ck_publish_epoch(ck_pool *pool) {
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->sleepers) > 0) ck_futex_wake(&pool->epoch, 0x7fffffff);
}

ck_pool *ck_pool_create(size_t threads, const ck_kernels *kernels) {
    if (threads < 1 || kernels == NULL) return NULL;
    ck_pool *pool = aligned_alloc(64, (sizeof(ck_pool) + 63) / 64 * 64);
    if (pool == NULL) return NULL;
    memset(pool, 0, sizeof(ck_pool));
    pool->threads = threads;
    pool->kernels = kernels;
    pool->scratch = aligned_alloc(64, threads * sizeof(ck_scratch));
    pool->workers = calloc(threads, sizeof(pthread_t));
    if (pool->scratch) memset(pool->scratch, 0, threads * sizeof(ck_scratch));
    bool complete = pool->scratch != NULL && pool->workers != NULL;
    for (size_t thread = 1; complete && thread < threads; thread++) {
        ck_worker_start *start = malloc(sizeof(ck_worker_start));
        if (start != NULL) *start = (ck_worker_start){pool, thread};
        complete = start != NULL && pthread_create(&pool->workers[pool->started], NULL, ck_worker, start) == 0;
        if (complete) pool->started++;
        else free(start);
    }
    if (complete) return pool;
    ck_pool_destroy(pool);
    return NULL;
}

void ck_pool_destroy(ck_pool *pool) {
    if (pool == NULL) return;
    atomic_store(&pool->stopping, true);
    ck_publish_epoch(pool);
    for (size_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i], NULL);
    for (size_t i = 0; pool->scratch && i < pool->threads; i++) free(pool->scratch[i].memory);
    free(pool->scratch);
    free(pool->workers);
    free(pool);
}

size_t ck_pool_threads(const ck_pool *pool) { return pool->threads; }
const ck_kernels *ck_pool_kernels(const ck_pool *pool) { return pool->kernels; }

void ck_pool_run(ck_pool *pool, size_t parts, ck_part body, void *context) {
    if (parts == 0) return;
    if (parts == 1 || pool->threads == 1) {
        for (size_t part = 0; part < parts; part++) body(context, part, 0);
        return;
    }
    pool->body = body;
    pool->context = context;
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    uint64_t loop = (atomic_load_explicit(&pool->ticket, memory_order_relaxed) >> (2 * CK_PART_BITS)) + 1;
    atomic_store(&pool->ticket, loop << (2 * CK_PART_BITS) | (uint64_t)parts << CK_PART_BITS);
    ck_publish_epoch(pool);
    ck_take_parts(pool, 0);

    uint32_t all = (uint32_t)parts;
    CK_SPIN_UNTIL(atomic_load_explicit(&pool->done, memory_order_acquire) == all);
    if (atomic_load(&pool->done) == all) return;
    atomic_store(&pool->caller_sleeps, 1);
    for (uint32_t done; (done = atomic_load(&pool->done)) != all;) ck_futex_wait(&pool->done, done);
    atomic_store(&pool->caller_sleeps, 0);
}

void *ck_pool_scratch(ck_pool *pool, size_t thread, size_t bytes) {
    ck_scratch *scratch = &pool->scratch[thread];
    if (scratch->bytes < bytes) {
        free(scratch->memory);
        size_t rounded = (bytes + 4095) / 4096 * 4096;
        scratch->memory = rounded < bytes ? NULL : aligned_alloc(4096, rounded);
        if (scratch->memory == NULL) {
            // A part cannot be left out: its results would be wrong, and nobody would know.
            fprintf(stderr, "out of memory: a thread of the kernels needs %zu bytes of scratch\n", bytes);
            abort();
        }
        scratch->bytes = rounded;
    }
    return scratch->memory;
}

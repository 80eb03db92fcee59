// A fixed team of threads for loops whose parts are independent. The caller works too. Threads spin about 50 µs for the
// next loop, then sleep on a futex, so an idle engine costs nothing and a busy one pays about a microsecond a loop.
// Parts are claimed one by one: a thread that the system has taken off its core delays only the part it holds.
#ifndef CK_POOL_H
#define CK_POOL_H

#include "ck_isa.h"

typedef struct ck_pool ck_pool;

/// One part of a loop. `thread` is 0 (the caller) ..< threads; it owns `ck_pool_scratch(pool, thread, …)`.
typedef void (*ck_part)(void *context, size_t part, size_t thread);

/// `threads` ≥ 1 including the caller. NULL where memory or threads are refused.
ck_pool *ck_pool_create(size_t threads, const ck_kernels *kernels);
void ck_pool_destroy(ck_pool *pool);

size_t ck_pool_threads(const ck_pool *pool);
const ck_kernels *ck_pool_kernels(const ck_pool *pool);

/// Runs part 0 ..< parts, each once, and returns when all are done (with their writes visible). From one thread at a
/// time; never from inside a part. At most 2^20 − 1024 parts.
void ck_pool_run(ck_pool *pool, size_t parts, ck_part body, void *context);

/// Scratch memory of one thread, 64-byte aligned; grows when a larger piece is asked for (the old contents are lost) and
/// never shrinks, so a warm step allocates nothing. Where memory is refused the process ends (SIGABRT) and says so, as
/// Swift's own allocations do.
void *ck_pool_scratch(ck_pool *pool, size_t thread, size_t bytes);

#endif

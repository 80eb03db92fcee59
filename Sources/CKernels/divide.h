// How the operations on a pool divide their items.
#ifndef CK_DIVIDE_H
#define CK_DIVIDE_H

#include "CKernels.h"

static inline size_t ck_smaller(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t ck_larger(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t ck_parts(size_t count, size_t grain) { return (count + grain - 1) / grain; }
static inline size_t ck_multiple(size_t n, size_t of) { return (n + of - 1) / of * of; }

/// Items a part so that each part costs at least about `work` units (items cost `each`) and there are few parts a thread.
static inline size_t ck_grain(const ck_pool *pool, size_t count, size_t each, size_t work, size_t multiple) {
    size_t least = (work + each - 1) / (each > 0 ? each : 1);
    size_t even = ck_parts(count, ck_pool_threads(pool) * 4);
    size_t grain = ck_larger(ck_larger(least, even), 1);
    return ck_pool_threads(pool) == 1 ? ck_larger(count, 1) : ck_multiple(grain, multiple);
}

#endif

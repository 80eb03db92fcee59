// The first k of an exponential race, kept in a heap whose root is the worst.
#pragma STDC FP_CONTRACT OFF

#include "ck_race_best.h"

#include "ck_functions.h"
#include "ck_philox.h"

static inline bool ck_behind(ck_finisher a, ck_finisher b) { return a.ratio < b.ratio || (a.ratio == b.ratio && a.place > b.place); }

static void ck_sink(ck_finisher *heap, size_t count, size_t at) {
    ck_finisher moved = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) break;
        if (child + 1 < count && ck_behind(heap[child + 1], heap[child])) child++;
        if (!ck_behind(heap[child], moved)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/// Adds a candidate to the best k; `count` of them are there.
static size_t ck_enter(ck_finisher *heap, size_t count, size_t k, ck_finisher candidate) {
    if (count == k) {
        if (k == 0 || !ck_behind(heap[0], candidate)) return count;
        heap[0] = candidate;
        ck_sink(heap, k, 0);
        return count;
    }
    size_t at = count;
    while (at > 0 && ck_behind(candidate, heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = candidate;
    return count + 1;
}

/// Turns the heap into a list, best first.
static void ck_order(ck_finisher *heap, size_t count) {
    for (size_t end = count; end > 1; end--) {
        ck_finisher worst = heap[0];
        heap[0] = heap[end - 1];
        heap[end - 1] = worst;
        ck_sink(heap, end - 1, 0);
    }
}

size_t ck_race_best(const ck_race_key *key, const int32_t *ids, const float *p, size_t count, size_t k, ck_finisher *best) {
    size_t found = 0;
    uint32_t block = UINT32_MAX, words[4];
    for (size_t i = 0; i < count; i++) {
        if (!(p[i] > 0.0f)) continue;
        uint32_t id = ids ? (uint32_t)ids[i] : (uint32_t)i;
        if (id / 4 != block) {
            block = id / 4;
            ck_philox(key->seed, (const uint32_t[4]){block, key->position, key->sample, key->purpose_and_draw}, words);
        }
        float ratio = p[i] / -ck_log1pf(-ck_uniform(words[id % 4]));
        found = ck_enter(best, found, k, (ck_finisher){ratio, (int32_t)i});
    }
    ck_order(best, found);
    return found;
}

size_t ck_torch_race_best(const ck_mt19937 *row, const int32_t *ids, const float *p, size_t count, size_t k, ck_finisher *best) {
    ck_mt19937 g = *row;
    size_t found = 0;
    uint64_t drawn = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t id = ids ? (uint64_t)ids[i] : i;
        if (id != drawn) ck_torch_skip(&g, id - drawn);
        drawn = id + 1;
        float q = ck_torch_exponential(&g);
        if (p[i] > 0.0f) found = ck_enter(best, found, k, (ck_finisher){p[i] / q, (int32_t)i});
    }
    ck_order(best, found);
    return found;
}

// Attention over key-value pages of 64 positions (reproducibility.md 4).
//
// A page holds, from its base plus `page_offset` floats: keys [head][position / 16][d][16], then values [head][position][dv],
// dv = d rounded up to 16, zeros beyond d. Page i of a sequence holds positions 64·i … 64·i + 63.
// Narrow pages hold the same elements as bfloat16, rounded (nearest, ties to even, in integers) when they are stored, before any use.
//
// Order: score = fma chain over d, times `scale`. Maximum first. exp(score − maximum). Sum in 16 lanes, lane = absolute
// position mod 16, then the tree. Values: within blocks of 256 absolute positions a chain from zero, positions ascending;
// block sums added in order to +0; one division by the sum. Positions that a row does not see never enter arithmetic.
#ifndef CK_ATTENTION_H
#define CK_ATTENTION_H

#include "ck_pool.h"
#include "training_dropout.h"

enum { CK_PAGE_POSITIONS = 64 };

/// Which elements of a dropout mask strike the weights of attention, in training: the weight that row r gives position j stays
/// or goes as element `element` + j of the mask's row `row` + r does. The softmax's sum is that of all weights.
typedef struct {
    const ck_dropout_args *mask;  // x, rows, width and stride are not read
    size_t row, element;          // element: a multiple of 16
} ck_attention_dropout;

/// Rows of one sequence at consecutive positions. Row r stands at `first_position + r` and sees
/// max(0, position − window + 1) … position (window 0: everything before it).
typedef struct {
    float *const *pages;
    size_t page_offset;
    const float *queries;  // row r, head h at queries + r·query_stride + h·query_head_stride
    size_t query_stride, query_head_stride;
    float *out;            // row r, head h at out + r·out_stride + h·d; may not overlap the queries
    size_t out_stride;
    uint32_t rows, first_position;
    float *statistics;     // or NULL: [head][rows][2], the maximum and the sum of each row
    const ck_attention_dropout *dropout;  // or NULL
} ck_attention_span;

typedef struct {
    size_t heads, head_width;
    float scale;
    uint32_t window;
    bool narrow;  // pages hold bfloat16; arithmetic is fp32 all the same
} ck_attention_shape;

/// dv: head_width rounded up to 16.
size_t ck_value_stride(size_t head_width);
/// Floats of one page: heads · 64 · (d + dv), of a narrow one half of it.
size_t ck_page_floats(size_t heads, size_t head_width, bool narrow);

/// Any mix of prefill chunks and single rows, on all threads.
void ck_attention(ck_pool *pool, const ck_attention_shape *shape, const ck_attention_span *spans, size_t count);

/// Writes keys and values of rows at first_position … into the pages; row r, head h of keys at keys + r·stride + h·head_stride.
void ck_store_keys_values(const ck_attention_shape *shape, float *const *pages, size_t page_offset, uint32_t first_position,
                          uint32_t rows, const float *keys, const float *values, size_t stride, size_t head_stride);

#endif

// Causal attention for training: sequences of T rows, contiguous queries, keys and values a head.
#ifndef TRAINING_ATTENTION_H
#define TRAINING_ATTENTION_H

#include "ck_attention.h"

/// Row t of sequence b, head h: queries + (b·T + t)·stride + h·head_stride, likewise keys and values. (For GPT-2 all three
/// point into the rows of c_attn: base, base + C, base + 2C, stride 3C, head stride d; for GPT-NeoX, whose heads hold their
/// three side by side: base, base + d, base + 2d, head stride 3d.) Forward is bit for bit ck_attention over the same rows.
typedef struct {
    size_t sequences, length, heads, head_width;
    float scale;
    uint32_t window;  // 0: all
    const float *queries, *keys, *values;
    size_t stride, head_stride;
    float *out;       // [sequences·T] rows of out_stride, head h at h·d
    size_t out_stride;
    float *statistics;  // [sequences][heads][T][2]: maximum and sum, kept for the backward pass
    /// Or NULL: dropout of the weights after the softmax. Sequence b, head h, row t, position j: element h·T′ + j of row b·T + t,
    /// with T′ = T rounded up to 16. A weight that stays is divided by 1 − rate before it meets its value.
    const ck_dropout_args *dropout;
} ck_training_attention_args;

/// Where the mask of one head of one sequence begins.
static inline ck_attention_dropout ck_training_dropout(const ck_training_attention_args *args, size_t sequence, size_t head) {
    return (ck_attention_dropout){args->dropout, sequence * args->length, head * ((args->length + 15) / 16 * 16)};
}

void ck_training_attention(ck_pool *pool, const ck_training_attention_args *args);

/// With P = exp(s − maximum) / sum, dP_ij = chain over d of dO_i·V_j, D_i = Σ_j P_ij·dP_ij by fma in 16 lanes, lane = position
/// mod 16, then the tree (not dO·O, which is the same number: where a softmax is nearly one-hot, dP − D is small, and only sums
/// of the very same dP keep its digits):
/// dS_ij = (P_ij·(dP_ij − D_i))·scale; dQ_i = Σ_j dS_ij K_j, dK_j = Σ_i dS_ij Q_i, dV_j = Σ_i P_ij dO_i, each in blocks of
/// 256 absolute positions (chain from zero, block sums in order to +0). With dropout, dP_ij goes through the mask before it
/// meets P_ij, and P_ij before it meets dO_i.
typedef struct {
    ck_training_attention_args forward;  // as given to the forward pass; statistics filled
    const float *dout;
    size_t dout_stride;
    float *dqueries, *dkeys, *dvalues;   // overwritten; rows of dstride, heads as in the forward pass
    size_t dstride;
} ck_training_attention_backward_args;

void ck_training_attention_backward(ck_pool *pool, const ck_training_attention_backward_args *args);

#endif

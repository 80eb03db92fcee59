// Dropout whose mask is counted, never stored: the backward pass and a recomputed forward pass draw it anew.
#ifndef TRAINING_DROPOUT_H
#define TRAINING_DROPOUT_H

#include "ck_pool.h"

/// Inverted dropout: element e of row r stays where word e mod 4 of Philox(seed; e ÷ 4, step, first_row + r, site) is at
/// least ⌊rate·2³²⌋, and is then divided by (1 − rate); else 0. The same call on gradients is its backward. In place.
typedef struct {
    float *x;
    size_t rows, width, stride;
    double rate;
    uint64_t seed;
    uint32_t step, first_row, site;
} ck_dropout_args;

void ck_dropout(ck_pool *pool, const ck_dropout_args *args);

#endif

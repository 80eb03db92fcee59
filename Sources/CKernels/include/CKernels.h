// The engine's arithmetic. One header a family; docs/reproducibility.md is the definition the families quote.
//
// Every operation exists once in plain C (folder `definition`, the readable specification) and once as a template in
// vector extensions (folder `simd`) compiled for AVX2, AVX-512 and NEON. All of them give the same bits.
#ifndef CKERNELS_H
#define CKERNELS_H

#include "bfloat16_product.h"
#include "ck_attention.h"
#include "ck_functions.h"
#include "ck_isa.h"
#include "ck_linear.h"
#include "ck_narrow.h"
#include "ck_philox.h"
#include "ck_pool.h"
#include "ck_race_best.h"
#include "ck_rotary.h"
#include "ck_rows.h"
#include "ck_sampling.h"
#include "ck_survey.h"
#include "ck_table.h"
#include "ck_torch.h"
#include "training_attention.h"
#include "training_dropout.h"
#include "training_linear.h"
#include "training_optimizer.h"
#include "training_product.h"
#include "training_rows.h"

#endif

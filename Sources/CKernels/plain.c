// The definition: every kernel in plain C, readable as the specification.
#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "target.h"

CK_TARGET_BEGIN

#include "definition/functions.h"
#include "definition/linear.h"
#include "definition/rows.h"
#include "definition/rotary.h"
#include "definition/philox.h"
#include "definition/dropout.h"
#include "definition/attention.h"
#include "definition/sampling.h"
#include "definition/training_rows.h"
#include "definition/training_attention.h"
#include "definition/training_optimizer.h"

CK_TARGET_END

const ck_kernels ck_kernels_plain = {
    .isa = CK_PLAIN,
    .panel_columns = 16,
    .query_tile = 1,
    .linear = plain_linear,
    .pack = plain_pack,
    .transpose = plain_transpose,
    .layer_norm = plain_layer_norm,
    .map = plain_map,
    .add = plain_add,
    .has_nan = plain_has_nan,
    .maximum = plain_maximum,
    .divide_maximum = plain_divide_maximum,
    .exponentials = plain_exponentials,
    .fixed_weights = plain_fixed_weights,
    .weights_below = plain_weights_below,
    .race = plain_race,
    .race_candidates = plain_race_candidates,
    .rotary = plain_rotary,
    .attention = plain_attention,
    .layer_norm_backward = plain_layer_norm_backward,
    .layer_norm_parameters = plain_layer_norm_parameters,
    .activation_backward = plain_activation_backward,
    .column_sums = plain_column_sums,
    .cross_entropy = plain_cross_entropy,
    .attention_backward = plain_attention_backward,
    .adamw = plain_adamw,
    .square_sum = plain_square_sum,
    .dropout = plain_dropout,
};

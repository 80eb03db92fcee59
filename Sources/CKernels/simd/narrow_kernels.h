// What every file of products with narrow weights includes first.
#include "../definition/functions.h"
#include "../definition/panels.h"
#include "../definition/narrow.h"
#include "../definition/narrow_packing.h"

#include "vector.h"
#include "functions.h"
#include "bfloat16.h"
#include "finish.h"
#include "narrow.h"

// The template of every vector variant. An including file opens the target's functions and defines ISA_TABLE, ISA_CODE,
// PANEL_VECTORS (vectors of a panel), TILE_ROWS (most rows of a register tile), TILE_REGISTERS (vectors of sixteen lanes
// that a tile may keep) and QUERY_TILE (query rows that attention takes at once).
#include "../definition/functions.h"
#include "../definition/linear.h"
#include "../definition/rows.h"
#include "../definition/rotary.h"
#include "../definition/attention.h"
#include "../definition/philox.h"
#include "../definition/sampling.h"
#include "../definition/training_rows.h"

#include "vector.h"
#include "functions.h"
#include "tile.h"
#include "linear.h"
#include "rows.h"
#include "rotary.h"
#include "attention.h"
#include "sampling.h"
#include "training_rows.h"
#include "training_attention.h"
#include "training_optimizer.h"

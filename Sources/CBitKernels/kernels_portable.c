// Whatever the compiler makes of the vectors with the processor family's minimum.
#define NAME "portable"
#define COUNT_TILES "counts_by_popcount.h"
#define COUNTS "rounded_counts_portable.h"
#define BFLOAT16_SUMS "bfloat16_sums_fused.h"
#define TABLE bk_portable
#define ADD_EXACT_PRODUCT(a, b, sum) ((a) * (b) + (sum))
#define IN_REGISTERS(sums) ((void)0)
enum { TILE_ROWS = 2, TILE_VECTORS = 1, DENSE_TILE = 2, FLOAT_SUMS = 4, SUM_LANES = 16, SUM_ROWS = 4, SUM_VECTORS = 1 };
#include "kernels_body.h"

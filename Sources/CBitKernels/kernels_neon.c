// NEON, which every arm64 processor has.
#if defined(__aarch64__)
#define NAME "neon"
#define COUNT_TILES "counts_by_popcount.h"
#define COUNTS "rounded_counts_portable.h"
#define BFLOAT16_SUMS "bfloat16_sums_fused.h"
#define TABLE bk_neon
#define ADD_EXACT_PRODUCT(a, b, sum) __builtin_elementwise_fma(a, b, sum)
#define IN_REGISTERS(sums) ((void)0)
enum { TILE_ROWS = 2, TILE_VECTORS = 1, DENSE_TILE = 2, FLOAT_SUMS = 6, SUM_LANES = 16, SUM_ROWS = 4, SUM_VECTORS = 1 };
#include "kernels_body.h"
#endif

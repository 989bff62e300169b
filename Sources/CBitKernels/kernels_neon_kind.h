// The kernels of one kind of arm64 processor. The including file sets NAME and TABLE, and DOT and MATRIX_AND_BF16 where the kind has
// them, with their names in FEATURES; what it lacks is done with the instructions that all kinds have.
#if defined(__aarch64__)
#define COUNT_TILES "counts_by_bytes.h"
#if defined(MATRIX_AND_BF16)
#define COUNTS "rounded_counts_by_matrix.h"
#elif defined(DOT)
#define COUNTS "rounded_counts_by_dot.h"
#else
#define COUNTS "rounded_counts_by_long_products.h"
#endif
#ifdef MATRIX_AND_BF16
#define BFLOAT16_SUMS "bfloat16_sums_long.h"
#else
#define BFLOAT16_SUMS "bfloat16_sums_fused.h"
enum { SUM_LANES = 4, SUM_ROWS = 8, SUM_VECTORS = 3 };
#define ADD_EXACT_PRODUCT(a, b, sum) __builtin_elementwise_fma(a, b, sum)
#define IN_REGISTERS(sums) ((void)0)
#endif
enum { TILE_ROWS = 4, TILE_VECTORS = 1, DENSE_TILE = 2, FLOAT_SUMS = 6 };
#include <arm_neon.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef FEATURES
#pragma clang attribute push(__attribute__((target(FEATURES))), apply_to = function)
#endif
#include "kernels_body.h"
#ifdef FEATURES
#pragma clang attribute pop
#endif
#endif

// AVX2 with FMA.
#if defined(__x86_64__)
#define NAME "avx2"
#define COUNTS "rounded_counts_avx2.h"
#define TABLE bk_avx2
#define ADD_EXACT_PRODUCT(a, b, sum) fma_(a, b, sum)
enum { TILE_ROWS = 2, TILE_GROUPS = 2 };
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,popcnt,bmi,bmi2"))), apply_to = function)
#include "kernels_body.h"
#pragma clang attribute pop
#endif

// AVX-512 with vpopcntdq and VNNI (Ice Lake, Zen 4 and later).
#if defined(__x86_64__)
#define NAME "avx512"
#define COUNT_TILES "counts_by_popcount.h"
#define COUNTS "rounded_counts_avx512.h"
#define TABLE bk_avx512
#define ADD_EXACT_PRODUCT(a, b, sum) fma_(a, b, sum)
enum { TILE_ROWS = 6, TILE_VECTORS = 2, DENSE_TILE = 4, SUM_ROWS = 8, SUM_VECTORS = 3, FLOAT_SUMS = 24 };
#define NATIVE_BFLOAT16
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "bfloat16_native.h"
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx512vnni,avx2,fma,popcnt,bmi,bmi2"))), apply_to = function)
#include "kernels_body.h"
#pragma clang attribute pop
#endif

// AVX-512 without vpopcntdq (Skylake, Cascade Lake).
#if defined(__x86_64__)
#define NAME "avx512bw"
#define COUNT_TILES "counts_by_table.h"
#define COUNTS "rounded_counts_avx2.h"
#define TABLE bk_avx512bw
#define ADD_EXACT_PRODUCT(a, b, sum) fma_(a, b, sum)
enum { TILE_ROWS = 8, TILE_VECTORS = 4, DENSE_TILE = 4, SUM_ROWS = 8, SUM_VECTORS = 3, FLOAT_SUMS = 24, TABLE_BYTES = 64 };
#define SHUFFLE(table, index) ((vbytes)_mm512_shuffle_epi8((__m512i)(table), (__m512i)(index)))
#define REPEAT(p) ((vbytes)_mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)(p))))
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,bmi,bmi2"))), apply_to = function)
#include "kernels_body.h"
#pragma clang attribute pop
#endif

// AVX2 with FMA.
#if defined(__x86_64__)
#define NAME "avx2"
#define COUNT_TILES "counts_by_table.h"
#define COUNTS "rounded_counts_by_pairs.h"
#define LOOKUP_TABLES "rounded_lookup_by_bytes.h"
#define BFLOAT16_SUMS "bfloat16_sums_fused.h"
#define TABLE bk_avx2
#define ADD_EXACT_PRODUCT(a, b, sum) __builtin_elementwise_fma(a, b, sum)
#define IN_REGISTERS(sums) __asm__ volatile("" : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]))
enum { TILE_ROWS = 4, TILE_VECTORS = 4, TABLE_BYTES = 32, DENSE_TILE = 2, FLOAT_SUMS = 6 };
enum { SUM_LANES = 8, SUM_ROWS = 4, SUM_VECTORS = 3, COUNT_BYTES = 32, COUNT_ROWS = 4, COUNT_VECTORS = 2 };
enum { LOOKUP_BYTES = 32, LOOKUP_ROWS = 2, LOOKUP_VECTORS = 2 };
#define SHUFFLE(table, index) ((vbytes)_mm256_shuffle_epi8((__m256i)(table), (__m256i)(index)))
#define REPEAT(p) ((vbytes)_mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(p))))
#define ADD_PAIRS(bits, bytes) _mm256_maddubs_epi16((__m256i)(bits), (__m256i)(bytes))
#define INTERLEAVE_LOW(a, b) _mm256_unpacklo_epi8((__m256i)(a), (__m256i)(b))
#define INTERLEAVE_HIGH(a, b) _mm256_unpackhi_epi8((__m256i)(a), (__m256i)(b))
#define WIDEN(sums) _mm256_madd_epi16((__m256i)(sums), _mm256_set1_epi16(1))
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

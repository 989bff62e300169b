// The kernels of one kind of AVX-512 processor. The including file sets NAME, TABLE, and of VPOPCNTDQ, VNNI and BF16 those that
// the kind has, with their names in MORE_FEATURES; what it lacks is done with the instructions that all kinds have.
#if defined(__x86_64__)
#ifdef VPOPCNTDQ
#define COUNT_TILES "counts_by_popcount.h"
enum { TILE_ROWS = 6, TILE_VECTORS = 2 };
#else
#define COUNT_TILES "counts_by_table.h"
enum { TILE_ROWS = 8, TILE_VECTORS = 4, TABLE_BYTES = 64 };
#define SHUFFLE(table, index) ((vbytes)_mm512_shuffle_epi8((__m512i)(table), (__m512i)(index)))
#define REPEAT(p) ((vbytes)_mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)(p))))
#endif
#ifdef VNNI
#define COUNTS "rounded_counts_by_vnni.h"
#else
#define COUNTS "rounded_counts_by_pairs.h"
enum { COUNT_BYTES = 64, COUNT_ROWS = 8, COUNT_VECTORS = 3 };
#define ADD_PAIRS(bits, bytes) _mm512_maddubs_epi16((__m512i)(bits), (__m512i)(bytes))
#define INTERLEAVE_LOW(a, b) _mm512_unpacklo_epi8((__m512i)(a), (__m512i)(b))
#define INTERLEAVE_HIGH(a, b) _mm512_unpackhi_epi8((__m512i)(a), (__m512i)(b))
#define LOOKUP_TABLES "rounded_lookup_by_bytes.h"
enum { LOOKUP_BYTES = 64, LOOKUP_ROWS = 4, LOOKUP_VECTORS = 2 };
#define WIDEN(sums) _mm512_madd_epi16((__m512i)(sums), _mm512_set1_epi16(1))
#endif
#ifdef BF16
#define BFLOAT16_SUMS "bfloat16_sums_native.h"
#else
#define BFLOAT16_SUMS "bfloat16_sums_fused.h"
enum { SUM_LANES = 16, SUM_ROWS = 8, SUM_VECTORS = 3 };
#define ADD_EXACT_PRODUCT(a, b, sum) __builtin_elementwise_fma(a, b, sum)
#define IN_REGISTERS(sums) __asm__ volatile("" : "+v"(sums[0]), "+v"(sums[1]), "+v"(sums[2]))
#endif
enum { DENSE_TILE = 4, FLOAT_SUMS = 24 };
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,bmi,bmi2" MORE_FEATURES))), apply_to = function)
#include "kernels_body.h"
#pragma clang attribute pop
#endif

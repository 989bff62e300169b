// What a core can do at most: loops without memory.
#include <time.h>

#include "bit_kernels.h"

// Of this thread on a processor: other work on the machine does not count.
double bk_thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 20, ROUNDS = 420000, REPEATS = 5 };

__attribute__((target("avx512f,avx512vpopcntdq"))) static void popcount_loop(void) {
  __m512i sums[CHAINS], a = _mm512_set1_epi32(5), b = _mm512_set1_epi32(9);
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_setzero_si512();
  for (int k = 0; k < ROUNDS; k++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS; i++) {
      __m512i x;
      __asm__ volatile("vpxorq %1, %2, %0" : "=v"(x) : "v"(a), "v"(b));  // as an intrinsic it would be shared
      sums[i] = _mm512_add_epi64(sums[i], _mm512_popcnt_epi64(x));
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" : : "v"(sums[i]));
}

__attribute__((target("avx512f,avx512vnni"))) static void byte_loop(void) {
  __m512i sums[CHAINS], a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_setzero_si512();
  for (int k = 0; k < ROUNDS; k++) {
    __asm__ volatile("" : "+v"(a), "+v"(b));
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" : : "v"(sums[i]));
}

__attribute__((target("avx512f,avx512bf16"))) static void bfloat16_loop(void) {
  __m512 sums[CHAINS];
  __m512i a = _mm512_set1_epi32(0x3F803F80), b = _mm512_set1_epi32(0x3F803F80);
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_setzero_ps();
  for (int k = 0; k < ROUNDS; k++) {
    __asm__ volatile("" : "+v"(a), "+v"(b));
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)a, (__m512bh)b);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" : : "v"(sums[i]));
}

#define MM256(name) _mm256_##name
#define MM512(name) _mm512_##name
// An instruction of two operands, each time anew (as an intrinsic it would be shared), whose results are added.
#define ADDING_LOOP(name, features, vector, bits, reg, instruction, add)                            \
  __attribute__((target(features))) static void name(void) {                                        \
    enum { SUMS = CHAINS * bits / 512 };                                                            \
    vector sums[SUMS], a = MM##bits(set1_epi8)(1), b = MM##bits(set1_epi8)(2);                  \
    _Pragma("clang loop unroll(full)") for (int i = 0; i < SUMS; i++) sums[i] = (vector){0};        \
    for (int k = 0; k < ROUNDS * 512 / bits; k++) {                                                 \
      _Pragma("clang loop unroll(full)") for (int i = 0; i < SUMS; i++) {                           \
        vector x;                                                                                   \
        __asm__ volatile(instruction " %1, %2, %0" : "=" reg(x) : reg(a), reg(b));                  \
        sums[i] = MM##bits(add)(sums[i], x);                                                    \
      }                                                                                             \
    }                                                                                               \
    _Pragma("clang loop unroll(full)") for (int i = 0; i < SUMS; i++) __asm__ volatile("" : : reg(sums[i])); \
  }

// Without a popcount of vectors (counts_by_table.h) a shuffle looks four bits of 32 or 64 outputs up, and bytes are added.
ADDING_LOOP(table_loop_avx2, "avx2", __m256i, 256, "x", "vpshufb", add_epi8)
ADDING_LOOP(table_loop_avx512, "avx512bw", __m512i, 512, "v", "vpshufb", add_epi8)
// The sums of five bytes of 32 outputs are looked up and added in 16 bits (rounded_lookup_by_words.h); halves of those of four bytes
// as above (rounded_lookup_by_bytes.h).
ADDING_LOOP(lookup_loop_avx512, "avx512bw", __m512i, 512, "v", "vpermw", add_epi16)

__attribute__((target("avx2,fma"))) static void float_loop_avx2(void) {
  __m256 sums[CHAINS / 2], a = _mm256_set1_ps(1), b = _mm256_set1_ps(2);
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS / 2; i++) sums[i] = _mm256_setzero_ps();
  for (int k = 0; k < 2 * ROUNDS; k++) {
    __asm__ volatile("" : "+x"(a), "+x"(b));
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS / 2; i++) sums[i] = _mm256_fmadd_ps(a, b, sums[i]);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS / 2; i++) __asm__ volatile("" : : "x"(sums[i]));
}

__attribute__((target("avx512f"))) static void float_loop_avx512(void) {
  __m512 sums[CHAINS], a = _mm512_set1_ps(1), b = _mm512_set1_ps(2);
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_setzero_ps();
  for (int k = 0; k < ROUNDS; k++) {
    __asm__ volatile("" : "+v"(a), "+v"(b));
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_fmadd_ps(a, b, sums[i]);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" : : "v"(sums[i]));
}

// `operations` of one product; a loop does CHAINS * ROUNDS of them.
static double best_rate(void (*loop)(void), double operations) {
  double best = 0;
  for (int repeat = 0; repeat < REPEATS; repeat++) {
    double start = bk_thread_seconds();
    loop();
    double rate = operations * CHAINS * ROUNDS / (bk_thread_seconds() - start);
    if (rate > best) best = rate;
  }
  return best;
}

extern const bk_kernels bk_portable, bk_avx2, bk_avx512bw, bk_avx512vnni, bk_avx512, bk_avx512bf16;

double bk_peak_popcount(const bk_kernels *table) {
  if (table == &bk_avx512 || table == &bk_avx512bf16) return best_rate(popcount_loop, 2 * 512);
  if (table == &bk_avx512bw || table == &bk_avx512vnni) return best_rate(table_loop_avx512, 2 * 4 * 64);
  return table == &bk_avx2 ? best_rate(table_loop_avx2, 2 * 4 * 32) : 0;
}

double bk_peak_bytes(const bk_kernels *table) {
  if (table == &bk_avx512bf16) return best_rate(lookup_loop_avx512, 2 * 5 * 32);
  if (table == &bk_avx512vnni || table == &bk_avx512) return best_rate(byte_loop, 2 * 64);
  if (table == &bk_avx512bw) return best_rate(table_loop_avx512, 2 * 4 * 64 / 2);
  return table == &bk_avx2 ? best_rate(table_loop_avx2, 2 * 4 * 32 / 2) : 0;
}

double bk_peak_bfloat16(const bk_kernels *table) {
  return table == &bk_avx512bf16 ? best_rate(bfloat16_loop, 2 * 32) : 0;
}

double bk_peak_float32(const bk_kernels *table) {
  if (table == &bk_avx2) return best_rate(float_loop_avx2, 2 * 8);
  return table == &bk_portable ? 0 : best_rate(float_loop_avx512, 2 * 16);
}
#else
double bk_peak_popcount(const bk_kernels *table) {
  (void)table;
  return 0;
}

double bk_peak_bytes(const bk_kernels *table) {
  (void)table;
  return 0;
}

double bk_peak_bfloat16(const bk_kernels *table) {
  (void)table;
  return 0;
}

double bk_peak_float32(const bk_kernels *table) {
  (void)table;
  return 0;
}
#endif

// What a core can do at most: loops without memory.
#include <string.h>
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

enum { CHAINS = 20, ROUNDS = 400000, REPEATS = 5 };

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

double bk_peak_popcount(const bk_kernels *table) {
  return strcmp(table->name, "avx512") == 0 ? best_rate(popcount_loop, 2 * 512) : 0;
}

double bk_peak_bytes(const bk_kernels *table) {
  return strcmp(table->name, "avx512") == 0 ? best_rate(byte_loop, 2 * 64) : 0;
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
#endif

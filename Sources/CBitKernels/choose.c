// Choice of the instruction set at run time.
#include <string.h>

#include "bfloat16_native.h"
#include "bit_kernels.h"

extern const bk_kernels bk_portable;
#if defined(__x86_64__)
extern const bk_kernels bk_avx2, bk_avx512bw, bk_avx512;
#elif defined(__aarch64__)
extern const bk_kernels bk_neon;
#endif

// Fastest first.
size_t bk_available(const bk_kernels *tables[4]) {
  size_t count = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  bool avx512bw = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512bw && __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512vnni"))
    tables[count++] = &bk_avx512;
  if (avx512bw) tables[count++] = &bk_avx512bw;
  if (avx2) tables[count++] = &bk_avx2;
#elif defined(__aarch64__)
  tables[count++] = &bk_neon;
#endif
  tables[count++] = &bk_portable;
  return count;
}

bool bk_multiplies_bfloat16(const bk_kernels *table) {
#if defined(__x86_64__)
  return table == &bk_avx512 && bk_has_bfloat16();
#else
  (void)table;
  return false;
#endif
}

const bk_kernels *bk_choose(const char *name) {
  const bk_kernels *tables[4];
  size_t count = bk_available(tables);
  if (name == NULL) return tables[0];
  for (size_t i = 0; i < count; i++)
    if (strcmp(tables[i]->name, name) == 0) return tables[i];
  return NULL;
}

// Choice of the instruction set at run time.
#include <string.h>

#include "bit_kernels.h"

extern const bk_kernels bk_portable;
#if defined(__x86_64__)
extern const bk_kernels bk_avx2, bk_avx512bw, bk_avx512vnni, bk_avx512, bk_avx512bf16;
#elif defined(__aarch64__)
extern const bk_kernels bk_neon, bk_neondot, bk_neoni8mm;
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

static bool has_dot(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
static bool has_matrix_and_bf16(void) {
  return (getauxval(AT_HWCAP2) & (HWCAP2_I8MM | HWCAP2_BF16)) == (HWCAP2_I8MM | HWCAP2_BF16);
}
#else
// Elsewhere, what every processor has that this was compiled for (Apple's compiler: dot products).
static bool has_dot(void) {
#if defined(__ARM_FEATURE_DOTPROD)
  return true;
#else
  return false;
#endif
}
static bool has_matrix_and_bf16(void) {
#if defined(__ARM_FEATURE_MATMUL_INT8) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  return true;
#else
  return false;
#endif
}
#endif
#endif

// Fastest first.
size_t bk_available(const bk_kernels *tables[BK_INSTRUCTION_SETS]) {
  size_t count = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  bool avx512bw = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  bool avx512vnni = avx512bw && __builtin_cpu_supports("avx512vnni");
  bool avx512 = avx512vnni && __builtin_cpu_supports("avx512vpopcntdq");
  bool avx512bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  // Intel's vdpbf16ps does half of what fused multiply-adds of float32 do in the same time (docs/performance.md).
  bool bfloat16_is_slow = __builtin_cpu_is("intel");
  if (avx512bf16 && !bfloat16_is_slow) tables[count++] = &bk_avx512bf16;
  if (avx512) tables[count++] = &bk_avx512;
  if (avx512bf16 && bfloat16_is_slow) tables[count++] = &bk_avx512bf16;
  if (avx512vnni) tables[count++] = &bk_avx512vnni;
  if (avx512bw) tables[count++] = &bk_avx512bw;
  if (avx2) tables[count++] = &bk_avx2;
#elif defined(__aarch64__)
  if (has_dot() && has_matrix_and_bf16()) tables[count++] = &bk_neoni8mm;
  if (has_dot()) tables[count++] = &bk_neondot;
  tables[count++] = &bk_neon;
#endif
  tables[count++] = &bk_portable;
  return count;
}

const bk_kernels *bk_choose(const char *name) {
  const bk_kernels *tables[BK_INSTRUCTION_SETS];
  size_t count = bk_available(tables);
  if (name == NULL) return tables[0];
  for (size_t i = 0; i < count; i++)
    if (strcmp(tables[i]->name, name) == 0) return tables[i];
  return NULL;
}

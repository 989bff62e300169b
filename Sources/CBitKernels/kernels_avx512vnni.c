// AVX-512 with VNNI, without vpopcntdq (Cascade Lake; Cooper Lake, whose BF16 is not used).
#define NAME "avx512vnni"
#define TABLE bk_avx512vnni
#define MORE_FEATURES ",avx512vnni"
#define VNNI
#include "kernels_avx512_kind.h"

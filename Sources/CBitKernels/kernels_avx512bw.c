// AVX-512 without vpopcntdq, VNNI and BF16 (Skylake).
#define NAME "avx512bw"
#define TABLE bk_avx512bw
#define MORE_FEATURES ""
#include "kernels_avx512_kind.h"

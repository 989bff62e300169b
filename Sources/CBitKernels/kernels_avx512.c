// AVX-512 with vpopcntdq and VNNI, without BF16 (Ice Lake, and where BF16 is slower than fused multiply-adds).
#define NAME "avx512"
#define TABLE bk_avx512
#define MORE_FEATURES ",avx512vpopcntdq,avx512vnni"
#define VPOPCNTDQ
#define VNNI
#include "kernels_avx512_kind.h"

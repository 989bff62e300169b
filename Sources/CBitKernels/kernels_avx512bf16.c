// AVX-512 with vpopcntdq, VNNI and BF16 (Zen 4 and later, Sapphire Rapids).
#define NAME "avx512bf16"
#define TABLE bk_avx512bf16
#define MORE_FEATURES ",avx512vpopcntdq,avx512vnni,avx512bf16"
#define VPOPCNTDQ
#define VNNI
#define BF16
#define LOOKUP_TABLES "rounded_lookup_by_words.h"
#include "kernels_avx512_kind.h"

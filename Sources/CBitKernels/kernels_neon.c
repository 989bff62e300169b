// NEON, which every arm64 processor has.
#define NAME "neon"
#define TABLE bk_neon
#include "kernels_neon_kind.h"

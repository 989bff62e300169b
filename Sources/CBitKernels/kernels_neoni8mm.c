// NEON with products of matrices of bytes, and BF16 (Neoverse V1, N2 and V2, Cortex-A510 and A710).
#define NAME "neoni8mm"
#define TABLE bk_neoni8mm
#define FEATURES "dotprod,i8mm,bf16"
#define MATRIX_AND_BF16
#include "kernels_neon_kind.h"

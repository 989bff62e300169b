// NEON with products of bytes by fours (Neoverse N1, Cortex-A55 and A76, Apple M1).
#define NAME "neondot"
#define TABLE bk_neondot
#define FEATURES "dotprod"
#define DOT
#include "kernels_neon_kind.h"

// What AVX-512 BF16 adds to the AVX-512 kernels.
#pragma once
#include "bit_kernels.h"

bool bk_has_bfloat16(void);
void bk_sum_pairs_natively(const uint32_t *left, size_t pairs, const uint32_t *right,
                           float sums[BK_PANEL_ROWS][BK_PANEL_COLUMNS]);

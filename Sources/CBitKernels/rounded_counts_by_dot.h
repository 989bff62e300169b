// Integer counts of a panel with NEON's sdot, which adds a group's four products to a sum of 32 bits. The four bytes of a row are
// taken from among those of four rows in a register.
#include <arm_neon.h>

#include "expand_block.h"

enum { COUNT_ROWS = BK_PANEL_ROWS, COUNT_VECTORS = 3, COUNT_COLUMNS = 4 };

// Adds the counts of `groups` groups to those of one tile, which has all rows of a panel.
INLINE void count_block(const int8_t *panel, size_t groups, const uint8_t *expanded,
                        int32_t counts[BK_PANEL_ROWS][BK_PANEL_COLUMNS], const size_t row, const size_t column) {
  (void)row;
  int32x4_t sums[COUNT_ROWS][COUNT_VECTORS];
#pragma clang loop unroll(full)
  for (size_t r = 0; r < COUNT_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++) sums[r][v] = vdupq_n_s32(0);
#pragma clang loop unroll(disable)
  for (size_t k = 0; k < groups; k++) {
    const int8_t *rows = panel + k * BK_PANEL_ROWS * 4;
    int8x16_t upper = vld1q_s8(rows), lower = vld1q_s8(rows + 16);
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++) {
      int8x16_t right = vreinterpretq_s8_u8(vld1q_u8(expanded + (k * BK_PANEL_COLUMNS + column) * 4 + v * 16));
      sums[0][v] = vdotq_laneq_s32(sums[0][v], right, upper, 0);
      sums[1][v] = vdotq_laneq_s32(sums[1][v], right, upper, 1);
      sums[2][v] = vdotq_laneq_s32(sums[2][v], right, upper, 2);
      sums[3][v] = vdotq_laneq_s32(sums[3][v], right, upper, 3);
      sums[4][v] = vdotq_laneq_s32(sums[4][v], right, lower, 0);
      sums[5][v] = vdotq_laneq_s32(sums[5][v], right, lower, 1);
      sums[6][v] = vdotq_laneq_s32(sums[6][v], right, lower, 2);
      sums[7][v] = vdotq_laneq_s32(sums[7][v], right, lower, 3);
    }
  }
#pragma clang loop unroll(full)
  for (size_t r = 0; r < COUNT_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++) {
      int32_t *target = counts[r] + column + v * COUNT_COLUMNS;
      vst1q_s32(target, vaddq_s32(vld1q_s32(target), sums[r][v]));
    }
}

INLINE size_t groups_at_once(size_t largest) {
  (void)largest;
  return SIZE_MAX;
}

#include "rounded_counts_of_tiles.h"

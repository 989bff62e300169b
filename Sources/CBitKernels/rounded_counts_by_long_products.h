// Integer counts of a panel with NEON's smlal, which adds 8 products of bytes to 8 sums of 16 bits. A sum takes one product of a
// group, 127 times the largest number at most, so that many of them fit (258 of bits): they are widened no sooner.
#include <arm_neon.h>

#include "expand_block.h"

enum { COUNT_ROWS = 4, COUNT_VECTORS = 3, COUNT_COLUMNS = 4 };

// Adds the counts of `groups` groups, no more than may be summed in 16 bits, to those of one tile.
INLINE void count_block(const int8_t *panel, size_t groups, const uint8_t *expanded,
                        int32_t counts[BK_PANEL_ROWS][BK_PANEL_COLUMNS], const size_t row, const size_t column) {
  int16x8_t low[COUNT_ROWS][COUNT_VECTORS], high[COUNT_ROWS][COUNT_VECTORS];  // of the columns 0 and 1, and 2 and 3
#pragma clang loop unroll(full)
  for (size_t r = 0; r < COUNT_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++) low[r][v] = high[r][v] = vdupq_n_s16(0);
#pragma clang loop unroll(disable)
  for (size_t k = 0; k < groups; k++) {
    int8x16_t right[COUNT_VECTORS];
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++)
      right[v] = vreinterpretq_s8_u8(vld1q_u8(expanded + (k * BK_PANEL_COLUMNS + column) * 4 + v * 16));
#pragma clang loop unroll(full)
    for (size_t r = 0; r < COUNT_ROWS; r++) {
      int32_t four;
      memcpy(&four, panel + (k * BK_PANEL_ROWS + row + r) * 4, 4);
      int8x16_t left = vreinterpretq_s8_s32(vdupq_n_s32(four));
#pragma clang loop unroll(full)
      for (size_t v = 0; v < COUNT_VECTORS; v++) {
        low[r][v] = vmlal_s8(low[r][v], vget_low_s8(right[v]), vget_low_s8(left));
        high[r][v] = vmlal_high_s8(high[r][v], right[v], left);
        __asm__ volatile("" : "+w"(low[r][v]), "+w"(high[r][v]));  // else the compiler moves sums from register to register
      }
    }
  }
#pragma clang loop unroll(full)
  for (size_t r = 0; r < COUNT_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++) {
      int32_t *target = counts[row + r] + column + v * COUNT_COLUMNS;
      int32x4_t sums = vpaddq_s32(vpaddlq_s16(low[r][v]), vpaddlq_s16(high[r][v]));
      vst1q_s32(target, vaddq_s32(vld1q_s32(target), sums));
    }
}

INLINE size_t groups_at_once(size_t largest) { return 32767 / (127 * largest); }

#include "rounded_counts_of_tiles.h"

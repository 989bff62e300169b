// Integer counts of a panel with I8MM's smmla, which multiplies a matrix of 2 x 8 bytes by one of 8 x 2 and adds the four sums to 32
// bits: twice the products of a sdot. It wants eight elements of a row together, so the fours of two groups are put side by side.
#include <arm_neon.h>

#include "expand_block.h"

// A vector holds the sums of two rows and two columns.
enum { COUNT_ROWS = BK_PANEL_ROWS, COUNT_VECTORS = 6, COUNT_COLUMNS = 2 };

// Four rows of two groups: rows 0 and 1, and rows 2 and 3, with the first group's four elements before the second's.
INLINE void join_groups(const void *first, const void *second, int8x16_t joined[2]) {
  int32x4_t low = vreinterpretq_s32_s8(vld1q_s8(first)), high = vreinterpretq_s32_s8(vld1q_s8(second));
  joined[0] = vreinterpretq_s8_s32(vzip1q_s32(low, high));
  joined[1] = vreinterpretq_s8_s32(vzip2q_s32(low, high));
}

// Adds the products of two groups to the sums of a tile.
INLINE void add_two_groups(const int8_t *rows, const int8_t *next_rows, const uint8_t *columns, const uint8_t *next_columns,
                           int32x4_t sums[COUNT_ROWS / 2][COUNT_VECTORS]) {
  int8x16_t left[COUNT_ROWS / 2];
#pragma clang loop unroll(full)
  for (size_t r = 0; r < COUNT_ROWS / 2; r += 2) join_groups(rows + r * 8, next_rows + r * 8, left + r);
#pragma clang loop unroll(full)
  for (size_t v = 0; v < COUNT_VECTORS; v += 2) {
    int8x16_t right[2];
    join_groups(columns + v * 8, next_columns + v * 8, right);
#pragma clang loop unroll(full)
    for (size_t r = 0; r < COUNT_ROWS / 2; r++) {
      sums[r][v] = vmmlaq_s32(sums[r][v], left[r], right[0]);
      sums[r][v + 1] = vmmlaq_s32(sums[r][v + 1], left[r], right[1]);
      __asm__ volatile("" : "+w"(sums[r][v]), "+w"(sums[r][v + 1]));  // else the compiler moves sums from register to register
    }
  }
}

// Adds the counts of `groups` groups to those of one tile, which has all rows of a panel.
INLINE void count_block(const int8_t *panel, size_t groups, const uint8_t *expanded,
                        int32_t counts[BK_PANEL_ROWS][BK_PANEL_COLUMNS], const size_t row, const size_t column) {
  enum { ROWS = BK_PANEL_ROWS * 4, COLUMNS = BK_PANEL_COLUMNS * 4 };  // bytes of a group
  static const uint8_t none[COLUMNS] = {0};
  (void)row;
  int32x4_t sums[COUNT_ROWS / 2][COUNT_VECTORS];
#pragma clang loop unroll(full)
  for (size_t r = 0; r < COUNT_ROWS / 2; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++) sums[r][v] = vdupq_n_s32(0);
  const uint8_t *columns = expanded + column * 4;
#pragma clang loop unroll(disable)
  for (size_t k = 0; k + 1 < groups; k += 2)
    add_two_groups(panel + k * ROWS, panel + (k + 1) * ROWS, columns + k * COLUMNS, columns + (k + 1) * COLUMNS, sums);
  if (groups % 2 != 0)
    add_two_groups(panel + (groups - 1) * ROWS, (const int8_t *)none, columns + (groups - 1) * COLUMNS, none, sums);
#pragma clang loop unroll(full)
  for (size_t r = 0; r < COUNT_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v += 2) {
      int32_t *target = counts[r] + column + v * COUNT_COLUMNS;
      int64x2_t low = vreinterpretq_s64_s32(sums[r / 2][v]), high = vreinterpretq_s64_s32(sums[r / 2][v + 1]);
      int32x4_t own = vreinterpretq_s32_s64(r % 2 == 0 ? vzip1q_s64(low, high) : vzip2q_s64(low, high));
      vst1q_s32(target, vaddq_s32(vld1q_s32(target), own));
    }
}

INLINE size_t groups_at_once(size_t largest) {
  (void)largest;
  return SIZE_MAX;
}

#include "rounded_counts_of_tiles.h"

// Integer counts of a panel, 16 columns at a time.
#include "expand_block.h"

INLINE void count_panel(const int8_t *panel, size_t groups, const uint8_t *expanded,
                        int32_t counts[BK_PANEL_ROWS][BK_PANEL_COLUMNS], size_t largest) {
  (void)largest;
  for (size_t row = 0; row < BK_PANEL_ROWS; row += 2)
    for (size_t column = 0; column < BK_PANEL_COLUMNS; column += LANES) {
      vi sums[2] = {{0}, {0}};
      for (size_t k = 0; k < groups; k++) {
        vi right;
        memcpy(&right, expanded + (k * BK_PANEL_COLUMNS + column) * 4, sizeof right);
        vi number[4] = {right & 255, right >> 8 & 255, right >> 16 & 255, right >> 24 & 255};
        for (size_t r = 0; r < 2; r++) {
          const int8_t *four = panel + (k * BK_PANEL_ROWS + row + r) * 4;
          for (size_t b = 0; b < 4; b++) sums[r] += number[b] * (int32_t)four[b];
        }
      }
      for (size_t r = 0; r < 2; r++) memcpy(counts[row + r] + column, &sums[r], sizeof sums[r]);
    }
}

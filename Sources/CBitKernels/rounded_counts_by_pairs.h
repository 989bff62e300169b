// Integer counts of a panel with vpmaddubsw, which adds two products of a small number by a byte. Its result is 2 * 127 times the
// largest number at most, so that many of them fit 16 bits (129 of bits): they are widened no sooner.
//
// The file that includes this one has COUNT_BYTES, the bytes of a register, COUNT_ROWS and COUNT_VECTORS, the tile whose sums
// stay in registers, ADD_PAIRS(bits, bytes), which is vpmaddubsw, and WIDEN(sums), which adds neighbouring 16-bit sums to 32 bits.
enum { COUNT_COLUMNS = COUNT_BYTES / 4 };

#include "expand_block.h"

typedef uint8_t vbits __attribute__((vector_size(COUNT_BYTES), aligned(1)));
typedef int16_t vpairs __attribute__((vector_size(COUNT_BYTES)));
typedef int32_t vcounts __attribute__((vector_size(COUNT_BYTES), aligned(4)));

// Adds the counts of `groups` groups, no more than may be summed in 16 bits, to those of one tile.
INLINE void count_block(const int8_t *panel, size_t groups, const uint8_t *expanded,
                        int32_t counts[BK_PANEL_ROWS][BK_PANEL_COLUMNS], const size_t row, const size_t column) {
  vpairs sums[COUNT_ROWS][COUNT_VECTORS];
#pragma clang loop unroll(full)
  for (size_t r = 0; r < COUNT_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++) sums[r][v] = (vpairs){0};
#pragma clang loop unroll(disable)
  for (size_t k = 0; k < groups; k++) {
    vbits right[COUNT_VECTORS];
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++)
      right[v] = *(const vbits *)(expanded + (k * BK_PANEL_COLUMNS + column) * 4 + v * COUNT_BYTES);
#pragma clang loop unroll(full)
    for (size_t r = 0; r < COUNT_ROWS; r++) {
      int32_t four;
      memcpy(&four, panel + (k * BK_PANEL_ROWS + row + r) * 4, 4);
      vcounts left = (vcounts){0} + four;
#pragma clang loop unroll(full)
      for (size_t v = 0; v < COUNT_VECTORS; v++) sums[r][v] += (vpairs)ADD_PAIRS(right[v], left);
    }
  }
#pragma clang loop unroll(full)
  for (size_t r = 0; r < COUNT_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < COUNT_VECTORS; v++)
      *(vcounts *)(counts[row + r] + column + v * COUNT_COLUMNS) += (vcounts)WIDEN(sums[r][v]);
}

INLINE size_t groups_at_once(size_t largest) { return 32767 / (2 * 127 * largest); }

#include "rounded_counts_of_tiles.h"

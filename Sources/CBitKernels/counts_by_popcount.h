// Counts of products on packed bits with a popcount of words: an accumulator holds those of one row of A against 8 rows of
// B. TILE_ROWS x TILE_GROUPS accumulators stay in registers; the file that includes this one chooses them.

enum { TILE_GROUPS = 2 * TILE_VECTORS };

typedef int64_t vl __attribute__((vector_size(64), aligned(8)));

// The counts of 16 outputs as 32-bit lanes: two neighbouring groups, or one twice.
INLINE vi join_counts(vl low, vl high) {
  return __builtin_shufflevector((vi)low, (vi)high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

INLINE void count_tile(bool exclusive, const uint64_t *a, const uint64_t *b, size_t words, int32_t start, const int rows,
                       const int groups, vi joined[TILE_ROWS][TILE_VECTORS]) {
  vl counts[TILE_ROWS][TILE_GROUPS];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int g = 0; g < groups; g++) counts[i][g] = (vl){0} + start;
#pragma clang loop unroll(disable)
  for (size_t w = 0; w < words; w++) {
    vw right[TILE_GROUPS];
#pragma clang loop unroll(full)
    for (int g = 0; g < groups; g++) right[g] = *(const vw *)(b + ((size_t)g * words + w) * 8);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      uint64_t x = a[(size_t)i * words + w];
      vw left = {x, x, x, x, x, x, x, x};
#pragma clang loop unroll(full)
      for (int g = 0; g < groups; g++)
        counts[i][g] += (vl)__builtin_elementwise_popcount(exclusive ? left ^ right[g] : left & right[g]);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int g = 0; g < groups; g += 2) joined[i][g / 2] = join_counts(counts[i][g], counts[i][groups == 1 ? 0 : g + 1]);
}

#include "tiles_along_rows.h"

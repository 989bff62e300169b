// Counts of products on packed bits with NEON's cnt, which counts the bits of each byte. The counts of bytes are added as bytes, for
// as many words as these can hold, and only then to one count a row of B: three instructions for two words.
#include <arm_neon.h>

enum { TILE_GROUPS = 2 * TILE_VECTORS, WORDS_UNTIL_WIDENED = 31 };  // a word adds 8 to a byte at most

typedef uint16_t vgroup __attribute__((vector_size(16)));

// The counts of `rows` rows of A, which are `stride` words apart, against 8 rows of B, in at most WORDS_UNTIL_WIDENED words.
INLINE void count_group(bool exclusive, const uint64_t *a, size_t stride, const uint64_t *b, size_t words, const int rows,
                        vgroup counts[TILE_ROWS]) {
  uint8x16_t sums[TILE_ROWS][4];  // of two rows of B each
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int p = 0; p < 4; p++) sums[i][p] = vdupq_n_u8(0);
#pragma clang loop unroll(disable)
  for (size_t w = 0; w < words; w++) {
    uint8x16_t right[4];
#pragma clang loop unroll(full)
    for (int p = 0; p < 4; p++) right[p] = vreinterpretq_u8_u64(vld1q_u64(b + w * 8 + 2 * (size_t)p));
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      uint8x16_t left = vreinterpretq_u8_u64(vdupq_n_u64(a[(size_t)i * stride + w]));
#pragma clang loop unroll(full)
      for (int p = 0; p < 4; p++)
        sums[i][p] = vaddq_u8(sums[i][p], vcntq_u8(exclusive ? veorq_u8(left, right[p]) : vandq_u8(left, right[p])));
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
    uint16x8_t low = vpaddq_u16(vpaddlq_u8(sums[i][0]), vpaddlq_u8(sums[i][1]));
    uint16x8_t high = vpaddq_u16(vpaddlq_u8(sums[i][2]), vpaddlq_u8(sums[i][3]));
    counts[i] = (vgroup)vpaddq_u16(low, high);
  }
}

INLINE void count_tile(bool exclusive, const uint64_t *a, const uint64_t *b, size_t words, int32_t start, const int rows,
                       const int groups, vi joined[TILE_ROWS][TILE_VECTORS]) {
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int g = 0; g < groups; g += 2) joined[i][g / 2] = (vi){0} + start;
  for (size_t first = 0; first < words; first += WORDS_UNTIL_WIDENED) {
    size_t count = words - first < WORDS_UNTIL_WIDENED ? words - first : WORDS_UNTIL_WIDENED;
#pragma clang loop unroll(full)
    for (int g = 0; g < groups; g += 2) {
      vgroup low[TILE_ROWS], high[TILE_ROWS];
      count_group(exclusive, a + first, words, b + ((size_t)g * words + first) * 8, count, rows, low);
      if (groups > 1) count_group(exclusive, a + first, words, b + ((size_t)(g + 1) * words + first) * 8, count, rows, high);
#pragma clang loop unroll(full)
      for (int i = 0; i < rows; i++)
        joined[i][g / 2] += __builtin_convertvector(
            __builtin_shufflevector(low[i], groups > 1 ? high[i] : low[i], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), vi);
    }
  }
}

#include "tiles_along_rows.h"

// Rearrangements of bit matrices.
#include <string.h>

#include "bit_kernels.h"

void bk_interleave(const uint64_t *rows, size_t row_count, size_t words, uint64_t *interleaved) {
  for (size_t first = 0; first < row_count; first += 8) {
    uint64_t *group = interleaved + first * words;
    size_t present = row_count - first < 8 ? row_count - first : 8;
    if (present < 8) memset(group, 0, 8 * words * sizeof(uint64_t));
    for (size_t r = 0; r < present; r++)
      for (size_t w = 0; w < words; w++) group[w * 8 + r] = rows[(first + r) * words + w];
  }
}

// A 64 x 64 block in place: swaps ever smaller off-diagonal blocks.
static void transpose_block(uint64_t block[64]) {
  uint64_t mask = 0x00000000FFFFFFFFull;
  for (int half = 32; half != 0; half >>= 1, mask ^= mask << half) {
    for (int i = 0; i < 64; i = ((i | half) + 1) & ~half) {
      uint64_t t = ((block[i] >> half) ^ block[i | half]) & mask;
      block[i] ^= t << half;
      block[i | half] ^= t;
    }
  }
}

void bk_transpose(const uint64_t *bits, size_t rows, size_t columns, uint64_t *transposed) {
  size_t words_in = (columns + 63) / 64, words_out = (rows + 63) / 64;
  uint64_t block[64];
  for (size_t r = 0; r < words_out; r++) {
    size_t present = rows - r * 64 < 64 ? rows - r * 64 : 64;
    for (size_t c = 0; c < words_in; c++) {
      for (size_t i = 0; i < 64; i++) block[i] = i < present ? bits[(r * 64 + i) * words_in + c] : 0;
      transpose_block(block);
      size_t wanted = columns - c * 64 < 64 ? columns - c * 64 : 64;
      for (size_t i = 0; i < wanted; i++) transposed[(c * 64 + i) * words_out + r] = block[i];
    }
  }
}

void bk_cut_columns(const uint64_t *rows, size_t row_count, size_t ld, size_t first, size_t count, uint64_t *cut) {
  size_t words = (count + 63) / 64, start = first / 64, shift = first % 64, last = (first + count - 1) / 64;
  uint64_t unused = (64 - count % 64) % 64;
  for (size_t i = 0; i < row_count; i++) {
    const uint64_t *row = rows + i * ld;
    for (size_t w = 0; w < words; w++) {
      uint64_t bits = row[start + w] >> shift;
      if (shift != 0 && start + w < last) bits |= row[start + w + 1] << (64 - shift);
      cut[i * words + w] = w + 1 < words ? bits : bits << unused >> unused;
    }
  }
}

size_t bk_attention_room(size_t tokens) {
  return BK_ATTENTION_ROWS * ((tokens + 63) / 64 * (sizeof(uint64_t) + 64 * sizeof(float)));
}

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

// Rows of A that go along the rows of the result together: the rows of B of a tile then come from the first-level cache, and the
// result is still written in order. The rows of B that pass by are to fit the second-level cache.
enum { TILES_GO_DOWN = false, TILES_TOGETHER = 4 };

INLINE void each_tile(bool exclusive, const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                      int32_t start, tile_end end, const void *context) {
  // A tile needs more than 8 outputs in its last pair of groups, or it would read beyond the last group.
  const size_t tile = 8 * TILE_GROUPS;
  vi counts[TILE_ROWS][TILE_VECTORS];
  for (size_t first = 0; first < rows_a; first += TILES_TOGETHER * TILE_ROWS) {
    size_t last = first + TILES_TOGETHER * TILE_ROWS < rows_a ? first + TILES_TOGETHER * TILE_ROWS : rows_a;
    for (size_t j = 0; j < rows_b;) {
      size_t outputs = rows_b - j, groups = outputs + 8 > tile ? TILE_GROUPS : 1;
      if (outputs > 8 * groups) outputs = 8 * groups;
      const uint64_t *right = b + j * words;
      for (size_t i = first; i < last;) {
        size_t rows = groups == 1 ? 1 : last - i >= TILE_ROWS ? TILE_ROWS : last - i >= 2 ? 2 : 1;
        const uint64_t *left = a + i * words;
        if (groups == 1) {
          count_tile(exclusive, left, right, words, start, 1, 1, counts);
          end(context, i, j, outputs, counts, 1, 1);
        } else if (rows == TILE_ROWS) {
          count_tile(exclusive, left, right, words, start, TILE_ROWS, TILE_GROUPS, counts);
          end(context, i, j, outputs, counts, TILE_ROWS, TILE_VECTORS);
        } else if (rows == 2) {
          count_tile(exclusive, left, right, words, start, 2, TILE_GROUPS, counts);
          end(context, i, j, outputs, counts, 2, TILE_VECTORS);
        } else {
          count_tile(exclusive, left, right, words, start, 1, TILE_GROUPS, counts);
          end(context, i, j, outputs, counts, 1, TILE_VECTORS);
        }
        i += rows;
      }
      j += 8 * groups;
    }
  }
}

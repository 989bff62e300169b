// Tiles of a product on packed bits in the order of the result's rows. The file that includes this one has TILE_ROWS and TILE_GROUPS,
// the groups of 8 rows of B in a tile, and count_tile, which counts for 1, 2 or TILE_ROWS rows and TILE_GROUPS groups, or for 1 and 1.

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

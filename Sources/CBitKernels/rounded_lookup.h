// Products of rounded gradients with bits by looking up: the sums of a few gradients over each choice of bits are worked out once for
// a row, and serve all columns; a shuffle looks many columns up. The file that has `make_tables` and `look_up` for so many steps of
// the depth at a time is named by LOOKUP_TABLES.
#include LOOKUP_TABLES

_Static_assert(CHUNK_STEPS * STEP_TABLE_BYTES <= BK_LOOKUP_TABLES, "room for the tables");

static void lookup_product(const int8_t *panels, size_t rows, size_t depth, const uint8_t *indices, size_t columns,
                           const int32_t *sums, const float *maxima, float factor, int32_t times, int32_t plus, bool add,
                           float *out, size_t ld, void *room) {
  size_t groups = (depth + 3) / 4, steps = lookup_steps(depth), width = bk_lookup_width(columns);
  int32_t *counts = (int32_t *)((uint8_t *)room + BK_LOOKUP_TABLES);
  for (size_t i = 0; i < rows; i += PANEL_ROWS) {
    // Tables of so many steps fit the first-level cache.
    for (size_t first = 0; first < steps; first += CHUNK_STEPS) {
      size_t some = steps - first < CHUNK_STEPS ? steps - first : CHUNK_STEPS;
      make_tables(panels + i * groups * 4, groups, first, some, room);
      look_up(room, indices, columns, depth, first, some, counts, width);
    }
    size_t present = rows - i < PANEL_ROWS ? rows - i : PANEL_ROWS;
    for (size_t r = 0; r < present; r++)
      scale_counts(counts + r * width, columns, maxima[i + r] / 127.0f * factor, times, plus * sums[i + r], add,
                   out + (i + r) * ld);
  }
}

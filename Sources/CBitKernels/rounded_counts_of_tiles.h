// Integer counts of a panel, tile by tile. The file that includes this one has COUNT_ROWS, COUNT_VECTORS and COUNT_COLUMNS, the rows
// of a tile, its vectors and the columns of one; count_block, which adds the counts of some groups to those of a tile; and
// groups_at_once(largest), how many it may take.
INLINE void count_panel(const int8_t *panel, size_t groups, const uint8_t *expanded,
                        int32_t counts[BK_PANEL_ROWS][BK_PANEL_COLUMNS], size_t largest) {
  const size_t most = groups_at_once(largest);
  memset(counts, 0, BK_PANEL_ROWS * BK_PANEL_COLUMNS * sizeof(int32_t));
  for (size_t start = 0; start < groups; start += most) {
    size_t count = groups - start < most ? groups - start : most;
    for (size_t row = 0; row < BK_PANEL_ROWS; row += COUNT_ROWS)
      for (size_t column = 0; column < BK_PANEL_COLUMNS; column += COUNT_VECTORS * COUNT_COLUMNS)
        count_block(panel + start * BK_PANEL_ROWS * 4, count, expanded + start * BK_PANEL_COLUMNS * 4, counts, row, column);
  }
}

// Integer counts of a panel with vpmaddubsw: sums of two products of a number up to 128 by a byte never saturate 16 bits.
INLINE void expand_block(const uint16_t half[4], uint8_t *target) {
  for (int column = 0; column < 16; column++)
    for (int r = 0; r < 4; r++) target[column * 4 + r] = (uint8_t)(half[r] >> column & 1);
}

INLINE void count_block(const int8_t *panel, size_t groups, const uint8_t *expanded,
                        int32_t counts[BK_PANEL_ROWS][BK_PANEL_COLUMNS], const size_t row, const size_t column) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[4][2];
#pragma clang loop unroll(full)
  for (int r = 0; r < 4; r++) sums[r][0] = sums[r][1] = _mm256_setzero_si256();
  for (size_t k = 0; k < groups; k++) {
    const uint8_t *right = expanded + (k * BK_PANEL_COLUMNS + column) * 4;
    __m256i b0 = _mm256_loadu_si256((const __m256i *)right), b1 = _mm256_loadu_si256((const __m256i *)(right + 32));
#pragma clang loop unroll(full)
    for (int r = 0; r < 4; r++) {
      int32_t four;
      memcpy(&four, panel + (k * BK_PANEL_ROWS + row + (size_t)r) * 4, 4);
      __m256i a = _mm256_set1_epi32(four);
      sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(_mm256_maddubs_epi16(b0, a), ones));
      sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(_mm256_maddubs_epi16(b1, a), ones));
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < 4; r++) {
    _mm256_storeu_si256((__m256i *)(counts[row + (size_t)r] + column), sums[r][0]);
    _mm256_storeu_si256((__m256i *)(counts[row + (size_t)r] + column + 8), sums[r][1]);
  }
}

INLINE void count_panel(const int8_t *panel, size_t groups, const uint8_t *expanded,
                        int32_t counts[BK_PANEL_ROWS][BK_PANEL_COLUMNS]) {
  for (size_t row = 0; row < BK_PANEL_ROWS; row += 4)
    for (size_t column = 0; column < BK_PANEL_COLUMNS; column += 16)
      count_block(panel, groups, expanded, counts, row, column);
}

// Integer counts of a panel with VNNI: 24 accumulators of 16 sums.
INLINE void expand_block(const uint16_t half[4], uint8_t *target) {
  uint64_t mask = _pdep_u64(half[0], 0x1111111111111111ull) | _pdep_u64(half[1], 0x2222222222222222ull) |
                  _pdep_u64(half[2], 0x4444444444444444ull) | _pdep_u64(half[3], 0x8888888888888888ull);
  _mm512_storeu_si512(target, _mm512_maskz_set1_epi8(mask, 1));
}

INLINE void count_panel(const int8_t *panel, size_t groups, const uint8_t *expanded,
                        int32_t counts[BK_PANEL_ROWS][BK_PANEL_COLUMNS], size_t largest) {
  (void)largest;
  __m512i sums[BK_PANEL_ROWS][3];
#pragma clang loop unroll(full)
  for (int r = 0; r < BK_PANEL_ROWS; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < 3; v++) sums[r][v] = _mm512_setzero_si512();
  for (size_t k = 0; k < groups; k++) {
    const uint8_t *right = expanded + k * BK_PANEL_COLUMNS * 4;
    __m512i b0 = _mm512_loadu_si512(right), b1 = _mm512_loadu_si512(right + 64), b2 = _mm512_loadu_si512(right + 128);
#pragma clang loop unroll(full)
    for (int r = 0; r < BK_PANEL_ROWS; r++) {
      int32_t four;
      memcpy(&four, panel + (k * BK_PANEL_ROWS + (size_t)r) * 4, 4);
      __m512i a = _mm512_set1_epi32(four);
      sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], b0, a);
      sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], b1, a);
      sums[r][2] = _mm512_dpbusd_epi32(sums[r][2], b2, a);
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < BK_PANEL_ROWS; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < 3; v++) _mm512_storeu_si512(counts[r] + 16 * v, sums[r][v]);
}

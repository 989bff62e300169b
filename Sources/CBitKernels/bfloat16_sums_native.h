// The sums of one panel of rows and one of columns with AVX-512 BF16: 24 accumulators of 16 sums.
static void sum_pairs(const uint32_t *left, size_t pairs, const uint32_t *right,
                      float out[BK_PANEL_ROWS][BK_PANEL_COLUMNS]) {
  __m512 sums[BK_PANEL_ROWS][3];
#pragma clang loop unroll(full)
  for (int r = 0; r < BK_PANEL_ROWS; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < 3; v++) sums[r][v] = _mm512_setzero_ps();
  for (size_t k = 0; k < pairs; k++) {
    __m512bh b[3];
#pragma clang loop unroll(full)
    for (int v = 0; v < 3; v++) b[v] = (__m512bh)_mm512_loadu_si512(right + k * BK_PANEL_COLUMNS + (size_t)v * 16);
#pragma clang loop unroll(full)
    for (int r = 0; r < BK_PANEL_ROWS; r++) {
      __m512bh a = (__m512bh)_mm512_set1_epi32((int)left[k * BK_PANEL_ROWS + (size_t)r]);
#pragma clang loop unroll(full)
      for (int v = 0; v < 3; v++) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], a, b[v]);
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < BK_PANEL_ROWS; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < 3; v++) _mm512_storeu_ps(out[r] + 16 * v, sums[r][v]);
}

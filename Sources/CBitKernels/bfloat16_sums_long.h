// The sums of one panel of rows and one of columns with NEON's bfmlalt and bfmlalb, which multiply the upper or the lower halves of
// pairs and add each product, exact, to a float32 sum: what a fused multiply-add of widened numbers does, without the widening.
// (bfdot and bfmmla add in an order and with a rounding of their own.)
#include <arm_neon.h>

enum { SUM_VECTORS = 3, SUM_COLUMNS = 4 * SUM_VECTORS };

// The odd element of a pair comes before the even one.
#define ADD_PAIR(r, rows, k)                                              \
  sums[r][v] = vbfmlaltq_laneq_f32(sums[r][v], right[v], rows, 2 * (k) + 1); \
  sums[r][v] = vbfmlalbq_laneq_f32(sums[r][v], right[v], rows, 2 * (k))

static void sum_pairs(const uint32_t *left, size_t pairs, const uint32_t *right_panel,
                      float out[BK_PANEL_ROWS][BK_PANEL_COLUMNS]) {
  for (size_t column = 0; column < BK_PANEL_COLUMNS; column += SUM_COLUMNS) {
    float32x4_t sums[BK_PANEL_ROWS][SUM_VECTORS];
#pragma clang loop unroll(full)
    for (size_t r = 0; r < BK_PANEL_ROWS; r++)
#pragma clang loop unroll(full)
      for (size_t v = 0; v < SUM_VECTORS; v++) sums[r][v] = vdupq_n_f32(0);
#pragma clang loop unroll(disable)
    for (size_t k = 0; k < pairs; k++) {
      const uint32_t *rows = left + k * BK_PANEL_ROWS, *columns = right_panel + k * BK_PANEL_COLUMNS + column;
      bfloat16x8_t upper = vreinterpretq_bf16_u32(vld1q_u32(rows)), lower = vreinterpretq_bf16_u32(vld1q_u32(rows + 4));
      bfloat16x8_t right[SUM_VECTORS];
#pragma clang loop unroll(full)
      for (size_t v = 0; v < SUM_VECTORS; v++) right[v] = vreinterpretq_bf16_u32(vld1q_u32(columns + 4 * v));
#pragma clang loop unroll(full)
      for (size_t v = 0; v < SUM_VECTORS; v++) {
        ADD_PAIR(0, upper, 0);
        ADD_PAIR(1, upper, 1);
        ADD_PAIR(2, upper, 2);
        ADD_PAIR(3, upper, 3);
        ADD_PAIR(4, lower, 0);
        ADD_PAIR(5, lower, 1);
        ADD_PAIR(6, lower, 2);
        ADD_PAIR(7, lower, 3);
      }
    }
#pragma clang loop unroll(full)
    for (size_t r = 0; r < BK_PANEL_ROWS; r++)
#pragma clang loop unroll(full)
      for (size_t v = 0; v < SUM_VECTORS; v++) vst1q_f32(out[r] + column + 4 * v, sums[r][v]);
  }
}

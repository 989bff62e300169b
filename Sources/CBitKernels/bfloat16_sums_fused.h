// The sums of one panel of rows and one of columns of bfloat16 products with the float32 arithmetic that every processor of this
// kind has. The file that includes this one has SUM_LANES, the numbers of a vector of sums, SUM_ROWS and SUM_VECTORS, the tile
// whose sums stay in registers, IN_REGISTERS(sums), which tells the compiler that the sums of a row are in registers (else, with few
// to spare, it keeps some in memory), and ADD_EXACT_PRODUCT(a, b, sum): fused where that is one instruction, else apart, with the
// same result.

typedef float vsum __attribute__((vector_size(4 * SUM_LANES), aligned(4)));
typedef uint32_t vsum_pairs __attribute__((vector_size(4 * SUM_LANES), aligned(4)));
typedef uint32_t vpanel __attribute__((vector_size(4 * BK_PANEL_ROWS), aligned(4)));

// Pairs of the left operand that are widened to float32 at a time: once, for all columns, so that one is broadcast as it is loaded.
enum { WIDENED_PAIRS = 128 };

// Adds the products of `pairs` widened pairs, the odd element of each (rows[k][0]) first, to the sums of one tile.
INLINE void add_pairs(float rows[WIDENED_PAIRS][2][BK_PANEL_ROWS], size_t pairs, const uint32_t *right,
                      float sums[BK_PANEL_ROWS][BK_PANEL_COLUMNS], const size_t row, const size_t column) {
  vsum s[SUM_ROWS][SUM_VECTORS];
#pragma clang loop unroll(full)
  for (size_t r = 0; r < SUM_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < SUM_VECTORS; v++) s[r][v] = *(const vsum *)(sums[row + r] + column + v * SUM_LANES);
#pragma clang loop unroll(disable)
  for (size_t k = 0; k < pairs; k++)
#pragma clang loop unroll(full)
    for (size_t even = 0; even < 2; even++) {
      const uint32_t *source = right + k * BK_PANEL_COLUMNS + column;
      __asm__ volatile("" : "+r"(source));  // the pairs are loaded twice: there is no register to keep them in
      vsum b[SUM_VECTORS];
#pragma clang loop unroll(full)
      for (size_t v = 0; v < SUM_VECTORS; v++) {
        vsum_pairs pair = *(const vsum_pairs *)(source + v * SUM_LANES);
        b[v] = (vsum)(even ? pair << 16 : pair & 0xFFFF0000u);
      }
#pragma clang loop unroll(full)
      for (size_t r = 0; r < SUM_ROWS; r++) {
        vsum a = rows[k][even][row + r] - (vsum){0};  // in all lanes
#pragma clang loop unroll(full)
        for (size_t v = 0; v < SUM_VECTORS; v++) s[r][v] = ADD_EXACT_PRODUCT(a, b[v], s[r][v]);
        IN_REGISTERS(s[r]);
      }
    }
#pragma clang loop unroll(full)
  for (size_t r = 0; r < SUM_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < SUM_VECTORS; v++) *(vsum *)(sums[row + r] + column + v * SUM_LANES) = s[r][v];
}

static void sum_pairs(const uint32_t *left, size_t pairs, const uint32_t *right,
                      float sums[BK_PANEL_ROWS][BK_PANEL_COLUMNS]) {
  float rows[WIDENED_PAIRS][2][BK_PANEL_ROWS] __attribute__((aligned(64)));
  memset(sums, 0, BK_PANEL_ROWS * BK_PANEL_COLUMNS * sizeof(float));
  for (size_t start = 0; start < pairs; start += WIDENED_PAIRS) {
    size_t count = pairs - start < WIDENED_PAIRS ? pairs - start : WIDENED_PAIRS;
    for (size_t k = 0; k < count; k++) {
      vpanel pair = *(const vpanel *)(left + (start + k) * BK_PANEL_ROWS);
      *(vpanel *)rows[k][0] = pair & 0xFFFF0000u;
      *(vpanel *)rows[k][1] = pair << 16;
    }
    for (size_t row = 0; row < BK_PANEL_ROWS; row += SUM_ROWS)
      for (size_t column = 0; column < BK_PANEL_COLUMNS; column += SUM_VECTORS * SUM_LANES)
        add_pairs(rows, count, right + start * BK_PANEL_COLUMNS, sums, row, column);
  }
}

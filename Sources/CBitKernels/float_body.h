// Products of float32 matrices. Each sum takes its products in the order of the summed dimension, fused, whatever the blocks: the
// same bits on every instruction set.

// What is laid out of the right operand at a time: 120 KiB, and a panel of it stays in the first cache.
enum { FLOAT_DEPTH = 128, FLOAT_COLUMNS = 5 * PANEL_COLUMNS };

#define SWAP(x, i, s, first, second)                                     \
  do {                                                                   \
    vf low = __builtin_shufflevector(x[i], x[(i) + (s)], first);         \
    x[(i) + (s)] = __builtin_shufflevector(x[i], x[(i) + (s)], second);  \
    x[i] = low;                                                          \
  } while (0)
#define LOW_8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LOW_4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LOW_2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31

// 16 rows of 16 elements become 16 columns.
INLINE void transpose(vf x[LANES]) {
#pragma clang loop unroll(full)
  for (int i = 0; i < LANES; i++)
    if (!(i & 8)) SWAP(x, i, 8, LOW_8, HIGH_8);
#pragma clang loop unroll(full)
  for (int i = 0; i < LANES; i++)
    if (!(i & 4)) SWAP(x, i, 4, LOW_4, HIGH_4);
#pragma clang loop unroll(full)
  for (int i = 0; i < LANES; i++)
    if (!(i & 2)) SWAP(x, i, 2, LOW_2, HIGH_2);
#pragma clang loop unroll(full)
  for (int i = 0; i < LANES; i++)
    if (!(i & 1)) SWAP(x, i, 1, LOW_1, HIGH_1);
}

// factor * b for `depth` rows and up to 48 columns, as rows of 48; b's rows or its columns are contiguous.
INLINE void lay_out_right(const float *b, size_t b_row, size_t b_column, size_t depth, size_t columns, float factor,
                          float *panel) {
  const vf scale = splat(factor);
  for (size_t v = 0; v < PANEL_VECTORS; v++) {
    const size_t first = v * LANES, n = first >= columns ? 0 : lanes_at(first, columns);
    if (b_column == 1) {
      for (size_t k = 0; k < depth; k++)
        store(panel + k * PANEL_COLUMNS + first, scale * load_part(b + k * b_row + first, n));
      continue;
    }
    for (size_t k = 0; k < depth; k += LANES) {
      const size_t count = lanes_at(k, depth);
      vf x[LANES];
      for (size_t j = 0; j < LANES; j++) x[j] = j < n ? scale * load_part(b + (first + j) * b_column + k, count) : splat(0);
      transpose(x);
      for (size_t i = 0; i < count; i++) store(panel + (k + i) * PANEL_COLUMNS + first, x[i]);
    }
  }
}

// sums += left right, for one panel of rows and `vectors` * 16 columns; element k of a row of `left` is `stride` floats behind the one
// before. As many rows at a time as FLOAT_SUMS vectors hold.
INLINE void add_float_products(const float *const left[PANEL_ROWS], size_t stride, size_t depth, const float *right,
                               float sums[PANEL_ROWS][PANEL_COLUMNS], const size_t vectors) {
  const size_t most = FLOAT_SUMS / vectors, rows = most >= 8 ? 8 : most >= 4 ? 4 : 2;
  for (size_t row = 0; row < PANEL_ROWS; row += rows) {
    vf s[PANEL_ROWS][PANEL_VECTORS];
    const float *x[PANEL_ROWS];
#pragma clang loop unroll(full)
    for (size_t r = 0; r < rows; r++) {
      x[r] = left[row + r];
#pragma clang loop unroll(full)
      for (size_t v = 0; v < vectors; v++) s[r][v] = load(sums[row + r] + v * LANES);
    }
    for (size_t k = 0; k < depth; k++) {
      vf a[PANEL_ROWS];
#pragma clang loop unroll(full)
      for (size_t r = 0; r < rows; r++) a[r] = splat(x[r][k * stride]);
#pragma clang loop unroll(full)
      for (size_t v = 0; v < vectors; v++) {
        vf b = load(right + k * PANEL_COLUMNS + v * LANES);
#pragma clang loop unroll(full)
        for (size_t r = 0; r < rows; r++) s[r][v] = fma_(a[r], b, s[r][v]);
      }
    }
#pragma clang loop unroll(full)
    for (size_t r = 0; r < rows; r++)
#pragma clang loop unroll(full)
      for (size_t v = 0; v < vectors; v++) store(sums[row + r] + v * LANES, s[r][v]);
  }
}

static void float_product(const float *a, size_t a_row, size_t a_column, const float *b, size_t b_row, size_t b_column,
                          size_t rows, size_t depth, size_t columns, float factor, bool add, float *out, size_t ld) {
  float panels[FLOAT_DEPTH * FLOAT_COLUMNS] __attribute__((aligned(64)));
  for (size_t first = 0; first < columns; first += FLOAT_COLUMNS) {
    const size_t end = columns - first < FLOAT_COLUMNS ? columns : first + FLOAT_COLUMNS;
    size_t start = 0;
    do {
      const size_t count = depth - start < FLOAT_DEPTH ? depth - start : FLOAT_DEPTH;
      const bool adds = add || start > 0;
      for (size_t j = first; j < end; j += PANEL_COLUMNS)
        lay_out_right(b + start * b_row + j * b_column, b_row, b_column, count,
                      end - j < PANEL_COLUMNS ? end - j : PANEL_COLUMNS, factor, panels + (j - first) * FLOAT_DEPTH);
      for (size_t i = 0; i < rows; i += PANEL_ROWS) {
        const size_t present = rows - i < PANEL_ROWS ? rows - i : PANEL_ROWS;
        const float *left[PANEL_ROWS];
        // Rows that are not there are another's, and go nowhere.
        for (size_t r = 0; r < PANEL_ROWS; r++)
          left[r] = a + (i + (r < present ? r : 0)) * a_row + start * a_column;
        for (size_t j = first; j < end; j += PANEL_COLUMNS) {
          float sums[PANEL_ROWS][PANEL_COLUMNS] __attribute__((aligned(64)));
          const size_t own = end - j < PANEL_COLUMNS ? end - j : PANEL_COLUMNS;
          for (size_t r = 0; r < PANEL_ROWS; r++)
            for (size_t c = 0; c < own; c += LANES)
              store(sums[r] + c, adds && r < present ? load_part(out + (i + r) * ld + j + c, lanes_at(c, own))
                                                                : splat(0));
          const float *right = panels + (j - first) * FLOAT_DEPTH;
          if (own > 2 * LANES) {
            add_float_products(left, a_column, count, right, sums, 3);
          } else if (own > LANES) {
            add_float_products(left, a_column, count, right, sums, 2);
          } else {
            add_float_products(left, a_column, count, right, sums, 1);
          }
          for (size_t r = 0; r < present; r++)
            for (size_t c = 0; c < own; c += LANES)
              store_part(out + (i + r) * ld + j + c, load(sums[r] + c), lanes_at(c, own));
        }
      }
      start += count;
    } while (start < depth);
  }
}

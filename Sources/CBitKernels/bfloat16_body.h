// Products of operands rounded to bfloat16 (nearest, ties to even) and summed in float32 (layouts in bit_kernels.h).
//
// A sum takes the pairs of its operands in order, and the odd element of a pair before the even one, each product exact
// and each addition rounded: what AVX-512's vdpbf16ps does. So every instruction set gives the same bits, but for
// products and sums below the smallest normal number, which that instruction takes as zero.

enum { BLOCK_ROWS = 64, BLOCK_PAIRS = BK_BLOCK_PAIRS };

// ---- rounding ----

// The rounded value in the upper half of each lane, rubbish in the lower one. Numbers below the smallest normal one
// become zero, NaN stays NaN.
INLINE vu round_upper(vf x) {
  vu bits = (vu)x, magnitude = bits & 0x7FFFFFFFu;
  vu rounded = bits + (0x7FFFu + ((bits >> 16) & 1u));
  vu nan = bits | 0x400000u;
  rounded = (vu)pick((vi)(magnitude > 0x7F800000u), (vf)nan, (vf)rounded);
  return rounded & (vu)(magnitude >= 0x00800000u);
}

// One word a lane: `low` in the lower half, `high` in the upper one.
INLINE vu pair_up(vu low, vu high) { return (low >> 16) | (high & 0xFFFF0000u); }

#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31

// Up to 8 rows of x as pairs of columns: target[k * stride + r], zero in rows that are not there.
INLINE void pair_rows(const float *x, size_t present, size_t columns, size_t ld, uint32_t *target, size_t stride) {
  size_t pairs = (columns + 1) / 2;
  for (size_t c = 0; c < columns; c += LANES) {
    size_t n = lanes_at(c, columns);
    vu two[4];  // of two rows: 8 pairs of the first, 8 of the second
    for (size_t r = 0; r < 8; r += 2) {
      vu first = r < present ? round_upper(load_part(x + r * ld + c, n)) : (vu){0};
      vu second = r + 1 < present ? round_upper(load_part(x + (r + 1) * ld + c, n)) : (vu){0};
      two[r / 2] = pair_up(__builtin_shufflevector(first, second, EVEN), __builtin_shufflevector(first, second, ODD));
    }
    // Transposed: pairs 0 to 3 and 4 to 7 of four rows, then two pairs of eight rows.
    vu upper[2], lower[2];
    for (int h = 0; h < 2; h++) {
      vu a = two[2 * h], b = two[2 * h + 1];
      upper[h] = __builtin_shufflevector(a, b, 0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
      lower[h] = __builtin_shufflevector(a, b, 4, 12, 20, 28, 5, 13, 21, 29, 6, 14, 22, 30, 7, 15, 23, 31);
    }
    vu done[4] = {
        __builtin_shufflevector(upper[0], upper[1], 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
        __builtin_shufflevector(upper[0], upper[1], 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31),
        __builtin_shufflevector(lower[0], lower[1], 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
        __builtin_shufflevector(lower[0], lower[1], 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31),
    };
    for (size_t k = 0; k < 8 && c / 2 + k < pairs; k++)
      memcpy(target + (c / 2 + k) * stride, (const uint32_t *)done + 8 * k, 32);
  }
}

// The rows of a left operand.
static void bfloat16_rows(const float *x, size_t rows, size_t columns, size_t ld, uint32_t *panels) {
  size_t pairs = (columns + 1) / 2;
  for (size_t i = 0; i < rows; i += PANEL_ROWS)
    pair_rows(x + i * ld, rows - i < PANEL_ROWS ? rows - i : PANEL_ROWS, columns, ld, panels + i * pairs, PANEL_ROWS);
}

// The columns of x as rows of a left operand; columns from `first` (a multiple of 8) to `last`.
static void bfloat16_columns(const float *x, size_t rows, size_t ld, size_t first, size_t last, uint32_t *panels) {
  size_t pairs = (rows + 1) / 2;
  for (size_t i = 0; i < rows; i += 2)
    for (size_t c = first; c < last; c += LANES) {
      size_t n = lanes_at(c, last);
      vu even = round_upper(load_part(x + i * ld + c, n));
      vu odd = i + 1 < rows ? round_upper(load_part(x + (i + 1) * ld + c, n)) : (vu){0};
      vu words = pair_up(even, odd);
      uint32_t *target = panels + (c / PANEL_ROWS * pairs + i / 2) * PANEL_ROWS;
      memcpy(target, &words, 32);
      if (c + PANEL_ROWS < last) memcpy(target + pairs * PANEL_ROWS, (const uint32_t *)&words + PANEL_ROWS, 32);
    }
}

// The rows of a right operand.
static void bfloat16_right(const float *w, size_t rows, size_t columns, size_t ld, uint32_t *packed) {
  size_t pairs = (columns + 1) / 2;
  for (size_t i = 0; i < rows; i += PANEL_COLUMNS)
    for (size_t r = i; r < i + PANEL_COLUMNS; r += 8) {
      size_t present = r >= rows ? 0 : rows - r < 8 ? rows - r : 8;
      pair_rows(w + r * ld, present, columns, ld, packed + i * pairs + r % PANEL_COLUMNS, PANEL_COLUMNS);
    }
}

// The columns of x from `first` (up to 48 of them, below `last`) as one panel of a right operand, summed over the rows.
static void bfloat16_right_columns(const float *x, size_t rows, size_t ld, size_t first, size_t last, uint32_t *packed) {
  for (size_t i = 0; i < rows; i += 2)
    for (size_t v = 0; v < PANEL_VECTORS; v++) {
      size_t c = first + v * LANES, n = c >= last ? 0 : lanes_at(c, last);
      vu even = round_upper(load_part(x + i * ld + c, n));
      vu odd = i + 1 < rows ? round_upper(load_part(x + (i + 1) * ld + c, n)) : (vu){0};
      vu words = pair_up(even, odd);
      memcpy(packed + i / 2 * PANEL_COLUMNS + v * LANES, &words, sizeof words);
    }
}

// The 48 columns from `first` of a bit matrix as +-1.
static void bfloat16_signs(const uint64_t *bits, size_t rows, size_t words, size_t first, uint32_t *expanded) {
  for (size_t k = 0; k * 2 < rows; k++)
    for (size_t v = 0; v < PANEL_VECTORS; v++) {
      size_t column = first + v * LANES, word = column / 64;
      uint16_t even = 0, odd = 0;
      if (word < words) {
        even = (uint16_t)(bits[k * 2 * words + word] >> (column % 64));
        if (k * 2 + 1 < rows) odd = (uint16_t)(bits[(k * 2 + 1) * words + word] >> (column % 64));
      }
      // 0x3F80 is 1, and 0xBF80 is -1.
      vi minus = (~mask_lanes(even) & 0x8000) | (~mask_lanes(odd) & (int32_t)0x80000000);
      vi pair = minus | 0x3F803F80;
      memcpy(expanded + k * PANEL_COLUMNS + v * LANES, &pair, sizeof pair);
    }
}

// ---- products ----

#include BFLOAT16_SUMS

static void bfloat16_product(const uint32_t *panels, size_t rows, size_t depth, const uint32_t *right, float factor,
                             bool add, size_t columns, float *out, size_t ld) {
  size_t pairs = (depth + 1) / 2;
  for (size_t i = 0; i < rows; i += PANEL_ROWS) {
    float sums[PANEL_ROWS][PANEL_COLUMNS] __attribute__((aligned(64)));
    sum_pairs(panels + i * pairs, pairs, right, sums);
    size_t present = rows - i < PANEL_ROWS ? rows - i : PANEL_ROWS;
    for (size_t r = 0; r < present; r++)
      for (size_t c = 0; c < columns; c += LANES) {
        size_t n = lanes_at(c, columns);
        float *target = out + (i + r) * ld + c;
        vf v = factor * load(sums[r] + c);
        if (add) v += load_part(target, n);
        store_part(target, v, n);
      }
  }
}

static void bfloat16_linear(const float *x, size_t rows, size_t depth, size_t ld, const uint32_t *packed,
                            size_t outputs, const float *bias, float *out, size_t ld_out) {
  size_t pairs = (depth + 1) / 2;
  uint32_t left[BLOCK_ROWS * BLOCK_PAIRS] __attribute__((aligned(64)));
  for (size_t i = 0; i < rows; i += BLOCK_ROWS) {
    size_t present = rows - i < BLOCK_ROWS ? rows - i : BLOCK_ROWS;
    for (size_t start = 0; start < pairs; start += BLOCK_PAIRS) {
      size_t count = pairs - start < BLOCK_PAIRS ? pairs - start : BLOCK_PAIRS;
      size_t block_columns = depth - 2 * start < 2 * count ? depth - 2 * start : 2 * count;
      bfloat16_rows(x + i * ld + 2 * start, present, block_columns, ld, left);
      for (size_t j = 0; j < outputs; j += PANEL_COLUMNS) {
        size_t columns = outputs - j < PANEL_COLUMNS ? outputs - j : PANEL_COLUMNS;
        const uint32_t *right = packed + j * pairs + start * PANEL_COLUMNS;
        for (size_t r = 0; r < present; r += PANEL_ROWS) {
          float sums[PANEL_ROWS][PANEL_COLUMNS] __attribute__((aligned(64)));
          sum_pairs(left + r * count, count, right, sums);
          size_t valid = present - r < PANEL_ROWS ? present - r : PANEL_ROWS;
          for (size_t q = 0; q < valid; q++)
            for (size_t c = 0; c < columns; c += LANES) {
              size_t n = lanes_at(c, columns);
              float *target = out + (i + r + q) * ld_out + j + c;
              vf v = load(sums[q] + c);
              if (start > 0) {
                v += load_part(target, n);
              } else if (bias != NULL) {
                v += load_part(bias + j + c, n);
              }
              store_part(target, v, n);
            }
        }
      }
    }
  }
}

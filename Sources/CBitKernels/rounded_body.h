// Backward products whose left operand is rounded to 8 bits at random and whose right operand is +-1, 0/1 or a few
// bits (layouts in bit_kernels.h). Sums of integers are exact, so every instruction set gives the same bits.

enum { PANEL_ROWS = BK_PANEL_ROWS, PANEL_COLUMNS = BK_PANEL_COLUMNS, PANEL_VECTORS = PANEL_COLUMNS / LANES };

// ---- rounding ----

// The larger of two magnitudes by their bits, whose order is that of the numbers; NaN is above all of them.
INLINE vf larger_magnitude(vf a, vf b) { return pick((vi)a > (vi)b, a, b); }

INLINE float largest_magnitude(vf v) {
  int32_t a[LANES], top = 0;
  memcpy(a, &v, sizeof a);
  for (int i = 0; i < LANES; i++) top = a[i] > top ? a[i] : top;
  return __builtin_bit_cast(float, top);
}

// The largest |x| of each row. Where one is not finite, so is the largest, and with it what is scaled by it.
static void row_maxima(const float *x, size_t rows, size_t columns, size_t ld, float *maxima) {
  for (size_t i = 0; i < rows; i++) {
    vf top = splat(0);
    for (size_t j = 0; j < columns; j += LANES) {
      vf v = absolute(load_part(x + i * ld + j, lanes_at(j, columns)));
      top = larger_magnitude(v, top);
    }
    maxima[i] = largest_magnitude(top);
  }
}

static void column_maxima_and_sums(const float *x, size_t rows, size_t ld, size_t first, size_t last, float *maxima,
                                   float *sums) {
  for (size_t j = first; j < last; j += LANES) {
    size_t n = lanes_at(j, last);
    vf top = splat(0), s = load_part(sums + j, n);
    for (size_t start = 0; start < rows; start += 64) {
      size_t end = start + 64 < rows ? start + 64 : rows;
      vf block = splat(0);
      for (size_t i = start; i < end; i++) {
        vf v = load_part(x + i * ld + j, n), a = absolute(v);
        block += v;
        top = larger_magnitude(a, top);
      }
      s += block;
    }
    store_part(maxima + j, top, n);
    store_part(sums + j, s, n);
  }
}

// floor(x + noise) for |x| <= 127: shifted to where conversion truncates downwards.
INLINE vi round_at_random(vf x, vf noise) { return __builtin_convertvector((x + 128.0f) + noise, vi) - 128; }

// The vector v (of 16) of random bytes in a draw, as numbers (byte + 1/2) / 256.
INLINE vf byte_noise(const vu draw[4], size_t v) {
  vi byte = (vi)((draw[v / 4] >> (uint32_t)(8 * (v % 4))) & 255u);
  return fma_(__builtin_convertvector(byte, vf), splat(0x1p-8f), splat(0x1p-9f));
}

INLINE float reciprocal_scale(float maximum) { return maximum > 0 ? 127.0f / maximum : 0.0f; }

// Four bytes of each lane's rows, the first lowest.
INLINE vi combine_bytes(vi a, vi b, vi c, vi d) {
  return (vi)(((vu)a & 255u) | (((vu)b & 255u) << 8) | (((vu)c & 255u) << 16) | ((vu)d << 24));
}

static void round_panels(const float *x, size_t rows, size_t columns, size_t ld, size_t first, size_t last,
                         const uint32_t key[2], const uint32_t counter[3], const float *row_max,
                         const float *column_max, int8_t *by_rows, int8_t *by_columns) {
  typedef int8_t bytes16 __attribute__((vector_size(16)));
  size_t row_groups = (columns + 3) / 4, column_groups = (rows + 3) / 4, draws = (columns + 255) / 256;
  for (size_t i = first; i < last; i += 4) {
    size_t present = rows - i < 4 ? rows - i : 4;
    float inverse[4] = {0};
    for (size_t r = 0; r < present; r++) inverse[r] = reciprocal_scale(row_max[i + r]);
    for (size_t j = 0; j < columns; j += 256) {
      vu draw[4][4];
      for (size_t r = 0; r < 4; r++)
        philox(key[0], key[1], (uint32_t)(((i + r) * draws + j / 256) * 16), counter[0], counter[1], counter[2],
               draw[r]);
      for (size_t v = 0; v < 16 && j + v * LANES < columns; v++) {
        size_t c = j + v * LANES, n = lanes_at(c, columns);
        vf top = load_part(column_max + c, n);
        vf column_inverse = pick(top > 0.0f, 127.0f / top, splat(0));
        vi by_column[4];
        for (size_t r = 0; r < 4; r++) {
          vf value = r < present ? load_part(x + (i + r) * ld + c, n) : splat(0);
          vf noise = byte_noise(draw[r], v);
          by_column[r] = round_at_random(value * column_inverse, noise);
          if (r >= present) by_column[r] = (vi){0};
          vi by_row = round_at_random(value * inverse[r], noise);
          if (n < LANES) by_row = by_row & mask_lanes(low_bits(n));
          bytes16 packed = __builtin_convertvector(by_row, bytes16);
          uint32_t words[4];
          memcpy(words, &packed, sizeof words);
          int8_t *target = by_rows + (((i + r) / PANEL_ROWS * row_groups + c / 4) * PANEL_ROWS + (i + r) % PANEL_ROWS) * 4;
          for (size_t g = 0; g < 4 && c / 4 + g < row_groups; g++)
            memcpy(target + g * PANEL_ROWS * 4, words + g, 4);
        }
        vi bytes = combine_bytes(by_column[0], by_column[1], by_column[2], by_column[3]);
        if (n < LANES) bytes = bytes & mask_lanes(low_bits(n));
        int8_t *target = by_columns + (c / PANEL_ROWS * column_groups + i / 4) * PANEL_ROWS * 4;
        memcpy(target, &bytes, 32);
        if (c + PANEL_ROWS < columns) memcpy(target + column_groups * PANEL_ROWS * 4, (const int8_t *)&bytes + 32, 32);
      }
    }
  }
}

// The sum of each row of a panel.
static void panel_sums(const int8_t *panel, size_t groups, int32_t sums[PANEL_ROWS]) {
  typedef int32_t vi8 __attribute__((vector_size(32), aligned(4)));
  vi8 total = {0};
  for (size_t k = 0; k < groups; k++) {
    vi8 four = *(const vi8 *)(panel + k * PANEL_ROWS * 4);
    total += (four << 24 >> 24) + (four << 16 >> 24) + (four << 8 >> 24) + (four >> 24);
  }
  memcpy(sums, &total, sizeof total);
}

// ---- product ----

// Bits of `rows` rows from column `first` on as bytes 0 or 1: expanded[group][column][4], zero beyond the matrix.
static void expand_bits(const uint64_t *bits, size_t rows, size_t words, size_t first, uint8_t *expanded) {
  for (size_t k = 0; k * 4 < rows; k++)
    for (size_t v = 0; v < PANEL_VECTORS; v++) {
      size_t column = first + v * LANES;
      uint8_t *target = expanded + (k * PANEL_COLUMNS + v * LANES) * 4;
      uint16_t half[4] = {0};
      for (size_t r = 0; r < 4; r++)
        if (k * 4 + r < rows && column / 64 < words)
          half[r] = (uint16_t)(bits[(k * 4 + r) * words + column / 64] >> (column % 64));
      expand_block(half, target);
    }
}

// out[j] = scale * (times * counts[j] + plus), added or written.
INLINE void scale_counts(const int32_t *counts, size_t columns, float scale, int32_t times, int32_t plus, bool add, float *out) {
  for (size_t c = 0; c < columns; c += LANES) {
    size_t n = lanes_at(c, columns);
    vi dot = times * *(const vi *)(counts + c) + plus;
    vf v = splat(scale) * __builtin_convertvector(dot, vf);
    if (add) v += load_part(out + c, n);
    store_part(out + c, v, n);
  }
}

static void rounded_product(const int8_t *panels, size_t rows, size_t depth, const uint8_t *expanded,
                            size_t largest, const int32_t *sums, const float *maxima, float factor, int32_t times, int32_t plus, bool add,
                            size_t columns, float *out, size_t ld) {
  size_t groups = (depth + 3) / 4;
  for (size_t i = 0; i < rows; i += PANEL_ROWS) {
    int32_t counts[PANEL_ROWS][PANEL_COLUMNS] __attribute__((aligned(64)));
    count_panel(panels + i * groups * 4, groups, expanded, counts, largest);
    size_t present = rows - i < PANEL_ROWS ? rows - i : PANEL_ROWS;
    for (size_t r = 0; r < present; r++)
      scale_counts(counts[r], columns, maxima[i + r] / 127.0f * factor, times, plus * sums[i + r], add, out + (i + r) * ld);
  }
}

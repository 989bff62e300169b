// Products on packed bits. The counts of a tile, TILE_ROWS rows of A by 16 * TILE_VECTORS rows of B, come from COUNT_TILES;
// what is made of them, from the end of a tile.

// Takes the counts of `rows` rows from row i and of `outputs` outputs from output j (a multiple of 8), in `vectors` vectors.
typedef void tile_end(const void *context, size_t i, size_t j, size_t outputs,
                      vi counts[TILE_ROWS][TILE_VECTORS], const int rows, const int vectors);

#include COUNT_TILES

// Outputs of vector v of a tile.
INLINE size_t lanes_of(size_t outputs, int v) {
  size_t first = (size_t)v * LANES;
  return first < outputs ? lanes_at(first, outputs) : 0;
}

// ---- to floats ----

// columns - 2 popcount = -2 (popcount - columns / 2): the counts start at the whole part of -columns / 2, and `half` is
// what remains.
typedef struct {
  float half, factor;
  const float *bias;
  float *out;
  size_t ld;
} xnor_end_context;

INLINE void xnor_values(const xnor_end_context *c, bool add, size_t i, size_t j, size_t outputs,
                        vi counts[TILE_ROWS][TILE_VECTORS], const int rows, const int vectors) {
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    size_t first = j + (size_t)v * LANES, n = lanes_of(outputs, v);
    if (n == 0) break;
    vf shift = c->bias == NULL ? splat(0) : load_part(c->bias + first, n);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      float *target = c->out + (i + (size_t)r) * c->ld + first;
      vf value = fma_(splat(c->factor), __builtin_convertvector(counts[r][v], vf) - c->half, shift);
      store_part(target, add ? load_part(target, n) + value : value, n);
      // Where tiles go down the result no prefetcher sees where they will write.
      if (TILES_GO_DOWN) __builtin_prefetch(target + (size_t)rows * c->ld, 1);
    }
  }
}

INLINE void xnor_end(const void *context, size_t i, size_t j, size_t outputs, vi counts[TILE_ROWS][TILE_VECTORS],
                     const int rows, const int vectors) {
  xnor_values(context, false, i, j, outputs, counts, rows, vectors);
}

INLINE void xnor_add_end(const void *context, size_t i, size_t j, size_t outputs, vi counts[TILE_ROWS][TILE_VECTORS],
                         const int rows, const int vectors) {
  xnor_values(context, true, i, j, outputs, counts, rows, vectors);
}

INLINE xnor_end_context xnor_context(int32_t columns, float scale, const float *bias, float *out, size_t ld) {
  return (xnor_end_context){columns % 2 == 0 ? 0.0f : 0.5f, -2.0f * scale, bias, out, ld};
}

static void xnor_product(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                         int32_t columns, float scale, const float *bias, float *out, size_t ld) {
  xnor_end_context c = xnor_context(columns, scale, bias, out, ld);
  each_tile(true, a, rows_a, b, rows_b, words, -(columns / 2), xnor_end, &c);
}

static void xnor_add_product(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                             int32_t columns, float scale, const float *bias, float *out, size_t ld) {
  xnor_end_context c = xnor_context(columns, scale, bias, out, ld);
  each_tile(true, a, rows_a, b, rows_b, words, -(columns / 2), xnor_add_end, &c);
}

// popcount(a & b) against b of +-1 is 2 popcount - popcount(a).
typedef struct {
  float scale;
  const int32_t *ones;
  const float *row_bias;
  float *out;
  size_t ld;
} and_end_context;

INLINE vf and_value(float scale, vi count, int32_t ones, float row_bias) {
  return fma_(splat(scale), __builtin_convertvector(2 * count - ones, vf), splat(row_bias));
}

INLINE void and_end(const void *context, size_t i, size_t j, size_t outputs, vi counts[TILE_ROWS][TILE_VECTORS],
                    const int rows, const int vectors) {
  const and_end_context *c = context;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    size_t first = j + (size_t)v * LANES, n = lanes_of(outputs, v);
    if (n == 0) break;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      size_t row = i + (size_t)r;
      vf value = and_value(c->scale, counts[r][v], c->ones[row], c->row_bias == NULL ? 0.0f : c->row_bias[row]);
      store_part(c->out + row * c->ld + first, value, n);
    }
  }
}

INLINE int32_t count_ones(const uint64_t *row, size_t words) {
  int32_t ones = 0;
  for (size_t w = 0; w < words; w++) ones += __builtin_popcountll(row[w]);
  return ones;
}

static void and_product(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                        float scale, const float *row_bias, float *out, size_t ld) {
  enum { PANEL = 16 * TILE_ROWS };
  for (size_t i = 0; i < rows_a; i += PANEL) {
    size_t rows = rows_a - i < PANEL ? rows_a - i : PANEL;
    int32_t ones[PANEL];
    for (size_t r = 0; r < rows; r++) ones[r] = count_ones(a + (i + r) * words, words);
    and_end_context c = {scale, ones, row_bias == NULL ? NULL : row_bias + i, out + i * ld, ld};
    each_tile(false, a + i * words, rows, b, rows_b, words, 0, and_end, &c);
  }
}

// ---- to bits ----

typedef struct {
  const int16_t *low, *high;
  uint64_t *bits;
  size_t ld;
} threshold_end_context;

INLINE void threshold_end(const void *context, size_t i, size_t j, size_t outputs, vi counts[TILE_ROWS][TILE_VECTORS],
                          const int rows, const int vectors) {
  const threshold_end_context *c = context;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    size_t first = j + (size_t)v * LANES, n = lanes_of(outputs, v);
    if (n == 0) break;
    vi low = load_halves(c->low + first, n), high = low;
    if (c->high != NULL) high = load_halves(c->high + first, n);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      vi set = counts[r][v] < low;
      if (c->high != NULL) set |= counts[r][v] >= high;
      uint16_t mask = mask_bits(set) & low_bits(n);
      uint8_t *target = (uint8_t *)(c->bits + (i + (size_t)r) * c->ld) + first / 8;
      if (n > 8) {
        memcpy(target, &mask, sizeof mask);
      } else {
        target[0] = (uint8_t)mask;
      }
    }
  }
}

static void xnor_bits(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                      const int16_t *low, const int16_t *high, uint64_t *bits) {
  threshold_end_context c = {low, high, bits, (rows_b + 63) / 64};
  for (size_t i = 0; i < rows_a && rows_b % 64 != 0; i++) bits[(i + 1) * c.ld - 1] = 0;
  each_tile(true, a, rows_a, b, rows_b, words, 0, threshold_end, &c);
}

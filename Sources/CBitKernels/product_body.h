// Products on packed bits: an accumulator holds the counts of one row of A against 8 rows of B.
// TILE_ROWS x TILE_GROUPS accumulators stay in registers; the file that includes this one chooses them. Tiles go along
// the rows of the result, so that it is written in order; the rows of B that pass by are to fit the second-level cache.

typedef int64_t vl __attribute__((vector_size(64), aligned(8)));

// start + popcount(a_i ^ b_j), or of a_i & b_j, over all words in counts[i][group].
INLINE void count_tile(bool exclusive, const uint64_t *a, const uint64_t *b, size_t words, int64_t start, const int rows,
                       const int groups, vl counts[TILE_ROWS][TILE_GROUPS]) {
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int g = 0; g < groups; g++) counts[i][g] = (vl){0} + start;
#pragma clang loop unroll(disable)
  for (size_t w = 0; w < words; w++) {
    vw right[TILE_GROUPS];
#pragma clang loop unroll(full)
    for (int g = 0; g < groups; g++) right[g] = *(const vw *)(b + ((size_t)g * words + w) * 8);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      uint64_t x = a[(size_t)i * words + w];
      vw left = {x, x, x, x, x, x, x, x};
#pragma clang loop unroll(full)
      for (int g = 0; g < groups; g++)
        counts[i][g] += (vl)__builtin_elementwise_popcount(exclusive ? left ^ right[g] : left & right[g]);
    }
  }
}

// The counts of 16 outputs as 32-bit lanes: two neighbouring groups, or one twice.
INLINE vi join_counts(vl low, vl high) {
  return __builtin_shufflevector((vi)low, (vi)high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

// columns - 2 popcount = -2 (popcount - columns / 2): the accumulators start at the whole part of -columns / 2, and
// `half` is what remains.
INLINE void xnor_tile(const uint64_t *a, const uint64_t *b, size_t words, int64_t start, float half, float factor,
                      const float *bias, size_t outputs, float *out, size_t ld, const int rows, const int groups) {
  vl counts[TILE_ROWS][TILE_GROUPS];
  count_tile(true, a, b, words, start, rows, groups, counts);
#pragma clang loop unroll(full)
  for (int g = 0; g < groups; g += 2) {
    size_t first = (size_t)g * 8, n = lanes_at(first, outputs);
    if (groups == 1 && n > 8) n = 8;
    vf shift = bias == NULL ? splat(0) : load_part(bias + first, n);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      vf count = __builtin_convertvector(join_counts(counts[i][g], counts[i][groups == 1 ? 0 : g + 1]), vf);
      store_part(out + (size_t)i * ld + first, fma_(splat(factor), count - half, shift), n);
    }
  }
}

static void xnor_product(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                         int32_t columns, float scale, const float *bias, float *out, size_t ld) {
  int64_t start = -(columns / 2);
  float half = columns % 2 == 0 ? 0.0f : 0.5f, factor = -2.0f * scale;
  // A tile needs more than 8 outputs in its last pair of groups, or it would read beyond the last group.
  const size_t tile = 8 * TILE_GROUPS;
  for (size_t i = 0; i < rows_a;) {
    size_t rows = rows_a - i < TILE_ROWS ? 1 : TILE_ROWS;
    const uint64_t *left = a + i * words;
    for (size_t j = 0; j < rows_b;) {
      size_t outputs = rows_b - j, groups = outputs + 8 > tile ? TILE_GROUPS : 1;
      const uint64_t *right = b + j * words;
      const float *shift = bias == NULL ? NULL : bias + j;
      float *target = out + i * ld + j;
      if (rows == TILE_ROWS && groups == TILE_GROUPS) {
        xnor_tile(left, right, words, start, half, factor, shift, outputs, target, ld, TILE_ROWS, TILE_GROUPS);
      } else if (rows == TILE_ROWS) {
        xnor_tile(left, right, words, start, half, factor, shift, outputs, target, ld, TILE_ROWS, 1);
      } else if (groups == TILE_GROUPS) {
        xnor_tile(left, right, words, start, half, factor, shift, outputs, target, ld, 1, TILE_GROUPS);
      } else {
        xnor_tile(left, right, words, start, half, factor, shift, outputs, target, ld, 1, 1);
      }
      j += 8 * groups;
    }
    i += rows;
  }
}

INLINE void and_tile(const uint64_t *a, const uint64_t *b, size_t words, float scale, const int32_t *ones,
                     const float *row_bias, size_t outputs, float *out, size_t ld, const int rows, const int groups) {
  vl counts[TILE_ROWS][TILE_GROUPS];
  count_tile(false, a, b, words, 0, rows, groups, counts);
#pragma clang loop unroll(full)
  for (int g = 0; g < groups; g += 2) {
    size_t first = (size_t)g * 8, n = lanes_at(first, outputs);
    if (groups == 1 && n > 8) n = 8;
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      vi dot = 2 * join_counts(counts[i][g], counts[i][groups == 1 ? 0 : g + 1]) - ones[i];
      vf shift = splat(row_bias == NULL ? 0.0f : row_bias[i]);
      store_part(out + (size_t)i * ld + first, fma_(splat(scale), __builtin_convertvector(dot, vf), shift), n);
    }
  }
}

static void and_product(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                        float scale, const float *row_bias, float *out, size_t ld) {
  const size_t tile = 8 * TILE_GROUPS;
  for (size_t i = 0; i < rows_a;) {
    size_t rows = rows_a - i < TILE_ROWS ? 1 : TILE_ROWS;
    const uint64_t *left = a + i * words;
    int32_t ones[TILE_ROWS] = {0};
    for (size_t r = 0; r < rows; r++)
      for (size_t w = 0; w < words; w++) ones[r] += __builtin_popcountll(left[r * words + w]);
    const float *shift = row_bias == NULL ? NULL : row_bias + i;
    for (size_t j = 0; j < rows_b;) {
      size_t outputs = rows_b - j, groups = outputs + 8 > tile ? TILE_GROUPS : 1;
      const uint64_t *right = b + j * words;
      float *target = out + i * ld + j;
      if (rows == TILE_ROWS && groups == TILE_GROUPS) {
        and_tile(left, right, words, scale, ones, shift, outputs, target, ld, TILE_ROWS, TILE_GROUPS);
      } else if (rows == TILE_ROWS) {
        and_tile(left, right, words, scale, ones, shift, outputs, target, ld, TILE_ROWS, 1);
      } else if (groups == TILE_GROUPS) {
        and_tile(left, right, words, scale, ones, shift, outputs, target, ld, 1, TILE_GROUPS);
      } else {
        and_tile(left, right, words, scale, ones, shift, outputs, target, ld, 1, 1);
      }
      j += 8 * groups;
    }
    i += rows;
  }
}

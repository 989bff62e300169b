// Products on packed bits: an accumulator holds the counts of one row of A against 8 rows of B.
// TILE_ROWS x TILE_GROUPS accumulators stay in registers; the file that includes this one chooses them.

// Adds popcount(a_i ^ b_j), or of a_i & b_j, over all words to counts[i][group].
INLINE void count_tile(bool exclusive, const uint64_t *a, const uint64_t *b, size_t words, const int rows,
                       const int groups, vw counts[TILE_ROWS][TILE_GROUPS]) {
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int g = 0; g < groups; g++) counts[i][g] = (vw){0};
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
        counts[i][g] += __builtin_elementwise_popcount(exclusive ? left ^ right[g] : left & right[g]);
    }
  }
}

typedef float vf8 __attribute__((vector_size(32), aligned(4)));
typedef int64_t vl __attribute__((vector_size(64), aligned(8)));

INLINE void store_outputs(vf8 v, float *out, size_t count) {
  if (count >= 8) {
    *(vf8 *)out = v;
  } else {
    memcpy(out, &v, count * sizeof(float));
  }
}

INLINE void xnor_tile(const uint64_t *a, const uint64_t *b, size_t words, int32_t columns, float scale,
                      const float *bias, size_t outputs, float *out, size_t ld, const int rows, const int groups) {
  vw counts[TILE_ROWS][TILE_GROUPS];
  count_tile(true, a, b, words, rows, groups, counts);
#pragma clang loop unroll(full)
  for (int g = 0; g < groups; g++) {
    size_t first = (size_t)g * 8, count = outputs - first < 8 ? outputs - first : 8;
    vf8 shift = {0};
    if (bias != NULL) memcpy(&shift, bias + first, count * sizeof(float));
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      vl dot = (int64_t)columns - 2 * (vl)counts[i][g];
      store_outputs(scale * __builtin_convertvector(dot, vf8) + shift, out + (size_t)i * ld + first, count);
    }
  }
}

static void xnor_product(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                         int32_t columns, float scale, const float *bias, float *out, size_t ld) {
  size_t j = 0;
  for (; j < rows_b; j += 8 * TILE_GROUPS) {
    size_t outputs = rows_b - j;
    bool full = outputs > 8 * (TILE_GROUPS - 1);
    const uint64_t *panel = b + j * words;
    const float *shift = bias == NULL ? NULL : bias + j;
    size_t i = 0;
    if (full) {
      for (; i + TILE_ROWS <= rows_a; i += TILE_ROWS)
        xnor_tile(a + i * words, panel, words, columns, scale, shift, outputs, out + i * ld + j, ld, TILE_ROWS,
                  TILE_GROUPS);
      for (; i < rows_a; i++)
        xnor_tile(a + i * words, panel, words, columns, scale, shift, outputs, out + i * ld + j, ld, 1, TILE_GROUPS);
    } else {
      for (size_t g = 0; g * 8 < outputs; g++) {
        const float *group_shift = shift == NULL ? NULL : shift + g * 8;
        size_t left = outputs - g * 8;
        for (i = 0; i + TILE_ROWS <= rows_a; i += TILE_ROWS)
          xnor_tile(a + i * words, panel + g * 8 * words, words, columns, scale, group_shift, left,
                    out + i * ld + j + g * 8, ld, TILE_ROWS, 1);
        for (; i < rows_a; i++)
          xnor_tile(a + i * words, panel + g * 8 * words, words, columns, scale, group_shift, left,
                    out + i * ld + j + g * 8, ld, 1, 1);
      }
    }
  }
}

INLINE void and_tile(const uint64_t *a, const uint64_t *b, size_t words, float scale, const int64_t *ones,
                     const float *row_bias, size_t outputs, float *out, size_t ld, const int rows) {
  vw counts[TILE_ROWS][TILE_GROUPS];
  count_tile(false, a, b, words, rows, 1, counts);
  size_t count = outputs < 8 ? outputs : 8;
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
    vl dot = 2 * (vl)counts[i][0] - ones[i];
    float shift = row_bias == NULL ? 0.0f : row_bias[i];
    store_outputs(scale * __builtin_convertvector(dot, vf8) + shift, out + (size_t)i * ld, count);
  }
}

static void and_product(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                        float scale, const float *row_bias, float *out, size_t ld) {
  for (size_t i = 0; i < rows_a; i += TILE_ROWS) {
    size_t rows = rows_a - i < TILE_ROWS ? rows_a - i : TILE_ROWS;
    int64_t ones[TILE_ROWS] = {0};
    for (size_t r = 0; r < rows; r++)
      for (size_t w = 0; w < words; w++) ones[r] += __builtin_popcountll(a[(i + r) * words + w]);
    const float *shift = row_bias == NULL ? NULL : row_bias + i;
    for (size_t j = 0; j < rows_b; j += 8) {
      const uint64_t *panel = b + j * words;
      float *corner = out + i * ld + j;
      if (rows == TILE_ROWS) {
        and_tile(a + i * words, panel, words, scale, ones, shift, rows_b - j, corner, ld, TILE_ROWS);
      } else {
        for (size_t r = 0; r < rows; r++)
          and_tile(a + (i + r) * words, panel, words, scale, ones + r, shift == NULL ? NULL : shift + r, rows_b - j,
                   corner + r * ld, ld, 1);
      }
    }
  }
}

// Products against loops that add one product after the other.
#include <math.h>

#include "compare.h"

#pragma clang fp contract(off)

// ---- bits ----

// Rows so long that counts do not fit a byte any more, among them rows that differ everywhere and in one place.
static void long_rows(const bk_kernels *t, size_t k) {
  enum { ROWS = 7, OUTPUTS = 27 };
  size_t words = (k + 63) / 64;
  uint64_t *a = bits(ROWS, k), *b = bits(OUTPUTS, k), *groups = memory((OUTPUTS + 7) / 8 * 8 * words * 8);
  float *out = memory(ROWS * OUTPUTS * 4);
  for (size_t j = 0; j < k; j++) {
    uint64_t one = 1ull << (j % 64);
    a[j / 64] |= one, b[words + j / 64] |= one;
    a[words + j / 64] &= ~one, b[j / 64] &= ~one;
    a[2 * words + j / 64] &= ~one, b[2 * words + j / 64] &= ~one;
  }
  a[2 * words + (k - 1) / 64] |= 1ull << ((k - 1) % 64);
  bk_interleave(b, OUTPUTS, words, groups);
  for (int and = 0; and < 2; and++) {
    if (and) {
      t->and_product(a, ROWS, groups, OUTPUTS, words, 1.0f, NULL, out, OUTPUTS);
    } else {
      t->xnor_product(a, ROWS, groups, OUTPUTS, words, (int32_t)k, 1.0f, NULL, out, OUTPUTS);
    }
    for (size_t i = 0; i < ROWS; i++)
      for (size_t j = 0; j < OUTPUTS; j++) {
        int sum = 0;
        for (size_t w = 0; w < words; w++) {
          uint64_t x = a[i * words + w], y = b[j * words + w];
          sum += and ? __builtin_popcountll(x & y) - __builtin_popcountll(x & ~y) : -2 * __builtin_popcountll(x ^ y);
        }
        if (out[i * OUTPUTS + j] != (float)(and ? sum : (int)k + sum)) fail("long rows", t->name, i, k, j);
      }
  }
  free(a), free(b), free(groups), free(out);
}

// ---- bytes ----

// Rows of 127, of -127, of both in turns, and of one number that is not 0, against columns of the largest number, of 0, and of one
// number; the others are random.
static void byte_products(const bk_kernels *t, size_t m, size_t depth, int largest) {
  size_t groups = (depth + 3) / 4, rows = (m + 7) / 8 * 8;
  int8_t *panels = memory(rows * groups * 4);
  uint8_t *expanded = memory(groups * 48 * 4);
  int32_t *sums = memory(rows * 4);
  float *maxima = memory(m * 4), *out = memory(m * 48 * 4);
  for (size_t i = 0; i < m; i++) {
    maxima[i] = 127.0f;
    for (size_t k = 0; k < depth; k++) {
      const int32_t kinds[] = {127, -127, k % 2 == 0 ? 127 : -127, k + 1 == depth ? -127 : 0, (int32_t)(draw() % 255) - 127};
      panels[((i / 8 * groups + k / 4) * 8 + i % 8) * 4 + k % 4] = (int8_t)kinds[i % 5];
    }
  }
  for (size_t j = 0; j < 48; j++)
    for (size_t k = 0; k < depth; k++) {
      const int32_t kinds[] = {largest, 0, k + 1 == depth ? largest : 0, (int32_t)draw() % (largest + 1)};
      expanded[(k / 4 * 48 + j) * 4 + k % 4] = (uint8_t)kinds[j % 4 == 3 ? 3 : j / 4 % 4];
    }
  for (size_t i = 0; i < rows; i += 8) t->panel_sums(panels + i * groups * 4, groups, sums + i);
  t->rounded_product(panels, m, depth, expanded, (size_t)largest, sums, maxima, 1.0f, 2, -1, false, 48, out, 48);
  record("rounded_product", out, m * 48 * 4);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < 48; j++) {
      int32_t own = 0, dot = 0;
      for (size_t k = 0; k < depth; k++) {
        int32_t q = panels[((i / 8 * groups + k / 4) * 8 + i % 8) * 4 + k % 4];
        own += q, dot += q * expanded[(k / 4 * 48 + j) * 4 + k % 4];
      }
      if (own != sums[i]) fail("panel_sums", t->name, i, depth, 0);
      if (out[i * 48 + j] != (float)(2 * dot - own)) fail("products of bytes", t->name, i, depth, j);
    }
  free(panels), free(expanded), free(sums), free(maxima), free(out);
}

// ---- bfloat16 ----

static float to_bfloat16(float x) {
  uint32_t word;
  memcpy(&word, &x, 4);
  if ((word & 0x7FFFFFFF) < 0x00800000) return 0;
  word = (word + 0x7FFF + (word >> 16 & 1)) & 0xFFFF0000;
  memcpy(&x, &word, 4);
  return x;
}

// The pairs from `start` on, as many as `count`, of rows of `depth` numbers: the odd element of each first.
static float sum_pairs(const float *x, const float *w, size_t depth, size_t start, size_t count) {
  float sum = 0;
  for (size_t k = 2 * start; k < depth && k < 2 * (start + count); k += 2) {
    if (k + 1 < depth) sum = fmaf(to_bfloat16(x[k + 1]), to_bfloat16(w[k + 1]), sum);
    sum = fmaf(to_bfloat16(x[k]), to_bfloat16(w[k]), sum);
  }
  return sum;
}

static void bfloat16_products(const bk_kernels *t, size_t m, size_t k, size_t n) {
  size_t pairs = (k + 1) / 2, left_words = (m + 7) / 8 * 8 * pairs, right_words = (n + 47) / 48 * 48 * pairs;
  float *x = floats(m * k), *w = floats(n * k), *bias = floats(n), *out = floats(m * n), *before = memory(m * n * 4);
  float *x_turned = memory(m * k * 4), *w_turned = memory(n * k * 4);
  uint32_t *left = memory(left_words * 4), *right = memory(right_words * 4);
  uint32_t *left_columns = memory(left_words * 4), *right_columns = memory(right_words * 4);
  for (size_t i = 0; i < m; i++)
    for (size_t c = 0; c < k; c++) x_turned[c * m + i] = x[i * k + c];
  for (size_t j = 0; j < n; j++)
    for (size_t c = 0; c < k; c++) w_turned[c * n + j] = w[j * k + c];
  t->bfloat16_rows(x, m, k, k, left);
  t->bfloat16_right(w, n, k, k, right);
  t->bfloat16_columns(x_turned, k, m, 0, m, left_columns);
  for (size_t j = 0; j < n; j += 48)
    t->bfloat16_right_columns(w_turned, k, n, j, j + 48 < n ? j + 48 : n, right_columns + j * pairs);
  record("bfloat16_rows", left, left_words * 4);
  record("bfloat16_right", right, right_words * 4);
  if (memcmp(left, left_columns, left_words * 4) != 0) fail("bfloat16_columns", t->name, m, k, n);
  if (memcmp(right, right_columns, right_words * 4) != 0) fail("bfloat16_right_columns", t->name, m, k, n);
  for (int add = 0; add < 2; add++) {
    memcpy(before, out, m * n * 4);
    for (size_t j = 0; j < n; j += 48)
      t->bfloat16_product(left, m, k, right + j * pairs, 0.3f, add, n - j < 48 ? n - j : 48, out + j, n);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        float sum = 0.3f * sum_pairs(x + i * k, w + j * k, k, 0, pairs);
        if (add) sum += before[i * n + j];
        if (out[i * n + j] != sum) fail("bfloat16_product", t->name, m, k, n);
      }
  }
  t->bfloat16_linear(x, m, k, k, right, n, bias, out, n);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      float sum = bias[j];
      for (size_t start = 0; start < pairs; start += BK_BLOCK_PAIRS) sum += sum_pairs(x + i * k, w + j * k, k, start, BK_BLOCK_PAIRS);
      if (out[i * n + j] != sum) fail("bfloat16_linear", t->name, m, k, n);
    }
  free(x), free(w), free(bias), free(out), free(before), free(x_turned), free(w_turned), free(left), free(right);
  free(left_columns), free(right_columns);
}

// ---- float32 ----

// Each operand by rows and by columns.
static void float_products(const bk_kernels *t, size_t m, size_t k, size_t n) {
  float *a = floats(m * k), *b = floats(k * n), *out = floats(m * n), *before = memory(m * n * 4);
  for (int kind = 0; kind < 8; kind++) {
    size_t a_row = kind & 1 ? k : 1, a_column = kind & 1 ? 1 : m, b_row = kind & 2 ? n : 1, b_column = kind & 2 ? 1 : k;
    bool add = kind & 4;
    memcpy(before, out, m * n * 4);
    t->float_product(a, a_row, a_column, b, b_row, b_column, m, k, n, 0.7f, add, out, n);
    record("float_product", out, m * n * 4);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        float sum = add ? before[i * n + j] : 0;
        for (size_t c = 0; c < k; c++) sum = fmaf(a[i * a_row + c * a_column], 0.7f * b[c * b_row + j * b_column], sum);
        if (out[i * n + j] != sum) fail("float_product", t->name, m, k, n);
      }
  }
  free(a), free(b), free(out), free(before);
}

static void linear_products(const bk_kernels *t, size_t m, size_t k, size_t n) {
  float *x = floats(m * k), *w = floats(n * k), *bias = floats(n), *out = floats(m * n), *before = memory(m * n * 4);
  t->linear(x, m, k, k, w, n, bias, out, n);
  record("linear", out, m * n * 4);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      float lanes[16] = {0};
      for (size_t c = 0; c < k; c++) lanes[c % 16] = fmaf(x[i * k + c], w[j * k + c], lanes[c % 16]);
      for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
      if (out[i * n + j] != lanes[0] + bias[j]) fail("linear", t->name, m, k, n);
    }
  for (int add = 0; add < 2; add++) {
    memcpy(before, out, m * n * 4);
    t->transposed_product(x, m, w, n, k, m, n, add, out, n);
    record("transposed_product", out, m * n * 4);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        float sum = 0;
        for (size_t c = 0; c < k; c++) sum = fmaf(x[c * m + i], w[c * n + j], sum);
        if (add) sum += before[i * n + j];
        if (out[i * n + j] != sum) fail("transposed_product", t->name, m, k, n);
      }
  }
  free(x), free(w), free(bias), free(out), free(before);
}

void compare_products(const bk_kernels *t) {
  static const size_t columns[] = {1983, 1984, 1985, 3968, 3969, 6399};
  for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) long_rows(t, columns[i]);
  static const size_t depths[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 67, 69, 136, 1031, 1033, 2100};
  static const int largest[] = {1, 3, 15, 127};
  for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
    for (size_t l = 0; l < 4; l++) byte_products(t, 1 + (i * 5 + l * 3) % 19, depths[i], largest[l]);
  static const size_t sizes[] = {1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 47, 48, 49, 64, 97, 130};
  enum { SIZES = sizeof sizes / sizeof *sizes };
  for (size_t i = 0; i < SIZES; i++)
    for (size_t j = 0; j < 4; j++) {
      size_t m = sizes[(i + 3 * j) % 9], k = sizes[(5 * i + j) % SIZES], n = sizes[(3 * i + 7 * j) % SIZES];
      bfloat16_products(t, m, k, n);
      float_products(t, m, k, n);
      linear_products(t, m, k, n);
    }
  bfloat16_products(t, 3, 771, 50);  // more than a block of pairs
  float_products(t, 9, 130, 250);    // several blocks of either dimension
}

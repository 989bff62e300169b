// Runs every kernel of every instruction set of this processor on the same numbers, in sizes around each tile and tail,
// and prints a digest of what each kernel made of them. Exits with 1 when two instruction sets differ, when products, packing and
// integers are not what plain loops say, or when arguments name other instruction sets than this processor's, fastest first. Two
// processors agree when they print the same lines.
#include <inttypes.h>
#include <stdio.h>

#include "compare.h"

enum { DIGESTS = 80 };
static struct {
  const char *kernel;
  uint64_t digest;
} digests[DIGESTS];
static size_t digest_count;
static int failures;

void fail(const char *what, const char *set, size_t m, size_t k, size_t n) {
  if (failures++ < 10) fprintf(stderr, "%s, %s: wrong for %zu, %zu, %zu\n", what, set, m, k, n);
}

// FNV-1a of all bytes that a kernel wrote, in the order of the calls.
void record(const char *kernel, const void *bytes, size_t count) {
  size_t i = 0;
  while (i < digest_count && strcmp(digests[i].kernel, kernel) != 0) i++;
  if (i == digest_count) {
    if (i == DIGESTS) abort();
    digests[digest_count++].kernel = kernel;
    digests[i].digest = 0xCBF29CE484222325u;
  }
  for (size_t b = 0; b < count; b++) digests[i].digest = (digests[i].digest ^ ((const uint8_t *)bytes)[b]) * 0x100000001B3u;
}
void record_double(const char *kernel, double x) { record(kernel, &x, sizeof x); }

static uint64_t state;
uint32_t draw(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33);
}
float draw_float(void) {
  float unit = (float)(draw() % 0x1000000) * 0x1p-23f - 1.0f;
  switch (draw() % 12) {
    case 0: return draw() % 2 == 0 ? 0.0f : -0.0f;
    case 1: return unit * 1e-30f;
    case 2: return unit * 1e3f;
    default: return unit * 2.0f;
  }
}

void *memory(size_t bytes) {
  void *p = calloc(1, bytes);
  if (p == NULL) abort();
  return p;
}
float *floats(size_t count) {
  float *x = memory(count * sizeof(float));
  for (size_t i = 0; i < count; i++) x[i] = draw_float();
  return x;
}
static float *copy(const float *x, size_t count) {
  float *y = memory(count * sizeof(float));
  memcpy(y, x, count * sizeof(float));
  return y;
}
uint64_t *bits(size_t rows, size_t columns) {
  size_t words = (columns + 63) / 64;
  uint64_t *b = memory(rows * words * 8);
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j++)
      if (draw() % 2 == 0) b[i * words + j / 64] |= 1ull << (j % 64);
  return b;
}

static void bit_products(const bk_kernels *t, size_t m, size_t k, size_t n) {
  size_t words = (k + 63) / 64, ld = n + 3;
  uint64_t *a = bits(m, k), *b = bits(n, k), *interleaved = memory((n + 7) / 8 * 8 * words * 8);
  uint64_t *turned = memory(k * ((n + 63) / 64) * 8), *back = memory(n * words * 8);
  float *bias = floats(n + m), *out = floats(m * ld);
  bk_interleave(b, n, words, interleaved);
  bk_transpose(b, n, k, turned);
  bk_transpose(turned, k, n, back);
  if (memcmp(b, back, n * words * 8) != 0) fail("transpose", t->name, m, k, n);
  for (int and = 0; and < 2; and++) {
    if (and) {
      t->and_product(a, m, interleaved, n, words, 1.0f, NULL, out, ld);
    } else {
      t->xnor_product(a, m, interleaved, n, words, (int32_t)k, 1.0f, NULL, out, ld);
    }
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        int sum = 0;
        for (size_t c = 0; c < k; c++) {
          int sign = bit(b, words, j, c) ? 1 : -1;
          if (and) {
            sum += bit(a, words, i, c) ? sign : 0;
          } else {
            sum += bit(a, words, i, c) ? sign : -sign;
          }
        }
        if (out[i * ld + j] != (float)sum) fail(and ? "and_product" : "xnor_product", t->name, m, k, n);
      }
  }
  t->xnor_product(a, m, interleaved, n, words, (int32_t)k, 0.37f, bias, out, ld);
  record("xnor_product", out, m * ld * 4);
  t->and_product(a, m, interleaved, n, words, 0.81f, bias, out, ld);
  record("and_product", out, m * ld * 4);
  t->xnor_add_product(a, m, interleaved, n, words, (int32_t)k, 0.37f, bias, out, ld);
  record("xnor_add_product", out, m * ld * 4);
  size_t out_words = (n + 63) / 64;
  uint64_t *found = memory(m * out_words * 8);
  int16_t *low = memory(2 * n * sizeof(int16_t)), *high = low + n;
  for (size_t j = 0; j < n; j++) {
    low[j] = (int16_t)(k / 2 + draw() % 4);
    high[j] = (int16_t)(low[j] + (int)(draw() % 6));
  }
  t->xnor_bits(a, m, interleaved, n, words, low, high, found);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < out_words * 64; j++) {
      int differing = 0;
      for (size_t c = 0; j < n && c < k; c++) differing += bit(a, words, i, c) != bit(b, words, j, c);
      if (bit(found, out_words, i, j) != (j < n && (differing < low[j] || differing >= high[j])))
        fail("xnor_bits", t->name, m, k, n);
    }
  record("xnor_bits", found, m * out_words * 8);
  free(found), free(low);
  t->unpack(a, m, k, 0.5f, -0.25f, out = realloc(out, m * (k + 1) * 4), k);
  record("unpack", out, m * k * 4);
  free(a), free(b), free(interleaved), free(turned), free(back), free(bias), free(out);
}

static void packing(const bk_kernels *t, size_t m, size_t k) {
  size_t words = (k + 63) / 64;
  float *x = floats(m * (k + 2)), *shift = floats(k);
  uint64_t *signs = memory(m * words * 8), *within = memory(m * words * 8);
  t->pack(x, m, k, k + 2, shift, 1.5f, signs, within);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < words * 64; j++) {
      float v = j < k ? x[i * (k + 2) + j] + shift[j] : -1.0f, size = v < 0 ? -v : v;
      if (bit(signs, words, i, j) != (v >= 0) || bit(within, words, i, j) != (j < k && size <= 1.5f))
        fail("pack", t->name, m, k, 0);
    }
  record("pack", signs, m * words * 8);
  record("pack", within, m * words * 8);
  // One element at or above zero, in each place in turn.
  for (size_t hot = 0; hot < k; hot++) {
    for (size_t j = 0; j < k; j++) x[j] = j == hot ? 0.0f : -1.0f;
    t->pack(x, 1, k, k, NULL, 0, signs, NULL);
    for (size_t w = 0; w < words; w++)
      if (signs[w] != (w == hot / 64 ? 1ull << (hot % 64) : 0)) fail("pack, one element", t->name, 1, k, hot);
  }
  free(x), free(shift), free(signs), free(within);
}

static void backward(const bk_kernels *t, size_t m, size_t k, size_t s) {
  size_t words = (s + 63) / 64;
  uint64_t *signs = bits(m, s), *within = bits(m, s), *weight = bits(k, s);
  float *g = floats(m * s), *dx = floats(m * s), *sums = floats(s), *dy = floats(m * k), *out = floats((m + k) * 48);
  double step = 0;
  for (size_t first = 0; first < s; first += 64)
    step += t->sign_backward(g, s, signs, within, m, words, first, first + 64 < s ? first + 64 : s, true, dx, s, sums);
  record("sign_backward", dx, m * s * 4);
  record("sign_backward", sums, s * 4);
  record_double("sign_backward", step);

  size_t row_bytes = (m + 7) / 8 * 8 * ((k + 7) / 8 * 8), column_bytes = (k + 7) / 8 * 8 * ((m + 7) / 8 * 8);
  float *row_max = memory((m + 8) * 4), *column_max = memory((k + 16) * 4), *column_sums = memory((k + 16) * 4);
  int8_t *by_rows = memory(row_bytes), *by_columns = memory(column_bytes);
  uint8_t *expanded = memory(48 * (m + k + 16));
  const uint32_t key[2] = {7, 8}, counter[3] = {1, 2, 3};
  t->row_maxima(dy, m, k, k, row_max);
  t->column_maxima_and_sums(dy, m, k, 0, k, column_max, column_sums);
  t->round_panels(dy, m, k, k, 0, m, key, counter, row_max, column_max, by_rows, by_columns);
  record("row_maxima", row_max, m * 4);
  record("column_maxima_and_sums", column_max, k * 4);
  record("column_maxima_and_sums", column_sums, k * 4);
  size_t groups = (k + 3) / 4, column_groups = (m + 3) / 4;
  for (size_t i = 0; i < m; i++)
    for (size_t c = 0; c < k; c++) {
      int8_t q = by_rows[((i / 8 * groups + c / 4) * 8 + i % 8) * 4 + c % 4];
      int8_t p = by_columns[((c / 8 * column_groups + i / 4) * 8 + c % 8) * 4 + i % 4];
      record("round_panels", &q, 1);
      record("round_panels", &p, 1);
    }
  int32_t *row_sums = memory((m + 8) * 4);
  for (size_t i = 0; i < m; i += 8) t->panel_sums(by_rows + i * groups * 4, groups, row_sums + i);
  record("panel_sums", row_sums, m * 4);
  uint32_t *left = memory((m + 8) * (k + 1) * 2), *left_columns = memory((k + 8) * (m + 1) * 2);
  uint32_t *right = memory(48 * (m + k + 2) * 2);
  t->bfloat16_rows(dy, m, k, k, left);
  t->bfloat16_columns(dy, m, k, 0, k, left_columns);
  for (size_t first = 0; first < s; first += 48) {
    size_t columns = s - first < 48 ? s - first : 48;
    t->expand_bits(weight, k, words, first, expanded);
    record("expand_bits", expanded, (k + 3) / 4 * 4 * 48);
    float *ones = memory(m * 4);
    for (size_t i = 0; i < m; i++) ones[i] = 127.0f;
    t->rounded_product(by_rows, m, k, expanded, 1, row_sums, ones, 1.0f, 2, -1, false, columns, out, 48);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < columns; j++) {
        int sum = 0;
        for (size_t c = 0; c < k; c++) {
          int q = by_rows[((i / 8 * groups + c / 4) * 8 + i % 8) * 4 + c % 4];
          sum += bit(weight, words, c, first + j) ? q : -q;
        }
        if (out[i * 48 + j] != (float)sum) fail("rounded_product", t->name, m, k, s);
      }
    t->rounded_product(by_rows, m, k, expanded, 1, row_sums, row_max, 0.3f, 2, -1, true, columns, out, 48);
    record("rounded_product", out, m * 48 * 4);
    t->bfloat16_signs(weight, k, words, first, right);
    record("bfloat16_signs", right, (k + 1) / 2 * 48 * 4);
    t->bfloat16_product(left, m, k, right, 0.3f, true, columns, out, 48);
    record("bfloat16_product", out, m * 48 * 4);
    t->bfloat16_signs(signs, m, words, first, right);
    t->bfloat16_product(left_columns, k, m, right, 0.3f, false, columns, out, 48);
    record("bfloat16_product", out, k * 48 * 4);
    free(ones);
  }
  uint32_t *packed = memory((s + 48) * (k + 1) * 2);
  float *w = floats(s * k), *y = memory(m * s * 4);
  t->bfloat16_right(w, s, k, k, packed);
  t->bfloat16_linear(dy, m, k, k, packed, s, sums, y, s);
  record("bfloat16_linear", y, m * s * 4);
  free(signs), free(within), free(weight), free(g), free(dx), free(sums), free(dy), free(out), free(row_max);
  free(column_max), free(column_sums), free(by_rows), free(by_columns), free(expanded), free(row_sums), free(left);
  free(left_columns), free(right), free(packed), free(w), free(y);
}

static void elementwise(const bk_kernels *t, size_t count) {
  float *x = floats(count), *y = floats(count), *z;
#define RUN(NAME, CALL)                \
  z = copy(y, count);                  \
  CALL;                                \
  record(NAME, z, count * sizeof(float)); \
  free(z);
  record_double("sum", t->sum(x, count));
  record_double("sum_absolute", t->sum_absolute(x, count));
  record_double("sum_squares", t->sum_squares(x, count));
  RUN("add", t->add(x, count, z))
  RUN("scale", t->scale(0.3f, count, z))
  RUN("gelu", t->gelu(x, count, z))
  RUN("gelu_backward", t->gelu_backward(x, count, z))
  RUN("relu", t->relu(count, z))
  RUN("relu_backward", t->relu_backward(x, count, z))
  RUN("tanh", t->tanh(count, z))
  RUN("tanh_backward", t->tanh_backward(x, count, z))
  RUN("squared_difference", record_double("squared_difference", t->squared_difference(x, y, count, 0.7f, z)))
  size_t best;
  RUN("cross_entropy", record_double("cross_entropy", t->cross_entropy(z, count, count / 2, 0.3f, &best)))
  record("cross_entropy", &best, sizeof best);
  float *m = floats(count), *v = floats(count);
  for (size_t i = 0; i < count; i++) v[i] = v[i] < 0 ? -v[i] : v[i];
  bk_adamw settings = {0.5f, 1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 0.1f, 0.0316f};
  RUN("adamw", t->adamw(z, x, m, v, count, &settings))
  record("adamw", m, count * 4);
  record("adamw", v, count * 4);
#undef RUN
  free(x), free(y), free(m), free(v);
}

static void by_rows(const bk_kernels *t, size_t m, size_t n) {
  size_t count = m * n, words = (n + 63) / 64;
  float *x = floats(count), *d = floats(count), *w = floats(n), *b = floats(n);
  float *hat = memory(count * 4), *inverse = memory(m * 4), *y = memory(count * 4), *sums = memory(n * 4);
  record_double("sum_absolute_shifted", t->sum_absolute_shifted(x, m, n, w));
  t->add_column_sums(x, m, n, 0, n, sums);
  record("add_column_sums", sums, n * 4);
  t->add_column_dots(x, d, m, n, 0, n, sums);
  record("add_column_dots", sums, n * 4);
  t->normalise(x, m, n, 1e-12f, w, b, hat, inverse, y);
  record("normalise", y, count * 4);
  record("normalise", inverse, m * 4);
  t->normalise_backward(d, w, hat, inverse, m, n, y);
  record("normalise_backward", y, count * 4);
  uint64_t *keep = memory(m * words * 8), *chosen = memory(m * words * 8);
  const uint32_t key[2] = {3, 4};
  t->dropout_bits(key, 5, 6, 7, 8, 6554, m, n, keep);
  record("dropout_bits", keep, m * words * 8);
  memcpy(y, x, count * 4);
  t->dropout_apply(keep, m, n, 1.1f, y);
  record("dropout_apply", y, count * 4);
  size_t length = n - n / 3;
  memcpy(y, x, count * 4);
  t->softmax(y, d, m, length, n, 0.125f);
  record("softmax", y, count * 4);
  t->binarise_probabilities(y, keep, 1.1f, m, n, 0.02f, chosen);
  record("binarise_probabilities", chosen, m * words * 8);
  double step = t->probabilities_backward(y, keep, 1.1f, 0.02f, 0.125f, m, n, d);
  record("probabilities_backward", d, count * 4);
  record_double("probabilities_backward", step);
  free(x), free(d), free(w), free(b), free(hat), free(inverse), free(y), free(sums), free(keep), free(chosen);
}

// One head of `width` columns on m queries and n keys, whose bits begin within a word.
static void attention(const bk_kernels *t, size_t m, size_t width, size_t n) {
  size_t words = (width + 63) / 64, token_words = (n + 63) / 64, first = 13, ld = (first + width + 63) / 64;
  uint64_t *queries = bits(m, width), *keys = bits(n, width), *values = bits(width, n), *context = memory(m * ld * 8);
  uint64_t *key_groups = memory((n + 7) / 8 * 8 * words * 8), *value_groups = memory((width + 7) / 8 * 8 * token_words * 8);
  float *extra = floats(m * n), *estimates = floats(n), *shift = floats(width), *sums = memory(m * 4);
  void *room = memory(bk_attention_room(n));
  bk_interleave(keys, n, words, key_groups);
  bk_interleave(values, width, token_words, value_groups);
  for (int with = 0; with < 2; with++) {
    bk_head head = {n, width, key_groups, value_groups, 0.31f, 0.25f, 1.5f / (float)n, 0.4f, with ? estimates : NULL, shift, first};
    memset(context, 0, m * ld * 8);
    t->attend(&head, queries, m, with ? extra : NULL, n, room, context, ld);
    record("attend", context, m * ld * 8);
    bk_cut_columns(context, m, ld, first, width, queries);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < width; j++)
        if (bit(queries, words, i, j) != bit(context, ld, i, first + j)) fail("bk_cut_columns", t->name, m, width, n);
  }
  t->sum_set_elements(values, 1, n, estimates, 0.5f, sums);
  record("sum_set_elements", sums, 4);
  t->widen_integers((const int16_t *)keys, 1, 4 * n, shift, extra = realloc(extra, (m + 4) * n * 4));
  record("widen_integers", extra, 4 * n * 4);
  free(queries), free(keys), free(values), free(context), free(key_groups), free(value_groups);
  free(extra), free(estimates), free(shift), free(sums), free(room);
}

static void run(const bk_kernels *t) {
  static const size_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 48, 49, 63, 64, 65, 100, 127, 130, 257};
  enum { SIZES = sizeof sizes / sizeof *sizes };
  digest_count = 0;
  state = 1;
  for (size_t i = 0; i < SIZES; i++) {
    elementwise(t, sizes[i]);
    packing(t, 3, sizes[i]);
    by_rows(t, 1 + i % 5 * 23, sizes[i]);
    for (size_t j = 0; j < SIZES; j++) bit_products(t, 1 + (i * 7 + j) % 14, sizes[i], sizes[j]);
    for (size_t j = 0; j < SIZES; j++) attention(t, 1 + (i + j) % BK_ATTENTION_ROWS, sizes[i], sizes[j]);
    for (size_t j = 0; j < 7; j++) backward(t, sizes[(i * 3 + j) % 13], sizes[i], sizes[(i + j * 5) % SIZES]);
  }
  backward(t, 5, 1537, 50);  // several blocks of a bfloat16 product
  compare_products(t);
  compare_integers(t);
}

int main(int arguments, char **names) {
  const bk_kernels *tables[BK_INSTRUCTION_SETS];
  size_t count = bk_available(tables), first_count = 0;
  for (size_t k = 0; arguments > 1 && (k < count || k + 1 < (size_t)arguments); k++) {
    const char *found = k < count ? tables[k]->name : "none", *wanted = k + 1 < (size_t)arguments ? names[k + 1] : "none";
    if (strcmp(found, wanted) == 0) continue;
    fprintf(stderr, "instruction set %zu of this processor is %s, not %s\n", k + 1, found, wanted);
    return 1;
  }
  uint64_t first[DIGESTS];
  for (size_t k = 0; k < count; k++) {
    run(tables[k]);
    fprintf(stderr, "ran %zu kernels of %s\n", digest_count, tables[k]->name);
    for (size_t i = 0; i < digest_count; i++) {
      if (k == 0) {
        first[i] = digests[i].digest;
        printf("%s %016" PRIx64 "\n", digests[i].kernel, first[i]);
      } else if (digests[i].digest != first[i]) {
        fail("digest", tables[k]->name, 0, 0, 0);
        fprintf(stderr, "%s: %s differs from %s\n", digests[i].kernel, tables[k]->name, tables[0]->name);
      }
    }
    if (k == 0) first_count = digest_count;
    if (digest_count != first_count) fail("number of kernels", tables[k]->name, 0, 0, 0);
  }
  return failures == 0 ? 0 : 1;
}

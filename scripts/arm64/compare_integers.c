// Operands of n bits, and sums of gradients as integers, against plain loops.
#include <math.h>

#include "compare.h"

#pragma clang fp contract(off)

// ---- n bits ----

static void levels(const bk_kernels *t, size_t m, size_t k, size_t n, const bk_levels *set) {
  size_t words = (k + 63) / 64, ld = k + 3;
  float *x = floats(m * ld), *shift = floats(k), *out = memory(m * (k + n) * 4), *g = floats(m * k);
  float *bias = floats(m + n);
  int32_t *q = memory(m * k * 4);
  int32_t low = (int32_t)set->low;
  t->levels(x, m, k, ld, shift, set, 0.5f, out, k);
  record("levels", out, m * k * 4);
  for (size_t i = 0; i < m; i++)
    for (size_t c = 0; c < k; c++) {
      float position = (x[i * ld + c] + shift[c]) / set->step;
      position = position < set->low ? set->low : position > set->high ? set->high : position;
      q[i * k + c] = (int32_t)rintf(position);
      if (out[i * k + c] != 0.5f * (float)q[i * k + c]) fail("levels", t->name, m, k, (size_t)set->bits);
    }

  uint64_t *planes = memory((size_t)set->bits * m * words * 8);
  t->level_planes(x, m, k, ld, shift, set, planes);
  record("level_planes", planes, (size_t)set->bits * m * words * 8);
  for (size_t p = 0; p < (size_t)set->bits; p++)
    for (size_t i = 0; i < m; i++)
      for (size_t c = 0; c < words * 64; c++)
        if (bit(planes + p * m * words, words, i, c) != (c < k && ((uint32_t)q[i * k + c] >> p & 1)))
          fail("level_planes", t->name, m, k, (size_t)set->bits);

  uint64_t *b = bits(n, k), *groups = memory((n + 7) / 8 * 8 * words * 8);
  bk_interleave(b, n, words, groups);
  t->level_product(planes, m, set, groups, n, words, 1.0f, NULL, out, n);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      int32_t sum = 0;
      for (size_t c = 0; c < k; c++) sum += bit(b, words, j, c) ? q[i * k + c] : -q[i * k + c];
      if (out[i * n + j] != (float)sum) fail("level_product", t->name, m, k, n);
    }
  t->level_product(planes, m, set, groups, n, words, 0.37f, bias, out, n);
  record("level_product", out, m * n * 4);

  uint8_t *expanded = memory((m + 3) / 4 * 4 * 48);
  for (int32_t from = 0; from < set->bits; from += 4)
    for (size_t first = 0; first < k; first += 48) {
      size_t columns = k - first < 48 ? k - first : 48;
      t->expand_levels(x + first, m, columns, ld, shift + first, set, from, expanded);
      for (size_t i = 0; i < m; i++)
        for (size_t c = 0; c < columns; c++) {
          uint8_t found = expanded[(i / 4 * 48 + c) * 4 + i % 4];
          record("expand_levels", &found, 1);
          if (found != ((q[i * k + first + c] - low) >> from & 15)) fail("expand_levels", t->name, m, k, (size_t)set->bits);
        }
    }
  float *column_sums = memory(k * 4);
  for (int add = 0; add < 2; add++) {
    double step = t->level_backward(g, k, x, ld, shift, set, m, k, add, out, k, column_sums);
    record("level_backward", out, m * k * 4);
    record("level_backward", column_sums, k * 4);
    record_double("level_backward", step);
  }
  t->scale_rows(g, m, k, 0.7f, bias, out, k);
  record("scale_rows", out, m * k * 4);
  free(x), free(shift), free(out), free(g), free(bias), free(q), free(planes), free(b), free(groups), free(expanded), free(column_sums);
}

// ---- sums of gradients ----

static void multiples(const bk_kernels *t, size_t m, size_t n) {
  size_t x_stride = n + 1, stride = n + 2;
  float *x = floats(m * x_stride), *read = memory(m * stride * 4);
  uint32_t *sums = memory(m * stride * 4);
  uint16_t *short_sums = memory(m * stride * 2);
  for (int round = 0; round < 3; round++) {
    bool add = round > 0, is_short = round == 2;
    float scale = is_short ? 0x1p4f : 0x1p12f, *own = floats(m * x_stride);
    if (is_short)
      for (size_t i = 0; i < m * stride; i++) short_sums[i] = (uint16_t)draw();
    uint32_t *before = memory(m * stride * 4), largest = 0, found;
    for (size_t i = 0; i < m * stride; i++) before[i] = is_short ? short_sums[i] : sums[i];
    memcpy(x, own, m * x_stride * 4);
    if (is_short) {
      found = t->add_short_multiples(x, x_stride, m, n, scale, add, short_sums, stride);
    } else {
      found = t->add_multiples(x, x_stride, m, n, scale, add, sums, stride);
    }
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        float v = own[i * x_stride + j], size = fabsf(v);
        uint32_t word, sum = (add ? before[i * stride + j] : 0) + (uint32_t)(int32_t)rintf(v * scale);
        memcpy(&word, &size, 4);
        largest = word > largest ? word : largest;
        uint32_t now = is_short ? short_sums[i * stride + j] : sums[i * stride + j];
        if (now != (is_short ? sum & 0xFFFF : sum) || x[i * x_stride + j] != 0) fail("add_multiples", t->name, m, n, is_short);
      }
    if (found != largest) fail("add_multiples, the largest", t->name, m, n, is_short);
    free(own), free(before);
  }
  record("add_multiples", sums, m * stride * 4);
  record("add_short_multiples", short_sums, m * stride * 2);
  t->read_multiples(sums, m * stride, 0.3f, read);
  record("read_multiples", read, m * stride * 4);
  for (size_t i = 0; i < m * stride; i++)
    if (read[i] != (float)(int32_t)sums[i] * 0.3f) fail("read_multiples", t->name, m, n, i);
  t->read_short_multiples(short_sums, m * stride, 0.3f, read);
  record("read_short_multiples", read, m * stride * 4);
  for (size_t i = 0; i < m * stride; i++)
    if (read[i] != (float)(int16_t)short_sums[i] * 0.3f) fail("read_short_multiples", t->name, m, n, i);
  free(x), free(read), free(sums), free(short_sums);
}

// All numbers of 16 bits.
static void halves(const bk_kernels *t) {
  enum { COUNT = 1 << 16 };
  uint16_t *halves = memory(COUNT * 2);
  float *x = memory(COUNT * 4);
  for (uint32_t i = 0; i < COUNT; i++) halves[i] = (uint16_t)i;
  t->widen_halves(halves, COUNT, x);
  record("widen_halves", x, COUNT * 4);
  for (int i = 0; i < COUNT; i++) {
    int exponent = i >> 10 & 31, fraction = i & 1023;
    float size = exponent == 0 ? ldexpf((float)fraction, -24) : ldexpf((float)(1024 + fraction), exponent - 25);
    if (exponent == 31 && fraction == 0) size = INFINITY;
    bool is_right = exponent == 31 && fraction != 0 ? isnan(x[i]) : x[i] == (i & 0x8000 ? -size : size);
    if (!is_right) fail("widen_halves", t->name, (size_t)i, 0, 0);
  }
  free(halves), free(x);
}

void compare_integers(const bk_kernels *t) {
  static const size_t sizes[] = {1, 2, 7, 8, 15, 17, 33, 48, 63, 65, 130};
  enum { SIZES = sizeof sizes / sizeof *sizes };
  for (int32_t bits = 1; bits <= 8; bits++)
    for (int is_signed = bits == 1 ? 0 : 1; is_signed >= 0; is_signed--)
      for (size_t i = 0; i < 4; i++) {
        bk_levels set = bk_level_set(bits, is_signed, 2.0f / (float)(1 << bits));
        size_t turn = (size_t)bits * 4 + i;
        levels(t, 1 + turn % 9, sizes[turn % SIZES], sizes[turn * 3 % SIZES], &set);
      }
  for (size_t i = 0; i < SIZES; i++) multiples(t, 1 + i % 3, sizes[i]);
  halves(t);
}

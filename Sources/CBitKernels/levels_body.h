// Operands of n bits (BiT, Liu et al. 2022): between float rows, integers and planes of bits, products of planes, and backward.

enum { LEVEL_BITS = 8 };

// (x + shift) / step
INLINE vf level_position(const float *x, const float *shift, const bk_levels *l, size_t n) {
  vf v = load_part(x, n);
  if (shift != NULL) v += load_part(shift, n);
  return v / l->step;
}

// The integer nearest to a position, ties to even, within the set; the lowest for what is no number.
INLINE vf nearest_level(vf position, const bk_levels *l) {
  vf above = pick(position >= l->low, position, splat(l->low));
  return __builtin_elementwise_roundeven(pick(above <= l->high, above, splat(l->high)));
}

static void levels(const float *x, size_t rows, size_t columns, size_t ld, const float *shift, const bk_levels *l,
                   float factor, float *out, size_t ld_out) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      vf position = level_position(x + i * ld + j, shift == NULL ? NULL : shift + j, l, n);
      store_part(out + i * ld_out + j, factor * nearest_level(position, l), n);
    }
}

// ---- planes ----

static void level_planes(const float *x, size_t rows, size_t columns, size_t ld, const float *shift, const bk_levels *l,
                         uint64_t *planes) {
  size_t words = (columns + 63) / 64;
  for (size_t i = 0; i < rows; i++)
    for (size_t w = 0; w < words; w++) {
      uint64_t word[LEVEL_BITS] = {0};
      for (size_t j = w * 64; j < columns && j < w * 64 + 64; j += LANES) {
        size_t n = lanes_at(j, columns);
        vf position = level_position(x + i * ld + j, shift == NULL ? NULL : shift + j, l, n);
        vi q = __builtin_convertvector(nearest_level(position, l), vi);
        for (int k = 0; k < l->bits; k++)
          word[k] |= (uint64_t)(mask_bits((q << (31 - k)) < 0) & low_bits(n)) << (j % 64);
      }
      for (int k = 0; k < l->bits; k++) planes[((size_t)k * rows + i) * words + w] = word[k];
    }
}

// What bit k of a number in two's complement counts.
INLINE int32_t plane_weight(const bk_levels *l, int k) {
  return k == l->bits - 1 && l->low < 0 ? -(1 << k) : 1 << k;
}

// ---- product of planes ----
//
// q = sum over k of W_k c_k with W_k = 2^k, but -2^(n-1) for the last plane of a signed q, and b = 2 a - 1 with a of 0 and 1:
//
//     sum over i of q_i b_i = 2 sum over k of W_k popcount(c_k & a) - sum over i of q_i
//
// Up to the last plane the result holds the sum over k, as an integer.

typedef struct {
  float weight, scale;
  const float *row_sums, *bias;
  float *out;
  size_t ld;
} plane_end_context;

INLINE void plane_values(const plane_end_context *c, const bool first, const bool last, size_t i, size_t j,
                         size_t outputs, vi counts[TILE_ROWS][TILE_VECTORS], const int rows, const int vectors) {
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    size_t column = j + (size_t)v * LANES, n = lanes_of(outputs, v);
    if (n == 0) break;
    vf bias = !last || c->bias == NULL ? splat(0) : load_part(c->bias + column, n);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      size_t row = i + (size_t)r;
      float *target = c->out + row * c->ld + column;
      vf sum = c->weight * __builtin_convertvector(counts[r][v], vf);
      if (!first) sum += load_part(target, n);
      if (last) sum = fma_(splat(c->scale), 2.0f * sum - c->row_sums[row], bias);
      store_part(target, sum, n);
    }
  }
}

INLINE void first_plane_end(const void *context, size_t i, size_t j, size_t outputs,
                            vi counts[TILE_ROWS][TILE_VECTORS], const int rows, const int vectors) {
  plane_values(context, true, false, i, j, outputs, counts, rows, vectors);
}

INLINE void plane_end(const void *context, size_t i, size_t j, size_t outputs, vi counts[TILE_ROWS][TILE_VECTORS],
                      const int rows, const int vectors) {
  plane_values(context, false, false, i, j, outputs, counts, rows, vectors);
}

INLINE void last_plane_end(const void *context, size_t i, size_t j, size_t outputs,
                           vi counts[TILE_ROWS][TILE_VECTORS], const int rows, const int vectors) {
  plane_values(context, false, true, i, j, outputs, counts, rows, vectors);
}

INLINE void only_plane_end(const void *context, size_t i, size_t j, size_t outputs,
                           vi counts[TILE_ROWS][TILE_VECTORS], const int rows, const int vectors) {
  plane_values(context, true, true, i, j, outputs, counts, rows, vectors);
}

static void level_product(const uint64_t *planes, size_t rows, const bk_levels *l, const uint64_t *b, size_t rows_b,
                          size_t words, float scale, const float *bias, float *out, size_t ld) {
  // Rows whose part of the result stays in the second-level cache from one plane to the next.
  enum { BLOCK = 4 * TILE_ROWS };
  for (size_t i = 0; i < rows; i += BLOCK) {
    size_t present = rows - i < BLOCK ? rows - i : BLOCK;
    float sums[BLOCK] = {0};
    for (int k = 0; k < l->bits; k++)
      for (size_t r = 0; r < present; r++)
        sums[r] += (float)(plane_weight(l, k) * count_ones(planes + ((size_t)k * rows + i + r) * words, words));
    plane_end_context c = {0, scale, sums, bias, out + i * ld, ld};
    for (int k = 0; k < l->bits; k++) {
      const uint64_t *plane = planes + ((size_t)k * rows + i) * words;
      c.weight = (float)plane_weight(l, k);
      if (l->bits == 1) {
        each_tile(false, plane, present, b, rows_b, words, 0, only_plane_end, &c);
      } else if (k == 0) {
        each_tile(false, plane, present, b, rows_b, words, 0, first_plane_end, &c);
      } else if (k < l->bits - 1) {
        each_tile(false, plane, present, b, rows_b, words, 0, plane_end, &c);
      } else {
        each_tile(false, plane, present, b, rows_b, words, 0, last_plane_end, &c);
      }
    }
  }
}

// ---- backward ----

static double level_backward(const float *g, size_t ld_g, const float *x, size_t ld, const float *shift,
                             const bk_levels *l, size_t rows, size_t columns, bool add, float *dx, size_t ld_dx,
                             float *shift_gradient) {
  vdd step_sum = zero_sum();
  for (size_t j = 0; j < columns; j += LANES) {
    size_t n = lanes_at(j, columns);
    vf column_sum = splat(0);
    for (size_t start = 0; start < rows; start += 64) {
      size_t end = start + 64 < rows ? start + 64 : rows;
      vf block_columns = splat(0), block_step = splat(0);
      for (size_t i = start; i < end; i++) {
        vf d = load_part(g + i * ld_g + j, n);
        vf position = level_position(x + i * ld + j, shift == NULL ? NULL : shift + j, l, n);
        vi below = position < l->low, above = position > l->high;
        vf slope = pick(below, splat(l->low), pick(above, splat(l->high), nearest_level(position, l) - position));
        block_step = fma_(d, slope, block_step);
        vf passed = pick(below | above, splat(0), d);
        block_columns += passed;
        float *target = dx + i * ld_dx + j;
        if (add) passed += load_part(target, n);
        store_part(target, passed, n);
      }
      column_sum += block_columns;
      step_sum = add_lanes(step_sum, block_step);
    }
    if (shift_gradient != NULL) store_part(shift_gradient + j, load_part(shift_gradient + j, n) + column_sum, n);
  }
  return total(step_sum);
}

static void expand_levels(const float *x, size_t rows, size_t columns, size_t ld, const float *shift,
                          const bk_levels *l, int32_t from, uint8_t *expanded) {
  int32_t low = (int32_t)l->low;
  for (size_t i = 0; i < rows; i += 4)
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      vi four[4] = {{0}, {0}, {0}, {0}};
      for (size_t r = 0; r < 4 && i + r < rows; r++) {
        vf position = level_position(x + (i + r) * ld + j, shift == NULL ? NULL : shift + j, l, n);
        four[r] = (__builtin_convertvector(nearest_level(position, l), vi) - low) >> from & 15;
      }
      vi bytes = combine_bytes(four[0], four[1], four[2], four[3]);
      memcpy(expanded + (i * PANEL_COLUMNS + j * 4), &bytes, sizeof bytes);
    }
}

static void scale_rows(const float *x, size_t rows, size_t columns, float factor, const float *row_bias, float *out,
                       size_t ld) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      vf bias = splat(row_bias == NULL ? 0.0f : row_bias[i]);
      store_part(out + i * ld + j, fma_(splat(factor), load_part(x + i * columns + j, n), bias), n);
    }
}

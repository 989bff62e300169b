// Float32 products of a model in use, which has no BLAS, and the 16-bit numbers that its file may hold.

INLINE void linear_tile(const float *x, size_t ld, const float *w, size_t depth, const float *bias, float *out,
                        size_t ld_out, const int rows, const int outputs) {
  vf sums[DENSE_TILE][DENSE_TILE];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < outputs; j++) sums[i][j] = splat(0);
#pragma clang loop unroll(disable)
  for (size_t k = 0; k < depth; k += LANES) {
    size_t n = lanes_at(k, depth);
    vf right[DENSE_TILE];
#pragma clang loop unroll(full)
    for (int j = 0; j < outputs; j++) right[j] = load_part(w + (size_t)j * depth + k, n);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      vf left = load_part(x + (size_t)i * ld + k, n);
#pragma clang loop unroll(full)
      for (int j = 0; j < outputs; j++) sums[i][j] = fma_(left, right[j], sums[i][j]);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < outputs; j++) {
      float s = sum_lanes(sums[i][j]);
      out[(size_t)i * ld_out + (size_t)j] = bias == NULL ? s : s + bias[j];
    }
}

static void linear(const float *x, size_t rows, size_t depth, size_t ld, const float *w, size_t outputs,
                   const float *bias, float *out, size_t ld_out) {
  for (size_t j = 0; j < outputs;) {
    size_t own_outputs = outputs - j < DENSE_TILE ? 1 : DENSE_TILE;
    const float *right = w + j * depth, *shift = bias == NULL ? NULL : bias + j;
    for (size_t i = 0; i < rows;) {
      size_t own_rows = rows - i < DENSE_TILE ? 1 : DENSE_TILE;
      const float *left = x + i * ld;
      float *target = out + i * ld_out + j;
      if (own_rows == DENSE_TILE && own_outputs == DENSE_TILE) {
        linear_tile(left, ld, right, depth, shift, target, ld_out, DENSE_TILE, DENSE_TILE);
      } else if (own_rows == DENSE_TILE) {
        linear_tile(left, ld, right, depth, shift, target, ld_out, DENSE_TILE, 1);
      } else if (own_outputs == DENSE_TILE) {
        linear_tile(left, ld, right, depth, shift, target, ld_out, 1, DENSE_TILE);
      } else {
        linear_tile(left, ld, right, depth, shift, target, ld_out, 1, 1);
      }
      i += own_rows;
    }
    j += own_outputs;
  }
}

static void transposed_product(const float *a, size_t ld_a, const float *b, size_t ld_b, size_t depth, size_t rows,
                               size_t columns, bool add, float *out, size_t ld_out) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      vf s = splat(0);
      for (size_t k = 0; k < depth; k++) s = fma_(splat(a[k * ld_a + i]), load_part(b + k * ld_b + j, n), s);
      float *target = out + i * ld_out + j;
      store_part(target, add ? s + load_part(target, n) : s, n);
    }
}

// The exponent is moved up by a product that is exact, also for halves below the smallest normal one.
static void widen_halves(const uint16_t *halves, size_t count, float *x) {
  typedef uint16_t vh __attribute__((vector_size(32)));
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vh h = {0};
    memcpy(&h, halves + i, n * sizeof(uint16_t));
    vu word = __builtin_convertvector(h, vu), magnitude = (word & 0x7FFFu) << 13;
    vf value = (vf)magnitude * 0x1p112f;
    vf special = (vf)(magnitude | 0x7F800000u);
    value = pick((vi)(magnitude >= (0x7C00u << 13)), special, value);
    store_part(x + i, (vf)((vu)value | (word & 0x8000u) << 16), n);
  }
}

static void widen_integers(const int16_t *integers, size_t rows, size_t columns, const float *units, float *x) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      vf value = __builtin_convertvector(load_halves(integers + i * columns + j, n), vf);
      store_part(x + i * columns + j, value * units[i], n);
    }
}

// Sums in fixed order, elementwise functions, dropout, layer normalisation, softmax, loss and update.

static double sum(const float *x, size_t count) {
  vdd s = zero_sum();
  for (size_t i = 0; i < count; i += LANES) s = add_lanes(s, load_part(x + i, lanes_at(i, count)));
  return total(s);
}

static double sum_absolute(const float *x, size_t count) {
  vdd s = zero_sum();
  for (size_t i = 0; i < count; i += LANES) s = add_lanes(s, absolute(load_part(x + i, lanes_at(i, count))));
  return total(s);
}

// The square of a float is exact in double.
static double sum_squares(const float *x, size_t count) {
  vdd s = zero_sum();
  for (size_t i = 0; i < count; i += LANES) {
    vdd v = add_lanes(zero_sum(), load_part(x + i, lanes_at(i, count)));
    s.low += v.low * v.low;
    s.high += v.high * v.high;
  }
  return total(s);
}

static double sum_absolute_shifted(const float *x, size_t rows, size_t columns, const float *shift) {
  vdd s = zero_sum();
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      vf v = load_part(x + i * columns + j, n);
      s = add_lanes(s, absolute(v + load_part(shift + j, n)));
    }
  return total(s);
}

static void add_column_sums(const float *x, size_t rows, size_t ld, size_t first, size_t last, float *out) {
  for (size_t j = first; j < last; j += LANES) {
    size_t n = lanes_at(j, last);
    vf s = load_part(out + j, n);
    for (size_t start = 0; start < rows; start += 64) {
      size_t end = start + 64 < rows ? start + 64 : rows;
      vf block = splat(0);
      for (size_t i = start; i < end; i++) block += load_part(x + i * ld + j, n);
      s += block;
    }
    store_part(out + j, s, n);
  }
}

static void add_column_dots(const float *x, const float *y, size_t rows, size_t ld, size_t first, size_t last,
                            float *out) {
  for (size_t j = first; j < last; j += LANES) {
    size_t n = lanes_at(j, last);
    vf s = load_part(out + j, n);
    for (size_t start = 0; start < rows; start += 64) {
      size_t end = start + 64 < rows ? start + 64 : rows;
      vf block = splat(0);
      for (size_t i = start; i < end; i++)
        block = fma_(load_part(x + i * ld + j, n), load_part(y + i * ld + j, n), block);
      s += block;
    }
    store_part(out + j, s, n);
  }
}

static void add(const float *x, size_t count, float *y) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    store_part(y + i, load_part(y + i, n) + load_part(x + i, n), n);
  }
}

static void scale(float factor, size_t count, float *y) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    store_part(y + i, factor * load_part(y + i, n), n);
  }
}

static void gelu(const float *x, size_t count, float *y) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vf v = load_part(x + i, n);
    store_part(y + i, v * (0.5f * (1.0f + error_function(v * 0x1.6a09e6p-1f))), n);
  }
}

static void gelu_backward(const float *x, size_t count, float *d) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vf v = load_part(x + i, n);
    vf area = 0.5f * (1.0f + error_function(v * 0x1.6a09e6p-1f));
    vf density = 0x1.988454p-2f * exponential(-0.5f * v * v);
    store_part(d + i, load_part(d + i, n) * fma_(v, density, area), n);
  }
}

// What is no number is not <= 0: it stays, forward, and comes back from there as the gradient.
static void relu(size_t count, float *y) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vf v = load_part(y + i, n);
    store_part(y + i, pick(v <= 0.0f, splat(0), v), n);
  }
}

static void relu_backward(const float *y, size_t count, float *dy) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vf v = load_part(y + i, n);
    store_part(dy + i, pick(v <= 0.0f, splat(0), pick(v > 0.0f, load_part(dy + i, n), v)), n);
  }
}

static void tanh_(size_t count, float *y) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    store_part(y + i, hyperbolic_tangent(load_part(y + i, n)), n);
  }
}

static void tanh_backward(const float *y, size_t count, float *dy) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vf v = load_part(y + i, n);
    store_part(dy + i, load_part(dy + i, n) * (1.0f - v * v), n);
  }
}

static double squared_difference(const float *x, const float *y, size_t count, float factor, float *dx) {
  vdd s = zero_sum();
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vf d = load_part(x + i, n) - load_part(y + i, n);
    s = add_lanes(s, d * d);
    if (dx != NULL) store_part(dx + i, fma_(splat(factor), d, load_part(dx + i, n)), n);
  }
  return total(s);
}

// ---- dropout ----

typedef uint64_t vu64 __attribute__((vector_size(128), aligned(8)));

INLINE void multiply_wide(uint32_t factor, vu x, vu *high, vu *low) {
  vu64 product = __builtin_convertvector(x, vu64) * (uint64_t)factor;
  *low = __builtin_convertvector(product, vu);
  *high = __builtin_convertvector(product >> 32, vu);
}

// Philox4x32-10 (Salmon et al., SC 2011) of 16 consecutive blocks.
INLINE void philox(uint32_t k0, uint32_t k1, uint32_t block, uint32_t c1, uint32_t c2, uint32_t c3, vu out[4]) {
  vu x0 = block + (vu){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  vu x1 = (vu){0} + c1, x2 = (vu){0} + c2, x3 = (vu){0} + c3;
  for (int round = 0; round < 10; round++) {
    vu high0, low0, high1, low1;
    multiply_wide(0xD2511F53u, x0, &high0, &low0);
    multiply_wide(0xCD9E8D57u, x2, &high1, &low1);
    x0 = high1 ^ x1 ^ k0;
    x1 = low1;
    x2 = high0 ^ x3 ^ k1;
    x3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
}

static void dropout_bits(const uint32_t key[2], uint32_t first_block, uint32_t c1, uint32_t c2, uint32_t c3,
                         uint32_t threshold, size_t rows, size_t columns, uint64_t *keep) {
  typedef uint8_t bytes16 __attribute__((vector_size(16)));
  size_t words = (columns + 63) / 64, blocks = (columns + 7) / 8;
  for (size_t i = 0; i < rows; i++)
    for (size_t block = 0; block < blocks; block += LANES) {
      vu r[4];
      philox(key[0], key[1], first_block + (uint32_t)(i * blocks + block), c1, c2, c3, r);
      vu bits = {0};
      for (int e = 0; e < 8; e++) {
        vu half = e % 2 == 0 ? r[e / 2] & 0xFFFFu : r[e / 2] >> 16;
        bits |= (vu)(half >= threshold) & (1u << e);
      }
      bytes16 packed = __builtin_convertvector(bits, bytes16);
      uint64_t pair[2];
      memcpy(pair, &packed, sizeof pair);
      for (size_t p = 0; p < 2; p++) {
        size_t w = block / 8 + p;
        if (w >= words) break;
        size_t left = columns - w * 64;
        keep[i * words + w] = left >= 64 ? pair[p] : pair[p] & ((1ull << left) - 1);
      }
    }
}

static void dropout_apply(const uint64_t *keep, size_t rows, size_t columns, float factor, float *x) {
  size_t words = (columns + 63) / 64;
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      vi kept = mask_lanes((uint16_t)(keep[i * words + j / 64] >> (j % 64)));
      float *p = x + i * columns + j;
      store_part(p, pick(kept, factor * load_part(p, n), splat(0)), n);
    }
}

// ---- layer normalisation ----

// Several rows at once, so that their sums do not wait for each other.
INLINE void normalise_rows(const float *x, size_t columns, float epsilon, const float *weight, const float *bias,
                           float *normalised, float *inverse_deviation, float *y, const int rows) {
  enum { MOST = 4 };
  vf sums[MOST];
  float means[MOST], inverses[MOST];
  size_t whole = columns / LANES * LANES, rest = columns - whole;
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) sums[i] = splat(0);
  for (size_t j = 0; j < columns; j += LANES)
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) sums[i] += load_part(x + (size_t)i * columns + j, lanes_at(j, columns));
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
    means[i] = sum_lanes(sums[i]) / (float)columns;
    sums[i] = splat(0);
  }
  for (size_t j = 0; j < whole; j += LANES)
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      vf d = load(x + (size_t)i * columns + j) - means[i];
      sums[i] = fma_(d, d, sums[i]);
    }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
    if (rest > 0) {
      vf d = load_part(x + (size_t)i * columns + whole, rest) - means[i];
      d = pick(mask_lanes(low_bits(rest)), d, splat(0));
      sums[i] = fma_(d, d, sums[i]);
    }
    inverses[i] = 1.0f / __builtin_sqrtf(sum_lanes(sums[i]) / (float)columns + epsilon);
    inverse_deviation[i] = inverses[i];
  }
  for (size_t j = 0; j < columns; j += LANES) {
    size_t n = lanes_at(j, columns);
    vf w = load_part(weight + j, n), b = load_part(bias + j, n);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      vf v = (load_part(x + (size_t)i * columns + j, n) - means[i]) * inverses[i];
      store_part(normalised + (size_t)i * columns + j, v, n);
      store_part(y + (size_t)i * columns + j, fma_(v, w, b), n);
    }
  }
}

static void normalise(const float *x, size_t rows, size_t columns, float epsilon, const float *weight,
                      const float *bias, float *normalised, float *inverse_deviation, float *y) {
  for (size_t i = 0; i < rows;) {
    size_t start = i * columns;
    if (rows - i >= 4) {
      normalise_rows(x + start, columns, epsilon, weight, bias, normalised + start, inverse_deviation + i, y + start, 4);
      i += 4;
    } else {
      normalise_rows(x + start, columns, epsilon, weight, bias, normalised + start, inverse_deviation + i, y + start, 1);
      i += 1;
    }
  }
}

static void normalise_backward(const float *dy, const float *weight, const float *normalised,
                               const float *inverse_deviation, size_t rows, size_t columns, float *dx) {
  for (size_t i = 0; i < rows; i++) {
    const float *d = dy + i * columns, *hat = normalised + i * columns;
    vf s = splat(0), t = splat(0);
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      vf g = load_part(d + j, n) * load_part(weight + j, n);
      s += g;
      t = fma_(g, load_part(hat + j, n), t);
    }
    float mean = sum_lanes(s) / (float)columns, projection = sum_lanes(t) / (float)columns;
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      vf g = load_part(d + j, n) * load_part(weight + j, n);
      vf v = (g - mean) - load_part(hat + j, n) * projection;
      store_part(dx + i * columns + j, v * inverse_deviation[i], n);
    }
  }
}

// ---- attention of one head ----

static void softmax(float *s, const float *extra, size_t rows, size_t length, size_t columns, float factor) {
  for (size_t i = 0; i < rows; i++) {
    float *row = s + i * columns;
    vf top = splat(-INFINITY);
    for (size_t j = 0; j < length; j += LANES) {
      size_t n = lanes_at(j, length);
      vf v = load_part(row + j, n);
      if (extra != NULL) v += load_part(extra + i * columns + j, n);
      v *= factor;
      store_part(row + j, v, n);
      v = pick(mask_lanes(n == LANES ? 0xFFFF : low_bits(n)), v, splat(-INFINITY));
      top = pick(v > top, v, top);
    }
    float largest = largest_lane(top);
    vf s_sum = splat(0);
    for (size_t j = 0; j < length; j += LANES) {
      size_t n = lanes_at(j, length);
      vf e = exponential(load_part(row + j, n) - largest);
      e = pick(mask_lanes(n == LANES ? 0xFFFF : low_bits(n)), e, splat(0));
      store_part(row + j, e, n);
      s_sum += e;
    }
    vf inverse = splat(1.0f / sum_lanes(s_sum));
    for (size_t j = 0; j < length; j += LANES) {
      size_t n = lanes_at(j, length);
      store_part(row + j, load_part(row + j, n) * inverse, n);
    }
    memset(row + length, 0, (columns - length) * sizeof(float));
  }
}

// p after dropout: the row's probabilities at column j.
INLINE vf dropped(const float *p, const uint64_t *keep, size_t words, size_t i, size_t j, float factor, size_t n,
                  size_t columns) {
  vf v = load_part(p + i * columns + j, n);
  if (keep == NULL) return v;
  return pick(mask_lanes((uint16_t)(keep[i * words + j / 64] >> (j % 64))), factor * v, splat(0));
}

static void binarise_probabilities(const float *p, const uint64_t *keep, float factor, size_t rows, size_t columns,
                                   float step, uint64_t *bits) {
  size_t words = (columns + 63) / 64;
  for (size_t i = 0; i < rows; i++)
    for (size_t w = 0; w < words; w++) {
      uint64_t word = 0;
      for (size_t block = 0; block < 4 && w * 64 + block * LANES < columns; block++) {
        size_t j = w * 64 + block * LANES, n = lanes_at(j, columns);
        vf q = dropped(p, keep, words, i, j, factor, n, columns) / step;
        word |= (uint64_t)(mask_bits(q > 0.5f) & low_bits(n)) << (block * LANES);
      }
      bits[i * words + w] = word;
    }
}

static double probabilities_backward(const float *p, const uint64_t *keep, float dropout_factor, float step,
                                     float score_factor, size_t rows, size_t columns, float *g) {
  size_t words = (columns + 63) / 64;
  vdd step_sum = zero_sum();
  for (size_t i = 0; i < rows; i++) {
    vf projection = splat(0), step_row = splat(0);
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      float *target = g + i * columns + j;
      vf d = load_part(target, n);
      vf q = dropped(p, keep, words, i, j, dropout_factor, n, columns) / step;
      vi above = q > 1.0f;
      vf rounded = pick(q > 0.5f, splat(1), splat(0));
      step_row += pick(above, d, (rounded - q) * d);
      d = pick(above, splat(0), d);
      if (keep != NULL) {
        vi kept = mask_lanes((uint16_t)(keep[i * words + j / 64] >> (j % 64)));
        d = pick(kept, dropout_factor * d, splat(0));
      }
      store_part(target, d, n);
      projection = fma_(d, load_part(p + i * columns + j, n), projection);
    }
    step_sum = add_lanes(step_sum, step_row);
    float mean = sum_lanes(projection);
    for (size_t j = 0; j < columns; j += LANES) {
      size_t n = lanes_at(j, columns);
      float *target = g + i * columns + j;
      vf v = load_part(p + i * columns + j, n) * (load_part(target, n) - mean);
      store_part(target, v * score_factor, n);
    }
  }
  return total(step_sum);
}

// ---- loss ----

static double cross_entropy(float *logits, size_t count, size_t label, float factor, size_t *best) {
  vf top = splat(-INFINITY);
  for (size_t j = 0; j < count; j += LANES) {
    size_t n = lanes_at(j, count);
    vf v = load_part(logits + j, n);
    v = pick(mask_lanes(n == LANES ? 0xFFFF : low_bits(n)), v, splat(-INFINITY));
    top = pick(v > top, v, top);
  }
  float largest = largest_lane(top);
  size_t first = 0;
  while (first < count && logits[first] < largest) first++;
  *best = first;
  double shifted_label = (double)logits[label] - (double)largest;
  vdd s = zero_sum();
  for (size_t j = 0; j < count; j += LANES) {
    size_t n = lanes_at(j, count);
    vf e = exponential(load_part(logits + j, n) - largest);
    e = pick(mask_lanes(n == LANES ? 0xFFFF : low_bits(n)), e, splat(0));
    store_part(logits + j, e, n);
    s = add_lanes(s, e);
  }
  double normaliser = total(s);
  scale((float)((double)factor / normaliser), count, logits);
  logits[label] -= factor;
  return log(normaliser) - shifted_label;
}

// ---- update ----

static void adamw(float *p, const float *g, float *m, float *v, size_t count, const bk_adamw *a) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vf gradient = a->gradient_factor * load_part(g + i, n);
    vf first = load_part(m + i, n), second = load_part(v + i, n), w = load_part(p + i, n);
    first = fma_(splat(1.0f - a->beta1), gradient - first, first);
    second = fma_(splat(1.0f - a->beta2), gradient * gradient, a->beta2 * second);
    vf denominator = __builtin_elementwise_sqrt(second) / a->root_correction2 + a->epsilon;
    w = w * (1.0f - a->rate * a->decay);
    w = w - (a->rate / a->correction1) * (first / denominator);
    store_part(m + i, first, n);
    store_part(v + i, second, n);
    store_part(p + i, w, n);
  }
}

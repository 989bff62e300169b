// Attention of one head of a model in use: from the bits of its queries to those of what the next layer reads.

// ---- scores ----

// Rows of scores lie so far apart that a tile may write all its lanes.
INLINE size_t score_stride(size_t tokens) { return (tokens + 63) / 64 * 64; }

typedef struct {
  float half, factor;
  float *scores;
  size_t ld;
} score_end_context;

INLINE void score_end(const void *context, size_t i, size_t j, size_t outputs, vi counts[TILE_ROWS][TILE_VECTORS],
                      const int rows, const int vectors) {
  const score_end_context *c = context;
  (void)outputs;
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      vf count = __builtin_convertvector(counts[r][v], vf) - c->half;
      store(c->scores + (i + (size_t)r) * c->ld + j + (size_t)v * LANES, fma_(splat(c->factor), count, splat(0)));
    }
}

// ---- probabilities ----

// The smallest e whose probability becomes 1: ((e * inverse) / step) > 0.5 as computed. That grows with e, and changes where
// e = step / 2 / inverse but for three roundings: within 3 units in the last place of what is computed of it.
INLINE vf smallest_set(vf inverse, float step) {
  vf middle = 0.5f * step / inverse, smallest = (vf)((vi)middle + 5);
#pragma clang loop unroll(full)
  for (int i = 4; i >= -4; i--) {
    vf e = (vf)((vi)middle + i);
    smallest = pick((e * inverse) / step > 0.5f, e, smallest);
  }
  return smallest;
}

// (score + extra) * factor takes the place of the scores, -infinity fills the last vector; the largest, lane by lane.
INLINE vf scale_scores(float *row, const float *extra, float factor, size_t tokens) {
  vf top = splat(-INFINITY);
  for (size_t j = 0; j < tokens; j += LANES) {
    size_t n = lanes_at(j, tokens);
    vf v = load(row + j);
    if (extra != NULL) v += load_part(extra + j, n);
    v *= factor;
    if (n < LANES) v = pick(mask_lanes(low_bits(n)), v, splat(-INFINITY));
    store(row + j, v);
    top = pick(v > top, v, top);
  }
  return top;
}

// e^(score - largest) takes the place of the scores; their sum, lane by lane. What `softmax` has as 0 is e^-87.3 here: beside
// the largest, which is 1, that changes neither a sum nor a bit.
INLINE vf exponentiate(float *row, float largest, size_t tokens) {
  vf sum = splat(0);
  for (size_t j = 0; j < tokens; j += LANES) {
    vf x = load(row + j) - largest;
    vf e = exponential_within(pick(x < -87.3f, splat(-87.3f), x));
    store(row + j, e);
    sum += e;
  }
  return sum;
}

// The scores become exponentials and these become bits, as `softmax` and `binarise_probabilities` have them, with the rows'
// biases. Each step goes over all rows, so that their reductions do not wait for each other.
INLINE void probability_bits(const bk_head *head, float *scores, size_t rows, const float *extra, size_t ld_extra,
                             uint64_t *bits, float *row_bias) {
  size_t tokens = head->tokens, words = (tokens + 63) / 64, ld = score_stride(tokens);
  const float *estimates = head->value_estimates;
  vf lanes[BK_ATTENTION_ROWS], inverses = splat(1);
  float largest[BK_ATTENTION_ROWS];
  for (size_t i = 0; i < rows; i++)
    lanes[i] = scale_scores(scores + i * ld, extra == NULL ? NULL : extra + i * ld_extra, head->score_factor, tokens);
  for (size_t i = 0; i < rows; i++) largest[i] = largest_lane(lanes[i]);
  for (size_t i = 0; i < rows; i++) lanes[i] = exponentiate(scores + i * ld, largest[i], tokens);
  for (size_t i = 0; i < rows; i++) inverses[i] = 1.0f / sum_lanes(lanes[i]);
  vf smallest = smallest_set(inverses, head->step);
  for (size_t i = 0; i < rows; i++) {
    const float *row = scores + i * ld;
    vf sum = splat(0);
    for (size_t w = 0; w < words; w++) {
      uint64_t word = 0;
#pragma clang loop unroll(full)
      for (size_t j = w * 64; j < w * 64 + 64; j += LANES) {
        vi set = load(row + j) >= smallest[i];
        word |= (uint64_t)mask_bits(set) << (j % 64);
        if (estimates != NULL && j < tokens) sum += pick(set, load_part(estimates + j, lanes_at(j, tokens)), splat(0));
      }
      size_t left = tokens - w * 64;
      bits[i * words + w] = left >= 64 ? word : word & ((1ull << left) - 1);
    }
    lanes[i] = sum;
  }
  for (size_t i = 0; i < rows; i++) row_bias[i] = head->step * sum_lanes(lanes[i]);
}

static void sum_set_elements(const uint64_t *bits, size_t rows, size_t columns, const float *values, float factor,
                             float *out) {
  size_t words = (columns + 63) / 64;
  for (size_t i = 0; i < rows; i++) {
    vf sum = splat(0);
    for (size_t j = 0; j < columns; j += LANES) {
      vi set = mask_lanes((uint16_t)(bits[i * words + j / 64] >> (j % 64)));
      sum += pick(set, load_part(values + j, lanes_at(j, columns)), splat(0));
    }
    out[i] = factor * sum_lanes(sum);
  }
}

// ---- context ----

typedef struct {
  float scale;
  const int32_t *ones;
  const float *row_bias, *shift;
  uint64_t *context;
  size_t ld, first;
} context_end_context;

INLINE void context_end(const void *context, size_t i, size_t j, size_t outputs, vi counts[TILE_ROWS][TILE_VECTORS],
                        const int rows, const int vectors) {
  const context_end_context *c = context;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    size_t column = j + (size_t)v * LANES, n = lanes_of(outputs, v);
    if (n == 0) break;
    vf shift = load_part(c->shift + column, n);
    size_t bit = c->first + column, offset = bit % 64;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      size_t row = i + (size_t)r;
      vf value = and_value(c->scale, counts[r][v], c->ones[row], c->row_bias[row]) + shift;
      uint64_t mask = mask_bits(value >= 0.0f) & low_bits(n);
      uint64_t *word = c->context + row * c->ld + bit / 64;
      word[0] |= mask << offset;
      if (offset + n > 64) word[1] |= mask >> (64 - offset);
    }
  }
}

static void attend(const bk_head *head, const uint64_t *queries, size_t rows, const float *extra, size_t ld_extra,
                   void *room, uint64_t *context, size_t ld) {
  size_t tokens = head->tokens, words = (head->width + 63) / 64, token_words = (tokens + 63) / 64;
  uint64_t *bits = room;
  float *scores = (float *)(bits + BK_ATTENTION_ROWS * token_words);
  score_end_context s = {0.5f * (float)head->width, -2.0f * head->score_scale, scores, score_stride(tokens)};
  each_tile(true, queries, rows, head->keys, tokens, words, 0, score_end, &s);
  float row_bias[BK_ATTENTION_ROWS];
  probability_bits(head, scores, rows, extra, ld_extra, bits, row_bias);

  int32_t ones[BK_ATTENTION_ROWS];
  for (size_t i = 0; i < rows; i++) ones[i] = count_ones(bits + i * token_words, token_words);
  context_end_context c = {head->value_scale, ones, row_bias, head->shift, context, ld, head->first};
  each_tile(false, bits, rows, head->values, head->width, token_words, 0, context_end, &c);
}

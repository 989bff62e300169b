// Between float rows and packed bits, and the straight-through backward of an elastic sign.

// One word of up to 64 columns; `whole` where there are 64.
INLINE void pack_word(const float *x, const float *shift, float step, const bool whole, size_t columns,
                      uint64_t *signs, uint64_t *within) {
  uint64_t sign_word = 0, within_word = 0;
  for (size_t j = 0; j < (whole ? 64 : columns); j += LANES) {
    size_t n = whole ? LANES : lanes_at(j, columns);
    vf v = load_part(x + j, n);
    if (shift != NULL) v += load_part(shift + j, n);
    sign_word |= (uint64_t)(mask_bits(v >= 0.0f) & low_bits(n)) << j;
    if (within != NULL) within_word |= (uint64_t)(mask_bits(absolute(v) <= step) & low_bits(n)) << j;
  }
  *signs = sign_word;
  if (within != NULL) *within = within_word;
}

static void pack(const float *x, size_t rows, size_t columns, size_t ld, const float *shift, float step,
                 uint64_t *signs, uint64_t *within) {
  size_t words = (columns + 63) / 64;
  for (size_t i = 0; i < rows; i++)
    for (size_t w = 0; w < words; w++) {
      const float *own = x + i * ld + w * 64, *own_shift = shift == NULL ? NULL : shift + w * 64;
      uint64_t *own_within = within == NULL ? NULL : within + i * words + w;
      if (columns - w * 64 >= 64) {
        pack_word(own, own_shift, step, true, 64, signs + i * words + w, own_within);
      } else {
        pack_word(own, own_shift, step, false, columns - w * 64, signs + i * words + w, own_within);
      }
    }
}

static void unpack(const uint64_t *bits, size_t rows, size_t columns, float high, float low, float *out, size_t ld) {
  size_t words = (columns + 63) / 64;
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j += LANES) {
      vi set = mask_lanes((uint16_t)(bits[i * words + j / 64] >> (j % 64)));
      store_part(out + i * ld + j, pick(set, splat(high), splat(low)), lanes_at(j, columns));
    }
}

// Of one vector of columns and some rows, in their order, added to the sums.
INLINE void sign_backward_part(const float *g, size_t ld_g, const uint64_t *signs, const uint64_t *within, size_t rows, size_t words,
                               size_t column, size_t n, bool add, float *dx, size_t ld_dx, vf *column_sum, vf *step_sum) {
  size_t word = column / 64, bit = column % 64;
  vf columns = *column_sum, step = *step_sum;
  for (size_t i = 0; i < rows; i++) {
    vf v = load_part(g + i * ld_g + column, n);
    vi sign = mask_lanes((uint16_t)(signs[i * words + word] >> bit));
    vi inside = mask_lanes((uint16_t)(within[i * words + word] >> bit));
    step += pick(sign, v, -v);
    vf passed = pick(inside, v, splat(0));
    columns += passed;
    float *target = dx + i * ld_dx + column;
    if (add) passed += load_part(target, n);
    store_part(target, passed, n);
  }
  *column_sum = columns;
  *step_sum = step;
}

static double sign_backward(const float *g, size_t ld_g, const uint64_t *signs, const uint64_t *within, size_t rows,
                            size_t words, size_t first, size_t last, bool add, float *dx, size_t ld_dx,
                            float *shift_gradient) {
  vdd step_sum = zero_sum();
  for (size_t j = first; j < last; j += LANES) {
    size_t n = lanes_at(j, last);
    vf column_sum = splat(0);
    for (size_t start = 0; start < rows; start += BK_BACKWARD_ROWS) {
      size_t count = rows - start < BK_BACKWARD_ROWS ? rows - start : BK_BACKWARD_ROWS;
      vf block_columns = splat(0), block_step = splat(0);
      sign_backward_part(g + start * ld_g, ld_g, signs + start * words, within + start * words, count, words, j, n, add,
                         dx + start * ld_dx, ld_dx, &block_columns, &block_step);
      column_sum += block_columns;
      step_sum = add_lanes(step_sum, block_step);
    }
    if (shift_gradient != NULL) store_part(shift_gradient + j, load_part(shift_gradient + j, n) + column_sum, n);
  }
  return total(step_sum);
}

static void sign_backward_rows(const float *g, size_t ld_g, const uint64_t *signs, const uint64_t *within, size_t rows,
                               size_t words, size_t columns, bool add, float *dx, size_t ld_dx, bool begin, float *column_sums,
                               float *step_sums) {
  for (size_t j = 0; j < columns; j += LANES) {
    size_t n = lanes_at(j, columns);
    vf column_sum = begin ? splat(0) : load_part(column_sums + j, n), step_sum = begin ? splat(0) : load_part(step_sums + j, n);
    sign_backward_part(g, ld_g, signs, within, rows, words, j, n, add, dx, ld_dx, &column_sum, &step_sum);
    store_part(column_sums + j, column_sum, n);
    store_part(step_sums + j, step_sum, n);
  }
}

static double sign_backward_sums(const float *column_sums, const float *step_sums, size_t blocks, size_t ld, size_t first,
                                 size_t last, float *shift_gradient) {
  vdd step_sum = zero_sum();
  for (size_t j = first; j < last; j += LANES) {
    size_t n = lanes_at(j, last);
    vf column_sum = splat(0);
    for (size_t b = 0; b < blocks; b++) {
      column_sum += load_part(column_sums + b * ld + j, n);
      step_sum = add_lanes(step_sum, load_part(step_sums + b * ld + j, n));
    }
    store_part(shift_gradient + j, load_part(shift_gradient + j, n) + column_sum, n);
  }
  return total(step_sum);
}

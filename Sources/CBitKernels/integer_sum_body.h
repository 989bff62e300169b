// Gradients as integer multiples of a power of two: sums that have the same bits in any order.

typedef uint16_t vuh __attribute__((vector_size(32), aligned(2)));

// Sums wrap, so they are unsigned; what lies beyond `limit`, or is no number, adds something (the caller finds it by the
// magnitude that is returned, and forgets the sum).
INLINE vi nearest_within(vf v, float limit) {
  v = pick(v >= -limit, v, splat(-limit));
  v = pick(v <= limit, v, splat(limit));
  return __builtin_convertvector(__builtin_elementwise_roundeven(v), vi);
}

// As bits, which are ordered as the magnitudes are, with infinity and then what is no number above them all.
INLINE uint32_t largest_magnitude_bits(vi v) {
  int32_t a[LANES], largest = 0;
  memcpy(a, &v, sizeof a);
  for (int i = 0; i < LANES; i++) largest = a[i] > largest ? a[i] : largest;
  return (uint32_t)largest;
}

INLINE vi greater(vi a, vi b) {
  vi first = a > b;
  return (first & a) | (~first & b);
}

// The first n of LANES elements, which become 0; of `sums` the bits in `kept` stay (all, or none); returns the larger of `largest` and their magnitudes. The largest float below 2^31 is the limit.
INLINE vi add_part(float *x, size_t n, vf scale, vu kept, uint32_t *sums, vi largest) {
  vf v = load_part(x, n);
  store_part(x, splat(0), n);
  vu sum = ((vu)load_part((const float *)sums, n) & kept) + (vu)nearest_within(v * scale, 0x1.fffffep30f);
  store_part((float *)sums, (vf)sum, n);
  return greater((vi)absolute(v), largest);
}

INLINE vi add_short_part(float *x, size_t n, vf scale, vu kept, uint16_t *sums, vi largest) {
  vf v = load_part(x, n);
  store_part(x, splat(0), n);
  vuh sum = {0};
  memcpy(&sum, sums, n * sizeof(uint16_t));
  sum = (sum & __builtin_convertvector(kept, vuh)) + __builtin_convertvector((vu)nearest_within(v * scale, 32767), vuh);
  memcpy(sums, &sum, n * sizeof(uint16_t));
  return greater((vi)absolute(v), largest);
}

// Whole vectors in a loop of their own, so that what it carries stays in registers.
static uint32_t add_multiples(float *x, size_t x_stride, size_t rows, size_t columns, float scale, bool add,
                              uint32_t *sums, size_t stride) {
  const vf factor = splat(scale);
  const vu kept = (vu){0} - (uint32_t)add;
  const size_t whole = columns / LANES * LANES;
  vi largest = {0};
  for (size_t row = 0; row < rows; row++)
    for (size_t i = 0; i < whole; i += LANES)
      largest = add_part(x + row * x_stride + i, LANES, factor, kept, sums + row * stride + i, largest);
  if (whole < columns)
    for (size_t row = 0; row < rows; row++)
      largest = add_part(x + row * x_stride + whole, columns - whole, factor, kept, sums + row * stride + whole, largest);
  return largest_magnitude_bits(largest);
}

static uint32_t add_short_multiples(float *x, size_t x_stride, size_t rows, size_t columns, float scale,
                                    bool add, uint16_t *sums, size_t stride) {
  const vf factor = splat(scale);
  const vu kept = (vu){0} - (uint32_t)add;
  const size_t whole = columns / LANES * LANES;
  vi largest = {0};
  for (size_t row = 0; row < rows; row++)
    for (size_t i = 0; i < whole; i += LANES)
      largest = add_short_part(x + row * x_stride + i, LANES, factor, kept, sums + row * stride + i, largest);
  if (whole < columns)
    for (size_t row = 0; row < rows; row++)
      largest = add_short_part(x + row * x_stride + whole, columns - whole, factor, kept, sums + row * stride + whole, largest);
  return largest_magnitude_bits(largest);
}

static void read_multiples(const uint32_t *sums, size_t count, float unit, float *x) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vi sum = (vi)load_part((const float *)(sums + i), n);
    store_part(x + i, __builtin_convertvector(sum, vf) * unit, n);
  }
}

static void read_short_multiples(const uint16_t *sums, size_t count, float unit, float *x) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vi sum = load_halves((const int16_t *)(sums + i), n);
    store_part(x + i, __builtin_convertvector(sum, vf) * unit, n);
  }
}

// Sums of gradients, and their bfloat16 form on the way between ranks.

typedef uint16_t vh __attribute__((vector_size(32), aligned(2)));

// To nearest, ties to even; what is not a number stays so.
INLINE vf to_bfloat16(vf v) {
  vu bits = (vu)v;
  vu nearest = (bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u;
  vu quiet = (bits & 0xFFFF0000u) | 0x00400000u;
  return pick((vi)((bits & 0x7FFFFFFFu) > 0x7F800000u), (vf)quiet, (vf)nearest);
}

static void add_vectors(const float *x, const float *y, size_t count, bool rounds, float *out) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vf sum = load_part(x + i, n) + load_part(y + i, n);
    store_part(out + i, rounds ? to_bfloat16(sum) : sum, n);
  }
}

static void round_vector(float *x, size_t count) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    store_part(x + i, to_bfloat16(load_part(x + i, n)), n);
  }
}

static void narrow_vector(const float *x, size_t count, uint16_t *halves) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vh narrow = __builtin_convertvector((vu)load_part(x + i, n) >> 16, vh);
    memcpy(halves + i, &narrow, n * sizeof(uint16_t));
  }
}

static void widen_vector(const uint16_t *halves, size_t count, float *x) {
  for (size_t i = 0; i < count; i += LANES) {
    size_t n = lanes_at(i, count);
    vh narrow = {0};
    memcpy(&narrow, halves + i, n * sizeof(uint16_t));
    store_part(x + i, (vf)(__builtin_convertvector(narrow, vu) << 16), n);
  }
}

// Looking up by bytes (rounded_lookup.h): the sum of four gradients over the bits that are set is one of 16 numbers of 10 bits, kept as
// two tables of five bits each, which a shuffle of bytes looks 32 or 64 columns up in. Eight such halves may be added before they
// pass eight bits; then they are put together in 16. Not quite five instructions for four products of 32 or 64 columns, where
// vpmaddubsw and its additions take eight.
//
// The indices of a column are bytes: index[(column / LOOKUP_BYTES * groups + row / 4) * LOOKUP_BYTES + column % LOOKUP_BYTES].
//
// The file that includes this one has LOOKUP_BYTES, the bytes of a register, LOOKUP_ROWS and LOOKUP_VECTORS, the tile whose sums stay
// in registers, SHUFFLE(table, index), REPEAT(p), which is 16 bytes again and again, ADD_PAIRS(bytes, signed bytes), and
// INTERLEAVE_LOW(a, b) and INTERLEAVE_HIGH(a, b) of bytes, by 16 bytes.

enum {
  UNTIL_JOINED = 8,                          // 8 * 31 < 2^8
  SUM_OFFSET = 512,                          // makes sums of four positive
  STEP_TABLE_BYTES = PANEL_ROWS * 32,
  CHUNK_STEPS = 64,                          // groups; 64 * (512 + 4 * 127) < 2^16
};

typedef uint8_t vlookup __attribute__((vector_size(LOOKUP_BYTES), aligned(1)));
typedef uint16_t vjoined __attribute__((vector_size(LOOKUP_BYTES)));

// A step is a group of four.
INLINE size_t lookup_steps(size_t depth) { return (depth + 3) / 4; }

static void index_bits(const uint64_t *bits, size_t rows, size_t words, size_t vector, uint8_t *indices) {
  size_t steps = lookup_steps(rows), column = vector * 32;
  uint8_t *target = indices + column / LOOKUP_BYTES * steps * LOOKUP_BYTES + column % LOOKUP_BYTES;
  const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201ull);
  for (size_t k = 0; k < steps; k++) {
    __m256i index = _mm256_setzero_si256();
    for (size_t r = 0; r < 4 && k * 4 + r < rows; r++) {
      int32_t some = (int32_t)(bits[(k * 4 + r) * words + column / 64] >> (column % 64));
      __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(some), spread), bit);
      index = _mm256_or_si256(index, _mm256_and_si256(_mm256_cmpeq_epi8(set, bit), _mm256_set1_epi8((char)(1 << r))));
    }
    _mm256_storeu_si256((__m256i *)(target + k * LOOKUP_BYTES), index);
  }
}

// The tables of `steps` groups from `first` on of a panel: tables[group][row / 2], of 64 bytes: the lower halves of the row and of
// the next one, then the upper halves.
INLINE void make_tables(const int8_t *panel, size_t groups, size_t first, size_t steps, uint8_t *tables) {
  (void)groups;
  const __m256i first_pair = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 4, 5, 4, 5, 4, 5, 4, 5, 4, 5, 4, 5, 4, 5, 4, 5);
  const __m256i second_pair = _mm256_add_epi8(first_pair, _mm256_set1_epi8(2)), half = _mm256_set1_epi16(31);
  // Which of the four the entries 0 ... 7 have; 8 ... 15 have the last one too.
  const __m256i zero_one = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 1, 1, 1));
  const __m256i two = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0));
  const __m256i three = _mm256_set1_epi16(256);
  for (size_t k = 0; k < steps; k++)
    for (size_t r = 0; r < PANEL_ROWS; r += 2) {
      int64_t rows;
      memcpy(&rows, panel + ((first + k) * PANEL_ROWS + r) * 4, 8);
      __m256i both = _mm256_set1_epi64x(rows);
      __m256i a = _mm256_shuffle_epi8(both, first_pair), b = _mm256_shuffle_epi8(both, second_pair);
      __m256i low = _mm256_add_epi16(_mm256_maddubs_epi16(zero_one, a), _mm256_maddubs_epi16(two, b));
      low = _mm256_add_epi16(low, _mm256_set1_epi16(SUM_OFFSET));
      __m256i high = _mm256_add_epi16(low, _mm256_maddubs_epi16(three, b));
      __m256i *target = (__m256i *)(tables + (k * PANEL_ROWS + r) * 32);
      _mm256_store_si256(target, _mm256_packus_epi16(_mm256_and_si256(low, half), _mm256_and_si256(high, half)));
      _mm256_store_si256(target + 1, _mm256_packus_epi16(_mm256_srli_epi16(low, 5), _mm256_srli_epi16(high, 5)));
    }
}

// Adds the sums of LOOKUP_ROWS rows and `width` vectors of columns over `steps` groups to counts, or writes them.
INLINE void look_up_tile(size_t width, const uint8_t *tables, const uint8_t *indices, size_t stride, size_t steps, bool add,
                         int32_t *counts, size_t ld) {
  const vlookup join = (vlookup)((vjoined){0} + (uint16_t)(32 << 8 | 1));
  vjoined joined[LOOKUP_ROWS][LOOKUP_VECTORS][2];
#pragma clang loop unroll(full)
  for (size_t r = 0; r < LOOKUP_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < width; v++) joined[r][v][0] = joined[r][v][1] = (vjoined){0};
  for (size_t start = 0; start < steps; start += UNTIL_JOINED) {
    size_t end = start + UNTIL_JOINED < steps ? start + UNTIL_JOINED : steps;
    vlookup low[LOOKUP_ROWS][LOOKUP_VECTORS], high[LOOKUP_ROWS][LOOKUP_VECTORS];
#pragma clang loop unroll(full)
    for (size_t r = 0; r < LOOKUP_ROWS; r++)
#pragma clang loop unroll(full)
      for (size_t v = 0; v < width; v++) low[r][v] = high[r][v] = (vlookup){0};
#pragma clang loop unroll(disable)
    for (size_t k = start; k < end; k++) {
      vlookup index[LOOKUP_VECTORS];
#pragma clang loop unroll(full)
      for (size_t v = 0; v < width; v++) index[v] = *(const vlookup *)(indices + v * stride + k * LOOKUP_BYTES);
#pragma clang loop unroll(full)
      for (size_t r = 0; r < LOOKUP_ROWS; r++) {
        const uint8_t *table = tables + (k * PANEL_ROWS + r / 2 * 2) * 32 + r % 2 * 16;
        vlookup low_table = (vlookup)REPEAT(table), high_table = (vlookup)REPEAT(table + 32);
#pragma clang loop unroll(full)
        for (size_t v = 0; v < width; v++) {
          low[r][v] += (vlookup)SHUFFLE(low_table, index[v]);
          high[r][v] += (vlookup)SHUFFLE(high_table, index[v]);
        }
      }
    }
#pragma clang loop unroll(full)
    for (size_t r = 0; r < LOOKUP_ROWS; r++)
#pragma clang loop unroll(full)
      for (size_t v = 0; v < width; v++) {
        joined[r][v][0] += (vjoined)ADD_PAIRS(INTERLEAVE_LOW(low[r][v], high[r][v]), join);
        joined[r][v][1] += (vjoined)ADD_PAIRS(INTERLEAVE_HIGH(low[r][v], high[r][v]), join);
      }
  }
  typedef uint16_t eight __attribute__((vector_size(16)));
  typedef int32_t eight_counts __attribute__((vector_size(32)));
  for (size_t r = 0; r < LOOKUP_ROWS; r++)
    for (size_t v = 0; v < width; v++)
      for (size_t part = 0; part < LOOKUP_BYTES / 8; part++) {
        eight sums = ((const eight *)&joined[r][v][part % 2])[part / 2];
        eight_counts *target = (eight_counts *)(counts + r * ld + v * LOOKUP_BYTES + part * 8);
        eight_counts sum = __builtin_convertvector(sums, eight_counts) - (int32_t)(SUM_OFFSET * steps);
        *target = add ? *target + sum : sum;
      }
}

// Those of all columns and rows over some steps.
INLINE void look_up(const uint8_t *tables, const uint8_t *indices, size_t columns, size_t depth, size_t first, size_t steps,
                    int32_t *counts, size_t ld) {
  size_t vectors = (columns + LOOKUP_BYTES - 1) / LOOKUP_BYTES, stride = lookup_steps(depth) * LOOKUP_BYTES;
  const uint8_t *own = indices + first * LOOKUP_BYTES;
  size_t v = 0;
  for (; v + LOOKUP_VECTORS <= vectors; v += LOOKUP_VECTORS)
    for (size_t r = 0; r < PANEL_ROWS; r += LOOKUP_ROWS)
      look_up_tile(LOOKUP_VECTORS, tables + r * 32, own + v * stride, stride, steps, first > 0, counts + r * ld + v * LOOKUP_BYTES, ld);
  for (; v < vectors; v++)
    for (size_t r = 0; r < PANEL_ROWS; r += LOOKUP_ROWS)
      look_up_tile(1, tables + r * 32, own + v * stride, stride, steps, first > 0, counts + r * ld + v * LOOKUP_BYTES, ld);
}

// Looking up by words (rounded_lookup.h): the sum of five gradients over the bits that are set is one of 32 numbers of 16 bits, which
// fill a register; a permutation looks 32 columns up. It and an addition thus do 160 products; VNNI's instruction does 64.
//
// A word of 16 bits holds the indices of a column for three look-ups: index[(column / 32 * words + word) * 32 + column % 32]. The
// rows of look-up q are 20 (q / 4) + 4 (q % 4) and the next three, and 20 (q / 4) + 16 + q % 4, so that four of the gradients lie
// together.

enum {
  TOGETHER = 5,                      // gradients of a look-up
  LOOKUP_COLUMNS = 32,               // 16-bit lanes
  LOOKUP_VECTORS = 3,                // of a tile, whose sums stay in registers
  LOOKUP_BLOCK = 4 * TOGETHER,       // depth of a block: four look-ups take four gradients in a row and one of the last four
  LOOKUPS_A_WORD = 3,
  STEP_TABLE_BYTES = LOOKUPS_A_WORD * PANEL_ROWS * 64,
  CHUNK_STEPS = 16,                  // words; 16-bit sums hold them: 48 * 5 * 127 < 2^15
};

// Row of the bit matrix whose bit is `element` of look-up q's index.
INLINE size_t looked_up_row(size_t q, size_t element) {
  size_t block = q / 4 * LOOKUP_BLOCK, place = q % 4;
  return block + (element < 4 ? 4 * place + element : 16 + place);
}

// A step is a word.
INLINE size_t lookup_steps(size_t depth) {
  return ((depth + LOOKUP_BLOCK - 1) / LOOKUP_BLOCK * 4 + LOOKUPS_A_WORD - 1) / LOOKUPS_A_WORD;
}

static void index_bits(const uint64_t *bits, size_t rows, size_t words, size_t vector, uint8_t *indices) {
  size_t steps = lookup_steps(rows);
  for (size_t w = 0; w < steps; w++) {
    __m512i index = _mm512_setzero_si512();
    for (size_t i = 0; i < TOGETHER * LOOKUPS_A_WORD; i++) {
      size_t row = looked_up_row(w * LOOKUPS_A_WORD + i / TOGETHER, i % TOGETHER);
      if (row >= rows) continue;
      __mmask32 set = (__mmask32)(bits[row * words + vector / 2] >> (vector % 2 * 32));
      index = _mm512_mask_add_epi16(index, set, index, _mm512_set1_epi16((int16_t)(1 << i)));
    }
    _mm512_storeu_si512(indices + (vector * steps + w) * 64, index);
  }
}

// Where element `first` of an index, and the next one, are set, as bytes to be multiplied by pairs of gradients.
INLINE __m512i chosen_pairs(int first, int second) {
  int8_t bytes[64];
  for (int i = 0; i < 32; i++) {
    bytes[2 * i] = first < 0 ? 0 : (i >> first) & 1;
    bytes[2 * i + 1] = second < 0 ? 0 : (i >> second) & 1;
  }
  return _mm512_loadu_si512(bytes);
}

INLINE __m512i repeat_pair(const int8_t *bytes) {
  int16_t pair;
  memcpy(&pair, bytes, 2);
  return _mm512_set1_epi16(pair);
}

// The tables of `steps` words from `first` on, a multiple of CHUNK_STEPS, of a panel with `groups` groups of four:
// tables[look-up][row][32].
INLINE void make_tables(const int8_t *panel, size_t groups, size_t first, size_t steps, int16_t *tables) {
  static const int8_t none[PANEL_ROWS * 4] = {0};
  const __m512i c01 = chosen_pairs(0, 1), c23 = chosen_pairs(2, 3), even = chosen_pairs(4, -1), odd = chosen_pairs(-1, 4);
  for (size_t b = 0; b * 4 < steps * LOOKUPS_A_WORD; b++) {
    const int8_t *fours[5];
    for (size_t j = 0; j < 5; j++) {
      size_t group = (first * LOOKUPS_A_WORD / 4 + b) * 5 + j;
      fours[j] = group < groups ? panel + group * PANEL_ROWS * 4 : none;
    }
    for (size_t r = 0; r < PANEL_ROWS; r++) {
      __m512i low = repeat_pair(fours[4] + r * 4), high = repeat_pair(fours[4] + r * 4 + 2);
      const __m512i fifth[4] = {_mm512_maddubs_epi16(even, low), _mm512_maddubs_epi16(odd, low), _mm512_maddubs_epi16(even, high),
                                _mm512_maddubs_epi16(odd, high)};
#pragma clang loop unroll(full)
      for (size_t j = 0; j < 4; j++) {
        __m512i sum = _mm512_add_epi16(_mm512_maddubs_epi16(c01, repeat_pair(fours[j] + r * 4)),
                                       _mm512_maddubs_epi16(c23, repeat_pair(fours[j] + r * 4 + 2)));
        _mm512_store_si512(tables + ((b * 4 + j) * PANEL_ROWS + r) * LOOKUP_COLUMNS, _mm512_add_epi16(sum, fifth[j]));
      }
    }
  }
}

// Adds the sums of a panel and `width` vectors of columns over `words` words of indices to counts, or writes them.
INLINE void look_up_tile(size_t width, const int16_t *tables, const uint16_t *indices, size_t stride, size_t words, bool add,
                         int32_t *counts, size_t ld) {
  __m512i sums[PANEL_ROWS][LOOKUP_VECTORS], index[LOOKUP_VECTORS];
#pragma clang loop unroll(full)
  for (size_t r = 0; r < PANEL_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < width; v++) sums[r][v] = _mm512_setzero_si512();
  for (size_t w = 0; w < words; w++) {
#pragma clang loop unroll(full)
    for (size_t v = 0; v < width; v++) index[v] = _mm512_loadu_si512(indices + v * stride + w * LOOKUP_COLUMNS);
#pragma clang loop unroll(full)
    for (size_t q = 0; q < LOOKUPS_A_WORD; q++) {
#pragma clang loop unroll(full)
      for (size_t r = 0; r < PANEL_ROWS; r++) {
        __m512i table = _mm512_load_si512(tables + ((w * LOOKUPS_A_WORD + q) * PANEL_ROWS + r) * LOOKUP_COLUMNS);
#pragma clang loop unroll(full)
        for (size_t v = 0; v < width; v++) sums[r][v] = _mm512_add_epi16(sums[r][v], _mm512_permutexvar_epi16(index[v], table));
      }
#pragma clang loop unroll(full)
      for (size_t v = 0; v < width; v++) {
        index[v] = _mm512_srli_epi16(index[v], TOGETHER);
        __asm__ volatile("" : "+v"(index[v]));  // in its register: the compiler would keep each shift in one of its own
      }
    }
  }
#pragma clang loop unroll(full)
  for (size_t r = 0; r < PANEL_ROWS; r++)
#pragma clang loop unroll(full)
    for (size_t v = 0; v < width; v++) {
      int32_t *target = counts + r * ld + v * LOOKUP_COLUMNS;
      __m512i low = _mm512_cvtepi16_epi32(_mm512_castsi512_si256(sums[r][v]));
      __m512i high = _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(sums[r][v], 1));
      if (add) low = _mm512_add_epi32(low, _mm512_load_si512(target)), high = _mm512_add_epi32(high, _mm512_load_si512(target + 16));
      _mm512_store_si512(target, low);
      _mm512_store_si512(target + 16, high);
    }
}

// Those of all columns over some steps.
INLINE void look_up(const int16_t *tables, const uint8_t *indices, size_t columns, size_t depth, size_t first, size_t steps,
                    int32_t *counts, size_t ld) {
  size_t vectors = (columns + LOOKUP_COLUMNS - 1) / LOOKUP_COLUMNS, stride = lookup_steps(depth) * LOOKUP_COLUMNS;
  const uint16_t *own = (const uint16_t *)indices + first * LOOKUP_COLUMNS;
  size_t v = 0;
  for (; v + LOOKUP_VECTORS <= vectors; v += LOOKUP_VECTORS)
    look_up_tile(LOOKUP_VECTORS, tables, own + v * stride, stride, steps, first > 0, counts + v * LOOKUP_COLUMNS, ld);
  for (; v < vectors; v++)
    look_up_tile(1, tables, own + v * stride, stride, steps, first > 0, counts + v * LOOKUP_COLUMNS, ld);
}

// Counts of products on packed bits where no instruction counts the bits of a vector's words. Four bits of a row of A choose
// one of 16 tables, which holds the count for each value that the same four bits of a row of B may have; one shuffle of
// bytes looks 32 or 64 rows of B up. Byte sums are widened before they can overflow.
//
// The file that includes this one has TABLE_BYTES, the bytes of a register, SHUFFLE(table, index), and REPEAT(p), which is 16
// bytes again and again.

enum { TILES_GO_DOWN = true, TILE_OUTPUTS = 16 * TILE_VECTORS, TILE_REGISTERS = TILE_OUTPUTS / TABLE_BYTES };
// Words of a row of B that are rearranged at once, their half bytes, and how many of these may be summed in bytes: each adds 4.
enum { PART_WORDS = 48, HALVES = 16 * PART_WORDS, HALVES_UNTIL_WIDENED = 48 };

typedef uint8_t vbytes __attribute__((vector_size(TABLE_BYTES), aligned(1)));
typedef uint16_t vhalves __attribute__((vector_size(2 * TABLE_BYTES), aligned(2)));
typedef uint16_t vhalves16 __attribute__((vector_size(32), aligned(2)));

// bits[exclusive][x][v]: the bits of x ^ v, or of x & v.
static const uint8_t bit_tables[2][16][16] __attribute__((aligned(64))) = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1},
     {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1}, {0, 1, 1, 2, 0, 1, 1, 2, 0, 1, 1, 2, 0, 1, 1, 2},
     {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1}, {0, 1, 0, 1, 1, 2, 1, 2, 0, 1, 0, 1, 1, 2, 1, 2},
     {0, 0, 1, 1, 1, 1, 2, 2, 0, 0, 1, 1, 1, 1, 2, 2}, {0, 1, 1, 2, 1, 2, 2, 3, 0, 1, 1, 2, 1, 2, 2, 3},
     {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, {0, 1, 0, 1, 0, 1, 0, 1, 1, 2, 1, 2, 1, 2, 1, 2},
     {0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 2, 2, 1, 1, 2, 2}, {0, 1, 1, 2, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3},
     {0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2}, {0, 1, 0, 1, 1, 2, 1, 2, 1, 2, 1, 2, 2, 3, 2, 3},
     {0, 0, 1, 1, 1, 1, 2, 2, 1, 1, 2, 2, 2, 2, 3, 3}, {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4}},
    {{0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4}, {1, 0, 2, 1, 2, 1, 3, 2, 2, 1, 3, 2, 3, 2, 4, 3},
     {1, 2, 0, 1, 2, 3, 1, 2, 2, 3, 1, 2, 3, 4, 2, 3}, {2, 1, 1, 0, 3, 2, 2, 1, 3, 2, 2, 1, 4, 3, 3, 2},
     {1, 2, 2, 3, 0, 1, 1, 2, 2, 3, 3, 4, 1, 2, 2, 3}, {2, 1, 3, 2, 1, 0, 2, 1, 3, 2, 4, 3, 2, 1, 3, 2},
     {2, 3, 1, 2, 1, 2, 0, 1, 3, 4, 2, 3, 2, 3, 1, 2}, {3, 2, 2, 1, 2, 1, 1, 0, 4, 3, 3, 2, 3, 2, 2, 1},
     {1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3}, {2, 1, 3, 2, 3, 2, 4, 3, 1, 0, 2, 1, 2, 1, 3, 2},
     {2, 3, 1, 2, 3, 4, 2, 3, 1, 2, 0, 1, 2, 3, 1, 2}, {3, 2, 2, 1, 4, 3, 3, 2, 2, 1, 1, 0, 3, 2, 2, 1},
     {2, 3, 3, 4, 1, 2, 2, 3, 1, 2, 2, 3, 0, 1, 1, 2}, {3, 2, 4, 3, 2, 1, 3, 2, 2, 1, 3, 2, 1, 0, 2, 1},
     {3, 4, 2, 3, 2, 3, 1, 2, 2, 3, 1, 2, 1, 2, 0, 1}, {4, 3, 3, 2, 3, 2, 2, 1, 3, 2, 2, 1, 2, 1, 1, 0}}};

// Two rows of eight bytes in each half of a register, from 8 rows of B each.
INLINE __m256i row_pairs(const uint64_t *low, const uint64_t *high, int first) {
  const __m256i alternate = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
  __m256i rows = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(low + first)));
  rows = _mm256_inserti128_si256(rows, _mm_loadu_si128((const __m128i *)(high + first)), 1);
  return _mm256_shuffle_epi8(rows, alternate);
}

// The bytes 2k and 2k + 1 of 8 rows each: columns[k] of `low` in the lower half, of `high` in the upper one.
INLINE void transpose_rows(const uint64_t *low, const uint64_t *high, __m256i columns[4]) {
  __m256i a = row_pairs(low, high, 0), b = row_pairs(low, high, 2), c = row_pairs(low, high, 4), d = row_pairs(low, high, 6);
  __m256i ab = _mm256_unpacklo_epi16(a, b), cd = _mm256_unpacklo_epi16(c, d);
  columns[0] = _mm256_unpacklo_epi32(ab, cd);
  columns[1] = _mm256_unpackhi_epi32(ab, cd);
  ab = _mm256_unpackhi_epi16(a, b), cd = _mm256_unpackhi_epi16(c, d);
  columns[2] = _mm256_unpacklo_epi32(ab, cd);
  columns[3] = _mm256_unpackhi_epi32(ab, cd);
}

INLINE void store_halves(__m256i bytes, uint8_t *low, uint8_t *high) {
  const __m256i mask = _mm256_set1_epi8(15);
  _mm256_storeu_si256((__m256i *)low, _mm256_and_si256(bytes, mask));
  _mm256_storeu_si256((__m256i *)high, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask));
}

// The words first ..< last of up to 8 groups of B, half byte by half byte of 64 rows: halves[(w - first) * 16 + k][row].
INLINE void arrange_halves(const uint64_t *b, size_t groups, size_t words, size_t first, size_t last,
                           uint8_t halves[HALVES][TILE_OUTPUTS]) {
  static const uint64_t none[8] = {0};
  for (size_t w = first; w < last; w++)
    for (size_t g = 0; g < TILE_OUTPUTS / 8; g += 4) {
      const uint64_t *rows[4];
      for (size_t i = 0; i < 4; i++) rows[i] = g + i < groups ? b + ((g + i) * words + w) * 8 : none;
      __m256i even[4], odd[4];
      transpose_rows(rows[0], rows[2], even);
      transpose_rows(rows[1], rows[3], odd);
      for (size_t k = 0; k < 4; k++) {
        uint8_t(*target)[TILE_OUTPUTS] = halves + (w - first) * 16 + 4 * k;
        store_halves(_mm256_unpacklo_epi64(even[k], odd[k]), target[0] + g * 8, target[1] + g * 8);
        store_halves(_mm256_unpackhi_epi64(even[k], odd[k]), target[2] + g * 8, target[3] + g * 8);
      }
    }
}

// Where the tables of a row's bytes begin: 16 times each half byte, the lower one first.
INLINE void table_places(const uint64_t *row, size_t words, uint8_t *places) {
  typedef uint8_t bytes8 __attribute__((vector_size(8)));
  for (size_t w = 0; w < words; w++) {
    bytes8 bytes;
    memcpy(&bytes, row + w, 8);
    bytes8 low = bytes << 4, high = bytes & 0xF0;
    typedef uint8_t bytes16 __attribute__((vector_size(16)));
    bytes16 both = __builtin_shufflevector(low, high, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    memcpy(places + w * 16, &both, 16);
  }
}

// Adds the counts of `rows` rows, whose table places lie in `places`, against 64 arranged rows of B.
INLINE void add_counts(const uint8_t *tables, uint8_t places[TILE_ROWS][HALVES],
                       uint8_t halves[HALVES][TILE_OUTPUTS], size_t count, const int rows,
                       vi counts[TILE_ROWS][TILE_VECTORS]) {
  vhalves wide[TILE_ROWS][TILE_REGISTERS];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int r = 0; r < TILE_REGISTERS; r++) wide[i][r] = (vhalves){0};
  for (size_t start = 0; start < count; start += HALVES_UNTIL_WIDENED) {
    size_t end = start + HALVES_UNTIL_WIDENED < count ? start + HALVES_UNTIL_WIDENED : count;
    vbytes sums[TILE_ROWS][TILE_REGISTERS];
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
      for (int r = 0; r < TILE_REGISTERS; r++) sums[i][r] = (vbytes){0};
#pragma clang loop unroll(disable)
    for (size_t k = start; k < end; k++) {
      vbytes right[TILE_REGISTERS];
#pragma clang loop unroll(full)
      for (int r = 0; r < TILE_REGISTERS; r++) right[r] = *(const vbytes *)(halves[k] + r * TABLE_BYTES);
#pragma clang loop unroll(full)
      for (int i = 0; i < rows; i++) {
        vbytes table = REPEAT(tables + places[i][k]);
#pragma clang loop unroll(full)
        for (int r = 0; r < TILE_REGISTERS; r++) sums[i][r] += SHUFFLE(table, right[r]);
      }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
      for (int r = 0; r < TILE_REGISTERS; r++) wide[i][r] += __builtin_convertvector(sums[i][r], vhalves);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int v = 0; v < TILE_VECTORS; v++) {
      vhalves16 part = *((const vhalves16 *)&wide[i][0] + v);
      counts[i][v] += __builtin_convertvector(part, vi);
    }
}

INLINE void count_tile(bool exclusive, const uint64_t *a, const uint64_t *b, size_t groups, size_t words, int32_t start,
                       uint8_t halves[HALVES][TILE_OUTPUTS], const int rows, vi counts[TILE_ROWS][TILE_VECTORS]) {
  uint8_t places[TILE_ROWS][HALVES];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int v = 0; v < TILE_VECTORS; v++) counts[i][v] = (vi){0} + start;
  for (size_t first = 0; first < words; first += PART_WORDS) {
    size_t last = first + PART_WORDS < words ? first + PART_WORDS : words;
    if (words > PART_WORDS) arrange_halves(b, groups, words, first, last, halves);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) table_places(a + (size_t)i * words + first, last - first, places[i]);
    add_counts(bit_tables[exclusive][0], places, halves, 16 * (last - first), rows, counts);
  }
}

// 64 rows of B are rearranged once for all rows of A, unless they are longer than a part.
INLINE void each_tile(bool exclusive, const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                      int32_t start, tile_end end, const void *context) {
  uint8_t halves[HALVES][TILE_OUTPUTS] __attribute__((aligned(64)));
  vi counts[TILE_ROWS][TILE_VECTORS];
  for (size_t j = 0; j < rows_b; j += TILE_OUTPUTS) {
    size_t outputs = rows_b - j < TILE_OUTPUTS ? rows_b - j : TILE_OUTPUTS, groups = (outputs + 7) / 8;
    const uint64_t *right = b + j * words;
    if (words <= PART_WORDS) arrange_halves(right, groups, words, 0, words, halves);
    for (size_t i = 0; i < rows_a;) {
      size_t rows = rows_a - i < TILE_ROWS ? 1 : TILE_ROWS;
      const uint64_t *left = a + i * words;
      if (rows == TILE_ROWS) {
        count_tile(exclusive, left, right, groups, words, start, halves, TILE_ROWS, counts);
        end(context, i, j, outputs, counts, TILE_ROWS, TILE_VECTORS);
      } else {
        count_tile(exclusive, left, right, groups, words, start, halves, 1, counts);
        end(context, i, j, outputs, counts, 1, TILE_VECTORS);
      }
      i += rows;
    }
  }
}

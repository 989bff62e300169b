// SIMD kernels of bipft. One body per concern (*_body.h), compiled once per instruction set, chosen at run time.
// Every instruction set gives the same bits: sums have fixed lanes, and fused multiply-adds are explicit.
//
// Legend: packed rows hold ceil(columns / 64) words of 64 bits a row, bit j of a row in bit j % 64 of word j / 64,
// unused bits zero. Interleaved rows hold groups of 8 rows, word-major within a group:
// word[(row / 8 * words + w) * 8 + row % 8], so that one 512-bit load reads the same word of 8 rows.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The left operand of rounded products: panels of 8 rows, four consecutive columns of a row together,
// byte[((row / 8 * ceil(columns / 4) + column / 4) * 8 + row % 8) * 4 + column % 4], zero beyond the columns; the right
// one in panels of 48 columns, expanded[(row / 4 * 48 + column) * 4 + row % 4].
enum { BK_PANEL_ROWS = 8, BK_PANEL_COLUMNS = 48 };

// The right operand of rounded products by look-up has a layout of each instruction set's own. Columns that are looked up, padding
// included; bytes of an operand at most; and bytes that `lookup_product` works in, its tables first. All are aligned to 64.
enum { BK_LOOKUP_TABLES = 24576 };
static inline size_t bk_lookup_width(size_t columns) { return (columns + 63) / 64 * 64; }
static inline size_t bk_lookup_indices(size_t rows, size_t columns) { return (rows + 19) / 20 * 5 * bk_lookup_width(columns); }
static inline size_t bk_lookup_room(size_t columns) {
  return BK_LOOKUP_TABLES + bk_lookup_width(columns) * BK_PANEL_ROWS * sizeof(int32_t);
}

// Operands of bfloat16 products lie in the same panels, a word holding the elements 2k (its lower half) and 2k + 1 of the
// summed dimension: left[(row / 8 * pairs + k) * 8 + row % 8], right[(column / 48 * pairs + k) * 48 + column % 48], zero
// beyond the matrix. Linear layers sum so many pairs before they add to the result.
enum { BK_BLOCK_PAIRS = 384 };

// Rows whose straight-through gradients are added in float32 before the sums are.
enum { BK_BACKWARD_ROWS = 64 };

// Rows of queries that `attend` takes at most.
enum { BK_ATTENTION_ROWS = 12 };

// One head of a sequence in a model in use. T tokens, D is `width`.
typedef struct {
  size_t tokens, width;
  const uint64_t *keys, *values;      // T x D and D x T bits, interleaved
  float score_scale, score_factor;    // score = (score_scale * dot + extra) * score_factor
  float step;                         // of the probabilities
  float value_scale;                  // context = value_scale * dot + row bias
  const float *value_estimates;       // T; a row's bias is step * their sum over its bits; NULL for none
  const float *shift;                 // D; the context's bit is context + shift >= 0
  size_t first;                       // where the head's bits begin in a row of the context
} bk_head;

// An operand's step size, and the set of integers that it has in units of it: of `bits` bits, from low to high.
typedef struct {
  float step, low, high;
  int32_t bits;
} bk_levels;

// No sum of products of such integers may be larger, so that it is exact in float32 in any order.
enum { BK_LARGEST_SUM = 1 << 24 };

// The integers of n bits: signed -2^(n-1) ... 2^(n-1) - 1, unsigned 0 ... 2^n - 1; one signed bit is apart, -1 and 1.
static inline bk_levels bk_level_set(int32_t bits, bool is_signed, float step) {
  int32_t half = 1 << (bits - 1);
  if (is_signed && bits == 1) return (bk_levels){step, -1, 1, 1};
  if (is_signed) return (bk_levels){step, (float)-half, (float)(half - 1), bits};
  return (bk_levels){step, 0, (float)(2 * half - 1), bits};
}
static inline bool bk_is_sign(bk_levels l) { return l.bits == 1 && l.low < 0; }

// Settings of one AdamW step: corrections are 1 - beta1^t and sqrt(1 - beta2^t); gradients are multiplied by
// gradient_factor first.
typedef struct {
  float gradient_factor, rate, beta1, beta2, epsilon, decay, correction1, root_correction2;
} bk_adamw;

typedef struct {
  const char *name;

  // ---- products on packed bits ----

  // out[i*ld + j] = scale * (columns - 2 popcount(a_i ^ b_j)) + bias[j]; bias may be NULL. The sum is exact.
  void (*xnor_product)(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                       int32_t columns, float scale, const float *bias, float *out, size_t ld);
  // The same added to out: out + (scale * ... + bias).
  void (*xnor_add_product)(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                           int32_t columns, float scale, const float *bias, float *out, size_t ld);
  // Packed rows of bits: bit j of row i is popcount(a_i ^ b_j) < low[j] or, unless high is NULL, >= high[j].
  void (*xnor_bits)(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                    const int16_t *low, const int16_t *high, uint64_t *bits);
  // out[i*ld + j] = scale * (2 popcount(a_i & b_j) - popcount(a_i)) + row_bias[i]: a is 0/1, b is +-1.
  void (*and_product)(const uint64_t *a, size_t rows_a, const uint64_t *b, size_t rows_b, size_t words,
                      float scale, const float *row_bias, float *out, size_t ld);

  // ---- packing ----

  // signs: bit is x + shift >= 0 (shift per column, may be NULL); within: |x + shift| <= step (may be NULL).
  void (*pack)(const float *x, size_t rows, size_t columns, size_t ld, const float *shift, float step,
               uint64_t *signs, uint64_t *within);
  // out[i*ld + j] = bit ? high : low.
  void (*unpack)(const uint64_t *bits, size_t rows, size_t columns, float high, float low, float *out, size_t ld);

  // ---- operands of n bits: q = the integer nearest to (x + shift) / step, ties to even, within low ... high ----

  // out[i*ld_out + j] = factor * q (shift per column, may be NULL); what is no number becomes low. out may be x.
  void (*levels)(const float *x, size_t rows, size_t columns, size_t ld, const float *shift, const bk_levels *levels,
                 float factor, float *out, size_t ld_out);
  // Bit k of the two's complement of q, in the packed rows from planes + k * rows * ceil(columns / 64) on.
  void (*level_planes)(const float *x, size_t rows, size_t columns, size_t ld, const float *shift,
                       const bk_levels *levels, uint64_t *planes);
  // out[i*ld + j] = scale * (the sum of q_i * b_j) + bias[j] from planes of q and b of +-1; bias may be NULL. The sum is exact
  // where columns * (2^bits - 1) is at most 2^24.
  void (*level_product)(const uint64_t *planes, size_t rows, const bk_levels *levels, const uint64_t *b, size_t rows_b,
                        size_t words, float scale, const float *bias, float *out, size_t ld);
  // g is the gradient to step * q. dx = g where (x + shift) / step is within low ... high, else 0, added to or written over
  // dx, which may be g; its column sums are added to shift_gradient (may be NULL). Returns the sum of g * (low below low, high
  // above high, else q - (x + shift) / step).
  double (*level_backward)(const float *g, size_t ld_g, const float *x, size_t ld, const float *shift,
                           const bk_levels *levels, size_t rows, size_t columns, bool add, float *dx, size_t ld_dx,
                           float *shift_gradient);
  // q of up to 48 columns as a right operand of rounded products: four bits of q - low, from bit `from` on. Of the other
  // columns of the panel the bytes are left.
  void (*expand_levels)(const float *x, size_t rows, size_t columns, size_t ld, const float *shift,
                        const bk_levels *levels, int32_t from, uint8_t *expanded);
  // out[i*ld + j] = factor * x[i*columns + j] + row_bias[i]; row_bias may be NULL. out may be x.
  void (*scale_rows)(const float *x, size_t rows, size_t columns, float factor, const float *row_bias, float *out,
                     size_t ld);

  // ---- straight-through backward of an elastic sign, for the columns first ..< last (first a multiple of 64) ----

  // g is the gradient to the binarised value. dx = within ? g : 0, added to or written over dx; its column sums
  // are added to shift_gradient (may be NULL); returns the sum of sign * g.
  double (*sign_backward)(const float *g, size_t ld_g, const uint64_t *signs, const uint64_t *within, size_t rows,
                          size_t words, size_t first, size_t last, bool add, float *dx, size_t ld_dx,
                          float *shift_gradient);
  // The same in parts, of some rows and all columns, with the same sums: of each BK_BACKWARD_ROWS rows the sums of the columns and
  // of sign * g, begun or added to; then, of all such blocks (ld apart), those of the columns first ..< last.
  void (*sign_backward_rows)(const float *g, size_t ld_g, const uint64_t *signs, const uint64_t *within, size_t rows,
                             size_t words, size_t columns, bool add, float *dx, size_t ld_dx, bool begin, float *column_sums,
                             float *step_sums);
  double (*sign_backward_sums)(const float *column_sums, const float *step_sums, size_t blocks, size_t ld, size_t first,
                               size_t last, float *shift_gradient);

  // ---- backward products rounded to 8 bits ----

  // maxima[i] = the largest |x| of row i.
  void (*row_maxima)(const float *x, size_t rows, size_t columns, size_t ld, float *maxima);
  // maxima[j] = the largest |x| of column j, and sums[j] += its sum, for the columns first ..< last.
  void (*column_maxima_and_sums)(const float *x, size_t rows, size_t ld, size_t first, size_t last, float *maxima,
                                 float *sums);
  // The rows first ..< last (first a multiple of 8, last too or `rows`) as 8-bit panels: of x with 127 at each row's
  // maximum, and of its transpose with 127 at each column's, rounded up or down at random so that the mean is kept.
  // Element (i, j) uses byte j % 256 / 16 of Philox block ((i * ceil(columns / 256) + j / 256) * 16 + j % 16, counter).
  void (*round_panels)(const float *x, size_t rows, size_t columns, size_t ld, size_t first, size_t last,
                       const uint32_t key[2], const uint32_t counter[3], const float *row_max,
                       const float *column_max, int8_t *by_rows, int8_t *by_columns);
  // The sum of each of a panel's rows.
  void (*panel_sums)(const int8_t *panel, size_t groups, int32_t sums[BK_PANEL_ROWS]);
  // The 48 columns from `first` (a multiple of 16) of a bit matrix, expanded.
  void (*expand_bits)(const uint64_t *bits, size_t rows, size_t words, size_t first, uint8_t *expanded);
  // out[i*ld + j] = maxima[i] / 127 * factor * sum, added or written, for the first `columns` of an expanded panel of numbers
  // up to `largest`, which is at most 127; the sum over the depth is of q * (times * number + plus), with the rows' own sums. The sums are exact.
  void (*rounded_product)(const int8_t *panels, size_t rows, size_t depth, const uint8_t *expanded,
                          size_t largest, const int32_t *sums, const float *maxima, float factor, int32_t times, int32_t plus, bool add,
                          size_t columns, float *out, size_t ld);

  // The same products with bits by looking up sums of a few, where that is faster than `rounded_product`; else both are NULL.
  // The columns 32 * vector and the 31 next of a bit matrix, as a right operand.
  void (*index_bits)(const uint64_t *bits, size_t rows, size_t words, size_t vector, uint8_t *indices);
  // `rounded_product` for all columns, with bk_lookup_room(columns) bytes of `room`.
  void (*lookup_product)(const int8_t *panels, size_t rows, size_t depth, const uint8_t *indices, size_t columns,
                         const int32_t *sums, const float *maxima, float factor, int32_t times, int32_t plus, bool add,
                         float *out, size_t ld, void *room);

  // ---- products of operands rounded to bfloat16, summed in float32 ----

  // A left operand from the rows of x.
  void (*bfloat16_rows)(const float *x, size_t rows, size_t columns, size_t ld, uint32_t *panels);
  // A left operand from the columns of x, first (a multiple of 8) ..< last; panels is that of column 0.
  void (*bfloat16_columns)(const float *x, size_t rows, size_t ld, size_t first, size_t last, uint32_t *panels);
  // A right operand from the rows of w.
  void (*bfloat16_right)(const float *w, size_t rows, size_t columns, size_t ld, uint32_t *packed);
  // One panel of a right operand from the columns of x, first ..< last (48 at most).
  void (*bfloat16_right_columns)(const float *x, size_t rows, size_t ld, size_t first, size_t last, uint32_t *packed);
  // One panel of a right operand from the 48 columns from `first` (a multiple of 16) of a bit matrix, as +-1.
  void (*bfloat16_signs)(const uint64_t *bits, size_t rows, size_t words, size_t first, uint32_t *expanded);
  // out[i*ld + j] = factor * sum, added or written, for the first `columns` of one panel of a right operand.
  void (*bfloat16_product)(const uint32_t *panels, size_t rows, size_t depth, const uint32_t *right, float factor,
                           bool add, size_t columns, float *out, size_t ld);
  // out[i*ld_out + j] = sum over k of x[i*ld + k] w[j, k] + bias[j], w a right operand; bias may be NULL.
  void (*bfloat16_linear)(const float *x, size_t rows, size_t depth, size_t ld, const uint32_t *packed, size_t outputs,
                          const float *bias, float *out, size_t ld_out);

  // ---- float32 products, with sums in a fixed order ----

  // out[i*ld + j] = sum over k of a[i*a_row + k*a_column] (factor b[k*b_row + j*b_column]), in the order of k, fused; added to out
  // (before the first product) or written. a_row or a_column is 1, and b_row or b_column.
  void (*float_product)(const float *a, size_t a_row, size_t a_column, const float *b, size_t b_row, size_t b_column,
                        size_t rows, size_t depth, size_t columns, float factor, bool add, float *out, size_t ld);

  // out[i*ld_out + j] = sum over k of x[i*ld + k] w[j*depth + k] + bias[j]; bias may be NULL. Lane k % 16 sums its
  // products in order, fused, then the lanes are added as a tree: the same for any number of rows and outputs.
  void (*linear)(const float *x, size_t rows, size_t depth, size_t ld, const float *w, size_t outputs,
                 const float *bias, float *out, size_t ld_out);
  // out[i*ld_out + j] = sum over k of a[k*ld_a + i] b[k*ld_b + j], in the order of k, fused; added to out or written.
  void (*transposed_product)(const float *a, size_t ld_a, const float *b, size_t ld_b, size_t depth, size_t rows,
                             size_t columns, bool add, float *out, size_t ld_out);
  void (*widen_halves)(const uint16_t *halves, size_t count, float *x);  // from IEEE binary16, exactly
  // x[i*columns + j] = units[i] * integers[i*columns + j]
  void (*widen_integers)(const int16_t *integers, size_t rows, size_t columns, const float *units, float *x);

  // ---- sums, in fixed order ----

  double (*sum)(const float *x, size_t count);
  double (*sum_absolute)(const float *x, size_t count);
  double (*sum_squares)(const float *x, size_t count);
  // Sum over all elements of |x + shift|, shift per column.
  double (*sum_absolute_shifted)(const float *x, size_t rows, size_t columns, const float *shift);
  // out[j] += sum over rows of x[i, j], for the columns first ..< last.
  void (*add_column_sums)(const float *x, size_t rows, size_t ld, size_t first, size_t last, float *out);
  // out[j] += sum over rows of x[i, j] y[i, j].
  void (*add_column_dots)(const float *x, const float *y, size_t rows, size_t ld, size_t first, size_t last,
                          float *out);

  // ---- elementwise ----

  void (*add)(const float *x, size_t count, float *y);                   // y += x
  void (*scale)(float factor, size_t count, float *y);                   // y *= factor
  void (*gelu)(const float *x, size_t count, float *y);                  // x Phi(x), erf form
  void (*gelu_backward)(const float *x, size_t count, float *d);         // d *= Phi(x) + x phi(x)
  void (*relu)(size_t count, float *y);                                  // in place
  void (*relu_backward)(const float *y, size_t count, float *dy);        // dy = y > 0 ? dy : 0
  void (*tanh)(size_t count, float *y);                                  // in place
  void (*tanh_backward)(const float *y, size_t count, float *dy);        // dy *= 1 - y^2
  // dx += factor * (x - y), unless dx is NULL; returns the sum of (x - y)^2.
  double (*squared_difference)(const float *x, const float *y, size_t count, float factor, float *dx);

  // ---- gradients as integer multiples of a power of two ----

  // sums += x * scale, or sums = that unless `add`, and x = 0, for rows of `columns` elements, which are x_stride and stride apart;
  // rounded to nearest, ties to even; scale is a power of two, and sums wrap. Returns the bits of the largest |x|, what is no
  // number being larger than infinity. Where that times scale exceeds the limit of the integers, or is not finite, the sums are
  // of no use, but nothing else goes wrong.
  uint32_t (*add_multiples)(float *x, size_t x_stride, size_t rows, size_t columns, float scale, bool add, uint32_t *sums,
                            size_t stride);
  uint32_t (*add_short_multiples)(float *x, size_t x_stride, size_t rows, size_t columns, float scale, bool add, uint16_t *sums,
                                  size_t stride);
  // x = sums * unit, the sums read as signed and rounded to float32 (nearest, ties to even); x may be where 32-bit sums are.
  void (*read_multiples)(const uint32_t *sums, size_t count, float unit, float *x);
  void (*read_short_multiples)(const uint16_t *sums, size_t count, float unit, float *x);

  // ---- dropout ----

  // Keep bits of `rows` rows of `columns`: an element is dropped where its 16 random bits are below `threshold`.
  // Element (i, j) uses half-word j % 8 of Philox block (first_block + i * ceil(columns / 8) + j / 8, c1, c2, c3).
  void (*dropout_bits)(const uint32_t key[2], uint32_t first_block, uint32_t c1, uint32_t c2, uint32_t c3,
                       uint32_t threshold, size_t rows, size_t columns, uint64_t *keep);
  // x = keep ? factor * x : 0.
  void (*dropout_apply)(const uint64_t *keep, size_t rows, size_t columns, float factor, float *x);

  // ---- layer normalisation, by rows ----

  void (*normalise)(const float *x, size_t rows, size_t columns, float epsilon, const float *weight,
                    const float *bias, float *normalised, float *inverse_deviation, float *y);
  void (*normalise_backward)(const float *dy, const float *weight, const float *normalised,
                             const float *inverse_deviation, size_t rows, size_t columns, float *dx);

  // ---- attention of one head ----

  // In place: scores -> probabilities over the first `length` keys, zero beyond; rows have ld elements.
  // scores are (s + extra) * factor; extra may be NULL.
  void (*softmax)(float *s, const float *extra, size_t rows, size_t length, size_t columns, float factor);
  // bits: p' / step > 0.5 with p' = keep ? factor * p : 0 (keep may be NULL).
  void (*binarise_probabilities)(const float *p, const uint64_t *keep, float factor, size_t rows, size_t columns,
                                 float step, uint64_t *bits);
  // g: gradient to the binarised probability, replaced by the gradient to the score; returns the step size's sum.
  double (*probabilities_backward)(const float *p, const uint64_t *keep, float dropout_factor, float step,
                                   float score_factor, size_t rows, size_t columns, float *g);

  // Bits of the context of `rows` queries (packed rows of D bits), set in rows of ld words that are zero there: softmax,
  // probability bits (as binarise_probabilities has them) and context of one head. extra: rows x T, added to the scores, may
  // be NULL. `room` is bk_attention_room(T) bytes.
  void (*attend)(const bk_head *head, const uint64_t *queries, size_t rows, const float *extra, size_t ld_extra,
                 void *room, uint64_t *context, size_t ld);
  // out[i] = factor * the sum of the values (one a column) whose bit is set in row i, in 16 lanes.
  void (*sum_set_elements)(const uint64_t *bits, size_t rows, size_t columns, const float *values, float factor,
                           float *out);

  // ---- loss ----

  // logits of one row -> factor * (softmax - one_hot(label)); returns the cross entropy; *best is the first argmax.
  double (*cross_entropy)(float *logits, size_t count, size_t label, float factor, size_t *best);

  // ---- update ----

  // AdamW (Loshchilov and Hutter 2019) of `count` parameters p with gradients g and moments m and v.
  void (*adamw)(float *p, const float *g, float *m, float *v, size_t count, const bk_adamw *settings);
} bk_kernels;

// Instruction sets of one kind of processor at most.
enum { BK_INSTRUCTION_SETS = 6 };

// The kernels of the fastest instruction set of this processor, or of `name` (portable, avx2, avx512bw, avx512vnni, avx512,
// avx512bf16, neon, neondot, neoni8mm); NULL when the processor lacks it or the name is unknown.
const bk_kernels *bk_choose(const char *name);
// All instruction sets of this processor, fastest first; returns their number.
size_t bk_available(const bk_kernels *tables[BK_INSTRUCTION_SETS]);

// Operations a second of one core in a loop on registers alone, for comparison with the kernels, with the fewest instructions
// known: word products counted as 2 x 64 operations each (xor, popcount, add), byte products, products of bfloat16 in its own
// instruction, and fused multiply-adds of float32. 0 where this instruction set has no such loop.
double bk_peak_popcount(const bk_kernels *table);
double bk_peak_bytes(const bk_kernels *table);
double bk_peak_bfloat16(const bk_kernels *table);
double bk_peak_float32(const bk_kernels *table);
// Processor time of the calling thread: what other work on the machine takes does not count.
double bk_thread_seconds(void);

// Interleaves packed rows (see the legend); the last group is filled with zero rows.
void bk_interleave(const uint64_t *rows, size_t row_count, size_t words, uint64_t *interleaved);
// The columns first ..< first + count of packed rows that lie ld words apart, as packed rows.
void bk_cut_columns(const uint64_t *rows, size_t row_count, size_t ld, size_t first, size_t count, uint64_t *cut);
// Bytes of memory that `attend` works in.
size_t bk_attention_room(size_t tokens);
// Transposes a rows x columns bit matrix.
void bk_transpose(const uint64_t *bits, size_t rows, size_t columns, uint64_t *transposed);

// Runs body(context, i, worker) for i in 0 ..< count on the pool's threads, the calling one included, each with a
// worker number below bk_threads(). Bodies write disjoint memory, so that the result does not depend on who ran
// them. Loops of several callers run one after the other. Not to be nested.
void bk_parallel_for(size_t count, void (*body)(void *context, size_t index, size_t worker), void *context);
// Raises the number of threads to `threads` (they are never fewer again); returns what could be had.
size_t bk_start_threads(size_t threads);
size_t bk_threads(void);

// Raises *largest to `value` if that is more, among threads that do the same.
static inline void bk_raise(uint32_t *largest, uint32_t value) {
  uint32_t before = __atomic_load_n(largest, __ATOMIC_RELAXED);
  while (before < value && !__atomic_compare_exchange_n(largest, &before, value, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

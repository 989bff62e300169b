// All kernels for one instruction set. The including file sets the target attributes, NAME, TABLE, and which headers count bits
// (COUNT_TILES), count bytes (COUNTS) and sum bfloat16 products (BFLOAT16_SUMS), with the tiles that those take.
#include "bit_kernels.h"
#include "vector_types.h"
#include "product_body.h"
#include "packing_body.h"
#include "elementwise_body.h"
#include "dense_body.h"
#include "integer_sum_body.h"
#include COUNTS
#include "rounded_body.h"
#ifdef LOOKUP_TABLES
#include "rounded_lookup.h"
#endif
#include "bfloat16_body.h"
#include "float_body.h"
#include "attention_body.h"
#include "levels_body.h"

const bk_kernels TABLE = {
    .name = NAME,
    .xnor_product = xnor_product,
    .xnor_add_product = xnor_add_product,
    .xnor_bits = xnor_bits,
    .and_product = and_product,
    .pack = pack,
    .unpack = unpack,
    .levels = levels,
    .level_planes = level_planes,
    .level_product = level_product,
    .level_backward = level_backward,
    .expand_levels = expand_levels,
    .scale_rows = scale_rows,
    .sign_backward = sign_backward,
    .sign_backward_rows = sign_backward_rows,
    .sign_backward_sums = sign_backward_sums,
    .row_maxima = row_maxima,
    .column_maxima_and_sums = column_maxima_and_sums,
    .round_panels = round_panels,
    .panel_sums = panel_sums,
    .expand_bits = expand_bits,
    .rounded_product = rounded_product,
#ifdef LOOKUP_TABLES
    .index_bits = index_bits,
    .lookup_product = lookup_product,
#endif
    .bfloat16_rows = bfloat16_rows,
    .bfloat16_columns = bfloat16_columns,
    .bfloat16_right = bfloat16_right,
    .bfloat16_right_columns = bfloat16_right_columns,
    .bfloat16_signs = bfloat16_signs,
    .bfloat16_product = bfloat16_product,
    .bfloat16_linear = bfloat16_linear,
    .float_product = float_product,
    .linear = linear,
    .transposed_product = transposed_product,
    .widen_halves = widen_halves,
    .widen_integers = widen_integers,
    .sum = sum,
    .sum_absolute = sum_absolute,
    .sum_squares = sum_squares,
    .sum_absolute_shifted = sum_absolute_shifted,
    .add_column_sums = add_column_sums,
    .add_column_dots = add_column_dots,
    .add = add,
    .scale = scale,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .relu = relu,
    .relu_backward = relu_backward,
    .tanh = tanh_,
    .tanh_backward = tanh_backward,
    .squared_difference = squared_difference,
    .add_multiples = add_multiples,
    .add_short_multiples = add_short_multiples,
    .read_multiples = read_multiples,
    .read_short_multiples = read_short_multiples,
    .dropout_bits = dropout_bits,
    .dropout_apply = dropout_apply,
    .normalise = normalise,
    .normalise_backward = normalise_backward,
    .softmax = softmax,
    .binarise_probabilities = binarise_probabilities,
    .probabilities_backward = probabilities_backward,
    .attend = attend,
    .sum_set_elements = sum_set_elements,
    .cross_entropy = cross_entropy,
    .adamw = adamw,
};

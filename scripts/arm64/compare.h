// What the parts of the comparison share: numbers to run kernels on, and what becomes of what the kernels wrote.
#pragma once
#include <stdlib.h>
#include <string.h>

#include "bit_kernels.h"

// A kernel of an instruction set is not what a plain loop says.
void fail(const char *what, const char *set, size_t m, size_t k, size_t n);
// Adds what a kernel wrote to its digest.
void record(const char *kernel, const void *bytes, size_t count);
void record_double(const char *kernel, double x);

uint32_t draw(void);
// Mostly within +-2, now and then zero of either sign, tiny, or large.
float draw_float(void);
// Zeros.
void *memory(size_t bytes);
float *floats(size_t count);
// Packed rows of random bits.
uint64_t *bits(size_t rows, size_t columns);
static inline bool bit(const uint64_t *b, size_t words, size_t i, size_t j) {
  return b[i * words + j / 64] >> (j % 64) & 1;
}

// Every product against a loop that does nothing but add, of the same bits: its integers are exact, its floats fused and in
// the order that bit_kernels.h has.
void compare_products(const bk_kernels *t);
// Operands of n bits, and sums of gradients as integers, against plain loops.
void compare_integers(const bk_kernels *t);

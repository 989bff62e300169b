// Vectors of 16 float lanes, on every instruction set: narrower machines use several registers, with the same
// arithmetic in the same order. No multiply and add is contracted unless it is written as fma_.
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma clang fp contract(off)
#pragma clang diagnostic ignored "-Wpsabi"

typedef float vf __attribute__((vector_size(64), aligned(4)));
typedef int32_t vi __attribute__((vector_size(64), aligned(4)));
typedef uint32_t vu __attribute__((vector_size(64), aligned(4)));
typedef double vd __attribute__((vector_size(64), aligned(8)));
typedef uint64_t vw __attribute__((vector_size(64), aligned(8)));
typedef _Bool vb __attribute__((ext_vector_type(16)));

enum { LANES = 16 };
#define INLINE static inline __attribute__((always_inline))

INLINE vf splat(float x) { return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE vf load(const float *p) { return *(const vf *)p; }
INLINE void store(float *p, vf v) { *(vf *)p = v; }
// The first n <= LANES lanes; the others are zero.
INLINE vf load_part(const float *p, size_t n) {
  if (n == LANES) return load(p);
  vf v = splat(0);
  memcpy(&v, p, n * sizeof(float));
  return v;
}
INLINE void store_part(float *p, vf v, size_t n) {
  if (n == LANES) {
    store(p, v);
  } else {
    memcpy(p, &v, n * sizeof(float));
  }
}
// The first n <= LANES of signed 16-bit numbers; the others are zero.
INLINE vi load_halves(const int16_t *p, size_t n) {
  typedef int16_t vh __attribute__((vector_size(32), aligned(2)));
  vh halves = {0};
  if (n == LANES) {
    halves = *(const vh *)p;
  } else {
    memcpy(&halves, p, n * sizeof(int16_t));
  }
  return __builtin_convertvector(halves, vi);
}
// The lanes of a block that starts at `i` of `count`.
INLINE size_t lanes_at(size_t i, size_t count) { return count - i < LANES ? count - i : LANES; }
INLINE vf fma_(vf a, vf b, vf c) { return __builtin_elementwise_fma(a, b, c); }
INLINE vf pick(vi condition, vf yes, vf no) { return (vf)((condition & (vi)yes) | (~condition & (vi)no)); }
INLINE vf absolute(vf x) { return (vf)((vi)x & 0x7FFFFFFF); }
// One bit a lane.
INLINE uint16_t mask_bits(vi condition) {
  return __builtin_bit_cast(uint16_t, __builtin_convertvector(condition, vb));
}
// All ones in the lanes whose bit is set.
INLINE vi mask_lanes(uint16_t bits) {
  const vi lane = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  int32_t b = bits;
  vi all = {b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b};
  return (all & lane) != 0;
}
INLINE uint16_t low_bits(size_t n) { return (uint16_t)((1u << n) - 1u); }
// Sum of the lanes as a fixed tree.
INLINE float sum_lanes(vf v) {
  float a[LANES];
  memcpy(a, &v, sizeof a);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) a[i] += a[i + half];
  return a[0];
}
INLINE float largest_lane(vf v) {
  float a[LANES];
  memcpy(a, &v, sizeof a);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) a[i] = a[i] > a[i + half] ? a[i] : a[i + half];
  return a[0];
}
// 16 float lanes into two vectors of 8 doubles, and their sum as a fixed tree.
typedef struct {
  vd low, high;
} vdd;
INLINE vdd zero_sum(void) { return (vdd){(vd){0}, (vd){0}}; }
INLINE vdd add_lanes(vdd sum, vf v) {
  typedef float half __attribute__((vector_size(32)));
  half a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
  half b = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  sum.low += __builtin_convertvector(a, vd);
  sum.high += __builtin_convertvector(b, vd);
  return sum;
}
INLINE double total(vdd sum) {
  double a[8];
  vd v = sum.low + sum.high;
  memcpy(a, &v, sizeof a);
  for (int half = 4; half > 0; half /= 2)
    for (int i = 0; i < half; i++) a[i] += a[i + half];
  return a[0];
}

// e^x for x within -87.3 ... 88: x = n ln 2 + r, |r| <= ln 2 / 2, e^r = 1 + r + r^2 q(r) with q fitted to 5e-11; about 1 ulp.
INLINE vf exponential_within(vf x) {
  vf n = __builtin_elementwise_roundeven(x * 0x1.715476p+0f);
  vf r = fma_(n, splat(-0x1.62e400p-1f), x);
  r = fma_(n, splat(-0x1.7f7d1cp-20f), r);
  vf q = splat(0x1.a1a926p-13f);
  q = fma_(q, r, splat(0x1.6d96f8p-10f));
  q = fma_(q, r, splat(0x1.111088p-7f));
  q = fma_(q, r, splat(0x1.555480p-5f));
  q = fma_(q, r, splat(0x1.555556p-3f));
  q = fma_(q, r, splat(0.5f));
  // The product with 2^n is a normal number: n goes to the exponent.
  vf e = fma_(r * r, q, r) + 1.0f;
  return (vf)((vi)e + (__builtin_convertvector(n, vi) << 23));
}

// e^x: zero below -87.3, e^88 above 88.
INLINE vf exponential(vf x) {
  vf clamped = pick(x > 88.0f, splat(88.0f), x);
  clamped = pick(clamped < -87.3f, splat(-87.3f), clamped);
  return pick(x < -87.3f, splat(0), exponential_within(clamped));
}

// erf(x): x + x p(x^2) below 1, 1 - exp(|x| q(|x|)) above; both fitted here, absolute error below 1e-7.
INLINE vf error_function(vf x) {
  vf t = absolute(x), s = x * x;
  vf p = splat(0x1.4ae4aap-14f);
  p = fma_(p, s, splat(-0x1.a485dep-11f));
  p = fma_(p, s, splat(0x1.5419f4p-8f));
  p = fma_(p, s, splat(-0x1.b7fbb4p-6f));
  p = fma_(p, s, splat(0x1.ce2d20p-4f));
  p = fma_(p, s, splat(-0x1.81273ep-2f));
  p = fma_(p, s, splat(0x1.06eba8p-3f));
  vf near = fma_(x, p, x);
  vf c = pick(t > 4.0f, splat(4.0f), t);
  vf q = splat(-0x1.f0e7d8p-19f);
  q = fma_(q, c, splat(0x1.fbe112p-16f));
  q = fma_(q, c, splat(0x1.0e8d1ep-13f));
  q = fma_(q, c, splat(-0x1.9d640cp-9f));
  q = fma_(q, c, splat(0x1.798db4p-6f));
  q = fma_(q, c, splat(-0x1.b0a054p-4f));
  q = fma_(q, c, splat(-0x1.4557d8p-1f));
  q = fma_(q, c, splat(-0x1.20eb84p+0f));
  vf far = 1.0f - exponential(c * q);
  far = pick(t > 4.0f, splat(1.0f), far);
  far = (vf)((vi)far | ((vi)x & (int32_t)0x80000000));
  return pick(t < 1.0f, near, far);
}

// tanh(x): an odd polynomial below 1/4 (Taylor, next term 2e-9), 1 - 2 / (e^2x + 1) above.
INLINE vf hyperbolic_tangent(vf x) {
  vf t = absolute(x), s = x * x;
  vf p = splat(62.0f / 2835.0f);
  p = fma_(p, s, splat(-17.0f / 315.0f));
  p = fma_(p, s, splat(2.0f / 15.0f));
  p = fma_(p, s, splat(-1.0f / 3.0f));
  vf near = fma_(x * s, p, x);
  vf far = 1.0f - 2.0f / (exponential(2.0f * t) + 1.0f);
  far = (vf)((vi)far | ((vi)x & (int32_t)0x80000000));
  return pick(t < 0.25f, near, far);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"
#include "ntk/sketch.h"
#include "tensor/real.h"
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- signs ----------------------------------------------------------------------------
 */

/* The eight entries of each byte. */
#define SIGN(b, i) ((((b) >> (i)) & 1) ? -1 : 1)
#define SIGNS(b)                                                                           \
  {                                                                                        \
    SIGN(b, 0), SIGN(b, 1), SIGN(b, 2), SIGN(b, 3), SIGN(b, 4), SIGN(b, 5), SIGN(b, 6),    \
        SIGN(b, 7)                                                                         \
  }
#define SIGNS_4(b) SIGNS(b), SIGNS((b) + 1), SIGNS((b) + 2), SIGNS((b) + 3)
#define SIGNS_16(b) SIGNS_4(b), SIGNS_4((b) + 4), SIGNS_4((b) + 8), SIGNS_4((b) + 12)
#define SIGNS_64(b) SIGNS_16(b), SIGNS_16((b) + 16), SIGNS_16((b) + 32), SIGNS_16((b) + 48)
static const real signs[256][8] = {SIGNS_64(0), SIGNS_64(64), SIGNS_64(128), SIGNS_64(192)};

static void fill_signs(uint64_t seed, int64_t block, int64_t parameter, real *out) {
  uint64_t words[4];
  ntk_random_block(seed, 1, (uint64_t)block, (uint64_t)parameter, words);
  for (int w = 0; w < 4; w++)
    for (int b = 0; b < 8; b++, out += 8)
      memcpy(out, signs[(words[w] >> (8 * b)) & 255], sizeof signs[0]);
}

/* ---- normal numbers -------------------------------------------------------------------
 */

enum { PAIRS = NTK_SKETCH_ROWS / 2 };

INLINE uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
INLINE double double_of(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
/* n < 2^52, by what every width of vectors can do. */
INLINE double number(uint64_t n) { return double_of(n | 0x4330000000000000u) - 0x1p52; }

/* ln x, 2^-64 < x < 1: x = 2^e m, 0.7 < m < 1.42, ln m = 2 artanh((m - 1) / (m + 1)). */
INLINE double logarithm(double x) {
  const uint64_t above = bits_of(x) - 0x3fe6a09e667f3bcdu + ((uint64_t)64 << 52);
  const double e = number(above >> 52) - 64;
  const double m = double_of((above & (((uint64_t)1 << 52) - 1)) + 0x3fe6a09e667f3bcdu);
  const double f = (m - 1) / (m + 1), s = f * f;
  const double tail =
      1. / 3 + s * (1. / 5 + s * (1. / 7 + s * (1. / 9 + s * (1. / 11 + s * (1. / 13)))));
  return e * 0.6931471805599453 + 2 * f * (1 + s * tail);
}

/* Taylor's series for |x| <= pi/4. */
INLINE double sine(double x) {
  const double s = x * x;
  const double tail =
      -1. / 5040 + s * (1. / 362880 + s * (-1. / 39916800 + s * (1. / 6227020800)));
  return x * (1 + s * (-1. / 6 + s * (1. / 120 + s * tail)));
}
INLINE double cosine(double x) {
  const double s = x * x;
  const double tail = 1. / 40320 + s * (-1. / 3628800 + s * (1. / 479001600));
  return 1 + s * (-1. / 2 + s * (1. / 24 + s * (-1. / 720 + s * tail)));
}

/* a where the mask is 0, b where it is all ones; with the sign turned by the lowest bit. */
INLINE double choose(uint64_t mask, double a, double b, uint64_t sign) {
  return double_of(((bits_of(a) & ~mask) | (bits_of(b) & mask)) ^ (sign << 63));
}

/* Without branches, so that a compiler makes vectors of it. */
INLINE void make_pairs(const uint64_t *words, real *out) {
  double a[PAIRS], b[PAIRS];
  for (int i = 0; i < PAIRS; i++) {
    const uint64_t w = words[i], q = w >> 62; /* quarters turn (c, s) q times */
    const double radius = sqrt(-2 * logarithm((number(w & 0xffffffffu) + 0.5) * 0x1p-32));
    const double x =
        ((number((w >> 32) & 0x3fffffff) + 0.5) * 0x1p-30 - 0.5) * 1.5707963267948966;
    const double c = cosine(x), s = sine(x);
    a[i] = radius * choose(0 - (q & 1), c, s, (q + 1) >> 1);
    b[i] = radius * choose(0 - (q & 1), s, c, q >> 1);
  }
  for (int64_t i = 0; i < PAIRS; i++) {
    out[2 * i] = (real)a[i];
    out[2 * i + 1] = (real)b[i];
  }
}

static void pairs_portable(const uint64_t *words, real *out) { make_pairs(words, out); }
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void pairs_avx2(const uint64_t *words,
                                                           real *out) {
  make_pairs(words, out);
}
__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma"))) static void
pairs_avx512(const uint64_t *words, real *out) {
  make_pairs(words, out);
}
#endif

typedef void (*pairs_fn)(const uint64_t *words, real *out);

static pairs_fn choose_pairs(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return pairs_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return pairs_avx2;
#endif
  return pairs_portable;
}

static void fill_normals(pairs_fn pairs, uint64_t seed, int64_t block, int64_t parameter,
                         real *out) {
  uint64_t words[PAIRS];
  const uint64_t first = (uint64_t)block * (PAIRS / 4);
  for (uint64_t i = 0; i < PAIRS / 4; i++)
    ntk_random_block(seed, 2, first + i, (uint64_t)parameter, words + 4 * i);
  pairs(words, out);
}

void NTK_REAL(ntk_sketch_fill)(const ntk_sketch *sketch, int64_t block, int64_t count,
                               const int64_t *parameters, real *out) {
  const pairs_fn pairs = choose_pairs();
  for (int64_t i = 0; i < count; i++, out += NTK_SKETCH_ROWS)
    if (sketch->kind == NTK_SKETCH_RADEMACHER)
      fill_signs(sketch->seed, block, parameters[i], out);
    else
      fill_normals(pairs, sketch->seed, block, parameters[i], out);
}

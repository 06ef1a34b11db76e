/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/light.h"
#include "tensor/real.h"

/* Loops over one function, the function being a constant in each copy of the loop. */
enum { BLOCK = 512 };

#define HALF ((real)0.5)
#define SQRT_HALF ((real)0.70710678118654752)         /* sqrt(1/2) */
#define SQRT_2_PI ((real)0.79788456080286536)         /* sqrt(2/pi) */
#define ONE_OVER_SQRT_2PI ((real)0.39894228040143268) /* 1/sqrt(2 pi) */
#define GELU_CUBE ((real)0.044715)

static inline real sigmoid(real x) { return 1 / (1 + NTK_MATH(exp)(-x)); }

/* log(1 + exp(x)) */
static inline real softplus(real x) {
  return x > 0 ? x + NTK_MATH(log1p)(NTK_MATH(exp)(-x)) : NTK_MATH(log1p)(NTK_MATH(exp)(x));
}

/* The normal distribution up to x. */
static inline real normal(real x) { return HALF * NTK_MATH(erfc)(-SQRT_HALF * x); }

/* Gelu's approximation of 2 normal(x) - 1. */
static inline real gelu_tanh(real x) {
  return NTK_MATH(tanh)(SQRT_2_PI * (x + GELU_CUBE * x * x * x));
}

/* A NaN stays one, for the report at the outputs. */
static inline real value(ntk_unary_function f, real x, real a, real b) {
  switch (f) {
  case NTK_UNARY_NEG:
    return -x;
  case NTK_UNARY_RELU:
    return x < 0 ? 0 : x;
  case NTK_UNARY_LEAKYRELU:
    return x > 0 ? x : a * x;
  case NTK_UNARY_SIGMOID:
    return sigmoid(x);
  case NTK_UNARY_TANH:
    return NTK_MATH(tanh)(x);
  case NTK_UNARY_ERF:
    return NTK_MATH(erf)(x);
  case NTK_UNARY_SOFTPLUS:
    return softplus(x);
  case NTK_UNARY_ELU:
    return x > 0 ? x : a * NTK_MATH(expm1)(x);
  case NTK_UNARY_SELU:
    return x > 0 ? b * x : b * a * NTK_MATH(expm1)(x);
  case NTK_UNARY_CELU:
    return x > 0 ? x : a * NTK_MATH(expm1)(x / a);
  case NTK_UNARY_GELU:
    return x * normal(x);
  case NTK_UNARY_GELU_TANH:
    return HALF * x * (1 + gelu_tanh(x));
  case NTK_UNARY_MISH:
    return x * NTK_MATH(tanh)(softplus(x));
  case NTK_UNARY_SOFTSIGN:
    return x / (1 + NTK_MATH(fabs)(x));
  case NTK_UNARY_HARDSIGMOID:
    x = a * x + b;
    return x < 0 ? 0 : x > 1 ? 1 : x;
  case NTK_UNARY_HARDSWISH:
    return x < -3 ? 0 : x > 3 ? x : x * (x + 3) / 6;
  case NTK_UNARY_THRESHOLDEDRELU:
    return x <= a ? 0 : x;
  case NTK_UNARY_SHRINK:
    return x >= -a && x <= a ? 0 : x < 0 ? x + b : x - b;
  case NTK_UNARY_EXP:
    return NTK_MATH(exp)(x);
  case NTK_UNARY_LOG:
    return NTK_MATH(log)(x);
  case NTK_UNARY_SQRT:
    return NTK_MATH(sqrt)(x);
  case NTK_UNARY_SIN:
    return NTK_MATH(sin)(x);
  case NTK_UNARY_COS:
    return NTK_MATH(cos)(x);
  case NTK_UNARY_TAN:
    return NTK_MATH(tan)(x);
  case NTK_UNARY_ASIN:
    return NTK_MATH(asin)(x);
  case NTK_UNARY_ACOS:
    return NTK_MATH(acos)(x);
  case NTK_UNARY_ATAN:
    return NTK_MATH(atan)(x);
  case NTK_UNARY_SINH:
    return NTK_MATH(sinh)(x);
  case NTK_UNARY_COSH:
    return NTK_MATH(cosh)(x);
  case NTK_UNARY_ASINH:
    return NTK_MATH(asinh)(x);
  case NTK_UNARY_ACOSH:
    return NTK_MATH(acosh)(x);
  case NTK_UNARY_ATANH:
    return NTK_MATH(atanh)(x);
  case NTK_UNARY_CLIP:
    x = x < a ? a : x;
    return x > b ? b : x;
  case NTK_UNARY_ABS:
    return NTK_MATH(fabs)(x);
  case NTK_UNARY_FLOOR:
    return NTK_MATH(floor)(x);
  case NTK_UNARY_CEIL:
    return NTK_MATH(ceil)(x);
  case NTK_UNARY_ROUND: /* halves to even */
    return NTK_MATH(rint)(x);
  case NTK_UNARY_SIGN:
    return x > 0 ? 1 : x < 0 ? -1 : x;
  case NTK_UNARY_NOT:
    return x == 0;
  case NTK_UNARY_ISNAN:
    return x != x;
  case NTK_UNARY_ISINF: /* a, b: of which signs */
    return isinf(x) && (x > 0 ? b : a) != 0 ? 1 : 0;
  case NTK_UNARY_RECIPROCAL:
    return 1 / x;
  case NTK_UNARY_TRUTH:
    return x != 0;
  default:
    return x;
  }
}

static inline real gelu_tanh_slope(real x) {
  const real t = gelu_tanh(x);
  return HALF * (1 + t) + HALF * x * (1 - t * t) * SQRT_2_PI * (1 + 3 * GELU_CUBE * x * x);
}

static inline real mish_slope(real x) {
  const real t = NTK_MATH(tanh)(softplus(x));
  return t + x * (1 - t * t) * sigmoid(x);
}

/* Derivative from x and y. */
static inline real slope(ntk_unary_function f, real x, real y, real a, real b) {
  switch (f) {
  case NTK_UNARY_NEG:
    return -1;
  case NTK_UNARY_RELU:
    return x > 0 ? 1 : 0;
  case NTK_UNARY_LEAKYRELU:
    return x > 0 ? 1 : a;
  case NTK_UNARY_SIGMOID:
    return y * (1 - y);
  case NTK_UNARY_TANH:
    return 1 - y * y;
  case NTK_UNARY_ERF:
    return (real)1.1283791670955126 * NTK_MATH(exp)(-x * x); /* 2 / sqrt(pi) */
  case NTK_UNARY_SOFTPLUS:
    return sigmoid(x);
  case NTK_UNARY_ELU:
    return x > 0 ? 1 : y + a;
  case NTK_UNARY_SELU:
    return x > 0 ? b : y + b * a;
  case NTK_UNARY_CELU:
    return x > 0 ? 1 : y / a + 1;
  case NTK_UNARY_GELU:
    return normal(x) + x * ONE_OVER_SQRT_2PI * NTK_MATH(exp)(-HALF * x * x);
  case NTK_UNARY_GELU_TANH:
    return gelu_tanh_slope(x);
  case NTK_UNARY_MISH:
    return mish_slope(x);
  case NTK_UNARY_SOFTSIGN:
    x = 1 + NTK_MATH(fabs)(x);
    return 1 / (x * x);
  case NTK_UNARY_HARDSIGMOID:
    return y > 0 && y < 1 ? a : 0;
  case NTK_UNARY_HARDSWISH:
    return x < -3 ? 0 : x > 3 ? 1 : (2 * x + 3) / 6;
  case NTK_UNARY_THRESHOLDEDRELU:
    return x > a ? 1 : 0;
  case NTK_UNARY_SHRINK:
    return x >= -a && x <= a ? 0 : 1;
  case NTK_UNARY_EXP:
    return y;
  case NTK_UNARY_LOG:
    return 1 / x;
  case NTK_UNARY_SQRT:
    return HALF / y;
  case NTK_UNARY_SIN:
    return NTK_MATH(cos)(x);
  case NTK_UNARY_COS:
    return -NTK_MATH(sin)(x);
  case NTK_UNARY_TAN:
    return 1 + y * y;
  case NTK_UNARY_ASIN:
    return 1 / NTK_MATH(sqrt)((1 - x) * (1 + x));
  case NTK_UNARY_ACOS:
    return -1 / NTK_MATH(sqrt)((1 - x) * (1 + x));
  case NTK_UNARY_ATAN:
    return 1 / (1 + x * x);
  case NTK_UNARY_SINH:
    return NTK_MATH(cosh)(x);
  case NTK_UNARY_COSH:
    return NTK_MATH(sinh)(x);
  case NTK_UNARY_ASINH:
    return 1 / NTK_MATH(sqrt)(x * x + 1);
  case NTK_UNARY_ACOSH:
    return 1 / NTK_MATH(sqrt)((x - 1) * (x + 1));
  case NTK_UNARY_ATANH:
    return 1 / ((1 - x) * (1 + x));
  case NTK_UNARY_CLIP:
    return x > a && x < b ? 1 : 0;
  case NTK_UNARY_ABS:
    return (real)((x > 0) - (x < 0));
  case NTK_UNARY_RECIPROCAL:
    return -y * y;
  case NTK_UNARY_SIGN:
  case NTK_UNARY_FLOOR:
  case NTK_UNARY_CEIL:
  case NTK_UNARY_ROUND:
  case NTK_UNARY_NOT:
  case NTK_UNARY_ISNAN:
  case NTK_UNARY_ISINF:
  case NTK_UNARY_TRUTH:
    return 0;
  default:
    return 1;
  }
}

static void values(const ntk_unary *u, int64_t n, const real *x, real *y) {
  const real a = (real)u->a, b = (real)u->b;
  switch (u->function) {
#define VALUES(f)                                                                          \
  case f:                                                                                  \
    for (int64_t i = 0; i < n; i++)                                                        \
      y[i] = value(f, x[i], a, b);                                                         \
    break;
    NTK_UNARY_FUNCTIONS(VALUES)
#undef VALUES
  }
}

static void slopes(const ntk_unary *u, int64_t n, const real *x, const real *y, real *d) {
  const real a = (real)u->a, b = (real)u->b;
  switch (u->function) {
#define SLOPES(f)                                                                          \
  case f:                                                                                  \
    for (int64_t i = 0; i < n; i++)                                                        \
      d[i] = slope(f, x[i], y[i], a, b);                                                   \
    break;
    NTK_UNARY_FUNCTIONS(SLOPES)
#undef SLOPES
  }
}

static int64_t piece(const ntk_unary *u, int64_t at) {
  return u->size - at < BLOCK ? u->size - at : BLOCK;
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_unary *u = node->detail;
  const int64_t pieces = (u->size + BLOCK - 1) / BLOCK;
  (void)work;
#pragma omp parallel for schedule(static) if (n * u->size > 1 << 15)
  for (int64_t p = 0; p < n * pieces; p++) {
    const int64_t i = p / pieces, at = p % pieces * BLOCK;
    values(u, piece(u, at), (const real *)in[0].data + i * in[0].outer + at,
           (real *)out[0].data + i * out[0].outer + at);
  }
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_unary *u = node->detail;
  const int64_t pieces = (u->size + BLOCK - 1) / BLOCK;
  const bool constant = u->function == NTK_UNARY_NEG || u->function == NTK_UNARY_COPY;
  (void)work;
  (void)operand;
#pragma omp parallel for schedule(static) if (n * o * u->size > 1 << 15)
  for (int64_t p = 0; p < n * pieces; p++) {
    const int64_t i = p / pieces, at = p % pieces * BLOCK, length = piece(u, at);
    real d[BLOCK];
    if (constant) /* needs no values */
      for (int64_t k = 0; k < length; k++)
        d[k] = u->function == NTK_UNARY_NEG ? -1 : 1;
    else
      slopes(u, length, (const real *)in[0].data + i * in[0].outer + at,
             (const real *)out[0].data + i * out[0].outer + at, d);
    for (int64_t j = 0; j < o; j++) {
      const real *from = (const real *)dy.data + i * dy.outer + j * dy.inner + at;
      real *to = (real *)dx.data + i * dx.outer + j * dx.inner + at;
      if (add)
        for (int64_t k = 0; k < length; k++)
          to[k] += d[k] * from[k];
      else
        for (int64_t k = 0; k < length; k++)
          to[k] = d[k] * from[k];
    }
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  /* the Jacobian is diagonal: a vjp with directions in the place of outputs */
  const ntk_array from = {dx[0].data, dx[0].inner, dx[0].outer};
  const ntk_array to = {dy.data, dy.inner, dy.outer};
  vjp(node, 0, n, d, in, out, from, to, false, work);
}

const ntk_kernels NTK_REAL(ntk_unary_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp};

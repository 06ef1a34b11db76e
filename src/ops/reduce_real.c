/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/runs.h"
#include <string.h>

/* Reductions: the runs lead from the result (their `from`) to the input (their `at`). */

/* ---- sums -----------------------------------------------------------------------------
 */

static void sum_forward(const ntk_node *node, int64_t n, const ntk_array *in,
                        const ntk_array *out, void *work) {
  const ntk_moves *m = node->detail;
  (void)work;
#pragma omp parallel for schedule(static) if (n * m->to_size > 1 << 15)
  for (int64_t i = 0; i < n; i++)
    NTK_REAL(ntk_runs_sum)
  (m, (const real *)in[0].data + i * in[0].outer, (real *)out[0].data + i * out[0].outer);
}

static void sum_vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                    const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                    bool add, void *work) {
  const ntk_moves *m = node->detail;
  (void)operand;
  (void)in;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static) if (n * o * m->to_size > 1 << 15)
  for (int64_t p = 0; p < n * o; p++)
    NTK_REAL(ntk_runs_gather)
  (m, (const real *)dy.data + p / o * dy.outer + p % o * dy.inner,
   (real *)dx.data + p / o * dx.outer + p % o * dx.inner, add);
}

static void sum_jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                    const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_moves *m = node->detail;
  (void)in;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static) if (d * n * m->to_size > 1 << 15)
  for (int64_t p = 0; p < d * n; p++)
    NTK_REAL(ntk_runs_sum)
  (m, (const real *)dx[0].data + p / n * dx[0].outer + p % n * dx[0].inner,
   (real *)dy.data + p / n * dy.outer + p % n * dy.inner);
}

const ntk_kernels NTK_REAL(ntk_reduce_kernels) = {
    .forward = sum_forward, .vjp = sum_vjp, .jvp = sum_jvp};

/* ---- others: what is added up are functions of the elements, or nothing is added up ---
 */

/* One run at a time: input element a goes into result element r. */
#define EACH_ELEMENT(m, a, r)                                                              \
  for (const ntk_run *run = (m)->runs; run < (m)->runs + (m)->count; run++)                \
    for (int64_t a = run->at, r = run->from; a < run->at + run->length;                    \
         a++, r += run->stride)

static void fill(int64_t n, real number, real *y) {
  for (int64_t i = 0; i < n; i++)
    y[i] = number;
}

/* A NaN stays one, for the report at the outputs. */
static void extremes(const ntk_moves *m, real sign, const real *x, real *y) {
  fill(m->from_size, -sign * (real)INFINITY, y);
  EACH_ELEMENT(m, a, r)
  y[r] = sign * x[a] > sign * y[r] || x[a] != x[a] ? x[a] : y[r];
}

/* Products of what is not zero, and how often it is. */
static void products(const ntk_moves *m, const real *x, real *product, real *zeros) {
  fill(m->from_size, 1, product);
  fill(m->from_size, 0, zeros);
  EACH_ELEMENT(m, a, r) {
    product[r] *= x[a] != 0 ? x[a] : 1;
    zeros[r] += x[a] == 0;
  }
}

/* y = log of the sum of exp(x); terms [to_size]. */
static void log_sum_exp(const ntk_moves *m, const real *x, real *y, real *terms,
                        real *most) {
  extremes(m, 1, x, most);
  for (int64_t r = 0; r < m->from_size; r++)
    most[r] = isinf(most[r]) ? 0 : most[r];
  EACH_ELEMENT(m, a, r)
  terms[a] = NTK_MATH(exp)(x[a] - most[r]);
  NTK_REAL(ntk_runs_sum)(m, terms, y);
  for (int64_t r = 0; r < m->from_size; r++)
    y[r] = NTK_MATH(log)(y[r]) + most[r];
}

/* y = f(sum of g(x)). */
static void sum_of_terms(const ntk_moves *m, const real *x, real *y, real *terms) {
  const int f = m->function;
  for (int64_t a = 0; a < m->to_size; a++)
    terms[a] = f == NTK_REDUCE_L1       ? NTK_MATH(fabs)(x[a])
               : f == NTK_REDUCE_LOGSUM ? x[a]
                                        : x[a] * x[a];
  NTK_REAL(ntk_runs_sum)(m, terms, y);
  for (int64_t r = 0; r < m->from_size; r++)
    y[r] = f == NTK_REDUCE_L2       ? NTK_MATH(sqrt)(y[r])
           : f == NTK_REDUCE_LOGSUM ? NTK_MATH(log)(y[r])
                                    : y[r];
}

static int64_t scratch_of(const ntk_moves *m) { return 2 * (m->to_size + m->from_size); }

static void fold(const ntk_moves *m, const real *x, real *y, real *scratch) {
  real *zeros = scratch + m->to_size;
  switch (m->function) {
  case NTK_REDUCE_MAX:
  case NTK_REDUCE_MIN:
    extremes(m, m->function == NTK_REDUCE_MAX ? 1 : -1, x, y);
    break;
  case NTK_REDUCE_PROD:
    products(m, x, y, zeros);
    for (int64_t r = 0; r < m->from_size; r++)
      y[r] = zeros[r] > 0 ? 0 * y[r] : y[r];
    break;
  case NTK_REDUCE_LOGSUMEXP:
    log_sum_exp(m, x, y, scratch, zeros);
    break;
  default:
    sum_of_terms(m, x, y, scratch);
  }
}

/* dy/dx; p, z: number of the extremes, and nothing; product and number of zeros. */
static inline real slope(int function, real x, real y, real p, real z) {
  switch (function) {
  case NTK_REDUCE_MAX:
  case NTK_REDUCE_MIN: /* equal ones share */
    return x == y ? 1 / p : 0;
  case NTK_REDUCE_PROD:
    return z == 0 ? p / x : z == 1 && x == 0 ? p : 0;
  case NTK_REDUCE_L1:
    return (real)((x > 0) - (x < 0));
  case NTK_REDUCE_L2: /* as in PyTorch: 0 at the kink */
    return y > 0 ? x / y : 0;
  case NTK_REDUCE_SUMSQUARE:
    return 2 * x;
  case NTK_REDUCE_LOGSUM:
    return NTK_MATH(exp)(-y);
  default: /* nothing but masked places: -inf */
    return y < -NTK_REAL_MAX ? 0 : NTK_MATH(exp)(x - y);
  }
}

/* d [to_size] = dy/dx; scratch [2 from_size]. */
static void slopes(const ntk_moves *m, const real *x, const real *y, real *d,
                   real *scratch) {
  real *p = scratch, *z = scratch + m->from_size;
  if (m->function == NTK_REDUCE_PROD) {
    products(m, x, p, z);
  } else {
    fill(2 * m->from_size, 0, scratch);
    EACH_ELEMENT(m, a, r)
    p[r] += x[a] == y[r];
  }
  EACH_ELEMENT(m, a, r)
  d[a] = slope(m->function, x[a], y[r], p[r], z[r]);
}

static void fold_forward(const ntk_node *node, int64_t n, const ntk_array *in,
                         const ntk_array *out, void *work) {
  const ntk_moves *m = node->detail;
#pragma omp parallel for schedule(static) if (n * m->to_size > 1 << 13)
  for (int64_t i = 0; i < n; i++)
    fold(m, (const real *)in[0].data + i * in[0].outer,
         (real *)out[0].data + i * out[0].outer, (real *)work + i * scratch_of(m));
}

static void fold_vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                     const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                     bool add, void *work) {
  const ntk_moves *m = node->detail;
  (void)operand;
#pragma omp parallel for schedule(static) if (n * o * m->to_size > 1 << 13)
  for (int64_t i = 0; i < n; i++) {
    real *d = (real *)work + i * scratch_of(m);
    slopes(m, (const real *)in[0].data + i * in[0].outer,
           (const real *)out[0].data + i * out[0].outer, d, d + m->to_size);
    for (int64_t j = 0; j < o; j++) {
      const real *from = (const real *)dy.data + i * dy.outer + j * dy.inner;
      real *to = (real *)dx.data + i * dx.outer + j * dx.inner;
      EACH_ELEMENT(m, a, r)
      to[a] = d[a] * from[r] + (add ? to[a] : 0);
    }
  }
}

static void fold_jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                     const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_moves *m = node->detail;
#pragma omp parallel for schedule(static) if (d * n * m->to_size > 1 << 13)
  for (int64_t i = 0; i < n; i++) {
    real *s = (real *)work + i * scratch_of(m), *terms = s + m->to_size;
    slopes(m, (const real *)in[0].data + i * in[0].outer,
           (const real *)out[0].data + i * out[0].outer, s, terms);
    for (int64_t j = 0; j < d; j++) {
      const real *from = (const real *)dx[0].data + j * dx[0].outer + i * dx[0].inner;
      for (int64_t a = 0; a < m->to_size; a++)
        terms[a] = s[a] * from[a];
      NTK_REAL(ntk_runs_sum)(m, terms, (real *)dy.data + j * dy.outer + i * dy.inner);
    }
  }
}

const ntk_kernels NTK_REAL(ntk_fold_kernels) = {
    .forward = fold_forward, .vjp = fold_vjp, .jvp = fold_jvp};

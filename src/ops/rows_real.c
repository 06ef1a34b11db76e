/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/light.h"
#include "tensor/real.h"

/* ---- values ---------------------------------------------------------------------------
 */

static void softmax(const ntk_rows *s, const real *x, real *y) {
  const int64_t step = s->inner;
  real most = x[0], sum = 0;
  for (int64_t k = 1; k < s->length; k++)
    if (x[k * step] > most)
      most = x[k * step];
  for (int64_t k = 0; k < s->length; k++) {
    y[k * step] = NTK_MATH(exp)(x[k * step] - most);
    sum += y[k * step];
  }
  const real logarithm = NTK_MATH(log)(sum);
  for (int64_t k = 0; k < s->length; k++)
    y[k * step] = s->function == NTK_ROW_LOGSOFTMAX ? x[k * step] - most - logarithm
                                                    : y[k * step] / sum;
}

/* Place in the row of the largest or smallest element, the first or the last of equals; a
 * NaN is both. */
static int64_t extreme(const ntk_rows *s, const real *x) {
  const real sign = s->function == NTK_ROW_ARGMIN ? -1 : 1;
  int64_t best = 0;
  for (int64_t k = 1; k < s->length; k++) {
    const real a = sign * x[k * s->inner], b = sign * x[best * s->inner];
    if (a > b || (a != a && b == b) || (s->last && a == b))
      best = k;
  }
  return best;
}

static void hardmax(const ntk_rows *s, const real *x, real *y) {
  const int64_t best = extreme(s, x);
  for (int64_t k = 0; k < s->length; k++)
    y[k * s->inner] = k == best;
}

static void sum_along(const ntk_rows *s, bool reverse, const real *x, real *y, bool add) {
  double sum = 0;
  for (int64_t k = 0; k < s->length; k++) {
    const int64_t at = (reverse ? s->length - 1 - k : k) * s->inner;
    const double next = sum + (double)x[at];
    y[at] = (real)(s->exclusive ? sum : next) + (add ? y[at] : 0);
    sum = next;
  }
}

static inline real sign_of(real x) { return (real)((x > 0) - (x < 0)); }

static real norm(const ntk_rows *s, const real *x) {
  real sum = 0;
  for (int64_t k = 0; k < s->length; k++) {
    const real v = x[k * s->inner];
    sum += s->function == NTK_ROW_L1 ? NTK_MATH(fabs)(v) : v * v;
  }
  return s->function == NTK_ROW_L1 ? sum : NTK_MATH(sqrt)(sum);
}

/* A row of zeros stays one. */
static void normalize(const ntk_rows *s, const real *x, real *y) {
  const real length = norm(s, x);
  for (int64_t k = 0; k < s->length; k++)
    y[k * s->inner] = length == 0 ? 0 : x[k * s->inner] / length;
}

static void forward_row(const ntk_rows *s, const real *x, real *y) {
  switch (s->function) {
  case NTK_ROW_SOFTMAX:
  case NTK_ROW_LOGSOFTMAX:
    softmax(s, x, y);
    break;
  case NTK_ROW_CUMSUM:
    sum_along(s, s->reverse, x, y, false);
    break;
  case NTK_ROW_L1:
  case NTK_ROW_L2:
    normalize(s, x, y);
    break;
  default:
    hardmax(s, x, y);
  }
}

/* ---- Jacobians, and their adjoints ----------------------------------------------------
 */

/* softmax: J = diag(y) - y y^T, symmetric; logarithm: J = I - 1 p^T, p = exp(y). */
static void softmax_jacobian(const ntk_rows *s, bool transposed, const real *y,
                             const real *v, real *out, bool add) {
  const int64_t step = s->inner;
  const bool logarithm = s->function == NTK_ROW_LOGSOFTMAX;
  real sum = 0;
  for (int64_t k = 0; k < s->length; k++) {
    const real p = !logarithm ? y[k * step] : transposed ? 1 : NTK_MATH(exp)(y[k * step]);
    sum += p * v[k * step];
  }
  for (int64_t k = 0; k < s->length; k++) {
    real r;
    if (!logarithm)
      r = y[k * step] * (v[k * step] - sum);
    else
      r = v[k * step] - (transposed ? NTK_MATH(exp)(y[k * step]) * sum : sum);
    out[k * step] = add ? out[k * step] + r : r;
  }
}

/* J = (I - y g^T) / norm, g the gradient of the norm: y, or the signs of x. */
static void normalize_jacobian(const ntk_rows *s, bool transposed, const real *x,
                               const real *y, const real *v, real *out, bool add) {
  const int64_t step = s->inner;
  const real length = norm(s, x);
  const bool signs = s->function == NTK_ROW_L1;
  real sum = 0;
  for (int64_t k = 0; k < s->length; k++)
    sum += (signs && !transposed ? sign_of(x[k * step]) : y[k * step]) * v[k * step];
  for (int64_t k = 0; k < s->length; k++) {
    const real g = signs && transposed ? sign_of(x[k * step]) : y[k * step];
    const real r = length == 0 ? 0 : (v[k * step] - g * sum) / length;
    out[k * step] = add ? out[k * step] + r : r;
  }
}

static void jacobian_row(const ntk_rows *s, bool transposed, const real *x, const real *y,
                         const real *v, real *out, bool add) {
  switch (s->function) {
  case NTK_ROW_SOFTMAX:
  case NTK_ROW_LOGSOFTMAX:
    softmax_jacobian(s, transposed, y, v, out, add);
    break;
  case NTK_ROW_CUMSUM:
    sum_along(s, s->reverse != transposed, v, out, add);
    break;
  case NTK_ROW_L1:
  case NTK_ROW_L2:
    normalize_jacobian(s, transposed, x, y, v, out, add);
    break;
  default:
    for (int64_t k = 0; k < s->length && !add; k++)
      out[k * s->inner] = 0;
  }
}

/* ---- loops ----------------------------------------------------------------------------
 */

static int64_t row_at(const ntk_rows *s, int64_t r) {
  return r / s->inner * s->length * s->inner + r % s->inner;
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_rows *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)work;
#pragma omp parallel for schedule(static) if (n * rows * s->length > 1 << 13)
  for (int64_t p = 0; p < n * rows; p++) {
    const int64_t i = p / rows, at = row_at(s, p % rows);
    forward_row(s, (const real *)in[0].data + i * in[0].outer + at,
                (real *)out[0].data + i * out[0].outer + at);
  }
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_rows *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)operand;
  (void)work;
#pragma omp parallel for schedule(static) if (n * o * rows * s->length > 1 << 13)
  for (int64_t p = 0; p < n * o * rows; p++) {
    const int64_t i = p / rows / o, j = p / rows % o, at = row_at(s, p % rows);
    jacobian_row(s, true, (const real *)in[0].data + i * in[0].outer + at,
                 (const real *)out[0].data + i * out[0].outer + at,
                 (const real *)dy.data + i * dy.outer + j * dy.inner + at,
                 (real *)dx.data + i * dx.outer + j * dx.inner + at, add);
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_rows *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)work;
#pragma omp parallel for schedule(static) if (d * n * rows * s->length > 1 << 13)
  for (int64_t p = 0; p < d * n * rows; p++) {
    const int64_t j = p / rows / n, i = p / rows % n, at = row_at(s, p % rows);
    jacobian_row(s, false, (const real *)in[0].data + i * in[0].outer + at,
                 (const real *)out[0].data + i * out[0].outer + at,
                 (const real *)dx[0].data + j * dx[0].outer + i * dx[0].inner + at,
                 (real *)dy.data + j * dy.outer + i * dy.inner + at, false);
  }
}

const ntk_kernels NTK_REAL(ntk_rows_kernels) = {.forward = forward, .vjp = vjp, .jvp = jvp};

/* ---- a place for each row -------------------------------------------------------------
 */

static void arg_forward(const ntk_node *node, int64_t n, const ntk_array *in,
                        const ntk_array *out, void *work) {
  const ntk_rows *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)work;
#pragma omp parallel for schedule(static) if (n * rows * s->length > 1 << 15)
  for (int64_t p = 0; p < n * rows; p++) {
    const int64_t i = p / rows, r = p % rows;
    ((real *)out[0].data)[i * out[0].outer + r] =
        (real)extreme(s, (const real *)in[0].data + i * in[0].outer + row_at(s, r));
  }
}

const ntk_kernels NTK_REAL(ntk_arg_kernels) = {.forward = arg_forward};

/* ---- the first of each row in order ---------------------------------------------------
 */

/* Place that follows `last` (-1: none) in the order of falling or rising values, of equal
 * ones the first in front. */
static int64_t next_place(const ntk_rows *s, const real *x, int64_t last) {
  const real sign = s->smallest ? -1 : 1;
  int64_t best = -1;
  for (int64_t k = 0; k < s->length; k++) {
    const real v = sign * x[k * s->inner];
    const real w = last < 0 ? v : sign * x[last * s->inner];
    const bool behind = last < 0 || v < w || (v == w && k > last);
    if (behind && (best < 0 || v > sign * x[best * s->inner]))
      best = k;
  }
  return best < 0 ? 0 : best;
}

static int64_t top_at(const ntk_rows *s, int64_t r) {
  return r / s->inner * s->count * s->inner + r % s->inner;
}

/* Gathers from `from` what is at the places of x. */
static void gather_top(const ntk_rows *s, const real *x, const real *from, real *y) {
  int64_t place = -1;
  for (int64_t k = 0; k < s->count; k++) {
    place = next_place(s, x, place);
    y[k * s->inner] =
        s->function == NTK_ROW_TOP_PLACES ? (real)place : from[place * s->inner];
  }
}

static void top_forward(const ntk_node *node, int64_t n, const ntk_array *in,
                        const ntk_array *out, void *work) {
  const ntk_rows *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)work;
#pragma omp parallel for schedule(static) if (n * rows * s->length * s->count > 1 << 13)
  for (int64_t p = 0; p < n * rows; p++) {
    const int64_t i = p / rows, r = p % rows;
    const real *x = (const real *)in[0].data + i * in[0].outer + row_at(s, r);
    gather_top(s, x, x, (real *)out[0].data + i * out[0].outer + top_at(s, r));
  }
}

static void top_vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                    const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                    bool add, void *work) {
  const ntk_rows *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)operand;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static) if (n * o * rows * s->length > 1 << 13)
  for (int64_t p = 0; p < n * o * rows; p++) {
    const int64_t i = p / rows / o, j = p / rows % o, r = p % rows, at = row_at(s, r);
    const real *x = (const real *)in[0].data + i * in[0].outer + at;
    const real *from = (const real *)dy.data + i * dy.outer + j * dy.inner + top_at(s, r);
    real *to = (real *)dx.data + i * dx.outer + j * dx.inner + at;
    int64_t place = -1;
    for (int64_t k = 0; k < s->length && !add; k++)
      to[k * s->inner] = 0;
    for (int64_t k = 0; k < s->count; k++) {
      place = next_place(s, x, place);
      to[place * s->inner] += from[k * s->inner];
    }
  }
}

static void top_jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                    const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_rows *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static) if (d * n * rows * s->length > 1 << 13)
  for (int64_t p = 0; p < d * n * rows; p++) {
    const int64_t j = p / rows / n, i = p / rows % n, r = p % rows, at = row_at(s, r);
    gather_top(s, (const real *)in[0].data + i * in[0].outer + at,
               (const real *)dx[0].data + j * dx[0].outer + i * dx[0].inner + at,
               (real *)dy.data + j * dy.outer + i * dy.inner + top_at(s, r));
  }
}

const ntk_kernels NTK_REAL(ntk_top_kernels) = {
    .forward = top_forward, .vjp = top_vjp, .jvp = top_jvp};

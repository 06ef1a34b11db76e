/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/light.h"
#include "tensor/real.h"

static void forward_row(const ntk_softmax *s, const real *x, real *y) {
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
    y[k * step] = s->logarithm ? x[k * step] - most - logarithm : y[k * step] / sum;
}

static int64_t row_at(const ntk_softmax *s, int64_t r) {
  return r / s->inner * s->length * s->inner + r % s->inner;
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_softmax *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)work;
#pragma omp parallel for schedule(static) if (n * rows * s->length > 1 << 13)
  for (int64_t p = 0; p < n * rows; p++) {
    const int64_t i = p / rows, at = row_at(s, p % rows);
    forward_row(s, (const real *)in[0].data + i * in[0].outer + at,
                (real *)out[0].data + i * out[0].outer + at);
  }
}

/* softmax: J = diag(y) - y y^T, symmetric; logarithm: J = I - 1 p^T, p = exp(y). */
static void jacobian_row(const ntk_softmax *s, bool transposed, const real *y,
                         const real *v, real *out, bool add) {
  const int64_t step = s->inner;
  real sum = 0;
  for (int64_t k = 0; k < s->length; k++) {
    const real p = !s->logarithm ? y[k * step]
                   : transposed  ? 1
                                 : NTK_MATH(exp)(y[k * step]);
    sum += p * v[k * step];
  }
  for (int64_t k = 0; k < s->length; k++) {
    real r;
    if (!s->logarithm)
      r = y[k * step] * (v[k * step] - sum);
    else
      r = v[k * step] - (transposed ? NTK_MATH(exp)(y[k * step]) * sum : sum);
    out[k * step] = add ? out[k * step] + r : r;
  }
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_softmax *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)operand;
  (void)in;
  (void)work;
#pragma omp parallel for schedule(static) if (n * o * rows * s->length > 1 << 13)
  for (int64_t p = 0; p < n * o * rows; p++) {
    const int64_t i = p / rows / o, j = p / rows % o, at = row_at(s, p % rows);
    jacobian_row(s, true, (const real *)out[0].data + i * out[0].outer + at,
                 (const real *)dy.data + i * dy.outer + j * dy.inner + at,
                 (real *)dx.data + i * dx.outer + j * dx.inner + at, add);
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_softmax *s = node->detail;
  const int64_t rows = s->outer * s->inner;
  (void)in;
  (void)work;
#pragma omp parallel for schedule(static) if (d * n * rows * s->length > 1 << 13)
  for (int64_t p = 0; p < d * n * rows; p++) {
    const int64_t j = p / rows / n, i = p / rows % n, at = row_at(s, p % rows);
    jacobian_row(s, false, (const real *)out[0].data + i * out[0].outer + at,
                 (const real *)dx[0].data + j * dx[0].outer + i * dx[0].inner + at,
                 (real *)dy.data + j * dy.outer + i * dy.inner + at, false);
  }
}

const ntk_kernels NTK_REAL(ntk_softmax_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp};

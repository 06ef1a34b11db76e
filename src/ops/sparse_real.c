/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"
#include "tensor/real.h"

#include <string.h>

static real *block_at(ntk_array a, int64_t q, int64_t item) {
  return (real *)a.data + item / q * a.outer + item % q * a.inner;
}

/* y[p, q] = S x[p, q]; fill: of rows without entries. */
static void apply(const ntk_sparse *s, int64_t p, int64_t q, ntk_array x, ntk_array y,
                  double fill) {
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < p * q * s->outer; item++) {
    const real *from =
        block_at(x, q, item / s->outer) + item % s->outer * s->columns * s->inner;
    real *to = block_at(y, q, item / s->outer) + item % s->outer * s->rows * s->inner;
    for (int64_t r = 0; r < s->rows; r++, to += s->inner)
      for (int64_t i = 0; i < s->inner; i++) {
        double sum = s->start[r] == s->start[r + 1] ? fill : 0;
        for (int64_t e = s->start[r]; e < s->start[r + 1]; e++)
          sum += s->weight[e] * (double)from[s->column[e] * s->inner + i];
        to[i] = (real)sum;
      }
  }
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_sparse *s = node->detail;
  (void)work;
  apply(s, n, 1, in[0], out[0], s->fill);
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_sparse *s = node->detail;
  const int64_t size = s->columns * s->inner;
  (void)operand;
  (void)in;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * o * s->outer; item++) {
    const real *from =
        block_at(dy, o, item / s->outer) + item % s->outer * s->rows * s->inner;
    real *to = block_at(dx, o, item / s->outer) + item % s->outer * size;
    if (!add)
      memset(to, 0, (size_t)size * sizeof *to);
    for (int64_t r = 0; r < s->rows; r++, from += s->inner)
      for (int64_t e = s->start[r]; e < s->start[r + 1]; e++)
        for (int64_t i = 0; i < s->inner; i++)
          to[s->column[e] * s->inner + i] += (real)(s->weight[e] * (double)from[i]);
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  (void)in;
  (void)out;
  (void)work;
  apply(node->detail, d, n, dx[0], dy, 0);
}

const ntk_kernels NTK_REAL(ntk_sparse_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp};

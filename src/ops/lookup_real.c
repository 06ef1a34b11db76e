/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"
#include "ops/lookup.h"
#include "tensor/real.h"
#include <string.h>

/* Row that an index means, from the end where it is negative; inside the table even if the
 * index is not, which check has refused. */
static int64_t row_of(const ntk_lookup *l, real index) {
  const int64_t i = (int64_t)index, row = i < 0 ? i + l->rows : i;
  return row < 0 ? 0 : row < l->rows ? row : l->rows - 1;
}

static int64_t index_count(const ntk_lookup *l) {
  return l->each ? l->outer * l->count * l->inner : l->count;
}

/* Element of the table behind element e of the result, each with its index. */
static int64_t element_of(const ntk_lookup *l, const real *index, int64_t e) {
  return (e / l->inner / l->count * l->rows + row_of(l, index[e])) * l->inner +
         e % l->inner;
}

static void look_up(const ntk_lookup *l, const real *index, const real *x, real *y) {
  for (int64_t e = 0; l->each && e < index_count(l); e++)
    y[e] = x[element_of(l, index, e)];
  if (l->each)
    return;
  for (int64_t o = 0; o < l->outer; o++)
    for (int64_t k = 0; k < l->count; k++)
      memcpy(y + (o * l->count + k) * l->inner,
             x + (o * l->rows + row_of(l, index[k])) * l->inner,
             (size_t)l->inner * sizeof(real));
}

static void scatter(const ntk_lookup *l, const real *index, const real *y, real *x) {
  for (int64_t e = 0; l->each && e < index_count(l); e++)
    x[element_of(l, index, e)] += y[e];
  if (l->each)
    return;
  for (int64_t o = 0; o < l->outer; o++)
    for (int64_t k = 0; k < l->count; k++) {
      const real *from = y + (o * l->count + k) * l->inner;
      real *to = x + (o * l->rows + row_of(l, index[k])) * l->inner;
      for (int64_t e = 0; e < l->inner; e++)
        to[e] += from[e];
    }
}

static const real *indices(const ntk_array *in, int64_t sample) {
  return (const real *)in[1].data + sample * in[1].outer;
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_lookup *l = node->detail;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i++)
    look_up(l, indices(in, i), (const real *)in[0].data + i * in[0].outer,
            (real *)out[0].data + i * out[0].outer);
}

/* Steps have no slope: of the indices it is zero. */
static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_lookup *l = node->detail;
  const int64_t size = operand == 0 ? l->outer * l->rows * l->inner : index_count(l);
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < n * o; p++) {
    real *x = (real *)dx.data + p / o * dx.outer + p % o * dx.inner;
    if (!add)
      memset(x, 0, (size_t)size * sizeof(real));
    if (operand == 0)
      scatter(l, indices(in, p / o),
              (const real *)dy.data + p / o * dy.outer + p % o * dy.inner, x);
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_lookup *l = node->detail;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < d * n; p++) {
    real *y = (real *)dy.data + p / n * dy.outer + p % n * dy.inner;
    if (dx[0].data)
      look_up(l, indices(in, p % n),
              (const real *)dx[0].data + p / n * dx[0].outer + p % n * dx[0].inner, y);
    else
      memset(y, 0, (size_t)(l->outer * l->count * l->inner) * sizeof(real));
  }
}

static ntk_status check(const ntk_node *node, int64_t n, const ntk_array *in,
                        int64_t first_sample) {
  const ntk_lookup *l = node->detail;
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < index_count(l); k++) {
      const double index = (double)indices(in, i)[k];
      const double first = l->labels ? 0 : (double)-l->rows;
      if (!(index >= first && index < (double)l->rows && index == floor(index)))
        return ntk_fail(NTK_ERR_NUMERICAL,
                        "sample %lld: node '%s' (%s): %.15g is no index into %lld rows",
                        (long long)(first_sample + i), node->name, node->op->name, index,
                        (long long)l->rows);
    }
  return NTK_SUCCESS;
}

const ntk_kernels NTK_REAL(ntk_lookup_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp, .check = check};

/* ---- OneHot ---------------------------------------------------------------------------
 */

/* Indices outside switch nothing on. */
static void one_hot_forward(const ntk_node *node, int64_t n, const ntk_array *in,
                            const ntk_array *out, void *work) {
  const ntk_one_hot *v = node->detail;
  const int64_t size = v->outer * v->depth * v->inner;
  (void)work;
#pragma omp parallel for schedule(static) if (n * size > 1 << 15)
  for (int64_t i = 0; i < n; i++) {
    const real *index = (const real *)in[0].data + i * in[0].outer;
    real *y = (real *)out[0].data + i * out[0].outer;
    for (int64_t e = 0; e < size; e++) {
      const real k = index[e / v->inner / v->depth * v->inner + e % v->inner];
      const real place = (real)(e / v->inner % v->depth);
      y[e] = (real)(k == place || k == place - (real)v->depth ? v->on : v->off);
    }
  }
}

const ntk_kernels NTK_REAL(ntk_one_hot_kernels) = {.forward = one_hot_forward};

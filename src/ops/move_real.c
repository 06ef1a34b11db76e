/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/runs.h"
#include <string.h>

/* y[at + i] = scale x[from + i stride], and its adjoint, run by run. */

static void gather_run(const ntk_run *r, real scale, const real *x, real *y, bool add) {
  if (!add && scale == 1 && r->stride == 1) {
    memcpy(y + r->at, x + r->from, (size_t)r->length * sizeof(real));
    return;
  }
  for (int64_t i = 0; i < r->length; i++) {
    const real v = scale * x[r->from + i * r->stride];
    y[r->at + i] = add ? y[r->at + i] + v : v;
  }
}

/* Pieces are short enough for f32. */
static real sum_of(int64_t n, const real *y) {
  double total = 0;
  for (int64_t first = 0; first < n; first += 4096) {
    const int64_t end = n - first < 4096 ? n : first + 4096;
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = first; i < end; i++)
      sum += y[i];
    total += (double)sum;
  }
  return (real)total;
}

static void scatter_run(const ntk_run *r, real scale, const real *y, real *x) {
  if (r->stride == 0) {
    x[r->from] += scale * sum_of(r->length, y + r->at);
    return;
  }
  for (int64_t i = 0; i < r->length; i++)
    x[r->from + i * r->stride] += scale * y[r->at + i];
}

void NTK_REAL(ntk_runs_gather)(const ntk_moves *m, const real *x, real *y, bool add) {
  for (int64_t k = 0; k < m->count; k++)
    gather_run(&m->runs[k], (real)m->scale, x, y, add);
}

void NTK_REAL(ntk_runs_sum)(const ntk_moves *m, const real *y, real *x) {
  memset(x, 0, (size_t)m->from_size * sizeof(real));
  for (int64_t k = 0; k < m->count; k++)
    scatter_run(&m->runs[k], (real)m->scale, y, x);
}

/* ---- moves ----------------------------------------------------------------------------
 */

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_moves *m = node->detail;
  (void)work;
#pragma omp parallel for schedule(static) if (n * m->to_size > 1 << 15)
  for (int64_t i = 0; i < n; i++) {
    real *y = (real *)out[0].data + i * out[0].outer;
    for (int64_t k = 0; k < m->count; k++) {
      const ntk_run *r = &m->runs[k];
      if (r->operand >= 0)
        gather_run(r, 1, (const real *)in[r->operand].data + i * in[r->operand].outer, y,
                   r->add);
      else
        for (int64_t e = 0; e < r->length; e++)
          y[r->at + e] = (real)m->fill;
    }
  }
}

/* Elements of an operand, from the runs' own bounds. */
static int64_t operand_extent(const ntk_moves *m, int operand) {
  int64_t end = 0;
  if (operand == 0 && m->from_size > 0)
    return m->from_size;
  if (operand == 2 && m->third_size > 0)
    return m->third_size;
  for (int64_t k = 0; k < m->count; k++) {
    const ntk_run *r = &m->runs[k];
    const int64_t last = r->from + (r->length - 1) * r->stride + 1;
    if (r->operand == operand && last > end)
      end = last;
  }
  return end;
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_moves *m = node->detail;
  const size_t bytes = (size_t)operand_extent(m, operand) * sizeof(real);
  (void)in;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static) if (n * o * m->to_size > 1 << 15)
  for (int64_t p = 0; p < n * o; p++) {
    const real *y = (const real *)dy.data + p / o * dy.outer + p % o * dy.inner;
    real *x = (real *)dx.data + p / o * dx.outer + p % o * dx.inner;
    if (!add)
      memset(x, 0, bytes);
    for (int64_t k = 0; k < m->count; k++)
      if (m->runs[k].operand == operand)
        scatter_run(&m->runs[k], 1, y, x);
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_moves *m = node->detail;
  (void)in;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static) if (d * n * m->to_size > 1 << 15)
  for (int64_t p = 0; p < d * n; p++) {
    real *y = (real *)dy.data + p / n * dy.outer + p % n * dy.inner;
    for (int64_t k = 0; k < m->count; k++) {
      const ntk_run *r = &m->runs[k];
      const real *x = r->operand >= 0 && dx[r->operand].data
                          ? (const real *)dx[r->operand].data +
                                p / n * dx[r->operand].outer + p % n * dx[r->operand].inner
                          : NULL;
      if (x)
        gather_run(r, 1, x, y, r->add);
      else if (!r->add)
        memset(y + r->at, 0, (size_t)r->length * sizeof(real));
    }
  }
}

const ntk_kernels NTK_REAL(ntk_move_kernels) = {.forward = forward, .vjp = vjp, .jvp = jvp};

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"
#include "tensor/real.h"

/* y[c] = x[c] s[c]^-beta with s[c] = bias + alpha times the sum of x^2 over the channels
 * near c, at each place of each image. */

typedef struct column {
  int64_t sample, at; /* at: first channel within the sample's elements */
} column;

static column column_at(const ntk_lrn *l, int64_t item) {
  const int64_t image = item / l->plane;
  return (column){image / l->images,
                  image % l->images * l->channels * l->plane + item % l->plane};
}

static real *of_sample(ntk_array a, column k) {
  return (real *)a.data + k.sample * a.outer + k.at;
}

static int64_t first(const ntk_lrn *l, int64_t c) {
  return c < l->before ? 0 : c - l->before;
}
static int64_t end(const ntk_lrn *l, int64_t c) {
  return c + l->behind < l->channels ? c + l->behind + 1 : l->channels;
}

/* alpha times the sum of a b over the channels near c. */
static double near_sum(const ntk_lrn *l, int64_t c, const real *a, const real *b) {
  double sum = 0;
  for (int64_t j = first(l, c); j < end(l, c); j++)
    sum += (double)a[j * l->plane] * (double)b[j * l->plane];
  return l->alpha * sum;
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_lrn *l = node->detail;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * l->images * l->plane; item++) {
    const column k = column_at(l, item);
    const real *x = of_sample(in[0], k);
    real *y = of_sample(out[0], k);
    for (int64_t c = 0; c < l->channels; c++)
      y[c * l->plane] =
          (real)((double)x[c * l->plane] * pow(l->bias + near_sum(l, c, x, x), -l->beta));
  }
}

/* The cotangent dy at channel c of one column. */
static void pull_back(const ntk_lrn *l, int64_t c, const real *x, double s, double power,
                      double dy, real *dx) {
  const double slope = 2 * l->alpha * l->beta * dy * (double)x[c * l->plane] * power / s;
  dx[c * l->plane] += (real)(dy * power);
  for (int64_t j = first(l, c); j < end(l, c); j++)
    dx[j * l->plane] -= (real)(slope * (double)x[j * l->plane]);
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_lrn *l = node->detail;
  (void)operand;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * l->images * l->plane; item++) {
    const column k = column_at(l, item);
    const real *x = of_sample(in[0], k), *from = of_sample(dy, k);
    real *to = of_sample(dx, k);
    for (int64_t i = 0; !add && i < o * l->channels; i++)
      to[i / l->channels * dx.inner + i % l->channels * l->plane] = 0;
    for (int64_t c = 0; c < l->channels; c++) {
      const double s = l->bias + near_sum(l, c, x, x), power = pow(s, -l->beta);
      for (int64_t i = 0; i < o; i++)
        pull_back(l, c, x, s, power, (double)from[i * dy.inner + c * l->plane],
                  to + i * dx.inner);
    }
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_lrn *l = node->detail;
  const ntk_array tangent = {dx[0].data, dx[0].inner, 0}, result = {dy.data, dy.inner, 0};
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * l->images * l->plane; item++) {
    const column k = column_at(l, item);
    const real *x = of_sample(in[0], k);
    for (int64_t c = 0; c < l->channels; c++) {
      const double s = l->bias + near_sum(l, c, x, x), power = pow(s, -l->beta);
      for (int64_t i = 0; i < d; i++) {
        const real *from = of_sample(tangent, k) + i * dx[0].outer;
        const double inner = near_sum(l, c, x, from);
        of_sample(result, k)[i * dy.outer + c * l->plane] =
            (real)(power * ((double)from[c * l->plane] -
                            2 * l->beta * (double)x[c * l->plane] * inner / s));
      }
    }
  }
}

const ntk_kernels NTK_REAL(ntk_lrn_kernels) = {.forward = forward, .vjp = vjp, .jvp = jvp};

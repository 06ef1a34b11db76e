/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"
#include "tensor/real.h"

/* y = scale (x - mean) / sqrt(var + epsilon) + bias. */
enum { X, SCALE, BIAS, MEAN, VARIANCE, OPERANDS };

/* One channel of one sample: its numbers, and where its planes lie in the sample. */
typedef struct channel {
  real scale, bias, mean, inverse; /* inverse: 1 / sqrt(var + epsilon) */
  int64_t index;
} channel;

static real element(ntk_array a, int64_t sample, int64_t c) {
  return ((const real *)a.data)[sample * a.outer + c];
}

static channel channel_of(const ntk_batchnorm *b, const ntk_array *in, int64_t sample,
                          int64_t c) {
  const double variance = (double)element(in[VARIANCE], sample, c);
  return (channel){.scale = element(in[SCALE], sample, c),
                   .bias = element(in[BIAS], sample, c),
                   .mean = element(in[MEAN], sample, c),
                   .inverse = (real)(1 / sqrt(variance + b->epsilon)),
                   .index = c};
}

/* First element of plane `image` of the channel within a sample. */
static int64_t plane_at(const ntk_batchnorm *b, const channel *c, int64_t image) {
  return (image * b->channels + c->index) * b->plane;
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_batchnorm *b = node->detail;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * b->channels; item++) {
    const int64_t sample = item / b->channels;
    const channel c = channel_of(b, in, sample, item % b->channels);
    const real factor = c.scale * c.inverse;
    for (int64_t image = 0; image < b->images; image++) {
      const real *x =
          (const real *)in[X].data + sample * in[X].outer + plane_at(b, &c, image);
      real *y = (real *)out[0].data + sample * out[0].outer + plane_at(b, &c, image);
      for (int64_t i = 0; i < b->plane; i++)
        y[i] = (x[i] - c.mean) * factor + c.bias;
    }
  }
}

/* Derivative of y with respect to the channel's number `operand`, where x is `x`. */
static real slope(const channel *c, int operand, real x) {
  const real centred = (x - c->mean) * c->inverse;
  switch (operand) {
  case SCALE:
    return centred;
  case BIAS:
    return 1;
  case MEAN:
    return -c->scale * c->inverse;
  default:
    return -c->scale * centred * c->inverse * c->inverse / 2;
  }
}

static void vjp_x(const ntk_batchnorm *b, const channel *c, const real *dy, real *dx,
                  bool add) {
  const real factor = c->scale * c->inverse;
  for (int64_t image = 0; image < b->images; image++) {
    const int64_t at = plane_at(b, c, image);
    for (int64_t i = at; i < at + b->plane; i++)
      dx[i] = dy[i] * factor + (add ? dx[i] : 0);
  }
}

static real vjp_channel(const ntk_batchnorm *b, const channel *c, int operand,
                        const real *x, const real *dy) {
  double sum = 0;
  for (int64_t image = 0; image < b->images; image++) {
    const int64_t at = plane_at(b, c, image);
    for (int64_t i = at; i < at + b->plane; i++)
      sum += (double)(dy[i] * slope(c, operand, x[i]));
  }
  return (real)sum;
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_batchnorm *b = node->detail;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * b->channels; item++) {
    const int64_t sample = item / b->channels;
    const channel c = channel_of(b, in, sample, item % b->channels);
    const real *x = (const real *)in[X].data + sample * in[X].outer;
    for (int64_t j = 0; j < o; j++) {
      const real *from = (const real *)dy.data + sample * dy.outer + j * dy.inner;
      real *to = (real *)dx.data + sample * dx.outer + j * dx.inner;
      if (operand == X)
        vjp_x(b, &c, from, to, add);
      else
        to[c.index] = vjp_channel(b, &c, operand, x, from) + (add ? to[c.index] : 0);
    }
  }
}

/* One channel of one tangent; tangent[i] is NULL for operands that do not move. */
static void jvp_channel(const ntk_batchnorm *b, const channel *c, const real *x,
                        const real *const tangent[OPERANDS], real *dy) {
  for (int64_t image = 0; image < b->images; image++) {
    const int64_t at = plane_at(b, c, image);
    for (int64_t i = at; i < at + b->plane; i++) {
      real sum = tangent[X] ? tangent[X][i] * c->scale * c->inverse : 0;
      for (int k = SCALE; k < OPERANDS; k++)
        if (tangent[k])
          sum += tangent[k][c->index] * slope(c, k, x[i]);
      dy[i] = sum;
    }
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_batchnorm *b = node->detail;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * b->channels; item++) {
    const int64_t sample = item / b->channels;
    const channel c = channel_of(b, in, sample, item % b->channels);
    const real *x = (const real *)in[X].data + sample * in[X].outer;
    for (int64_t j = 0; j < d; j++) {
      const real *tangent[OPERANDS];
      for (int k = 0; k < OPERANDS; k++)
        tangent[k] = dx[k].data
                         ? (const real *)dx[k].data + j * dx[k].outer + sample * dx[k].inner
                         : NULL;
      jvp_channel(b, &c, x, tangent, (real *)dy.data + j * dy.outer + sample * dy.inner);
    }
  }
}

const ntk_kernels NTK_REAL(ntk_batchnorm_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp};

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"
#include "tensor/real.h"

#include <string.h>

/* A pixel of the output of a plane, with the part of its window inside the input. */
typedef struct pixel {
  int64_t index;
  ntk_span s[3];
} pixel;

static pixel pixel_at(const ntk_window *w, int64_t t) {
  pixel p = {.index = t};
  int64_t rest = t;
  for (int a = 2; a >= 0; a--) {
    p.s[a] = ntk_window_span(w, a, rest % w->output[a]);
    rest /= w->output[a];
  }
  return p;
}

/* Index in the plane of the first tap of an innermost run: taps of axes 0 and 1 given. */
static int64_t run_start(const ntk_window *w, const pixel *p, int64_t i, int64_t j) {
  const int64_t y0 = p->s[0].start + i * w->dilation[0];
  const int64_t y1 = p->s[1].start + j * w->dilation[1];
  return (y0 * w->input[1] + y1) * w->input[2] + p->s[2].start;
}

/* Index of the first maximum in row-major order. */
static int64_t first_maximum(const ntk_window *w, const pixel *p, const real *x) {
  int64_t best = -1;
  for (int64_t i = p->s[0].low; i < p->s[0].high; i++)
    for (int64_t j = p->s[1].low; j < p->s[1].high; j++) {
      const int64_t start = run_start(w, p, i, j);
      for (int64_t k = p->s[2].low; k < p->s[2].high; k++) {
        const int64_t at = start + k * w->dilation[2];
        if (best < 0 || x[at] > x[best])
          best = at;
      }
    }
  return best;
}

/* Plane `item` of samples [p, q]. */
static real *plane_of(ntk_array a, int64_t q, int64_t planes, int64_t size, int64_t item) {
  const int64_t sample = item / planes;
  return (real *)a.data + sample / q * a.outer + sample % q * a.inner +
         item % planes * size;
}

/* One pixel of the result from its patch of x. */
typedef real (*reducer)(const ntk_pool *pool, const pixel *p, const real *x);

static void forward_by(reducer reduce, const ntk_node *node, int64_t n, const ntk_array *in,
                       const ntk_array *out) {
  const ntk_pool *pool = node->detail;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * pool->planes; item++) {
    const real *x = plane_of(in[0], 1, pool->planes, pool->plane, item);
    real *y = plane_of(out[0], 1, pool->planes, pool->pixels, item);
    for (int64_t t = 0; t < pool->pixels; t++) {
      const pixel p = pixel_at(&pool->window, t);
      y[t] = reduce(pool, &p, x);
    }
  }
}

static real maximum(const ntk_pool *pool, const pixel *p, const real *x) {
  return x[first_maximum(&pool->window, p, x)];
}

static void max_forward(const ntk_node *node, int64_t n, const ntk_array *in,
                        const ntk_array *out, void *work) {
  (void)work;
  forward_by(maximum, node, n, in, out);
}

/* The maximum is found once for all cotangents of a sample. */
static void max_vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                    const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                    bool add, void *work) {
  const ntk_pool *pool = node->detail;
  (void)operand;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * pool->planes; item++) {
    const real *x = plane_of(in[0], 1, pool->planes, pool->plane, item);
    const real *from = plane_of(dy, 1, pool->planes, pool->pixels, item);
    real *to = plane_of(dx, 1, pool->planes, pool->plane, item);
    for (int64_t i = 0; !add && i < o; i++)
      memset(to + i * dx.inner, 0, (size_t)pool->plane * sizeof *to);
    for (int64_t t = 0; t < pool->pixels; t++) {
      const pixel p = pixel_at(&pool->window, t);
      const int64_t at = first_maximum(&pool->window, &p, x);
      for (int64_t i = 0; i < o; i++)
        to[i * dx.inner + at] += from[i * dy.inner + t];
    }
  }
}

static void max_jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                    const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_pool *pool = node->detail;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * pool->planes; item++) {
    const real *x = plane_of(in[0], 1, pool->planes, pool->plane, item);
    const ntk_array tangent = {dx[0].data, dx[0].inner, 0}, result = {dy.data, dy.inner, 0};
    const real *from = plane_of(tangent, 1, pool->planes, pool->plane, item);
    real *to = plane_of(result, 1, pool->planes, pool->pixels, item);
    for (int64_t t = 0; t < pool->pixels; t++) {
      const pixel p = pixel_at(&pool->window, t);
      const int64_t at = first_maximum(&pool->window, &p, x);
      for (int64_t i = 0; i < d; i++)
        to[i * dy.outer + t] = from[i * dx[0].outer + at];
    }
  }
}

const ntk_kernels NTK_REAL(ntk_maxpool_kernels) = {
    .forward = max_forward, .vjp = max_vjp, .jvp = max_jvp};

/* One over the number of taps: inside the input, or inside the padded input. */
static double weight(const ntk_pool *pool, const pixel *p) {
  const ntk_window *w = &pool->window;
  int64_t count = 1;
  for (int a = 0; a < 3; a++) {
    int64_t taps = p->s[a].high - p->s[a].low;
    if (pool->count_pad) {
      /* ceil_mode's last window may reach beyond the padding */
      const int64_t room = w->input[a] + w->pad_end[a] - 1 - p->s[a].start;
      taps = room / w->dilation[a] + 1;
      taps = taps > w->kernel[a] ? w->kernel[a] : taps;
    }
    count *= taps;
  }
  return 1.0 / (double)count;
}

static double sum(const ntk_window *w, const pixel *p, const real *x) {
  double total = 0;
  for (int64_t i = p->s[0].low; i < p->s[0].high; i++)
    for (int64_t j = p->s[1].low; j < p->s[1].high; j++) {
      const real *run = x + run_start(w, p, i, j);
      for (int64_t k = p->s[2].low; k < p->s[2].high; k++)
        total += (double)run[k * w->dilation[2]];
    }
  return total;
}

static void spread(const ntk_window *w, const pixel *p, real value, real *x) {
  for (int64_t i = p->s[0].low; i < p->s[0].high; i++)
    for (int64_t j = p->s[1].low; j < p->s[1].high; j++) {
      real *run = x + run_start(w, p, i, j);
      for (int64_t k = p->s[2].low; k < p->s[2].high; k++)
        run[k * w->dilation[2]] += value;
    }
}

/* y[p, q] = average of x[p, q]: values, and tangents as well. */
static void average(const ntk_pool *pool, int64_t p, int64_t q, ntk_array x, ntk_array y) {
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < p * q * pool->planes; item++) {
    const real *from = plane_of(x, q, pool->planes, pool->plane, item);
    real *to = plane_of(y, q, pool->planes, pool->pixels, item);
    for (int64_t t = 0; t < pool->pixels; t++) {
      const pixel at = pixel_at(&pool->window, t);
      to[t] = (real)(sum(&pool->window, &at, from) * weight(pool, &at));
    }
  }
}

static void average_forward(const ntk_node *node, int64_t n, const ntk_array *in,
                            const ntk_array *out, void *work) {
  (void)work;
  average(node->detail, n, 1, in[0], out[0]);
}

static void average_vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                        const ntk_array *in, const ntk_array *out, ntk_array dy,
                        ntk_array dx, bool add, void *work) {
  const ntk_pool *pool = node->detail;
  (void)operand;
  (void)in;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * o * pool->planes; item++) {
    const real *from = plane_of(dy, o, pool->planes, pool->pixels, item);
    real *to = plane_of(dx, o, pool->planes, pool->plane, item);
    if (!add)
      memset(to, 0, (size_t)pool->plane * sizeof *to);
    for (int64_t t = 0; t < pool->pixels; t++) {
      const pixel at = pixel_at(&pool->window, t);
      spread(&pool->window, &at, (real)((double)from[t] * weight(pool, &at)), to);
    }
  }
}

static void average_jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                        const ntk_array *out, const ntk_array *dx, ntk_array dy,
                        void *work) {
  (void)in;
  (void)out;
  (void)work;
  average(node->detail, d, n, dx[0], dy);
}

const ntk_kernels NTK_REAL(ntk_averagepool_kernels) = {
    .forward = average_forward, .vjp = average_vjp, .jvp = average_jvp};

/* ---- norms: y = (sum of |x|^p)^(1/p), y' = 0 where all are zero ---- */

/* Calls with the plane's index of each tap that lies inside. */
#define EACH_TAP(w, pixel, at)                                                             \
  for (int64_t i_ = (pixel)->s[0].low; i_ < (pixel)->s[0].high; i_++)                      \
    for (int64_t j_ = (pixel)->s[1].low; j_ < (pixel)->s[1].high; j_++)                    \
      for (int64_t                                                                         \
               at = run_start(w, pixel, i_, j_) + (pixel)->s[2].low * (w)->dilation[2],    \
               k_ = (pixel)->s[2].low;                                                     \
           k_ < (pixel)->s[2].high; k_++, at += (w)->dilation[2])

static real norm(const ntk_pool *pool, const pixel *p, const real *x) {
  double total = 0;
  EACH_TAP(&pool->window, p, at) {
    const double size = fabs((double)x[at]);
    total += pool->p == 2 ? size * size : pow(size, pool->p);
  }
  return (real)(pool->p == 2 ? sqrt(total) : pow(total, 1 / pool->p));
}

/* dy / dx = sign(x) (|x| / y)^(p - 1) */
static double slope(const ntk_pool *pool, real x, real y) {
  if (x == 0 || y == 0)
    return 0;
  const double ratio = pow(fabs((double)x) / (double)y, pool->p - 1);
  return x < 0 ? -ratio : ratio;
}

static void norm_forward(const ntk_node *node, int64_t n, const ntk_array *in,
                         const ntk_array *out, void *work) {
  (void)work;
  forward_by(norm, node, n, in, out);
}

static void norm_vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                     const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                     bool add, void *work) {
  const ntk_pool *pool = node->detail;
  (void)operand;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * pool->planes; item++) {
    const real *x = plane_of(in[0], 1, pool->planes, pool->plane, item);
    const real *y = plane_of(out[0], 1, pool->planes, pool->pixels, item);
    const real *from = plane_of(dy, 1, pool->planes, pool->pixels, item);
    real *to = plane_of(dx, 1, pool->planes, pool->plane, item);
    for (int64_t i = 0; !add && i < o; i++)
      memset(to + i * dx.inner, 0, (size_t)pool->plane * sizeof *to);
    for (int64_t t = 0; t < pool->pixels; t++) {
      const pixel p = pixel_at(&pool->window, t);
      EACH_TAP(&pool->window, &p, at) {
        const real s = (real)slope(pool, x[at], y[t]);
        for (int64_t i = 0; i < o; i++)
          to[i * dx.inner + at] += s * from[i * dy.inner + t];
      }
    }
  }
}

static void norm_jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                     const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_pool *pool = node->detail;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < n * pool->planes; item++) {
    const ntk_array tangent = {dx[0].data, dx[0].inner, 0}, result = {dy.data, dy.inner, 0};
    const real *x = plane_of(in[0], 1, pool->planes, pool->plane, item);
    const real *y = plane_of(out[0], 1, pool->planes, pool->pixels, item);
    const real *from = plane_of(tangent, 1, pool->planes, pool->plane, item);
    real *to = plane_of(result, 1, pool->planes, pool->pixels, item);
    for (int64_t t = 0; t < pool->pixels; t++) {
      const pixel p = pixel_at(&pool->window, t);
      for (int64_t i = 0; i < d; i++) {
        double total = 0;
        EACH_TAP(&pool->window, &p, at) {
          total += slope(pool, x[at], y[t]) * (double)from[i * dx[0].outer + at];
        }
        to[i * dy.outer + t] = (real)total;
      }
    }
  }
}

const ntk_kernels NTK_REAL(ntk_lppool_kernels) = {
    .forward = norm_forward, .vjp = norm_vjp, .jvp = norm_jvp};

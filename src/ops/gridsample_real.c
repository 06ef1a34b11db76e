/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"
#include "tensor/real.h"

#include <string.h>

/* A point's value is a sum over the pixels around it, whose weights are products over the
 * axes. At the kinks derivatives are those of PyTorch, whose grid_sample exporters write;
 * so are values where ONNX's own reference has others: nearest pixels of reflections, and
 * cubic weights beside a border. */

enum { AXES = 3, TAPS = 4, CORNERS = 64 };

/* Along one axis: pixels, -1 outside, their weights, and what these grow by with the grid.
 */
typedef struct taps {
  int64_t at[TAPS];
  real weight[TAPS], slope[TAPS];
} taps;

/* A pixel of the plane, and how its weight grows with each number of the grid. */
typedef struct corner {
  int64_t at;
  real weight, slope[AXES];
} corner;

/* A place and what it grows by with the grid. */
typedef struct place {
  real at, slope;
} place;

/* ---- places ---------------------------------------------------------------------------
 */

static place clipped(place p, int64_t size) {
  const real most = (real)(size - 1);
  if (p.at > 0 && p.at < most)
    return p;
  return (place){p.at > 0 ? most : 0, 0};
}

/* Mirrored at the middles of the outermost pixels, or at their edges. */
static place reflected(place p, int64_t size, bool middles) {
  const real low = middles ? 0 : (real)-0.5;
  const real span = (real)(middles ? size - 1 : size);
  if (span <= 0)
    return (place){0, 0};
  real from = p.at - low;
  if (from < 0) {
    from = -from;
    p.slope = -p.slope;
  }
  const real rest = NTK_MATH(fmod)(from, span);
  const bool odd = NTK_MATH(fmod)(NTK_MATH(floor)(from / span), 2) != 0;
  p.at = (odd ? span - rest : rest) + low;
  p.slope = odd ? -p.slope : p.slope;
  return p;
}

static place padded(const ntk_grid *g, int axis, place p) {
  const int64_t size = g->size[axis];
  if (g->padding == NTK_GRID_REFLECTION)
    p = reflected(p, size, g->align_corners);
  return g->padding == NTK_GRID_ZEROS ? p : clipped(p, size);
}

/* What is not finite, or far away, is outside. */
static int64_t pixel(const ntk_grid *g, int axis, real at) {
  const real size = (real)g->size[axis];
  if (g->padding != NTK_GRID_ZEROS)
    at = padded(g, axis, (place){at, 0}).at;
  return at >= 0 && at < size ? (int64_t)at : -1;
}

static place unfolded(const ntk_grid *g, int axis, real number) {
  const real size = (real)g->size[axis], most = size - 1;
  return g->align_corners ? (place){(number + 1) / 2 * most, most / 2}
                          : (place){((number + 1) * size - 1) / 2, size / 2};
}

/* ---- weights --------------------------------------------------------------------------
 */

/* Cubic convolution, a = -3/4: of a pixel at a distance in [0, 2], and its derivative. */
static real cubic(real d) {
  const real a = (real)-0.75;
  return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : a * (((d - 5) * d + 8) * d - 4);
}
static real cubic_slope(real d) {
  const real a = (real)-0.75;
  return d <= 1 ? (3 * (a + 2) * d - 2 * (a + 3)) * d : a * ((3 * d - 10) * d + 8);
}

static void taps_of(const ntk_grid *g, int axis, real number, taps *t) {
  place p = unfolded(g, axis, number);
  if (g->taps < 4)
    p = padded(g, axis, p);
  const real first = g->taps == 1 ? NTK_MATH(nearbyint)(p.at) : NTK_MATH(floor)(p.at);
  for (int k = 0; k < g->taps; k++) {
    const real at = first + (real)(g->taps == 4 ? k - 1 : k), d = p.at - at;
    const real distance = d < 0 ? -d : d, sign = d < 0 ? -p.slope : p.slope;
    t->at[k] = pixel(g, axis, at);
    t->weight[k] = g->taps == 1 ? 1 : g->taps == 2 ? 1 - distance : cubic(distance);
    t->slope[k] = g->taps == 1   ? 0
                  : g->taps == 2 ? (k == 0 ? -p.slope : p.slope)
                                 : sign * cubic_slope(distance);
  }
}

/* Pixels inside the image around the point whose numbers are `grid`; returns how many. */
static int corners_of(const ntk_grid *g, const real *grid, corner *out) {
  taps t[AXES] = {0};
  int all = 1, count = 0;
  for (int a = 0; a < g->axes; a++, all *= g->taps)
    taps_of(g, a, grid[g->axes - 1 - a], &t[a]);
  for (int i = 0; i < all; i++) {
    corner c = {.weight = 1, .slope = {1, 1, 1}};
    bool inside = true;
    for (int a = 0, k = i; a < g->axes; a++, k /= g->taps) {
      const taps *along = &t[a];
      const int tap = k % g->taps, mine = g->axes - 1 - a;
      inside = inside && along->at[tap] >= 0;
      c.at = c.at * g->size[a] + along->at[tap];
      c.weight *= along->weight[tap];
      for (int b = 0; b < g->axes; b++)
        c.slope[b] *= b == mine ? along->slope[tap] : along->weight[tap];
    }
    if (inside)
      out[count++] = c;
  }
  return count;
}

/* ---- loops ----------------------------------------------------------------------------
 */

/* One image and one point of one sample. */
typedef struct spot {
  int count;
  corner corner[CORNERS];
  int64_t x, y, grid; /* first elements: of channel 0, of the point's numbers */
} spot;

static void find_spot(const ntk_grid *g, const ntk_array *in, int64_t sample, int64_t i,
                      spot *s) {
  const int64_t image = i / g->points, point = i % g->points;
  s->x = image * g->channels * g->plane;
  s->y = image * g->channels * g->points + point;
  s->grid = i * g->axes;
  s->count =
      corners_of(g, (const real *)in[1].data + sample * in[1].outer + s->grid, s->corner);
}

static real at_spot(const ntk_grid *g, const spot *s, const real *x, int64_t channel) {
  const real *plane = x + s->x + channel * g->plane;
  real sum = 0;
  for (int k = 0; k < s->count; k++)
    sum += s->corner[k].weight * plane[s->corner[k].at];
  return sum;
}

/* What a channel grows by with number b of the grid. */
static real slope_at(const ntk_grid *g, const spot *s, const real *x, int64_t channel,
                     int b) {
  const real *plane = x + s->x + channel * g->plane;
  real sum = 0;
  for (int k = 0; k < s->count; k++)
    sum += s->corner[k].slope[b] * plane[s->corner[k].at];
  return sum;
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_grid *g = node->detail;
  const int64_t spots = g->images * g->points;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < n * spots; p++) {
    const int64_t i = p / spots;
    const real *x = (const real *)in[0].data + i * in[0].outer;
    real *y = (real *)out[0].data + i * out[0].outer;
    spot s;
    find_spot(g, in, i, p % spots, &s);
    for (int64_t c = 0; c < g->channels; c++)
      y[s.y + c * g->points] = at_spot(g, &s, x, c);
  }
}

static void add_to_image(const ntk_grid *g, const spot *s, const real *dy, real *dx) {
  for (int64_t c = 0; c < g->channels; c++)
    for (int k = 0; k < s->count; k++)
      dx[s->x + c * g->plane + s->corner[k].at] +=
          s->corner[k].weight * dy[s->y + c * g->points];
}

static void add_to_grid(const ntk_grid *g, const spot *s, const real *x, const real *dy,
                        real *dx) {
  for (int b = 0; b < g->axes; b++) {
    real sum = 0;
    for (int64_t c = 0; c < g->channels; c++)
      sum += dy[s->y + c * g->points] * slope_at(g, s, x, c, b);
    dx[s->grid + b] += sum;
  }
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_grid *g = node->detail;
  const int64_t spots = g->images * g->points;
  const int64_t size = operand == 0 ? g->images * g->channels * g->plane : spots * g->axes;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < n * o; p++) {
    const int64_t i = p / o;
    const real *from = (const real *)dy.data + i * dy.outer + p % o * dy.inner;
    const real *x = (const real *)in[0].data + i * in[0].outer;
    real *to = (real *)dx.data + i * dx.outer + p % o * dx.inner;
    spot s;
    if (!add)
      memset(to, 0, (size_t)size * sizeof(real));
    for (int64_t e = 0; e < spots; e++) {
      find_spot(g, in, i, e, &s);
      if (operand == 0)
        add_to_image(g, &s, from, to);
      else
        add_to_grid(g, &s, x, from, to);
    }
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_grid *g = node->detail;
  const int64_t spots = g->images * g->points;
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < d * n * spots; p++) {
    const int64_t j = p / spots / n, i = p / spots % n;
    const real *x = (const real *)in[0].data + i * in[0].outer;
    const real *image = (const real *)dx[0].data, *grid = (const real *)dx[1].data;
    real *y = (real *)dy.data + j * dy.outer + i * dy.inner;
    spot s;
    find_spot(g, in, i, p % spots, &s);
    if (image)
      image += j * dx[0].outer + i * dx[0].inner;
    if (grid)
      grid += j * dx[1].outer + i * dx[1].inner + s.grid;
    for (int64_t c = 0; c < g->channels; c++) {
      real sum = image ? at_spot(g, &s, image, c) : 0;
      for (int b = 0; grid && b < g->axes; b++)
        sum += grid[b] * slope_at(g, &s, x, c, b);
      y[s.y + c * g->points] = sum;
    }
  }
}

const ntk_kernels NTK_REAL(ntk_grid_kernels) = {.forward = forward, .vjp = vjp, .jvp = jvp};

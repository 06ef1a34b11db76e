/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv_pass.h"
#include "tensor/real.h"

#include <omp.h>
#include <string.h>

/* Short names of the typed functions. */
#define gemm NTK_REAL(ntk_gemm)
#define im2col NTK_REAL(ntk_im2col)
#define im2col_part NTK_REAL(ntk_im2col_part)
#define apply NTK_REAL(ntk_conv_apply)

/* Work is cut into blocks: the patches of several small images, or of a part of a large
 * one, in one group. Rows of a block: (image, pixel). Images are numbered over [p, q,
 * images of a sample]. */
typedef struct blocks {
  const ntk_conv *c;
  int64_t q, count;       /* inner samples; images in all */
  int64_t images, pixels; /* of a block */
  ntk_array x, y;         /* image side, pixel side (values or cotangents) */
} blocks;
typedef struct block {
  int64_t group, image, images, pixel, pixels, rows;
} block;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Images go to all threads before they are put together. */
static blocks cut(const ntk_conv *c, int64_t p, int64_t q, ntk_array x, ntk_array y) {
  blocks b = {.c = c, .q = q, .count = p * q * c->images, .x = x, .y = y};
  ntk_conv_chunk(c, &b.images, &b.pixels);
  const int64_t share = b.count * c->groups / omp_get_max_threads();
  b.images = share < 1 ? 1 : smaller(b.images, share);
  return b;
}

static real *at(const blocks *b, ntk_array a, int64_t size, int64_t image) {
  const int64_t sample = image / b->c->images;
  return (real *)a.data + sample / b->q * a.outer + sample % b->q * a.inner +
         image % b->c->images * size;
}

/* Group g of an image on the image side, [channels, plane]. */
static real *image_of(const blocks *b, int64_t image, int64_t group) {
  const int64_t size = b->c->channels * b->c->plane;
  return at(b, b->x, b->c->groups * size, image) + group * size;
}

/* The same on the pixel side, [filters, pixels]. */
static real *pixels_of(const blocks *b, int64_t image, int64_t group) {
  const int64_t size = b->c->filters * b->c->pixels;
  return at(b, b->y, b->c->groups * size, image) + group * size;
}

static real *scratch_of_thread(const ntk_conv *c, void *work) {
  return (real *)work + omp_get_thread_num() * ntk_conv_scratch(c);
}

static void patches(const blocks *b, const block *k, real *out) {
  for (int64_t i = 0; i < k->images; i++)
    im2col_part(&b->c->window, b->c->channels, k->pixel, k->pixels,
                image_of(b, k->image + i, k->group), out + i * k->pixels * b->c->K,
                b->c->K);
}

/* dW[o] += sum over t of dy[o, c, t] X[t, k], for a part of one image and one group. */
static void weight_block(const blocks *b, const block *k, int64_t o, ntk_array dw,
                         const real *x, bool transpose_x, int64_t ld) {
  const ntk_conv *c = b->c;
  const int64_t y_size = c->groups * c->filters * c->pixels;
  const real *y = pixels_of(b, k->image, k->group) + k->pixel;
  int64_t rows = c->filters;
  if (c->groups == 1 && c->images == 1 && b->y.inner == y_size &&
      dw.inner == c->filters * c->K) { /* cotangents are rows of one product */
    rows *= o;
    o = 1;
  }
  const int64_t sample = k->image / c->images;
  real *to = (real *)dw.data + sample / b->q * dw.outer + sample % b->q * dw.inner;
  for (int64_t i = 0; i < o; i++)
    gemm(false, transpose_x, rows, c->K, k->pixels, 1, y + i * b->y.inner, c->pixels, x, ld,
         1, to + i * dw.inner + k->group * c->filters * c->K, c->K);
}

/* One sample of [p, q], its group; dw is cleared. */
static void weight_sample(const blocks *b, int64_t sample, int64_t group, int64_t o,
                          ntk_array dw, real *scratch) {
  const ntk_conv *c = b->c;
  for (int64_t i = 0; i < c->images; i++) {
    block k = {.group = group, .image = sample * c->images + i, .images = 1};
    if (c->pointwise) {
      k.pixels = c->pixels;
      weight_block(b, &k, o, dw, image_of(b, k.image, group), true, c->plane);
      continue;
    }
    for (k.pixel = 0; k.pixel < c->pixels; k.pixel += b->pixels) {
      k.pixels = smaller(b->pixels, c->pixels - k.pixel);
      patches(b, &k, scratch);
      weight_block(b, &k, o, dw, scratch, false, c->K);
    }
  }
}

/* dW[n, o] from the image side x and the pixel side y, one of which is the cotangent. */
static void vjp_weight(const ntk_conv *c, int64_t n, int64_t o, ntk_array x, ntk_array y,
                       ntk_array dw, bool add, void *work) {
  const int64_t size = c->groups * c->filters * c->K;
  /* images of values: one per sample and output 0, the outputs being a loop inside */
  const int64_t q = c->transposed ? o : 1, inside = c->transposed ? 1 : o, images = n * q;
  const blocks b = cut(c, n, q, x, y);
#pragma omp parallel for schedule(static) if (n * o * size > 1 << 15)
  for (int64_t i = 0; i < n * o; i++)
    if (!add)
      memset((real *)dw.data + i / o * dw.outer + i % o * dw.inner, 0,
             (size_t)size * sizeof(real));
  if (images * c->groups < omp_get_max_threads()) { /* products are cut inside */
    for (int64_t task = 0; task < images * c->groups; task++)
      weight_sample(&b, task / c->groups, task % c->groups, inside, dw, work);
    return;
  }
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < images * c->groups; task++)
    weight_sample(&b, task / c->groups, task % c->groups, inside, dw,
                  scratch_of_thread(c, work));
}

/* Channels and elements of each on the side of the output. */
static int64_t outputs_of(const ntk_conv *c) {
  return c->groups * (c->transposed ? c->channels : c->filters);
}
static int64_t places_of(const ntk_conv *c) { return c->transposed ? c->plane : c->pixels; }

/* db[p, q, c] (+)= sum of dy over pixels and images. */
static void vjp_bias(const ntk_conv *c, int64_t p, int64_t q, ntk_array dy, ntk_array db,
                     bool add) {
  const int64_t filters = outputs_of(c), places = places_of(c);
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < p * q * filters; item++) {
    const int64_t f = item % filters, i = item / filters / q, j = item / filters % q;
    const real *y = (const real *)dy.data + i * dy.outer + j * dy.inner + f * places;
    real *to = (real *)db.data + i * db.outer + j * db.inner + f;
    double sum = 0;
    for (int64_t image = 0; image < c->images; image++)
      for (int64_t t = 0; t < places; t++)
        sum += (double)y[image * filters * places + t];
    *to = (real)sum + (add ? *to : 0);
  }
}

/* y[p, q] = bias[p, q], broadcast over pixels and images. */
static void put_bias(const ntk_conv *c, int64_t p, int64_t q, ntk_array bias, ntk_array y) {
  const int64_t filters = outputs_of(c), places = places_of(c);
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < p * q * filters; item++) {
    const int64_t f = item % filters, i = item / filters / q, j = item / filters % q;
    const real value = *((const real *)bias.data + i * bias.outer + j * bias.inner + f);
    real *to = (real *)y.data + i * y.outer + j * y.inner + f * places;
    for (int64_t image = 0; image < c->images; image++)
      for (int64_t t = 0; t < places; t++)
        to[image * filters * places + t] = value;
  }
}

static bool has(const ntk_node *node, const ntk_array *arrays, int operand) {
  return node->input_count > operand && arrays[operand].data;
}

static ntk_array shifted(ntk_array a, int64_t i) {
  a.data = (real *)a.data + i * a.outer;
  return a;
}

/* Y[p, q] (+)= conv(X[p, q], W[p]), or its adjoint: one sweep where W is shared. */
static void apply_each(const ntk_conv *c, bool adjoint, int64_t p, int64_t q,
                       ntk_array from, ntk_array w, ntk_array to, bool add, void *work) {
  const int64_t calls = w.outer == 0 ? 1 : p, share = w.outer == 0 ? p : 1;
  for (int64_t i = 0; i < calls; i++)
    apply(c, adjoint, share, q, shifted(from, i), (const real *)w.data + i * w.outer,
          shifted(to, i), add, work);
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_conv *c = node->detail;
  const bool bias = has(node, in, 2);
  if (bias)
    put_bias(c, n, 1, in[2], out[0]);
  apply_each(c, c->transposed, n, 1, in[0], in[1], out[0], bias, work);
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_conv *c = node->detail;
  (void)out;
  if (operand == 0)
    apply_each(c, !c->transposed, n, o, dy, in[1], dx, add, work);
  else if (operand == 1 && c->transposed)
    vjp_weight(c, n, o, dy, (ntk_array){in[0].data, in[0].outer, 0}, dx, add, work);
  else if (operand == 1)
    vjp_weight(c, n, o, in[0], dy, dx, add, work);
  else
    vjp_bias(c, n, o, dy, dx, add);
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_conv *c = node->detail;
  bool written = false;
  (void)out;
  if (has(node, dx, 2)) {
    put_bias(c, d, n, dx[2], dy);
    written = true;
  }
  for (int64_t i = 0; dx[0].data && i < (in[1].outer == 0 ? 1 : n); i++) {
    /* weights of their own for each sample: one sample at a time */
    ntk_array x = dx[0], y = dy;
    x.data = (real *)x.data + i * x.inner;
    y.data = (real *)y.data + i * y.inner;
    apply(c, c->transposed, d, in[1].outer == 0 ? n : 1, x,
          (const real *)in[1].data + i * in[1].outer, y, written, work);
  }
  written = written || dx[0].data;
  for (int64_t i = 0; dx[1].data && i < d; i++) {
    const ntk_array w = {(real *)dx[1].data + i * dx[1].outer, dx[1].inner, 0};
    const ntk_array y = {(real *)dy.data + i * dy.outer, dy.inner, 0};
    apply_each(c, c->transposed, n, 1, in[0], w, y, written, work);
  }
}

static void factor_x(const ntk_node *node, int operand, int64_t n, ntk_array x, void *out,
                     int64_t ld, void *work) {
  const ntk_conv *c = node->detail;
  const int64_t size = c->channels * c->plane;
  (void)operand;
  (void)work;
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < n * c->groups * c->images; task++) {
    const int64_t image = task % c->images, group = task / c->images % c->groups;
    const int64_t sample = task / c->images / c->groups;
    const real *from =
        (const real *)x.data + sample * x.outer + (image * c->groups + group) * size;
    im2col(&c->window, c->channels, from, (real *)out + task * c->pixels * ld, ld);
  }
}

const ntk_kernels NTK_REAL(ntk_conv_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp, .factor_x = factor_x};

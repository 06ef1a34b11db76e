/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/harness.h"

#include "ops/dense.h"
#include <omp.h>

/* Convolution and its adjoint against their definition, for each width of vectors, in sizes
 * that cut the work in all the ways there are: sums in slices, bands of rows, several
 * images at once, channels shared by threads. Results have the same bits on any threads. */

extern const ntk_op ntk_op_conv;

enum { N = 2, O = 3 };

static const op_case cases[] = {
    {&ntk_op_conv, "pads=1,1,1,1", {S(1, 60, 4, 5), S(9, 60, 3, 3)}, 2},
    {&ntk_op_conv, "pads=1,1,1,1 strides=2,2", {S(1, 5, 20, 21), S(70, 5, 4, 5)}, 2},
    {&ntk_op_conv,
     "strides=2,3 dilations=3,2 pads=2,0,4,1",
     {S(1, 3, 30, 40), S(8, 3, 3, 3)},
     2},
    {&ntk_op_conv, "strides=3,3", {S(1, 6, 7, 60), S(4, 6, 1, 1)}, 2},
    {&ntk_op_conv, "strides=4,4 group=2", {S(1, 4, 9, 11), S(6, 2, 2, 2)}, 2},
    {&ntk_op_conv, "pads=0,1,0,1", {S(1, 2, 260, 300), S(2, 2, 2, 3)}, 2},
    {&ntk_op_conv, "strides=2, pads=1,1,", {S(1, 1, 140000), S(2, 1, 3)}, 2},
    {&ntk_op_conv, "", {S(1, 33, 1, 1), S(17, 33, 1, 1)}, 2},
    {&ntk_op_conv, "", {S(3, 2, 2, 3, 50), S(1, 2, 2, 2, 2)}, 2},
};
enum { CASES = sizeof cases / sizeof *cases };

/* Calls body(x, w, y) for each product of an element of the image, of the weights, of the
 * result. */
typedef void (*product_fn)(double *x, double *w, double *y);

/* Where tap `tap` of output pixel t reads in a plane, -1: padding. */
static int64_t input_index(const ntk_window *w, int64_t t, int64_t tap) {
  int64_t position[3], index = 0;
  for (int a = 2; a >= 0; a--) {
    position[a] = t % w->output[a] * w->stride[a] - w->pad_begin[a] +
                  tap % w->kernel[a] * w->dilation[a];
    t /= w->output[a];
    tap /= w->kernel[a];
  }
  for (int a = 0; a < 3; a++) {
    if (position[a] < 0 || position[a] >= w->input[a])
      return -1;
    index = index * w->input[a] + position[a];
  }
  return index;
}

static void each_product(const ntk_conv *c, double *x, double *w, double *y,
                         product_fn body) {
  const int64_t taps = ntk_window_taps(&c->window), per_image = c->groups * c->filters;
  for (int64_t t = 0; t < c->pixels; t++)
    for (int64_t tap = 0; tap < taps; tap++) {
      const int64_t from = input_index(&c->window, t, tap);
      for (int64_t f = 0; from >= 0 && f < c->images * per_image; f++)
        for (int64_t k = 0; k < c->channels; k++) {
          const int64_t filter = f % per_image, channel = f / c->filters * c->channels + k;
          body(x + channel * c->plane + from, w + (filter * c->channels + k) * taps + tap,
               y + f * c->pixels + t);
        }
    }
}

static void to_y(double *x, double *w, double *y) { *y += *w * *x; }
static void to_x(double *x, double *w, double *y) { *x += *w * *y; }

/* ---- both types ---- */

static double difference(ntk_dtype type, const void *got, const double *expected,
                         int64_t count) {
  double worst = 0, most = 0;
  for (int64_t i = 0; i < count; i++) {
    const double value =
        type == NTK_F64 ? ((const double *)got)[i] : (double)((const float *)got)[i];
    assert_true(isfinite(value));
    worst = fmax(worst, fabs(value - expected[i]));
    most = fmax(most, fabs(expected[i]));
  }
  return worst / most;
}

static void *block(int64_t count) {
  void *p = malloc((size_t)count * sizeof(double));
  assert_non_null(p);
  return p;
}

/* In the type from doubles that f32 holds. */
static void *converted(ntk_dtype type, const double *from, int64_t count) {
  void *p = block(count);
  ntk_convert(NTK_F64, from, type, p, count);
  return p;
}

static double *numbers(uint64_t seed, int64_t count) {
  double *p = block(count);
  for (int64_t i = 0; i < count; i++)
    p[i] = (double)(float)op_number(seed, (uint64_t)i);
  return p;
}

typedef struct result {
  void *y, *dx;
} result;

/* y of N samples; dx of O cotangents of N samples, added to what dx held if `add`. */
static result run(const op_test *h, ntk_dtype type, int threads, const double *x,
                  const double *w, const double *dy, const double *dx, bool add) {
  const int before = omp_get_max_threads();
  const ntk_kernels *kernels = ntk_op_conv.kernels[type];
  ntk_array in[2] = {{converted(type, x, N * h->size[0]), h->size[0], 0},
                     {converted(type, w, h->size[1]), 0, 0}};
  const result r = {block(N * h->y_size), converted(type, dx, N * O * h->size[0])};
  const ntk_array y = {r.y, h->y_size, 0};
  const ntk_array cotangent = {converted(type, dy, N * O * h->y_size), O * h->y_size,
                               h->y_size};
  const ntk_array to = {r.dx, O * h->size[0], h->size[0]};
  omp_set_num_threads(threads);
  void *work = work_make(h, N, O);
  kernels->forward(h->node, N, in, &y, work);
  kernels->vjp(h->node, 0, N, O, in, &y, cotangent, to, add, work);
  omp_set_num_threads(before);
  free(work);
  arrays_free(2, in);
  free(cotangent.data);
  return r;
}

static void result_free(result *r) {
  free(r->y);
  free(r->dx);
}

static void check_case(const op_case *c, ntk_dtype type, bool add) {
  const double tolerance = type == NTK_F64 ? 1e-14 : 1e-5;
  const size_t bytes = ntk_dtype_bytes(type);
  op_test h = op_make(c);
  const ntk_conv *conv = h.node->detail;
  double *x = numbers(1, N * h.size[0]), *w = numbers(2, h.size[1]);
  double *dy = numbers(3, N * O * h.y_size), *dx = numbers(4, N * O * h.size[0]);
  double *y = calloc((size_t)(N * h.y_size), sizeof *y);
  assert_non_null(y);
  result one = run(&h, type, 1, x, w, dy, dx, add);
  result five = run(&h, type, 5, x, w, dy, dx, add);
  for (int64_t i = 0; i < N; i++)
    each_product(conv, x + i * h.size[0], w, y + i * h.y_size, to_y);
  if (!add)
    memset(dx, 0, (size_t)(N * O * h.size[0]) * sizeof *dx);
  for (int64_t i = 0; i < N * O; i++)
    each_product(conv, dx + i * h.size[0], w, dy + i * h.y_size, to_x);
  assert_true(difference(type, one.y, y, N * h.y_size) < tolerance);
  assert_true(difference(type, one.dx, dx, N * O * h.size[0]) < tolerance);
  assert_memory_equal(one.y, five.y, (size_t)(N * h.y_size) * bytes);
  assert_memory_equal(one.dx, five.dx, (size_t)(N * O * h.size[0]) * bytes);
  result_free(&one);
  result_free(&five);
  free(x);
  free(w);
  free(dy);
  free(dx);
  free(y);
  op_free(&h);
}

static void each_width(ntk_dtype type) {
  static const char *const widths[] = {"portable", "avx2", "avx512"};
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
    assert_int_equal(setenv("SCANTK_SIMD", widths[i], 1), 0);
    for (int k = 0; k < CASES; k++)
      check_case(&cases[k], type, (k + (int)i) % 2);
  }
}

static void f32_agrees_with_the_definition(void **state) {
  (void)state;
  each_width(NTK_F32);
}

static void f64_agrees_with_the_definition(void **state) {
  (void)state;
  each_width(NTK_F64);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(f32_agrees_with_the_definition),
      cmocka_unit_test(f64_agrees_with_the_definition),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

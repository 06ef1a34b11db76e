/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/harness_checks.h"

#include "ops/dense.h"

/* GridSample against its definition: an interpolation of an image without bounds, whose
 * pixels outside are zero, those of the edge, or mirrored. */

extern const ntk_op ntk_op_gridsample;

static const op_case cases[] = {
    {&ntk_op_gridsample, "", {S(1, 3, 4, 5), S(1, 2, 3, 2)}, 2},
    {&ntk_op_gridsample, "align_corners=1", {S(2, 2, 4, 3), S(2, 3, 2, 2)}, 2},
    {&ntk_op_gridsample,
     "padding_mode=border mode=bilinear",
     {S(1, 2, 3, 4), S(1, 4, 3, 2)},
     2,
     .shift = {[1] = 0.5}},
    {&ntk_op_gridsample,
     "padding_mode=reflection",
     {S(1, 2, 3, 4), S(1, 4, 3, 2)},
     2,
     .shift = {[1] = -3.7}},
    {&ntk_op_gridsample,
     "padding_mode=reflection align_corners=1",
     {S(1, 2, 3, 4), S(1, 4, 3, 2)},
     2,
     .shift = {[1] = 2.1}},
    {&ntk_op_gridsample, "mode=nearest", {S(1, 2, 5, 4), S(1, 3, 3, 2)}, 2},
    {&ntk_op_gridsample,
     "mode=nearest padding_mode=border",
     {S(1, 2, 5, 4), S(1, 3, 3, 2)},
     2,
     .shift = {[1] = 0.9}},
    {&ntk_op_gridsample, "mode=cubic", {S(1, 2, 5, 6), S(1, 3, 3, 2)}, 2},
    {&ntk_op_gridsample,
     "mode=bicubic padding_mode=border align_corners=1",
     {S(1, 2, 3, 4), S(1, 3, 3, 2)},
     2,
     .shift = {[1] = -0.5}},
    {&ntk_op_gridsample,
     "mode=cubic padding_mode=reflection",
     {S(1, 2, 3, 4), S(1, 3, 3, 2)},
     2},
    {&ntk_op_gridsample, "", {S(1, 2, 7), S(1, 5, 1)}, 2},
    {&ntk_op_gridsample, "padding_mode=border", {S(1, 2, 3, 4, 2), S(1, 2, 2, 2, 3)}, 2},
    {&ntk_op_gridsample, "mode=nearest", {S(1, 2, 3, 4, 2), S(1, 2, 2, 2, 3)}, 2},
    {&ntk_op_gridsample, "", {S(1, 2, 4, 5), S(1, 2, 3, 2)}, 2, {[1] = "0.3,-0.2,0.9,1.4"}},
};
enum { CASES = sizeof cases / sizeof *cases };

/* The pixel inside that stands for one outside, step by step; -1: zero. */
static int64_t inside(const ntk_grid *g, int64_t i, int64_t n) {
  if (g->padding == NTK_GRID_ZEROS)
    return i < 0 || i >= n ? -1 : i;
  if (g->padding == NTK_GRID_BORDER)
    return i < 0 ? 0 : i < n ? i : n - 1;
  while (i < 0 || i >= n)
    i = g->align_corners ? (i < 0 ? -i : 2 * (n - 1) - i)
                         : (i < 0 ? -1 - i : 2 * n - 1 - i);
  return i;
}

/* Weight of a pixel at a distance. */
static double weight(const ntk_grid *g, double d) {
  d = fabs(d);
  if (g->taps == 1)
    return d < 0.5 ? 1 : 0;
  if (g->taps == 2)
    return fmax(0, 1 - d);
  if (d < 1)
    return 1.25 * pow(d, 3) - 2.25 * d * d + 1;
  return d < 2 ? -0.75 * (pow(d, 3) - 5 * d * d + 8 * d - 4) : 0;
}

static double sampled(const op_test *h, const ntk_array *in, int64_t n, int64_t e) {
  const ntk_grid *g = h->node->detail;
  const int64_t point = e % g->points, plane = e / g->points, image = plane / g->channels;
  const double *numbers = at(in[1], n, 0) + (image * g->points + point) * g->axes;
  const double *x = at(in[0], n, 0) + plane * g->plane;
  double sum = 0, where[3];
  int64_t first[3], count = 1;
  for (int a = 0; a < g->axes; a++, count *= 6) {
    const double number = numbers[g->axes - 1 - a], size = (double)g->size[a];
    where[a] =
        g->align_corners ? (number + 1) * (size - 1) / 2 : (number + 1) * size / 2 - 0.5;
    first[a] = (int64_t)floor(where[a]) - 2;
  }
  for (int64_t i = 0; i < count; i++) {
    double product = 1;
    int64_t from = 0, rest = i;
    for (int a = 0; a < g->axes; a++, rest /= 6) {
      const int64_t pixel = first[a] + rest % 6, own = inside(g, pixel, g->size[a]);
      product *= own < 0 ? 0 : weight(g, where[a] - (double)pixel);
      from = from * g->size[a] + (own < 0 ? 0 : own);
    }
    sum += product * x[from];
  }
  return sum;
}

static void forward_is_the_definition(void **state) {
  (void)state;
  for (int i = 0; i < CASES; i++) {
    op_test h = op_make(&cases[i]);
    ntk_array in[OPERANDS], y = block_make(N, 0, h.y_size, 0, 1).a;
    operands_make(&h, N, 0, 0, in);
    op_forward(&h, N, in, y);
    for (int64_t n = 0; n < N; n++)
      for (int64_t e = 0; e < h.y_size; e++)
        near(at(y, n, 0)[e], sampled(&h, in, n, e), 1e-13);
    arrays_free(h.operands, in);
    free(y.data);
    op_free(&h);
  }
}

static void tangents_are_differences(void **state) {
  (void)state;
  each_case(CASES, cases, check_tangents);
}

static void cotangents_are_adjoint(void **state) {
  (void)state;
  each_case(CASES, cases, check_cotangents);
}

static void types_agree(void **state) {
  (void)state;
  each_case(CASES, cases, check_types);
}

/* Derivatives by the grid at the border are 0, and turn over with the image. */
static void kinks_are_those_of_torch(void **state) {
  (void)state;
  static const struct {
    const char *attributes;
    double place, slope;
  } rows[] = {
      {"padding_mode=border", 5, 0},
      {"padding_mode=border align_corners=1", 1, 0},
      {"padding_mode=border align_corners=1", 0.5, 3},
      {"padding_mode=reflection align_corners=1", 1.5, -3},
      {"padding_mode=reflection align_corners=1", -1.5, -1},
      {"mode=nearest", 0.3, 0},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const op_case c = {&ntk_op_gridsample, rows[i].attributes, {S(1, 1, 3), S(1, 1, 1)}, 2};
    double x[] = {0, 1, 4}, place = rows[i].place, y, one = 1, slope = 9;
    op_test h = op_make(&c);
    const ntk_array in[] = {{x, 0, 0}, {&place, 0, 0}};
    op_vjp(&h, 1, 1, 1, in, (ntk_array){&y, 0, 0}, (ntk_array){&one, 0, 0},
           (ntk_array){&slope, 0, 0}, false);
    near(slope, rows[i].slope, 1e-14);
    op_free(&h);
  }
}

static void refuses_what_it_does_not_know(void **state) {
  (void)state;
  static const op_case refused[] = {
      {&ntk_op_gridsample, "mode=cubic", {S(1, 2, 3, 4, 2), S(1, 2, 2, 2, 3)}, 2},
      {&ntk_op_gridsample, "mode=lanczos", {S(1, 2, 3, 4), S(1, 2, 2, 2)}, 2},
      {&ntk_op_gridsample, "padding_mode=wrap", {S(1, 2, 3, 4), S(1, 2, 2, 2)}, 2},
      {&ntk_op_gridsample, "", {S(1, 2, 3, 4), S(1, 2, 2, 3)}, 2},
      {&ntk_op_gridsample, "", {S(2, 2, 3, 4), S(1, 2, 2, 2)}, 2},
      {&ntk_op_gridsample, "", {S(1, 2, 3, 4), S(1, 2, 2)}, 2},
      {&ntk_op_gridsample, "", {S(1, 2, 0, 4), S(1, 2, 2, 2)}, 2},
      {&ntk_op_gridsample, "", {S(1, 2, 3, 4), NONE}, 2},
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    op_test h = op_open(&refused[i]);
    assert_int_not_equal(h.node->op->infer(h.graph, h.node), NTK_SUCCESS);
    assert_true(strlen(ntk_fail_message()) > 0);
    op_free(&h);
  }
}

static void knows_where_samples_mix(void **state) {
  (void)state;
  static const batch_rule rows[] = {
      {{&ntk_op_gridsample, "", {S(1, 2, 3, 4), S(1, 2, 2, 2)}, 2}, {0, 0}, 0, true},
      {{&ntk_op_gridsample, "", {S(1, 1, 3, 4), S(1, 2, 2, 2)}, 2}, {1, -1}, 1, false},
      {{&ntk_op_gridsample, "", {S(1, 2, 3, 4), S(1, 2, 2, 2)}, 2}, {-1, 1}, 2, false},
  };
  check_batch_rules(sizeof rows / sizeof *rows, rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(forward_is_the_definition),
      cmocka_unit_test(tangents_are_differences),
      cmocka_unit_test(cotangents_are_adjoint),
      cmocka_unit_test(types_agree),
      cmocka_unit_test(kinks_are_those_of_torch),
      cmocka_unit_test(refuses_what_it_does_not_know),
      cmocka_unit_test(knows_where_samples_mix),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

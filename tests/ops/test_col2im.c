/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/harness_checks.h"

/* Col2Im puts patches together: by its sums with images, whose patches are taken here. */

extern const ntk_op ntk_op_col2im;

enum { ROWS = 5 };
static const op_case cases[ROWS] = {
    {&ntk_op_col2im, "", {S(1, 8, 6), S(2), S(2)}, 3, {[1] = "3,4", [2] = "2,2"}},
    {&ntk_op_col2im,
     "strides=2,1 pads=1,0,0,1 dilations=1,2",
     {S(1, 12, 9), S(2), S(2)},
     3,
     {[1] = "5,6", [2] = "2,3"}},
    {&ntk_op_col2im, "strides=3,", {S(2, 6, 2), S(1), S(1)}, 3, {[1] = "8,", [2] = "3,"}},
    {&ntk_op_col2im,
     "pads=0,0,1,0,0,1",
     {S(1, 8, 12), S(3), S(3)},
     3,
     {[1] = "3,3,2", [2] = "2,2,2"}},
    {&ntk_op_col2im, "", {S(1, 3, 4), S(2), S(2)}, 3, {[1] = "2,2", [2] = "1,1"}},
};

/* Axes of each case from the last on: image, block, stride, dilation, pad in front. */
static const int64_t axes[ROWS][3][5] = {
    {{4, 2, 1, 1, 0}, {3, 2, 1, 1, 0}, {1, 1, 1, 1, 0}},
    {{6, 3, 1, 2, 0}, {5, 2, 2, 1, 1}, {1, 1, 1, 1, 0}},
    {{8, 3, 3, 1, 0}, {1, 1, 1, 1, 0}, {1, 1, 1, 1, 0}},
    {{2, 2, 1, 1, 1}, {3, 2, 1, 1, 0}, {3, 2, 1, 1, 0}},
    {{2, 1, 1, 1, 0}, {2, 1, 1, 1, 0}, {1, 1, 1, 1, 0}},
};

/* Numbers of places along the axes, from the last on. */
static const int64_t places[ROWS][3] = {
    {3, 2, 1}, {3, 3, 1}, {2, 1, 1}, {3, 2, 2}, {2, 2, 1}};

/* Pixel of a tap at a place, -1: none. */
static int64_t pixel(int row, int64_t tap, int64_t place) {
  int64_t from = 0, step = 1;
  for (int a = 0; a < 3; a++) {
    const int64_t *x = axes[row][a];
    const int64_t at = place % places[row][a] * x[2] + tap % x[1] * x[3] - x[4];
    if (at < 0 || at >= x[0])
      return -1;
    from += at * step;
    step *= x[0];
    tap /= x[1];
    place /= places[row][a];
  }
  return from;
}

static void sums_with_images_are_those_of_patches(void **state) {
  (void)state;
  for (int row = 0; row < ROWS; row++) {
    op_test h = op_make(&cases[row]);
    int64_t taps = 1, all = 1, plane = 1;
    for (int a = 0; a < 3; a++) {
      taps *= axes[row][a][1];
      all *= places[row][a];
      plane *= axes[row][a][0];
    }
    ntk_array in[OPERANDS], y = block_make(1, 0, h.y_size, 0, 1).a;
    double *image = block_make(1, 0, h.y_size, 0, 2).a.data, left = 0, right = 0;
    operands_make(&h, 1, 0, 0, in);
    op_forward(&h, 1, in, y);
    for (int64_t e = 0; e < h.y_size; e++)
      left += image[e] * at(y, 0, 0)[e];
    for (int64_t e = 0; e < h.size[0]; e++) {
      const int64_t from = pixel(row, e / all % taps, e % all);
      right += from < 0 ? 0 : image[e / all / taps * plane + from] * at(in[0], 0, 0)[e];
    }
    near(left, right, 1e-13);
    arrays_free(h.operands, in);
    free(image);
    free(y.data);
    op_free(&h);
  }
}

static void tangents_are_differences(void **state) {
  (void)state;
  each_case(ROWS, cases, check_tangents);
}

static void cotangents_are_adjoint(void **state) {
  (void)state;
  each_case(ROWS, cases, check_cotangents);
}

static void types_agree(void **state) {
  (void)state;
  each_case(ROWS, cases, check_types);
}

static void refuses_what_does_not_fit(void **state) {
  (void)state;
  static const op_case refused[] = {
      {&ntk_op_col2im, "", {S(1, 8, 5), S(2), S(2)}, 3, {[1] = "3,4", [2] = "2,2"}},
      {&ntk_op_col2im, "", {S(1, 7, 6), S(2), S(2)}, 3, {[1] = "3,4", [2] = "2,2"}},
      {&ntk_op_col2im, "", {S(8, 6), S(2), S(2)}, 3, {[1] = "3,4", [2] = "2,2"}},
      {&ntk_op_col2im, "", {S(1, 8, 6), S(2), S(1)}, 3, {[1] = "3,4", [2] = "2,"}},
      {&ntk_op_col2im, "", {S(1, 8, 6), S(2), S(2)}, 3, {[1] = "3,4"}},
      {&ntk_op_col2im, "", {S(1, 8, 6), S(2), S(2)}, 3, {[1] = "-3,4", [2] = "2,2"}},
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    op_test h = op_open(&refused[i]);
    assert_int_not_equal(h.node->op->infer(h.graph, h.node), NTK_SUCCESS);
    assert_true(strlen(ntk_fail_message()) > 0);
    op_free(&h);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sums_with_images_are_those_of_patches),
      cmocka_unit_test(tangents_are_differences),
      cmocka_unit_test(cotangents_are_adjoint),
      cmocka_unit_test(types_agree),
      cmocka_unit_test(refuses_what_does_not_fit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

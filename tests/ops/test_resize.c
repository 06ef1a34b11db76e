/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/harness_checks.h"

/* Resize and Upsample against their definition, axis by axis. */

extern const ntk_op ntk_op_resize, ntk_op_upsample;
#define MODE &ntk_op_resize, "coordinate_transformation_mode="

static const op_case cases[] = {
    {&ntk_op_resize, "", {S(1, 2, 3, 4), NONE, S(4)}, 3, {[2] = "1.,1.,2.,3."}},
    {MODE "asymmetric nearest_mode=floor",
     {S(1, 2, 3, 4), NONE, S(4)},
     3,
     {[2] = "1.,1.,2.,2."}},
    {MODE "asymmetric nearest_mode=ceil", {S(1, 2, 7), NONE, S(3)}, 3, {[2] = "1.,1.,.6"}},
    {MODE "half_pixel nearest_mode=round_prefer_ceil",
     {S(1, 2, 4), NONE, NONE, S(3)},
     4,
     {[3] = "1,2,8"}},
    {MODE "half_pixel", {S(1, 2, 8), NONE, NONE, S(3)}, 4, {[3] = "1,2,4"}},
    {MODE "tf_half_pixel_for_nn nearest_mode=floor",
     {S(1, 1, 4, 4), NONE, NONE, S(4)},
     4,
     {[3] = "1,1,3,2"},
     .opset = 11},
    {MODE "half_pixel mode=linear", {S(1, 2, 3, 4), NONE, S(4)}, 3, {[2] = "1.,1.,2.,1.5"}},
    {MODE "pytorch_half_pixel mode=linear",
     {S(1, 1, 4, 4), NONE, NONE, S(4)},
     4,
     {[3] = "1,1,3,1"}},
    {MODE "align_corners mode=linear",
     {S(2, 1, 2, 3, 4), NONE, NONE, S(5)},
     4,
     {[3] = "2,1,3,5,2"}},
    {MODE "asymmetric mode=linear", {S(1, 3, 5), NONE, S(3)}, 3, {[2] = "1.,1.,1.7"}},
    {MODE "half_pixel_symmetric mode=linear",
     {S(1, 1, 7), NONE, S(3)},
     3,
     {[2] = "1.,1.,.6"},
     .opset = 19},
    {MODE "half_pixel mode=cubic", {S(1, 1, 4, 5), NONE, S(4)}, 3, {[2] = "1.,1.,2.,.7"}},
    {MODE "half_pixel mode=cubic cubic_coeff_a=-0.5 exclude_outside=1",
     {S(1, 2, 4, 3), NONE, NONE, S(4)},
     4,
     {[3] = "1,2,7,5"}},
    {MODE "half_pixel mode=linear antialias=1",
     {S(1, 2, 7), NONE, S(3)},
     3,
     {[2] = "1.,1.,.6"},
     .opset = 18},
    {MODE "half_pixel mode=linear antialias=1",
     {S(1, 1, 3, 7), NONE, NONE, S(4)},
     4,
     {[3] = "1,1,5,2"},
     .opset = 18},
    {MODE "half_pixel mode=cubic antialias=1 exclude_outside=1",
     {S(1, 2, 9), NONE, NONE, S(3)},
     4,
     {[3] = "1,2,4"},
     .opset = 18},
    {MODE "align_corners mode=cubic", {S(1, 1, 5), NONE, NONE, S(3)}, 4, {[3] = "1,1,1"}},
    {MODE "tf_crop_and_resize mode=linear extrapolation_value=10.5",
     {S(1, 1, 4, 5), S(8), NONE, S(4)},
     4,
     {[1] = "0.,0.,-.2,.3,1.,1.,.6,1.4", [3] = "1,1,3,6"}},
    {MODE "half_pixel mode=linear", {S(1, 4, 3, 2), NONE, S(4)}, 3, {[2] = "1.,2.,1.5,1."}},
    {MODE "half_pixel mode=linear axes=3,1",
     {S(1, 2, 3, 4), NONE, NONE, S(2)},
     4,
     {[3] = "7,3"},
     .opset = 18},
    {MODE "half_pixel mode=linear axes=2,3 keep_aspect_ratio_policy=not_larger",
     {S(1, 1, 4, 6), NONE, NONE, S(2)},
     4,
     {[3] = "8,9"},
     .opset = 18},
    {MODE "half_pixel axes=2,3 keep_aspect_ratio_policy=not_smaller",
     {S(1, 1, 4, 6), NONE, NONE, S(2)},
     4,
     {[3] = "8,9"},
     .opset = 18},
    {&ntk_op_resize, "", {S(1, 2, 3), NONE, S(3)}, 3, {[2] = "1.,1.,1."}},
    {&ntk_op_resize,
     "mode=nearest",
     {S(1, 2, 3), S(3)},
     2,
     {[1] = "1.,1.,3."},
     .opset = 10},
    {&ntk_op_resize, "mode=linear", {S(1, 2, 5), S(3)}, 2, {[1] = "1.,1.,.7"}, .opset = 10},
    {&ntk_op_upsample, "", {S(1, 2, 2, 3), S(4)}, 2, {[1] = "1.,1.,2.,3."}, .opset = 9},
    {&ntk_op_upsample, "mode=linear scales=1.,1.,2.5", {S(1, 2, 4)}, 1, .opset = 7},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- the definition ---- */

/* Where an axis is read: from its own numbers, as the operator's page has them. */
typedef struct read {
  int64_t in, out;
  double scale, begin, end;
} read;

static bool word_is(const op_test *h, const char *name, const char *otherwise,
                    const char *word) {
  return strcmp(ntk_node_string(h->node, name, otherwise), word) == 0;
}

/* Number i of operand k, or `otherwise` where it is left out. */
static double number_of(const op_test *h, int k, int64_t i, double otherwise) {
  const bool there = k < h->operands && h->node->inputs[k] >= 0;
  if (!there)
    return otherwise;
  double value;
  const ntk_tensor *t = h->graph->values[h->node->inputs[k]].constant;
  ntk_convert(t->dtype, (const char *)t->data + i * (int64_t)ntk_dtype_bytes(t->dtype),
              NTK_F64, &value, 1);
  return value;
}

static read read_axis(const op_test *h, int d) {
  const ntk_shape *x = &h->graph->values[h->node->inputs[0]].shape;
  const ntk_shape *y = &h->graph->values[h->node->outputs[0]].shape;
  const ntk_attribute *list = ntk_node_attribute(h->node, "axes");
  const ntk_attribute *scales = ntk_node_attribute(h->node, "scales");
  const bool old = h->node->opset < 11;
  read r = {x->dim[d], y->dim[d], (double)y->dim[d] / (double)x->dim[d], 0, 1};
  if (scales)
    r.scale = scales->floats[d];
  else
    r.scale = number_of(h, old ? 1 : 2, d, r.scale);
  if (list && !word_is(h, "keep_aspect_ratio_policy", "stretch", "stretch")) {
    const double a = 8. / 4, b = 9. / 6;
    const bool larger = word_is(h, "keep_aspect_ratio_policy", "", "not_smaller");
    r.scale = d < 2 ? 1 : larger ? fmax(a, b) : fmin(a, b);
  }
  if (!old && h->operands > 1) {
    r.begin = number_of(h, 1, d, 0);
    r.end = number_of(h, 1, d + x->ndim, 1);
  }
  return r;
}

static double read_at(const op_test *h, const read *r, int64_t i) {
  const double x = (double)i, L = (double)r->in, M = (double)r->out;
  const char *word = ntk_node_string(h->node, "coordinate_transformation_mode",
                                     h->node->opset < 11 ? "asymmetric" : "half_pixel");
  if (strcmp(word, "asymmetric") == 0)
    return x / r->scale;
  if (strcmp(word, "align_corners") == 0)
    return M == 1 ? 0 : x * (L - 1) / (M - 1);
  if (strcmp(word, "tf_half_pixel_for_nn") == 0)
    return (x + .5) / r->scale;
  if (strcmp(word, "tf_crop_and_resize") == 0)
    return M > 1 ? r->begin * (L - 1) + x * (r->end - r->begin) * (L - 1) / (M - 1)
                 : .5 * (r->begin + r->end) * (L - 1);
  if (strcmp(word, "pytorch_half_pixel") == 0 && M == 1)
    return 0;
  if (strcmp(word, "half_pixel_symmetric") == 0)
    return L / 2 * (1 - M / (r->scale * L)) + (x + .5) / r->scale - .5;
  return (x + .5) / r->scale - .5;
}

static double kernel_of(const op_test *h, double distance) {
  const double d = fabs(distance), a = ntk_node_float(h->node, "cubic_coeff_a", -.75);
  if (word_is(h, "mode", "nearest", "linear"))
    return fmax(0, 1 - d);
  return d <= 1  ? (a + 2) * d * d * d - (a + 3) * d * d + 1
         : d < 2 ? a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a
                 : 0;
}

static int64_t nearest_of(const op_test *h, double at) {
  const char *word = ntk_node_string(h->node, "nearest_mode",
                                     h->node->opset < 11 ? "floor" : "round_prefer_floor");
  const double low = floor(at + 1e-9), high = ceil(at - 1e-9);
  if (strcmp(word, "floor") == 0)
    return (int64_t)low;
  if (strcmp(word, "ceil") == 0)
    return (int64_t)high;
  const double rest = at - floor(at);
  if (fabs(rest - .5) < 1e-9)
    return (int64_t)(strcmp(word, "round_prefer_ceil") == 0 ? ceil(at) : floor(at));
  return (int64_t)(rest < .5 ? floor(at) : ceil(at));
}

/* Weight of input place j for output place i, as it is with the edges repeated; *outside:
 * the crop does not reach there. */
static double weight_of(const op_test *h, const read *r, int64_t i, int64_t j,
                        bool *outside) {
  const double at = read_at(h, r, i);
  const bool stretched = ntk_node_int(h->node, "antialias", 0) && r->scale < 1;
  double sum = 0, whole = 0, stretch = stretched ? r->scale : 1;
  if (r->in == r->out && r->scale == 1 && r->begin == 0 && r->end == 1)
    return i == j;
  if (word_is(h, "coordinate_transformation_mode", "", "tf_crop_and_resize"))
    *outside = *outside || at < 0 || at > (double)(r->in - 1);
  if (word_is(h, "mode", "nearest", "nearest")) {
    const int64_t near_one = nearest_of(h, at);
    return j == (near_one < 0 ? 0 : near_one >= r->in ? r->in - 1 : near_one);
  }
  for (int64_t k = -20; k < r->in + 20; k++) {
    const int64_t edge = k < 0 ? 0 : k >= r->in ? r->in - 1 : k;
    const double w = kernel_of(h, (at - (double)k) * stretch);
    if (ntk_node_int(h->node, "exclude_outside", 0) && edge != k)
      continue;
    whole += w;
    sum += edge == j ? w : 0;
  }
  return sum / whole;
}

static double element(const op_test *h, const double *x, int64_t e) {
  const ntk_shape *s = &h->graph->values[h->node->inputs[0]].shape;
  bool outside = false;
  double sum = 0;
  for (int64_t k = 0; k < h->size[0]; k++) {
    int64_t from = k, to = e;
    double term = x[k];
    for (int d = s->ndim - 1; d >= 0; d--) {
      const read r = read_axis(h, d);
      term *= weight_of(h, &r, to % r.out, from % r.in, &outside);
      to /= r.out;
      from /= r.in;
    }
    sum += term;
  }
  return outside ? ntk_node_float(h->node, "extrapolation_value", 0) : sum;
}

static void resize_is_the_definition(void **state) {
  (void)state;
  for (int i = 0; i < CASES; i++)
    for (unsigned shared = 0; shared < 2; shared++) {
      op_test h = op_make(&cases[i]);
      ntk_array in[OPERANDS], y = block_make(N, 0, h.y_size, shared, 1).a;
      operands_make(&h, N, shared, shared, in);
      op_forward(&h, N, in, y);
      for (int64_t n = 0; n < N; n++)
        for (int64_t e = 0; e < h.y_size; e++)
          near(at(y, n, 0)[e], element(&h, at(in[0], n, 0), e), 1e-13);
      arrays_free(h.operands, in);
      free(y.data);
      op_free(&h);
    }
}

/* ---- shapes, refusals, batch axes ---- */

static void resize_has_the_right_outputs(void **state) {
  (void)state;
  static const ntk_shape outputs[] = {S(1, 2, 6, 12), S(1, 2, 6, 8), S(1, 2, 4)};
  for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
    op_test h = op_make(&cases[i]);
    assert_true(ntk_shape_equal(&h.graph->values[h.node->outputs[0]].shape, &outputs[i]));
    op_free(&h);
  }
  for (int i = 0; i < CASES; i++) {
    op_test h = op_make(&cases[i]);
    const ntk_shape *y = &h.graph->values[h.node->outputs[0]].shape;
    if (word_is(&h, "keep_aspect_ratio_policy", "", "not_larger"))
      assert_true(ntk_shape_equal(y, &(ntk_shape)S(1, 1, 6, 9)));
    if (word_is(&h, "keep_aspect_ratio_policy", "", "not_smaller"))
      assert_true(ntk_shape_equal(y, &(ntk_shape)S(1, 1, 8, 12)));
    op_free(&h);
  }
}

static void resize_refuses_what_it_does_not_know(void **state) {
  (void)state;
  static const op_case refused[] = {
      {MODE "sideways", {S(1, 2), NONE, S(2)}, 3, {[2] = "1.,2."}},
      {&ntk_op_resize, "mode=area", {S(1, 2), NONE, S(2)}, 3, {[2] = "1.,2."}},
      {&ntk_op_resize, "nearest_mode=far", {S(1, 2), NONE, S(2)}, 3, {[2] = "1.,2."}},
      {&ntk_op_resize,
       "mode=linear antialias=1",
       {S(1, 200), NONE, S(2)},
       3,
       {[2] = "1.,.02"},
       .opset = 18},
      {&ntk_op_resize, "", {S(1, 2), NONE, S(3)}, 3, {[2] = "1.,2.,2."}},
      {&ntk_op_resize, "", {S(1, 2), NONE, S(2)}, 3},
      {&ntk_op_resize, "", {S(1, 2)}, 1},
      {&ntk_op_resize, "", {S(1, 2), NONE, S(2)}, 3, {[2] = "1.,-2."}},
      {&ntk_op_resize, "", {S(1, 2), NONE, S(2)}, 3, {[2] = "1.,.3"}},
      {MODE "align_corners mode=linear", {S(1, 4), NONE, S(2)}, 3, {[2] = "1.,1.7"}},
      {MODE "tf_crop_and_resize", {S(1, 4), NONE, S(2)}, 3, {[2] = "1.,2."}},
      {&ntk_op_resize, "", {S(1, 4), S(2)}, 2, {[1] = "1.,.6"}, .opset = 10},
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    op_test h = op_open(&refused[i]);
    assert_int_not_equal(h.node->op->infer(h.graph, h.node), NTK_SUCCESS);
    assert_true(strlen(ntk_fail_message()) > 0);
    op_free(&h);
  }
}

static void resize_knows_where_samples_mix(void **state) {
  (void)state;
  const op_case c = {&ntk_op_resize, "", {S(1, 1), NONE, S(2)}, 3, {[2] = "1.,2."}};
  op_test h = op_make(&c);
  const int first[OPERANDS] = {0, -1, -1}, second[OPERANDS] = {1, -1, -1};
  assert_true(h.node->op->keeps_batch(h.graph, h.node, first, 0));
  assert_false(h.node->op->keeps_batch(h.graph, h.node, second, 1));
  op_free(&h);
}

/* ---- what holds for all operators ---- */

static void resize_tangents_are_differences(void **state) {
  (void)state;
  /* differences of affine maps: the filled value is none of the tangent */
  each_case(CASES, cases, check_tangents);
}

static void resize_cotangents_are_adjoint(void **state) {
  (void)state;
  each_case(CASES, cases, check_cotangents);
}

static void resize_types_agree(void **state) {
  (void)state;
  each_case(CASES, cases, check_types);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(resize_is_the_definition),
      cmocka_unit_test(resize_has_the_right_outputs),
      cmocka_unit_test(resize_refuses_what_it_does_not_know),
      cmocka_unit_test(resize_knows_where_samples_mix),
      cmocka_unit_test(resize_tangents_are_differences),
      cmocka_unit_test(resize_cotangents_are_adjoint),
      cmocka_unit_test(resize_types_agree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

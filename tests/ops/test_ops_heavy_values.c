/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/heavy_cases.h"

#include "ops/dense.h"

/* Forward against the definitions, written as plain loops over one output element;
 * refusals; batch axes. */

enum { SAMPLES = 2 };

/* ---- definitions ---- */

static double gemm_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const bool ta = ntk_node_int(h->node, "transA", 0),
             tb = ntk_node_int(h->node, "transB", 0);
  const ntk_shape *a = &h->graph->values[h->node->inputs[0]].shape;
  const int64_t M = a->dim[ta], K = a->dim[!ta], N = h->y_size / M, i = e / N, j = e % N;
  double sum = 0, c = 0;
  for (int64_t k = 0; k < K; k++)
    sum += x[0][ta ? k * M + i : i * K + k] * x[1][tb ? j * K + k : k * N + j];
  if (h->operands > 2 && x[2]) {
    const ntk_shape *s = &h->graph->values[h->node->inputs[2]].shape;
    const int64_t columns = s->dim[s->ndim - 1], rows = s->ndim > 1 ? s->dim[0] : 1;
    c = x[2][(rows > 1 ? i : 0) * columns + (columns > 1 ? j : 0)];
  }
  return ntk_node_float(h->node, "alpha", 1) * sum + ntk_node_float(h->node, "beta", 1) * c;
}

/* Offset of the matrix that an operand has at batch index `b` of the output. */
static int64_t batch_offset(const ntk_shape *s, const ntk_shape *batch, int64_t b) {
  int64_t offset = 0, step = s->dim[s->ndim - 2] * s->dim[s->ndim - 1];
  for (int i = 1; i <= batch->ndim; i++) {
    const int64_t index = b % batch->dim[batch->ndim - i];
    const int axis = s->ndim - 2 - i;
    b /= batch->dim[batch->ndim - i];
    if (axis < 0)
      break;
    offset += s->dim[axis] > 1 ? index * step : 0;
    step *= s->dim[axis];
  }
  return offset;
}

static double matmul_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  ntk_shape a = h->graph->values[h->node->inputs[0]].shape;
  ntk_shape b = h->graph->values[h->node->inputs[1]].shape;
  ntk_shape batch = h->graph->values[h->node->outputs[0]].shape;
  batch.ndim -= (a.ndim > 1) + (b.ndim > 1);
  if (a.ndim == 1)
    a = (ntk_shape){2, {1, a.dim[0]}};
  if (b.ndim == 1)
    b = (ntk_shape){2, {b.dim[0], 1}};
  const int64_t M = a.dim[a.ndim - 2], K = a.dim[a.ndim - 1], N = b.dim[b.ndim - 1];
  const double *pa = x[0] + batch_offset(&a, &batch, e / (M * N));
  const double *pb = x[1] + batch_offset(&b, &batch, e / (M * N));
  double sum = 0;
  for (int64_t k = 0; k < K; k++)
    sum += pa[e / N % M * K + k] * pb[k * N + e % N];
  return sum;
}

/* Where a tap of output pixel t reads in a plane; -1: padding, -2: beyond the padding. */
static int64_t reads(const ntk_window *w, int64_t t, int64_t tap) {
  int64_t index = 0, step = 1;
  bool pad = false, beyond = false;
  for (int a = 2; a >= 0; a--) {
    const int64_t at = t % w->output[a] * w->stride[a] - w->pad_begin[a] +
                       tap % w->kernel[a] * w->dilation[a];
    t /= w->output[a];
    tap /= w->kernel[a];
    pad = pad || at < 0 || at >= w->input[a];
    beyond = beyond || at >= w->input[a] + w->pad_end[a];
    index += at * step;
    step *= w->input[a];
  }
  return beyond ? -2 : pad ? -1 : index;
}

static double conv_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_conv *c = h->node->detail;
  const int64_t taps = c->K / c->channels, filters = c->groups * c->filters;
  const int64_t t = e % c->pixels, f = e / c->pixels % filters;
  const int64_t image = e / c->pixels / filters, group = f / c->filters;
  double sum = h->operands > 2 && x[2] ? x[2][f] : 0;
  for (int64_t k = 0; k < c->K; k++) {
    const int64_t from = reads(&c->window, t, k % taps);
    const int64_t plane = (image * c->groups + group) * c->channels + k / taps;
    if (from >= 0)
      sum += x[1][f * c->K + k] * x[0][plane * c->plane + from];
  }
  return sum;
}

/* Every pixel read spreads its taps over the result. */
static double convtranspose_element(const op_test *h, const double *const x[OPERANDS],
                                    int64_t e) {
  const ntk_conv *c = h->node->detail;
  const int64_t taps = c->K / c->channels, channels = c->groups * c->channels;
  const int64_t place = e % c->plane, channel = e / c->plane % channels;
  const int64_t image = e / c->plane / channels, group = channel / c->channels;
  double sum = h->operands > 2 && x[2] ? x[2][channel] : 0;
  for (int64_t f = 0; f < c->filters; f++)
    for (int64_t i = 0; i < c->pixels * taps; i++) {
      const int64_t t = i / taps, tap = i % taps, filter = group * c->filters + f;
      if (reads(&c->window, t, tap) == place)
        sum += x[0][(image * c->groups * c->filters + filter) * c->pixels + t] *
               x[1][filter * c->K + channel % c->channels * taps + tap];
    }
  return sum;
}

static double pool_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_pool *p = h->node->detail;
  const double *plane = x[0] + e / p->pixels * p->plane;
  double sum = 0, greatest = -INFINITY, count = 0, powers = 0;
  for (int64_t tap = 0; tap < ntk_window_taps(&p->window); tap++) {
    const int64_t from = reads(&p->window, e % p->pixels, tap);
    if (from >= 0) {
      sum += plane[from];
      powers += pow(fabs(plane[from]), p->p);
      greatest = fmax(greatest, plane[from]);
    }
    count += from >= (p->count_pad ? -1 : 0);
  }
  const ntk_op *op = h->node->op;
  if (op == &ntk_op_lppool || op == &ntk_op_globallppool)
    return pow(powers, 1 / p->p);
  return op == &ntk_op_maxpool || op == &ntk_op_globalmaxpool ? greatest : sum / count;
}

static double lrn_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = &h->graph->values[h->node->inputs[0]].shape;
  const int64_t C = s->dim[1], plane = ntk_shape_size(s) / s->dim[0] / C;
  const int64_t c = e / plane % C, size = ntk_node_int(h->node, "size", 0);
  double sum = 0;
  for (int64_t j = 0; j < C; j++) /* floor and ceil of half of size - 1 */
    if (j >= c - (size - 1) / 2 && j <= c + size / 2)
      sum += x[0][e + (j - c) * plane] * x[0][e + (j - c) * plane];
  return x[0][e] / pow(ntk_node_float(h->node, "bias", 1) +
                           ntk_node_float(h->node, "alpha", 1e-4) / (double)size * sum,
                       ntk_node_float(h->node, "beta", 0.75));
}

static double norm_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = &h->graph->values[h->node->inputs[0]].shape;
  int64_t plane = 1;
  for (int i = 2; i < s->ndim; i++)
    plane *= s->dim[i];
  const int64_t c = e / plane % s->dim[1];
  return (x[0][e] - x[3][c]) / sqrt(x[4][c] + ntk_node_float(h->node, "epsilon", 1e-5)) *
             x[1][c] +
         x[2][c];
}

static double element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_op *op = h->node->op;
  if (op == &ntk_op_gemm)
    return gemm_element(h, x, e);
  if (op == &ntk_op_matmul)
    return matmul_element(h, x, e);
  if (op == &ntk_op_conv)
    return conv_element(h, x, e);
  if (op == &ntk_op_convtranspose)
    return convtranspose_element(h, x, e);
  if (op == &ntk_op_lrn)
    return lrn_element(h, x, e);
  return op == &ntk_op_batchnormalization ? norm_element(h, x, e) : pool_element(h, x, e);
}

static void heavy_forward_is_the_definition(void **state) {
  (void)state;
  for (int i = 0; i < CASES; i++)
    for (unsigned shared = 0; shared < 4; shared++) {
      op_test h = op_make(&cases[i]);
      ntk_array in[OPERANDS], y = block_make(SAMPLES, 0, h.y_size, shared, 1).a;
      operands_make(&h, SAMPLES, shared, shared, in);
      op_forward(&h, SAMPLES, in, y);
      for (int64_t n = 0; n < SAMPLES; n++) {
        const double *x[OPERANDS];
        for (int k = 0; k < h.operands; k++)
          x[k] = in[k].data ? at(in[k], n, 0) : NULL;
        for (int64_t e = 0; e < h.y_size; e++)
          near(at(y, n, 0)[e], element(&h, x, e), 1e-13);
      }
      arrays_free(h.operands, in);
      free(y.data);
      op_free(&h);
    }
}

/* ---- ties, shapes, refusals, batch axes ---- */

static void maxpool_takes_the_first_of_ties(void **state) {
  (void)state;
  const op_case c = {&ntk_op_maxpool, "kernel_shape=2,2", {S(1, 1, 3, 3)}, 1};
  double x[9] = {0}, y[4], dy[4] = {1, 2, 4, 8}, dx[9];
  x[4] = x[5] = 1; /* windows: 4; 4, 5; 4; 4, 5 */
  op_test h = op_make(&c);
  const ntk_array in = {x, 9, 0}, out = {y, 4, 0};
  op_forward(&h, 1, &in, out);
  op_vjp(&h, 0, 1, 1, &in, out, (ntk_array){dy, 4, 4}, (ntk_array){dx, 9, 9}, false);
  for (int i = 0; i < 9; i++)
    assert_true(dx[i] == (i == 4 ? 15 : 0));
  memset(x, 0, sizeof x); /* all equal: the upper left */
  op_vjp(&h, 0, 1, 1, &in, out, (ntk_array){dy, 4, 4}, (ntk_array){dx, 9, 9}, false);
  const double expected[9] = {1, 2, 0, 4, 8, 0, 0, 0, 0};
  for (int i = 0; i < 9; i++)
    assert_true(dx[i] == expected[i]);
  op_free(&h);
}

/* Outputs by the formulas of the operator's page; ceil_mode's last window starts inside. */
static void windows_have_the_right_outputs(void **state) {
  (void)state;
  static const struct {
    op_case c;
    ntk_shape y;
  } expected[] = {
      {{&ntk_op_conv, "auto_pad=SAME_UPPER strides=2,3", {S(1, 1, 7, 8), S(1, 1, 3, 3)}, 2},
       S(1, 1, 4, 3)},
      {{&ntk_op_conv, "auto_pad=VALID strides=2,2", {S(1, 1, 7, 8), S(1, 1, 3, 3)}, 2},
       S(1, 1, 3, 3)},
      {{&ntk_op_conv, "dilations=3, pads=2,2, strides=2,", {S(1, 1, 10), S(2, 1, 3)}, 2},
       S(1, 2, 4)},
      {{&ntk_op_maxpool, "kernel_shape=2, strides=2, ceil_mode=1", {S(1, 1, 5)}, 1},
       S(1, 1, 3)},
      {{&ntk_op_maxpool,
        "kernel_shape=2, strides=3, ceil_mode=1 pads=0,1,",
        {S(1, 1, 6)},
        1},
       S(1, 1, 2)},
      {{&ntk_op_maxpool, "kernel_shape=3, strides=2, pads=1,1,", {S(1, 1, 6)}, 1},
       S(1, 1, 3)},
      {{&ntk_op_convtranspose, "strides=2,3", {S(1, 1, 4, 5), S(1, 2, 3, 3)}, 2},
       S(1, 2, 9, 15)},
      {{&ntk_op_convtranspose,
        "strides=3, pads=1,2, dilations=2, output_padding=2,",
        {S(1, 4, 5), S(4, 1, 4)},
        2},
       S(1, 1, 18)},
      {{&ntk_op_convtranspose,
        "output_shape=7,6 strides=2,2",
        {S(1, 1, 3, 3), S(1, 1, 3, 3)},
        2},
       S(1, 1, 7, 6)},
      {{&ntk_op_convtranspose,
        "auto_pad=SAME_LOWER strides=3,1",
        {S(1, 2, 3, 4), S(2, 1, 3, 3)},
        2},
       S(1, 1, 9, 4)},
      {{&ntk_op_globalaveragepool, "", {S(1, 3, 4, 5)}, 1}, S(1, 3, 1, 1)},
      {{&ntk_op_matmul, "", {S(2, 1, 4, 5), S(3, 5, 6)}, 2}, S(2, 3, 4, 6)},
      {{&ntk_op_matmul, "", {S(5), S(3, 5, 6)}, 2}, S(3, 6)},
      {{&ntk_op_matmul, "", {S(5), S(5)}, 2}, {0, {0}}},
  };
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
    op_test h = op_make(&expected[i].c);
    const ntk_shape *y = &h.graph->values[h.node->outputs[0]].shape;
    assert_true(ntk_shape_equal(y, &expected[i].y));
    op_free(&h);
  }
}

static void heavy_refuses_what_it_does_not_know(void **state) {
  (void)state;
  static const op_case refused[] = {
      {&ntk_op_gemm, "", {S(4, 5), S(4, 3)}, 2},
      {&ntk_op_gemm, "", {S(4, 5), S(5, 3), S(4)}, 3},
      {&ntk_op_matmul, "", {S(4, 5), S(4, 5)}, 2},
      {&ntk_op_matmul, "", {S(2, 4, 5), S(3, 5, 4)}, 2},
      {&ntk_op_matmul, "", {{0, {0}}, S(5)}, 2},
      {&ntk_op_conv, "", {S(1, 2, 4), S(3, 3, 2)}, 2},
      {&ntk_op_conv, "group=2", {S(1, 4, 4), S(3, 2, 2)}, 2},
      {&ntk_op_conv, "group=0", {S(1, 4, 4), S(3, 2, 2)}, 2},
      {&ntk_op_conv, "kernel_shape=3,", {S(1, 2, 4), S(3, 2, 2)}, 2},
      {&ntk_op_conv, "", {S(1, 2, 4), S(3, 2, 5)}, 2},
      {&ntk_op_conv, "", {S(1, 2, 4), S(3, 2, 2), S(2)}, 3},
      {&ntk_op_conv, "strides=0,", {S(1, 2, 4), S(3, 2, 2)}, 2},
      {&ntk_op_conv, "pads=1,-1,", {S(1, 2, 4), S(3, 2, 2)}, 2},
      {&ntk_op_conv, "auto_pad=SOME", {S(1, 2, 4), S(3, 2, 2)}, 2},
      {&ntk_op_conv, "", {S(1, 2, 3, 3, 3, 3), S(2, 2, 1, 1, 1, 1)}, 2},
      {&ntk_op_convtranspose, "", {S(1, 2, 4), S(3, 3, 2)}, 2},
      {&ntk_op_convtranspose, "", {S(1, 2, 4), S(2, 3, 2), S(2)}, 3},
      {&ntk_op_convtranspose, "group=3", {S(1, 4, 4), S(4, 3, 2)}, 2},
      {&ntk_op_convtranspose, "pads=3,2,", {S(1, 2, 4), S(2, 3, 2)}, 2},
      {&ntk_op_convtranspose, "output_padding=-1,", {S(1, 2, 4), S(2, 3, 2)}, 2},
      {&ntk_op_maxpool, "", {S(1, 2, 4)}, 1},
      {&ntk_op_maxpool, "kernel_shape=2, pads=3,0,", {S(1, 2, 4)}, 1},
      {&ntk_op_globalaveragepool, "", {S(1, 2)}, 1},
      {&ntk_op_lppool, "kernel_shape=2, p=0", {S(1, 2, 4)}, 1},
      {&ntk_op_lrn, "", {S(1, 2, 4)}, 1},
      {&ntk_op_lrn, "size=3 bias=-1.0", {S(1, 2, 4)}, 1},
      {&ntk_op_batchnormalization, "training_mode=1", {S(1, 3), S(3), S(3), S(3), S(3)}, 5},
      {&ntk_op_batchnormalization, "", {S(1, 3), S(3), S(3), S(2), S(3)}, 5},
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    op_test h = op_open(&refused[i]);
    assert_int_not_equal(h.node->op->infer(h.graph, h.node), NTK_SUCCESS);
    assert_true(strlen(ntk_fail_message()) > 0);
    op_free(&h);
  }
}

static void heavy_infers_again_for_other_shapes(void **state) {
  (void)state;
  const op_case c = {&ntk_op_conv, "", {S(1, 2, 4), S(3, 2, 2)}, 2};
  op_test h = op_make(&c);
  h.graph->values[h.node->inputs[0]].shape.dim[2] = 9;
  assert_int_equal(h.node->op->infer(h.graph, h.node), NTK_SUCCESS);
  assert_int_equal(h.graph->values[h.node->outputs[0]].shape.dim[2], 8);
  op_free(&h);
}

static void heavy_knows_where_samples_mix(void **state) {
  (void)state;
  static const batch_rule rows[] = {
      {{&ntk_op_gemm, "", {S(1, 5), S(5, 3), S(3)}, 3}, {0, -1, -1}, 0, true},
      {{&ntk_op_gemm, "", {S(1, 1), S(1, 3), S(3)}, 3}, {1, -1, -1}, 0, false},
      {{&ntk_op_gemm, "transA=1", {S(5, 1), S(5, 3), S(3)}, 3}, {1, -1, -1}, 0, true},
      {{&ntk_op_gemm, "", {S(3, 5), S(5, 1)}, 2}, {-1, 1}, 1, true},
      {{&ntk_op_gemm, "", {S(1, 5), S(5, 1)}, 2}, {0, 1}, 0, false},
      {{&ntk_op_gemm, "", {S(1, 5), S(5, 3), S(1, 3)}, 3}, {0, -1, 0}, 0, true},
      {{&ntk_op_gemm, "", {S(1, 5), S(5, 1), S(1)}, 3}, {0, -1, 0}, 0, false},
      {{&ntk_op_matmul, "", {S(1, 4, 5), S(5, 3)}, 2}, {0, -1}, 0, true},
      {{&ntk_op_matmul, "", {S(4, 5), S(1, 5, 3)}, 2}, {-1, 0}, 0, true},
      {{&ntk_op_matmul, "", {S(1, 4, 5), S(1, 5, 3)}, 2}, {0, 0}, 0, true},
      {{&ntk_op_matmul, "", {S(1, 5), S(5, 1)}, 2}, {0, 1}, 0, false},
      {{&ntk_op_matmul, "", {S(4, 1), S(1, 3)}, 2}, {1, 0}, 0, false},
      {{&ntk_op_matmul, "", {S(1, 4, 5), S(5)}, 2}, {0, -1}, 0, true},
      {{&ntk_op_matmul, "", {S(5), S(1, 5, 3)}, 2}, {-1, 0}, 0, true},
      {{&ntk_op_conv, "", {S(1, 2, 4), S(3, 2, 2)}, 2}, {0, -1}, 0, true},
      {{&ntk_op_conv, "", {S(1, 1, 4), S(3, 1, 2)}, 2}, {1, -1}, 1, false},
      {{&ntk_op_conv, "", {S(1, 2, 4), S(3, 2, 2)}, 2}, {0, 0}, 0, false},
      {{&ntk_op_maxpool, "kernel_shape=2,", {S(1, 2, 4)}, 1}, {0}, 0, true},
      {{&ntk_op_maxpool, "kernel_shape=1,", {S(2, 2, 1)}, 1}, {2}, 2, false},
      {{&ntk_op_lrn, "size=3", {S(1, 1, 4)}, 1}, {0}, 0, true},
      {{&ntk_op_lrn, "size=3", {S(1, 1, 4)}, 1}, {1}, 1, false},
      {{&ntk_op_batchnormalization, "", {S(1, 3), S(3), S(3), S(3), S(3)}, 5},
       {0, -1, -1, -1, -1},
       0,
       true},
      {{&ntk_op_batchnormalization, "", {S(3, 1), S(1), S(1), S(1), S(1)}, 5},
       {1, -1, -1, -1, -1},
       1,
       false},
  };
  check_batch_rules(sizeof rows / sizeof *rows, rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(heavy_forward_is_the_definition),
      cmocka_unit_test(maxpool_takes_the_first_of_ties),
      cmocka_unit_test(windows_have_the_right_outputs),
      cmocka_unit_test(heavy_refuses_what_it_does_not_know),
      cmocka_unit_test(heavy_infers_again_for_other_shapes),
      cmocka_unit_test(heavy_knows_where_samples_mix),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

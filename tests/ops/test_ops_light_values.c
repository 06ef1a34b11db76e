/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/index_elements.h"

#include "ops/light.h"
#include "ops/lookup.h"

/* Forward against the definitions, written for one output element; kinks, ties and
 * extremes. */

enum { SAMPLES = 2 };

/* ---- definitions ---- */

/* Number k of an attribute or of a constant operand. */
static int64_t number(const op_test *h, const char *name, int operand, int64_t k,
                      int64_t otherwise) {
  const ntk_attribute *a = ntk_node_attribute(h->node, name);
  if (a)
    return k < a->count ? a->ints[k] : otherwise;
  const ntk_value *v = operand < h->operands && h->node->inputs[operand] >= 0
                           ? &h->graph->values[h->node->inputs[operand]]
                           : NULL;
  return v && k < ntk_shape_size(&v->shape) ? ntk_tensor_int(v->constant, k) : otherwise;
}
enum { ABSENT = 1 << 20 };

/* The normal distribution, and Gelu's approximation of it. */
static double gelu(const op_test *h, double v) {
  const char *way = ntk_node_string(h->node, "approximate", "none");
  const double pi = acos(-1), u = sqrt(2 / pi) * (v + 0.044715 * pow(v, 3));
  return strcmp(way, "tanh") == 0 ? v / (1 + exp(-2 * u)) : v * (1 - erfc(v / sqrt(2)) / 2);
}

/* Those made of exponential functions and of straight lines. */
static double activation(const op_test *h, double v) {
  const ntk_op *op = h->node->op;
  if (op == &ntk_op_celu) {
    const double alpha = ntk_node_float(h->node, "alpha", 1);
    return fmax(0, v) + fmin(0, alpha * (exp(v / alpha) - 1));
  }
  if (op == &ntk_op_selu)
    return ntk_node_float(h->node, "gamma", 1.05070102214813232421875) *
           (v > 0 ? v
                  : ntk_node_float(h->node, "alpha", 1.67326319217681884765625) *
                        (exp(v) - 1));
  if (op == &ntk_op_gelu)
    return gelu(h, v);
  if (op == &ntk_op_mish)
    return v * (1 - 2 / (pow(1 + exp(v), 2) + 1));
  if (op == &ntk_op_softsign)
    return v < 0 ? v / (1 - v) : v / (1 + v);
  if (op == &ntk_op_hardsigmoid)
    return fmax(0, fmin(1, ntk_node_float(h->node, "alpha", 0.2) * v +
                               ntk_node_float(h->node, "beta", 0.5)));
  if (op == &ntk_op_hardswish)
    return v * fmax(0, fmin(1, v / 6 + 0.5));
  if (op == &ntk_op_thresholdedrelu)
    return v > ntk_node_float(h->node, "alpha", 1) ? v : 0;
  if (op == &ntk_op_shrink && fabs(v) > ntk_node_float(h->node, "lambd", 0.5))
    return copysign(fabs(v) - ntk_node_float(h->node, "bias", 0), v);
  return 0;
}

/* By exponentials, logarithms and half angles. */
static double trigonometric(const ntk_op *op, double v) {
  if (op == &ntk_op_sin)
    return 2 * sin(v / 2) * cos(v / 2);
  if (op == &ntk_op_cos)
    return 1 - 2 * pow(sin(v / 2), 2);
  if (op == &ntk_op_tan)
    return sin(v) / cos(v);
  if (op == &ntk_op_asin)
    return atan(v / sqrt(1 - v * v));
  if (op == &ntk_op_acos)
    return 2 * atan(sqrt((1 - v) / (1 + v)));
  if (op == &ntk_op_atan)
    return asin(v / sqrt(1 + v * v));
  if (op == &ntk_op_sinh)
    return (exp(v) - exp(-v)) / 2;
  if (op == &ntk_op_cosh)
    return (exp(v) + exp(-v)) / 2;
  if (op == &ntk_op_asinh)
    return log(v + sqrt(v * v + 1));
  if (op == &ntk_op_acosh)
    return log(v + sqrt(v * v - 1));
  return op == &ntk_op_atanh ? log((1 + v) / (1 - v)) / 2 : 0;
}

static double unary_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_op *op = h->node->op;
  const double v = x[0][e];
  if (op == &ntk_op_neg)
    return -v;
  if (op == &ntk_op_relu)
    return fmax(v, 0);
  if (op == &ntk_op_leakyrelu)
    return fmax(v, 0) + ntk_node_float(h->node, "alpha", 0.01) * fmin(v, 0);
  if (op == &ntk_op_sigmoid)
    return (1 + tanh(v / 2)) / 2;
  if (op == &ntk_op_tanh)
    return (exp(2 * v) - 1) / (exp(2 * v) + 1);
  if (op == &ntk_op_erf)
    return 1 - erfc(v);
  if (op == &ntk_op_softplus)
    return log(1 + exp(v));
  if (op == &ntk_op_elu)
    return v > 0 ? v : ntk_node_float(h->node, "alpha", 1) * (exp(v) - 1);
  if (op == &ntk_op_exp)
    return pow(2.718281828459045235, v);
  if (op == &ntk_op_log)
    return log10(v) * 2.302585092994045684;
  if (op == &ntk_op_sqrt)
    return pow(v, 0.5);
  if (op == &ntk_op_abs)
    return v < 0 ? -v : v;
  if (op == &ntk_op_reciprocal)
    return 1 / v;
  return activation(h, v) + trigonometric(op, v); /* one of the two is 0 */
}

static double clip_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const double low = h->operands > 1 && x[1] ? x[1][0] : -1e300;
  const double high = h->operands > 2 && x[2] ? x[2][0] : 1e300;
  return fmin(fmax(x[0][e], ntk_node_float(h->node, "min", low)),
              ntk_node_float(h->node, "max", high));
}

static double many_element(const ntk_op *op, int count, const double *v) {
  double sum = 0, least = v[0], most = v[0];
  for (int i = 0; i < count; i++) {
    sum += v[i];
    least = fmin(least, v[i]);
    most = fmax(most, v[i]);
  }
  if (op == &ntk_op_mean)
    return sum / count;
  return op == &ntk_op_sum ? sum : op == &ntk_op_min ? least : most;
}

static double binary_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_op *op = h->node->op;
  int64_t index[NTK_MAX_DIMS];
  double v[OPERANDS] = {0};
  index_of(y_shape(h), e, index);
  for (int i = 0; i < (op == &ntk_op_expand ? 1 : h->operands); i++) {
    const bool at_axis = i == 1 && h->node->opset < 7 && shape_of(h, 1)->dim[0] == 3;
    v[i] = at_axis && shape_of(h, 1)->ndim == 1
               ? x[i][index[1]] /* of a rule that was */
               : x[i][place_of(shape_of(h, i), index, y_shape(h)->ndim)];
  }
  if (op == &ntk_op_add)
    return v[0] + v[1];
  if (op == &ntk_op_sub)
    return v[0] - v[1];
  if (op == &ntk_op_mul)
    return v[0] * v[1];
  if (op == &ntk_op_div)
    return v[0] / v[1];
  if (op == &ntk_op_pow)
    return pow(v[0], v[1]);
  if (op == &ntk_op_mod)
    return v[0] - v[1] * (ntk_node_int(h->node, "fmod", 0) ? trunc(v[0] / v[1])
                                                           : floor(v[0] / v[1]));
  if (op == &ntk_op_prelu)
    return fmax(v[0], 0) + v[1] * fmin(v[0], 0);
  if (op->max_in == NTK_BROADCAST)
    return many_element(op, h->operands, v);
  if (op == &ntk_op_where)
    return v[0] != 0 ? v[1] : v[2];
  return v[0]; /* Expand */
}

static double softmax_element(const op_test *h, const double *const x[OPERANDS],
                              int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  const bool flat = h->node->opset < 13;
  const int axis = axis_of(h, ntk_node_int(h->node, "axis", flat ? 1 : -1), s->ndim);
  int64_t own[NTK_MAX_DIMS], index[NTK_MAX_DIMS];
  double sum = 0;
  index_of(s, e, own);
  for (int64_t k = 0; k < h->y_size; k++) {
    bool in_row = true;
    index_of(s, k, index);
    for (int d = 0; d < s->ndim; d++)
      if (d != axis && !(flat && d > axis))
        in_row = in_row && index[d] == own[d];
    sum += in_row ? exp(x[0][k] - x[0][e]) : 0;
  }
  return h->node->op == &ntk_op_softmax ? 1 / sum : -log(sum);
}

static double cumsum_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  const int axis = axis_of(h, number(h, "", 1, 0, 0), s->ndim);
  const bool reverse = ntk_node_int(h->node, "reverse", 0);
  int64_t index[NTK_MAX_DIMS];
  index_of(s, e, index);
  const int64_t own = index[axis];
  double sum = ntk_node_int(h->node, "exclusive", 0) ? -x[0][e] : 0;
  for (index[axis] = 0; index[axis] < s->dim[axis]; index[axis]++)
    if (reverse ? index[axis] >= own : index[axis] <= own)
      sum += x[0][place_of(s, index, s->ndim)];
  return sum;
}

static double normalized_element(const op_test *h, const double *const x[OPERANDS],
                                 int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  const int axis = axis_of(h, ntk_node_int(h->node, "axis", -1), s->ndim);
  const double p = (double)ntk_node_int(h->node, "p", 2);
  int64_t index[NTK_MAX_DIMS];
  double sum = 0;
  index_of(s, e, index);
  for (index[axis] = 0; index[axis] < s->dim[axis]; index[axis]++)
    sum += pow(fabs(x[0][place_of(s, index, s->ndim)]), p);
  return x[0][e] / pow(sum, 1 / p);
}

/* The one in front of which as many others stand. */
static double top_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  const int axis = axis_of(h, ntk_node_int(h->node, "axis", -1), s->ndim);
  const double sign = ntk_node_int(h->node, "largest", 1) ? 1 : -1;
  int64_t index[NTK_MAX_DIMS], other[NTK_MAX_DIMS];
  index_of(y_shape(h), e, index);
  const int64_t rank = index[axis];
  memcpy(other, index, sizeof other);
  for (index[axis] = 0; index[axis] < s->dim[axis]; index[axis]++) {
    const double mine = sign * x[0][place_of(s, index, s->ndim)];
    int64_t before = 0;
    for (other[axis] = 0; other[axis] < s->dim[axis]; other[axis]++) {
      const double v = sign * x[0][place_of(s, other, s->ndim)];
      before += v > mine || (v == mine && other[axis] < index[axis]);
    }
    if (before == rank)
      return sign * mine;
  }
  return 0;
}

static double reduce_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_op *op = h->node->op;
  const ntk_shape *s = shape_of(h, 0);
  bool reduced[NTK_MAX_DIMS] = {false};
  int64_t count = 0;
  double sum = 0, product = 1, length = 0, square = 0, exponentials = 0, v = 0;
  double most = -HUGE_VAL, least = HUGE_VAL;
  for (int64_t k = 0, axis; (axis = number(h, "axes", 1, k, ABSENT)) != ABSENT;
       k++, count++)
    reduced[axis_of(h, axis, s->ndim)] = true;
  for (int d = 0; d < s->ndim && count == 0; d++)
    reduced[d] = !ntk_node_int(h->node, "noop_with_empty_axes", 0);
  count = 0;
  for (int64_t k = 0; k < h->size[0]; k++) {
    int64_t index[NTK_MAX_DIMS], to = 0;
    index_of(s, k, index);
    for (int d = 0; d < s->ndim; d++)
      to = reduced[d] ? to : to * s->dim[d] + index[d];
    if (to != e)
      continue;
    v = x[0][k];
    count++;
    sum += v;
    product *= v;
    length += fabs(v);
    square += v * v;
    exponentials += exp(v - h->origin->shift[0]);
    most = fmax(most, v);
    least = fmin(least, v);
  }
  return op == &ntk_op_reducesum         ? sum
         : op == &ntk_op_reducemean      ? sum / (double)count
         : op == &ntk_op_reducemax       ? most
         : op == &ntk_op_reducemin       ? least
         : op == &ntk_op_reduceprod      ? product
         : op == &ntk_op_reducel1        ? length
         : op == &ntk_op_reducel2        ? pow(square, 0.5)
         : op == &ntk_op_reducesumsquare ? square
         : op == &ntk_op_reducelogsum    ? log(sum)
                                         : h->origin->shift[0] + log(exponentials);
}

static double transpose_element(const op_test *h, const double *const x[OPERANDS],
                                int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  int64_t index[NTK_MAX_DIMS], from[NTK_MAX_DIMS];
  index_of(y_shape(h), e, index);
  for (int d = 0; d < s->ndim; d++)
    from[number(h, "perm", 1, d, s->ndim - 1 - d)] = index[d];
  return x[0][place_of(s, from, s->ndim)];
}

/* Element k of the axis after x[start:end:step] of Python; -1: there is none. */
static int64_t walk(int64_t n, int64_t start, int64_t end, int64_t step, int64_t k) {
  start = start < 0 ? start + n : start;
  end = end < -n ? -1 : end < 0 ? end + n : end;
  if (start < 0)
    start = step > 0 ? 0 : -1;
  if (step < 0 && start >= n)
    start = n - 1;
  for (; k > 0 && start >= 0 && start < n; k--)
    start += step;
  return start >= 0 && start < n && (step > 0 ? start < end : start > end) ? start : -1;
}

static double slice_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  int64_t index[NTK_MAX_DIMS], start;
  index_of(y_shape(h), e, index);
  for (int64_t k = 0; (start = number(h, "starts", 1, k, ABSENT)) != ABSENT; k++) {
    const int d = axis_of(h, number(h, "axes", 3, k, k), s->ndim);
    const int64_t end = number(h, "ends", 2, k, ABSENT), step = number(h, "", 4, k, 1);
    index[d] = walk(s->dim[d], start, end, step, index[d]);
    assert_true(index[d] >= 0);
    assert_true(walk(s->dim[d], start, end, step, y_shape(h)->dim[d]) < 0);
  }
  return x[0][place_of(s, index, s->ndim)];
}

/* What the parts in front leave. */
static double split_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  const int axis = axis_of(h, ntk_node_int(h->node, "axis", 0), s->ndim);
  const double share = (double)s->dim[axis] / (double)ntk_node_int(h->node, "parts", 0);
  int64_t index[NTK_MAX_DIMS];
  index_of(y_shape(h), e, index);
  for (int64_t k = 0; k < ntk_node_int(h->node, "part", 0); k++)
    index[axis] += number(h, "split", 1, k, (int64_t)ceil(share));
  return x[0][place_of(s, index, s->ndim)];
}

/* By walking: one step back at each end, or a jump to the other. */
static int64_t padded_from(const char *mode, int64_t i, int64_t n) {
  if (strcmp(mode, "edge") == 0)
    return i < 0 ? 0 : i < n ? i : n - 1;
  while (i < 0 || i >= n) {
    if (strcmp(mode, "wrap") == 0)
      i += i < 0 ? n : -n;
    else
      i = n == 1 ? 0 : i < 0 ? -i : 2 * (n - 1) - i;
  }
  return i;
}

static double pad_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  const int64_t count = number(h, "", 3, 0, ABSENT) == ABSENT ? s->ndim : 1;
  const char *mode = ntk_node_string(h->node, "mode", "constant");
  int64_t index[NTK_MAX_DIMS];
  bool inside = true;
  index_of(y_shape(h), e, index);
  for (int64_t k = 0; k < count; k++) {
    const int d = axis_of(h, number(h, "", 3, k, k), s->ndim);
    index[d] -= number(h, "pads", 1, k, 0);
    assert_int_equal(y_shape(h)->dim[d], s->dim[d] + number(h, "pads", 1, k, 0) +
                                             number(h, "pads", 1, k + count, 0));
    if (strcmp(mode, "constant") != 0)
      index[d] = padded_from(mode, index[d], s->dim[d]);
    inside = inside && index[d] >= 0 && index[d] < s->dim[d];
  }
  const double fill = h->operands > 2 && x[2] ? x[2][0] : 0;
  return inside ? x[0][place_of(s, index, s->ndim)]
                : ntk_node_float(h->node, "value", fill);
}

static double gather_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = shape_of(h, 0), *i = shape_of(h, 1);
  const int axis = axis_of(h, ntk_node_int(h->node, "axis", 0), s->ndim);
  int64_t index[NTK_MAX_DIMS], from[NTK_MAX_DIMS], k = 0;
  index_of(y_shape(h), e, index);
  for (int d = 0; d < i->ndim; d++)
    k = k * i->dim[d] + index[axis + d];
  for (int d = 0; d < s->ndim; d++)
    from[d] = index[d <= axis ? d : d + i->ndim - 1];
  from[axis] = axis_of(h, (int64_t)x[1][k], (int)s->dim[axis]);
  return x[0][place_of(s, from, s->ndim)];
}

static double concat_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const int axis = axis_of(h, ntk_node_int(h->node, "axis", 0), y_shape(h)->ndim);
  int64_t index[NTK_MAX_DIMS];
  int i = 0;
  index_of(y_shape(h), e, index);
  for (; index[axis] >= shape_of(h, i)->dim[axis]; i++)
    index[axis] -= shape_of(h, i)->dim[axis];
  return x[i][place_of(shape_of(h, i), index, y_shape(h)->ndim)];
}

static bool is_indexing(const ntk_op *op) {
  static const ntk_op *const list[] = {
      &ntk_op_gatherelements,  &ntk_op_gathernd,     &ntk_op_scatterelements,
      &ntk_op_scatter,         &ntk_op_scatternd,    &ntk_op_reversesequence,
      &ntk_op_lookup_elements, &ntk_op_depthtospace, &ntk_op_spacetodepth};
  for (size_t i = 0; i < sizeof list / sizeof *list; i++)
    if (op == list[i])
      return true;
  return false;
}

static double element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_op *op = h->node->op;
  if (op == &ntk_op_clip)
    return clip_element(h, x, e);
  if (op->kernels[NTK_F64] == &ntk_unary_kernels_f64)
    return op->flags & NTK_OP_MOVE ? x[0][e] : unary_element(h, x, e);
  if (op == &ntk_op_cumsum)
    return cumsum_element(h, x, e);
  if (op == &ntk_op_lpnormalization)
    return normalized_element(h, x, e);
  if (op == &ntk_op_topk)
    return top_element(h, x, e);
  if (op->kernels[NTK_F64] == &ntk_rows_kernels_f64)
    return softmax_element(h, x, e);
  if (op->kernels[NTK_F64] == &ntk_reduce_kernels_f64 ||
      op->kernels[NTK_F64] == &ntk_fold_kernels_f64)
    return reduce_element(h, x, e);
  if (op == &ntk_op_transpose)
    return transpose_element(h, x, e);
  if (op == &ntk_op_slice)
    return slice_element(h, x, e);
  if (op == &ntk_op_split)
    return split_element(h, x, e);
  if (op == &ntk_op_pad)
    return pad_element(h, x, e);
  if (op == &ntk_op_gather || op == &ntk_op_lookup)
    return gather_element(h, x, e);
  if (op == &ntk_op_tile)
    return tile_element(h, x, e);
  if (op == &ntk_op_trilu)
    return trilu_element(h, x, e);
  if (op == &ntk_op_compress)
    return compress_element(h, x, e);
  if (is_indexing(op))
    return index_element(h, x, e);
  return op == &ntk_op_concat ? concat_element(h, x, e) : binary_element(h, x, e);
}

/* Large cases at some elements only: the definitions are slow. */
static void check_elements(const op_test *h, unsigned shared) {
  ntk_array in[OPERANDS], y = block_make(SAMPLES, 0, h->y_size, shared, 1).a;
  operands_make(h, SAMPLES, shared, shared, in);
  op_forward(h, SAMPLES, in, y);
  for (int64_t n = 0; n < SAMPLES; n++) {
    const double *x[OPERANDS];
    for (int k = 0; k < h->operands; k++)
      x[k] = in[k].data ? at(in[k], n, 0) : NULL;
    for (int64_t e = 0; e<h->y_size; e += h->y_size> 2000 ? 97 : 1)
      near(at(y, n, 0)[e], element(h, x, e), 1e-14);
  }
  arrays_free(h->operands, in);
  free(y.data);
}

static void light_forward_is_the_definition(void **state) {
  (void)state;
  for (int i = 0; i < CASES; i++)
    for (unsigned shared = 0; shared < 4; shared++) {
      op_test h = op_make(&cases[i]);
      check_elements(&h, shared);
      op_free(&h);
    }
}

/* ---- kinks, ties, extremes ---- */

static void kinks_have_torch_s_slopes(void **state) {
  (void)state;
  static const struct {
    op_case c;
    double x, slope;
  } rows[] = {
      {{&ntk_op_relu, "", {S(1)}, 1}, 0, 0},
      {{&ntk_op_leakyrelu, "alpha=0.25", {S(1)}, 1}, 0, 0.25},
      {{&ntk_op_abs, "", {S(1)}, 1}, 0, 0},
      {{&ntk_op_elu, "alpha=1.5", {S(1)}, 1}, 0, 1.5},
      {{&ntk_op_celu, "alpha=1.5", {S(1)}, 1}, 0, 1},
      {{&ntk_op_selu, "alpha=1.5 gamma=0.5", {S(1)}, 1}, 0, 0.75},
      {{&ntk_op_softsign, "", {S(1)}, 1}, 0, 1},
      {{&ntk_op_hardsigmoid, "alpha=0.25", {S(1)}, 1}, -2, 0},
      {{&ntk_op_hardsigmoid, "alpha=0.25", {S(1)}, 1}, 2, 0},
      {{&ntk_op_hardswish, "", {S(1)}, 1}, -3, -0.5},
      {{&ntk_op_hardswish, "", {S(1)}, 1}, 3, 1.5},
      {{&ntk_op_thresholdedrelu, "", {S(1)}, 1}, 1, 0},
      {{&ntk_op_shrink, "", {S(1)}, 1}, 0.5, 0},
      {{&ntk_op_shrink, "", {S(1)}, 1}, -0.5, 0},
      {{&ntk_op_clip, "", {S(1), S(1), S(1)}, 3, {[1] = "0.", [2] = "6."}}, 0, 0},
      {{&ntk_op_clip, "", {S(1), S(1), S(1)}, 3, {[1] = "0.", [2] = "6."}}, 6, 0},
      {{&ntk_op_clip, "", {S(1), S(1), S(1)}, 3, {[1] = "0.", [2] = "6."}}, 3, 1},
      {{&ntk_op_pow, "", {S(1), S(1)}, 2, {[1] = "2."}}, 0, 0},
      {{&ntk_op_pow, "", {S(1), S(1)}, 2, {[1] = "1."}}, 0, 1},
      {{&ntk_op_pow, "", {S(1), S(1)}, 2, {[1] = "0."}}, 0, 0},
      {{&ntk_op_prelu, "", {S(1), S(1)}, 2, {[1] = "0.75"}}, 0, 0.75},
      {{&ntk_op_min, "", {S(1), S(1)}, 2, {[1] = "0.75"}}, 0.75, 0.5},
      {{&ntk_op_max, "", {S(1), S(1), S(1)}, 3, {[1] = "0.75", [2] = "0.75"}},
       0.75,
       1.0 / 3},
      {{&ntk_op_max, "", {S(1), S(1), S(1)}, 3, {[1] = "0.75", [2] = "0.5"}}, 0.75, 0.5},
      {{&ntk_op_min, "", {S(1), S(1), S(1)}, 3, {[1] = "0.75", [2] = "0.5"}}, 0.75, 0},
      {{&ntk_op_max, "", {S(1), S(1)}, 2, {[1] = "0.75"}}, 0.75, 0.5},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    double x = rows[i].x, y, one = 1, dx, dy;
    op_test h = op_make(&rows[i].c);
    ntk_array in[OPERANDS] = {{&x, 1, 0}}, tangent[OPERANDS] = {{&one, 1, 1}};
    for (int k = 1; k < h.operands; k++)
      in[k] = op_held(&h, k);
    op_forward(&h, 1, in, (ntk_array){&y, 1, 0});
    op_vjp(&h, 0, 1, 1, in, (ntk_array){&y, 1, 0}, (ntk_array){&one, 1, 1},
           (ntk_array){&dx, 1, 1}, false);
    op_jvp(&h, 1, 1, in, (ntk_array){&y, 1, 0}, tangent, (ntk_array){&dy, 1, 1});
    near(dx, rows[i].slope, 0);
    near(dy, rows[i].slope, 0);
    arrays_free(h.operands - 1, in + 1);
    op_free(&h);
  }
}

/* Both operands of a tie get their half. */
static void ties_share_equally(void **state) {
  (void)state;
  static const op_case rows[] = {{&ntk_op_max, "", {S(3), S(3)}, 2},
                                 {&ntk_op_min, "", {S(3), S(3)}, 2}};
  double a[3] = {1, 2, -3}, b[3] = {1, -2, -3}, y[3], dy[3] = {1, 2, 4}, dx[3];
  for (int i = 0; i < 2; i++) {
    op_test h = op_make(&rows[i]);
    const ntk_array in[OPERANDS] = {{a, 3, 0}, {b, 3, 0}};
    op_forward(&h, 1, in, (ntk_array){y, 3, 0});
    for (int operand = 0; operand < 2; operand++) {
      op_vjp(&h, operand, 1, 1, in, (ntk_array){y, 3, 0}, (ntk_array){dy, 3, 3},
             (ntk_array){dx, 3, 3}, false);
      near(dx[0], 0.5, 0);
      near(dx[1], operand == i ? 2 : 0, 0);
      near(dx[2], 2, 0);
    }
    op_free(&h);
  }
}

/* Reductions at their kinks: the slopes of all elements. */
static void kinks_of_reductions(void **state) {
  (void)state;
  enum { L = 4 };
  static const struct {
    op_case c;
    double x[L], y, slope[L];
  } rows[] = {
      {{&ntk_op_reducemax, "", {S(L)}, 1}, {1, 3, 3, 2}, 3, {0, 0.5, 0.5, 0}},
      {{&ntk_op_reducemin, "", {S(L)}, 1}, {2, 2, 3, 2}, 2, {1.0 / 3, 1.0 / 3, 0, 1.0 / 3}},
      {{&ntk_op_reduceprod, "", {S(L)}, 1}, {2, 0, 3, 4}, 0, {0, 24, 0, 0}},
      {{&ntk_op_reduceprod, "", {S(L)}, 1}, {2, 0, 0, 4}, 0, {0, 0, 0, 0}},
      {{&ntk_op_reducel1, "", {S(L)}, 1}, {2, 0, -3, 4}, 9, {1, 0, -1, 1}},
      {{&ntk_op_reducel2, "", {S(L)}, 1}, {0, 0, 0, 0}, 0, {0, 0, 0, 0}},
      {{&ntk_op_reducelogsumexp, "", {S(L)}, 1},
       {0, -INFINITY, 0, -INFINITY},
       0.69314718055994529,
       {0.5, 0, 0.5, 0}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    double x[L], y, one = 1, dx[L], unit[L * L] = {0}, dy[L];
    op_test h = op_make(&rows[i].c);
    memcpy(x, rows[i].x, sizeof x);
    for (int k = 0; k < L; k++)
      unit[k * L + k] = 1;
    const ntk_array in = {x, L, 0}, out = {&y, 1, 0}, tangent = {unit, L, L};
    op_forward(&h, 1, &in, out);
    near(y, rows[i].y, 0);
    op_vjp(&h, 0, 1, 1, &in, out, (ntk_array){&one, 1, 1}, (ntk_array){dx, L, L}, false);
    op_jvp(&h, L, 1, &in, out, &tangent, (ntk_array){dy, 1, 1});
    for (int k = 0; k < L; k++) {
      near(dx[k], rows[i].slope[k], 1e-15);
      near(dy[k], rows[i].slope[k], 1e-15);
    }
    op_free(&h);
  }
}

/* The value of an operator at one number, or at two, in f32 and f64. */
static double value_at(const op_case *c, ntk_dtype dtype, double a, double b) {
  double x[2] = {a, b}, y;
  float x32[2] = {(float)a, (float)b}, y32;
  op_test h = op_make(c);
  const ntk_array wide[2] = {{x, 1, 0}, {x + 1, 1, 0}}, out = {&y, 1, 0};
  const ntk_array narrow[2] = {{x32, 1, 0}, {x32 + 1, 1, 0}}, out32 = {&y32, 1, 0};
  void *work = work_make(&h, 1, 1);
  if (dtype == NTK_F64)
    c->op->kernels[dtype]->forward(h.node, 1, wide, &out, work);
  else
    c->op->kernels[dtype]->forward(h.node, 1, narrow, &out32, work);
  free(work);
  op_free(&h);
  return dtype == NTK_F64 ? y : (double)y32;
}

/* A number that is not one must reach the outputs, where it is reported. */
static void nan_is_never_swallowed(void **state) {
  (void)state;
  static const ntk_op *const unary[] = {&ntk_op_neg,
                                        &ntk_op_relu,
                                        &ntk_op_leakyrelu,
                                        &ntk_op_sigmoid,
                                        &ntk_op_tanh,
                                        &ntk_op_erf,
                                        &ntk_op_abs,
                                        &ntk_op_softplus,
                                        &ntk_op_elu,
                                        &ntk_op_exp,
                                        &ntk_op_log,
                                        &ntk_op_sqrt,
                                        &ntk_op_clip,
                                        &ntk_op_floor,
                                        &ntk_op_reciprocal,
                                        &ntk_op_celu,
                                        &ntk_op_selu,
                                        &ntk_op_gelu,
                                        &ntk_op_mish,
                                        &ntk_op_softsign,
                                        &ntk_op_hardsigmoid,
                                        &ntk_op_hardswish,
                                        &ntk_op_thresholdedrelu,
                                        &ntk_op_shrink,
                                        &ntk_op_sin,
                                        &ntk_op_cos,
                                        &ntk_op_tan,
                                        &ntk_op_asin,
                                        &ntk_op_acos,
                                        &ntk_op_atan,
                                        &ntk_op_sinh,
                                        &ntk_op_cosh,
                                        &ntk_op_asinh,
                                        &ntk_op_acosh,
                                        &ntk_op_atanh,
                                        &ntk_op_sign,
                                        &ntk_op_ceil,
                                        &ntk_op_round,
                                        &ntk_op_cast,
                                        &ntk_op_softmax,
                                        &ntk_op_lpnormalization};
  static const ntk_op *const binary[] = {&ntk_op_add, &ntk_op_sub, &ntk_op_mul,
                                         &ntk_op_div, &ntk_op_min, &ntk_op_max,
                                         &ntk_op_sum, &ntk_op_mean};
  for (int dtype = NTK_F32; dtype <= NTK_F64; dtype++) {
    for (size_t i = 0; i < sizeof unary / sizeof *unary; i++) {
      const op_case c = {unary[i], "to=1 min=-1.0 max=1.0", {S(1)}, 1};
      if (!isnan(value_at(&c, (ntk_dtype)dtype, NAN, 0)))
        fail_msg("%s swallows a NaN", unary[i]->name);
    }
    for (size_t i = 0; i < sizeof binary / sizeof *binary; i++) {
      const op_case c = {binary[i], "", {S(1), S(1)}, 2};
      if (!isnan(value_at(&c, (ntk_dtype)dtype, NAN, 1)) ||
          !isnan(value_at(&c, (ntk_dtype)dtype, 1, NAN)))
        fail_msg("%s swallows a NaN", binary[i]->name);
    }
    const op_case prelu = {&ntk_op_prelu, "", {S(1), S(1)}, 2};
    assert_true(isnan(value_at(&prelu, (ntk_dtype)dtype, NAN, 0.5)));
  }
}

static void extremes_do_not_overflow(void **state) {
  (void)state;
  static const struct {
    op_case c;
    double x, y;
  } rows[] = {
      {{&ntk_op_sigmoid, "", {S(1)}, 1}, -1000, 0},
      {{&ntk_op_sigmoid, "", {S(1)}, 1}, 1000, 1},
      {{&ntk_op_softplus, "", {S(1)}, 1}, -1000, 0},
      {{&ntk_op_softplus, "", {S(1)}, 1}, 1000, 1000},
      {{&ntk_op_tanh, "", {S(1)}, 1}, 1000, 1},
      {{&ntk_op_elu, "", {S(1)}, 1}, -1000, -1},
      {{&ntk_op_elu, "", {S(1)}, 1}, 1000, 1000},
      {{&ntk_op_selu, "alpha=1.5 gamma=2.0", {S(1)}, 1}, -1000, -3},
      {{&ntk_op_celu, "alpha=2.0", {S(1)}, 1}, -1000, -2},
      {{&ntk_op_mish, "", {S(1)}, 1}, 1000, 1000},
      {{&ntk_op_mish, "", {S(1)}, 1}, -1000, 0},
      {{&ntk_op_gelu, "", {S(1)}, 1}, 1000, 1000},
      {{&ntk_op_gelu, "", {S(1)}, 1}, -1000, 0},
      {{&ntk_op_gelu, "approximate=tanh", {S(1)}, 1}, 1000, 1000},
      {{&ntk_op_gelu, "approximate=tanh", {S(1)}, 1}, -1000, 0},
      {{&ntk_op_softmax, "", {S(1)}, 1}, 1000, 1},
      {{&ntk_op_logsoftmax, "", {S(1)}, 1}, -1000, 0},
      {{&ntk_op_clip, "min=2.0 max=1.0", {S(1)}, 1}, 0, 1}, /* the upper bound is last */
      {{&ntk_op_clip, "min=2.0 max=1.0", {S(1)}, 1}, 3, 1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (int dtype = NTK_F32; dtype <= NTK_F64; dtype++)
      near(value_at(&rows[i].c, (ntk_dtype)dtype, rows[i].x, 0), rows[i].y, 0);
}

/* Sums of many numbers of one sign in f32: along the last axis, the first one, and back
 * through a broadcast. */
static void long_sums_stay_accurate(void **state) {
  (void)state;
  enum { LONG = 200000 };
  static const op_case rows[] = {{&ntk_op_reducesum, "axes=1,", {S(2, LONG)}, 1},
                                 {&ntk_op_reducesum, "axes=0,", {S(LONG, 2)}, 1},
                                 {&ntk_op_add, "", {S(2, LONG), S(2, 1)}, 2},
                                 {&ntk_op_add, "", {S(LONG, 2), S(2)}, 2}};
  const op_block b = block_make(0, 0, 2 * LONG, 0, 7);
  float *x = malloc(2 * LONG * sizeof *x), y[2];
  assert_non_null(x);
  for (int i = 0; i < 4; i++) {
    double sum[2] = {0};
    op_test h = op_make(&rows[i]);
    for (int64_t e = 0; e < 2 * LONG; e++) {
      x[e] = (float)(((double *)b.a.data)[e] + 1.5);
      sum[i % 2 ? e % 2 : e / LONG] += (double)x[e];
    }
    const ntk_array from = {x, 2 * LONG, 2 * LONG}, to = {y, 2, 2}, none[2] = {{0}};
    const ntk_kernels *f32 = rows[i].op->kernels[NTK_F32];
    if (i < 2)
      f32->forward(h.node, 1, &from, &to, NULL);
    else
      f32->vjp(h.node, 1, 1, 1, none, none, from, to, false, NULL);
    for (int k = 0; k < 2; k++)
      assert_true(fabs((double)y[k] / sum[k] - 1) < (i % 2 ? 3e-5 : 1e-6));
    op_free(&h);
  }
  free(b.a.data);
  free(x);
}

/* Rows of zeros are not divided. */
static void zeros_are_normal(void **state) {
  (void)state;
  static const op_case rows[] = {{&ntk_op_lpnormalization, "p=1", {S(2)}, 1},
                                 {&ntk_op_lpnormalization, "p=2", {S(2)}, 1}};
  for (int i = 0; i < 2; i++) {
    double x[2] = {0, 0}, y[2] = {1, 1}, dy[2] = {1, 2}, dx[2] = {1, 1};
    op_test h = op_make(&rows[i]);
    const ntk_array in = {x, 2, 0}, out = {y, 2, 0};
    op_forward(&h, 1, &in, out);
    op_vjp(&h, 0, 1, 1, &in, out, (ntk_array){dy, 2, 2}, (ntk_array){dx, 2, 2}, false);
    for (int k = 0; k < 2; k++) {
      near(y[k], 0, 0);
      near(dx[k], 0, 0);
    }
    op_free(&h);
  }
}

/* A masked place, -inf, has probability 0 and gives no NaN. */
static void softmax_takes_masks(void **state) {
  (void)state;
  const op_case c = {&ntk_op_softmax, "", {S(3)}, 1};
  double x[3] = {0, -INFINITY, 0}, y[3], dy[3] = {1, 2, 4}, dx[3];
  op_test h = op_make(&c);
  const ntk_array in = {x, 3, 0}, out = {y, 3, 0};
  op_forward(&h, 1, &in, out);
  op_vjp(&h, 0, 1, 1, &in, out, (ntk_array){dy, 3, 3}, (ntk_array){dx, 3, 3}, false);
  for (int i = 0; i < 3; i++) {
    near(y[i], i == 1 ? 0 : 0.5, 0);
    near(dx[i], i == 1 ? 0 : i == 0 ? -0.75 : 0.75, 1e-15);
  }
  op_free(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(light_forward_is_the_definition),
      cmocka_unit_test(kinks_have_torch_s_slopes),
      cmocka_unit_test(ties_share_equally),
      cmocka_unit_test(kinks_of_reductions),
      cmocka_unit_test(nan_is_never_swallowed),
      cmocka_unit_test(extremes_do_not_overflow),
      cmocka_unit_test(long_sums_stay_accurate),
      cmocka_unit_test(zeros_are_normal),
      cmocka_unit_test(softmax_takes_masks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

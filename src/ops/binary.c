/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"
#include "ops/light.h"

/* Functions of two numbers, with NumPy's broadcasting inside a sample. */

static bool same_size(const ntk_graph *graph, const ntk_node *node, int operand) {
  const ntk_value *x = ntk_operand(graph, node, operand);
  return x && ntk_shape_size(&x->shape) == ntk_graph_size(graph, node->outputs[0]);
}

static bool passes_sum(const ntk_graph *graph, const ntk_node *node, int operand,
                       double *s) {
  const ntk_broadcast *b = node->detail;
  *s = operand == 1 && b->function == NTK_BINARY_SUB ? -1 : 1;
  return same_size(graph, node, operand);
}

/* Mul by, Div by a constant number; a parameter may be given other values later. */
static bool passes_scalar(const ntk_graph *graph, const ntk_node *node, int operand,
                          double *s) {
  const ntk_broadcast *b = node->detail;
  const ntk_value *other = ntk_operand(graph, node, 1 - operand);
  if (other->role != NTK_CONSTANT || !other->constant ||
      ntk_shape_size(&other->shape) != 1 || !same_size(graph, node, operand))
    return false;
  const double number = ntk_tensor_real(other->constant, 0);
  *s = b->function == NTK_BINARY_MUL ? number : 1 / number;
  return b->function == NTK_BINARY_MUL || operand == 0;
}

/* A parameter that is broadcast: a bias. Its channels lie between the positions T1 outside
 * and T2 inside of them; other patterns have no such factors. */
static bool use_bias(const ntk_graph *graph, const ntk_node *node, int operand,
                     ntk_use *use) {
  const ntk_broadcast *b = node->detail;
  const int64_t *stride = b->stride[operand];
  int first = 0, last = b->ndim;
  (void)graph;
  while (first < b->ndim && stride[first] == 0)
    first++;
  while (last > first && stride[last - 1] == 0)
    last--;
  *use = (ntk_use){.G = 1, .T1 = 1, .T2 = 1, .K = 1, .C = 1, .x_operand = -1, .scale = 1};
  for (int d = 0; d < b->ndim; d++) {
    if (d < first)
      use->T1 *= b->extent[d];
    else if (d >= last)
      use->T2 *= b->extent[d];
    else
      use->C *= b->extent[d];
  }
  /* inside, the operand must be contiguous */
  int64_t expected = 1;
  for (int d = last - 1; d >= first; d--) {
    if (stride[d] != expected)
      return false;
    expected *= b->extent[d];
  }
  if (b->function == NTK_BINARY_SUB && operand == 1)
    use->scale = -1;
  use->dt2 = 1;
  use->dc = use->T2;
  use->dt1 = use->C * use->T2;
  use->wc = 1;
  return true;
}

#define BINARY_ROW(row, onnx, since, function, flags_, ...)                                \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    const ntk_value *x = ntk_operand(graph, node, 0);                                      \
    return ntk_broadcast_infer(graph, node, 2, function, x ? x->dtype : NTK_F32);          \
  }                                                                                        \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = since,                                                                      \
      .last = 22,                                                                          \
      .min_in = 2,                                                                         \
      .max_in = 2,                                                                         \
      .max_out = 1,                                                                        \
      .flags = flags_,                                                                     \
      .infer = infer_##row,                                                                \
      .kernels = {&ntk_binary_kernels_f32, &ntk_binary_kernels_f64},                       \
      __VA_ARGS__};

BINARY_ROW(add, "Add", 7, NTK_BINARY_ADD, NTK_OP_ADDITIVE, .passes = passes_sum,
           .use = use_bias)
BINARY_ROW(sub, "Sub", 7, NTK_BINARY_SUB, NTK_OP_ADDITIVE, .passes = passes_sum,
           .use = use_bias)
BINARY_ROW(mul, "Mul", 7, NTK_BINARY_MUL, NTK_OP_MULTILINEAR, .passes = passes_scalar)
BINARY_ROW(div, "Div", 7, NTK_BINARY_DIV, 0, .passes = passes_scalar)
BINARY_ROW(pow, "Pow", 7, NTK_BINARY_POW, 0, .not_parameter = 0)
BINARY_ROW(min, "Min", 8, NTK_BINARY_MIN, 0, .not_parameter = 0)
BINARY_ROW(max, "Max", 8, NTK_BINARY_MAX, 0, .not_parameter = 0)

static ntk_status infer_equal(ntk_graph *graph, ntk_node *node) {
  return ntk_broadcast_infer(graph, node, 2, NTK_BINARY_EQUAL, NTK_BOOL);
}
const ntk_op ntk_op_equal = {.name = "Equal",
                             .first = 7,
                             .last = 22,
                             .min_in = 2,
                             .max_in = 2,
                             .max_out = 1,
                             .flags = NTK_OP_DISCRETE,
                             .infer = infer_equal,
                             .kernels = {&ntk_binary_kernels_f32, &ntk_binary_kernels_f64}};

static ntk_status infer_where(ntk_graph *graph, ntk_node *node) {
  const ntk_value *condition = ntk_operand(graph, node, 0),
                  *x = ntk_operand(graph, node, 1);
  if (!condition || !x)
    return ntk_require_operands(graph, node, 3);
  if (condition->role != NTK_CONSTANT)
    return ntk_fail(NTK_ERR_UNSUPPORTED,
                    "a condition that depends on data is not supported");
  return ntk_broadcast_infer(graph, node, 3, 0, x->dtype);
}
const ntk_op ntk_op_where = {.name = "Where",
                             .first = 9,
                             .last = 22,
                             .min_in = 3,
                             .max_in = 3,
                             .max_out = 1,
                             .flags = NTK_OP_ADDITIVE,
                             .infer = infer_where,
                             .kernels = {&ntk_where_kernels_f32, &ntk_where_kernels_f64}};

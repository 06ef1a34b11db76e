/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"
#include "ops/light.h"

/* Functions of two numbers and of many, with NumPy's broadcasting inside a sample. */

static bool same_size(const ntk_graph *graph, const ntk_node *node, int operand) {
  const ntk_value *x = ntk_operand(graph, node, operand);
  return x && ntk_shape_size(&x->shape) == ntk_graph_size(graph, node->outputs[0]);
}

/* The factor in front of an operand of a sum. */
static double factor(const ntk_broadcast *b, int operand) {
  if (b->function == NTK_BROADCAST_MEAN)
    return 1 / (double)b->operands;
  return b->function == NTK_BINARY_SUB && operand == 1 ? -1 : 1;
}

static bool passes_sum(const ntk_graph *graph, const ntk_node *node, int operand,
                       double *s) {
  *s = factor(node->detail, operand);
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
  const int64_t *stride = b->operand[operand].stride;
  int first = 0, last = b->ndim;
  (void)graph;
  while (first < b->ndim && stride[first] == 0)
    first++;
  while (last > first && stride[last - 1] == 0)
    last--;
  *use = (ntk_use){.G = 1, .T1 = 1, .T2 = 1, .K = 1, .C = 1, .x_operand = -1};
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
  use->scale = factor(b, operand);
  use->dt2 = 1;
  use->dc = use->T2;
  use->dt1 = use->C * use->T2;
  use->wc = 1;
  return true;
}

#define BROADCAST_ROW(row, onnx, since, least, most, flags_, ...)                          \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = since,                                                                      \
      .last = 22,                                                                          \
      .min_in = least,                                                                     \
      .max_in = most,                                                                      \
      .max_out = 1,                                                                        \
      .flags = flags_,                                                                     \
      .infer = infer_##row,                                                                \
      .kernels = {&ntk_binary_kernels_f32, &ntk_binary_kernels_f64},                       \
      __VA_ARGS__};

/* ---- numbers --------------------------------------------------------------------------
 */

#define NUMBERS_ROW(row, onnx, since, least, most, function, flags_, ...)                  \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    const ntk_value *x = ntk_operand(graph, node, 0);                                      \
    return ntk_broadcast_infer(graph, node, function, x ? x->dtype : NTK_F32);             \
  }                                                                                        \
  BROADCAST_ROW(row, onnx, since, least, most, flags_, __VA_ARGS__)
#define BINARY_ROW(row, onnx, function, flags_, ...)                                       \
  NUMBERS_ROW(row, onnx, 1, 2, 2, function, flags_, __VA_ARGS__)
#define MANY_ROW(row, onnx, function, flags_, ...)                                         \
  NUMBERS_ROW(row, onnx, 1, 1, NTK_BROADCAST, function, flags_, __VA_ARGS__)

BINARY_ROW(add, "Add", NTK_BINARY_ADD, NTK_OP_ADDITIVE, .passes = passes_sum,
           .use = use_bias)
BINARY_ROW(sub, "Sub", NTK_BINARY_SUB, NTK_OP_ADDITIVE, .passes = passes_sum,
           .use = use_bias)
BINARY_ROW(mul, "Mul", NTK_BINARY_MUL, NTK_OP_MULTILINEAR, .passes = passes_scalar)
/* Integers are cut off where they are folded, and nowhere else. */
static ntk_status infer_div(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  const ntk_value *a = ntk_operand(graph, node, 0), *b = ntk_operand(graph, node, 1);
  NTK_REQUIRE(ntk_dtype_is_real(a->dtype) || (a->constant && b->constant),
              NTK_ERR_UNSUPPORTED, "a division of integers that depend on data");
  NTK_TRY(ntk_broadcast_infer(graph, node, NTK_BINARY_DIV, a->dtype));
done:
  return status;
}
BROADCAST_ROW(div, "Div", 1, 2, 2, 0, .passes = passes_scalar)
BINARY_ROW(pow, "Pow", NTK_BINARY_POW, 0, .not_parameter = 0)
MANY_ROW(sum, "Sum", NTK_BROADCAST_SUM, NTK_OP_ADDITIVE, .passes = passes_sum,
         .use = use_bias)
MANY_ROW(mean, "Mean", NTK_BROADCAST_MEAN, NTK_OP_ADDITIVE, .passes = passes_sum,
         .use = use_bias)
MANY_ROW(min, "Min", NTK_BROADCAST_MIN, 0, .not_parameter = 0)
MANY_ROW(max, "Max", NTK_BROADCAST_MAX, 0, .not_parameter = 0)

static ntk_status infer_mod(ntk_graph *graph, ntk_node *node) {
  const ntk_value *x = ntk_operand(graph, node, 0);
  const bool truncated = ntk_node_int(node, "fmod", 0) != 0;
  if (x && ntk_dtype_is_real(x->dtype) && !truncated && node->opset < 28)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "real numbers need fmod = 1");
  return ntk_broadcast_infer(graph, node, truncated ? NTK_BINARY_FMOD : NTK_BINARY_MOD,
                             x ? x->dtype : NTK_F32);
}
BROADCAST_ROW(mod, "Mod", 10, 2, 2, 0, .not_parameter = 0)

static ntk_status infer_prelu(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  char x[NTK_SHAPE_TEXT], slope[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_require_operands(graph, node, 2));
  NTK_TRY(ntk_broadcast_infer(graph, node, NTK_BINARY_PRELU,
                              ntk_operand(graph, node, 0)->dtype));
  NTK_REQUIRE(ntk_shape_equal(&ntk_operand(graph, node, 0)->shape,
                              &graph->values[node->outputs[0]].shape),
              NTK_ERR_SHAPE, "slopes %s for data %s",
              ntk_shape_text(&ntk_operand(graph, node, 1)->shape, slope),
              ntk_shape_text(&ntk_operand(graph, node, 0)->shape, x));
done:
  return status;
}
BROADCAST_ROW(prelu, "PRelu", 1, 2, 2, 0, .parameter_slot = 1u << 1)

/* ---- questions ------------------------------------------------------------------------
 */

#define QUESTION_ROW(row, onnx, since, function)                                           \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    return ntk_broadcast_infer(graph, node, function, NTK_BOOL);                           \
  }                                                                                        \
  BROADCAST_ROW(row, onnx, since, 2, 2, NTK_OP_DISCRETE, .not_parameter = 1u << 0 | 1u << 1)
QUESTION_ROW(equal, "Equal", 1, NTK_BINARY_EQUAL)
QUESTION_ROW(greater, "Greater", 1, NTK_BINARY_GREATER)
QUESTION_ROW(less, "Less", 1, NTK_BINARY_LESS)
QUESTION_ROW(greaterorequal, "GreaterOrEqual", 12, NTK_BINARY_GREATEROREQUAL)
QUESTION_ROW(lessorequal, "LessOrEqual", 12, NTK_BINARY_LESSOREQUAL)
QUESTION_ROW(and, "And", 1, NTK_BINARY_AND)
QUESTION_ROW(or, "Or", 1, NTK_BINARY_OR)
QUESTION_ROW(xor, "Xor", 1, NTK_BINARY_XOR)

/* Linear in what is chosen from; the condition has no derivative. */
static ntk_status infer_where(ntk_graph *graph, ntk_node *node) {
  const ntk_value *x = ntk_operand(graph, node, 1);
  return ntk_broadcast_infer(graph, node, NTK_BROADCAST_WHERE, x ? x->dtype : NTK_F32);
}
BROADCAST_ROW(where, "Where", 9, 3, 3, NTK_OP_MULTILINEAR, .not_parameter = 0)

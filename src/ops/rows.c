/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/status.h"
#include "ops/light.h"

/* Functions of rows along one axis, or along all from one on. */

/* Detail and output for rows along `axis`; *detail belongs to the node. */
static ntk_status infer_rows(ntk_graph *graph, ntk_node *node, ntk_row_function function,
                             int64_t axis, bool flat, ntk_rows **detail) {
  ntk_status status = NTK_SUCCESS;
  ntk_rows *s;
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_value *x = ntk_operand(graph, node, 0);
  NTK_TRY(ntk_new_detail(node, sizeof *s, &s));
  *s = (ntk_rows){.function = function, .outer = 1, .length = 1, .inner = 1};
  NTK_TRY(ntk_normalize_axis(axis, x->shape.ndim, &s->first));
  s->end = flat ? x->shape.ndim : s->first + 1;
  for (int d = 0; d < x->shape.ndim; d++)
    *(d < s->first ? &s->outer : d < s->end ? &s->length : &s->inner) *= x->shape.dim[d];
  ntk_set_output(graph, node, x->dtype, &x->shape);
  *detail = s;
done:
  return status;
}

static bool keeps_batch(const ntk_graph *graph, const ntk_node *node,
                        const int *operand_axis, int output_axis) {
  const ntk_rows *s = node->detail;
  (void)graph;
  return operand_axis[0] == output_axis &&
         (output_axis < s->first || output_axis >= s->end);
}

static double flops(const ntk_graph *graph, const ntk_node *node) {
  return 5 * (double)ntk_graph_size(graph, node->outputs[0]);
}

#define ROWS_ROW(row, onnx, since, most, flags_, keeps, family)                            \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = since,                                                                      \
      .last = 22,                                                                          \
      .min_in = most,                                                                      \
      .max_in = most,                                                                      \
      .max_out = 1,                                                                        \
      .flags = flags_,                                                                     \
      .infer = infer_##row,                                                                \
      .keeps_batch = keeps,                                                                \
      .flops = flops,                                                                      \
      .kernels = {&ntk_##family##_kernels_f32, &ntk_##family##_kernels_f64}};

/* ---- Softmax and its like: before opset 13 the axes from `axis` on are one ------------
 */

#define SOFTMAX_ROW(row, onnx, function, flags_)                                           \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    const bool flat = node->opset < 13;                                                    \
    ntk_rows *s;                                                                           \
    return infer_rows(graph, node, function, ntk_node_int(node, "axis", flat ? 1 : -1),    \
                      flat, &s);                                                           \
  }                                                                                        \
  ROWS_ROW(row, onnx, 1, 1, flags_, keeps_batch, rows)
SOFTMAX_ROW(softmax, "Softmax", NTK_ROW_SOFTMAX, 0)
SOFTMAX_ROW(logsoftmax, "LogSoftmax", NTK_ROW_LOGSOFTMAX, 0)
SOFTMAX_ROW(hardmax, "Hardmax", NTK_ROW_HARDMAX, NTK_OP_DISCRETE)

/* ---- others ---------------------------------------------------------------------------
 */

static ntk_status infer_lpnormalization(ntk_graph *graph, ntk_node *node) {
  ntk_rows *s;
  const int64_t p = ntk_node_int(node, "p", 2);
  if (p != 1 && p != 2)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "a norm with p = %lld", (long long)p);
  return infer_rows(graph, node, p == 1 ? NTK_ROW_L1 : NTK_ROW_L2,
                    ntk_node_int(node, "axis", -1), false, &s);
}
ROWS_ROW(lpnormalization, "LpNormalization", 1, 1, 0, keeps_batch, rows)

static ntk_status infer_cumsum(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *axis = NULL, count;
  ntk_rows *s;
  NTK_TRY(ntk_constant_ints(graph, node, 1, "the axis", &axis, &count));
  NTK_REQUIRE(count == 1, NTK_ERR_SHAPE, "%lld axes, where one is needed",
              (long long)count);
  NTK_TRY(infer_rows(graph, node, NTK_ROW_CUMSUM, axis[0], false, &s));
  s->exclusive = ntk_node_int(node, "exclusive", 0) != 0;
  s->reverse = ntk_node_int(node, "reverse", 0) != 0;
done:
  ntk_free(&axis);
  return status;
}
ROWS_ROW(cumsum, "CumSum", 11, 2, NTK_OP_ADDITIVE, keeps_batch, rows)

static ntk_status infer_arg(ntk_graph *graph, ntk_node *node, ntk_row_function function) {
  ntk_status status = NTK_SUCCESS;
  const bool keepdims = ntk_node_int(node, "keepdims", 1) != 0;
  ntk_rows *s;
  NTK_TRY(infer_rows(graph, node, function, ntk_node_int(node, "axis", 0), false, &s));
  NTK_REQUIRE(s->length > 0, NTK_ERR_SHAPE, "axis %d has no elements", s->first);
  s->last = ntk_node_int(node, "select_last_index", 0) != 0;
  const ntk_shape x = ntk_operand(graph, node, 0)->shape;
  ntk_shape y = {0};
  for (int d = 0; d < x.ndim; d++)
    if (d != s->first)
      y.dim[y.ndim++] = x.dim[d];
    else if (keepdims)
      y.dim[y.ndim++] = 1;
  ntk_set_output(graph, node, NTK_I64, &y);
done:
  return status;
}

static bool arg_keeps(const ntk_graph *graph, const ntk_node *node, const int *operand_axis,
                      int output_axis) {
  const ntk_rows *s = node->detail;
  const bool gone = !ntk_node_int(node, "keepdims", 1) && output_axis >= s->first;
  (void)graph;
  return operand_axis[0] != s->first && operand_axis[0] == output_axis + gone;
}

#define ARG_ROW(row, onnx, function)                                                       \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    return infer_arg(graph, node, function);                                               \
  }                                                                                        \
  ROWS_ROW(row, onnx, 1, 1, NTK_OP_DISCRETE, arg_keeps, arg)
ARG_ROW(argmax, "ArgMax", NTK_ROW_ARGMAX)
ARG_ROW(argmin, "ArgMin", NTK_ROW_ARGMIN)

/* ---- TopK: values and places are nodes of their own, parts 0 and 1 -------------------
 */

static ntk_status top_count(const ntk_graph *graph, const ntk_node *node, int64_t *count) {
  ntk_status status = NTK_SUCCESS;
  int64_t *list = NULL, length;
  *count = ntk_node_int(node, "k", 0);
  if (node->opset < 10)
    return NTK_SUCCESS;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  NTK_TRY(ntk_constant_ints(graph, node, 1, "k", &list, &length));
  NTK_REQUIRE(length == 1, NTK_ERR_SHAPE, "%lld numbers k", (long long)length);
  *count = list[0];
done:
  ntk_free(&list);
  return status;
}

static ntk_status infer_topk(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  const bool places = ntk_node_int(node, "part", 0) == 1;
  int64_t count;
  ntk_rows *s;
  NTK_REQUIRE(ntk_node_int(node, "part", 0) < 2, NTK_ERR_FORMAT, "more than 2 outputs");
  NTK_TRY(top_count(graph, node, &count));
  NTK_TRY(infer_rows(graph, node, places ? NTK_ROW_TOP_PLACES : NTK_ROW_TOP,
                     ntk_node_int(node, "axis", -1), false, &s));
  NTK_REQUIRE(count > 0 && count <= s->length, NTK_ERR_SHAPE, "the first %lld of %lld",
              (long long)count, (long long)s->length);
  s->count = count;
  s->smallest = ntk_node_int(node, "largest", 1) == 0;
  ntk_shape y = ntk_operand(graph, node, 0)->shape;
  y.dim[s->first] = count;
  ntk_set_output(graph, node, places ? NTK_I64 : ntk_operand(graph, node, 0)->dtype, &y);
  if (places)
    node->op = &ntk_op_top_places;
done:
  return status;
}

static double top_flops(const ntk_graph *graph, const ntk_node *node) {
  const ntk_rows *s = node->detail;
  return (double)s->length * (double)ntk_graph_size(graph, node->outputs[0]);
}

#define TOP_ROW(row, flags_)                                                               \
  const ntk_op ntk_op_##row = {.name = "TopK",                                             \
                               .first = 1,                                                 \
                               .last = 22,                                                 \
                               .min_in = 1,                                                \
                               .max_in = 2,                                                \
                               .max_out = 2,                                               \
                               .flags = NTK_OP_PARTS | (flags_),                           \
                               .infer = infer_topk,                                        \
                               .keeps_batch = keeps_batch,                                 \
                               .flops = top_flops,                                         \
                               .not_parameter = 2,                                         \
                               .kernels = {&ntk_top_kernels_f32, &ntk_top_kernels_f64}};
TOP_ROW(topk, 0)
TOP_ROW(top_places, NTK_OP_DISCRETE)

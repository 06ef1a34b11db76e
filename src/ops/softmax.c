/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"
#include "ops/light.h"

/* Before opset 13 the axes from `axis` on are one. */
static ntk_status infer(ntk_graph *graph, ntk_node *node, bool logarithm) {
  ntk_status status = NTK_SUCCESS;
  ntk_softmax *s;
  int axis;
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_value *x = ntk_operand(graph, node, 0);
  const bool flat = node->opset < 13;
  NTK_TRY(
      ntk_normalize_axis(ntk_node_int(node, "axis", flat ? 1 : -1), x->shape.ndim, &axis));
  NTK_TRY(ntk_new_detail(node, sizeof *s, &s));
  *s = (ntk_softmax){
      .outer = 1, .length = x->shape.dim[axis], .inner = 1, .logarithm = logarithm};
  for (int d = 0; d < axis; d++)
    s->outer *= x->shape.dim[d];
  for (int d = axis + 1; d < x->shape.ndim; d++)
    *(flat ? &s->length : &s->inner) *= x->shape.dim[d];
  ntk_set_output(graph, node, x->dtype, &x->shape);
done:
  return status;
}

static bool keeps_batch(const ntk_graph *graph, const ntk_node *node,
                        const int *operand_axis, int output_axis) {
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  int axis;
  const bool flat = node->opset < 13;
  if (ntk_normalize_axis(ntk_node_int(node, "axis", flat ? 1 : -1), x->ndim, &axis) !=
      NTK_SUCCESS)
    return false;
  return operand_axis[0] == output_axis &&
         (flat ? output_axis < axis : output_axis != axis);
}

static double flops(const ntk_graph *graph, const ntk_node *node) {
  return 5 * (double)ntk_graph_size(graph, node->outputs[0]);
}

#define SOFTMAX_ROW(row, onnx, logarithm)                                                  \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    return infer(graph, node, logarithm);                                                  \
  }                                                                                        \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = 1,                                                                          \
      .last = 22,                                                                          \
      .min_in = 1,                                                                         \
      .max_in = 1,                                                                         \
      .max_out = 1,                                                                        \
      .infer = infer_##row,                                                                \
      .keeps_batch = keeps_batch,                                                          \
      .flops = flops,                                                                      \
      .kernels = {&ntk_softmax_kernels_f32, &ntk_softmax_kernels_f64}};
SOFTMAX_ROW(softmax, "Softmax", false)
SOFTMAX_ROW(logsoftmax, "LogSoftmax", true)

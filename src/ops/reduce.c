/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/status.h"
#include "ops/light.h"

/* A reduction is the adjoint of a broadcast of its result: the runs lead from the result
 * (operand 0 of the moves) to the input. */

/* Which axes go; false where the operator does nothing (noop_with_empty_axes). */
static ntk_status reduced_axes(const ntk_graph *graph, const ntk_node *node,
                               bool reduced[NTK_MAX_DIMS]) {
  ntk_status status = NTK_SUCCESS;
  const int ndim = ntk_operand(graph, node, 0)->shape.ndim;
  int64_t *axes = NULL, count;
  NTK_TRY(ntk_ints_of(graph, node, "axes", 1, &axes, &count));
  const bool all = count <= 0 && !ntk_node_int(node, "noop_with_empty_axes", 0);
  for (int d = 0; d < ndim; d++)
    reduced[d] = all;
  for (int64_t k = 0; k < count; k++) {
    int axis;
    NTK_TRY(ntk_normalize_axis(axes[k], ndim, &axis));
    reduced[axis] = true;
  }
done:
  ntk_free(&axes);
  return status;
}

/* A function of nothing, or of one element without an axis that goes, has no meaning that
 * all versions share. */
static ntk_status require_axes(const ntk_node *node, const ntk_shape *x,
                               const bool *reduced, ntk_reduction function) {
  ntk_status status = NTK_SUCCESS;
  const bool same = function == NTK_REDUCE_SUM || function == NTK_REDUCE_MAX ||
                    function == NTK_REDUCE_MIN || function == NTK_REDUCE_PROD;
  bool any = false;
  for (int d = 0; d < x->ndim; d++) {
    any = any || reduced[d];
    NTK_REQUIRE(function == NTK_REDUCE_SUM || !reduced[d] || x->dim[d] > 0, NTK_ERR_SHAPE,
                "axis %d has no elements", d);
  }
  NTK_REQUIRE(any || same || !ntk_node_int(node, "noop_with_empty_axes", 0),
              NTK_ERR_UNSUPPORTED, "noop_with_empty_axes is not supported here");
done:
  return status;
}

static ntk_status infer(ntk_graph *graph, ntk_node *node, ntk_reduction function,
                        bool mean) {
  ntk_status status = NTK_SUCCESS;
  bool reduced[NTK_MAX_DIMS] = {false};
  ntk_view view = {0};
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_value *x = ntk_operand(graph, node, 0);
  const ntk_shape shape = x->shape;
  NTK_REQUIRE(!mean || ntk_dtype_is_real(x->dtype), NTK_ERR_UNSUPPORTED,
              "a mean of integers (%s)", ntk_dtype_name(x->dtype));
  NTK_TRY(reduced_axes(graph, node, reduced));
  NTK_TRY(require_axes(node, &shape, reduced, function));
  NTK_TRY(ntk_view_create(&shape, &view));
  ntk_shape kept = {0}, out = {0};
  int64_t stride = 1, count = 1;
  for (int d = shape.ndim - 1; d >= 0; d--) {
    for (int64_t i = 0; i < shape.dim[d]; i++)
      view.offset[d][i] = reduced[d] ? 0 : i * stride;
    if (reduced[d])
      count *= shape.dim[d];
    else
      stride *= shape.dim[d];
  }
  for (int d = 0; d < shape.ndim; d++) {
    kept.dim[kept.ndim++] = reduced[d] ? 1 : shape.dim[d];
    if (!reduced[d])
      out.dim[out.ndim++] = shape.dim[d];
  }
  const ntk_dtype dtype = x->dtype;
  NTK_TRY(ntk_view_to_moves(node, &view, stride));
  ntk_moves *moves = node->detail;
  moves->function = function;
  if (mean)
    moves->scale = 1 / (double)count;
  ntk_set_output(graph, node, dtype, ntk_node_int(node, "keepdims", 1) ? &kept : &out);
done:
  ntk_view_clear(&view);
  return status;
}

static bool keeps_batch(const ntk_graph *graph, const ntk_node *node,
                        const int *operand_axis, int output_axis) {
  bool reduced[NTK_MAX_DIMS] = {false};
  int expected = operand_axis[0];
  if (expected < 0 || reduced_axes(graph, node, reduced) != NTK_SUCCESS ||
      reduced[expected])
    return false;
  if (!ntk_node_int(node, "keepdims", 1))
    for (int d = 0; d < operand_axis[0]; d++)
      expected -= reduced[d];
  return expected == output_axis;
}

static double flops(const ntk_graph *graph, const ntk_node *node) {
  return (double)ntk_graph_size(graph, node->inputs[0]);
}

/* Slopes, products with them, and two numbers for each result (reduce_real.c). */
static int64_t workspace(const ntk_graph *graph, const ntk_node *node, int64_t n,
                         int64_t o) {
  const ntk_moves *m = node->detail;
  (void)graph;
  (void)o;
  return n * 2 * (m->to_size + m->from_size);
}

#define REDUCE_ROW(row, onnx, function, mean, kernels_, flags_, ...)                       \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    return infer(graph, node, function, mean);                                             \
  }                                                                                        \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = 1,                                                                          \
      .last = 22,                                                                          \
      .min_in = 1,                                                                         \
      .max_in = 2,                                                                         \
      .max_out = 1,                                                                        \
      .flags = flags_,                                                                     \
      .infer = infer_##row,                                                                \
      .keeps_batch = keeps_batch,                                                          \
      .flops = flops,                                                                      \
      .kernels = {&ntk_##kernels_##_kernels_f32, &ntk_##kernels_##_kernels_f64},           \
      __VA_ARGS__};
REDUCE_ROW(reducesum, "ReduceSum", NTK_REDUCE_SUM, false, reduce, NTK_OP_ADDITIVE,
           .workspace = NULL)
REDUCE_ROW(reducemean, "ReduceMean", NTK_REDUCE_SUM, true, reduce, NTK_OP_ADDITIVE,
           .workspace = NULL)

#define FOLD_ROW(row, onnx, function)                                                      \
  REDUCE_ROW(row, onnx, function, false, fold, 0, .workspace = workspace)
FOLD_ROW(reducemax, "ReduceMax", NTK_REDUCE_MAX)
FOLD_ROW(reducemin, "ReduceMin", NTK_REDUCE_MIN)
FOLD_ROW(reduceprod, "ReduceProd", NTK_REDUCE_PROD)
FOLD_ROW(reducel1, "ReduceL1", NTK_REDUCE_L1)
FOLD_ROW(reducel2, "ReduceL2", NTK_REDUCE_L2)
FOLD_ROW(reducesumsquare, "ReduceSumSquare", NTK_REDUCE_SUMSQUARE)
FOLD_ROW(reducelogsum, "ReduceLogSum", NTK_REDUCE_LOGSUM)
FOLD_ROW(reducelogsumexp, "ReduceLogSumExp", NTK_REDUCE_LOGSUMEXP)

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/lookup.h"
#include "base/status.h"
#include "ops/light.h"

/* Indices pass through f32: all up to here are themselves in it. */
static const int64_t most_rows = 1 << 24;

/* Leaves the sizes beside `axis` and the result in the node. */
static ntk_status set_lookup(ntk_graph *graph, ntk_node *node, int axis, int64_t count,
                             bool each, const ntk_shape *y) {
  ntk_status status = NTK_SUCCESS;
  ntk_lookup *l;
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  NTK_REQUIRE(ntk_operand(graph, node, 1)->role == NTK_DATA, NTK_ERR_UNSUPPORTED,
              "indices that depend on parameters alone are not supported");
  NTK_REQUIRE(x->dim[axis] > 0 && x->dim[axis] <= most_rows, NTK_ERR_UNSUPPORTED,
              "a table of %lld rows; 1 to 2^24 are supported", (long long)x->dim[axis]);
  NTK_TRY(ntk_new_detail(node, sizeof *l, &l));
  *l = (ntk_lookup){
      .outer = 1, .rows = x->dim[axis], .inner = 1, .count = count, .each = each};
  for (int d = 0; d < axis; d++)
    l->outer *= x->dim[d];
  for (int d = axis + 1; d < x->ndim; d++)
    l->inner *= x->dim[d];
  ntk_set_output(graph, node, ntk_operand(graph, node, 0)->dtype, y);
done:
  return status;
}

static ntk_status infer_lookup(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_shape y;
  int axis;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  NTK_TRY(ntk_gather_shape(graph, node, &axis, &y));
  NTK_TRY(set_lookup(graph, node, axis, ntk_shape_size(&ntk_operand(graph, node, 1)->shape),
                     false, &y));
done:
  return status;
}

static ntk_status infer_lookup_elements(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int axis;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  const ntk_shape y = ntk_operand(graph, node, 1)->shape;
  NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "axis", 0), x->ndim, &axis));
  NTK_REQUIRE(y.ndim == x->ndim, NTK_ERR_SHAPE, "indices of %d axes for %d", y.ndim,
              x->ndim);
  for (int d = 0; d < y.ndim; d++)
    NTK_REQUIRE(d == axis || y.dim[d] == x->dim[d], NTK_ERR_UNSUPPORTED,
                "axis %d: %lld indices that depend on data for %lld elements", d,
                (long long)y.dim[d], (long long)x->dim[d]);
  NTK_TRY(set_lookup(graph, node, axis, y.dim[axis], true, &y));
done:
  return status;
}

/* The table is one for all samples, their axis is one of the indices. */
static bool lookup_keeps(const ntk_graph *graph, const ntk_node *node,
                         const int *operand_axis, int output_axis) {
  int axis;
  return ntk_normalize_axis(ntk_node_int(node, "axis", 0),
                            ntk_operand(graph, node, 0)->shape.ndim,
                            &axis) == NTK_SUCCESS &&
         operand_axis[0] < 0 && operand_axis[1] >= 0 &&
         output_axis == axis + operand_axis[1];
}

static bool use_table(const ntk_graph *graph, const ntk_node *node, int operand,
                      ntk_use *use) {
  const ntk_lookup *l = node->detail;
  (void)graph;
  if (operand != 0 || l->outer != 1)
    return false;
  *use = (ntk_use){.G = 1,
                   .T1 = 1,
                   .T2 = l->count,
                   .K = l->rows,
                   .C = l->inner,
                   .x_operand = 1,
                   .scale = 1,
                   .dt2 = l->inner,
                   .dc = 1,
                   .one_hot = true,
                   .xt2 = 1,
                   .wk = l->inner,
                   .wc = 1};
  return true;
}

const ntk_op ntk_op_lookup = {
    .name = "Gather",
    .first = 1,
    .last = 22,
    .min_in = 2,
    .max_in = 2,
    .max_out = 1,
    .infer = infer_lookup,
    .keeps_batch = lookup_keeps,
    .use = use_table,
    .not_parameter = 2,
    .kernels = {&ntk_lookup_kernels_f32, &ntk_lookup_kernels_f64}};

static ntk_status infer_lookup_labels(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(infer_lookup_elements(graph, node));
  ((ntk_lookup *)node->detail)->labels = true;
done:
  return status;
}

#define ELEMENTS_ROW(row, onnx)                                                            \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = 11,                                                                         \
      .last = 22,                                                                          \
      .min_in = 2,                                                                         \
      .max_in = 2,                                                                         \
      .max_out = 1,                                                                        \
      .infer = infer_##row,                                                                \
      .keeps_batch = ntk_elements_keep,                                                    \
      .not_parameter = 2,                                                                  \
      .kernels = {&ntk_lookup_kernels_f32, &ntk_lookup_kernels_f64}};
ELEMENTS_ROW(lookup_elements, "GatherElements")
ELEMENTS_ROW(lookup_labels, "GatherLabels")

/* ---- OneHot ---------------------------------------------------------------------------
 */

/* Depth and values are constants: *v gets them. */
static ntk_status read_values(const ntk_graph *graph, const ntk_node *node,
                              ntk_one_hot *v) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *depth = ntk_operand(graph, node, 1);
  const ntk_value *values = ntk_operand(graph, node, 2);
  NTK_REQUIRE(depth->constant && values->constant && values->role == NTK_CONSTANT,
              NTK_ERR_UNSUPPORTED, "depth or values are not known before the network runs");
  NTK_REQUIRE(ntk_shape_size(&depth->shape) == 1 && ntk_shape_size(&values->shape) == 2,
              NTK_ERR_SHAPE, "depth is no single number, or values are no pair");
  v->depth = ntk_tensor_int(depth->constant, 0);
  v->off = ntk_tensor_real(values->constant, 0);
  v->on = ntk_tensor_real(values->constant, 1);
  NTK_REQUIRE(v->depth > 0 && v->depth <= most_rows, NTK_ERR_SHAPE, "a depth of %lld",
              (long long)v->depth);
done:
  return status;
}

static ntk_status infer_onehot(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_one_hot *one_hot, v = {.outer = 1, .inner = 1};
  int axis;
  NTK_TRY(ntk_require_operands(graph, node, 3));
  const ntk_shape x = ntk_operand(graph, node, 0)->shape;
  ntk_shape y = {.ndim = x.ndim + 1};
  NTK_REQUIRE(y.ndim <= NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED, "more than %d axes",
              NTK_MAX_DIMS);
  NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "axis", -1), y.ndim, &axis));
  NTK_TRY(read_values(graph, node, &v));
  for (int d = 0; d < y.ndim; d++) {
    y.dim[d] = d == axis ? v.depth : x.dim[d - (d > axis)];
    v.outer *= d < axis ? y.dim[d] : 1;
    v.inner *= d > axis ? y.dim[d] : 1;
  }
  NTK_TRY(ntk_check_size(&y));
  NTK_TRY(ntk_new_detail(node, sizeof *one_hot, &one_hot));
  *one_hot = v;
  ntk_set_output(graph, node, ntk_operand(graph, node, 2)->dtype, &y);
done:
  return status;
}

static bool onehot_keeps(const ntk_graph *graph, const ntk_node *node,
                         const int *operand_axis, int output_axis) {
  int axis;
  return ntk_normalize_axis(ntk_node_int(node, "axis", -1),
                            graph->values[node->outputs[0]].shape.ndim,
                            &axis) == NTK_SUCCESS &&
         operand_axis[0] >= 0 && output_axis == operand_axis[0] + (operand_axis[0] >= axis);
}

const ntk_op ntk_op_onehot = {
    .name = "OneHot",
    .first = 9,
    .last = 22,
    .min_in = 3,
    .max_in = 3,
    .max_out = 1,
    .flags = NTK_OP_DISCRETE,
    .infer = infer_onehot,
    .keeps_batch = onehot_keeps,
    .not_parameter = 7,
    .kernels = {&ntk_one_hot_kernels_f32, &ntk_one_hot_kernels_f64}};

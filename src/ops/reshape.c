/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/status.h"
#include "ops/light.h"

/* Operators that change the shape and move nothing. */

static bool passes(const ntk_graph *graph, const ntk_node *node, int operand, double *s) {
  (void)graph;
  (void)node;
  *s = 1;
  return operand == 0;
}

static ntk_status set_shape(ntk_graph *graph, ntk_node *node, const ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *x = ntk_operand(graph, node, 0);
  char a[NTK_SHAPE_TEXT], b[NTK_SHAPE_TEXT];
  ntk_unary *copy;
  NTK_REQUIRE(ntk_shape_size(shape) == ntk_shape_size(&x->shape), NTK_ERR_SHAPE,
              "%s cannot become %s", ntk_shape_text(&x->shape, a),
              ntk_shape_text(shape, b));
  NTK_TRY(ntk_new_detail(node, sizeof *copy, &copy));
  *copy = (ntk_unary){.function = NTK_UNARY_COPY, .size = ntk_shape_size(shape)};
  ntk_set_output(graph, node, ntk_operand(graph, node, 0)->dtype, shape);
done:
  return status;
}

static ntk_status infer_flatten(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  int64_t axis = ntk_node_int(node, "axis", 1);
  ntk_shape y = {.ndim = 2, .dim = {1, 1}};
  if (axis < 0)
    axis += x->ndim;
  NTK_REQUIRE(axis >= 0 && axis <= x->ndim, NTK_ERR_SHAPE, "axis %lld of %d axes",
              (long long)axis, x->ndim);
  for (int d = 0; d < x->ndim; d++)
    y.dim[d >= axis] *= x->dim[d];
  NTK_TRY(set_shape(graph, node, &y));
done:
  return status;
}

static ntk_status infer_reshape(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *list = NULL, count;
  int unknown = -1;
  ntk_shape y = {0};
  NTK_TRY(ntk_require_operands(graph, node, 2));
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  NTK_TRY(ntk_constant_ints(graph, node, 1, "the shape", &list, &count));
  NTK_REQUIRE(count <= NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED, "%lld axes; %d are supported",
              (long long)count, NTK_MAX_DIMS);
  y.ndim = (int)count;
  for (int d = 0; d < y.ndim; d++) {
    y.dim[d] = list[d];
    if (list[d] == 0 && !ntk_node_int(node, "allowzero", 0)) {
      NTK_REQUIRE(d < x->ndim, NTK_ERR_SHAPE,
                  "axis %d is to be copied from an input of %d axes", d, x->ndim);
      y.dim[d] = x->dim[d];
    }
    NTK_REQUIRE(y.dim[d] >= -1 && (y.dim[d] >= 0 || unknown < 0), NTK_ERR_SHAPE,
                "a shape with more than one -1, or a negative size");
    if (y.dim[d] < 0)
      unknown = d;
  }
  if (unknown >= 0)
    y.dim[unknown] = 1;
  NTK_TRY(ntk_check_size(&y));
  if (unknown >= 0) {
    const int64_t known = ntk_shape_size(&y);
    NTK_REQUIRE(known > 0 && ntk_shape_size(x) % known == 0, NTK_ERR_SHAPE,
                "%lld elements do not fill rows of %lld", (long long)ntk_shape_size(x),
                (long long)known);
    y.dim[unknown] = ntk_shape_size(x) / known;
  }
  NTK_TRY(set_shape(graph, node, &y));
done:
  ntk_free(&list);
  return status;
}

static ntk_status infer_squeeze(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *axes = NULL, count;
  bool gone[NTK_MAX_DIMS] = {false};
  ntk_shape y = {0};
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  NTK_TRY(ntk_ints_of(graph, node, "axes", 1, &axes, &count));
  for (int d = 0; d < x->ndim; d++)
    gone[d] = count < 0 && x->dim[d] == 1;
  for (int64_t k = 0; k < count; k++) {
    int axis;
    NTK_TRY(ntk_normalize_axis(axes[k], x->ndim, &axis));
    NTK_REQUIRE(x->dim[axis] == 1, NTK_ERR_SHAPE, "axis %d of size %lld cannot be squeezed",
                axis, (long long)x->dim[axis]);
    gone[axis] = true;
  }
  for (int d = 0; d < x->ndim; d++)
    if (!gone[d])
      y.dim[y.ndim++] = x->dim[d];
  NTK_TRY(set_shape(graph, node, &y));
done:
  ntk_free(&axes);
  return status;
}

static ntk_status infer_unsqueeze(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *axes = NULL, count;
  bool is_new[NTK_MAX_DIMS] = {false};
  ntk_shape y = {0};
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  NTK_TRY(ntk_ints_of(graph, node, "axes", 1, &axes, &count));
  NTK_REQUIRE(count >= 0 && x->ndim + count <= NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED,
              "no axes, or more than %d in all", NTK_MAX_DIMS);
  for (int64_t k = 0; k < count; k++) {
    int axis;
    NTK_TRY(ntk_take_axis(axes[k], x->ndim + (int)count, is_new, &axis));
  }
  for (int k = 0; y.ndim < x->ndim + count; y.ndim++)
    y.dim[y.ndim] = is_new[y.ndim] ? 1 : x->dim[k++];
  NTK_TRY(set_shape(graph, node, &y));
done:
  ntk_free(&axes);
  return status;
}

#define RESHAPE_ROW(row, onnx, since, inputs)                                              \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = since,                                                                      \
      .last = 22,                                                                          \
      .min_in = 1,                                                                         \
      .max_in = inputs,                                                                    \
      .max_out = 1,                                                                        \
      .flags = NTK_OP_ALIAS | NTK_OP_MOVE | NTK_OP_ADDITIVE,                               \
      .infer = infer_##row,                                                                \
      .passes = passes,                                                                    \
      .kernels = {&ntk_unary_kernels_f32, &ntk_unary_kernels_f64}};
RESHAPE_ROW(flatten, "Flatten", 1, 1)
RESHAPE_ROW(reshape, "Reshape", 5, 2)
RESHAPE_ROW(squeeze, "Squeeze", 1, 2)
RESHAPE_ROW(unsqueeze, "Unsqueeze", 1, 2)

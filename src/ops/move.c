/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/status.h"
#include "ops/light.h"
#include "ops/lookup.h"
#include "ops/ops.h"
#include <string.h>

/* Operators whose output elements are single elements of their inputs: each says where the
 * elements of an output axis come from. */

#define MOVE_ROW(row, onnx, since, inputs, keeps, more, ...)                               \
  NTK_MOVE_ROW(row, onnx, since, inputs, keeps, NTK_OP_MOVE | (more), __VA_ARGS__)

/* A view with the input's own offsets on every axis. */
static ntk_status own_view(const ntk_shape *x, ntk_view *view) {
  ntk_status status = NTK_SUCCESS;
  int64_t stride[NTK_MAX_DIMS];
  ntk_shape_strides(x, stride);
  NTK_TRY(ntk_view_create(x, view));
  for (int d = 0; d < x->ndim; d++)
    for (int64_t i = 0; i < x->dim[d]; i++)
      view->offset[d][i] = i * stride[d];
done:
  return status;
}

/* Gives an axis of a view `size` new elements, to be filled by the caller. */
static ntk_status resize_axis(ntk_view *view, int axis, int64_t size) {
  ntk_free(&view->offset[axis]);
  view->shape.dim[axis] = size;
  return ntk_calloc(NTK_MEMORY_GENERAL, size, sizeof(int64_t), &view->offset[axis]);
}

static ntk_status finish(ntk_graph *graph, ntk_node *node, const ntk_view *view,
                         const ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *x = ntk_operand(graph, node, 0);
  NTK_TRY(ntk_view_to_moves(node, view, ntk_shape_size(&x->shape)));
  ntk_set_output(graph, node, x->dtype, shape ? shape : &view->shape);
done:
  return status;
}

bool ntk_move_origin(const ntk_graph *graph, int number, int64_t at, int64_t count,
                     int *value, int64_t *from) {
  const ntk_node *node = &graph->nodes[number];
  const ntk_moves *moves = node->detail;
  int64_t shift = 0, found = 0;
  int operand = -1;
  if (node->op->flags & NTK_OP_ALIAS) {
    *value = node->inputs[0];
    *from = at;
    return true;
  }
  if (node->op->kernels[NTK_F64] != &ntk_move_kernels_f64)
    return false;
  for (int64_t i = 0; i < moves->count; i++) {
    const ntk_run *run = &moves->runs[i];
    const int64_t first = run->at > at ? run->at : at;
    const int64_t end = run->at + run->length, last = at + count;
    const int64_t length = (end < last ? end : last) - first;
    if (length <= 0)
      continue;
    if (run->operand < 0 || run->stride != 1 ||
        (found > 0 && (run->operand != operand || run->from - run->at != shift)))
      return false;
    operand = run->operand;
    shift = run->from - run->at;
    found += length;
  }
  if (found != count)
    return false;
  *value = node->inputs[operand];
  *from = at + shift;
  return true;
}

/* ---- Transpose ------------------------------------------------------------------------
 */

static ntk_status permutation(const ntk_graph *graph, const ntk_node *node,
                              int perm[NTK_MAX_DIMS]) {
  ntk_status status = NTK_SUCCESS;
  const int ndim = ntk_operand(graph, node, 0)->shape.ndim;
  int64_t *list = NULL, count;
  bool taken[NTK_MAX_DIMS] = {false};
  NTK_TRY(ntk_ints_of(graph, node, "perm", 1, &list, &count));
  NTK_REQUIRE(count < 0 || count == ndim, NTK_ERR_SHAPE, "perm has %lld axes, the input %d",
              (long long)count, ndim);
  for (int d = 0; d < ndim; d++) {
    const int64_t from = count < 0 ? ndim - 1 - d : list[d];
    NTK_REQUIRE(from >= 0 && from < ndim && !taken[from], NTK_ERR_SHAPE,
                "perm is not a permutation");
    taken[from] = true;
    perm[d] = (int)from;
  }
done:
  ntk_free(&list);
  return status;
}

static ntk_status infer_transpose(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int perm[NTK_MAX_DIMS];
  int64_t stride[NTK_MAX_DIMS];
  ntk_view view = {0};
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_shape x = ntk_operand(graph, node, 0)->shape;
  ntk_shape y = {.ndim = x.ndim};
  NTK_TRY(permutation(graph, node, perm));
  ntk_shape_strides(&x, stride);
  for (int d = 0; d < x.ndim; d++)
    y.dim[d] = x.dim[perm[d]];
  NTK_TRY(ntk_view_create(&y, &view));
  for (int d = 0; d < y.ndim; d++)
    for (int64_t i = 0; i < y.dim[d]; i++)
      view.offset[d][i] = i * stride[perm[d]];
  NTK_TRY(finish(graph, node, &view, NULL));
done:
  ntk_view_clear(&view);
  return status;
}

static bool transpose_keeps(const ntk_graph *graph, const ntk_node *node,
                            const int *operand_axis, int output_axis) {
  int perm[NTK_MAX_DIMS];
  return permutation(graph, node, perm) == NTK_SUCCESS &&
         perm[output_axis] == operand_axis[0];
}
MOVE_ROW(transpose, "Transpose", 1, 1, transpose_keeps, NTK_OP_BIJECTIVE,
         .not_parameter = 0)

/* ---- Expand ---------------------------------------------------------------------------
 */

static ntk_status infer_expand(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *list = NULL, count, stride[NTK_MAX_DIMS];
  ntk_view view = {0};
  ntk_shape wanted = {0}, y;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  const ntk_shape x = ntk_operand(graph, node, 0)->shape;
  NTK_TRY(ntk_constant_ints(graph, node, 1, "the shape", &list, &count));
  NTK_REQUIRE(count <= NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED, "more than %d axes",
              NTK_MAX_DIMS);
  wanted.ndim = (int)count;
  for (int d = 0; d < wanted.ndim; d++) {
    NTK_REQUIRE(list[d] >= 0, NTK_ERR_SHAPE, "a negative size");
    wanted.dim[d] = list[d];
  }
  NTK_TRY(ntk_shape_broadcast(&x, &wanted, &y));
  ntk_shape_strides(&x, stride);
  NTK_TRY(ntk_view_create(&y, &view));
  for (int d = 0; d < x.ndim; d++) {
    const int to = d + y.ndim - x.ndim;
    for (int64_t i = 0; i < y.dim[to]; i++)
      view.offset[to][i] = x.dim[d] == 1 ? 0 : i * stride[d];
  }
  NTK_TRY(finish(graph, node, &view, NULL));
done:
  ntk_free(&list);
  ntk_view_clear(&view);
  return status;
}

/* As broadcasting: aligned at the right. */
static bool expand_keeps(const ntk_graph *graph, const ntk_node *node,
                         const int *operand_axis, int output_axis) {
  const int x = ntk_operand(graph, node, 0)->shape.ndim;
  return operand_axis[0] >= 0 &&
         x - operand_axis[0] == graph->values[node->outputs[0]].shape.ndim - output_axis;
}
MOVE_ROW(expand, "Expand", 8, 2, expand_keeps, 0, .not_parameter = 2)

/* ---- Slice ----------------------------------------------------------------------------
 */

static int64_t clamp(int64_t v, int64_t low, int64_t high) {
  return v < low ? low : v > high ? high : v;
}

/* Elements start, start + step, ... of an axis of n, ONNX's rules for what lies outside. */
static int64_t slice_range(int64_t n, int64_t *start, int64_t end, int64_t step) {
  if (*start < 0)
    *start += n;
  if (end < 0 && end > INT64_MIN + n)
    end += n;
  if (step > 0) {
    *start = clamp(*start, 0, n);
    end = clamp(end, 0, n);
    return end > *start ? (end - *start - 1) / step + 1 : 0;
  }
  *start = clamp(*start, 0, n - 1);
  end = clamp(end, -1, n - 1);
  return *start > end ? (end - *start + 1) / step + 1 : 0;
}

static ntk_status slice_axis(ntk_view *view, int axis, int64_t start, int64_t end,
                             int64_t step) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(step != 0, NTK_ERR_SHAPE, "a step of 0");
  const int64_t n = view->shape.dim[axis], stride = n > 1 ? view->offset[axis][1] : 0;
  const int64_t count = slice_range(n, &start, end, step);
  NTK_TRY(resize_axis(view, axis, count));
  for (int64_t i = 0; i < count; i++)
    view->offset[axis][i] = (start + i * step) * stride;
done:
  return status;
}

static ntk_status infer_slice(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *starts = NULL, *ends = NULL, *axes = NULL, *steps = NULL;
  int64_t count, ends_count, axes_count, steps_count;
  bool taken[NTK_MAX_DIMS] = {false};
  ntk_view view = {0};
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  NTK_TRY(ntk_ints_of(graph, node, "starts", 1, &starts, &count));
  NTK_TRY(ntk_ints_of(graph, node, "ends", 2, &ends, &ends_count));
  NTK_TRY(ntk_ints_of(graph, node, "axes", 3, &axes, &axes_count));
  NTK_TRY(ntk_ints_of(graph, node, "steps", 4, &steps, &steps_count));
  NTK_REQUIRE(count >= 0 && ends_count == count &&
                  (axes_count < 0 || axes_count == count) &&
                  (steps_count < 0 || steps_count == count),
              NTK_ERR_SHAPE, "starts, ends, axes and steps are of different lengths");
  NTK_TRY(own_view(x, &view));
  for (int64_t k = 0; k < count; k++) {
    int axis;
    NTK_TRY(ntk_take_axis(axes ? axes[k] : k, x->ndim, taken, &axis));
    NTK_TRY(slice_axis(&view, axis, starts[k], ends[k], steps ? steps[k] : 1));
  }
  NTK_TRY(finish(graph, node, &view, NULL));
done:
  ntk_free(&starts);
  ntk_free(&ends);
  ntk_free(&axes);
  ntk_free(&steps);
  ntk_view_clear(&view);
  return status;
}
/* A cut of the batch axis shows in the sizes: what is left is no multiple of the batch.
 * Steps other than 1 along it would permute the samples. */
static bool slice_keeps(const ntk_graph *graph, const ntk_node *node,
                        const int *operand_axis, int output_axis) {
  int64_t *axes = NULL, *steps = NULL, axes_count, steps_count;
  bool keeps = ntk_keeps_axis(graph, node, operand_axis, output_axis) &&
               ntk_ints_of(graph, node, "axes", 3, &axes, &axes_count) == NTK_SUCCESS &&
               ntk_ints_of(graph, node, "steps", 4, &steps, &steps_count) == NTK_SUCCESS;
  const int ndim = ntk_operand(graph, node, 0)->shape.ndim;
  for (int64_t k = 0; keeps && steps && k < steps_count; k++) {
    const int64_t axis = axes ? axes[k] : k;
    keeps = steps[k] == 1 || (axis < 0 ? axis + ndim : axis) != output_axis;
  }
  ntk_free(&axes);
  ntk_free(&steps);
  return keeps;
}
MOVE_ROW(slice, "Slice", 1, 5, slice_keeps, 0, .not_parameter = 30)

/* ---- Split ----------------------------------------------------------------------------
 */

/* Elements *from ... *from + *size of an axis of n are the node's part. */
static ntk_status split_range(const ntk_graph *graph, const ntk_node *node, int64_t n,
                              int64_t *from, int64_t *size) {
  ntk_status status = NTK_SUCCESS;
  const int64_t part = ntk_node_int(node, "part", 0),
                parts = ntk_node_int(node, "parts", 1);
  const int64_t equal =
      (n + parts - 1) / parts; /* the last may be shorter since opset 18 */
  int64_t *sizes = NULL, count, end = 0;
  NTK_TRY(ntk_ints_of(graph, node, "split", 1, &sizes, &count));
  const int64_t wanted = count < 0 ? ntk_node_int(node, "num_outputs", parts) : count;
  NTK_REQUIRE(wanted == parts, NTK_ERR_SHAPE, "%lld outputs, but a split into %lld",
              (long long)parts, (long long)wanted);
  NTK_REQUIRE(count >= 0 || n % parts == 0 ||
                  (node->opset >= 18 && equal * (parts - 1) <= n),
              NTK_ERR_SHAPE, "an axis of %lld cannot be split into %lld equal parts",
              (long long)n, (long long)parts);
  for (int64_t k = 0; k < parts; k++) {
    const int64_t left = n - end;
    const int64_t length = sizes ? sizes[k] : left < equal ? left : equal;
    NTK_REQUIRE(length >= 0 && length <= left, NTK_ERR_SHAPE,
                "part %lld has %lld elements of %lld that are left", (long long)k,
                (long long)length, (long long)left);
    if (k == part) {
      *from = end;
      *size = length;
    }
    end += length;
  }
  NTK_REQUIRE(end == n, NTK_ERR_SHAPE, "parts of %lld elements in all, the axis has %lld",
              (long long)end, (long long)n);
done:
  ntk_free(&sizes);
  return status;
}

static ntk_status infer_split(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t from = 0, size = 0;
  int axis;
  ntk_view view = {0};
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "axis", 0), x->ndim, &axis));
  NTK_TRY(split_range(graph, node, x->dim[axis], &from, &size));
  NTK_TRY(own_view(x, &view));
  NTK_TRY(slice_axis(&view, axis, from, from + size, 1));
  NTK_TRY(finish(graph, node, &view, NULL));
done:
  ntk_view_clear(&view);
  return status;
}

static bool split_keeps(const ntk_graph *graph, const ntk_node *node,
                        const int *operand_axis, int output_axis) {
  int axis;
  return ntk_normalize_axis(ntk_node_int(node, "axis", 0),
                            ntk_operand(graph, node, 0)->shape.ndim,
                            &axis) == NTK_SUCCESS &&
         axis != output_axis && ntk_keeps_axis(graph, node, operand_axis, output_axis);
}
MOVE_ROW(split, "Split", 2, 2, split_keeps, NTK_OP_PARTS, .not_parameter = 2)

/* ---- Pad ------------------------------------------------------------------------------
 */

typedef enum ntk_pad_mode {
  NTK_PAD_CONSTANT,
  NTK_PAD_REFLECT,
  NTK_PAD_EDGE,
  NTK_PAD_WRAP
} ntk_pad_mode;

static ntk_status pad_mode(const ntk_node *node, ntk_pad_mode *mode) {
  static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
  const char *name = ntk_node_string(node, "mode", "constant");
  for (int i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) {
      *mode = (ntk_pad_mode)i;
      return NTK_SUCCESS;
    }
  return ntk_fail(NTK_ERR_UNSUPPORTED, "mode %s is not supported", name);
}

static ntk_status pad_value(const ntk_graph *graph, const ntk_node *node, double *value) {
  const ntk_value *v = node->opset >= 11 ? ntk_operand(graph, node, 2) : NULL;
  *value = ntk_node_float(node, "value", 0);
  if (!v)
    return NTK_SUCCESS;
  if (!v->constant)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "a padding value that is not constant");
  *value = ntk_tensor_real(v->constant, 0);
  return NTK_SUCCESS;
}

/* Which element of an axis of n > 0 stands at i in a mode other than constant. */
static int64_t padding_source(ntk_pad_mode mode, int64_t i, int64_t n) {
  const int64_t period = mode == NTK_PAD_WRAP || n == 1 ? n : 2 * (n - 1);
  if (mode == NTK_PAD_EDGE)
    return clamp(i, 0, n - 1);
  i = (i % period + period) % period;
  return i < n ? i : period - i;
}

static ntk_status pad_axis(ntk_view *view, int axis, ntk_pad_mode mode, int64_t before,
                           int64_t after) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n = view->shape.dim[axis], stride = n > 1 ? view->offset[axis][1] : 0;
  NTK_REQUIRE(before < INT32_MAX && after < INT32_MAX && before > -INT32_MAX &&
                  after > -INT32_MAX,
              NTK_ERR_UNSUPPORTED, "pads of more than 2^31");
  NTK_REQUIRE(n + before + after >= 0, NTK_ERR_SHAPE, "more is cropped than there is");
  NTK_REQUIRE(n > 0 || mode == NTK_PAD_CONSTANT || n + before + after == 0, NTK_ERR_SHAPE,
              "an axis without elements has none to pad with");
  NTK_TRY(resize_axis(view, axis, n + before + after));
  for (int64_t i = 0; i < n + before + after; i++) {
    const int64_t at = i - before;
    view->offset[axis][i] = at >= 0 && at < n ? at * stride
                            : mode == NTK_PAD_CONSTANT
                                ? -1
                                : padding_source(mode, at, n) * stride;
  }
done:
  return status;
}

static ntk_status infer_pad(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *pads = NULL, *axes = NULL, count, axes_count = -1;
  double value;
  ntk_pad_mode mode;
  bool taken[NTK_MAX_DIMS] = {false};
  ntk_view view = {0};
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  NTK_TRY(pad_mode(node, &mode));
  NTK_TRY(ntk_ints_of(graph, node, "pads", 1, &pads, &count));
  if (ntk_operand(graph, node, 3))
    NTK_TRY(ntk_constant_ints(graph, node, 3, "axes", &axes, &axes_count));
  const int64_t padded = axes_count >= 0 ? axes_count : x->ndim;
  NTK_REQUIRE(count == 2 * padded, NTK_ERR_SHAPE, "%lld pads for %lld axes",
              (long long)count, (long long)padded);
  NTK_TRY(pad_value(graph, node, &value));
  NTK_TRY(own_view(x, &view));
  for (int64_t k = 0; k < padded; k++) {
    int axis;
    NTK_TRY(ntk_take_axis(axes ? axes[k] : k, x->ndim, taken, &axis));
    NTK_TRY(pad_axis(&view, axis, mode, pads[k], pads[padded + k]));
  }
  NTK_TRY(finish(graph, node, &view, NULL));
  ((ntk_moves *)node->detail)->fill = value;
done:
  ntk_free(&pads);
  ntk_free(&axes);
  ntk_view_clear(&view);
  return status;
}
MOVE_ROW(pad, "Pad", 2, 4, ntk_keeps_axis, 0, .not_parameter = 14)

/* ---- Gather ---------------------------------------------------------------------------
 */

ntk_status ntk_gather_shape(const ntk_graph *graph, const ntk_node *node, int *axis,
                            ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  const ntk_shape *index = &ntk_operand(graph, node, 1)->shape;
  ntk_shape y = {0};
  NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "axis", 0), x->ndim, axis));
  NTK_REQUIRE(x->ndim - 1 + index->ndim <= NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED,
              "more than %d axes", NTK_MAX_DIMS);
  for (int d = 0; d < *axis; d++)
    y.dim[y.ndim++] = x->dim[d];
  for (int d = 0; d < index->ndim; d++)
    y.dim[y.ndim++] = index->dim[d];
  for (int d = *axis + 1; d < x->ndim; d++)
    y.dim[y.ndim++] = x->dim[d];
  *shape = y;
done:
  return status;
}

/* Indices that are not known yet make another operator of the node. */
static ntk_status infer_gather(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *index = NULL, count;
  int axis;
  ntk_view view = {0};
  ntk_shape y;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  if (!ntk_operand(graph, node, 1)->constant) {
    node->op = &ntk_op_lookup;
    return node->op->infer(graph, node);
  }
  const ntk_shape x = ntk_operand(graph, node, 0)->shape;
  NTK_TRY(ntk_gather_shape(graph, node, &axis, &y));
  NTK_TRY(ntk_constant_ints(graph, node, 1, "the index", &index, &count));
  const int64_t n = x.dim[axis];
  NTK_TRY(own_view(&x, &view));
  const int64_t stride = n > 1 ? view.offset[axis][1] : 0;
  NTK_TRY(resize_axis(&view, axis, count));
  for (int64_t k = 0; k < count; k++) {
    NTK_TRY(ntk_normalize_index(index[k], n, &view.offset[axis][k]));
    view.offset[axis][k] *= stride;
  }
  NTK_TRY(finish(graph, node, &view, &y));
done:
  ntk_free(&index);
  ntk_view_clear(&view);
  return status;
}

static bool gather_keeps(const ntk_graph *graph, const ntk_node *node,
                         const int *operand_axis, int output_axis) {
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  int axis;
  if (operand_axis[0] < 0 ||
      ntk_normalize_axis(ntk_node_int(node, "axis", 0), x->ndim, &axis) != NTK_SUCCESS ||
      axis == operand_axis[0])
    return false;
  const int added = ntk_operand(graph, node, 1)->shape.ndim - 1;
  return output_axis == operand_axis[0] + (operand_axis[0] > axis ? added : 0);
}
MOVE_ROW(gather, "Gather", 1, 2, gather_keeps, 0, .not_parameter = 2)

/* ---- Concat ---------------------------------------------------------------------------
 */

/* Appends the runs of one operand: `rows` pieces of `length` at `at`, every `step`. */
static void append_operand(ntk_moves *moves, int operand, int64_t rows, int64_t length,
                           int64_t at, int64_t step) {
  for (int64_t r = 0; r < rows && length > 0; r++)
    moves->runs[moves->count++] = (ntk_run){.operand = operand,
                                            .at = at + r * step,
                                            .from = r * length,
                                            .stride = 1,
                                            .length = length};
}

static ntk_status infer_concat(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_moves *moves;
  int axis;
  int64_t rows = 1, inner = 1, at = 0;
  NTK_TRY(ntk_require_operands(graph, node, node->input_count));
  ntk_shape y = ntk_operand(graph, node, 0)->shape;
  NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "axis", 0), y.ndim, &axis));
  for (int i = 1; i < node->input_count; i++) {
    const ntk_shape *x = &ntk_operand(graph, node, i)->shape;
    NTK_REQUIRE(x->ndim == y.ndim, NTK_ERR_SHAPE, "operands of %d and %d axes", y.ndim,
                x->ndim);
    for (int d = 0; d < y.ndim; d++)
      NTK_REQUIRE(d == axis || x->dim[d] == y.dim[d], NTK_ERR_SHAPE,
                  "operands differ on axis %d: %lld and %lld", d, (long long)y.dim[d],
                  (long long)x->dim[d]);
    y.dim[axis] += x->dim[axis];
  }
  for (int d = 0; d < axis; d++)
    rows *= y.dim[d];
  for (int d = axis + 1; d < y.ndim; d++)
    inner *= y.dim[d];
  NTK_TRY(ntk_new_detail(
      node, sizeof *moves + (size_t)(rows * node->input_count) * sizeof(ntk_run), &moves));
  moves->scale = 1;
  moves->from_size = ntk_shape_size(&ntk_operand(graph, node, 0)->shape);
  moves->to_size = ntk_shape_size(&y);
  for (int i = 0; i < node->input_count; i++) {
    const int64_t length = ntk_operand(graph, node, i)->shape.dim[axis] * inner;
    append_operand(moves, i, rows, length, at, y.dim[axis] * inner);
    at += length;
  }
  ntk_set_output(graph, node, ntk_operand(graph, node, 0)->dtype, &y);
done:
  return status;
}

static bool concat_keeps(const ntk_graph *graph, const ntk_node *node,
                         const int *operand_axis, int output_axis) {
  int axis;
  if (ntk_normalize_axis(ntk_node_int(node, "axis", 0),
                         graph->values[node->outputs[0]].shape.ndim,
                         &axis) != NTK_SUCCESS ||
      axis == output_axis)
    return false;
  for (int i = 0; i < node->input_count; i++)
    if (operand_axis[i] >= 0 && operand_axis[i] != output_axis)
      return false;
  return true;
}
MOVE_ROW(concat, "Concat", 4, 1 << 16, concat_keeps, 0, .not_parameter = 0)

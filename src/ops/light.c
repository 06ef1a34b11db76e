/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/light.h"
#include "base/memory.h"
#include <string.h>

const ntk_value *ntk_operand(const ntk_graph *graph, const ntk_node *node, int i) {
  return i < node->input_count && node->inputs[i] >= 0 ? &graph->values[node->inputs[i]]
                                                       : NULL;
}

ntk_status ntk_require_operands(const ntk_graph *graph, const ntk_node *node,
                                int required) {
  for (int i = 0; i < required; i++)
    if (!ntk_operand(graph, node, i))
      return ntk_fail(NTK_ERR_UNSUPPORTED, "operand %d is left out, but needed", i);
  return NTK_SUCCESS;
}

ntk_status ntk_constant_ints(const ntk_graph *graph, const ntk_node *node, int i,
                             const char *what, int64_t **list, int64_t *count) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *value = ntk_operand(graph, node, i);
  NTK_REQUIRE(value && value->constant, NTK_ERR_UNSUPPORTED,
              "%s is not known before the network runs", what);
  const int64_t n = ntk_shape_size(&value->constant->shape);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof **list, list));
  for (int64_t k = 0; k < n; k++)
    (*list)[k] = ntk_tensor_int(value->constant, k);
  *count = n;
done:
  return status;
}

ntk_status ntk_ints_of(const ntk_graph *graph, const ntk_node *node, const char *name,
                       int i, int64_t **list, int64_t *count) {
  ntk_status status = NTK_SUCCESS;
  const ntk_attribute *attribute = ntk_node_attribute(node, name);
  *list = NULL;
  *count = -1;
  if (attribute) {
    NTK_REQUIRE(attribute->kind == NTK_ATTRIBUTE_INTS, NTK_ERR_UNSUPPORTED,
                "attribute '%s' is not a list of integers", name);
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, attribute->count, sizeof **list, list));
    for (int64_t k = 0; k < attribute->count; k++)
      (*list)[k] = attribute->ints[k];
    *count = attribute->count;
  } else if (ntk_operand(graph, node, i)) {
    NTK_TRY(ntk_constant_ints(graph, node, i, name, list, count));
  }
done:
  return status;
}

ntk_status ntk_normalize_axis(int64_t axis, int ndim, int *out) {
  if (axis < -ndim || axis >= ndim)
    return ntk_fail(NTK_ERR_SHAPE, "axis %lld of %d axes", (long long)axis, ndim);
  *out = (int)(axis < 0 ? axis + ndim : axis);
  return NTK_SUCCESS;
}

ntk_status ntk_normalize_index(int64_t index, int64_t n, int64_t *out) {
  if (index < -n || index >= n)
    return ntk_fail(NTK_ERR_SHAPE, "index %lld of %lld", (long long)index, (long long)n);
  *out = index < 0 ? index + n : index;
  return NTK_SUCCESS;
}

bool ntk_keeps_axis(const ntk_graph *graph, const ntk_node *node, const int *operand_axis,
                    int output_axis) {
  (void)graph;
  (void)node;
  return operand_axis[0] == output_axis;
}

ntk_status ntk_take_axis(int64_t axis, int ndim, bool *taken, int *out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_normalize_axis(axis, ndim, out));
  NTK_REQUIRE(!taken[*out], NTK_ERR_SHAPE, "axis %d is named twice", *out);
  taken[*out] = true;
done:
  return status;
}

ntk_status ntk_check_size(const ntk_shape *shape) {
  int64_t size = 1;
  for (int d = 0; d < shape->ndim; d++)
    if (__builtin_mul_overflow(size, shape->dim[d], &size) || size > INT32_MAX)
      return ntk_fail(NTK_ERR_UNSUPPORTED, "more than 2^31 elements");
  return NTK_SUCCESS;
}

void ntk_set_output(ntk_graph *graph, const ntk_node *node, ntk_dtype dtype,
                    const ntk_shape *shape) {
  ntk_value *y = &graph->values[node->outputs[0]];
  y->dtype = dtype;
  y->shape = *shape;
}

ntk_status ntk_new_detail(ntk_node *node, size_t bytes, void *detail) {
  ntk_status status = NTK_SUCCESS;
  ntk_free(&node->detail);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, bytes, &node->detail));
  memcpy(detail, &node->detail, sizeof node->detail);
done:
  return status;
}

/* ---- views ----------------------------------------------------------------------------
 */

ntk_status ntk_view_create(const ntk_shape *shape, ntk_view *view) {
  ntk_status status = NTK_SUCCESS;
  *view = (ntk_view){.shape = *shape};
  NTK_TRY(ntk_check_size(shape));
  for (int d = 0; d < shape->ndim; d++)
    NTK_TRY(
        ntk_calloc(NTK_MEMORY_GENERAL, shape->dim[d], sizeof(int64_t), &view->offset[d]));
done:
  if (status != NTK_SUCCESS)
    ntk_view_clear(view);
  return status;
}

void ntk_view_clear(ntk_view *view) {
  for (int d = 0; d < NTK_MAX_DIMS; d++)
    ntk_free(&view->offset[d]);
}

/* Source of row j, the rows being along the last axis; -1: filled. */
static int64_t source_of(const ntk_view *view, int64_t j) {
  int64_t from = 0;
  for (int d = view->shape.ndim - 2; d >= 0; d--) {
    const int64_t offset = view->offset[d][j % view->shape.dim[d]];
    if (offset < 0)
      return -1;
    from += offset;
    j /= view->shape.dim[d];
  }
  return from;
}

/* Does the piece go on the run? If so it is added. One element has any stride. */
static bool extends(ntk_run *run, const ntk_run *piece) {
  if (piece->operand != run->operand)
    return false;
  if (piece->operand >= 0) {
    const int64_t stride = run->length > 1     ? run->stride
                           : piece->length > 1 ? piece->stride
                                               : piece->from - run->from;
    if (stride < 0 || piece->from != run->from + stride * run->length ||
        (piece->length > 1 && piece->stride != stride))
      return false;
    run->stride = stride;
  }
  run->length += piece->length;
  return true;
}

/* The last axis as runs from 0 on; without axes there is one element. */
static ntk_status cut_row(const ntk_view *view, ntk_run **pieces, int64_t *count) {
  ntk_status status = NTK_SUCCESS;
  const int last = view->shape.ndim - 1;
  const int64_t length = last < 0 ? 1 : view->shape.dim[last];
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, length, sizeof **pieces, pieces));
  *count = 0;
  for (int64_t i = 0; i < length; i++) {
    const int64_t from = last < 0 ? 0 : view->offset[last][i];
    const ntk_run one = {.operand = from < 0 ? -1 : 0, .at = i, .from = from, .length = 1};
    if (*count == 0 || !extends(&(*pieces)[*count - 1], &one))
      (*pieces)[(*count)++] = one;
  }
done:
  return status;
}

/* Runs of the whole view, to `runs` where it is not NULL; returns their number. */
static int64_t cut_into_runs(const ntk_view *view, const ntk_run *pieces, int64_t count,
                             ntk_run *runs) {
  const int last = view->shape.ndim - 1;
  const int64_t length = last < 0 ? 1 : view->shape.dim[last];
  const int64_t rows = length > 0 ? ntk_shape_size(&view->shape) / length : 0;
  const ntk_run filled = {.operand = -1, .from = -1, .length = length};
  ntk_run run = {0};
  int64_t made = 0;
  for (int64_t j = 0; j < rows; j++) {
    const int64_t from = source_of(view, j);
    for (int64_t p = 0; p < (from < 0 ? 1 : count); p++) {
      ntk_run piece = from < 0 ? filled : pieces[p];
      piece.at += j * length;
      piece.from += piece.operand < 0 ? 0 : from;
      if (made == 0 || !extends(&run, &piece)) {
        run = piece;
        made++;
      }
      if (runs)
        runs[made - 1] = run;
    }
  }
  return made;
}

ntk_status ntk_view_to_moves(ntk_node *node, const ntk_view *view, int64_t from_size) {
  ntk_status status = NTK_SUCCESS;
  ntk_run *pieces = NULL;
  ntk_moves *moves;
  int64_t count;
  NTK_TRY(ntk_check_size(&view->shape));
  NTK_TRY(cut_row(view, &pieces, &count));
  const int64_t made = cut_into_runs(view, pieces, count, NULL);
  NTK_TRY(ntk_new_detail(node, sizeof *moves + (size_t)made * sizeof(ntk_run), &moves));
  moves->scale = 1;
  moves->from_size = from_size;
  moves->to_size = ntk_shape_size(&view->shape);
  moves->count = cut_into_runs(view, pieces, count, moves->runs);
done:
  ntk_free(&pieces);
  return status;
}

/* Runs of a list, to `runs` where it is not NULL; returns their number. */
static int64_t cut_list(const int64_t *from, int64_t count, int64_t first, ntk_run *runs) {
  ntk_run run = {0};
  int64_t made = 0;
  for (int64_t i = 0; i < count; i++) {
    const bool second = from[i] >= first;
    const ntk_run one = {.operand = from[i] < 0 ? -1
                                    : second    ? 2
                                                : 0,
                         .at = i,
                         .from = second ? from[i] - first : from[i],
                         .length = 1};
    if (made == 0 || !extends(&run, &one)) {
      run = one;
      made++;
    }
    if (runs)
      runs[made - 1] = run;
  }
  return made;
}

ntk_status ntk_list_to_moves(const ntk_graph *graph, ntk_node *node, const ntk_shape *shape,
                             const int64_t *from) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *x = ntk_operand(graph, node, 0), *third = ntk_operand(graph, node, 2);
  const int64_t size = ntk_shape_size(&x->shape), count = ntk_shape_size(shape);
  const int64_t made = cut_list(from, count, size, NULL);
  ntk_moves *moves;
  NTK_TRY(ntk_new_detail(node, sizeof *moves + (size_t)made * sizeof(ntk_run), &moves));
  moves->scale = 1;
  moves->from_size = size;
  moves->to_size = count;
  moves->third_size = third ? ntk_shape_size(&third->shape) : 0;
  moves->count = cut_list(from, count, size, moves->runs);
done:
  return status;
}

void ntk_shape_index(const ntk_shape *shape, int64_t e, int64_t index[NTK_MAX_DIMS]) {
  for (int d = shape->ndim - 1; d >= 0; e /= shape->dim[d--])
    index[d] = e % shape->dim[d];
}

int64_t ntk_shape_place(const ntk_shape *shape, const int64_t *index) {
  int64_t place = 0;
  for (int d = 0; d < shape->ndim; d++)
    place = place * shape->dim[d] + index[d];
  return place;
}

/* ---- broadcasting ---------------------------------------------------------------------
 */

/* Merges axis d into d + 1 where all operands allow. */
static bool can_merge(const ntk_broadcast *b, int d) {
  for (int i = 0; i < b->operands; i++)
    if (b->operand[i].stride[d] != b->operand[i].stride[d + 1] * b->extent[d + 1])
      return false;
  return true;
}

static void remove_axis(ntk_broadcast *b, int d) {
  for (int k = d; k + 1 < b->ndim; k++) {
    b->extent[k] = b->extent[k + 1];
    for (int i = 0; i < b->operands; i++)
      b->operand[i].stride[k] = b->operand[i].stride[k + 1];
  }
  b->ndim--;
}

static void simplify(ntk_broadcast *b) {
  for (int d = b->ndim - 1; d >= 0; d--)
    if (b->extent[d] == 1 && b->ndim > 1)
      remove_axis(b, d);
  for (int d = b->ndim - 2; d >= 0; d--)
    if (can_merge(b, d)) {
      b->extent[d + 1] *= b->extent[d];
      remove_axis(b, d);
    }
}

/* Before opset 7 the second of two operands may stand at `axis` of the first, and a PRelu's
 * slopes stand at the channels: number of axes that follow its own. */
static ntk_status axes_behind(const ntk_graph *graph, const ntk_node *node, int function,
                              int *count) {
  ntk_status status = NTK_SUCCESS;
  const bool slopes = function == NTK_BINARY_PRELU;
  int axis;
  *count = 0;
  if (node->opset >= 7 || node->input_count != 2 ||
      !(slopes || ntk_node_attribute(node, "axis")))
    goto done;
  const ntk_shape *a = &ntk_operand(graph, node, 0)->shape;
  const ntk_shape *b = &ntk_operand(graph, node, 1)->shape;
  if (slopes && (b->ndim != 1 || a->ndim < 2))
    goto done;
  NTK_TRY(ntk_normalize_axis(slopes ? 1 : ntk_node_int(node, "axis", 0), a->ndim, &axis));
  NTK_REQUIRE(axis + b->ndim <= a->ndim, NTK_ERR_SHAPE, "%d axes do not fit behind axis %d",
              b->ndim, axis);
  *count = a->ndim - axis - b->ndim;
  NTK_REQUIRE(*count == 0 || ntk_operand(graph, node, 1)->role != NTK_DATA,
              NTK_ERR_UNSUPPORTED, "data that is broadcast from axis %d on", axis);
done:
  return status;
}

static ntk_shape with_ones(const ntk_shape *shape, int count) {
  ntk_shape out = *shape;
  for (int k = 0; k < count && out.ndim < NTK_MAX_DIMS; k++)
    out.dim[out.ndim++] = 1;
  return out;
}

ntk_status ntk_broadcast_infer(ntk_graph *graph, ntk_node *node, int function,
                               ntk_dtype dtype) {
  ntk_status status = NTK_SUCCESS;
  const int operands = node->input_count;
  int behind;
  ntk_broadcast *b;
  ntk_shape out = {0};
  NTK_TRY(ntk_require_operands(graph, node, operands));
  NTK_TRY(ntk_new_detail(node, sizeof *b + (size_t)operands * sizeof *b->operand, &b));
  NTK_TRY(axes_behind(graph, node, function, &behind));
  for (int i = 0; i < operands; i++) {
    const ntk_shape x = with_ones(&ntk_operand(graph, node, i)->shape, i == 1 ? behind : 0);
    NTK_TRY(ntk_shape_broadcast(&out, &x, &out));
  }
  b->function = function;
  b->operands = operands;
  b->size = ntk_shape_size(&out);
  b->ndim = out.ndim > 0 ? out.ndim : 1;
  b->extent[0] = 1;
  for (int d = 0; d < out.ndim; d++)
    b->extent[d] = out.dim[d];
  for (int i = 0; i < operands; i++) {
    const ntk_shape x = with_ones(&ntk_operand(graph, node, i)->shape, i == 1 ? behind : 0);
    int64_t stride[NTK_MAX_DIMS];
    ntk_shape_strides(&x, stride);
    b->operand[i].size = ntk_shape_size(&x);
    for (int d = 0; d < x.ndim; d++)
      b->operand[i].stride[d + out.ndim - x.ndim] = x.dim[d] == 1 ? 0 : stride[d];
  }
  simplify(b);
  ntk_set_output(graph, node, dtype, &out);
done:
  return status;
}

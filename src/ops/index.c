/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/status.h"
#include "ops/light.h"
#include "ops/lookup.h"
#include <string.h>

/* Gathering and scattering by lists of indices that are constants. */

/* The operands of the family: what is indexed, and the indices, not yet normalised. */
typedef struct indexed {
  ntk_shape x, shape; /* of the data, of the indices */
  int64_t *index;     /* to be freed */
} indexed;

static ntk_status read_indices(const ntk_graph *graph, const ntk_node *node, int operands,
                               indexed *k) {
  ntk_status status = NTK_SUCCESS;
  int64_t count;
  NTK_TRY(ntk_require_operands(graph, node, operands));
  k->x = ntk_operand(graph, node, 0)->shape;
  k->shape = ntk_operand(graph, node, 1)->shape;
  NTK_TRY(ntk_constant_ints(graph, node, 1, "the index", &k->index, &count));
done:
  return status;
}

/* The result's elements from a list; frees it. */
static ntk_status finish(ntk_graph *graph, ntk_node *node, const ntk_shape *y,
                         int64_t **from) {
  const ntk_status status = ntk_list_to_moves(graph, node, y, *from);
  ntk_free(from);
  if (status == NTK_SUCCESS)
    ntk_set_output(graph, node, ntk_operand(graph, node, 0)->dtype, y);
  return status;
}

/* ---- along one axis -------------------------------------------------------------------
 */

/* Places in the data that the indices of GatherElements or ScatterElements mean. */
static ntk_status element_places(const indexed *k, int axis, int64_t *place) {
  ntk_status status = NTK_SUCCESS;
  int64_t at[NTK_MAX_DIMS];
  NTK_REQUIRE(k->shape.ndim == k->x.ndim, NTK_ERR_SHAPE, "indices of %d axes for %d",
              k->shape.ndim, k->x.ndim);
  for (int d = 0; d < k->x.ndim; d++)
    NTK_REQUIRE(d == axis || k->shape.dim[d] <= k->x.dim[d], NTK_ERR_SHAPE,
                "axis %d: %lld indices for %lld elements", d, (long long)k->shape.dim[d],
                (long long)k->x.dim[d]);
  for (int64_t e = 0; e < ntk_shape_size(&k->shape); e++) {
    ntk_shape_index(&k->shape, e, at);
    NTK_TRY(ntk_normalize_index(k->index[e], k->x.dim[axis], &at[axis]));
    place[e] = ntk_shape_place(&k->x, at);
  }
done:
  return status;
}

/* Indices that are not known yet make another operator of the node. */
static ntk_status infer_gatherelements(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  indexed k = {0};
  int64_t *place = NULL;
  int axis;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  if (!ntk_operand(graph, node, 1)->constant) {
    node->op = &ntk_op_lookup_elements;
    return node->op->infer(graph, node);
  }
  NTK_TRY(read_indices(graph, node, 2, &k));
  NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "axis", 0), k.x.ndim, &axis));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, ntk_shape_size(&k.shape), sizeof *place, &place));
  NTK_TRY(element_places(&k, axis, place));
  NTK_TRY(finish(graph, node, &k.shape, &place));
done:
  ntk_free(&place);
  ntk_free(&k.index);
  return status;
}

bool ntk_elements_keep(const ntk_graph *graph, const ntk_node *node,
                       const int *operand_axis, int output_axis) {
  int axis;
  if (ntk_normalize_axis(ntk_node_int(node, "axis", 0),
                         ntk_operand(graph, node, 0)->shape.ndim, &axis) != NTK_SUCCESS)
    return false;
  for (int i = 0; i < node->input_count; i++)
    if (operand_axis[i] >= 0 && operand_axis[i] != output_axis)
      return false;
  return axis != output_axis;
}
NTK_MOVE_ROW(gatherelements, "GatherElements", 11, 2, ntk_elements_keep, NTK_OP_MOVE,
             .not_parameter = 2)

/* Not of ONNX: GatherElements of losses (onnx/lower_loss.c), whose negative labels mean
 * nothing. */
static ntk_status infer_gatherlabels(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *labels = NULL, count;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  if (!ntk_operand(graph, node, 1)->constant) {
    node->op = &ntk_op_lookup_labels;
    return node->op->infer(graph, node);
  }
  NTK_TRY(infer_gatherelements(graph, node));
  NTK_TRY(ntk_constant_ints(graph, node, 1, "the label", &labels, &count));
  for (int64_t k = 0; k < count; k++)
    NTK_REQUIRE(labels[k] >= 0, NTK_ERR_SHAPE, "label %lld is negative",
                (long long)labels[k]);
done:
  ntk_free(&labels);
  return status;
}
NTK_MOVE_ROW(gatherlabels, "GatherLabels", 11, 2, ntk_elements_keep, NTK_OP_MOVE,
             .not_parameter = 2)

/* The data, and on top of them the updates. */
static ntk_status add_updates(ntk_graph *graph, ntk_node *node, const indexed *k,
                              int64_t count, int64_t slice, const int64_t *start) {
  ntk_status status = NTK_SUCCESS;
  ntk_moves *moves;
  NTK_TRY(
      ntk_new_detail(node, sizeof *moves + (size_t)(count + 1) * sizeof(ntk_run), &moves));
  moves->scale = 1;
  moves->from_size = moves->to_size = ntk_shape_size(&k->x);
  moves->third_size = count * slice;
  moves->runs[moves->count++] = (ntk_run){.stride = 1, .length = moves->to_size};
  for (int64_t i = 0; i < count; i++)
    moves->runs[moves->count++] = (ntk_run){.operand = 2,
                                            .add = true,
                                            .at = start[i],
                                            .from = i * slice,
                                            .stride = 1,
                                            .length = slice};
  ntk_set_output(graph, node, ntk_operand(graph, node, 0)->dtype, &k->x);
done:
  return status;
}

/* Updates for a node: `count` slices of `slice` elements, slice i for the data from
 * start[i] on. They replace what is there, of two for one place the last, or are added. */
static ntk_status scatter_updates(ntk_graph *graph, ntk_node *node, const indexed *k,
                                  int64_t count, int64_t slice, const int64_t *start) {
  ntk_status status = NTK_SUCCESS;
  const char *reduction = ntk_node_string(node, "reduction", "none");
  const int64_t size = ntk_shape_size(&k->x);
  int64_t *from = NULL;
  NTK_REQUIRE(strcmp(reduction, "none") == 0 || strcmp(reduction, "add") == 0,
              NTK_ERR_UNSUPPORTED, "reduction %s is not supported", reduction);
  if (strcmp(reduction, "add") == 0) {
    NTK_TRY(add_updates(graph, node, k, count, slice, start));
    goto done;
  }
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, size, sizeof *from, &from));
  for (int64_t i = 0; i < size; i++)
    from[i] = i;
  for (int64_t i = 0; i < count * slice; i++)
    from[start[i / slice] + i % slice] = size + i;
  NTK_TRY(finish(graph, node, &k->x, &from));
done:
  ntk_free(&from);
  return status;
}

static ntk_status infer_scatterelements(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  indexed k = {0};
  int64_t *place = NULL;
  int axis;
  NTK_TRY(read_indices(graph, node, 3, &k));
  const int64_t count = ntk_shape_size(&k.shape);
  NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "axis", 0), k.x.ndim, &axis));
  NTK_REQUIRE(ntk_shape_equal(&k.shape, &ntk_operand(graph, node, 2)->shape), NTK_ERR_SHAPE,
              "indices and updates are of different shapes");
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *place, &place));
  NTK_TRY(element_places(&k, axis, place));
  NTK_TRY(scatter_updates(graph, node, &k, count, 1, place));
done:
  ntk_free(&place);
  ntk_free(&k.index);
  return status;
}
/* No plain moves (NTK_OP_MOVE): the result is made of two operands. */
NTK_MOVE_ROW(scatterelements, "ScatterElements", 11, 3, ntk_elements_keep, 0,
             .not_parameter = 2)
#define infer_scatter infer_scatterelements
NTK_MOVE_ROW(scatter, "Scatter", 9, 3, ntk_elements_keep, 0, .not_parameter = 2)
#undef infer_scatter

/* ---- by whole indices -----------------------------------------------------------------
 */

/* Rows of `length` numbers that index the data's axes from `batch` on; behind them whole
 * slices are meant. */
typedef struct rows {
  int batch, length;
  int64_t count, slice; /* index rows; elements of a slice */
} rows;

static ntk_status rows_of(const indexed *k, int64_t batch, rows *r) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(k->x.ndim > 0 && k->shape.ndim > 0, NTK_ERR_SHAPE, "an operand has no axes");
  const int64_t length = k->shape.dim[k->shape.ndim - 1];
  NTK_REQUIRE(
      batch >= 0 && batch < k->shape.ndim && length > 0 && batch + length <= k->x.ndim,
      NTK_ERR_SHAPE, "indices of %lld numbers into %d axes, of which %lld are batch",
      (long long)length, k->x.ndim, (long long)batch);
  *r = (rows){.batch = (int)batch,
              .length = (int)length,
              .count = ntk_shape_size(&k->shape) / length,
              .slice = 1};
  for (int d = 0; d < batch; d++)
    NTK_REQUIRE(k->shape.dim[d] == k->x.dim[d], NTK_ERR_SHAPE,
                "batch axis %d has %lld elements and %lld indices", d,
                (long long)k->x.dim[d], (long long)k->shape.dim[d]);
  for (int d = r->batch + r->length; d < k->x.ndim; d++)
    r->slice *= k->x.dim[d];
done:
  return status;
}

/* First elements of the slices that the rows of indices mean. */
static ntk_status slice_starts(const indexed *k, const rows *r, int64_t **start) {
  ntk_status status = NTK_SUCCESS;
  int64_t at[NTK_MAX_DIMS] = {0};
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, r->count, sizeof **start, start));
  for (int64_t i = 0; i < r->count; i++) {
    ntk_shape_index(&k->shape, i * r->length, at); /* of the batch axes */
    for (int d = r->batch; d < k->x.ndim; d++)
      at[d] = 0;
    for (int d = 0; d < r->length; d++)
      NTK_TRY(ntk_normalize_index(k->index[i * r->length + d], k->x.dim[r->batch + d],
                                  &at[r->batch + d]));
    (*start)[i] = ntk_shape_place(&k->x, at);
  }
done:
  return status;
}

/* Axes of the indices but the last, then those of a slice. */
static ntk_status slices_shape(const indexed *k, const rows *r, ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  ntk_shape y = k->shape;
  y.ndim--;
  NTK_REQUIRE(y.ndim + k->x.ndim - r->batch - r->length <= NTK_MAX_DIMS,
              NTK_ERR_UNSUPPORTED, "more than %d axes", NTK_MAX_DIMS);
  for (int d = r->batch + r->length; d < k->x.ndim; d++)
    y.dim[y.ndim++] = k->x.dim[d];
  NTK_TRY(ntk_check_size(&y));
  *shape = y;
done:
  return status;
}

static ntk_status infer_gathernd(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  indexed k = {0};
  rows r;
  ntk_shape y;
  int64_t *from = NULL, *start = NULL;
  NTK_TRY(read_indices(graph, node, 2, &k));
  NTK_TRY(rows_of(&k, ntk_node_int(node, "batch_dims", 0), &r));
  NTK_TRY(slices_shape(&k, &r, &y));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, r.count * r.slice, sizeof *from, &from));
  NTK_TRY(slice_starts(&k, &r, &start));
  for (int64_t i = 0; i < r.count * r.slice; i++)
    from[i] = start[i / r.slice] + i % r.slice;
  NTK_TRY(finish(graph, node, &y, &from));
done:
  ntk_free(&start);
  ntk_free(&from);
  ntk_free(&k.index);
  return status;
}

/* The batch is one of the slices' axes, or of those in front that are not indexed. */
static bool gathernd_keeps(const ntk_graph *graph, const ntk_node *node,
                           const int *operand_axis, int output_axis) {
  const ntk_shape *index = &ntk_operand(graph, node, 1)->shape;
  const int batch = (int)ntk_node_int(node, "batch_dims", 0), axis = operand_axis[0];
  const int indexed_axes = batch + (int)index->dim[index->ndim - 1];
  if (axis < 0)
    return false;
  return axis < batch
             ? output_axis == axis
             : axis >= indexed_axes && output_axis == axis - indexed_axes + index->ndim - 1;
}
NTK_MOVE_ROW(gathernd, "GatherND", 11, 2, gathernd_keeps, NTK_OP_MOVE, .not_parameter = 2)

static ntk_status infer_scatternd(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  indexed k = {0};
  rows r;
  ntk_shape updates;
  int64_t *start = NULL;
  NTK_TRY(read_indices(graph, node, 3, &k));
  NTK_TRY(rows_of(&k, 0, &r));
  NTK_TRY(slices_shape(&k, &r, &updates));
  NTK_REQUIRE(ntk_shape_equal(&updates, &ntk_operand(graph, node, 2)->shape), NTK_ERR_SHAPE,
              "the updates have not the shape that the indices give");
  NTK_TRY(slice_starts(&k, &r, &start));
  NTK_TRY(scatter_updates(graph, node, &k, r.count, r.slice, start));
done:
  ntk_free(&start);
  ntk_free(&k.index);
  return status;
}

/* The batch is one of the slices' axes, in the data and the updates. */
static bool scatternd_keeps(const ntk_graph *graph, const ntk_node *node,
                            const int *operand_axis, int output_axis) {
  const ntk_shape *index = &ntk_operand(graph, node, 1)->shape;
  const int length = (int)index->dim[index->ndim - 1];
  return output_axis >= length && (operand_axis[0] < 0 || operand_axis[0] == output_axis) &&
         (operand_axis[2] < 0 || operand_axis[2] == output_axis - length + index->ndim - 1);
}
NTK_MOVE_ROW(scatternd, "ScatterND", 11, 3, scatternd_keeps, 0, .not_parameter = 2)

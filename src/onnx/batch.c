/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/import.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A size that no axis has by chance; prime, so that a merged axis shows it as a factor. */
enum { PROBE = 13 };

static const Onnx__TensorShapeProto *shape_of(const Onnx__ValueInfoProto *input) {
  if (!input->type || input->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
    return NULL;
  return input->type->tensor_type->shape;
}

ntk_status ntk_batch_axis(const ntk_import *import, const Onnx__ValueInfoProto *input,
                          int *axis, bool *must_follow) {
  const Onnx__TensorShapeProto *shape = shape_of(input);
  const char *word = ntk_options_string(import->options, "batch-axis");
  *axis = -1;
  *must_follow = false;
  if (!shape || shape->n_dim == 0 || (word && strcmp(word, "none") == 0))
    return NTK_SUCCESS;
  if (!word) {
    *axis = 0;
  } else {
    char *end;
    const long number = strtol(word, &end, 10);
    if (*word && !*end) {
      if (number >= 0 && number < (long)shape->n_dim)
        *axis = (int)number;
    } else {
      for (size_t i = 0; i < shape->n_dim; i++)
        if (shape->dim[i]->value_case ==
                ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
            strcmp(shape->dim[i]->dim_param, word) == 0)
          *axis = (int)i;
    }
    if (*axis < 0)
      return ntk_fail(NTK_ERR_ARGUMENT, "--batch-axis %s: input '%s' has no such axis",
                      word, input->name);
  }
  const Onnx__TensorShapeProto__Dimension *dim = shape->dim[*axis];
  *must_follow = dim->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE ||
                 dim->dim_value != 1;
  return NTK_SUCCESS;
}

/* The one axis that is PROBE times as large; -1: none, -2: the shapes differ otherwise. */
static int carried_axis(const ntk_shape *one, const ntk_shape *many) {
  int axis = -1;
  if (one->ndim != many->ndim)
    return -2;
  for (int i = 0; i < one->ndim; i++) {
    if (one->dim[i] == many->dim[i])
      continue;
    if (axis >= 0 || many->dim[i] != PROBE * one->dim[i])
      return -2;
    axis = i;
  }
  return axis;
}

static ntk_status refuse(const ntk_import *import, const ntk_graph *graph, int node,
                         const char *what) {
  const ntk_node *n = &graph->nodes[node];
  return ntk_fail(NTK_ERR_UNSUPPORTED,
                  "%s: node '%s' (%s) %s the batch axis: the network is no function of one "
                  "sample; see --batch-axis",
                  import->path, n->name, n->op->name, what);
}

/* Operands that carry the axis must carry it where the output does, counted from the right.
 */
static bool elementwise_keeps(const ntk_graph *graph, const ntk_node *node, const int *axes,
                              int output_axis) {
  const int behind = graph->values[node->outputs[0]].shape.ndim - output_axis;
  for (int i = 0; i < node->input_count; i++)
    if (axes[i] >= 0 && graph->values[node->inputs[i]].shape.ndim - axes[i] != behind)
      return false;
  return true;
}

/* Product of the sizes in front of an axis. */
static int64_t size_before(const ntk_shape *shape, int axis) {
  int64_t size = 1;
  for (int d = 0; d < axis; d++)
    size *= shape->dim[d];
  return size;
}

/* An axis that carries the batch is [outer, batch, rest], outer mostly 1: torch's attention
 * merges tokens and samples, [T, B, K] to [T B, K]. What changes the shape alone keeps the
 * place of the batch in memory; all else must take such an axis as a whole. Returns the
 * output's outer, 0 where there is none. */
static int64_t outer_of(const ntk_graph *one, const ntk_node *node, const int *axes,
                        const int64_t *outer, int output_axis) {
  const ntk_shape *y = &one->values[node->outputs[0]].shape;
  int64_t found = 0;
  if (node->op->flags & NTK_OP_ALIAS) {
    const ntk_shape *x = &one->values[node->inputs[0]].shape;
    const int64_t before = size_before(x, axes[0]) * outer[node->inputs[0]];
    const int64_t in_front = size_before(y, output_axis);
    found = in_front > 0 && before % in_front == 0 ? before / in_front : 0;
    return found > 0 && y->dim[output_axis] % found == 0 ? found : 0;
  }
  for (int i = 0; i < node->input_count; i++) {
    if (axes[i] < 0)
      continue;
    const int64_t mine = outer[node->inputs[i]];
    const int64_t size = one->values[node->inputs[i]].shape.dim[axes[i]];
    if ((found && found != mine) || (mine > 1 && size != y->dim[output_axis]))
      return 0;
    found = mine;
  }
  return found;
}

/* axes: room for the operands. */
static ntk_status check_node(const ntk_import *import, const ntk_graph *one,
                             const ntk_graph *many, int number, int *axes, int64_t *outer) {
  const ntk_node *node = &one->nodes[number];
  const int y = node->outputs[0];
  if (one->values[y].role != NTK_DATA)
    return NTK_SUCCESS;
  axes[0] = NTK_BATCH_NONE;
  for (int i = 0; i < node->input_count; i++) {
    const int x = node->inputs[i];
    axes[i] = x >= 0 && one->values[x].role == NTK_DATA
                  ? carried_axis(&one->values[x].shape, &many->values[x].shape)
                  : NTK_BATCH_NONE;
  }
  const int axis = carried_axis(&one->values[y].shape, &many->values[y].shape);
  if (axis < 0)
    return refuse(import, one, number, "loses or mixes");
  const bool kept = node->op->keeps_batch ? node->op->keeps_batch(one, node, axes, axis)
                    : node->op->flags & NTK_OP_ALIAS
                        ? axes[0] >= 0
                        : elementwise_keeps(one, node, axes, axis);
  outer[y] = kept ? outer_of(one, node, axes, outer, axis) : 0;
  return outer[y] ? NTK_SUCCESS : refuse(import, one, number, "mixes samples along");
}

static int most_operands(const ntk_graph *graph) {
  int most = 8; /* rules look at axes of operands that are left out */
  for (int i = 0; i < graph->node_count; i++)
    if (graph->nodes[i].input_count > most)
      most = graph->nodes[i].input_count;
  return most;
}

/* Old files list initializers among the inputs, too. */
static bool is_input(const ntk_graph *graph, const char *name) {
  for (int k = 0; k < graph->input_count; k++)
    if (strcmp(graph->values[graph->inputs[k]].name, name) == 0)
      return true;
  return false;
}

/* The last failure came from another batch size than the file's. */
static ntk_status refuse_size(const ntk_import *import) {
  char cause[512];
  (void)snprintf(cause, sizeof cause, "%s", ntk_fail_message());
  return ntk_fail(NTK_ERR_UNSUPPORTED,
                  "%s: the network works for its own batch size only (%s); re-export with "
                  "a dynamic batch",
                  import->path, cause);
}

/* Fixed size of the batch axis of the first input that has one > 1, else 1. */
static int64_t fixed_size(const ntk_import *import) {
  for (size_t i = 0; i < import->graph->n_input; i++) {
    const Onnx__TensorShapeProto *shape = shape_of(import->graph->input[i]);
    int axis;
    bool follow;
    if (ntk_batch_axis(import, import->graph->input[i], &axis, &follow) == NTK_SUCCESS &&
        axis >= 0 &&
        shape->dim[axis]->value_case ==
            ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
        shape->dim[axis]->dim_value > 1)
      return shape->dim[axis]->dim_value;
  }
  return 1;
}

ntk_status ntk_batch_build(const ntk_import *import, ntk_graph **out) {
  char cause[1024];
  ntk_graph *graph = NULL;
  const ntk_status status = ntk_graph_build(import, 1, false, out);
  const int64_t size = fixed_size(import);
  if (status == NTK_SUCCESS || size == 1)
    return status;
  (void)snprintf(cause, sizeof cause, "%s", ntk_fail_message());
  const ntk_status with_size = ntk_graph_build(import, size, true, &graph);
  ntk_graph_destroy(&graph);
  (void)ntk_fail(status, "%s", cause);
  return with_size == NTK_SUCCESS ? refuse_size(import) : status;
}

ntk_status ntk_batch_check(const ntk_import *import, const ntk_graph *graph) {
  ntk_status status = NTK_SUCCESS;
  ntk_graph *many = NULL;
  int64_t *outer = NULL; /* [values] see outer_of */
  int *axes = NULL;
  bool any = false;
  for (size_t i = 0; i < import->graph->n_input; i++) {
    int axis;
    bool follow = false;
    if (is_input(graph, import->graph->input[i]->name))
      NTK_TRY(ntk_batch_axis(import, import->graph->input[i], &axis, &follow));
    any = any || follow;
  }
  if (!any)
    goto done;
  if (ntk_graph_build(import, PROBE, true, &many) != NTK_SUCCESS)
    NTK_TRY(refuse_size(import));
  NTK_REQUIRE(
      many->node_count == graph->node_count && many->value_count == graph->value_count,
      NTK_ERR_UNSUPPORTED,
      "%s: the network's structure depends on the batch size; re-export with a dynamic "
      "batch",
      import->path);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->value_count, sizeof *outer, &outer));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, most_operands(graph), sizeof *axes, &axes));
  for (int i = 0; i < graph->input_count; i++)
    outer[graph->inputs[i]] = 1;
  for (int i = 0; i < graph->node_count; i++)
    NTK_TRY(check_node(import, graph, many, i, axes, outer));
  for (int i = 0; i < graph->output_count; i++) {
    const int v = graph->outputs[i];
    NTK_REQUIRE(carried_axis(&graph->values[v].shape, &many->values[v].shape) >= 0,
                NTK_ERR_UNSUPPORTED, "%s: output '%s' does not carry the batch axis",
                import->path, graph->values[v].name);
  }
done:
  ntk_free(&outer);
  ntk_free(&axes);
  ntk_graph_destroy(&many);
  return status;
}

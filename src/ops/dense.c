/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"

#include "base/memory.h"

const ntk_shape *ntk_dense_shape(const ntk_graph *graph, const ntk_node *node,
                                 int operand) {
  return &graph->values[node->inputs[operand]].shape;
}

ntk_status ntk_dense_begin(ntk_graph *graph, ntk_node *node, int required, size_t bytes,
                           void *detail) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(node->input_count >= required, NTK_ERR_UNSUPPORTED,
              "%d operands, %d needed; the file is damaged or of another operator set",
              node->input_count, required);
  for (int i = 0; i < node->input_count; i++) {
    NTK_REQUIRE(node->inputs[i] >= 0 || i >= required, NTK_ERR_UNSUPPORTED,
                "operand %d is left out, but needed", i);
    if (node->inputs[i] < 0)
      continue;
    const ntk_value *value = &graph->values[node->inputs[i]];
    NTK_REQUIRE(ntk_dtype_is_real(value->dtype), NTK_ERR_UNSUPPORTED,
                "operand '%s' is %s; only f32 and f64 are supported here", value->name,
                ntk_dtype_name(value->dtype));
  }
  ntk_free(&node->detail);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, bytes, &node->detail));
  *(void **)detail = node->detail;
done:
  return status;
}

void ntk_dense_output(ntk_graph *graph, ntk_node *node, const ntk_shape *shape) {
  ntk_value *value = &graph->values[node->outputs[0]];
  value->shape = *shape;
  value->dtype = graph->values[node->inputs[0]].dtype;
}

bool ntk_dense_keeps_leading(const ntk_node *node, const int *operand_axis, int output_axis,
                             int limit) {
  for (int i = 1; i < node->input_count; i++)
    if (operand_axis[i] != NTK_BATCH_NONE)
      return false;
  return operand_axis[0] == output_axis && output_axis < limit;
}

ntk_status ntk_sparse_create(ntk_node *node, ntk_sparse sizes, int64_t entries,
                             ntk_sparse **map) {
  ntk_status status = NTK_SUCCESS;
  ntk_sparse *m;
  NTK_REQUIRE(entries <= NTK_MOST_ENTRIES, NTK_ERR_UNSUPPORTED,
              "a linear map of more than %d entries", NTK_MOST_ENTRIES);
  ntk_free(&node->detail);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1,
                     sizeof *m + (size_t)(sizes.rows + 1 + entries) * sizeof(int64_t) +
                         (size_t)entries * sizeof(double),
                     &node->detail));
  m = node->detail;
  *m = sizes;
  m->start = (int64_t *)(m + 1);
  m->column = m->start + m->rows + 1;
  m->weight = (double *)(m->column + entries);
  *map = m;
done:
  return status;
}

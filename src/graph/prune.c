/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/status.h"
#include "graph/graph.h"
#include <stdbool.h>

/* Marks what outputs need; returns which values stay. Nodes stand in order. */
static void mark(const ntk_graph *graph, bool *nodes, bool *values) {
  for (int i = 0; i < graph->output_count; i++)
    values[graph->outputs[i]] = true;
  for (int i = graph->node_count - 1; i >= 0; i--) {
    const ntk_node *node = &graph->nodes[i];
    for (int k = 0; k < node->output_count; k++)
      nodes[i] = nodes[i] || (node->outputs[k] >= 0 && values[node->outputs[k]]);
    for (int k = 0; nodes[i] && k < node->input_count; k++)
      if (node->inputs[k] >= 0)
        values[node->inputs[k]] = true;
    for (int k = 0; nodes[i] && k < node->output_count; k++)
      if (node->outputs[k] >= 0)
        values[node->outputs[k]] = true;
  }
  for (int i = 0; i < graph->input_count; i++)
    values[graph->inputs[i]] = true;
  for (int i = 0; i < graph->parameter_count; i++)
    values[graph->parameters[i]] = true;
}

static void renumber(int count, int *list, const int *numbers) {
  for (int i = 0; i < count; i++)
    if (list[i] >= 0)
      list[i] = numbers[list[i]];
}

/* numbers: value -> its new number. */
static void keep_values(ntk_graph *graph, const bool *keep, int *numbers) {
  int count = 0;
  for (int v = 0; v < graph->value_count; v++) {
    numbers[v] = keep[v] ? count : -1;
    if (keep[v]) {
      graph->values[count++] = graph->values[v];
      continue;
    }
    ntk_free(&graph->values[v].name);
    ntk_tensor_destroy(&graph->values[v].constant);
  }
  graph->value_count = count;
}

static void keep_nodes(ntk_graph *graph, const bool *keep, const int *numbers) {
  int count = 0;
  for (int i = 0; i < graph->node_count; i++) {
    ntk_node node = graph->nodes[i];
    if (!keep[i]) {
      ntk_node_clear(&node);
      continue;
    }
    renumber(node.input_count, node.inputs, numbers);
    renumber(node.output_count, node.outputs, numbers);
    for (int k = 0; k < node.output_count; k++)
      if (node.outputs[k] >= 0)
        graph->values[node.outputs[k]].producer = count;
    graph->nodes[count++] = node;
  }
  graph->node_count = count;
}

ntk_status ntk_graph_prune(ntk_graph *graph) {
  ntk_status status = NTK_SUCCESS;
  bool *nodes = NULL, *values = NULL;
  int *numbers = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->node_count, sizeof *nodes, &nodes));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->value_count, sizeof *values, &values));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, graph->value_count, sizeof *numbers, &numbers));
  mark(graph, nodes, values);
  keep_values(graph, values, numbers);
  keep_nodes(graph, nodes, numbers);
  renumber(graph->input_count, graph->inputs, numbers);
  renumber(graph->output_count, graph->outputs, numbers);
  renumber(graph->parameter_count, graph->parameters, numbers);
done:
  ntk_free(&nodes);
  ntk_free(&values);
  ntk_free(&numbers);
  return status;
}

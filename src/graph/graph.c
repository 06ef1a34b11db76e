/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/graph.h"

#include "base/memory.h"
#include <string.h>

ntk_status ntk_graph_create(ntk_graph **out) {
  return ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof(ntk_graph), out);
}

static void clear_attribute(ntk_attribute *attribute) {
  ntk_free(&attribute->name);
  ntk_free(&attribute->s);
  ntk_free(&attribute->ints);
  ntk_free(&attribute->floats);
  ntk_tensor_destroy(&attribute->tensor);
}

void ntk_node_clear(ntk_node *node) {
  ntk_free(&node->name);
  ntk_free(&node->inputs);
  ntk_free(&node->outputs);
  for (int i = 0; i < node->attribute_count; i++)
    clear_attribute(&node->attributes[i]);
  ntk_free(&node->attributes);
  ntk_free(&node->detail);
}

void ntk_graph_destroy(ntk_graph **graph) {
  ntk_graph *g = *graph;
  if (!g)
    return;
  for (int i = 0; i < g->value_count; i++) {
    ntk_free(&g->values[i].name);
    ntk_tensor_destroy(&g->values[i].constant);
  }
  for (int i = 0; i < g->node_count; i++)
    ntk_node_clear(&g->nodes[i]);
  ntk_free(&g->values);
  ntk_free(&g->nodes);
  ntk_free(&g->inputs);
  ntk_free(&g->outputs);
  ntk_free(&g->parameters);
  ntk_free(graph);
}

/* Room for one more of `count` elements: doubles at each power of two. */
static ntk_status grow(int count, size_t size, void *list) {
  if (count > 0 && (count & (count - 1)) != 0)
    return NTK_SUCCESS;
  return ntk_realloc(NTK_MEMORY_GENERAL, count > 0 ? 2 * (int64_t)count : 1, size, list);
}

ntk_status ntk_graph_add_value(ntk_graph *graph, const char *name, int *index) {
  ntk_status status = NTK_SUCCESS;
  ntk_value value = {.role = NTK_CONSTANT, .producer = -1};
  NTK_TRY(grow(graph->value_count, sizeof value, &graph->values));
  NTK_TRY(ntk_strdup(name, &value.name));
  graph->values[graph->value_count] = value;
  *index = graph->value_count++;
done:
  return status;
}

static ntk_status none_list(int count, int **list) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof(int), list));
  for (int i = 0; i < count; i++)
    (*list)[i] = -1;
done:
  return status;
}

ntk_status ntk_graph_add_node(ntk_graph *graph, const char *name, const struct ntk_op *op,
                              int inputs, int outputs, int *index) {
  ntk_status status = NTK_SUCCESS;
  ntk_node node = {.op = op, .input_count = inputs, .output_count = outputs};
  NTK_TRY(grow(graph->node_count, sizeof node, &graph->nodes));
  NTK_TRY(ntk_strdup(name, &node.name));
  NTK_TRY(none_list(inputs, &node.inputs));
  NTK_TRY(none_list(outputs, &node.outputs));
  graph->nodes[graph->node_count] = node;
  *index = graph->node_count++;
  node = (ntk_node){0};
done:
  ntk_node_clear(&node);
  return status;
}

int64_t ntk_graph_size(const ntk_graph *graph, int value) {
  return ntk_shape_size(&graph->values[value].shape);
}

static int64_t total_size(const ntk_graph *graph, int count, const int *values) {
  int64_t total = 0;
  for (int i = 0; i < count; i++)
    total += ntk_graph_size(graph, values[i]);
  return total;
}

int64_t ntk_graph_inputs(const ntk_graph *graph) {
  return total_size(graph, graph->input_count, graph->inputs);
}

int64_t ntk_graph_outputs(const ntk_graph *graph) {
  return total_size(graph, graph->output_count, graph->outputs);
}

int64_t ntk_graph_parameters(const ntk_graph *graph) {
  return total_size(graph, graph->parameter_count, graph->parameters);
}

const ntk_attribute *ntk_node_attribute(const ntk_node *node, const char *name) {
  for (int i = 0; i < node->attribute_count; i++)
    if (strcmp(node->attributes[i].name, name) == 0)
      return &node->attributes[i];
  return NULL;
}

/* Attribute of this name and kind, else NULL. */
static const ntk_attribute *of_kind(const ntk_node *node, const char *name,
                                    ntk_attribute_kind kind) {
  const ntk_attribute *attribute = ntk_node_attribute(node, name);
  return attribute && attribute->kind == kind ? attribute : NULL;
}

int64_t ntk_node_int(const ntk_node *node, const char *name, int64_t otherwise) {
  const ntk_attribute *attribute = of_kind(node, name, NTK_ATTRIBUTE_INT);
  return attribute ? attribute->i : otherwise;
}

double ntk_node_float(const ntk_node *node, const char *name, double otherwise) {
  const ntk_attribute *attribute = of_kind(node, name, NTK_ATTRIBUTE_FLOAT);
  return attribute ? attribute->f : otherwise;
}

const char *ntk_node_string(const ntk_node *node, const char *name, const char *otherwise) {
  const ntk_attribute *attribute = of_kind(node, name, NTK_ATTRIBUTE_STRING);
  return attribute ? attribute->s : otherwise;
}

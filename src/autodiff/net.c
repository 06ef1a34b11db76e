/* SPDX-License-Identifier: Apache-2.0 */
#include "autodiff/net.h"
#include "base/memory.h"
#include <string.h>

enum { ALIGNMENT = 64 };

/* Does the graph hold the elements in this type? */
static bool is_there(const ntk_value *value, ntk_dtype dtype) {
  return value->constant && value->constant->dtype == dtype;
}

/* Gives each value its place in the block; block NULL: counts. Returns the block's bytes.
 */
static int64_t place(const ntk_graph *graph, ntk_dtype dtype, char *block, void **held) {
  int64_t at = 0;
  for (int v = 0; v < graph->value_count; v++) {
    const ntk_value *value = &graph->values[v];
    if (value->role == NTK_DATA)
      continue;
    const bool there = is_there(value, dtype);
    if (block)
      held[v] = there ? value->constant->data : block + at;
    if (!there)
      at += (ntk_graph_size(graph, v) * (int64_t)ntk_dtype_bytes(dtype) + ALIGNMENT - 1) /
            ALIGNMENT * ALIGNMENT;
  }
  return at;
}

int64_t ntk_net_bytes(const ntk_graph *graph, ntk_dtype dtype) {
  return place(graph, dtype, NULL, NULL);
}

void ntk_net_place(ntk_net *net, void *block) {
  (void)place(net->graph, net->dtype, block, net->held);
}

static ntk_status fill(const ntk_net *net, int v) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *value = &net->graph->values[v];
  const ntk_tensor *tensor = value->constant;
  const int64_t size = ntk_shape_size(&value->shape);
  if (!is_there(value, net->dtype))
    ntk_convert(tensor->dtype, tensor->data, net->dtype, net->held[v], size);
  if (value->role == NTK_PARAMETER) {
    const int64_t bad = ntk_find_nonfinite(net->dtype, net->held[v], size);
    NTK_REQUIRE(bad < 0, NTK_ERR_NONFINITE,
                "parameter '%s': element %lld is not a finite number", value->name,
                (long long)bad);
  }
done:
  return status;
}

static ntk_status evaluate(ntk_net *net, const ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = net->graph;
  ntk_array *arrays = NULL;
  void *work = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, node->input_count + node->output_count,
                     sizeof *arrays, &arrays));
  ntk_array *out = arrays + node->input_count;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] >= 0)
      arrays[i].data = net->held[node->inputs[i]];
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i] >= 0)
      out[i].data = net->held[node->outputs[i]];
  const int64_t scratch = node->op->workspace ? node->op->workspace(graph, node, 1, 1) : 0;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, scratch, ntk_dtype_bytes(net->dtype), &work));
  node->op->kernels[net->dtype]->forward(node, 1, arrays, out, work);
done:
  ntk_free(&work);
  ntk_free(&arrays);
  return status;
}

ntk_status ntk_net_update(ntk_net *net) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = net->graph;
  for (int v = 0; v < graph->value_count; v++)
    if (graph->values[v].role != NTK_DATA && graph->values[v].constant)
      NTK_TRY(fill(net, v));
  for (int i = 0; i < graph->node_count; i++)
    if (graph->values[graph->nodes[i].outputs[0]].role != NTK_DATA)
      NTK_TRY(evaluate(net, &graph->nodes[i]));
done:
  return status;
}

static void find_users(ntk_net *net) {
  const ntk_graph *graph = net->graph;
  for (int v = 0; v < graph->value_count; v++) {
    net->first_user[v] = graph->node_count;
    net->last_user[v] = -1;
  }
  for (int i = 0; i < graph->node_count; i++) {
    const ntk_node *node = &graph->nodes[i];
    for (int k = 0; k < node->input_count; k++) {
      const int v = node->inputs[k];
      if (v < 0)
        continue;
      net->slots[v]++;
      if (net->first_user[v] > i)
        net->first_user[v] = i;
      net->last_user[v] = i;
    }
  }
  for (int i = 0; i < graph->output_count; i++)
    net->is_output[graph->outputs[i]] = true;
}

ntk_status ntk_net_create(const ntk_graph *graph, ntk_dtype dtype, void *block,
                          ntk_net **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_net *net = NULL;
  const int64_t count = graph->value_count;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *net, &net));
  net->graph = graph;
  net->dtype = dtype;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(void *), &net->held));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(int), &net->slots));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(int), &net->first_user));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(int), &net->last_user));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(bool), &net->is_output));
  find_users(net);
  if (!block)
    NTK_TRY(
        ntk_malloc(NTK_MEMORY_PARAMETERS, ntk_net_bytes(graph, dtype), 1, &net->own_block));
  ntk_net_place(net, block ? block : net->own_block);
  if (!block)
    NTK_TRY(ntk_net_update(net));
  *out = net;
  net = NULL;
done:
  ntk_net_destroy(&net);
  return status;
}

void ntk_net_destroy(ntk_net **handle) {
  ntk_net *net = *handle;
  if (!net)
    return;
  ntk_free(&net->held);
  ntk_free(&net->own_block);
  ntk_free(&net->slots);
  ntk_free(&net->first_user);
  ntk_free(&net->last_user);
  ntk_free(&net->is_output);
  ntk_free(handle);
}

int ntk_net_colours(const ntk_net *net) {
  int colours = 1;
  for (int i = 0; net->colours && i < net->graph->parameter_count; i++)
    if (net->colours[net->graph->parameters[i]] >= colours)
      colours = net->colours[net->graph->parameters[i]] + 1;
  return colours;
}

bool ntk_net_vjp_is_constant(const ntk_net *net, const ntk_node *node, int operand) {
  const unsigned flags = node->op->flags;
  if (flags & (NTK_OP_ADDITIVE | NTK_OP_ALIAS | NTK_OP_MOVE))
    return true;
  if (!(flags & NTK_OP_MULTILINEAR))
    return false;
  for (int i = 0; i < node->input_count; i++)
    if (i != operand && node->inputs[i] >= 0 &&
        net->graph->values[node->inputs[i]].role == NTK_DATA)
      return false;
  return true;
}

double ntk_net_node_flops(const ntk_net *net, const ntk_node *node) {
  const ntk_graph *graph = net->graph;
  if (node->op->flags & NTK_OP_ALIAS)
    return 0;
  return node->op->flops ? node->op->flops(graph, node)
                         : (double)ntk_graph_size(graph, node->outputs[0]);
}

double ntk_net_forward_flops(const ntk_net *net) {
  const ntk_graph *graph = net->graph;
  double flops = 0;
  for (int i = 0; i < graph->node_count; i++)
    if (graph->values[graph->nodes[i].outputs[0]].role == NTK_DATA)
      flops += ntk_net_node_flops(net, &graph->nodes[i]);
  return flops;
}

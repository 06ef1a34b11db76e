/* SPDX-License-Identifier: Apache-2.0 */
#include "autodiff/net.h"
#include "base/memory.h"
#include <string.h>

static ntk_status hold(ntk_net *net, int v) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *value = &net->graph->values[v];
  const ntk_tensor *tensor = value->constant;
  const int64_t size = ntk_shape_size(&value->shape);
  if (tensor && tensor->dtype == net->dtype) {
    net->held[v] = tensor->data;
  } else {
    if (!net->owned[v])
      NTK_TRY(ntk_calloc(NTK_MEMORY_PARAMETERS, size, ntk_dtype_bytes(net->dtype),
                         &net->held[v]));
    net->owned[v] = true;
    if (tensor)
      ntk_convert(tensor->dtype, tensor->data, net->dtype, net->held[v], size);
  }
  if (tensor && value->role == NTK_PARAMETER) {
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
    if (graph->values[v].role != NTK_DATA)
      NTK_TRY(hold(net, v));
  for (int i = 0; i < graph->node_count; i++)
    if (graph->values[graph->nodes[i].outputs[0]].role == NTK_PARAMETER)
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

ntk_status ntk_net_create(const ntk_graph *graph, ntk_dtype dtype, ntk_net **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_net *net = NULL;
  const int64_t count = graph->value_count;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *net, &net));
  net->graph = graph;
  net->dtype = dtype;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(void *), &net->held));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(bool), &net->owned));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(int), &net->slots));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(int), &net->first_user));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(int), &net->last_user));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(bool), &net->is_output));
  find_users(net);
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
  if (net->held && net->owned)
    for (int v = 0; v < net->graph->value_count; v++)
      if (net->owned[v])
        ntk_free(&net->held[v]);
  ntk_free(&net->held);
  ntk_free(&net->owned);
  ntk_free(&net->slots);
  ntk_free(&net->first_user);
  ntk_free(&net->last_user);
  ntk_free(&net->is_output);
  ntk_free(handle);
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

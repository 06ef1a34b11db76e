/* SPDX-License-Identifier: Apache-2.0 */
#include "autodiff/sweep_plan.h"
#include "autodiff/slots.h"
#include "base/memory.h"
#include <string.h>

/* Downwards: what is needed (lies above a wanted value) and active (below a parameter). */
static void find_needs(ntk_sweep *sweep) {
  const ntk_graph *graph = sweep->net->graph;
  for (int v = 0; v < graph->value_count; v++) {
    sweep->need[v] = sweep->wanted[v];
    sweep->active[v] =
        graph->values[v].role == NTK_PARAMETER && graph->values[v].producer < 0;
    sweep->home[v] = v;
  }
  for (int i = 0; i < graph->node_count; i++) {
    const ntk_node *node = &graph->nodes[i];
    if (node->op->flags & NTK_OP_DISCRETE)
      continue;
    for (int k = 0; k < node->input_count; k++) {
      const int x = node->inputs[k];
      if (x >= 0 && sweep->need[x])
        sweep->need[node->outputs[0]] = true;
      if (x >= 0 && sweep->active[x])
        sweep->active[node->outputs[0]] = true;
    }
  }
}

/* May the cotangent of operand k take the memory of the result's? Nothing else is to be
 * added to it, and it holds the same numbers or is made of them element by element. */
static bool hands_down(const ntk_sweep *sweep, const ntk_node *node, int k) {
  const ntk_net *net = sweep->net;
  const int x = node->inputs[k], y = node->outputs[0];
  if (x < 0 || !sweep->need[x] || net->slots[x] != 1 || net->is_output[x] ||
      sweep->per_sample[x] != sweep->per_sample[y])
    return false;
  return k == 0 && (node->op->flags & NTK_OP_ELEMENTWISE) ? true
                                                          : ntk_node_passes(net, node, k);
}

/* Upwards: which cotangents depend on the sample, and which are handed down. */
static void find_dependence(ntk_sweep *sweep) {
  const ntk_net *net = sweep->net;
  const ntk_graph *graph = net->graph;
  const bool sums = sweep->limits.sums_samples;
  for (int i = 0; i < graph->output_count; i++)
    sweep->per_sample[graph->outputs[i]] = sweep->limits.own_seeds;
  for (int i = graph->node_count - 1; i >= 0; i--) {
    const ntk_node *node = &graph->nodes[i];
    const int y = node->outputs[0];
    if (!sweep->need[y] || (node->op->flags & NTK_OP_DISCRETE))
      continue;
    for (int k = 0; k < node->input_count; k++) {
      const int x = node->inputs[k];
      if (x >= 0 && sweep->need[x] && (!sums || ntk_sweep_is_data(sweep, x)) &&
          (sweep->per_sample[y] || !ntk_net_vjp_is_constant(net, node, k)))
        sweep->per_sample[x] = true;
    }
    for (int k = 0; k < node->input_count; k++)
      if (hands_down(sweep, node, k)) {
        sweep->home[node->inputs[k]] = sweep->home[y];
        break;
      }
  }
}

static void place_values(ntk_sweep *sweep) {
  const ntk_graph *graph = sweep->net->graph;
  for (int i = 0; i < graph->node_count; i++)
    for (int k = 0; k < graph->nodes[i].output_count; k++) {
      const int v = graph->nodes[i].outputs[k];
      if (!ntk_sweep_is_data(sweep, v) || ntk_node_is_alias(&graph->nodes[i]))
        continue;
      sweep->value_at[v] = sweep->value_bytes;
      sweep->value_bytes += ntk_slots_round(
          sweep->limits.samples * ntk_sweep_size(sweep, v) * ntk_sweep_element(sweep));
    }
}

/* Gives v its cotangent memory unless it has some. */
static ntk_status place_cotangent(ntk_sweep *sweep, ntk_slots *slots, int v) {
  int64_t *at = &sweep->cotangent_at[sweep->home[v]];
  if (*at >= 0)
    return NTK_SUCCESS;
  const int64_t n = sweep->per_sample[v] ? sweep->limits.samples : 1;
  return ntk_slots_take(slots,
                        n * sweep->limits.cotangents * ntk_sweep_size(sweep, v) *
                            ntk_sweep_element(sweep),
                        at);
}

/* The operands of node i get their memory; the result's is free again unless handed down.
 */
static ntk_status place_operands(ntk_sweep *sweep, ntk_slots *slots, const ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  const int y = node->outputs[0];
  bool handed = false;
  if (!sweep->need[y] || sweep->cotangent_at[sweep->home[y]] < 0)
    goto done;
  for (int k = 0; k < node->input_count; k++) {
    const int x = node->inputs[k];
    if (x < 0 || !sweep->need[x] || (node->op->flags & NTK_OP_DISCRETE))
      continue;
    NTK_TRY(place_cotangent(sweep, slots, x));
    handed = handed || sweep->home[x] == sweep->home[y];
  }
  if (!handed)
    ntk_slots_give(slots, sweep->cotangent_at[sweep->home[y]]);
done:
  return status;
}

static ntk_status place_cotangents(ntk_sweep *sweep) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = sweep->net->graph;
  ntk_slots slots = {0};
  if (sweep->limits.cotangents == 0)
    goto done;
  for (int i = 0; i < graph->output_count; i++)
    if (sweep->need[graph->outputs[i]])
      NTK_TRY(place_cotangent(sweep, &slots, graph->outputs[i]));
  for (int i = graph->node_count - 1; i >= 0; i--) {
    const ntk_node *node = &graph->nodes[i];
    NTK_TRY(place_operands(sweep, &slots, node));
    for (int k = 0; k < node->input_count; k++) { /* sources end with their first user */
      const int x = node->inputs[k];
      if (x >= 0 && sweep->need[x] && graph->values[x].producer < 0 &&
          sweep->net->first_user[x] == i && sweep->cotangent_at[sweep->home[x]] >= 0)
        ntk_slots_give(&slots, sweep->cotangent_at[sweep->home[x]]);
    }
  }
done:
  sweep->cotangent_bytes = slots.bytes;
  ntk_slots_clear(&slots);
  return status;
}

static ntk_status place_tangents(ntk_sweep *sweep) {
  ntk_status status = NTK_SUCCESS;
  const ntk_net *net = sweep->net;
  const ntk_graph *graph = net->graph;
  ntk_slots slots = {0};
  if (sweep->limits.directions == 0)
    goto done;
  for (int i = 0; i < graph->node_count; i++) {
    const ntk_node *node = &graph->nodes[i];
    const int y = node->outputs[0];
    if (!sweep->active[y])
      continue;
    const int64_t n = ntk_sweep_is_data(sweep, y) ? sweep->limits.samples : 1;
    NTK_TRY(ntk_slots_take(&slots,
                           n * sweep->limits.directions * ntk_sweep_size(sweep, y) *
                               ntk_sweep_element(sweep),
                           &sweep->tangent_at[y]));
    for (int k = 0; k < node->input_count; k++) {
      const int x = node->inputs[k];
      if (x >= 0 && sweep->tangent_at[x] >= 0 && net->last_user[x] == i &&
          !net->is_output[x])
        ntk_slots_give(&slots, sweep->tangent_at[x]);
    }
  }
done:
  sweep->tangent_bytes = slots.bytes;
  ntk_slots_clear(&slots);
  return status;
}

static void size_work(ntk_sweep *sweep) {
  const ntk_graph *graph = sweep->net->graph;
  const ntk_sweep_limits *limits = &sweep->limits;
  const int64_t many =
      limits->cotangents > limits->directions ? limits->cotangents : limits->directions;
  int64_t most = 0;
  for (int i = 0; i < graph->node_count; i++) {
    const ntk_node *node = &graph->nodes[i];
    if (!node->op->workspace)
      continue;
    const int64_t elements =
        node->op->workspace(graph, node, limits->samples, many > 0 ? many : 1);
    if (elements > most)
      most = elements;
  }
  sweep->work_bytes = most * ntk_sweep_element(sweep);
}

static ntk_status allocate_lists(ntk_sweep *sweep) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = sweep->net->graph;
  const int64_t count = graph->value_count;
  int operands = 1;
  for (int i = 0; i < graph->node_count; i++) {
    const ntk_node *node = &graph->nodes[i];
    if (node->input_count > operands)
      operands = node->input_count;
    if (node->output_count > operands)
      operands = node->output_count;
  }
  bool **const flags[] = {&sweep->wanted, &sweep->need, &sweep->per_sample, &sweep->filled,
                          &sweep->active};
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
    NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(bool), flags[i]));
  int64_t **const places[] = {&sweep->value_at, &sweep->cotangent_at, &sweep->tangent_at};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof(int64_t), places[i]));
    for (int64_t v = 0; v < count; v++)
      (*places[i])[v] = -1;
  }
  ntk_array **const arrays[] = {&sweep->in, &sweep->out, &sweep->dx};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
    NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, operands, sizeof(ntk_array), arrays[i]));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(int), &sweep->home));
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, graph->input_count, sizeof(void *), &sweep->inputs));
done:
  return status;
}

ntk_status ntk_sweep_plan(const ntk_net *net, ntk_sweep_limits limits, const bool *wanted,
                          ntk_sweep **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_sweep *sweep = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *sweep, &sweep));
  sweep->net = net;
  sweep->limits = limits;
  NTK_TRY(allocate_lists(sweep));
  if (wanted)
    memcpy(sweep->wanted, wanted, (size_t)net->graph->value_count * sizeof(bool));
  find_needs(sweep);
  find_dependence(sweep);
  place_values(sweep);
  NTK_TRY(place_cotangents(sweep));
  NTK_TRY(place_tangents(sweep));
  size_work(sweep);
  if (net->graph->input_count > 1)
    sweep->input_bytes =
        limits.samples * ntk_graph_inputs(net->graph) * ntk_sweep_element(sweep);
  *out = sweep;
  sweep = NULL;
done:
  ntk_sweep_destroy(&sweep);
  return status;
}

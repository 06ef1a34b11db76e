/* SPDX-License-Identifier: Apache-2.0 */
#include "autodiff/sweep_plan.h"
#include "base/memory.h"
#include <string.h>

ntk_status ntk_sweep_create(const ntk_net *net, ntk_sweep_limits limits, const bool *wanted,
                            ntk_sweep **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_sweep *sweep = NULL;
  NTK_TRY(ntk_sweep_plan(net, limits, wanted, &sweep));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, sweep->value_bytes, 1, &sweep->values));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, sweep->cotangent_bytes, 1, &sweep->cotangents));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, sweep->tangent_bytes, 1, &sweep->tangents));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, sweep->work_bytes, 1, &sweep->work));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, sweep->input_bytes, 1, &sweep->separate));
  *out = sweep;
  sweep = NULL;
done:
  ntk_sweep_destroy(&sweep);
  return status;
}

ntk_status ntk_sweep_bytes(const ntk_net *net, ntk_sweep_limits limits, const bool *wanted,
                           int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  ntk_sweep *sweep = NULL;
  NTK_TRY(ntk_sweep_plan(net, limits, wanted, &sweep));
  *bytes = sweep->value_bytes + sweep->cotangent_bytes + sweep->tangent_bytes +
           sweep->work_bytes + sweep->input_bytes;
done:
  ntk_sweep_destroy(&sweep);
  return status;
}

void ntk_sweep_destroy(ntk_sweep **handle) {
  ntk_sweep *sweep = *handle;
  if (!sweep)
    return;
  ntk_free(&sweep->wanted);
  ntk_free(&sweep->need);
  ntk_free(&sweep->per_sample);
  ntk_free(&sweep->filled);
  ntk_free(&sweep->active);
  ntk_free(&sweep->value_at);
  ntk_free(&sweep->cotangent_at);
  ntk_free(&sweep->tangent_at);
  ntk_free(&sweep->home);
  ntk_free(&sweep->inputs);
  ntk_free(&sweep->in);
  ntk_free(&sweep->out);
  ntk_free(&sweep->dx);
  ntk_free(&sweep->values);
  ntk_free(&sweep->cotangents);
  ntk_free(&sweep->tangents);
  ntk_free(&sweep->work);
  ntk_free(&sweep->separate);
  ntk_free(handle);
}

/* ---- forward --------------------------------------------------------------------------
 */

ntk_array ntk_sweep_value(const ntk_sweep *sweep, int v) {
  const ntk_graph *graph = sweep->net->graph;
  if (v < 0)
    return (ntk_array){0};
  if (graph->values[v].role != NTK_DATA)
    return (ntk_array){.data = sweep->net->held[v]};
  const int64_t size = ntk_sweep_size(sweep, v);
  while (graph->values[v].producer >= 0 &&
         ntk_node_is_alias(&graph->nodes[graph->values[v].producer]))
    v = graph->nodes[graph->values[v].producer].inputs[0];
  for (int i = 0; i < graph->input_count; i++)
    if (graph->inputs[i] == v)
      return (ntk_array){.data = (void *)(uintptr_t)sweep->inputs[i], .outer = size};
  return (ntk_array){.data = sweep->values + sweep->value_at[v], .outer = size};
}

static void gather_operands(const ntk_sweep *sweep, const ntk_node *node) {
  for (int i = 0; i < node->input_count; i++)
    sweep->in[i] = ntk_sweep_value(sweep, node->inputs[i]);
  for (int i = 0; i < node->output_count; i++)
    sweep->out[i] = ntk_sweep_value(sweep, node->outputs[i]);
}

/* The first node whose result is not finite, for the message. */
static ntk_status report_nonfinite(const ntk_sweep *sweep, int64_t first_sample) {
  const ntk_graph *graph = sweep->net->graph;
  for (int i = 0; i < graph->node_count; i++) {
    const int v = graph->nodes[i].outputs[0];
    if (!ntk_sweep_is_data(sweep, v))
      continue;
    const int64_t size = ntk_sweep_size(sweep, v);
    const int64_t bad = ntk_find_nonfinite(sweep->net->dtype,
                                           ntk_sweep_value(sweep, v).data, sweep->n * size);
    if (bad >= 0)
      return ntk_fail(NTK_ERR_NONFINITE,
                      "sample %lld: value '%s' (node '%s', %s) is not a finite number",
                      (long long)(first_sample + bad / size), graph->values[v].name,
                      graph->nodes[i].name, graph->nodes[i].op->name);
  }
  return ntk_fail(NTK_ERR_NONFINITE,
                  "sample %lld and after: an output is not a finite number",
                  (long long)first_sample);
}

ntk_status ntk_sweep_forward(ntk_sweep *sweep, int64_t n, const void *const *inputs,
                             int64_t first_sample) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = sweep->net->graph;
  sweep->n = n;
  for (int i = 0; i < graph->input_count; i++)
    sweep->inputs[i] = inputs[i];
  for (int i = 0; i < graph->node_count; i++) {
    const ntk_node *node = &graph->nodes[i];
    if (ntk_node_is_alias(node) || !ntk_sweep_is_data(sweep, node->outputs[0]))
      continue;
    const ntk_kernels *kernels = node->op->kernels[sweep->net->dtype];
    gather_operands(sweep, node);
    if (kernels->check)
      NTK_TRY(kernels->check(node, n, sweep->in, first_sample));
    kernels->forward(node, n, sweep->in, sweep->out, sweep->work);
  }
  for (int i = 0; i < graph->output_count; i++) {
    const int v = graph->outputs[i];
    if (ntk_sweep_is_data(sweep, v) &&
        ntk_find_nonfinite(sweep->net->dtype, ntk_sweep_value(sweep, v).data,
                           n * ntk_sweep_size(sweep, v)) >= 0)
      NTK_TRY(report_nonfinite(sweep, first_sample));
  }
done:
  return status;
}

/* Rows of all inputs, as an array for each. */
static void separate_inputs(ntk_sweep *sweep, int64_t n, const char *rows) {
  const ntk_graph *graph = sweep->net->graph;
  const int64_t row = ntk_graph_inputs(graph) * ntk_sweep_element(sweep);
  char *to = sweep->separate;
  for (int k = 0; k < graph->input_count; k++) {
    const int64_t bytes =
        ntk_graph_size(graph, graph->inputs[k]) * ntk_sweep_element(sweep);
    sweep->inputs[k] = to;
    for (int64_t i = 0; i < n; i++, to += bytes)
      memcpy(to, rows + i * row, (size_t)bytes);
    rows += bytes;
  }
}

ntk_status ntk_sweep_forward_rows(ntk_sweep *sweep, int64_t n, const void *rows,
                                  int64_t first_sample) {
  if (sweep->net->graph->input_count == 1)
    return ntk_sweep_forward(sweep, n, &rows, first_sample);
  separate_inputs(sweep, n, rows);
  return ntk_sweep_forward(sweep, n, sweep->inputs, first_sample);
}

void ntk_sweep_outputs(const ntk_sweep *sweep, double *out) {
  const ntk_graph *graph = sweep->net->graph;
  const int64_t total = ntk_graph_outputs(graph), bytes = ntk_sweep_element(sweep);
  int64_t offset = 0;
  for (int i = 0; i < graph->output_count; i++) {
    const ntk_array y = ntk_sweep_value(sweep, graph->outputs[i]);
    const int64_t size = ntk_sweep_size(sweep, graph->outputs[i]);
    for (int64_t s = 0; s < sweep->n; s++)
      ntk_convert(sweep->net->dtype, (char *)y.data + s * y.outer * bytes, NTK_F64,
                  out + s * total + offset, size);
    offset += size;
  }
}

/* ---- backward -------------------------------------------------------------------------
 */

static ntk_array cotangent(const ntk_sweep *sweep, int v, int64_t o) {
  const int64_t size = ntk_sweep_size(sweep, v);
  return (ntk_array){.data = sweep->cotangents + sweep->cotangent_at[sweep->home[v]],
                     .outer = sweep->per_sample[v] ? o * size : 0,
                     .inner = size};
}

bool ntk_sweep_is_per_sample(const ntk_sweep *sweep, int v) { return sweep->per_sample[v]; }

bool ntk_sweep_is_delivered(const ntk_sweep *sweep, int v) {
  return sweep->wanted[v] && sweep->cotangent_at[sweep->home[v]] >= 0;
}

/* One backward sweep. */
typedef struct pass {
  ntk_sweep *sweep;
  int64_t o;
  bool constant_only;
  ntk_cotangent_fn fn;
  void *user;
} pass;

static bool skips(const pass *p, int v) {
  return !p->sweep->need[v] || (p->constant_only && p->sweep->per_sample[v]);
}

static void deliver(const pass *p, int v) {
  if (p->sweep->wanted[v] && p->sweep->filled[v])
    p->fn(p->user, v, cotangent(p->sweep, v, p->o));
}

static void seed_outputs(const pass *p, ntk_seeds seeds) {
  const ntk_sweep *sweep = p->sweep;
  const ntk_graph *graph = sweep->net->graph;
  const int64_t total = ntk_graph_outputs(graph), bytes = ntk_sweep_element(sweep);
  int64_t offset = 0;
  for (int i = 0; i < graph->output_count; i++) {
    const int v = graph->outputs[i];
    const int64_t size = ntk_sweep_size(sweep, v);
    if (!skips(p, v)) {
      const ntk_array c = cotangent(sweep, v, p->o);
      for (int64_t s = 0; s < (sweep->per_sample[v] ? sweep->n : 1); s++)
        for (int64_t j = 0; j < p->o; j++)
          memcpy((char *)c.data + (s * c.outer + j * size) * bytes,
                 (const char *)seeds.data + (s * seeds.outer + j * total + offset) * bytes,
                 (size_t)(size * bytes));
      sweep->filled[v] = true;
    }
    offset += size;
  }
}

/* Where the operands of the next sample stand. */
static void step(const ntk_array *arrays, int count, int64_t bytes, ntk_array *to) {
  for (int i = 0; i < count; i++)
    to[i].data = arrays[i].data ? (char *)arrays[i].data + arrays[i].outer * bytes : NULL;
}

/* Adds up the samples' parts of a parameter's cotangent. */
static void pull_sum(const pass *p, const ntk_node *node, int operand) {
  ntk_sweep *sweep = p->sweep;
  const int64_t bytes = ntk_sweep_element(sweep);
  const int y = node->outputs[0], x = node->inputs[operand];
  const int64_t together = node->op->flags & NTK_OP_SUMS ? sweep->n : 1;
  ntk_array dy = cotangent(sweep, y, p->o);
  for (int64_t i = 0; i < sweep->n; i += together) {
    node->op->kernels[sweep->net->dtype]->vjp(node, operand, together, p->o, sweep->in,
                                              sweep->out, dy, cotangent(sweep, x, p->o),
                                              i > 0 || sweep->filled[x], sweep->work);
    step(sweep->in, node->input_count, bytes, sweep->in);
    step(sweep->out, node->output_count, bytes, sweep->out);
    step(&dy, 1, bytes, &dy);
  }
  gather_operands(sweep, node);
}

static void pull(const pass *p, const ntk_node *node, int operand) {
  ntk_sweep *sweep = p->sweep;
  const int y = node->outputs[0], x = node->inputs[operand];
  if (x < 0 || skips(p, x))
    return;
  if (sweep->per_sample[y] && !sweep->per_sample[x])
    pull_sum(p, node, operand);
  /* memory that was handed down holds the same numbers, or is written over */
  else if (sweep->home[x] != sweep->home[y] || !ntk_node_passes(sweep->net, node, operand))
    node->op->kernels[sweep->net->dtype]->vjp(
        node, operand, sweep->per_sample[x] ? sweep->n : 1, p->o, sweep->in, sweep->out,
        cotangent(sweep, y, p->o), cotangent(sweep, x, p->o), sweep->filled[x],
        sweep->work);
  sweep->filled[x] = true;
}

void ntk_sweep_backward(ntk_sweep *sweep, int64_t o, ntk_seeds seeds, bool constant_only,
                        ntk_cotangent_fn fn, void *user) {
  const ntk_graph *graph = sweep->net->graph;
  const pass p = {sweep, o, constant_only, fn, user};
  memset(sweep->filled, 0, (size_t)graph->value_count * sizeof(bool));
  if (constant_only)
    sweep->n = 1;
  seed_outputs(&p, seeds);
  for (int i = graph->node_count - 1; i >= 0; i--) {
    const ntk_node *node = &graph->nodes[i];
    if (sweep->filled[node->outputs[0]]) {
      deliver(&p, node->outputs[0]);
      gather_operands(sweep, node);
      for (int k = 0; k < node->input_count; k++)
        if (!(node->op->flags & NTK_OP_DISCRETE))
          pull(&p, node, k);
    }
    for (int k = 0; k < node->input_count; k++) { /* sources end with their first user */
      const int x = node->inputs[k];
      bool seen = false;
      for (int j = 0; j < k; j++)
        seen = seen || node->inputs[j] == x;
      if (x >= 0 && !seen && graph->values[x].producer < 0 &&
          sweep->net->first_user[x] == i)
        deliver(&p, x);
    }
  }
}

/* Of the vjp to one operand, per cotangent and sample; none where `pull` passes it by. */
static double pull_flops(const ntk_sweep *sweep, const ntk_node *node, int operand) {
  const int y = node->outputs[0], x = node->inputs[operand];
  if (x < 0 || !sweep->need[x] || sweep->home[x] == sweep->home[y])
    return 0;
  return operand < 2 ? ntk_net_node_flops(sweep->net, node)
                     : (double)ntk_sweep_size(sweep, y);
}

double ntk_sweep_flops(const ntk_sweep *sweep, int64_t n, int64_t o) {
  const ntk_graph *graph = sweep->net->graph;
  double flops = (double)n * ntk_net_forward_flops(sweep->net);
  for (int i = 0; i < graph->node_count; i++) {
    const ntk_node *node = &graph->nodes[i];
    if ((node->op->flags & NTK_OP_DISCRETE) ||
        sweep->cotangent_at[sweep->home[node->outputs[0]]] < 0)
      continue;
    for (int k = 0; k < node->input_count; k++)
      if (node->inputs[k] >= 0)
        flops += (double)(o * (sweep->per_sample[node->inputs[k]] ? n : 1)) *
                 pull_flops(sweep, node, k);
  }
  return flops;
}

ntk_status ntk_sweep_planned_flops(const ntk_net *net, ntk_sweep_limits limits,
                                   const bool *wanted, double *flops) {
  ntk_status status = NTK_SUCCESS;
  ntk_sweep *sweep = NULL;
  NTK_TRY(ntk_sweep_plan(net, limits, wanted, &sweep));
  *flops = ntk_sweep_flops(sweep, limits.samples, limits.cotangents);
done:
  ntk_sweep_destroy(&sweep);
  return status;
}

/* ---- tangent --------------------------------------------------------------------------
 */

static ntk_array tangent(const ntk_sweep *sweep, int v, const void *const *directions) {
  const ntk_graph *graph = sweep->net->graph;
  if (v < 0 || !sweep->active[v])
    return (ntk_array){0};
  const int64_t size = ntk_sweep_size(sweep, v);
  const bool data = graph->values[v].role == NTK_DATA;
  if (!data && graph->values[v].producer < 0)
    for (int i = 0; i < graph->parameter_count; i++)
      if (graph->parameters[i] == v)
        return (ntk_array){.data = (void *)(uintptr_t)directions[i], .outer = size};
  return (ntk_array){.data = sweep->tangents + sweep->tangent_at[v],
                     .outer = data ? sweep->n * size : size,
                     .inner = data ? size : 0};
}

static void collect_tangents(const ntk_sweep *sweep, int64_t d,
                             const void *const *directions, char *out) {
  const ntk_graph *graph = sweep->net->graph;
  const int64_t total = ntk_graph_outputs(graph), bytes = ntk_sweep_element(sweep);
  int64_t offset = 0;
  for (int i = 0; i < graph->output_count; i++) {
    const int64_t size = ntk_sweep_size(sweep, graph->outputs[i]);
    const ntk_array t = tangent(sweep, graph->outputs[i], directions);
    for (int64_t j = 0; j < d * sweep->n; j++) {
      char *to = out + (j * total + offset) * bytes;
      if (t.data)
        memcpy(to, (char *)t.data + j * size * bytes, (size_t)(size * bytes));
      else
        memset(to, 0, (size_t)(size * bytes));
    }
    offset += size;
  }
}

void ntk_sweep_tangent(ntk_sweep *sweep, int64_t d, const void *const *directions,
                       void *out) {
  const ntk_graph *graph = sweep->net->graph;
  for (int i = 0; i < graph->node_count; i++) {
    const ntk_node *node = &graph->nodes[i];
    const int y = node->outputs[0];
    if (!sweep->active[y])
      continue;
    gather_operands(sweep, node);
    for (int k = 0; k < node->input_count; k++)
      sweep->dx[k] = tangent(sweep, node->inputs[k], directions);
    node->op->kernels[sweep->net->dtype]->jvp(
        node, d, ntk_sweep_is_data(sweep, y) ? sweep->n : 1, sweep->in, sweep->out,
        sweep->dx, tangent(sweep, y, directions), sweep->work);
  }
  collect_tangents(sweep, d, directions, out);
}

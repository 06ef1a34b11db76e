/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/uses.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tracing --------------------------------------------------------------------------
 */

/* Follows a cotangent down while it stays the same up to a scalar: cot(v) = scale
 * cot(root). */
static int trace_root(const ntk_net *net, int v, double *scale) {
  const ntk_graph *graph = net->graph;
  while (net->slots[v] == 1 && !net->is_output[v]) {
    const ntk_node *node = &graph->nodes[net->first_user[v]];
    int operand = 0;
    double s = 1;
    while (node->inputs[operand] != v)
      operand++;
    if (!node->op->passes || !node->op->passes(graph, node, operand, &s))
      break;
    *scale *= s;
    v = node->outputs[0];
  }
  return v;
}

static ntk_d_layout layout_of(const ntk_use *use) {
  ntk_d_layout l = {use->G, use->T1, use->T2, use->C, use->dg, use->dt1, use->dt2, use->dc};
  if (l.T2 == 1) {
    l.T2 = l.T1;
    l.dt2 = l.dt1;
    l.T1 = 1;
  }
  if (l.T1 > 1 && l.dt1 == l.T2 * l.dt2) {
    l.T2 *= l.T1;
    l.T1 = 1;
  }
  if (l.T1 == 1)
    l.dt1 = 0;
  if (l.T2 == 1)
    l.dt2 = 0;
  if (l.G == 1)
    l.dg = 0;
  return l;
}

static ntk_status add_use(const ntk_net *net, ntk_source_uses *uses,
                          const ntk_found_use *path) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = net->graph;
  const ntk_node *node = &graph->nodes[path->node];
  ntk_found_use found = *path;
  if (!node->op->use || !node->op->use(graph, node, path->operand, &found.use)) {
    uses->dense = true;
    goto done;
  }
  found.scale *= found.use.scale;
  found.root = trace_root(net, node->outputs[0], &found.scale);
  found.layout = layout_of(&found.use);
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, uses->count + 1, sizeof found, &uses->uses));
  uses->uses[uses->count++] = found;
done:
  return status;
}

/* A parameter-side node that only moves or scales its one parameter. */
static bool extends_chain(const ntk_net *net, const ntk_node *node, int operand,
                          double *scale) {
  const ntk_graph *graph = net->graph;
  double s = 1;
  if (node->op->passes && node->op->passes(graph, node, operand, &s)) {
    *scale *= s;
    return true;
  }
  int parameters = 0;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] >= 0 && graph->values[node->inputs[i]].role == NTK_PARAMETER)
      parameters++;
  return (node->op->flags & NTK_OP_MOVE) && parameters == 1 &&
         ntk_graph_size(graph, node->inputs[operand]) ==
             ntk_graph_size(graph, node->outputs[0]);
}

static ntk_status follow(const ntk_net *net, int v, const ntk_found_use *path,
                         ntk_source_uses *uses) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = net->graph;
  for (int i = net->first_user[v]; i <= net->last_user[v]; i++) {
    const ntk_node *node = &graph->nodes[i];
    for (int k = 0; k < node->input_count; k++) {
      if (node->inputs[k] != v)
        continue;
      ntk_found_use next = *path;
      if (graph->values[node->outputs[0]].role == NTK_DATA) {
        next.node = i;
        next.operand = k;
        NTK_TRY(add_use(net, uses, &next));
      } else if (next.chain_length < NTK_CHAIN &&
                 extends_chain(net, node, k, &next.scale)) {
        next.chain[next.chain_length++] = i;
        NTK_TRY(follow(net, node->outputs[0], &next, uses));
      } else {
        uses->dense = true;
      }
    }
  }
done:
  return status;
}

/* ---- roles ----------------------------------------------------------------------------
 */

/* Element numbers that go through a chain of moves carry this mark: what a Pad fills in has
 * it not. */
static const double mark = 1.0 / 3;

static double element_of(double marked) {
  const double element = rint(marked - mark);
  return fabs(marked - mark - element) < 1e-6 ? element : -1;
}

/* Pushes element numbers through the chain: map[g,k,c] = element of the source, -1: none.
 */
static ntk_status role_map(const ntk_net *net, int source, const ntk_found_use *found,
                           double *map) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = net->graph;
  const ntk_use *u = &found->use;
  const int64_t size = ntk_graph_size(graph, source);
  double *at = NULL, *next = NULL;
  ntk_array *in = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, size, sizeof *at, &at));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, size, sizeof *next, &next));
  for (int64_t i = 0; i < size; i++)
    at[i] = (double)i + mark;
  int v = source;
  for (int i = 0; i < found->chain_length; i++) {
    const ntk_node *node = &graph->nodes[found->chain[i]];
    if (node->op->flags & NTK_OP_MOVE) {
      NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, node->input_count, sizeof *in, &in));
      for (int k = 0; k < node->input_count; k++)
        if (node->inputs[k] == v)
          in[k].data = at;
      const ntk_array out = {.data = next};
      node->op->kernels[NTK_F64]->forward(node, 1, in, &out, NULL);
      double *swap = at;
      at = next;
      next = swap;
      ntk_free(&in);
    }
    v = node->outputs[0];
  }
  for (int64_t g = 0, i = 0; g < u->G; g++)
    for (int64_t k = 0; k < u->K; k++)
      for (int64_t c = 0; c < u->C; c++, i++)
        map[i] = element_of(at[g * u->wg + k * u->wk + c * u->wc]);
done:
  ntk_free(&in);
  ntk_free(&at);
  ntk_free(&next);
  return status;
}

static bool moves_elements(const ntk_net *net, const ntk_found_use *found) {
  for (int i = 0; i < found->chain_length; i++) {
    const unsigned flags = net->graph->nodes[found->chain[i]].op->flags;
    if ((flags & NTK_OP_MOVE) && !(flags & NTK_OP_ALIAS))
      return true;
  }
  return false;
}

/* Does the map name every element once? (a Gather may repeat some, a Pad may drop some) */
static bool is_permutation(const double *map, int64_t size, double *seen) {
  for (int64_t i = 0; i < size; i++)
    seen[i] = 0;
  for (int64_t i = 0; i < size; i++) {
    const double at = map[i];
    if (!(at >= 0 && at < (double)size) || seen[(int64_t)at] != 0)
      return false;
    seen[(int64_t)at] = 1;
  }
  return true;
}

static bool same_sizes(const ntk_use *a, const ntk_use *b) {
  return a->G == b->G && a->K == b->K && a->C == b->C &&
         (a->x_operand < 0) == (b->x_operand < 0);
}

/* A chain of moves must keep every element; several uses concatenate along t only where
 * (g,k,c) means the same element in all. */
static ntk_status compare_roles(const ntk_net *net, ntk_source_uses *uses) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = ntk_graph_size(net->graph, uses->source);
  double *first = NULL, *other = NULL;
  bool moved = false;
  for (int i = 0; i < uses->count; i++)
    moved = moved || moves_elements(net, &uses->uses[i]);
  if (uses->dense || (uses->count < 2 && !moved))
    goto done;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, size, sizeof *first, &first));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, size, sizeof *other, &other));
  NTK_TRY(role_map(net, uses->source, &uses->uses[0], first));
  uses->dense = !is_permutation(first, size, other);
  for (int i = 1; i < uses->count && !uses->dense; i++) {
    uses->dense = !same_sizes(&uses->uses[0].use, &uses->uses[i].use);
    if (uses->dense)
      break;
    NTK_TRY(role_map(net, uses->source, &uses->uses[i], other));
    uses->dense = memcmp(first, other, (size_t)size * sizeof *first) != 0;
  }
done:
  ntk_free(&first);
  ntk_free(&other);
  return status;
}

static int by_root(const void *a, const void *b) {
  const ntk_found_use *x = a, *y = b;
  if (x->root != y->root)
    return x->root < y->root ? -1 : 1;
  return (x->node > y->node) - (x->node < y->node);
}

ntk_status ntk_uses_find(const ntk_net *net, int source, ntk_source_uses *out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_found_use start = {.scale = 1};
  *out = (ntk_source_uses){.source = source};
  NTK_TRY(follow(net, source, &start, out));
  if (out->count > 1)
    qsort(out->uses, (size_t)out->count, sizeof *out->uses, by_root);
  NTK_TRY(compare_roles(net, out));
done:
  return status;
}

void ntk_uses_clear(ntk_source_uses *uses) { ntk_free(&uses->uses); }

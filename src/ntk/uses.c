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

/* A parameter-side node that only moves, takes a part of, or scales its one parameter. */
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
         ntk_graph_size(graph, node->outputs[0]) <=
             ntk_graph_size(graph, node->inputs[operand]);
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

/* Pushes element numbers through the chain, in which nothing grows: map[g,k,c] = element of
 * the source, -1: none. */
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

/* ---- parts ----------------------------------------------------------------------------
 */

static int64_t elements_of(const ntk_use *use) { return use->G * use->K * use->C; }

static int by_root(const void *a, const void *b) {
  const ntk_found_use *x = a, *y = b;
  if (x->root != y->root)
    return x->root < y->root ? -1 : 1;
  return (x->node > y->node) - (x->node < y->node);
}

static ntk_status add_part(ntk_uses_list *list, int source, ntk_source_uses **out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, list->count + 1, sizeof **out, &list->items));
  *out = &list->items[list->count++];
  **out = (ntk_source_uses){.source = source};
done:
  return status;
}

/* Do all elements of the part mean the same in both? */
static bool same_role(const ntk_source_uses *part, const ntk_use *use, const double *map) {
  const ntk_use *first = &part->uses[0].use;
  return first->G == use->G && first->K == use->K && first->C == use->C &&
         memcmp(part->map, map, (size_t)elements_of(use) * sizeof *map) == 0;
}

/* Marks the elements of a new part; false where one is taken or named twice (a Gather may
 * repeat some), or where there is none (a Pad fills). */
static bool take_elements(const double *map, int64_t count, int64_t size, bool *taken) {
  for (int64_t i = 0; i < count; i++) {
    if (!(map[i] >= 0 && map[i] < (double)size) || taken[(int64_t)map[i]])
      return false;
    taken[(int64_t)map[i]] = true;
  }
  return true;
}

/* Puts a use into the part, of those from `first` on, that holds its elements in the same
 * places, or opens one; *dense: the elements overlap otherwise. */
static ntk_status place_use(const ntk_net *net, int source, const ntk_found_use *found,
                            ntk_uses_list *list, int first, bool *taken, bool *dense) {
  ntk_status status = NTK_SUCCESS;
  const int64_t count = elements_of(&found->use);
  double *map = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *map, &map));
  NTK_TRY(role_map(net, source, found, map));
  int p = first;
  while (p < list->count && !same_role(&list->items[p], &found->use, map))
    p++;
  if (p == list->count) {
    ntk_source_uses *part;
    *dense = !take_elements(map, count, ntk_graph_size(net->graph, source), taken);
    if (*dense)
      goto done;
    NTK_TRY(add_part(list, source, &part));
    part->map = map;
    map = NULL;
  }
  ntk_source_uses *part = &list->items[p];
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, part->count + 1, sizeof *found, &part->uses));
  part->uses[part->count++] = *found;
done:
  ntk_free(&map);
  return status;
}

/* Uses of the same elements in the same roles are one part, and concatenate along t; uses
 * of others (slices of a fused weight) are parts of their own. */
static ntk_status find_parts(const ntk_net *net, const ntk_source_uses *all,
                             ntk_uses_list *list, bool *dense) {
  ntk_status status = NTK_SUCCESS;
  const int first = list->count;
  bool *taken = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, ntk_graph_size(net->graph, all->source),
                     sizeof *taken, &taken));
  for (int i = 0; i < all->count && !*dense; i++) {
    *dense = (all->uses[i].use.x_operand < 0) != (all->uses[0].use.x_operand < 0);
    if (!*dense)
      NTK_TRY(place_use(net, all->source, &all->uses[i], list, first, taken, dense));
  }
done:
  ntk_free(&taken);
  return status;
}

static void drop_parts(ntk_uses_list *list, int first) {
  while (list->count > first) {
    ntk_source_uses *part = &list->items[--list->count];
    ntk_free(&part->uses);
    ntk_free(&part->map);
  }
}

ntk_status ntk_uses_find(const ntk_net *net, int source, ntk_uses_list *list) {
  ntk_status status = NTK_SUCCESS;
  const ntk_found_use start = {.scale = 1};
  const int first = list->count;
  ntk_source_uses all = {.source = source}, *part;
  bool moved = false;
  NTK_TRY(follow(net, source, &start, &all));
  for (int i = 0; i < all.count; i++)
    moved = moved || moves_elements(net, &all.uses[i]);
  if (all.count > 1)
    qsort(all.uses, (size_t)all.count, sizeof *all.uses, by_root);
  if (!all.dense && (all.count > 1 || moved)) {
    NTK_TRY(find_parts(net, &all, list, &all.dense));
    if (!all.dense)
      goto done;
    drop_parts(list, first);
  }
  NTK_TRY(add_part(list, source, &part));
  *part = all;
  all.uses = NULL;
done:
  for (int i = first; i < list->count; i++) {
    list->items[i].part = i - first;
    list->items[i].parts = list->count - first;
  }
  ntk_free(&all.uses);
  return status;
}

void ntk_uses_clear(ntk_uses_list *list) {
  drop_parts(list, 0);
  ntk_free(&list->items);
}

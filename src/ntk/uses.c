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
  ntk_d_layout l = {use->G,   use->T1,  use->T2, use->C,       use->dg,
                    use->dt1, use->dt2, use->dc, use->d_window};
  if (l.window) {
    l.dt2 = 0;
    l.dc = 1;
    return l;
  }
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

bool ntk_use_is_strided(const ntk_net *net, const ntk_found_use *found) {
  for (int i = 0; i < found->chain_length; i++) {
    const unsigned flags = net->graph->nodes[found->chain[i]].op->flags;
    if ((flags & NTK_OP_MOVE) && !(flags & NTK_OP_ALIAS))
      return false;
  }
  return true;
}

/* Pushes element numbers through the chain, in which nothing grows. */
static ntk_status push_map(const ntk_net *net, int source, const ntk_found_use *found,
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

static bool is_transpose(const ntk_node *node) {
  return strcmp(node->op->name, "Transpose") == 0;
}

/* Can elements be traced back one by one? Tables are large, and maps of them larger. */
static bool is_traced(const ntk_net *net, const ntk_found_use *found) {
  for (int i = 0; i < found->chain_length; i++) {
    const ntk_node *node = &net->graph->nodes[found->chain[i]];
    if ((node->op->flags & NTK_OP_MOVE) && !(node->op->flags & NTK_OP_ALIAS) &&
        !is_transpose(node))
      return false;
  }
  return true;
}

/* Of a Transpose: lengths of the output's axes, and their steps in the input. */
typedef struct transposition {
  int ndim;
  int64_t dim[NTK_MAX_DIMS], step[NTK_MAX_DIMS];
} transposition;

static transposition transposition_of(const ntk_graph *graph, const ntk_node *node) {
  const ntk_shape *x = &graph->values[node->inputs[0]].shape;
  const ntk_attribute *perm = ntk_node_attribute(node, "perm");
  int64_t stride[NTK_MAX_DIMS];
  transposition t = {.ndim = x->ndim};
  ntk_shape_strides(x, stride);
  for (int d = 0; d < x->ndim; d++) {
    const int64_t from = perm ? perm->ints[d] : x->ndim - 1 - d;
    t.dim[d] = x->dim[from];
    t.step[d] = stride[from];
  }
  return t;
}

/* Where element e of the output stands in the input. */
static int64_t before_transposition(const transposition *t, int64_t e) {
  int64_t at = 0;
  for (int d = t->ndim - 1; d >= 0; d--) {
    at += e % t->dim[d] * t->step[d];
    e /= t->dim[d];
  }
  return at;
}

/* The elements of a use: its map, or traced where that is NULL. */
typedef struct elements {
  const ntk_net *net;
  const ntk_found_use *found;
  const double *map;
  int count; /* of the transpositions in the chain, the last first */
  transposition back[NTK_CHAIN];
} elements;

static elements elements_of(const ntk_net *net, const ntk_found_use *found,
                            const double *map) {
  elements e = {.net = net, .found = found, .map = map};
  for (int i = found->chain_length - 1; i >= 0 && !map; i--) {
    const ntk_node *node = &net->graph->nodes[found->chain[i]];
    if (is_transpose(node))
      e.back[e.count++] = transposition_of(net->graph, node);
  }
  return e;
}

static double element_at(const elements *e, int64_t g, int64_t k, int64_t c) {
  const ntk_use *u = &e->found->use;
  if (e->map)
    return e->map[(g * u->K + k) * u->C + c];
  int64_t at = g * u->wg + k * u->wk + c * u->wc;
  for (int i = 0; i < e->count; i++)
    at = before_transposition(&e->back[i], at);
  return (double)at;
}

ntk_status ntk_use_map(const ntk_net *net, int source, const ntk_found_use *found,
                       double *map) {
  const ntk_use *u = &found->use;
  const elements e = elements_of(net, found, NULL);
  if (!is_traced(net, found))
    return push_map(net, source, found, map);
  for (int64_t g = 0, i = 0; g < u->G; g++)
    for (int64_t k = 0; k < u->K; k++)
      for (int64_t c = 0; c < u->C; c++, i++)
        map[i] = element_at(&e, g, k, c);
  return NTK_SUCCESS;
}

/* May elements be left out, named twice, or others added? */
static bool selects_elements(const ntk_net *net, const ntk_found_use *found) {
  for (int i = 0; i < found->chain_length; i++) {
    const unsigned flags = net->graph->nodes[found->chain[i]].op->flags;
    if ((flags & NTK_OP_MOVE) && !(flags & (NTK_OP_ALIAS | NTK_OP_BIJECTIVE)))
      return true;
  }
  return false;
}

/* ---- parts ----------------------------------------------------------------------------
 */

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
  **out = (ntk_source_uses){.source = source, .tied = -1};
done:
  return status;
}

static elements elements_of_part(const ntk_net *net, const ntk_source_uses *part) {
  return elements_of(net, &part->uses[0], part->map);
}

/* Is it plain that the elements are the same? */
static bool same_path(const ntk_found_use *a, const ntk_found_use *b) {
  return a->chain_length == b->chain_length &&
         memcmp(a->chain, b->chain, (size_t)a->chain_length * sizeof *a->chain) == 0 &&
         a->use.wg == b->use.wg && a->use.wk == b->use.wk && a->use.wc == b->use.wc;
}

/* Do all elements mean the same in both, or with k and c exchanged? */
static bool same_elements(const elements *a, const elements *b, bool exchanged) {
  const ntk_use *u = &a->found->use;
  if (!exchanged && same_path(a->found, b->found))
    return true;
  for (int64_t g = 0; g < u->G; g++)
    for (int64_t k = 0; k < u->K; k++)
      for (int64_t c = 0; c < u->C; c++)
        if (element_at(a, g, k, c) !=
            (exchanged ? element_at(b, g, c, k) : element_at(b, g, k, c)))
          return false;
  return true;
}

static bool same_role(const ntk_source_uses *part, const elements *e) {
  const ntk_use *first = &part->uses[0].use, *use = &e->found->use;
  const elements of_part = elements_of_part(e->net, part);
  return first->G == use->G && first->K == use->K && first->C == use->C &&
         first->one_hot == use->one_hot && same_elements(&of_part, e, false);
}

static bool exchanged_role(const ntk_source_uses *part, const elements *e) {
  const ntk_use *first = &part->uses[0].use, *use = &e->found->use;
  const elements of_part = elements_of_part(e->net, part);
  return part->tied < 0 && first->G == use->G && first->K == use->C && first->C == use->K &&
         same_elements(&of_part, e, true);
}

/* Marks the elements of a new part; false where one is taken or named twice (a Gather may
 * repeat some), or where there is none (a Pad fills). */
static bool take_elements(const elements *e, int64_t size, bool *taken) {
  const ntk_use *u = &e->found->use;
  for (int64_t g = 0; g < u->G; g++)
    for (int64_t k = 0; k < u->K; k++)
      for (int64_t c = 0; c < u->C; c++) {
        const double at = element_at(e, g, k, c);
        if (!(at >= 0 && at < (double)size) || taken[(int64_t)at])
          return false;
        taken[(int64_t)at] = true;
      }
  return true;
}

/* The part from `first` on that a new one of this use is tied to, else list->count. */
static int tied_part(const ntk_uses_list *list, int first, const elements *e) {
  while (first < list->count && !exchanged_role(&list->items[first], e))
    first++;
  return first;
}

/* Puts a use into the part, of those from `first` on, that holds its elements in the same
 * places, or opens one; *dense: the elements overlap otherwise. */
static ntk_status place_use(const ntk_net *net, int source, const ntk_found_use *found,
                            ntk_uses_list *list, int first, bool *taken, bool *dense) {
  ntk_status status = NTK_SUCCESS;
  const ntk_use *u = &found->use;
  double *map = NULL;
  if (!is_traced(net, found)) {
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, u->G * u->K * u->C, sizeof *map, &map));
    NTK_TRY(push_map(net, source, found, map));
  }
  const elements e = elements_of(net, found, map);
  int p = first;
  while (p < list->count && !same_role(&list->items[p], &e))
    p++;
  if (p == list->count) {
    ntk_source_uses *part;
    const int other = tied_part(list, first, &e);
    *dense = other == list->count &&
             !take_elements(&e, ntk_graph_size(net->graph, source), taken);
    if (*dense)
      goto done;
    NTK_TRY(add_part(list, source, &part));
    if (other < p) {
      part->tied = other - first;
      list->items[other].tied = p - first;
    }
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
 * of others (slices of a fused weight), or with k and c exchanged, are parts of their own.
 */
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
  for (int p = first; p < list->count; p++) /* as large as the parameters */
    ntk_free(&list->items[p].map);
  ntk_free(&taken);
  return status;
}

static void drop_parts(ntk_uses_list *list, int first) {
  while (list->count > first) {
    ntk_source_uses *part = &list->items[--list->count];
    ntk_free(&part->uses);
  }
}

ntk_status ntk_uses_find(const ntk_net *net, int source, ntk_uses_list *list) {
  ntk_status status = NTK_SUCCESS;
  const ntk_found_use start = {.scale = 1};
  const int first = list->count;
  ntk_source_uses all = {.source = source, .tied = -1}, *part;
  bool selected = false;
  NTK_TRY(follow(net, source, &start, &all));
  for (int i = 0; i < all.count; i++)
    selected = selected || selects_elements(net, &all.uses[i]);
  if (all.count > 1)
    qsort(all.uses, (size_t)all.count, sizeof *all.uses, by_root);
  if (!all.dense && (all.count > 1 || selected)) {
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

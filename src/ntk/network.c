/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "ntk/cost.h"
#include "ntk/engine.h"
#include <string.h>

/* One nonzero of D[o] = sum of such, for a D that does not depend on the sample. */
typedef struct nonzero {
  int t, c;
  double d;
} nonzero;

/* D of one output of all constant groups, collected by a backward sweep. */
typedef struct collector {
  const ntk_network *network;
  int64_t first, count; /* outputs of this sweep */
  nonzero ***lists;     /* [groups][outputs], NULL: not constant or given up */
  int64_t **lengths;
  ntk_status status;
} collector;

/* Pairs of nonzeros that are worth comparing at planning. */
static const double most_comparisons = 2e8;

static ntk_status collect_part(collector *c, int number, const ntk_section *section,
                               const ntk_d_part *part, ntk_array cot) {
  ntk_status status = NTK_SUCCESS;
  const ntk_d_layout *l = &part->layout;
  const size_t bytes = ntk_dtype_bytes(c->network->net->dtype);
  for (int64_t o = 0; o < c->count; o++) {
    nonzero **list = &c->lists[number][c->first + o];
    int64_t *length = &c->lengths[number][c->first + o];
    for (int64_t t = 0; t < section->T; t++)
      for (int64_t k = 0; k < l->C; k++) {
        const int64_t e =
            o * cot.inner + t / l->T2 * l->dt1 + t % l->T2 * l->dt2 + k * l->dc;
        double d;
        ntk_convert(c->network->net->dtype, (const char *)cot.data + e * (int64_t)bytes,
                    NTK_F64, &d, 1);
        if (d == 0)
          continue;
        if ((*length & (*length - 1)) == 0)
          NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, *length ? 2 * *length : 1, sizeof **list,
                              list));
        (*list)[(*length)++] = (nonzero){(int)(section->t0 + t), (int)(part->c0 + k), d};
      }
  }
done:
  return status;
}

/* What may have a D that no sample changes: of a tie role 1. */
static const ntk_group *maybe_constant(const ntk_group *group) {
  return group->roles ? &group->roles[1] : group;
}

static void collect(void *user, int value, ntk_array cot) {
  collector *c = user;
  for (int i = 0; i < c->network->groups->count; i++) {
    const ntk_group *group = &c->network->groups->groups[i];
    if (!c->lists[i])
      continue;
    group = maybe_constant(group);
    for (int s = 0; s < group->section_count; s++)
      for (int d = 0; d < group->d_count && c->status == NTK_SUCCESS; d++)
        if (group->sections[s].d[d].root == value)
          c->status =
              collect_part(c, i, &group->sections[s], &group->sections[s].d[d], cot);
  }
}

/* E[o,p](t,s) = sum over c of D[o,t,c] D[p,s,c], all (t,s) at once in a dense table. */
static ntk_status multiply(const ntk_group *group, int64_t outputs, nonzero **lists,
                           const int64_t *lengths, ntk_constant *out) {
  ntk_status status = NTK_SUCCESS;
  double *table = NULL, comparisons = 0;
  const int64_t T = group->T;
  int64_t capacity = 0;
  for (int64_t o = 0; o < outputs; o++)
    comparisons += (double)lengths[o];
  if (comparisons * comparisons > most_comparisons || T * T > 1 << 20 ||
      (double)(outputs * outputs) * (double)(T * T) > 1e9)
    goto done;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, T * T, sizeof *table, &table));
  for (int64_t o = 0; o < outputs; o++)
    for (int64_t p = 0; p < outputs; p++) {
      for (int64_t a = 0; a < lengths[o]; a++)
        for (int64_t b = 0; b < lengths[p]; b++)
          if (lists[o][a].c == lists[p][b].c)
            table[lists[o][a].t * T + lists[p][b].t] += lists[o][a].d * lists[p][b].d;
      for (int64_t ts = 0; ts < T * T; ts++) {
        if (table[ts] == 0)
          continue;
        if (out->count == capacity) {
          capacity = 2 * capacity + 64;
          NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, capacity, sizeof *out->entries,
                              &out->entries));
        }
        out->entries[out->count++] =
            (ntk_constant_entry){(int)o, (int)p, (int)(ts / T), (int)(ts % T), table[ts]};
        table[ts] = 0;
      }
    }
  /* positions that all meet cost more than contracting with D itself */
  if (T > 1 && out->count > 4 * outputs * outputs) {
    ntk_free(&out->entries);
    out->count = 0;
  }
done:
  ntk_free(&table);
  return status;
}

/* D of a tie's role, where most of it is zero. */
static ntk_status keep(const ntk_group *role, int64_t outputs, nonzero **lists,
                       const int64_t *lengths, ntk_constant *out) {
  ntk_status status = NTK_SUCCESS;
  int64_t count = 0;
  for (int64_t o = 0; o < outputs; o++)
    count += lengths[o];
  if (count > outputs * role->T * role->C / 4)
    return NTK_SUCCESS;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *out->entries, &out->entries));
  for (int64_t o = 0; o < outputs; o++)
    for (int64_t i = 0; i < lengths[o]; i++)
      out->entries[out->count++] = (ntk_constant_entry){
          .o = (int)o, .t = lists[o][i].t, .s = lists[o][i].c, .e = lists[o][i].d};
done:
  return status;
}

static ntk_status find_constant(const ntk_group *group, int64_t outputs, nonzero **lists,
                                const int64_t *lengths, ntk_constant *out) {
  return (group->roles ? keep : multiply)(maybe_constant(group), outputs, lists, lengths,
                                          out);
}

static bool is_constant(const ntk_sweep *sweep, const ntk_group *group) {
  group = maybe_constant(group);
  if (group->unit_x || group->G != 1)
    return false;
  for (int s = 0; s < group->section_count; s++)
    for (int d = 0; d < group->d_count; d++)
      if (group->sections[s].d[d].layout.window ||
          ntk_sweep_is_per_sample(sweep, group->sections[s].d[d].root))
        return false;
  return true;
}

static ntk_status find_constants(ntk_network *network) {
  ntk_status status = NTK_SUCCESS;
  const int64_t O = ntk_graph_outputs(network->graph), count = network->groups->count;
  const int64_t chunk = network->outputs < 64 ? network->outputs : 64;
  const ntk_sweep_limits limits = {.samples = 1, .cotangents = chunk};
  collector c = {.network = network};
  ntk_sweep *sweep = NULL;
  NTK_TRY(ntk_sweep_create(network->net, limits, network->groups->wanted, &sweep));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof *c.lists, &c.lists));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof *c.lengths, &c.lengths));
  for (int64_t i = 0; i < count; i++) {
    if (!is_constant(sweep, &network->groups->groups[i]))
      continue;
    NTK_TRY(
        ntk_calloc(NTK_MEMORY_GENERAL, network->outputs, sizeof(nonzero *), &c.lists[i]));
    NTK_TRY(
        ntk_calloc(NTK_MEMORY_GENERAL, network->outputs, sizeof(int64_t), &c.lengths[i]));
  }
  for (; c.first < network->outputs; c.first += chunk) {
    c.count = network->outputs - c.first < chunk ? network->outputs - c.first : chunk;
    const ntk_seeds seeds = {.data = (char *)network->seeds +
                                     c.first * O *
                                         (int64_t)ntk_dtype_bytes(network->net->dtype)};
    ntk_sweep_backward(sweep, c.count, seeds, true, collect, &c);
    NTK_TRY(c.status);
  }
  for (int64_t i = 0; i < count; i++)
    if (c.lists[i])
      NTK_TRY(find_constant(&network->groups->groups[i], network->outputs, c.lists[i],
                            c.lengths[i], &network->constants[i]));
done:
  for (int64_t i = 0; i < count && c.lists && c.lengths; i++) {
    for (int64_t o = 0; c.lists[i] && o < network->outputs; o++)
      ntk_free(&c.lists[i][o]);
    ntk_free(&c.lists[i]);
    ntk_free(&c.lengths[i]);
  }
  ntk_free(&c.lists);
  ntk_free(&c.lengths);
  ntk_sweep_destroy(&sweep);
  return status;
}

static void clear_constants(ntk_network *network) {
  for (int i = 0; network->groups && network->constants && i < network->groups->count;
       i++) {
    ntk_free(&network->constants[i].entries);
    network->constants[i].count = 0;
  }
}

static void clear_groups(ntk_network *network) {
  clear_constants(network);
  ntk_free(&network->constants);
  ntk_groups_destroy(&network->groups);
}

static ntk_status make_groups(ntk_network *network, bool jacobian, const bool *dense) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_groups_create(network->net, jacobian, dense, &network->groups));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, network->groups->count, sizeof(ntk_constant),
                     &network->constants));
  if (network->has_constants)
    NTK_TRY(find_constants(network));
done:
  return status;
}

/* Tied tensors whose Jacobian is cheaper than what ties take get that. */
static ntk_status choose_ties(ntk_network *network, ntk_form form) {
  ntk_status status = NTK_SUCCESS;
  bool *dense = NULL, any = false;
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, network->graph->value_count, sizeof *dense, &dense));
  for (int i = 0; i < network->groups->count; i++) {
    const ntk_group *group = &network->groups->groups[i];
    if (group->roles &&
        ntk_cost_prefers_dense(group, form, network->outputs, &network->constants[i]))
      dense[group->source] = any = true;
  }
  if (!any)
    goto done;
  clear_groups(network);
  NTK_TRY(make_groups(network, false, dense));
done:
  ntk_free(&dense);
  return status;
}

ntk_status ntk_network_create(const ntk_net *net, bool jacobian, ntk_form form,
                              int64_t outputs, const double *seeds, ntk_network *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t O = ntk_graph_outputs(net->graph);
  const ntk_dtype dtype = net->dtype;
  *out = (ntk_network){.graph = net->graph,
                       .net = net,
                       .outputs = outputs,
                       .has_constants = !jacobian && seeds};
  if (seeds) {
    NTK_TRY(
        ntk_malloc(NTK_MEMORY_GENERAL, outputs * O, ntk_dtype_bytes(dtype), &out->seeds));
    ntk_convert(NTK_F64, seeds, dtype, out->seeds, outputs * O);
  }
  NTK_TRY(make_groups(out, jacobian, NULL));
  if (!jacobian)
    NTK_TRY(choose_ties(out, form));
  NTK_TRY(ntk_split_create(out->groups, NULL, NULL, NULL, 1, &out->whole));
done:
  if (status != NTK_SUCCESS)
    ntk_network_destroy(out);
  return status;
}

ntk_status ntk_network_update(ntk_network *network) {
  if (!network->has_constants)
    return NTK_SUCCESS;
  clear_constants(network);
  return find_constants(network);
}

void ntk_network_destroy(ntk_network *network) {
  ntk_split_clear(&network->whole);
  clear_groups(network);
  ntk_free(&network->seeds);
}

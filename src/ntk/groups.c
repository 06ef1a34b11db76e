/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/groups.h"
#include "base/memory.h"
#include "base/text.h"
#include "ntk/pixels.h"
#include "ntk/uses.h"
#include <string.h>

static bool same_window(const ntk_window *a, const ntk_window *b) {
  return a == b || (a && b && memcmp(a, b, sizeof *a) == 0);
}

static bool same_layout(const ntk_d_layout *a, const ntk_d_layout *b) {
  return a->G == b->G && a->T1 == b->T1 && a->T2 == b->T2 && a->C == b->C &&
         a->dg == b->dg && a->dt1 == b->dt1 && a->dt2 == b->dt2 && a->dc == b->dc &&
         same_window(a->window, b->window);
}

/* A bias knows no groups of channels: cut its channels as the weight's D is cut. */
static ntk_d_layout cut_channels(ntk_d_layout layout, int64_t G) {
  if (!layout.window && layout.G == 1 && G > 1 && layout.C % G == 0) {
    layout.G = G;
    layout.C /= G;
    layout.dg = layout.C * layout.dc;
  }
  return layout;
}

static int colour_of(const ntk_net *net, int source) {
  return net->colours ? net->colours[source] : 0;
}

static bool shares_d(const ntk_group *group, int colour, const ntk_source_uses *uses) {
  if (group->colour != colour || group->section_count != uses->count ||
      group->d_count != 1 || group->unit_x)
    return false;
  for (int s = 0; s < uses->count; s++) {
    const ntk_d_part *d = group->sections[s].d;
    ntk_d_layout layout = uses->uses[s].layout;
    if (uses->uses[s].use.x_operand < 0)
      layout = cut_channels(layout, group->G);
    if (d->root != uses->uses[s].root || !same_layout(&d->layout, &layout))
      return false;
  }
  return true;
}

/* part: of a tensor in several parts, else -1. */
static ntk_status add_name(ntk_group *group, const char *name, int part) {
  ntk_status status = NTK_SUCCESS;
  ntk_text text = {0};
  NTK_TRY(ntk_text_add(&text, "%s%s%s", group->name ? group->name : "",
                       group->name ? "+" : "", name));
  if (part >= 0)
    NTK_TRY(ntk_text_add(&text, "[%d]", part));
  ntk_free(&group->name);
  NTK_TRY(ntk_strdup(text.data, &group->name));
done:
  ntk_text_clear(&text);
  return status;
}

static ntk_status add_d_part(ntk_section *section, int count, const ntk_d_part *part) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, count + 1, sizeof *part, &section->d));
  section->d[count] = *part;
done:
  return status;
}

/* The tensor's X goes beside the X that is there. */
static ntk_status add_x_parts(const ntk_net *net, ntk_group *group,
                              const ntk_source_uses *uses) {
  ntk_status status = NTK_SUCCESS;
  for (int s = 0; s < uses->count; s++) {
    const ntk_found_use *found = &uses->uses[s];
    const ntk_node *node = &net->graph->nodes[found->node];
    ntk_section *section = &group->sections[s];
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, group->x_count + 1, sizeof(ntk_x_part),
                        &section->x));
    section->x[group->x_count] = (ntk_x_part){
        .value = found->use.x_operand < 0 ? -1 : node->inputs[found->use.x_operand],
        .node = found->node,
        .operand = found->operand,
        .scale = found->scale,
        .k0 = group->K,
        .K = found->use.K,
        .use = found->use};
  }
  group->x_count++;
  group->K += uses->uses[0].use.K;
  NTK_TRY(add_name(group, net->graph->values[uses->source].name,
                   uses->parts > 1 ? uses->part : -1));
done:
  return status;
}

static ntk_status append_group(ntk_groups *groups, ntk_group **out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, groups->count + 1, sizeof(ntk_group),
                      &groups->groups));
  *out = &groups->groups[groups->count++];
  **out = (ntk_group){0};
done:
  return status;
}

static ntk_status add_sections(ntk_group *group, int sections) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, sections, sizeof(ntk_section), &group->sections));
  group->section_count = sections;
done:
  return status;
}

/* A group of these uses alone, in place of an empty one. */
static ntk_status start_group(const ntk_net *net, const ntk_source_uses *uses,
                              ntk_group *group) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(add_sections(group, uses->count));
  group->colour = colour_of(net, uses->source);
  group->G = uses->uses[0].layout.G;
  group->C = uses->uses[0].layout.C;
  for (int s = 0; s < uses->count; s++) {
    const ntk_d_part part = {.root = uses->uses[s].root, .layout = uses->uses[s].layout};
    group->sections[s].t0 = group->T;
    group->sections[s].T = part.layout.T1 * part.layout.T2;
    group->T += group->sections[s].T;
    NTK_TRY(add_d_part(&group->sections[s], 0, &part));
  }
  group->d_count = 1;
  NTK_TRY(add_x_parts(net, group, uses));
done:
  return status;
}

/* Those of a colour without factors; NULL: there are none yet. */
static ntk_group *dense_group(const ntk_groups *groups, int colour) {
  for (int i = 0; i < groups->count; i++)
    if (groups->groups[i].unit_x && groups->groups[i].colour == colour)
      return &groups->groups[i];
  return NULL;
}

/* All tensors without factors: X = 1 is theirs in common, J is the cotangent of the tensor.
 */
static ntk_status add_dense(const ntk_net *net, ntk_groups *groups, int source) {
  ntk_status status = NTK_SUCCESS;
  const int colour = colour_of(net, source);
  ntk_group *group = dense_group(groups, colour);
  if (!group) {
    NTK_TRY(append_group(groups, &group));
    NTK_TRY(add_sections(group, 1));
    group->G = group->T = group->K = group->sections[0].T = 1;
    group->unit_x = true;
    group->colour = colour;
  }
  const int64_t size = ntk_graph_size(net->graph, source);
  const ntk_d_part part = {.root = source,
                           .c0 = group->C,
                           .layout = {.G = 1, .T1 = 1, .T2 = 1, .C = size, .dc = 1}};
  NTK_TRY(add_d_part(&group->sections[0], group->d_count, &part));
  group->d_count++;
  group->C += size;
  if (group->d_count <= 4)
    NTK_TRY(add_name(group, net->graph->values[source].name, -1));
done:
  return status;
}

static bool same_x(const ntk_x_part *a, const ntk_x_part *b) {
  const ntk_use *u = &a->use, *v = &b->use;
  if (a->value != b->value || a->scale != b->scale || a->K != b->K || a->k0 != b->k0)
    return false;
  if (a->value < 0)
    return true;
  if (u->x_custom || v->x_custom)
    return u->x_custom && v->x_custom && u->x_key == v->x_key;
  return u->one_hot == v->one_hot && u->T1 == v->T1 && u->T2 == v->T2 && u->xg == v->xg &&
         u->xt1 == v->xt1 && u->xt2 == v->xt2 && u->xk == v->xk;
}

static bool shares_x(const ntk_group *a, const ntk_group *b) {
  if (a->unit_x || b->unit_x || a->roles || b->roles || a->colour != b->colour ||
      a->G != b->G || a->section_count != b->section_count || a->x_count != b->x_count)
    return false;
  for (int s = 0; s < a->section_count; s++) {
    if (a->sections[s].T != b->sections[s].T)
      return false;
    for (int i = 0; i < a->x_count; i++)
      if (!same_x(&a->sections[s].x[i], &b->sections[s].x[i]))
        return false;
  }
  return true;
}

static void clear_group(ntk_group *group) {
  for (int s = 0; s < group->section_count; s++) {
    ntk_free(&group->sections[s].x);
    ntk_free(&group->sections[s].d);
  }
  ntk_free(&group->sections);
  ntk_free(&group->name);
  for (int r = 0; group->roles && r < 2; r++)
    clear_group(&group->roles[r]);
  ntk_free(&group->roles);
}

/* Groups with the same X put their D side by side. */
static ntk_status merge_shared_x(ntk_groups *groups) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < groups->count; i++)
    for (int j = i + 1; j < groups->count;) {
      ntk_group *a = &groups->groups[i], *b = &groups->groups[j];
      if (!shares_x(a, b)) {
        j++;
        continue;
      }
      for (int s = 0; s < a->section_count; s++)
        for (int d = 0; d < b->d_count; d++) {
          ntk_d_part part = b->sections[s].d[d];
          part.c0 += a->C;
          NTK_TRY(add_d_part(&a->sections[s], a->d_count + d, &part));
        }
      a->d_count += b->d_count;
      a->C += b->C;
      NTK_TRY(add_name(a, b->name, -1));
      clear_group(b);
      memmove(b, b + 1, (size_t)(groups->count - j - 1) * sizeof *b);
      groups->count--;
    }
done:
  return status;
}

void ntk_group_place_x(ntk_group *group) {
  for (int s = 0; s < group->section_count; s++) {
    group->row_K = group->pixel_size = 0;
    for (int i = 0; i < group->x_count; i++) {
      ntk_x_part *x = &group->sections[s].x[i];
      int64_t *total = x->pixels || x->use.one_hot ? &group->pixel_size : &group->row_K;
      x->at = *total;
      *total += x->pixels        ? ntk_window_plane(x->use.window) * x->use.channels
                : x->use.one_hot ? 2 * group->T
                                 : x->K;
    }
  }
}

/* Which X parts are kept as pixels (where they may be) or indices, and where all stand. */
static void lay_out_x(ntk_group *group, bool pixels) {
  for (int r = 0; group->roles && r < 2; r++)
    lay_out_x(&group->roles[r], false);
  for (int i = 0; i < group->x_count; i++)
    group->one_hot = group->one_hot || group->sections[0].x[i].use.one_hot;
  for (int i = 0; pixels && i < group->x_count && group->section_count == 1; i++) {
    ntk_x_part *x = &group->sections[0].x[i];
    x->pixels = !group->one_hot && x->value >= 0 && x->use.x_custom && x->use.window &&
                group->T > 1 && ntk_pixels_pay(x->use.window, x->use.channels);
  }
  ntk_group_place_x(group);
}

static void mark_wanted(ntk_groups *groups) {
  for (int i = 0; i < groups->count; i++)
    for (int s = 0; s < groups->groups[i].section_count; s++)
      for (int d = 0; d < groups->groups[i].d_count; d++)
        groups->wanted[groups->groups[i].sections[s].d[d].root] = true;
}

/* The group that has the D of these uses, else groups->count. */
static int sharing_group(const ntk_net *net, const ntk_groups *groups,
                         const ntk_source_uses *uses) {
  const int colour = colour_of(net, uses->source);
  int into = 0;
  while (into < groups->count && !shares_d(&groups->groups[into], colour, uses))
    into++;
  return into;
}

/* Weights open groups or join them. */
static ntk_status place_weights(const ntk_net *net, ntk_groups *groups,
                                const ntk_uses_list *uses) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < uses->count; i++) {
    const ntk_source_uses *part = &uses->items[i];
    if (part->dense || part->count == 0 || part->uses[0].use.x_operand < 0)
      continue;
    const int into = sharing_group(net, groups, part);
    if (into < groups->count) {
      NTK_TRY(add_x_parts(net, &groups->groups[into], part));
      continue;
    }
    ntk_group *group;
    NTK_TRY(append_group(groups, &group));
    NTK_TRY(start_group(net, part, group));
  }
done:
  return status;
}

static ntk_status add_tie(const ntk_net *net, ntk_groups *groups, const ntk_source_uses *a,
                          const ntk_source_uses *b) {
  ntk_status status = NTK_SUCCESS;
  const ntk_source_uses *const uses[] = {a, b};
  ntk_text name = {0};
  ntk_group *tie;
  NTK_TRY(append_group(groups, &tie));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 2, sizeof *tie->roles, &tie->roles));
  for (int r = 0; r < 2; r++)
    NTK_TRY(start_group(net, uses[r], &tie->roles[r]));
  tie->colour = colour_of(net, a->source);
  tie->source = a->source;
  tie->G = tie->roles->G;
  tie->T = tie->roles->T;
  tie->K = tie->roles->K;
  tie->C = tie->roles->C;
  NTK_TRY(ntk_text_add(&name, "%s[%d]*[%d]", net->graph->values[a->source].name, a->part,
                       b->part));
  NTK_TRY(ntk_strdup(name.data, &tie->name));
done:
  ntk_text_clear(&name);
  return status;
}

/* What the kernels of tied parts lack. */
static ntk_status add_ties(const ntk_net *net, ntk_groups *groups,
                           const ntk_uses_list *uses) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < uses->count; i++) {
    const ntk_source_uses *part = &uses->items[i];
    if (part->tied > part->part)
      NTK_TRY(add_tie(net, groups, part, part + (part->tied - part->part)));
  }
done:
  return status;
}

/* What has X = 1 joins, with all its parts, or is dense. */
static ntk_status place_ones(const ntk_net *net, ntk_groups *groups,
                             const ntk_uses_list *uses) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < uses->count; i += uses->items[i].parts) {
    const ntk_source_uses *part = &uses->items[i];
    bool joins = !part->dense;
    if (!part->dense && (part->count == 0 || part->uses[0].use.x_operand >= 0))
      continue;
    for (int p = 0; p < part->parts && joins; p++)
      joins = sharing_group(net, groups, part + p) < groups->count;
    if (!joins)
      NTK_TRY(add_dense(net, groups, part->source));
    for (int p = 0; p < part->parts && joins; p++)
      NTK_TRY(add_x_parts(net, &groups->groups[sharing_group(net, groups, part + p)],
                          part + p));
  }
done:
  return status;
}

ntk_status ntk_groups_create(const ntk_net *net, bool jacobian, const bool *dense,
                             ntk_groups **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = net->graph;
  ntk_groups *groups = NULL;
  ntk_uses_list uses = {0};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *groups, &groups));
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, graph->value_count, sizeof(bool), &groups->wanted));
  for (int i = 0; i < graph->parameter_count; i++) {
    if (jacobian || (dense && dense[graph->parameters[i]]))
      NTK_TRY(add_dense(net, groups, graph->parameters[i]));
    else
      NTK_TRY(ntk_uses_find(net, graph->parameters[i], &uses));
  }
  NTK_TRY(place_weights(net, groups, &uses));
  NTK_TRY(place_ones(net, groups, &uses));
  NTK_TRY(merge_shared_x(groups));
  NTK_TRY(add_ties(net, groups, &uses));
  for (int i = 0; i < groups->count; i++)
    lay_out_x(&groups->groups[i], true);
  mark_wanted(groups);
  *out = groups;
  groups = NULL;
done:
  ntk_uses_clear(&uses);
  ntk_groups_destroy(&groups);
  return status;
}

void ntk_groups_destroy(ntk_groups **handle) {
  ntk_groups *groups = *handle;
  if (!groups)
    return;
  for (int i = 0; i < groups->count; i++)
    clear_group(&groups->groups[i]);
  ntk_free(&groups->groups);
  ntk_free(&groups->wanted);
  ntk_free(handle);
}

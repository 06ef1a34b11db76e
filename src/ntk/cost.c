/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/cost.h"
#include "ntk/pixels.h"
#include "ntk/trial.h"
#include <math.h>

static double pairs_of(const ntk_cost_shape *s) {
  const double pairs = (double)s->n1 * (double)s->n2;
  return s->symmetric ? pairs / 2 : pairs;
}

static double samples_of(const ntk_cost_shape *s) {
  return (double)s->n1 + (s->symmetric ? 0 : (double)s->n2);
}

/* The formulas of design section 4 for T positions, rows x C elements in G groups; K of X
 * is as many where it is not one-hot. */
static double flops_of(ntk_order order, const ntk_cost_shape *s, double G, double T,
                       double K, double rows, double C, bool formed) {
  const double O = (double)s->outputs, pairs = pairs_of(s);
  const bool full = s->form == NTK_FORM_FULL;
  const double OO = full ? O * O : O; /* entries of E that count */
  const double folds = s->form == NTK_FORM_TRACE ? 1 : OO;
  switch (order) {
  case NTK_ORDER_OUTSIDE_IN:
    return G *
           ((formed ? 0 : 2 * samples_of(s) * O * T * K * C) + 2 * pairs * OO * rows * C);
  case NTK_ORDER_INSIDE_OUT:
    return G * 2 * pairs * (T * T * K + OO * T * T * C + folds * T * T);
  default:
    return G * 2 * pairs * (T * T * K + O * T * T * C + O * O * T * C);
  }
}

/* K as products count it: rows of tables are compared, which takes as much as one. */
static double product_K(const ntk_group *group) {
  int64_t K = group->K;
  for (int i = 0; i < group->x_count && group->one_hot; i++)
    if (group->sections[0].x[i].use.one_hot)
      K += 1 - group->sections[0].x[i].K;
  return (double)K;
}

/* Operations of a tie: in each of its terms a product with each X, or as much as for k = 1
 * where that is looked up or D is sparse, and the product of these. */
static double flops_of_tie(const ntk_group *tie, ntk_order order, const ntk_cost_shape *s) {
  const ntk_group *a = &tie->roles[0], *b = &tie->roles[1];
  const double O = (double)s->outputs;
  const double k = (order == NTK_ORDER_CONSTANT ? 1 : product_K(a)) + product_K(b) +
                   (s->form == NTK_FORM_FULL ? O : 1);
  return 4 * pairs_of(s) * O * k * (double)(tie->G * a->T * b->T);
}

/* Of the shifts of pixel Grams, for a pair of samples and one g: one costs about as much as
 * eight. */
static double flops_of_shifts(const ntk_group *group) {
  const double T = (double)group->T;
  double flops = 0;
  for (int i = 0; i < group->x_count; i++)
    for (int a = 0; a < 3 && group->sections[0].x[i].pixels; a++)
      flops += 8 * T * T * (double)group->sections[0].x[i].use.window->kernel[a];
  return flops;
}

/* Operations of A for a pair of samples and one g. */
static double flops_of_a(const ntk_group *group) {
  const double T = (double)group->T;
  double flops = 2 * T * T * (double)group->row_K + flops_of_shifts(group);
  for (int i = 0; i < group->x_count; i++) {
    const ntk_x_part *x = &group->sections[0].x[i];
    if (x->use.one_hot)
      flops += 2 * T * T;
    if (!x->pixels)
      continue;
    for (int64_t c = 0; c < ntk_pixel_classes(x->use.window); c++) {
      const double n = (double)ntk_pixel_class_at(x->use.window, c).count;
      flops += 2 * n * n * (double)x->use.channels;
    }
  }
  return flops;
}

/* Tiles for a pair of samples. */
static double parts_of(const ntk_cost_shape *s) {
  const double parts = (double)s->outputs / (double)s->outputs_block;
  return s->form == NTK_FORM_FULL ? parts * parts : parts;
}

double ntk_cost_fixed_share(const ntk_group *group, ntk_order order,
                            const ntk_cost_shape *s, bool along_k) {
  const double G = (double)group->G, T = (double)group->T, C = (double)group->C;
  const double pairs = pairs_of(s) * G * parts_of(s);
  const bool has_e = order != NTK_ORDER_CONSTANT;
  if (group->unit_x || group->roles || order == NTK_ORDER_OUTSIDE_IN)
    return 0;
  const double a = pairs * flops_of_a(group), shifts = pairs * flops_of_shifts(group);
  const double e = has_e ? flops_of(order, s, G, T, 0, 0, C, false) : 0;
  const double folds = has_e ? flops_of(order, s, G, T, 0, 0, 0, false) : 0;
  return (along_k ? e + shifts : a + folds) / (a + e);
}

/* The timing of an order at this group's shape, if it was tried here. */
static const ntk_timing *timing_of(const ntk_group *group, ntk_order order,
                                   const ntk_cost_shape *s, const ntk_rates *rates,
                                   int64_t entries) {
  const ntk_constant constant = {.count = entries};
  const ntk_trial trial = {group,     order,   s->form, s->dtype, s->outputs_block,
                           &constant, s->block};
  ntk_text name = {0};
  const ntk_timing *found = NULL;
  if (rates->timing_count > 0 && ntk_trial_name(&trial, &name) == NTK_SUCCESS)
    found = ntk_rates_find(rates, name.data);
  ntk_text_clear(&name);
  return found;
}

static double forming_seconds(const ntk_group *g, ntk_order order, const ntk_cost_shape *s,
                              const ntk_rates *r) {
  if (order != NTK_ORDER_OUTSIDE_IN || g->unit_x)
    return 0;
  return (double)g->G * ntk_rates_gemm(r, s->dtype, (double)s->outputs * (double)g->C,
                                       product_K(g), (double)g->T);
}

/* All pairs of parts are contracted; each part of a column is packed once. */
static double timed_seconds(const ntk_timing *timing, const ntk_cost_shape *s) {
  const double parts = (double)s->outputs / (double)s->outputs_block;
  return pairs_of(s) * parts_of(s) * timing->seconds[0] +
         (double)s->n2 * parts * timing->seconds[1];
}

/* Seconds of the products of one order, from their operations. */
static double seconds_of(const ntk_group *g, ntk_order order, const ntk_cost_shape *s,
                         const ntk_rates *r, int64_t entries) {
  const double G = (double)g->G, T = (double)g->T, K = (double)g->K, C = (double)g->C;
  const double O = (double)s->outputs, Q = (double)s->outputs_block, pairs = pairs_of(s);
  const bool full = s->form == NTK_FORM_FULL;
  const double OO = full ? O * O : O, parts = parts_of(s);
  const double rate = r->gemm_flops[s->dtype], a = parts * flops_of_a(g);
  if (g->roles)
    return flops_of_tie(g, order, s) / rate;
  switch (order) {
  case NTK_ORDER_CONSTANT:
    return pairs * (a / rate + (double)entries * 2e-9);
  case NTK_ORDER_OUTSIDE_IN:
    return pairs * G * 2 * OO * K * C / rate;
  case NTK_ORDER_INSIDE_OUT:
    return pairs * G * (a + 2 * OO * T * T * C) / rate;
  default:
    return pairs * G * (a + parts * 2 * (Q * T * T * C + Q * Q * T * C)) / rate;
  }
}

ntk_cost ntk_cost_of(const ntk_group *group, ntk_order order, const ntk_cost_shape *s,
                     const ntk_rates *rates, int64_t entries) {
  const double bytes = (double)ntk_dtype_bytes(s->dtype);
  int64_t elements = 0;
  ntk_cost cost = {0};
  (void)ntk_place_group(group, order, s->form, 1, s->outputs_block, &elements);
  cost.factor_bytes = (double)elements * bytes;
  if (group->roles)
    cost.flops = flops_of_tie(group, order, s);
  else if (order == NTK_ORDER_CONSTANT)
    cost.flops = 2 * pairs_of(s) *
                 ((double)(group->T * group->T) * product_K(group) + (double)entries);
  else
    cost.flops = flops_of(order, s, (double)group->G, (double)group->T, product_K(group),
                          (double)group->K, (double)group->C, group->unit_x);
  if (order == NTK_ORDER_OUTSIDE_IN && !group->unit_x)
    cost.forming_flops =
        cost.flops - flops_of(order, s, (double)group->G, (double)group->T,
                              product_K(group), (double)group->K, (double)group->C, true);
  /* a row block's factors are read once per column block and the other way round */
  cost.bytes = pairs_of(s) * 2 * cost.factor_bytes / (double)s->block;
  const ntk_timing *timing = timing_of(group, order, s, rates, entries);
  const double streaming = cost.bytes / rates->copy_bytes; /* trials work in cache */
  cost.forming_seconds = samples_of(s) * forming_seconds(group, order, s, rates);
  cost.seconds = cost.forming_seconds +
                 (timing ? fmax(timed_seconds(timing, s), streaming)
                         : seconds_of(group, order, s, rates, entries) + streaming);
  return cost;
}

/* Rows of a table whose J is formed at most: with more, most of it would be zeros. */
enum { SMALL_TABLE = 1024 };

bool ntk_order_is_candidate(const ntk_group *group, ntk_order order,
                            const ntk_cost_shape *s, const ntk_constant *constant) {
  const double limit = 1024.0 * 1024.0 * 1024.0;
  const double bytes = (double)ntk_dtype_bytes(s->dtype);
  if (order == NTK_ORDER_CONSTANT)
    return constant->entries != NULL;
  if (group->roles)
    return order == NTK_ORDER_INSIDE_OUT;
  if (group->unit_x)
    return order == NTK_ORDER_OUTSIDE_IN;
  if (order == NTK_ORDER_LEFT_TO_RIGHT && s->form != NTK_FORM_FULL)
    return false;
  if (group->one_hot && order == NTK_ORDER_OUTSIDE_IN)
    return group->K <= SMALL_TABLE;
  if (group->one_hot && order == NTK_ORDER_INSIDE_OUT) /* it must do if no other does */
    return true;
  return order == NTK_ORDER_OUTSIDE_IN ||
         (double)ntk_contract_scratch(group, order, s->form, s->block, s->outputs_block) *
                 bytes <=
             limit;
}

/* Of contracting a group, forming J left out, in the order that has fewest. */
static double least_flops(const ntk_group *group, const ntk_cost_shape *s) {
  const ntk_constant none = {0};
  double least = -1;
  for (int i = 0; i < NTK_ORDERS; i++) {
    const ntk_order order = (ntk_order)i;
    if (!ntk_order_is_candidate(group, order, s, &none))
      continue;
    const double flops =
        flops_of(order, s, (double)group->G, (double)group->T, product_K(group),
                 (double)group->K, (double)group->C, order == NTK_ORDER_OUTSIDE_IN);
    if (least < 0 || flops < least)
      least = flops;
  }
  return least;
}

bool ntk_cost_prefers_dense(const ntk_group *tie, ntk_form form, int64_t outputs,
                            const ntk_constant *constant) {
  const ntk_cost_shape shape = {.form = form,
                                .n1 = 1,
                                .n2 = 1,
                                .outputs = outputs,
                                .block = 1,
                                .outputs_block = outputs};
  const ntk_group *a = &tie->roles[0], *b = &tie->roles[1];
  const ntk_group dense = {.G = 1, .T = 1, .K = 1, .C = a->G * a->K * a->C, .unit_x = true};
  const bool sparse = constant->entries != NULL; /* then that role takes no more than A */
  const double last =
      sparse ? 2 * (double)(b->T * b->T) * product_K(b) : least_flops(b, &shape);
  const ntk_order order = sparse ? NTK_ORDER_CONSTANT : NTK_ORDER_INSIDE_OUT;
  return least_flops(&dense, &shape) <
         least_flops(a, &shape) + last + flops_of_tie(tie, order, &shape);
}

ntk_order ntk_order_choose(const ntk_group *group, const ntk_cost_shape *shape,
                           const ntk_rates *rates, const ntk_constant *constant) {
  ntk_order best =
      group->one_hot || group->roles ? NTK_ORDER_INSIDE_OUT : NTK_ORDER_OUTSIDE_IN;
  double least = -1;
  for (int i = 0; i < NTK_ORDERS; i++) {
    const ntk_order order = (ntk_order)i;
    if (!ntk_order_is_candidate(group, order, shape, constant))
      continue;
    const double seconds = ntk_cost_of(group, order, shape, rates, constant->count).seconds;
    if (least < 0 || seconds < least) {
      least = seconds;
      best = order;
    }
  }
  return best;
}

double ntk_cost_minimal(const ntk_groups *groups, const ntk_cost_shape *s) {
  double total = 0;
  for (int i = 0; i < groups->count; i++) {
    const ntk_group *g = &groups->groups[i];
    for (int x = 0; x < g->x_count; x++)
      for (int d = 0; d < g->d_count; d++) {
        const ntk_x_part *part = &g->sections[0].x[x];
        if (part->value < 0)
          continue; /* a bias costs nothing beside its weight */
        double least = -1;
        for (int order = NTK_ORDER_OUTSIDE_IN; order <= NTK_ORDER_LEFT_TO_RIGHT; order++) {
          if (order == NTK_ORDER_LEFT_TO_RIGHT && s->form != NTK_FORM_FULL)
            continue;
          const double flops =
              flops_of((ntk_order)order, s, (double)g->G, (double)g->T,
                       part->use.one_hot ? 1 : (double)part->K, (double)part->K,
                       (double)g->sections[0].d[d].layout.C, false);
          if (least < 0 || flops < least)
            least = flops;
        }
        total += least;
      }
  }
  return total;
}

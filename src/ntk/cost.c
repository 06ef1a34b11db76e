/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/cost.h"
#include "ntk/pixels.h"
#include "ntk/trial.h"

static double pairs_of(const ntk_cost_shape *s) {
  const double pairs = (double)s->n1 * (double)s->n2;
  return s->symmetric ? pairs / 2 : pairs;
}

static double samples_of(const ntk_cost_shape *s) {
  return (double)s->n1 + (s->symmetric ? 0 : (double)s->n2);
}

/* The formulas of design section 4 for T positions, K x C elements in G groups. */
static double flops_of(ntk_order order, const ntk_cost_shape *s, double G, double T,
                       double K, double C, bool formed) {
  const double O = (double)s->outputs, pairs = pairs_of(s);
  const bool full = s->form == NTK_FORM_FULL;
  const double OO = full ? O * O : O; /* entries of E that count */
  const double folds = s->form == NTK_FORM_TRACE ? 1 : OO;
  switch (order) {
  case NTK_ORDER_OUTSIDE_IN:
    return G * ((formed ? 0 : 2 * samples_of(s) * O * T * K * C) + 2 * pairs * OO * K * C);
  case NTK_ORDER_INSIDE_OUT:
    return G * 2 * pairs * (T * T * K + OO * T * T * C + folds * T * T);
  default:
    return G * 2 * pairs * (T * T * K + O * T * T * C + O * O * T * C);
  }
}

/* Operations of A for a pair of samples and one g; a shift costs about as much as eight. */
static double flops_of_a(const ntk_group *group) {
  const double T = (double)group->T;
  double flops = 2 * T * T * (double)group->row_K;
  for (int i = 0; i < group->x_count; i++) {
    const ntk_x_part *x = &group->sections[0].x[i];
    if (!x->pixels)
      continue;
    for (int64_t c = 0; c < ntk_pixel_classes(x->use.window); c++) {
      const double n = (double)ntk_pixel_class_at(x->use.window, c).count;
      flops += 2 * n * n * (double)x->use.channels;
    }
    for (int a = 0; a < 3; a++)
      flops += 8 * T * T * (double)x->use.window->kernel[a];
  }
  return flops;
}

/* The timing of an order at this group's shape, if it was tried here. */
static const ntk_timing *timing_of(const ntk_group *group, ntk_order order,
                                   const ntk_cost_shape *s, const ntk_rates *rates,
                                   int64_t entries) {
  const ntk_constant constant = {.count = entries};
  const ntk_trial trial = {group, order, s->form, s->dtype, s->outputs_block, &constant};
  ntk_text name = {0};
  const ntk_timing *found = NULL;
  if (rates->timing_count > 0 && ntk_trial_name(&trial, &name) == NTK_SUCCESS)
    found = ntk_rates_find(rates, name.data);
  ntk_text_clear(&name);
  return found;
}

/* Forming J, of one sample. */
static double forming_seconds(const ntk_group *g, ntk_order order, const ntk_cost_shape *s,
                              const ntk_rates *r) {
  if (order != NTK_ORDER_OUTSIDE_IN || g->unit_x)
    return 0;
  return (double)g->G * ntk_rates_gemm(r, s->dtype, (double)s->outputs * (double)g->C,
                                       (double)g->K, (double)g->T);
}

/* All pairs of parts are contracted; each part of a column is packed once. */
static double timed_seconds(const ntk_timing *timing, const ntk_cost_shape *s) {
  const double parts = (double)s->outputs / (double)s->outputs_block;
  return pairs_of(s) * parts * (s->form == NTK_FORM_FULL ? parts : 1) * timing->seconds[0] +
         (double)s->n2 * parts * timing->seconds[1];
}

/* Seconds of the products of one order, from their operations. */
static double seconds_of(const ntk_group *g, ntk_order order, const ntk_cost_shape *s,
                         const ntk_rates *r, int64_t entries) {
  const double G = (double)g->G, T = (double)g->T, K = (double)g->K, C = (double)g->C;
  const double O = (double)s->outputs, Q = (double)s->outputs_block, pairs = pairs_of(s);
  const bool full = s->form == NTK_FORM_FULL;
  const double OO = full ? O * O : O, parts = O / Q * (full ? O / Q : 1);
  const double rate = r->gemm_flops[s->dtype], a = parts * flops_of_a(g);
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
  if (order == NTK_ORDER_CONSTANT)
    cost.flops = 2 * pairs_of(s) * (double)(group->T * group->T * group->K + entries);
  else
    cost.flops = flops_of(order, s, (double)group->G, (double)group->T, (double)group->K,
                          (double)group->C, group->unit_x);
  /* a row block's factors are read once per column block and the other way round */
  cost.bytes = pairs_of(s) * 2 * cost.factor_bytes / (double)s->block;
  const ntk_timing *timing = timing_of(group, order, s, rates, entries);
  cost.seconds = samples_of(s) * forming_seconds(group, order, s, rates) +
                 (timing ? timed_seconds(timing, s)
                         : seconds_of(group, order, s, rates, entries) +
                               cost.bytes / rates->copy_bytes);
  return cost;
}

bool ntk_order_is_candidate(const ntk_group *group, ntk_order order,
                            const ntk_cost_shape *s, const ntk_constant *constant) {
  const double limit = 1024.0 * 1024.0 * 1024.0;
  const double bytes = (double)ntk_dtype_bytes(s->dtype);
  if (order == NTK_ORDER_CONSTANT)
    return constant->entries != NULL;
  if (group->unit_x)
    return order == NTK_ORDER_OUTSIDE_IN;
  if (order == NTK_ORDER_LEFT_TO_RIGHT && s->form != NTK_FORM_FULL)
    return false;
  return order == NTK_ORDER_OUTSIDE_IN ||
         (double)ntk_contract_scratch(group, order, s->form, s->block, s->outputs_block) *
                 bytes <=
             limit;
}

ntk_order ntk_order_choose(const ntk_group *group, const ntk_cost_shape *shape,
                           const ntk_rates *rates, const ntk_constant *constant) {
  ntk_order best = NTK_ORDER_OUTSIDE_IN;
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
              flops_of((ntk_order)order, s, (double)g->G, (double)g->T, (double)part->K,
                       (double)g->sections[0].d[d].layout.C, false);
          if (least < 0 || flops < least)
            least = flops;
        }
        total += least;
      }
  }
  return total;
}

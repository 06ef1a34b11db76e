/* SPDX-License-Identifier: Apache-2.0 */
#include "job/trials.h"
#include "base/memory.h"
#include "job/calibrate.h"
#include "ntk/trial.h"
#include <stdlib.h>

/* Kernels that take less are not worth a trial, nor are groups that take little of one;
 * orders that much slower by their operations alone are not tried; no trial begins after
 * the budget. */
static const double worth_seconds = 0.3, worth_share = 0.01, hopeless = 3, budget = 1.4;

typedef struct candidate {
  int group; /* -1: the sweeps */
  ntk_order order;
  double seconds; /* of the group, by its operations: the most important come first */
} candidate;

static int by_seconds(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  return x->seconds < y->seconds   ? 1
         : x->seconds > y->seconds ? -1
         : x->group != y->group    ? x->group - y->group
                                   : (int)x->order - (int)y->order;
}

/* ---- what to try ----------------------------------------------------------------------
 */

/* With the blocks that would be chosen by operations alone. */
static ntk_status find_shape(const ntk_plan *plan, const ntk_numeric *asked,
                             ntk_cost_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  const ntk_job_shape *s = &plan->shape;
  const ntk_rates plain = ntk_rates_untimed(&plan->rates);
  ntk_numeric p = *asked;
  NTK_TRY(ntk_numeric_choose(&plan->network, s->rows, s->columns, s->symmetric, &plain,
                             asked->block, asked->outputs_block, &p));
  *shape = ntk_numeric_cost_shape(&p, s->rows, s->columns, s->symmetric);
done:
  ntk_numeric_clear(&p);
  return status;
}

static double seconds_of(const ntk_plan *plan, int group, ntk_order order,
                         const ntk_cost_shape *shape) {
  const ntk_rates plain = ntk_rates_untimed(&plan->rates);
  return ntk_cost_of(&plan->network.groups->groups[group], order, shape, &plain,
                     plan->network.constants[group].count)
      .seconds;
}

static double least_seconds(const ntk_plan *plan, int group, const ntk_cost_shape *shape) {
  const ntk_rates plain = ntk_rates_untimed(&plan->rates);
  const ntk_order best = ntk_order_choose(&plan->network.groups->groups[group], shape,
                                          &plain, &plan->network.constants[group]);
  return seconds_of(plan, group, best, shape);
}

static ntk_trial trial_of(const ntk_plan *plan, const candidate *c,
                          const ntk_cost_shape *shape) {
  return (ntk_trial){.group = &plan->network.groups->groups[c->group],
                     .order = c->order,
                     .form = shape->form,
                     .dtype = shape->dtype,
                     .outputs = shape->outputs_block,
                     .constant = &plan->network.constants[c->group],
                     .block = shape->block};
}

/* All orders of all groups that may matter; on every rank, of the same rates. */
static ntk_status list(const ntk_plan *plan, const ntk_cost_shape *shape,
                       candidate **candidates, int *count) {
  ntk_status status = NTK_SUCCESS;
  const ntk_groups *groups = plan->network.groups;
  double total = 0;
  *count = 0;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, groups->count * NTK_ORDERS + 1, sizeof(candidate),
                     candidates));
  for (int i = 0; i < groups->count; i++)
    total += least_seconds(plan, i, shape);
  if (total < worth_seconds)
    goto done;
  (*candidates)[(*count)++] = (candidate){-1, NTK_ORDER_OUTSIDE_IN, 2 * total};
  for (int i = 0; i < groups->count; i++) {
    const double least = least_seconds(plan, i, shape);
    for (int o = 0; o < NTK_ORDERS && least >= worth_share * total; o++)
      if (ntk_order_is_candidate(&groups->groups[i], (ntk_order)o, shape,
                                 &plan->network.constants[i]) &&
          seconds_of(plan, i, (ntk_order)o, shape) <= hopeless * least)
        (*candidates)[(*count)++] = (candidate){i, (ntk_order)o, least};
  }
  qsort(*candidates, (size_t)*count, sizeof **candidates, by_seconds);
done:
  return status;
}

/* ---- trying ---------------------------------------------------------------------------
 */

static ntk_status name_of(const ntk_plan *plan, const candidate *c,
                          const ntk_cost_shape *shape, ntk_text *name) {
  const ntk_trial trial = trial_of(plan, c->group < 0 ? &(candidate){0} : c, shape);
  return c->group < 0 ? ntk_trial_sweep_name(&plan->network, shape->outputs_block, name)
                      : ntk_trial_name(&trial, name);
}

static ntk_status run_one(const ntk_plan *plan, const candidate *c,
                          const ntk_cost_shape *shape, double seconds[2]) {
  if (c->group < 0)
    return ntk_trial_sweep(&plan->network, shape->block, shape->outputs_block, seconds);
  const ntk_trial trial = trial_of(plan, c, shape);
  return ntk_trial_run(&trial, &plan->rates, seconds);
}

/* The slowest rank's seconds count; *spent too is the same on all ranks. */
static ntk_status try_one(ntk_plan *plan, const candidate *c, const ntk_cost_shape *shape,
                          const char *name, double *spent) {
  ntk_status status = NTK_SUCCESS;
  double seconds[3] = {0};
  const double start = ntk_seconds();
  NTK_TRY(ntk_agree(plan->context->comm, run_one(plan, c, shape, seconds)));
  seconds[2] = ntk_seconds() - start;
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, seconds, 3, MPI_DOUBLE, MPI_MAX, plan->context->comm));
  *spent += seconds[2];
  NTK_TRY(ntk_agree(plan->context->comm, ntk_rates_add(&plan->rates, name, seconds)));
done:
  return status;
}

ntk_status ntk_trials_run(ntk_plan *plan, const ntk_numeric *numeric) {
  ntk_status status = NTK_SUCCESS;
  ntk_cost_shape shape;
  candidate *candidates = NULL;
  ntk_text name = {0};
  int count = 0, tried = 0;
  double spent = 0;
  if (ntk_options_string(plan->options, "rates") || plan->network.groups->count == 0)
    return NTK_SUCCESS;
  status = find_shape(plan, numeric, &shape);
  if (status == NTK_SUCCESS)
    status = list(plan, &shape, &candidates, &count);
  NTK_TRY(ntk_agree(plan->context->comm, status));
  for (int i = 0; i < count && spent < budget; i++) {
    ntk_text_clear(&name);
    NTK_TRY(ntk_agree(plan->context->comm, name_of(plan, &candidates[i], &shape, &name)));
    if (ntk_rates_find(&plan->rates, name.data))
      continue;
    NTK_TRY(try_one(plan, &candidates[i], &shape, name.data, &spent));
    tried++;
  }
  if (tried > 0)
    NTK_TRY(ntk_calibrate_keep(plan->context, &plan->rates));
done:
  ntk_text_clear(&name);
  ntk_free(&candidates);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_TRIAL_H
#define NTK_NTK_TRIAL_H

#include "ntk/engine.h"

/* Measured seconds for the planner: the engine's own packing, contraction and sweeps at the
 * shapes in question, on made-up numbers and all threads of the rank. Kept by name among
 * the rates (rates.h), where costs find them (cost.c). Local; all ranks of a node should
 * try at once, as they will work at once. */

/* A group contracted in an order. */
typedef struct ntk_trial {
  const ntk_group *group;
  ntk_order order;
  ntk_form form;
  ntk_dtype dtype;
  int64_t outputs; /* Q */
  const ntk_constant *constant;
  int64_t block; /* samples of a row block, as far as it is known; 0: it is not */
} ntk_trial;

/* The group's shape, not its name: equal ones are measured once. */
NTK_CHECKED ntk_status ntk_trial_name(const ntk_trial *trial, ntk_text *name);
/* seconds[0] of contracting a pair of samples, [1] of packing a column sample; some 30 ms
 * and 32 MiB, unless one pair takes more. */
NTK_CHECKED ntk_status ntk_trial_run(const ntk_trial *trial, const ntk_rates *rates,
                                     double seconds[2]);

/* Sweeps of a network for o outputs; the name tells networks apart by their size alone. */
NTK_CHECKED ntk_status ntk_trial_sweep_name(const ntk_network *network, int64_t o,
                                            ntk_text *name);
/* seconds[0] of a sample, *[1] = 0. Up to `samples` are swept at once. */
NTK_CHECKED ntk_status ntk_trial_sweep(const ntk_network *network, int64_t samples,
                                       int64_t o, double seconds[2]);

#endif

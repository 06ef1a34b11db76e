/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_PLAN_PARTS_H
#define NTK_JOB_PLAN_PARTS_H

#include "io/store.h"
#include "job/plan.h"

/* The steps of planning, in their order. Private to src/job. */

/* decide.c: the numerical plan. Collective; the network is made with it. */

/* Where the plan stands: the file in which to go on, else what --plan names; NULL: it is to
 * be chosen. Local. */
const char *ntk_plan_path(const ntk_plan *plan);
/* The parameters, in the type that the plan will have: known from the options or the plan's
 * file before it is made. */
NTK_CHECKED ntk_status ntk_plan_hold_weights(ntk_plan *plan);
/* Before rank 0 chooses, all ranks measure what it chooses by. */
NTK_CHECKED ntk_status ntk_plan_try_orders(ntk_plan *plan);
/* Rank 0 decides, or reads the file of --plan; all read the same text. Errors: those of the
 * options, NTK_ERR_FILE and NTK_ERR_FORMAT of plan files. */
NTK_CHECKED ntk_status ntk_plan_decide(ntk_plan *plan);
/* Of NTK-vector products over all pairs; a tangent costs about two forward passes, a
 * cotangent as much. */
double ntk_plan_ntvp_flops(const ntk_plan *plan, const ntk_numeric *numeric);
double ntk_plan_ntvp_seconds(const ntk_plan *plan, const ntk_numeric *numeric);

/* layout_choice.c: grid, the split of the parameters over its depth, passes and panel, on
 * plan->machine, which need not be there. Spec and predicted seconds are set. */

/* What a rank holds whatever the layout: parameters and libraries of plan->memory, and
 * plan->sweep_bytes, those of the rank that has most. Collective. */
NTK_CHECKED ntk_status ntk_plan_count_fixed_memory(ntk_plan *plan);
/* The grid and passes that are given, else those of the least predicted time that fit the
 * cap, with the largest panel that does. Local, the same on all ranks. NTK_ERR_ARGUMENT;
 * NTK_ERR_MEMORY names the smallest cap of what was looked at, ntk_plan_cap_needed; the
 * smallest panel is chosen then.
 */
NTK_CHECKED ntk_status ntk_plan_choose_layout(ntk_plan *plan);
/* The most that a rank has in memory, up to the planning or after it. */
int64_t ntk_plan_peak_bytes(const ntk_plan *plan);
/* MiB of the smallest cap that surely does, on this machine. */
int64_t ntk_plan_cap_needed(const ntk_plan *plan);

/* balance.c. Local. */

/* Mean by maximum of the pairs of sample blocks of a rank. */
double ntk_plan_balance(const ntk_plan *plan);
/* Where a grid row or column has fewer than 10 blocks: the largest --block that balances
 * them best, and how well; 0 where none does it better. */
int64_t ntk_plan_mending_block(const ntk_plan *plan, double *balance);

/* plan.c: a plan up to the numerical one and the engine's spec, with what it takes; what
 * follows is choosing the layout. Collective. tables: those that options are of. output:
 * the kernel file in which to go on, where there is one; NULL: none. */
NTK_CHECKED ntk_status ntk_plan_begin(ntk_model *model, ntk_data *rows, ntk_data *columns,
                                      const ntk_option *const tables[], const char *options,
                                      const char *output, ntk_plan **out);

/* refresh.c: parameters that were set since, and what is computed from them, and the
 * caller's rows as they are now; before every execution. Collective. NTK_ERR_ARGUMENT: with
 * these values another plan is needed; NTK_ERR_NONFINITE. */
NTK_CHECKED ntk_status ntk_plan_refresh(ntk_plan *plan);
/* decide.c: does the order of every group suit it? A constant D may be one of other
 * parameters' values only. path: of the plan, for the message. Local. */
NTK_CHECKED ntk_status ntk_plan_check_orders(const ntk_plan *plan, const char *path,
                                             const ntk_numeric *numeric);

/* execute.c: runs the plan, refreshed, into a sink. Collective. NTK_ERR_ARGUMENT: it has
 * kernels of groups. */
NTK_CHECKED ntk_status ntk_plan_run(ntk_plan *plan, const ntk_sink *sink);

/* execute.c: what the kernel file is made from, less digests and provenance. Local. */
ntk_store_spec ntk_plan_store_spec(const ntk_plan *plan, const char *path);
/* Is half of the kernel stored, by options with those of the output? NTK_ERR_ARGUMENT: it
 * is not symmetric. */
NTK_CHECKED ntk_status ntk_plan_takes_half(const ntk_plan *plan, const ntk_options *options,
                                           bool *half);

#endif

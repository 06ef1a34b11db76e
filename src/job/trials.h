/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_TRIALS_H
#define NTK_JOB_TRIALS_H

#include "job/plan.h"

/* Purpose: measures what the plan's costs rest on and the rates do not know yet: the groups
 * of the plan's network in the orders that may be best, and its sweeps. Nothing where the
 * kernel takes less time than that; no trial begins after 1.4 s. `numeric` has type,
 * reduction and algorithm, and the block sizes where the user gave them, else 0. What was
 * measured is kept with the cached rates, unless those are a file's (--rates), which is
 * taken as it is. Collective, all ranks trying at once; all get the same rates. */
NTK_CHECKED ntk_status ntk_trials_run(ntk_plan *plan, const ntk_numeric *numeric);

#endif

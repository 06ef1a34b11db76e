/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_PREDICT_H
#define NTK_JOB_PREDICT_H

#include "job/plan.h"

/* Share of the rate of large products that sweeps are taken to reach where they were not
 * tried. */
#define NTK_SWEEP_SHARE 0.33

/* Seconds of a run by phase on this run's ranks, evenly dealt, by the plan's rates. */
typedef struct ntk_prediction {
  double sweeps, contraction, writing;
} ntk_prediction;
void ntk_predict(const ntk_plan *plan, ntk_prediction *out); /* local, pure */

/* Operations of sweeping every sample once, over all ranks. */
double ntk_predict_sweep_flops(const ntk_plan *plan);

#endif

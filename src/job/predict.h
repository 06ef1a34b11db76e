/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_PREDICT_H
#define NTK_JOB_PREDICT_H

#include "job/plan.h"

/* Share of the rate of large products that sweeps are taken to reach where they were not
 * tried. */
#define NTK_SWEEP_SHARE 0.33

/* Seconds of the busiest rank of plan->machine by phase, by the plan's rates and layout. */
typedef struct ntk_prediction {
  double reading, sweeps, exchange, contraction, writing;
  double sent_bytes; /* of factors, between all ranks */
} ntk_prediction;
void ntk_predict(const ntk_plan *plan, ntk_prediction *out);     /* local, pure */
double ntk_prediction_seconds(const ntk_prediction *prediction); /* of all phases */
/* The same where messages travel while tiles are contracted. */
double ntk_prediction_overlapped(const ntk_prediction *prediction);

#endif

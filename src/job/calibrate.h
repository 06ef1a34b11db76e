/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_CALIBRATE_H
#define NTK_JOB_CALIBRATE_H

#include "base/context.h"
#include "ntk/rates.h"

/* Purpose: the rates to plan with: of `path` where given (--rates), else of the cache of
 * this CPU model, BLAS and thread count, else measured by all ranks at once, and cached.
 * Collective; all get rank 0's,
 * to be cleared. */
NTK_CHECKED ntk_status ntk_calibrate(ntk_context *context, const char *path,
                                     bool recalibrate, ntk_rates *rates);

/* "model name" of the first processor, "cpu" where it is not told. Local. */
void ntk_cpu_model(char *name, size_t size);

/* Puts rates that have grown (timings) into the cache, where it can be written. Collective.
 */
NTK_CHECKED ntk_status ntk_calibrate_keep(ntk_context *context, const ntk_rates *rates);

#endif

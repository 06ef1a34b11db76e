/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_LIMIT_H
#define SCANTK_LIMIT_H

#include <scantk/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Seconds that are left of this batch job: of SLURM_JOB_END_TIME, else as squeue says;
 * infinite where there is no job or it has no limit. Local; may run squeue, so that one
 * rank should ask. */
NTK_API double ntk_limit_seconds_left(void);

/* "12:30", "1:00:00", "2-03:00:00", as SLURM writes durations, in seconds; -1 for what is
 * none. Local. */
NTK_API double ntk_limit_parse(const char *text);

#ifdef __cplusplus
}
#endif
#endif

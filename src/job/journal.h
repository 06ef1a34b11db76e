/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_JOURNAL_H
#define NTK_JOB_JOURNAL_H

#include "job/plan.h"

/* What a run says at its start and end (interface section 4). Rank 0 speaks; local. */
void ntk_journal_open(const ntk_plan *plan, const char *path, const char *hosts,
                      const char *command_line);

/* What was reached; ranks must have agreed on the numbers. */
typedef struct ntk_journal_end {
  ntk_phase_row phases[NTK_PHASES];
  double seconds; /* from the first read of data to the last tile written */
  double gflops;  /* of the contraction, by minimal flops */
  double gemm_gflops;
  double swept_flops;                   /* of all sweeps, repeated ones too */
  int64_t peak_bytes, least_peak_bytes; /* resident, max and min over ranks */
} ntk_journal_end;
void ntk_journal_close(const ntk_plan *plan, const ntk_journal_end *end);

#endif

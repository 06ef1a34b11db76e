/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_JOURNAL_H
#define NTK_JOB_JOURNAL_H

#include "job/plan.h"

/* What a run says at its start and end (interface section 4): lines of the log, and records
 * for machines. Rank 0 speaks; local. */
typedef struct ntk_journal_start {
  const char *path, *hosts, *command_line; /* the last may be NULL */
  int64_t file_bytes;
  bool half;               /* --store */
  const char *file_system; /* its kind */
  double free_bytes;       /* on it; may be infinite */
} ntk_journal_start;
void ntk_journal_open(const ntk_plan *plan, const ntk_journal_start *start);
void ntk_record_open(const ntk_plan *plan, const ntk_journal_start *start);

/* Warnings for a run that is predicted to take so long: blocks that balance badly, a job
 * that ends too soon. Local. */
void ntk_journal_warn(const ntk_plan *plan, double seconds);

/* What was reached; ranks must have agreed on the numbers. */
typedef struct ntk_journal_end {
  ntk_phase_row phases[NTK_PHASES];
  double seconds; /* from the first read of data to the last tile written */
  double share;   /* of the tiles that this run computed */
  double gflops;  /* of the contraction, by minimal flops */
  double gemm_gflops;
  double swept_flops; /* of all sweeps, repeated ones too */
  double sent_bytes;  /* factors and parts of tiles, between all ranks */
  double hidden; /* share of the time that factors were on their way in which nobody waited
                    for them */
  int64_t peak_bytes, least_peak_bytes; /* resident, max and min over ranks */
} ntk_journal_end;
void ntk_journal_close(const ntk_plan *plan, const ntk_journal_end *end);
void ntk_record_close(const ntk_plan *plan, const ntk_journal_end *end);

/* Number of the batch job, NULL outside one. */
const char *ntk_job_id(void);
/* Cores that this rank may use, "0-3,8"; their number, 0 where the system does not tell. */
enum { NTK_CORES_TEXT = 64 };
int ntk_cores(char text[NTK_CORES_TEXT]);

#endif

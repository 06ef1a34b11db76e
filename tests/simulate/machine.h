/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TESTS_SIMULATE_MACHINE_H
#define NTK_TESTS_SIMULATE_MACHINE_H

#include "job/job.h"

/* A kernel and a machine in numbers, and a worker and a sink that only take time. */

typedef struct growth { /* for each sample, for each sample and output */
  double sample, output;
} growth;

typedef struct machine {
  ntk_job_shape shape;
  growth block, packed;     /* bytes */
  double sweep_flops;       /* of a sample and output */
  double pair_flops;        /* of a pair of samples and outputs */
  double flops, copy_bytes; /* per second: of a rank, of one of its threads */
  double threads;
  double copies; /* that a byte of the kernel costs after its contraction: rounding,
                    transposing, checksum, copying */
  double link_bytes, disk_bytes; /* per second: of a node, of the file system */
  int ranks_per_node;
} machine;

/* What all ranks have done so far. */
typedef struct tally {
  int64_t contracted;   /* pairs of row blocks */
  uint64_t fingerprint; /* of which ones */
  double elements;      /* written */
  double rank_seconds;  /* that one rank alone would need for contraction and writing */
} tally;

/* From lines "name value"; ends the program where one is missing. */
machine machine_parse(const char *text);
double machine_number(const char *text, const char *name);

ntk_worker machine_worker(machine *m);
ntk_sink machine_sink(machine *m);

/* Seconds of sweeping every sample once, on one rank. */
double machine_sweep_seconds(const machine *m);
tally machine_tally(void);
/* What it must be when every pair was contracted exactly once; rank_seconds 0. */
tally machine_due(const machine *m);

#endif

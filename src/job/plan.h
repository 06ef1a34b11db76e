/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_PLAN_H
#define NTK_JOB_PLAN_H

#include "base/context.h"
#include "io/data.h"
#include "job/cotangents.h"
#include "job/job.h"
#include "job/named.h"
#include "job/numeric.h"
#include "job/weights.h"
#include "onnx/model.h"
#include <scantk/options.h>
#include <scantk/plan.h>

/* Bytes of one rank, term by term (design section 5). */
typedef struct ntk_memory_terms {
  int64_t parameters, panel, column, tiles, sweeps;
  int64_t exchange; /* parts of tiles from other depths, and books of what is on its way */
  int64_t libraries;
} ntk_memory_terms;
int64_t ntk_memory_terms_total(const ntk_memory_terms *terms);

/* What a plan is for: this run's ranks, or others that are not there. */
typedef struct ntk_machine {
  int ranks, ranks_per_node;
  double speed;         /* as many times as fast as this machine */
  double network_bytes; /* per second, into a node; 0: as between processes, by memory */
  double disk_bytes;    /* per second, all ranks together; 0: not known */
} ntk_machine;

typedef struct ntk_apply ntk_apply; /* apply.h */

struct ntk_plan {
  ntk_context *context; /* all borrowed */
  ntk_model *model;
  ntk_data *rows, *columns; /* columns NULL: x2 = x1 with the same cotangents */
  ntk_options *options;
  ntk_numeric numeric;
  char *text;    /* the numerical plan */
  char *resumed; /* the kernel file that it is of, the same on all ranks; NULL: of none */
  int64_t settings; /* of parameters that the weights have */
  ntk_weights weights;
  ntk_network network;
  ntk_rates rates; /* planned with */
  ntk_machine machine;
  ntk_cotangents cotangents;
  ntk_named_groups groups;
  int64_t *output_index; /* [selected] outputs that are recorded */
  int64_t selected;
  int64_t
      kernel_outputs; /* O of the kernel: selected ones or cotangents; pseudo sums them */
  ntk_job_shape shape;
  ntk_layout layout;
  ntk_split split; /* of the parameters over the depth and the passes */
  ntk_engine_spec spec;
  ntk_engine *engine;
  ntk_apply *apply; /* made when first applied */
  ntk_memory_terms memory;
  int64_t peak_before;  /* resident bytes of the rank that had most, up to the planning */
  int64_t least_bytes;  /* of the layout that takes least of those that were looked at */
  int64_t engine_bytes; /* of this rank's sweeps with one pass */
  int64_t sweep_bytes;  /* those of the rank that has most, with outputs on their way */
  int64_t pass_bytes;   /* that a pass of the layout may take beyond them */
  int64_t cap; /* also the allocator's while the plan lives; those of several add up */
  const char *cap_bound_by;
  bool is_capping;
  ntk_job_traffic traffic; /* of the last run, of this rank */
  int threads;             /* when planned: the engine has scratch for so many */
  double *predicted;       /* [groups] seconds over all pairs */
  double forming;          /* of them: of Jacobians, of all samples once */
  double contraction_flops, minimal_flops;
  double sweep_flops; /* of every sample once, for all outputs */
  double pass_sweeps; /* those of all passes of the layout, by these */
  /* where the outputs of swept samples go while a run lasts */
  ntk_status (*outputs)(void *user, int side, int64_t first, int64_t n,
                        const double *values);
  void *user;
};

/* ", 3 passes over the parameters", or nothing where there is one. */
enum { NTK_PASSES_TEXT = 48 };
void ntk_layout_passes_text(const ntk_layout *layout, char text[NTK_PASSES_TEXT]);

/* Do the samples of a data set fit the model's inputs? NTK_ERR_SHAPE with the permutation
 * that would. Those of integers are to stay exact. Local. */
NTK_CHECKED ntk_status ntk_data_fits(ntk_data *data, const ntk_model *model);

/* Parses "0,3,10:20" into indices below `outputs`; NULL: all. *index is to be freed. */
NTK_CHECKED ntk_status ntk_outputs_select(const char *text, int64_t outputs,
                                          int64_t **index, int64_t *count);

/* The table of --explain; measured: [groups] seconds of contraction of this rank, or NULL.
 */
NTK_CHECKED ntk_status ntk_plan_explain(const ntk_plan *plan, const double *measured);

#endif

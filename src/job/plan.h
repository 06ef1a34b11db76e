/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_PLAN_H
#define NTK_JOB_PLAN_H

#include "base/context.h"
#include "io/data.h"
#include "job/cotangents.h"
#include "job/job.h"
#include "job/numeric.h"
#include "onnx/model.h"
#include <scantk/options.h>
#include <scantk/plan.h>

/* Bytes of one rank, term by term (design section 5). */
typedef struct ntk_memory_terms {
  int64_t parameters, panel, column, tiles, sweeps, libraries;
} ntk_memory_terms;
int64_t ntk_memory_terms_total(const ntk_memory_terms *terms);

struct ntk_plan {
  ntk_context *context; /* all borrowed */
  ntk_model *model;
  ntk_data *rows, *columns; /* columns NULL: x2 = x1 with the same cotangents */
  ntk_options *options;
  ntk_numeric numeric;
  char *text; /* the numerical plan */
  ntk_network network;
  ntk_rates rates; /* planned with */
  ntk_cotangents cotangents;
  int64_t *output_index; /* [selected] outputs that are recorded */
  int64_t selected;
  int64_t
      kernel_outputs; /* O of the kernel: selected ones or cotangents; pseudo sums them */
  ntk_job_shape shape;
  ntk_layout layout;
  ntk_engine_spec spec;
  ntk_engine *engine;
  ntk_memory_terms memory;
  int64_t peak_before; /* resident bytes of the rank that had most, up to the planning */
  int64_t cap; /* also the allocator's while the plan lives; those of several add up */
  const char *cap_bound_by;
  bool is_capping;
  int threads;       /* when planned: the engine has scratch for so many */
  double *predicted; /* [groups] seconds over all pairs */
  double minimal_flops;
  /* where the outputs of swept samples go while a run lasts */
  ntk_status (*outputs)(void *user, int side, int64_t first, int64_t n,
                        const double *values);
  void *user;
};

/* Do the samples of a data set fit the model's input? NTK_ERR_SHAPE with the permutation
 * that would. Local. */
NTK_CHECKED ntk_status ntk_data_fits(const ntk_data *data, const ntk_model *model);

/* Parses "0,3,10:20" into indices below `outputs`; NULL: all. *index is to be freed. */
NTK_CHECKED ntk_status ntk_outputs_select(const char *text, int64_t outputs,
                                          int64_t **index, int64_t *count);

/* The table of --explain; measured: [groups] seconds of contraction of this rank, or NULL.
 */
NTK_CHECKED ntk_status ntk_plan_explain(const ntk_plan *plan, const double *measured);

#endif

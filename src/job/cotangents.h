/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_COTANGENTS_H
#define NTK_JOB_COTANGENTS_H

#include "base/context.h"
#include "graph/graph.h"
#include "io/data.h"

/* The user's cotangents, --cotangents and --cotangents2: the kernel is that of C f, with C
 * [O', O] for all samples or [N, O', O], one for each. Each rank reads the slices that it
 * sweeps. {0}: there are none. */
typedef struct ntk_cotangents {
  ntk_data *sides[2];     /* rows, columns; [1] NULL: as the rows */
  ntk_data *files[2];     /* of which sides are picked as the samples are; NULL: the same */
  bool per_sample[2];     /* [N, O', O] */
  int64_t count, outputs; /* O', O */
  bool is_alike;          /* one [O', O] serves all samples of both sides */
  void *rows;             /* [O', O] of one sample, before they are summed */
} ntk_cotangents;

/* Purpose: open the files of --cotangents and --cotangents2 (NULL: not given) and check
 * that they fit the graph's outputs and the samples. Collective. selected:
 * --select-outputs, which they exclude; NULL: not given. columns NULL: x2 = x1. Per-sample
 * cotangents have as many samples as the range of the data, or as the whole file, of which
 * the same range is taken; of samples that were picked (ntk_data_pick) the same numbers.
 * Errors: NTK_ERR_ARGUMENT (options that exclude or need each
 * other), NTK_ERR_SHAPE, those of ntk_data_read. */
NTK_CHECKED ntk_status ntk_cotangents_open(ntk_context *context, const char *const paths[2],
                                           const char *selected, const ntk_graph *graph,
                                           ntk_data *rows, ntk_data *columns,
                                           ntk_cotangents *out);
void ntk_cotangents_close(ntk_cotangents *cotangents);
/* The file of a side with the whole range of the data; NULL: there is none. Local. */
ntk_data *ntk_cotangents_file(const ntk_cotangents *cotangents, int side);

/* Those of samples first .. first + n of a side: [n, O', O] reals of dtype; summed: their
 * sum / sqrt(O'), [n, 1, O]. Local. Errors: NTK_ERR_NONFINITE, NTK_ERR_FILE. */
NTK_CHECKED ntk_status ntk_cotangents_read(const ntk_cotangents *cotangents, int side,
                                           int64_t first, int64_t n, bool summed,
                                           ntk_dtype dtype, void *out);

/* [count, O], *seeds to be freed: where they are the same for all samples (is_alike), the
 * user's; where there are none, the identity's rows `index`. summed: the sum of either by
 * the root of their number, [1, O]. Local. Errors as above. */
NTK_CHECKED ntk_status ntk_cotangents_seeds(const ntk_cotangents *cotangents,
                                            int64_t selected, const int64_t *index,
                                            int64_t O, bool summed, ntk_dtype dtype,
                                            double **seeds);

#endif

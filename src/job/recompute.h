/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_RECOMPUTE_H
#define NTK_JOB_RECOMPUTE_H

#include "io/data.h"
#include "io/kernel_check.h"
#include "onnx/model.h"
#include <scantk/options.h>

/* Entries of a kernel of a file computed once more, in f64, by another algorithm. */
typedef struct ntk_recomputed {
  char *group; /* NULL: the whole kernel */
  char algorithm[16];
  int64_t rows, columns;      /* samples that were picked */
  int64_t entries;            /* compared */
  double largest, difference; /* of the entries, and between the two */
  int64_t tile;               /* the file's tile in which they differ most */
} ntk_recomputed;

/* Purpose: pick `samples` rows and columns at random and compute their kernels, the whole
 * one and those of groups; *out [*count] is to be freed with ntk_recomputed_free. The
 * model, and by their digests the samples, must be the file's. data: the whole data set
 * (columns NULL: of both sides), of which the file tells the range. options: of the table
 * "verify". Collective. Errors: NTK_ERR_FORMAT names what is not the file's;
 * NTK_ERR_ARGUMENT: cotangents that are missing, or that the kernel is not of; those of
 * ntk_plan_create and ntk_plan_to_tiles. */
NTK_CHECKED ntk_status ntk_kernel_recompute(ntk_context *context,
                                            const ntk_kernel_file *file, ntk_model *model,
                                            ntk_data *rows, ntk_data *columns,
                                            const ntk_options *options,
                                            ntk_recomputed **out, int *count);
void ntk_recomputed_free(ntk_recomputed **found, int count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_TILE_H
#define NTK_JOB_TILE_H

#include "job/job.h"

/* What becomes of one tile after its contraction: mirrored, checked, rounded once, written,
 * and for x2 = x1 written once more as its transpose. Private to src/job; local. */
typedef struct ntk_tile_buffers {
  int64_t elements; /* of the largest tile */
  double *acc;      /* [accumulators][elements]: more than one where parts are summed */
  void *values;     /* [elements] in the job's type */
  void *transposed;
} ntk_tile_buffers;

/* sample_blocks: of a panel, each with its own sum over parts. */
NTK_CHECKED ntk_status ntk_tile_buffers_create(const ntk_job_shape *shape,
                                               int64_t sample_blocks,
                                               ntk_tile_buffers *out);
void ntk_tile_buffers_destroy(ntk_tile_buffers *buffers);
int64_t ntk_tile_buffers_bytes(const ntk_job_shape *shape, int64_t sample_blocks);

/* The tile of the row blocks (I, q) and (J, p), with the parts' own outputs. */
ntk_tile ntk_tile_of(const ntk_job_shape *shape, int64_t I, int64_t q, int64_t J,
                     int64_t p);

/* mirror: only the lower half of acc is right. same_block: I = J. */
NTK_CHECKED ntk_status ntk_tile_finish(const ntk_job_shape *shape, const ntk_tile *tile,
                                       bool same_block, bool mirror, double *acc,
                                       ntk_tile_buffers *buffers, const ntk_sink *sink);

#endif

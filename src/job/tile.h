/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_TILE_H
#define NTK_JOB_TILE_H

#include "job/job.h"

/* What becomes of one tile after its contraction: mirrored, checked, rounded once, written,
 * and for x2 = x1 written once more as its transpose. Private to src/job; local. */
typedef struct ntk_tile_buffers {
  int64_t elements; /* of the largest tile */
  double *acc;      /* [accumulators][elements]: more than one where parts are summed; zero
                       before a tile's first contraction */
  void *values;     /* [elements] in the job's type */
  void *transposed;
  ntk_tile finished; /* whose values these are */
  int to_write;      /* of the two, in this order: 2 both, 1 the values alone, 0 nothing */
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

/* Purpose: make the values of a tile whose sums are complete, and for x2 = x1 off the
 * diagonal their transpose; on all threads. acc is left zero, ready for the next tile.
 * mirror: only the lower half of acc is right. NTK_ERR_NONFINITE. */
NTK_CHECKED ntk_status ntk_tile_finish(const ntk_job_shape *shape, const ntk_tile *tile,
                                       bool mirror, double *acc, ntk_tile_buffers *buffers);
/* Purpose: write what was finished, if anything is not yet written. */
NTK_CHECKED ntk_status ntk_tile_write(ntk_tile_buffers *buffers, const ntk_sink *sink);

/* A tile being rounded: `count` matrices [rows, columns] one after the other (diagonal), or
 * one. */
typedef struct ntk_tile_rounding {
  int64_t count, rows, columns;
  bool mirror;
  double *acc;
  void *values;
  void *transposed; /* NULL: not wanted */
} ntk_tile_rounding;

/* Strips of rows, the threads' tasks: no two touch the same elements. */
enum { NTK_TILE_STRIP = 16 };
static inline int64_t ntk_tile_strips(int64_t rows) {
  return (rows + NTK_TILE_STRIP - 1) / NTK_TILE_STRIP;
}
/* Strip `number` of the count * ntk_tile_strips; false: something is not finite. */
bool ntk_tile_round_f32(const ntk_tile_rounding *rounding, int64_t number);
bool ntk_tile_round_f64(const ntk_tile_rounding *rounding, int64_t number);

#endif

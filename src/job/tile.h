/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_TILE_H
#define NTK_JOB_TILE_H

#include "dist/parts.h"
#include "job/job.h"

/* What becomes of one tile after its contraction: mirrored, checked, rounded once, written,
 * and for x2 = x1 written once more as its transpose. Private to src/job; local. */
typedef struct ntk_tile_buffers {
  int kernels;
  int64_t elements; /* of the largest tile */
  int64_t sums;     /* of its parts of all colours, `elements` apart */
  double **acc;     /* [acc_count] of ntk_part_size(sums) each, the last a spare one where
                       that is asked for; zero before a tile's first contraction */
  int64_t acc_count;
  double *memory;    /* of the accumulators */
  double *sum;       /* [elements] of the colours of a kernel, where there are several */
  size_t bytes;      /* of a tile in the job's type */
  void *values;      /* [kernels][elements] in that */
  void *transposed;  /* NULL where no tile has one */
  ntk_tile finished; /* whose values these are */
  int to_write;      /* of the two, in this order: 2 both, 1 the values alone, 0 nothing */
} ntk_tile_buffers;

/* sums: accumulators side by side. spare: one more, while another is on its way. */
NTK_CHECKED ntk_status ntk_tile_buffers_create(const ntk_job_shape *shape, int64_t sums,
                                               bool spare, ntk_tile_buffers *out);
void ntk_tile_buffers_destroy(ntk_tile_buffers *buffers);
int64_t ntk_tile_buffers_bytes(const ntk_job_shape *shape, int64_t sums, bool spare);
/* Of the largest tile; of the accumulator of it. */
int64_t ntk_tile_most_elements(const ntk_job_shape *shape);
static inline int64_t ntk_tile_most_sums(const ntk_job_shape *shape) {
  return ntk_job_colours(shape) * ntk_tile_most_elements(shape);
}

/* The tile of the row blocks (I, q) and (J, p), with the parts' own outputs. */
ntk_tile ntk_tile_of(const ntk_job_shape *shape, int64_t I, int64_t q, int64_t J,
                     int64_t p);

/* Adds a tile of a full kernel, f64, to the whole of it in memory: a matrix over (sample,
 * output) with so many outputs of a sample and columns. */
void ntk_tile_add(const ntk_tile *tile, const double *values, int64_t outputs,
                  int64_t columns, double *matrix);

/* Purpose: make the values of a tile whose sums are complete, and for x2 = x1 off the
 * diagonal their transpose, unless only half is kept; on all threads. acc is left zero,
 * ready for the next tile. mirror: only the lower half of acc is right. NTK_ERR_NONFINITE.
 */
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

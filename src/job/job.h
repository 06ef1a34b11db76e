/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_JOB_H
#define NTK_JOB_JOB_H

#include "base/context.h"
#include "base/meanwhile.h"
#include "dist/grid.h"
#include "tensor/tensor.h"
#include <scantk/plan.h>

/* The panel and tile loop of one kernel (design section 5). It reaches the arithmetic and
 * the file through two structs of function pointers, so that it runs under a simulator. */

/* Sizes of one kernel. Sample block I holds samples I*B .. ; it is cut into `parts` row
 * blocks of Q outputs each; row block r = I * parts + q. */
typedef struct ntk_job_shape {
  ntk_reduction reduction;
  ntk_dtype dtype;
  bool symmetric;
  int64_t rows, columns, outputs; /* N1, N2, O (cotangents) */
  int64_t block, outputs_block;   /* B, Q */
  int64_t row_base, column_base;  /* numbers of the first samples, for messages */
} ntk_job_shape;

/* What computes. side: 0 rows, 1 columns. Local, no MPI inside. */
typedef struct ntk_worker {
  void *self;
  /* Bytes of the factors of a row block of n samples and o outputs: the same on all ranks.
   */
  int64_t (*block_bytes)(void *self, int64_t n, int64_t o);
  /* Sweeps the samples first .. first + n of a side, outputs output .. output + o, and
   * leaves the factors in buffer. */
  ntk_status (*sweep)(void *self, int side, int64_t first, int64_t n, int64_t output,
                      int64_t o, void *buffer);
  /* A column block of n samples and o outputs in the form in which it is contracted, made
   * once for all row blocks; bytes of that form. */
  int64_t (*packed_bytes)(void *self, int64_t n, int64_t o);
  void (*pack)(void *self, int64_t n, int64_t o, const void *column, void *packed);
  /* Adds the contribution of the pair of row blocks to acc (f64, layout of ntk_tile).
   * mirror: the two blocks are the same one, only the half with row index >= column index
   * of the [n,o] x [m,p] matrix need be right; the caller mirrors.
   * meanwhile: done once, on the calling thread, while other threads may contract already;
   * its failure is returned. */
  ntk_status (*contract)(void *self, const ntk_tile *tile, const void *row,
                         const void *packed, bool mirror, double *acc,
                         ntk_meanwhile meanwhile);
} ntk_worker;

/* What keeps tiles and outputs. Values are in the job's dtype. Local; called on the thread
 * that runs the job, which may stand in the worker's parallel region. */
typedef struct ntk_sink {
  void *self;
  ntk_status (*write)(void *self, const ntk_tile *tile, const void *values);
} ntk_sink;

/* How the job is laid out on this run's ranks; free of rounding. */
typedef struct ntk_layout {
  int grid_rows, grid_columns;
  int64_t panel; /* row blocks of a grid row held at a time, a multiple of the parts where
                    the reduction sums over them */
} ntk_layout;

/* Purpose: run it. Collective over context. Sweeps of a row block are done by one rank of
 * its grid row (column) and broadcast; with x2 = x1 a column block that stands in the
 * current panel of some rank of the grid column is broadcast from there. Errors of any rank
 * end the loop on all of them with the origin's message; NTK_STOPPED. */
NTK_CHECKED ntk_status ntk_job_run(ntk_context *context, const ntk_job_shape *shape,
                                   const ntk_layout *layout, const ntk_worker *worker,
                                   const ntk_sink *sink);

/* Blocks of `size` that `count` takes, the last one maybe smaller; no size overflows it. */
static inline int64_t ntk_job_blocks(int64_t count, int64_t size) {
  return count / size + (count % size > 0);
}

/* Number of pairs of row blocks that are contracted, over all ranks. */
int64_t ntk_job_tiles(const ntk_job_shape *shape);

/* The loop's own memory in bytes for a layout. */
typedef struct ntk_job_memory {
  int64_t panel;
  int64_t columns; /* the column block in hand, packed; that received, and the next that
                      this rank sends */
  int64_t tiles;   /* accumulators, values and transposes */
} ntk_job_memory;
ntk_job_memory ntk_job_bytes(const ntk_job_shape *shape, const ntk_layout *layout,
                             const ntk_worker *worker);

#endif

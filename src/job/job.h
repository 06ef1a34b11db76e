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
  bool keeps_half;                /* symmetric: no transposes of tiles are made */
  int64_t rows, columns, outputs; /* N1, N2, O (cotangents) */
  int64_t block, outputs_block;   /* B, Q */
  int64_t row_base, column_base;  /* numbers of the first samples, for messages */
  int colours;         /* of parameters, each in a part of its own of acc; 0: one */
  int kernels;         /* sums over colours, each written: the first over all; 0: one */
  const bool *members; /* [kernels][colours] what is in which sum; NULL where one is made */
} ntk_job_shape;
static inline int ntk_job_colours(const ntk_job_shape *s) {
  return s->colours > 0 ? s->colours : 1;
}
static inline int ntk_job_kernels(const ntk_job_shape *s) {
  return s->kernels > 0 ? s->kernels : 1;
}

/* What computes. side: 0 rows, 1 columns. The factors of a row block come in shares, one
 * for each depth of the grid, and a share in passes, one after the other. Local, no MPI
 * inside. */
typedef struct ntk_worker {
  void *self;
  /* Bytes of the share of depth d of the factors of a row block of n samples and o outputs:
   * the same on all ranks. */
  int64_t (*block_bytes)(void *self, int d, int64_t n, int64_t o);
  /* Sweeps the samples first .. first + n of a side, outputs output .. output + o, and
   * leaves each depth's share of the factors in shares[depth]. */
  ntk_status (*sweep)(void *self, int side, int64_t first, int64_t n, int64_t output,
                      int64_t o, void *const *shares);
  /* A column block of n samples and o outputs in the form in which my share is contracted,
   * made once for all row blocks; bytes of that form, of any share. */
  int64_t (*packed_bytes)(void *self, int d, int64_t n, int64_t o);
  void (*pack)(void *self, int64_t n, int64_t o, const void *column, void *packed);
  /* Adds my share's contribution of the pair of row blocks to acc (f64, as ntk_tile; one
   * for each colour, ntk_tile_most_elements apart). mirror: the two blocks are the same
   * one, only the half with row index >= column index of the [n,o] x [m,p] matrix need be
   * right; the caller mirrors. meanwhile: done once, on the calling thread, while other
   * threads may contract already; its failure is returned. */
  ntk_status (*contract)(void *self, const ntk_tile *tile, const void *row,
                         const void *packed, bool mirror, double *acc,
                         ntk_meanwhile meanwhile);
  /* All that the calls above say and do is of this pass from now on, at first of pass 0.
   * NULL where there is only that. */
  void (*begin_pass)(void *self, int pass);
} ntk_worker;

/* What keeps tiles and outputs. Values are in the job's dtype. Local; called on the thread
 * that runs the job, which may stand in the worker's parallel region. */
typedef struct ntk_sink {
  void *self;
  ntk_status (*write)(void *self, const ntk_tile *tile, const void *values);
  /* The same of another kernel, 1 .. kernels - 1. NULL where there is one. */
  ntk_status (*write_group)(void *self, int kernel, const ntk_tile *tile,
                            const void *values);
  /* Is the tile of all kernels kept already, and for x2 = x1 its transpose, so that it need
   * not be made? Of a trace: the tile of the samples, whatever the outputs. The same on all
   * ranks and throughout a run; NULL: none is. */
  bool (*is_done)(void *self, const ntk_tile *tile);
} ntk_sink;

/* How the job is laid out on this run's ranks; free of rounding. */
typedef struct ntk_layout {
  int grid_rows, grid_columns, grid_depth;
  int64_t panel;  /* row blocks of a grid row held at a time, a multiple of the parts where
                     the reduction sums over them */
  bool recompute; /* each rank sweeps the column blocks that it contracts with, but for
                     those of its own panel, and none are sent */
  int passes;     /* over the groups of parameters: a panel's blocks are swept in each, for
                     some of the groups, and its tiles stay until the last; 0: one */
} ntk_layout;
static inline int ntk_layout_passes(const ntk_layout *layout) {
  return layout->passes > 0 ? layout->passes : 1;
}

/* What went between ranks, of this one. */
typedef struct ntk_job_traffic {
  double bytes;             /* sent */
  double travelled, waited; /* seconds that row blocks were on their way to this rank; of
                               those it had nothing else to do */
} ntk_job_traffic;

/* Purpose: run it. Collective over context. Sweeps of a row block are done by one rank of
 * its grid row (column) and its depth, the factors sent to the others; with x2 = x1 a
 * column block that stands in the current panel of some rank of the grid column comes from
 * there. Column blocks travel while those before are contracted, and so do the parts of a
 * tile. Errors of any rank end the loop on all of them with the origin's message;
 * NTK_STOPPED. traffic: may be NULL. */
NTK_CHECKED ntk_status ntk_job_run(ntk_context *context, const ntk_job_shape *shape,
                                   const ntk_layout *layout, const ntk_worker *worker,
                                   const ntk_sink *sink, ntk_job_traffic *traffic);

/* Blocks of `size` that `count` takes, the last one maybe smaller; no size overflows it. */
static inline int64_t ntk_job_blocks(int64_t count, int64_t size) {
  return count / size + (count % size > 0);
}

/* Samples that have to be swept: of both sides, those of x2 = x1 once. */
static inline double ntk_job_samples(const ntk_job_shape *s) {
  return (double)s->rows + (s->symmetric ? 0 : (double)s->columns);
}

/* Number of pairs of row blocks that are contracted, over all ranks. */
int64_t ntk_job_tiles(const ntk_job_shape *shape);

/* The loop's own memory in bytes for a layout, of the rank that takes most. */
typedef struct ntk_job_memory {
  int64_t panel;
  int64_t columns; /* the column block in hand, packed; those received, and the one that
                      this rank sends */
  int64_t tiles;   /* accumulators, values and transposes */
  int64_t parts;   /* of a tile, from the other depths */
  int64_t books;   /* of what is on its way */
} ntk_job_memory;
NTK_CHECKED ntk_status ntk_job_bytes(const ntk_job_shape *shape, const ntk_layout *layout,
                                     const ntk_worker *worker, ntk_job_memory *out);

#endif

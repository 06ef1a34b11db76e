/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_LOOP_PARTS_H
#define NTK_JOB_LOOP_PARTS_H

#include "dist/parts.h"
#include "dist/spread.h"
#include "job/tile.h"

/* Private to src/job: one run of the loop on one rank; what is to be done, and how far it
 * is (walk.c), where factors come from (factors.c), and the loop itself (loop.c). Row block
 * r = I * parts + q; the row blocks of a grid row are numbered k = 0, 1, ... in the order
 * of r, those of a grid column in the order of contraction (ntk_walk_column). */
typedef struct ntk_loop {
  ntk_context *context;
  const ntk_job_shape *shape;
  const ntk_worker *worker;
  const ntk_sink *sink;
  ntk_grid grid;
  /* what is to be done */
  int64_t n1, n2, parts;   /* sample blocks of the sides, parts of each */
  int64_t panel, panel_at; /* row blocks held at a time; first of those in hand */
  bool recompute;          /* column blocks are swept where they are contracted */
  int passes, pass;        /* over the panel in hand, and the one in hand */
  /* factors */
  int64_t *slot_bytes[2]; /* [Pd] of a side's row block in this pass, each share's with its
                             flag */
  char *rows;             /* [panel] my share of the row blocks in hand */
  char *columns[2];   /* my share of a column block from others: that in hand, the next */
  char *own;          /* [Pd] all shares of the one that this rank has swept */
  char *packed;       /* the column block in hand, as it is contracted */
  void **buffers;     /* [Pd] where a sweep leaves the shares */
  MPI_Request *feeds; /* [Pd] of own to the other depths */
  int feed_count;
  ntk_spread *row_spreads;     /* [panel] */
  ntk_spread coming[2];        /* column blocks, by their number mod 2 */
  int64_t begun;               /* column blocks below this are on their way or here */
  int64_t row_taken, row_sent; /* row blocks on their way: from, to */
  int64_t received;       /* column blocks from others, into one buffer and the other */
  const char *factors[2]; /* of those */
  double moved;           /* when messages were last looked after */
  ntk_status moving;      /* of that */
  ntk_job_traffic *traffic;
  /* tiles */
  ntk_tile_buffers tiles;
  int64_t column_acc, next_acc; /* accumulators: of the first tile of the column in hand,
                                   of the tile that follows */
  ntk_parts sums;               /* over the depth */
  ntk_tile tile;                /* the one whose parts are on their way */
  bool tile_mirror;
  double *spare;       /* an accumulator for the next meanwhile */
  int64_t tile_number; /* of tiles whose sums were completed at this place of the grid */
  ntk_status status;   /* of this rank */
  bool halted;         /* this rank failed, is to stop or heard of either: it only keeps in
                          step */
  int64_t done, total; /* pairs of row blocks of this rank, in all passes */
  int64_t kept;        /* of those in the last pass: of finished tiles */
  double start;
} ntk_loop;

/* ---- walk.c: which pairs, whose; local, no memory ---- */

/* Sets the geometry of a run from its shape and layout. */
void ntk_walk_set(ntk_loop *j, const ntk_job_shape *shape, const ntk_layout *layout);
/* How many of n sample blocks a grid row or column (`mine` of `count`) has, in row blocks.
 */
int64_t ntk_walk_owned(const ntk_loop *j, int64_t n, int mine, int count);
/* The sample block of the k-th row block of a grid row (`mine` of `count`). */
static inline int64_t ntk_walk_block(const ntk_loop *j, int64_t k, int mine, int count) {
  return mine + k / j->parts * count;
}
/* The sample block of the k-th column block of my grid column. Of x2 = x1 a rank contracts
 * about half of its row blocks with each, and with one half way round the other half: two
 * such columns follow on each other, so that ranks that are in step have as much to do. */
int64_t ntk_walk_column(const ntk_loop *j, int64_t k);
/* Are (I, q) and (J, p) contracted? Not where the tile is done. */
bool ntk_walk_is_contracted(const ntk_loop *j, int64_t I, int64_t q, int64_t J, int64_t p);
/* Is anything left to contract with the k-th row block of my grid row, on either side? */
bool ntk_walk_is_row_used(const ntk_loop *j, int64_t k);
/* End of the panel in hand of a grid row. */
int64_t ntk_walk_panel_end(const ntk_loop *j, int grid_row);
/* Does any rank of my grid column contract a row block of its panel with the k-th column
 * block? Does this rank? */
bool ntk_walk_is_needed(const ntk_loop *j, int64_t k);
bool ntk_walk_is_mine(const ntk_loop *j, int64_t k);
/* The number of a column block in the panel of the grid row that holds it, -1: none. */
int64_t ntk_walk_in_panel(const ntk_loop *j, int64_t k);
/* Do the panels hold every column, so that none is swept? */
bool ntk_walk_has_all_columns(const ntk_loop *j);
int64_t ntk_walk_pairs(const ntk_loop *j); /* that this rank contracts */
/* Are the parts of a tile summed, column after column? */
static inline bool ntk_walk_sums_parts(const ntk_loop *j) {
  return j->shape->reduction == NTK_REDUCE_TRACE && j->parts > 1;
}
/* Accumulators that a rank has in hand at most: of the panel's tiles, and of each part of a
 * sum, where there are several passes; where parts are summed of a column's tiles and of
 * the part in hand; else one. */
int64_t ntk_walk_accumulators(const ntk_loop *j);
/* Tells rank 0's caller how far it has come. */
void ntk_walk_report(const ntk_loop *j);

/* ---- factors.c ---- */

/* Memory; local. */
NTK_CHECKED ntk_status ntk_factors_create(ntk_loop *j);
void ntk_factors_destroy(ntk_loop *j);
/* Bytes of the panel, and of column blocks and what is on its way. */
NTK_CHECKED ntk_status ntk_factors_bytes(ntk_loop *j, ntk_job_memory *memory);
/* Sweeps and shares the row blocks of the panel and pass in hand. Collective over the grid
 * row and its depth. */
NTK_CHECKED ntk_status ntk_factors_load_panel(ntk_loop *j);
/* My share of the row block k of the panel in hand. */
const char *ntk_factors_row(const ntk_loop *j, int64_t k);
/* Sends the k-th column block on its way, unless it is; sweeps it where this rank must.
 * Where columns are recomputed there is nothing to begin. */
NTK_CHECKED ntk_status ntk_factors_begin_column(ntk_loop *j, int64_t k);
/* Waits for it, or sweeps it, and packs it where this rank contracts with it. */
NTK_CHECKED ntk_status ntk_factors_take_column(ntk_loop *j, int64_t k);
/* What is on its way gets along: what has arrived is handed on. Local. */
NTK_CHECKED ntk_status ntk_factors_advance(ntk_loop *j);
/* Waits until nothing is on its way any more. */
NTK_CHECKED ntk_status ntk_factors_settle(ntk_loop *j);

#endif

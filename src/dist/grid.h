/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_DIST_GRID_H
#define NTK_DIST_GRID_H

#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

/* The process grid Pr x Pc x Pd and who owns what (design section 6): sample blocks are
 * dealt to rows and columns, parameters to the depth. Knows no network. */
typedef struct ntk_grid {
  MPI_Comm comm;                   /* a duplicate, for messages between its ranks */
  int rows, columns, depth;        /* Pr, Pc, Pd */
  int my_row, my_column, my_depth; /* -1 on idle ranks (size > Pr * Pc * Pd) */
} ntk_grid;

/* Purpose: make a grid of rows x columns x depth on the first ranks of comm, the others
 * idle. Neighbours are those of one row and column: they exchange most. Collective over
 * comm. NTK_ERR_ARGUMENT where there are fewer ranks. */
NTK_CHECKED ntk_status ntk_grid_create(MPI_Comm comm, int rows, int columns, int depth,
                                       ntk_grid *out);
void ntk_grid_destroy(ntk_grid *grid); /* frees the duplicate; collective */
static inline int ntk_grid_rank(const ntk_grid *g, int row, int column, int depth) {
  return (row * g->columns + column) * g->depth + depth;
}

/* Is the pair of sample blocks (I, J) computed, n blocks, x2 = x1? Circulant half: d = (I -
 * J) mod n with 2d < n, or 2d = n and I < J. Exactly one of (I,J), (J,I) is, and every
 * (I,I). */
bool ntk_pair_is_computed(int64_t I, int64_t J, int64_t n);
/* The computed pairs have numbers 0 .. n (n + 1) / 2 - 1, by d and then by I: first those
 * of each block with itself. The number of a computed pair, and the pair of a number. */
int64_t ntk_pair_number(int64_t I, int64_t J, int64_t n);
void ntk_pair_at(int64_t number, int64_t n, int64_t *I, int64_t *J);

/* How many of the blocks 0 .. n - 1, dealt in turn, belong to grid row or column `mine` of
 * `count`; none to an idle rank's -1. */
int64_t ntk_grid_dealt(int64_t n, int64_t mine, int64_t count);

/* Purpose: choose Pr x Pc <= size for n1 x n2 sample blocks: least maximum of pairs per
 * rank (to 0.4 %), then least sweeps (Pr + Pc), then most rows: a rank holds a panel of its
 * row's blocks, while those of columns come and go. Local, the same on all ranks. Cost:
 * below a second for 65,536 ranks and 5,000 blocks. */
void ntk_grid_choose(int size, int64_t n1, int64_t n2, bool symmetric, int *rows,
                     int *columns);
/* Exact maximum over ranks of the pairs a rank owns. */
int64_t ntk_grid_max_pairs(int rows, int columns, int64_t n1, int64_t n2, bool symmetric);

/* Broadcast of any number of bytes (pieces of at most 1 GiB). Collective over comm. */
NTK_CHECKED ntk_status ntk_bcast(void *buffer, int64_t bytes, int root, MPI_Comm comm);
/* The same in pieces of a given size, below 2^31. */
NTK_CHECKED ntk_status ntk_bcast_pieces(void *buffer, int64_t bytes, int root,
                                        MPI_Comm comm, int64_t piece);

/* Sums, minima or maxima of any number of numbers over the ranks. Collective over comm. */
NTK_CHECKED ntk_status ntk_reduce(double *values, int64_t count, MPI_Op op, MPI_Comm comm);

/* Purpose: rank 0's text for all ranks of comm, *out owned by the caller on each.
 * Collective; `text` matters on rank 0 alone. */
NTK_CHECKED ntk_status ntk_bcast_text(const char *text, MPI_Comm comm, char **out);

/* A vote that costs no waiting: every rank calls ntk_vote_next once per step with its flag
 * (0: go on; larger wins); *decided is the maximum over ranks of the flags of the PREVIOUS
 * step, the same on all ranks. ntk_vote_finish ends it (collective), giving the last. */
typedef struct ntk_vote {
  MPI_Comm comm;
  MPI_Request request;
  int mine, all;
} ntk_vote;
void ntk_vote_begin(ntk_vote *vote, MPI_Comm comm);
NTK_CHECKED ntk_status ntk_vote_next(ntk_vote *vote, int flag, int *decided);
NTK_CHECKED ntk_status ntk_vote_finish(ntk_vote *vote, int flag, int *decided);

#endif

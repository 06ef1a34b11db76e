/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_DIST_PARTS_H
#define NTK_DIST_PARTS_H

#include "dist/grid.h"

/* Each rank of a depth line has a part of every tile; the t-th tile's parts go to rank t
 * mod Pd, which adds them in the order of depth, in f64: the volume of a reduce-scatter,
 * and always the same sum. One tile is on its way at a time, while the next is contracted.
 */
typedef struct ntk_parts {
  const ntk_grid *grid;  /* borrowed */
  int64_t elements;      /* of the largest part */
  double *received;      /* [Pd - 1][elements + a line] */
  MPI_Request *requests; /* [Pd - 1] */
  int request_count;
  double *part; /* in hand; NULL: none is on its way */
  int64_t number;
  double sent; /* bytes in all */
} ntk_parts;

/* Doubles of a part with the line behind it that tells whether it is right. */
static inline int64_t ntk_part_size(int64_t elements) { return (elements + 15) / 8 * 8; }

/* Memory for parts of up to `elements`; none where Pd = 1. Local. */
NTK_CHECKED ntk_status ntk_parts_create(const ntk_grid *grid, int64_t elements,
                                        ntk_parts *out);
void ntk_parts_destroy(ntk_parts *parts);
static inline int64_t ntk_parts_bytes(int depth, int64_t elements) {
  return (depth - 1) * (ntk_part_size(elements) * 8 + (int64_t)sizeof(MPI_Request));
}

/* Purpose: send or receive the parts of tile `number`. Called by all ranks of the depth
 * line for the same tiles in the same order; returns at once. part
 * [ntk_part_size(elements)], borrowed until ntk_parts_end; is_right: may be used. */
NTK_CHECKED ntk_status ntk_parts_begin(ntk_parts *parts, int64_t number, double *part,
                                       bool is_right);
/* They get along. Local. Nothing where none is on its way. */
NTK_CHECKED ntk_status ntk_parts_advance(ntk_parts *parts);
/* Purpose: wait for it. On the tile's owner `part` then holds the sum; on others it may be
 * used again. *is_mine: I am the owner; *is_right: all parts were (on others: mine was). */
NTK_CHECKED ntk_status ntk_parts_end(ntk_parts *parts, bool *is_mine, bool *is_right);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_SPLIT_H
#define NTK_NTK_SPLIT_H

#include "ntk/cost.h"

/* The parameters dealt to the depth of a grid (design section 6): each share contracts some
 * groups whole and pieces of others, each cut along c or along k, whichever leaves less for
 * every piece to do again (A = X X^T along c, E = D D^T along k). The kernel is the sum
 * over all shares. A share may be taken in several passes, each some of its pieces. */
typedef struct ntk_split {
  int shares, passes, count;
  ntk_group *pieces; /* [count], share after share; what is not cut is the group itself */
  bool *is_cut;      /* [count] */
  int *group;        /* [count] number of the group of each piece */
  int *first;        /* [shares * passes + 1] first piece of each pass of each share */
  double largest;    /* predicted seconds of the share that takes longest, by those of all
                        groups */
} ntk_split;

/* Purpose: deal the groups so that the longest share is short. Local, the same for the same
 * arguments. Borrows the groups.
 * orders, seconds  [groups], of contracting each; shape: that of the costs, to tell what a
 *                  cut group does twice. NULL for one share. */
NTK_CHECKED ntk_status ntk_split_create(const ntk_groups *groups, const ntk_order *orders,
                                        const double *seconds, const ntk_cost_shape *shape,
                                        int shares, ntk_split *out);
void ntk_split_clear(ntk_split *split);

/* Takes each share in at most so many passes (made anew), so that the pass with most bytes
 * has few; pieces keep their order, and none is cut. bytes [count]: of each piece. Each
 * has something in some share. */
NTK_CHECKED ntk_status ntk_split_divide(ntk_split *split, const int64_t *bytes, int passes);

/* The pieces of a share in a pass. */
typedef struct ntk_pieces {
  int first, end;
} ntk_pieces;
static inline ntk_pieces ntk_split_pieces(const ntk_split *split, int share, int pass) {
  const int *at = &split->first[share * split->passes + pass];
  return (ntk_pieces){at[0], at[1]};
}

#endif

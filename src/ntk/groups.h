/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_GROUPS_H
#define NTK_NTK_GROUPS_H

#include "autodiff/net.h"

/* The factor description of a network (design section 4): every use of a parameter tensor
 * belongs to exactly one group, and a group's Jacobian is
 *
 *     J[n,o,g,k,c] = sum over t of X[n,g,t,k] D[n,o,g,t,c],
 *
 * where t runs over its sections (uses of the same tensors, one after the other), k over
 * its X parts (tensors that share their D: a weight with its bias, a convolution with its
 * shortcut) and c over its D parts (tensors that share their X: q, k and v).
 *
 * A tensor W that is also used as W^T (an embedding tied to the head) is in two groups, a
 * and b, J_W = J_a + J_b^T, and what their kernels lack is a tie: it has no J, but the
 * terms between its roles,
 *
 *     sum over t,s of (Xa[n,t] . Db[m,p,s]) (Da[n,o,t] . Xb[m,s]), and the same with the
 *     samples exchanged. */

/* Where D[g,t,c] stands in the elements of a cotangent: t = t1 * T2 + t2. With a window, D
 * is columns of the patches of the planes from g * dg + t1 * dt1 on (op.h, d_window). */
typedef struct ntk_d_layout {
  int64_t G, T1, T2, C, dg, dt1, dt2, dc;
  const ntk_window *window; /* dt2 = 0, dc = 1 */
} ntk_d_layout;

/* Columns k0 .. k0 + K of X in one section. */
typedef struct ntk_x_part {
  int value;         /* data value that X is made of; -1: X = scale */
  int node, operand; /* the use */
  double scale;
  int64_t k0, K;
  int64_t skip; /* elements of the value in front of its first column's */
  int64_t at;   /* first column among the parts that are kept as rows, or first element of a
                   sample among those that are kept as pixels or indices */
  bool pixels;  /* its Gram is a sum of shifted Grams of pixels (pixels.h) */
  ntk_use use;
} ntk_x_part;

/* Columns c0 .. c0 + layout.C of D in one section. */
typedef struct ntk_d_part {
  int root; /* value whose cotangent holds D; a parameter source where J is formed by vjp */
  int64_t c0;
  int64_t
      skip; /* elements of the cotangent (columns of patches) before its first channel */
  ntk_d_layout layout;
} ntk_d_part;

typedef struct ntk_section {
  int64_t t0, T;
  ntk_x_part *x; /* [x_count] */
  ntk_d_part *d; /* [d_count] */
} ntk_section;

typedef struct ntk_group {
  int64_t G, T, K, C;        /* totals */
  int64_t row_K, pixel_size; /* K of the X parts kept as rows; elements of one sample and g
                                of those kept as pixels, or as indices: of each one-hot part
                                [t] the row of the table that is 1, and [t] the scale */
  int section_count, x_count, d_count;
  ntk_section *sections;
  struct ntk_group *roles; /* [2]: this is a tie of these, which have one X and one D part,
                              nothing of it kept as pixels; no sections. G, T, K and C are
                              those of the first. NULL: an ordinary group */
  bool unit_x;             /* X = 1, T = 1: J is D itself */
  bool one_hot;            /* it has a one-hot part, and none of pixels */
  int colour;              /* of its tensors, one (net.h) */
  int source;              /* of a tie: its tensor */
  char *name;              /* the tensors, for --explain */
} ntk_group;

typedef struct ntk_groups {
  int count;
  ntk_group *groups;
  bool *wanted; /* [values] roots: cotangents that the sweeps must deliver */
} ntk_groups;

/* Purpose: find and merge the uses of all parameters. jacobian: no factors, every tensor's
 * Jacobian by vjp (one group), calling nothing of the factor description. dense [values]:
 * tied tensors whose Jacobian is to be formed, too; NULL: none. Local. */
NTK_CHECKED ntk_status ntk_groups_create(const ntk_net *net, bool jacobian,
                                         const bool *dense, ntk_groups **out);
void ntk_groups_destroy(ntk_groups **groups);

/* Where the X parts of a group stand, by which of them are kept as pixels. */
void ntk_group_place_x(ntk_group *group);

/* Of the patches that a part with a window is. */
static inline int64_t ntk_x_part_taps(const ntk_x_part *part) {
  return ntk_window_taps(part->use.window);
}

#endif

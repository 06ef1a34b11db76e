/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_GROUPS_H
#define NTK_NTK_GROUPS_H

#include "autodiff/net.h"

/* The factor description of a network (design section 4): every parameter tensor belongs to
 * exactly one group, and a group's Jacobian is
 *
 *     J[n,o,g,k,c] = sum over t of X[n,g,t,k] D[n,o,g,t,c],
 *
 * where t runs over its sections (uses of the same tensors, one after the other), k over
 * its X parts (tensors that share their D: a weight with its bias, a convolution with its
 * shortcut) and c over its D parts (tensors that share their X: q, k and v). */

/* Where D[g,t,c] stands in the elements of a cotangent: t = t1 * T2 + t2. */
typedef struct ntk_d_layout {
  int64_t G, T1, T2, C, dg, dt1, dt2, dc;
} ntk_d_layout;

/* Columns k0 .. k0 + K of X in one section. */
typedef struct ntk_x_part {
  int value;         /* data value that X is made of; -1: X = scale */
  int node, operand; /* the use */
  double scale;
  int64_t k0, K;
  int64_t at;  /* first column among the parts that are kept as rows, or first element of a
                  sample among those that are kept as pixels */
  bool pixels; /* its Gram is a sum of shifted Grams of pixels (pixels.h) */
  ntk_use use;
} ntk_x_part;

/* Columns c0 .. c0 + layout.C of D in one section. */
typedef struct ntk_d_part {
  int root; /* value whose cotangent holds D; a parameter source where J is formed by vjp */
  int64_t c0;
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
                                of those kept as pixels */
  int section_count, x_count, d_count;
  ntk_section *sections;
  bool unit_x; /* X = 1, T = 1: J is D itself */
  char *name;  /* the tensors, for --explain */
} ntk_group;

typedef struct ntk_groups {
  int count;
  ntk_group *groups;
  bool *wanted; /* [values] roots: cotangents that the sweeps must deliver */
} ntk_groups;

/* Purpose: find and merge the uses of all parameters. jacobian: no factors, every tensor's
 * Jacobian by vjp (one group), calling nothing of the factor description. Local. */
NTK_CHECKED ntk_status ntk_groups_create(const ntk_net *net, bool jacobian,
                                         ntk_groups **out);
void ntk_groups_destroy(ntk_groups **groups);

#endif

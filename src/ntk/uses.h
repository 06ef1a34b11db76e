/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_USES_H
#define NTK_NTK_USES_H

#include "ntk/groups.h"

/* One use of a parameter source by a data-side node, with the cotangent traced down to
 * where it is last the same up to a scalar. Private to src/ntk. */
enum { NTK_CHAIN = 16 };
typedef struct ntk_found_use {
  int node, operand;
  int chain[NTK_CHAIN],
      chain_length; /* parameter-side nodes from the source to the operand */
  double scale;     /* of chain, use and trace together */
  int root;
  ntk_use use;
  ntk_d_layout layout;
} ntk_found_use;

/* The uses of one part of a source: of all of it, or of a slice that no other part holds
 * but the one that it is tied to. */
typedef struct ntk_source_uses {
  int source;
  int part, parts; /* number and count of the source's parts, side by side in the list */
  int tied;        /* number of the part that holds the same elements with k and c exchanged
                      (W and W^T); -1: none */
  bool dense;      /* J by vjp: the source's only part */
  int count;
  ntk_found_use *uses; /* by root, then node */
  double *map;         /* [g,k,c] element of the source, while parts are compared, where it
                          cannot be traced one by one */
} ntk_source_uses;

typedef struct ntk_uses_list {
  int count;
  ntk_source_uses *items;
} ntk_uses_list;

/* Purpose: appends the parts of one parameter source. dense is set where a path from it to
 * the data is no plain chain, where a use has no factors, or where elements are used in
 * different roles other than those of tied parts. Elements of no part reach no output. */
NTK_CHECKED ntk_status ntk_uses_find(const ntk_net *net, int source, ntk_uses_list *list);
void ntk_uses_clear(ntk_uses_list *list);

/* map[g,k,c] = element of the source that stands there in the use, -1: none; whole numbers.
 * In all uses of a part they are the same. Takes the memory of two more doubles an element
 * of the source, unless all moves are transpositions. */
NTK_CHECKED ntk_status ntk_use_map(const ntk_net *net, int source,
                                   const ntk_found_use *found, double *map);
/* Does an element stand where the strides of the use say? */
bool ntk_use_is_strided(const ntk_net *net, const ntk_found_use *found);

#endif

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

typedef struct ntk_source_uses {
  int source;
  bool dense; /* J by vjp */
  int count;
  ntk_found_use *uses; /* by root, then node */
} ntk_source_uses;

/* Purpose: the uses of one parameter source. dense is set where a path from it to the data
 * is no plain chain, where a use has no factors, or where uses have different roles. */
NTK_CHECKED ntk_status ntk_uses_find(const ntk_net *net, int source, ntk_source_uses *out);
void ntk_uses_clear(ntk_source_uses *uses);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_NAMED_H
#define NTK_JOB_NAMED_H

#include "graph/graph.h"
#include <scantk/options.h>

/* The groups of parameters that --group names, which may overlap. Parameters that are in
 * the same of them have the same colour: contracted apart by colours, each kernel is a sum
 * over some of them. */
typedef struct ntk_named_groups {
  int count;
  char **names; /* [count] */
  char *text;   /* "NAME=GLOB,GLOB; ...", for the identity; "none" */
  int colours;
  int *colour_of; /* [values] of parameters */
  bool *members;  /* [1 + count][colours] those of all parameters, then of each group */
} ntk_named_groups;

/* Local. NTK_ERR_ARGUMENT: no NAME=GLOB, a name twice or not fit for a file, a pattern that
 * no parameter matches, too many. */
NTK_CHECKED ntk_status ntk_named_groups_create(const ntk_options *options,
                                               const ntk_graph *graph,
                                               ntk_named_groups *out);
void ntk_named_groups_clear(ntk_named_groups *groups); /* of {0} too */

#endif

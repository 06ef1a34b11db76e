/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_WEIGHTS_H
#define NTK_JOB_WEIGHTS_H

#include "autodiff/net.h"
#include "dist/shared.h"

/* A graph in a type of computation, what it holds shared by the ranks of a node. */
typedef struct ntk_weights {
  ntk_net *net;
  ntk_shared *block;
} ntk_weights;

/* Collective over the context, all. Errors: those of ntk_net_create. */
NTK_CHECKED ntk_status ntk_weights_create(ntk_context *context, const ntk_graph *graph,
                                          ntk_dtype dtype, ntk_weights *out);
/* After parameters of the graph have got other values, in other places or of another type
 * perhaps. After an error it is to be done again before they are used. */
NTK_CHECKED ntk_status ntk_weights_update(ntk_context *context, const ntk_graph *graph,
                                          ntk_weights *weights);
void ntk_weights_destroy(ntk_weights *weights); /* of {0} too */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_AUTODIFF_NET_H
#define NTK_AUTODIFF_NET_H

#include "graph/op.h"

/* A graph in one type of computation: constants and parameters converted and held once,
 * parameter-side nodes evaluated. Read-only for sweeps; several may share it. */
typedef struct ntk_net {
  const ntk_graph *graph; /* borrowed */
  ntk_dtype dtype;
  void **held;     /* [values] elements of constants and parameters; NULL for data */
  bool *owned;     /* [values] held[v] is ours (else the graph's own, same type) */
  int *slots;      /* [values] operand slots that read the value */
  int *first_user; /* [values] first node that reads it, node_count where none does */
  int *last_user;  /* [values] last node that reads it, -1 where none does */
  bool *is_output; /* [values] */
} ntk_net;

/* Local. Errors: NTK_ERR_MEMORY, NTK_ERR_NONFINITE (a parameter, named). */
NTK_CHECKED ntk_status ntk_net_create(const ntk_graph *graph, ntk_dtype dtype,
                                      ntk_net **out);
void ntk_net_destroy(ntk_net **net);

/* Evaluates the parameter-side nodes again after elements of parameters have changed. */
NTK_CHECKED ntk_status ntk_net_update(ntk_net *net);

/* Is dy/d(operand) of a node free of the sample (design section 3)? */
bool ntk_net_vjp_is_constant(const ntk_net *net, const ntk_node *node, int operand);

/* Floating-point operations of a node on one sample; an alias has none. */
double ntk_net_node_flops(const ntk_net *net, const ntk_node *node);

/* Floating-point operations of one forward pass of one sample. */
double ntk_net_forward_flops(const ntk_net *net);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_AUTODIFF_NET_H
#define NTK_AUTODIFF_NET_H

#include "graph/op.h"

/* A graph in one type of computation: constants and parameters converted and held once, the
 * nodes that compute others of them evaluated. Read-only for sweeps; several may share it.
 */
typedef struct ntk_net {
  const ntk_graph *graph; /* borrowed */
  ntk_dtype dtype;
  void **held;        /* [values] elements of constants and parameters; NULL for data. Those
                         that the graph does not have in this type stand in the block */
  void *own_block;    /* NULL: the caller's */
  int *slots;         /* [values] operand slots that read the value */
  int *first_user;    /* [values] first node that reads it, node_count where none does */
  int *last_user;     /* [values] last node that reads it, -1 where none does */
  bool *is_output;    /* [values] */
  const int *colours; /* [values] parameters of different colours are contracted apart;
                         borrowed; NULL: all have the same, 0 */
} ntk_net;

/* Bytes of the block of a net. */
int64_t ntk_net_bytes(const ntk_graph *graph, ntk_dtype dtype);
/* Purpose: make one in a block (aligned to 64) of the caller's, which outlives it and which
 * ntk_net_update is still to fill: once, where several nets share it. block NULL: in one of
 * its own, filled. Local. Errors: those of ntk_net_update, NTK_ERR_MEMORY. */
NTK_CHECKED ntk_status ntk_net_create(const ntk_graph *graph, ntk_dtype dtype, void *block,
                                      ntk_net **out);
void ntk_net_destroy(ntk_net **net);

/* Elements of the graph stand elsewhere, or are of another type; the block, of
 * ntk_net_bytes as they are now, is to be filled anew. */
void ntk_net_place(ntk_net *net, void *block);

/* Fills the block: converts, and evaluates what is computed, also after elements of
 * parameters have changed. NTK_ERR_NONFINITE names a parameter that is not finite. */
NTK_CHECKED ntk_status ntk_net_update(ntk_net *net);

/* Number of colours of parameters, 1 where there are none. */
int ntk_net_colours(const ntk_net *net);

/* Is dy/d(operand) of a node free of the sample (design section 3)? */
bool ntk_net_vjp_is_constant(const ntk_net *net, const ntk_node *node, int operand);

/* Floating-point operations of a node on one sample; an alias has none. */
double ntk_net_node_flops(const ntk_net *net, const ntk_node *node);

/* Floating-point operations of one forward pass of one sample. */
double ntk_net_forward_flops(const ntk_net *net);

#endif

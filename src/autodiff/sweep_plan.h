/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_AUTODIFF_SWEEP_PLAN_H
#define NTK_AUTODIFF_SWEEP_PLAN_H

#include "autodiff/sweep.h"

/* What a sweep decides before it runs: which values take part, and where their elements
 * lie. Forward values stay for the whole block; cotangents and tangents share memory by
 * their lifetimes. Private to src/autodiff. */
struct ntk_sweep {
  const ntk_net *net;
  ntk_sweep_limits limits;
  int64_t n;        /* samples of the last forward */
  bool *wanted;     /* [values] the caller asked for its cotangent */
  bool *need;       /* [values] a cotangent is computed */
  bool *per_sample; /* [values] ... and depends on the sample */
  bool *filled;     /* [values] its cotangent has a first contribution */
  bool *active;     /* [values] depends on a parameter: has a tangent */
  int *home;        /* [values] value whose cotangent memory is used, else itself */
  int64_t *value_at, *cotangent_at, *tangent_at; /* [values] bytes, -1: none */
  int64_t value_bytes, cotangent_bytes, tangent_bytes, work_bytes, input_bytes;
  char *values, *cotangents, *tangents;
  char *separate; /* several inputs: each [n, its size] */
  void *work;
  const void **inputs;      /* [graph inputs] */
  ntk_array *in, *out, *dx; /* operands of one call */
};

/* Makes a sweep without its large memory. */
NTK_CHECKED ntk_status ntk_sweep_plan(const ntk_net *net, ntk_sweep_limits limits,
                                      const bool *wanted, ntk_sweep **out);

static inline int64_t ntk_sweep_size(const ntk_sweep *sweep, int v) {
  return ntk_shape_size(&sweep->net->graph->values[v].shape);
}
static inline int64_t ntk_sweep_element(const ntk_sweep *sweep) {
  return (int64_t)ntk_dtype_bytes(sweep->net->dtype);
}
static inline bool ntk_node_is_alias(const ntk_node *node) {
  return (node->op->flags & NTK_OP_ALIAS) != 0;
}
/* Has the cotangent of operand k the same numbers as that of the result? */
static inline bool ntk_node_passes(const ntk_net *net, const ntk_node *node, int k) {
  double scale;
  if (ntk_node_is_alias(node))
    return k == 0;
  return node->op->passes && node->op->passes(net->graph, node, k, &scale) && scale == 1;
}
static inline bool ntk_sweep_is_data(const ntk_sweep *sweep, int v) {
  return v >= 0 && sweep->net->graph->values[v].role == NTK_DATA;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_COST_H
#define NTK_NTK_COST_H

#include "ntk/block.h"
#include "ntk/rates.h"

/* Costs per group and order (design section 4). n1, n2: samples of the two sides; symmetric
 * halves the pairs and forms J once. Local, pure. */
typedef struct ntk_cost_shape {
  ntk_form form;
  ntk_dtype dtype;
  int64_t n1, n2, outputs;      /* cotangents */
  int64_t block, outputs_block; /* B, Q */
  bool symmetric;
} ntk_cost_shape;

typedef struct ntk_cost {
  double flops, bytes, seconds;
  double forming_flops, forming_seconds; /* of these: of Jacobians, once per sample */
  double factor_bytes;                   /* of one sample */
} ntk_cost;

/* The cost of contracting a group in an order. CONSTANT: entries is the number of sparse
 * entries. */
ntk_cost ntk_cost_of(const ntk_group *group, ntk_order order, const ntk_cost_shape *shape,
                     const ntk_rates *rates, int64_t entries);

/* The share of a group's operations that does not depend on its number of channels, or
 * (along_k) of columns of X. */
double ntk_cost_fixed_share(const ntk_group *group, ntk_order order,
                            const ntk_cost_shape *shape, bool along_k);

/* An order whose workspace exceeds 1 GiB is not a candidate; left-to-right is for full
 * kernels; constant needs its entries; a tie has no other but it and inside-out. */
bool ntk_order_is_candidate(const ntk_group *group, ntk_order order,
                            const ntk_cost_shape *shape, const ntk_constant *constant);

/* Does it take fewer operations to form the Jacobian of a tie's tensor than to contract its
 * roles and what is between them? For `outputs` cotangents, for any number of samples. */
bool ntk_cost_prefers_dense(const ntk_group *tie, ntk_form form, int64_t outputs,
                            const ntk_constant *constant);

/* The cheapest candidate by predicted seconds. */
ntk_order ntk_order_choose(const ntk_group *group, const ntk_cost_shape *shape,
                           const ntk_rates *rates, const ntk_constant *constant);

/* ntk_cost_minimal, the yardstick: over weight uses, the least of the three formulas. */
double ntk_cost_minimal(const ntk_groups *groups, const ntk_cost_shape *shape);

#endif

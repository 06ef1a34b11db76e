/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_TIE_H
#define NTK_NTK_TIE_H

#include "ntk/block.h"

/* Ties (groups.h) in row blocks, packed, and contracted: of samples n and m, for (a, b)
 * both (role 0, role 1) and the other way round,
 *
 *     V[o,t,s] = Da[n,o,t] . Xb[m,s],   U[t,p,s] = Xa[n,t] . Db[m,p,s],
 *     Theta[n,o,m,p] += sum over t,s of V[o,t,s] U[t,p,s].
 *
 * With a one-hot X such a product is a look-up. Order CONSTANT: D of role 1 is the same for
 * all samples and sparse; its elements are the entries, (o, t, s = channel). All local. */

/* Elements before X and D of each role in a strip of m column samples, of one g; X (m,t)
 * and D (m,p,t) are packed vectors, or rows as they are where the other is looked up or
 * sparse; of a one-hot X [m t] rows of the table and [m t] scales. */
typedef struct ntk_tie_strip {
  int64_t x[2], d[2], size;
} ntk_tie_strip;
ntk_tie_strip ntk_tie_strip_of(const ntk_group *tie, ntk_order order, int64_t m, int64_t o);

/* Samples of a strip at most. */
int64_t ntk_tie_samples(const ntk_group *tie);
/* Scratch elements of a thread for blocks of up to o outputs. */
int64_t ntk_tie_scratch(const ntk_group *tie, int64_t o);

static inline bool ntk_tie_lacks_d(ntk_order order, int role) {
  return order == NTK_ORDER_CONSTANT && role == 1;
}
static inline bool ntk_tie_packs_x(const ntk_group *tie, ntk_order order, int role) {
  return !tie->roles[role].one_hot && !ntk_tie_lacks_d(order, 1 - role);
}
static inline bool ntk_tie_packs_d(const ntk_group *tie, int role) {
  return !tie->roles[1 - role].one_hot;
}

/* ntk_contract of a tie. */
void ntk_tie_contract_f32(const ntk_pair *pair, int64_t i0, int64_t n);
void ntk_tie_contract_f64(const ntk_pair *pair, int64_t i0, int64_t n);

#endif

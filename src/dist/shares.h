/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_DIST_SHARES_H
#define NTK_DIST_SHARES_H

#include "base/status.h"
#include <stdint.h>

/* Contiguous, balanced shares of n things: rank r of `size` has those from ntk_share_first
 * (n, r, size) up to the next rank's. */
static inline int64_t ntk_share_first(int64_t n, int rank, int size) {
  return n / size * rank + (rank < n % size ? rank : n % size);
}
static inline int64_t ntk_share_count(int64_t n, int rank, int size) {
  return n / size + (rank < n % size);
}

/* Purpose: add the vectors of all ranks and leave each with its share of the sums.
 * Collective over comm.
 * whole   [vectors, n] of this rank
 * room    [the largest share], scratch
 * share   [vectors, ntk_share_count]; the ranks' parts are added in an order that the ranks
 *         alone decide, so that the sums are the same in each run. */
NTK_CHECKED ntk_status ntk_shares_sum(MPI_Comm comm, int64_t vectors, int64_t n,
                                      const double *whole, double *room, double *share);

/* Purpose: the same sums on all ranks, in place of `values` [n]. Collective. room [twice
 * the largest share], scratch. */
NTK_CHECKED ntk_status ntk_shares_sum_all(MPI_Comm comm, int64_t n, double *values,
                                          double *room);

/* Purpose: `to_bytes` to rank `to` against `from_bytes` from rank `from`, in pieces below 1
 * GiB; both sides know both numbers. Called by the ranks in pairs. */
NTK_CHECKED ntk_status ntk_exchange(MPI_Comm comm, const void *out, int64_t to_bytes,
                                    int to, void *in, int64_t from_bytes, int from);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/shares.h"
#include "dist/grid.h"
#include <string.h>

static int64_t piece_of(int64_t bytes, int64_t at) {
  const int64_t most = (int64_t)1 << 30;
  const int64_t rest = bytes > at ? bytes - at : 0;
  return rest < most ? rest : most;
}

ntk_status ntk_exchange(MPI_Comm comm, const void *out, int64_t to_bytes, int to, void *in,
                        int64_t from_bytes, int from) {
  ntk_status status = NTK_SUCCESS;
  const int64_t more = to_bytes > from_bytes ? to_bytes : from_bytes;
  for (int64_t at = 0; at < more; at += (int64_t)1 << 30) {
    const int64_t there = piece_of(to_bytes, at), here = piece_of(from_bytes, at);
    const char *source = there ? (const char *)out + at : out;
    char *target = here ? (char *)in + at : in;
    NTK_TRY_MPI(MPI_Sendrecv(source, (int)there, MPI_BYTE, there ? to : MPI_PROC_NULL, 0,
                             target, (int)here, MPI_BYTE, here ? from : MPI_PROC_NULL, 0,
                             comm, MPI_STATUS_IGNORE));
  }
done:
  return status;
}

ntk_status ntk_shares_sum(MPI_Comm comm, int64_t vectors, int64_t n, const double *whole,
                          double *room, double *share) {
  ntk_status status = NTK_SUCCESS;
  int rank, size;
  NTK_TRY_MPI(MPI_Comm_rank(comm, &rank));
  NTK_TRY_MPI(MPI_Comm_size(comm, &size));
  const int64_t first = ntk_share_first(n, rank, size);
  const int64_t count = ntk_share_count(n, rank, size);
  for (int64_t v = 0; v < vectors; v++) {
    double *mine = share + v * count;
    if (count > 0)
      memcpy(mine, whole + v * n + first, (size_t)count * sizeof *mine);
    for (int k = 1; k < size; k++) {
      const int to = (rank + k) % size, from = (rank - k + size) % size;
      NTK_TRY(ntk_exchange(comm, whole + v * n + ntk_share_first(n, to, size),
                           ntk_share_count(n, to, size) * (int64_t)sizeof *mine, to, room,
                           count * (int64_t)sizeof *mine, from));
      for (int64_t i = 0; i < count; i++)
        mine[i] += room[i];
    }
  }
done:
  return status;
}

ntk_status ntk_shares_sum_all(MPI_Comm comm, int64_t n, double *values, double *room) {
  ntk_status status = NTK_SUCCESS;
  int rank, size;
  NTK_TRY_MPI(MPI_Comm_rank(comm, &rank));
  NTK_TRY_MPI(MPI_Comm_size(comm, &size));
  const int64_t count = ntk_share_count(n, rank, size);
  double *mine = room + ntk_share_count(n, 0, size);
  NTK_TRY(ntk_shares_sum(comm, 1, n, values, room, mine));
  if (count > 0)
    memcpy(values + ntk_share_first(n, rank, size), mine, (size_t)count * sizeof *mine);
  for (int r = 0; r < size; r++)
    NTK_TRY(ntk_bcast(values + ntk_share_first(n, r, size),
                      ntk_share_count(n, r, size) * (int64_t)sizeof *values, r, comm));
done:
  return status;
}

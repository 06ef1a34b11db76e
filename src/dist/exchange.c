/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/grid.h"

ntk_status ntk_bcast_pieces(void *buffer, int64_t bytes, int root, MPI_Comm comm,
                            int64_t piece) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t at = 0; at < bytes; at += piece) {
    const int64_t count = bytes - at < piece ? bytes - at : piece;
    NTK_TRY_MPI(MPI_Bcast((char *)buffer + at, (int)count, MPI_BYTE, root, comm));
  }
done:
  return status;
}

ntk_status ntk_bcast(void *buffer, int64_t bytes, int root, MPI_Comm comm) {
  return ntk_bcast_pieces(buffer, bytes, root, comm, (int64_t)1 << 30);
}

void ntk_vote_begin(ntk_vote *vote, MPI_Comm comm) {
  *vote = (ntk_vote){.comm = comm, .request = MPI_REQUEST_NULL};
}

ntk_status ntk_vote_next(ntk_vote *vote, int flag, int *decided) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY_MPI(MPI_Wait(&vote->request, MPI_STATUS_IGNORE));
  *decided = vote->all;
  vote->mine = flag;
  NTK_TRY_MPI(MPI_Iallreduce(&vote->mine, &vote->all, 1, MPI_INT, MPI_MAX, vote->comm,
                             &vote->request));
done:
  return status;
}

ntk_status ntk_vote_finish(ntk_vote *vote, int flag, int *decided) {
  ntk_status status = NTK_SUCCESS;
  int before = 0;
  NTK_TRY(ntk_vote_next(vote, flag, &before));
  NTK_TRY_MPI(MPI_Wait(&vote->request, MPI_STATUS_IGNORE));
  *decided = vote->all > before ? vote->all : before;
done:
  return status;
}

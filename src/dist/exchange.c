/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "dist/grid.h"
#include <string.h>

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

ntk_status ntk_reduce(double *values, int64_t count, MPI_Op op, MPI_Comm comm) {
  ntk_status status = NTK_SUCCESS;
  const int64_t piece = (int64_t)1 << 27;
  for (int64_t i = 0; i < count; i += piece)
    NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, values + i,
                              (int)(count - i < piece ? count - i : piece), MPI_DOUBLE, op,
                              comm));
done:
  return status;
}

ntk_status ntk_bcast_text(const char *text, MPI_Comm comm, char **out) {
  ntk_status status = NTK_SUCCESS;
  char *copy = NULL;
  int64_t length = 0;
  int rank;
  NTK_TRY_MPI(MPI_Comm_rank(comm, &rank));
  if (rank == 0)
    length = (int64_t)strlen(text) + 1;
  NTK_TRY_MPI(MPI_Bcast(&length, 1, MPI_INT64_T, 0, comm));
  NTK_TRY(ntk_agree(comm, ntk_malloc(NTK_MEMORY_GENERAL, length, 1, &copy)));
  if (rank == 0)
    memcpy(copy, text, (size_t)length);
  NTK_TRY(ntk_bcast(copy, length, 0, comm));
  *out = copy;
  copy = NULL;
done:
  ntk_free(&copy);
  return status;
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "solve/scalapack.h"

/* PBLAS's own is 32: products so narrow run at half the rate (Cholesky, n = 4,000: 19
 * GFLOP/s with 32, 27 with 128 and as much with 256, where dgemm has 37). */
int pilaenv_(const int *context, const char *precision) {
  (void)context;
  (void)precision;
  return 128;
}

ntk_status ntk_scalapack_agree(MPI_Comm comm, const char *routine, int *info) {
  ntk_status status = NTK_SUCCESS;
  int extremes[2] = {*info, -*info};
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, extremes, 2, MPI_INT, MPI_MAX, comm));
  NTK_REQUIRE(extremes[1] <= 0, NTK_ERR_INTERNAL, "ScaLAPACK: %s refuses its argument %d",
              routine, extremes[1] > 100 ? extremes[1] / 100 : extremes[1]);
  *info = extremes[0];
done:
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build.h" /* made by the build */
#include "io/store.h"
#include "ntk/check.h"
#include "tensor/blas.h"
#include <omp.h>
#include <scantk/version.h>
#include <stdio.h>
#include <string.h>

const char *ntk_build_info(void) {
  static char text[2048];
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "unknown";
  int length;
  (void)MPI_Get_library_version(mpi, &length);
  mpi[strcspn(mpi, "\n")] = '\0';
  (void)snprintf(text, sizeof text,
                 "version     %s\n"
                 "compiler    %s\n"
                 "build       %s\n"
                 "flags       %s\n"
                 "MPI         %.200s\n"
                 "HDF5        %s\n"
                 "BLAS        %s\n"
                 "eigenvalues %s\n"
                 "OpenMP      %d, %d threads\n"
                 "vectors     %s\n",
                 ntk_version(), SCANTK_COMPILER, SCANTK_BUILD_TYPE, SCANTK_FLAGS, mpi,
                 ntk_store_library(), ntk_blas_name(), SCANTK_EIGENSOLVERS, _OPENMP,
                 omp_get_max_threads(), ntk_simd_name());
  return text;
}

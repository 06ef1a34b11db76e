/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_VERSION_H
#define SCANTK_VERSION_H

#include <scantk/status.h>

/* CMake reads the version from these lines. */
#define SCANTK_VERSION_MAJOR 0
#define SCANTK_VERSION_MINOR 1
#define SCANTK_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0 (commit)", for logs and outputs. Local. */
NTK_API const char *ntk_version(void);

/* Lines "name  value": version and commit, compiler and flags, MPI, HDF5, BLAS with the
 * core it computes for, and the vectors of our own kernels on this processor. Static; made
 * at the first call, beside which no BLAS may run. Local. */
NTK_API const char *ntk_build_info(void);

#ifdef __cplusplus
}
#endif
#endif

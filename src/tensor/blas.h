/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TENSOR_BLAS_H
#define NTK_TENSOR_BLAS_H

#include <stdbool.h>
#include <stdint.h>

/* Sets the number of threads inside BLAS calls and returns the old one (0: the library does
 * not tell; nothing was set). Our own loops are the parallel ones: runs set 1 and restore.
 * The first call of either function also corrects an OpenBLAS that does not know the
 * processor; neither may run beside other BLAS calls. */
int ntk_blas_set_threads(int threads);
/* "OpenBLAS 0.3.21 SkylakeX" or "BLAS". Static string. */
const char *ntk_blas_name(void);

/* ntk_gemm of tensor/real.h, for callers that know f64 alone. */
void ntk_gemm_f64(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                  double alpha, const double *a, int64_t lda, const double *b, int64_t ldb,
                  double beta, double *c, int64_t ldc);

#endif

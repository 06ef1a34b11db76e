/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_LAPACK_H
#define NTK_SOLVE_LAPACK_H

#include <stddef.h>

/* What is called of LAPACK, column-major, with integers of 32 bits; lengths of texts at the
 * end. */

/* A = Z W Z^T, W rising; a: the columns of Z. lwork, liwork = -1 ask. */
extern void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a,
                    const int *lda, double *w, double *work, const int *lwork, int *iwork,
                    const int *liwork, int *info, size_t, size_t);
/* Eigenvalues of a tridiagonal matrix, rising, into d; e [n - 1] is destroyed. */
extern void dsterf_(const int *n, double *d, double *e, int *info);

#endif

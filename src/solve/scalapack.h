/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_SCALAPACK_H
#define NTK_SOLVE_SCALAPACK_H

#include "base/status.h"
#include <stddef.h>

/* ScaLAPACK has no header: what is called of it, with integers of 32 bits. Only ranks of
 * the grid call; indices begin with 1; each matrix is (values, i, j, desc). Texts of the
 * routines that are Fortran have their lengths at the end. */

/* ---- PBLAS, C -------------------------------------------------------------------------
 */

/* C = alpha op(A) op(B) + beta C; op: "N" or "T" */
extern void pdgemm_(const char *opa, const char *opb, const int *m, const int *n,
                    const int *k, const double *alpha, const double *a, const int *ia,
                    const int *ja, const int *desca, const double *b, const int *ib,
                    const int *jb, const int *descb, const double *beta, double *c,
                    const int *ic, const int *jc, const int *descc);
/* C = alpha A B + beta C with A symmetric on side "L", of which `uplo` is read */
extern void pdsymm_(const char *side, const char *uplo, const int *m, const int *n,
                    const double *alpha, const double *a, const int *ia, const int *ja,
                    const int *desca, const double *b, const int *ib, const int *jb,
                    const int *descb, const double *beta, double *c, const int *ic,
                    const int *jc, const int *descc);
/* C = alpha A A^T + beta C in the triangle `uplo`; trans "N", A [n, k] */
extern void pdsyrk_(const char *uplo, const char *trans, const int *n, const int *k,
                    const double *alpha, const double *a, const int *ia, const int *ja,
                    const int *desca, const double *beta, double *c, const int *ic,
                    const int *jc, const int *descc);
/* B = alpha B op(A)^-1 on side "R", A triangular */
extern void pdtrsm_(const char *side, const char *uplo, const char *opa, const char *diag,
                    const int *m, const int *n, const double *alpha, const double *a,
                    const int *ia, const int *ja, const int *desca, double *b,
                    const int *ib, const int *jb, const int *descb);
/* C [m, n] = beta C + alpha A^T */
extern void pdtran_(const int *m, const int *n, const double *alpha, const double *a,
                    const int *ia, const int *ja, const int *desca, const double *beta,
                    double *c, const int *ic, const int *jc, const int *descc);

/* The block in which PBLAS computes; ours takes the place of its own. */
NTK_API int pilaenv_(const int *context, const char *precision);

/* ---- Fortran --------------------------------------------------------------------------
 */

/* A = L L^T (uplo "L") in that triangle; info k > 0: the k-th leading minor is not positive
 */
extern void pdpotrf_(const char *uplo, const int *n, double *a, const int *ia,
                     const int *ja, const int *desca, int *info, size_t);
/* B = A^-1 B by what pdpotrf made */
extern void pdpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a,
                     const int *ia, const int *ja, const int *desca, double *b,
                     const int *ib, const int *jb, const int *descb, int *info, size_t);
/* A = Q T Q^T with T tridiagonal, which stands in A afterwards: its diagonal and, with uplo
 * "L", the one below */
extern void pdsytrd_(const char *uplo, const int *n, double *a, const int *ia,
                     const int *ja, const int *desca, double *d, double *e, double *tau,
                     double *work, const int *lwork, int *info, size_t);
/* A = Z W Z^T, W ascending, the same on all ranks; A is destroyed. lwork = -1 asks. */
extern void pdsyevd_(const char *jobz, const char *uplo, const int *n, double *a,
                     const int *ia, const int *ja, const int *desca, double *w, double *z,
                     const int *iz, const int *jz, const int *descz, double *work,
                     const int *lwork, int *iwork, const int *liwork, int *info, size_t,
                     size_t);
/* The same of a range ("A" all, "I" numbers il .. iu) of them; jobz "N": values alone. */
extern void pdsyevr_(const char *jobz, const char *range, const char *uplo, const int *n,
                     double *a, const int *ia, const int *ja, const int *desca,
                     const double *vl, const double *vu, const int *il, const int *iu,
                     int *m, int *nz, double *w, double *z, const int *iz, const int *jz,
                     const int *descz, double *work, const int *lwork, int *iwork,
                     const int *liwork, int *info, size_t, size_t, size_t);

/* Purpose: what a routine said, on all ranks of comm, the idle ones too (which say 0).
 * Collective. NTK_ERR_INTERNAL where an argument was wrong; what is > 0 is the caller's to
 * understand. */
NTK_CHECKED ntk_status ntk_scalapack_agree(MPI_Comm comm, const char *routine, int *info);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_LANCZOS_H
#define NTK_SOLVE_LANCZOS_H

#include "solve/tiles.h"

/* The largest eigenvalues of a symmetric operator, and their vectors. */
typedef struct ntk_lanczos {
  int64_t count, size;
  int64_t first, rows; /* this rank's part of the vectors */
  double *values;      /* [count] falling */
  double *residuals;   /* [count] |K v - value v| */
  double *vectors;     /* [count, rows] */
  int64_t products;    /* of K with a vector */
} ntk_lanczos;

/* Vectors that are multiplied at a time, for `count` eigenvalues. */
int64_t ntk_lanczos_block(int64_t count);

/* Purpose: the `count` largest, with residuals below 1e-11 of the largest in size. Block
 * Lanczos with whole orthogonalization, restarted with the best vectors (Wu and Simon 2000,
 * SIAM J. Matrix Anal. Appl. 22, 602). tiles: made for products of
 * ntk_lanczos_block(count). Collective. Errors: NTK_ERR_NUMERICAL: not converged;
 * NTK_ERR_MEMORY. Memory: 2 (2 count + 6 blocks) size / ranks numbers, and 3 blocks of
 * vectors on each rank. */
NTK_CHECKED ntk_status ntk_lanczos_create(ntk_tiles *tiles, int64_t count,
                                          ntk_lanczos *out);
void ntk_lanczos_destroy(ntk_lanczos *lanczos); /* local, safe on zeros */

/* Purpose: vector k, whole, on rank 0. Collective; whole [size] on rank 0, else NULL. */
NTK_CHECKED ntk_status ntk_lanczos_gather(ntk_context *context, const ntk_lanczos *lanczos,
                                          int64_t k, double *whole);

/* A symmetric matrix [n, n] that one rank holds: values rising; row i of `a` becomes vector
 * i. Local. NTK_ERR_NUMERICAL. */
NTK_CHECKED ntk_status ntk_small_eigen(int64_t n, double *a, double *values);

#endif

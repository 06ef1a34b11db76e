/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TENSOR_CHOLESKY_H
#define NTK_TENSOR_CHOLESKY_H

#include <stdbool.h>
#include <stdint.h>

/* Cholesky factors of matrices that one rank holds, f64, row-major; large ones are
 * ScaLAPACK's. All calls are local and allocate nothing. */

/* Purpose: the lower factor of the symmetric a [m, m], in its lower half; what stands above
 * is neither read nor of use afterwards. False where it is not positive definite. */
bool ntk_cholesky(int64_t m, double *a);

/* Each row of x [n, m], in place: x L^T = x, and x L = x; one after the other they solve
 * with L L^T. */
void ntk_cholesky_forward(int64_t n, int64_t m, const double *l, double *x);
void ntk_cholesky_backward(int64_t n, int64_t m, const double *l, double *x);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_OPS_RUNS_H
#define NTK_OPS_RUNS_H

#include "ops/light.h"
#include "tensor/real.h"

/* Loops over all runs of moves, for files named *_real.c. */

/* y[at + i] = scale x[from + i stride], or added to what is there. */
void NTK_REAL(ntk_runs_gather)(const ntk_moves *m, const real *x, real *y, bool add);
/* The adjoint, written: x [from_size] = scale * sums of y [to_size]; long ones in f64. */
void NTK_REAL(ntk_runs_sum)(const ntk_moves *m, const real *y, real *x);

#endif

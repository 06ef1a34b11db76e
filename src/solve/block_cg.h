/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_BLOCK_CG_H
#define NTK_SOLVE_BLOCK_CG_H

#include "base/context.h"

/* (A + shift) x = b, several at once, of one A or, where each is a group, of A of their
 * own. Its calls are collective. */
typedef struct ntk_cg {
  ntk_context *context;
  int64_t systems, unknowns; /* unknowns of this rank */
  int64_t each; /* systems of one shift, one after the other, that share directions */
  const double *shifts; /* [systems] */
  double tolerance;     /* of |b - (A + shift) x| / |b| */
  int64_t most_iterations;
  double keep_seconds; /* between calls of keep */
  void *self;
  /* out[k] = A in[k] of a system which[k], rising; [count, unknowns]. */
  ntk_status (*apply)(void *self, int64_t count, const int64_t *which, const double *in,
                      double *out);
  /* out[k] = about (A + shift[which[k]])^-1 in[k]; NULL: none. */
  ntk_status (*precondition)(void *self, int64_t count, const int64_t *which,
                             const double *in, double *out);
  /* Keeps x, to be gone on with; NULL: it is not kept. */
  ntk_status (*keep)(void *self, const double *x);
} ntk_cg;

typedef enum ntk_cg_end {
  NTK_CG_CONVERGED,
  NTK_CG_NOT_CONVERGED,
  NTK_CG_STOPPED
} ntk_cg_end;

/* How it went; counts are added to. */
typedef struct ntk_cg_report {
  ntk_cg_end end;
  int64_t iterations, products; /* products: vectors that A was applied to */
  bool is_indefinite;           /* a direction of curvature below zero was met */
  bool is_rounding; /* not converged, but for what rounding adds to the true residuals */
} ntk_cg_report;

/* Purpose: solve by block conjugate gradients (H. Ji, Y. Li, "A breakdown-free block
 * conjugate gradient method", BIT 57, 2017). Collective. b [systems, unknowns]; x: a first
 * guess in, the solution out; ax: A x of it; residuals [systems] the true ones, relative.
 * Ends early at most_iterations, where the true residual does not fall any more, or on a
 * wish to stop.
 * Memory: five times that of b, 8 each numbers for every system. Cost of a step besides A
 * and its preconditioner: some 16 each flops for every element of b. */
NTK_CHECKED ntk_status ntk_cg_solve(const ntk_cg *cg, const double *b, double *x,
                                    double *ax, double *residuals, ntk_cg_report *report);

#endif

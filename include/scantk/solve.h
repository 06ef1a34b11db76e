/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_SOLVE_H
#define SCANTK_SOLVE_H

#include <scantk/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Purpose: regression with a stored kernel K of N training samples and O outputs (files of
 * ntk_plan_to_file), or with that of a group of parameters in it, into the HDF5 file
 * `path`. Collective. options: text of the tables "solve" and "group"; command_line is
 * recorded and may be NULL.
 *
 * With f0 the network's outputs, y the targets, lambda a ridge, the solutions are
 *   alpha = (K + lambda I)^-1 (y - f0),
 * and after training for a time t by gradient flow of rate eta on the mean over samples and
 * outputs of (f - y)^2 / 2 (Lee et al. 2019, arXiv:1902.06720, equations 9 to 11; the
 * normalisation is that of neural-tangents' gradient_descent_mse)
 *   alpha_t = (K + lambda I)^-1 (1 - exp(-eta t (K + lambda I) / (N O))) (y - f0);
 * predictions are f0 + K alpha and, of other samples, f0 + K_test alpha. A kernel of a
 * trace or of pseudo outputs stands for K x I_O, the O kernels of a diagonal one for a
 * system each.
 *
 * The file: /alpha, /train_predictions, /test_predictions [R, N, O], with times [T, R, N,
 * O]; /ridge [R] as given, /ridge_absolute [R] (diagonal kernels [R, O]), /time [T];
 * /residual [R] or [T, R], the norm of y - f0 - (K + lambda I) alpha (less what is not yet
 * learned at time t) over that of y - f0, and /residual_scaled, LAPACK's measure: it over
 * (norms of K + lambda I and of alpha) x n x eps, in 1-norms; /train_mse, /train_accuracy,
 * /test_mse, /test_accuracy likewise where they are known; /sample, /test_sample, the
 * original indices, /output likewise; texts /provenance and /identity (of the kernel).
 *
 * Errors: NTK_ERR_ARGUMENT (options; a kernel that is not square; a test kernel of another
 * network or other training samples), NTK_ERR_SHAPE (labels of another length),
 * NTK_ERR_FILE (missing files, missing tiles), NTK_ERR_FORMAT, NTK_ERR_EXISTS,
 * NTK_ERR_MEMORY (names how many ranks would do), NTK_ERR_NONFINITE, NTK_ERR_NUMERICAL (not
 * positive definite: the pivot or eigenvalue, and a ridge that would do; not converged).
 * Cost: n^3 / 3 flops a ridge with Cholesky, some 20 times that for an eigendecomposition,
 * which serves all ridges and times; n^2 8 bytes over all ranks, four times that with an
 * eigendecomposition; the solutions stand on all ranks. */
NTK_API NTK_CHECKED ntk_status ntk_solve_to_file(ntk_context *context, const char *options,
                                                 const char *path,
                                                 const char *command_line);

#ifdef __cplusplus
}
#endif
#endif

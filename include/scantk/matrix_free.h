/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_MATRIX_FREE_H
#define SCANTK_MATRIX_FREE_H

#include <scantk/data.h>
#include <scantk/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Kernel regression whose kernel is never formed, and the linearised network of a solution.
 */

/* Purpose: solve (Theta + ridge I) alpha = labels - f0 by conjugate gradients, Theta
 * applied as J (J^T alpha), preconditioned by a Nystrom approximation from the kernel of
 * the training samples with some of them (Frangella, Tropp, Udell 2023), for all ridges at
 * once; a kernel of a trace or of pseudo outputs stands for K x I_O, a diagonal one for a
 * system of each output, whose ridges are by the mean of its own diagonal. f0 are the
 * network's outputs, none, or those of a file (--center). Ends when the true residual of
 * each is below
 * --tolerance. Collective.
 * test     samples to predict; NULL: none.
 * options  text of the table "matrix-free" or NULL.
 * path     the file: /alpha, /train_predictions [R, N, O], /test_predictions [R, N2, O],
 *          /outputs [N, O] (f0), /ridge (as given), /ridge_absolute (of a diagonal kernel
 *          the mean over outputs), /residual [R] (the worst of a ridge's systems),
 *          /iterations [1], /center (outputs, zero, file), /provenance, /identity.
 * PATH.state holds what is reached, every --checkpoint seconds, at a stop, and where it did
 * not converge; --resume goes on from there. MSE and accuracy of each ridge are reported
 * (NTK_REPORT_RESULT).
 * Memory of a rank: its share of some vectors [R, N, O], of N O m reals (m: landmarks times
 * O), R m^2, R O^2 (trace, pseudo), and what ntk_plan_apply takes.
 * Errors: those of ntk_plan_create and ntk_plan_apply; NTK_ERR_SHAPE (labels),
 * NTK_ERR_ARGUMENT, NTK_ERR_EXISTS, NTK_ERR_NUMERICAL (not converged), NTK_STOPPED. */
NTK_API NTK_CHECKED ntk_status ntk_matrix_free_solve(ntk_model *model, ntk_data *train,
                                                     ntk_data *test, const char *options,
                                                     const char *path,
                                                     const char *command_line);

/* Purpose: outputs of the network linearised at its parameters, f0(x) + J(x) dtheta, on
 * `test`, where dtheta = J(train)^T alpha is that of a solution: a file with /alpha [R, N,
 * O], made of any kind of solve. Collective.
 * options  text of the table "linearize" or NULL.
 *          With training times, [T, R, N, O], each time's are as ridges of their own.
 * path     the file: /outputs [N2, O] of the first ridge, /linearized [R, N2, O], /ridge,
 *          /provenance.
 * Cost: one backward pass for each training sample and ridge, one tangent for each test
 * sample and ridge. Errors: NTK_ERR_FORMAT, NTK_ERR_SHAPE (the solution is not of these
 * samples and outputs), NTK_ERR_ARGUMENT (it names another model, other parameters or
 * samples), NTK_ERR_EXISTS, those of ntk_plan_apply. */
NTK_API NTK_CHECKED ntk_status ntk_linearize(ntk_model *model, ntk_data *train,
                                             ntk_data *test, const char *solution,
                                             const char *options, const char *path,
                                             const char *command_line);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_FEATURES_H
#define SCANTK_FEATURES_H

#include <scantk/data.h>
#include <scantk/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Purpose: random features of the kernel into an HDF5 file: the gradient of each output by
 * the P parameters, projected to K = dim numbers (Johnson and Lindenstrauss 1984; of
 * gradients: Park et al., TRAK, 2023),
 *
 *     phi[n, o, :] = R J[n, o, :] / sqrt(K),
 *
 * with independent entries of R [K, P] of mean 0 and variance 1: phi phi^T is the kernel,
 * to a relative error of about 1 / sqrt(K). R is a function of the seed alone, never
 * stored, and the same for any data, ranks and blocks. In f64 the bytes of /features do not
 * depend on the number of ranks, as long as memory does not force smaller blocks, of which
 * a warning tells. Collective. options: text of the table "features" (dim is needed).
 * command_line: recorded, may be NULL. The file: /features [N, O, K] (pseudo: [N, K]),
 * /outputs [N, O], /labels, scales sample and output. It grows as OUTPUT.part, block of
 * samples by block, with marks and checksums in /tiles as kernels have them; with --resume
 * a run goes on in OUTPUT.part (or OUTPUT, which is checked), in its blocks, to the same
 * bytes: that must be of the same model, samples and options, else NTK_ERR_ARGUMENT names
 * what is not. A wish to stop (ntk_context_stop) ends with NTK_STOPPED. Cost: 2 O P K flops
 * a sample, less where a parameter is used at fewer positions than there are outputs (dense
 * layers: 2 P K); memory: at most about 1 GiB beside parameters. Errors: NTK_ERR_ARGUMENT,
 * NTK_ERR_SHAPE, NTK_ERR_NO_PARAMETERS, NTK_ERR_MEMORY, NTK_ERR_EXISTS, NTK_ERR_FILE,
 * NTK_ERR_HDF5, NTK_ERR_NONFINITE. */
NTK_API NTK_CHECKED ntk_status ntk_features_to_file(ntk_model *model, ntk_data *data,
                                                    const char *options, const char *path,
                                                    const char *command_line);

/* Purpose: ridge regression on features, (Phi^T Phi + lambda I) w = Phi^T y, into an HDF5
 * file; lines with the errors are reported (NTK_REPORT_RESULT). Features of each output
 * have rows (n, o) and one w [K]; those of one cotangent (pseudo) stand for the kernel
 * times I_O and have a w for each output. y: labels (class numbers as one-hot less 1/O)
 * less the network's outputs, which are added to predictions (--center). Collective.
 * features: the file of the training samples. options: text of the table "features-solve"
 * or NULL. The file: /weights [R, K, C], /ridge and /lambda [R], /mse and /accuracy [R, 2],
 * /train_predictions [R, N, O], /test_predictions [R, M, O]. Cost: N O K^2 flops, shared
 * out over the ranks by samples; K^3 / 3 on rank 0; every rank holds a K x K matrix, K at
 * most 32768. Errors: NTK_ERR_ARGUMENT, NTK_ERR_SHAPE, NTK_ERR_EXISTS, NTK_ERR_FILE,
 * NTK_ERR_FORMAT, NTK_ERR_MEMORY, NTK_ERR_NUMERICAL (not positive definite). */
NTK_API NTK_CHECKED ntk_status ntk_features_solve(ntk_context *context,
                                                  const char *features, const char *options,
                                                  const char *path,
                                                  const char *command_line);

#ifdef __cplusplus
}
#endif
#endif

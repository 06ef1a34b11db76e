/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_SPECTRUM_H
#define SCANTK_SPECTRUM_H

#include <scantk/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Purpose: eigenvalues of the symmetric kernel of a file, and what follows from them:
 * condition number, ranks, label alignment, the largest learning rate of gradient descent.
 * Collective.
 * path     a kernel file; the kernel is a matrix over (sample, output). A trace or pseudo
 *          kernel K stands for K x I_O, a diagonal one for a matrix for each output.
 * options  text of the tables "spectrum", "group" and "describe" (--json), or NULL.
 * output   HDF5 file to write, or NULL: /eigenvalues [K], falling, /number [K] their
 * numbers from the largest on, with --vectors /eigenvectors [K, n] (row k belongs to value
 *          k), with labels /label_share [K], what part of the labels' square lies along
 * each vector. Of a diagonal kernel [O, K], [O K, N] and [O, K], with /output [O]. *text on
 * all ranks, to be freed with ntk_text_free. Method: all eigenvalues, or the smallest, by
 * reduction to a tridiagonal matrix (pdsytrd) or, with vectors, divide and conquer
 * (pdsyevd, or ELPA where the build has it); a few of the largest (--count K, K <= n / 10)
 * by block Lanczos, to residuals of 1e-11 of the largest eigenvalue. Errors:
 * NTK_ERR_ARGUMENT (options; a kernel that is not square), NTK_ERR_FILE (missing tiles),
 * NTK_ERR_FORMAT, NTK_ERR_NONFINITE, NTK_ERR_NUMERICAL (not converged), NTK_ERR_EXISTS,
 * NTK_ERR_MEMORY (names how many ranks would do). Cost: 4/3 n^3 flops and n^2 numbers over
 * all ranks, with vectors some 9 n^3 and 4 n^2; Lanczos: 2 n^2 flops for a product, half of
 * the file in memory. */
NTK_API NTK_CHECKED ntk_status ntk_spectrum(ntk_context *context, const char *path,
                                            const char *options, const char *output,
                                            char **text);

#ifdef __cplusplus
}
#endif
#endif

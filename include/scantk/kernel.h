/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_KERNEL_H
#define SCANTK_KERNEL_H

#include <scantk/data.h>
#include <scantk/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is done with kernel files, full or half, of any reduction: OUTPUT or, for verify,
 * OUTPUT.part. All calls are collective over the context; tiles are dealt to its ranks.
 * Texts are on all ranks, to be freed with ntk_text_free. Errors of all: NTK_ERR_FILE
 * (missing; tiles that are missing), NTK_ERR_FORMAT (no kernel file of this program),
 * NTK_ERR_HDF5, NTK_ERR_ARGUMENT (options), NTK_ERR_MEMORY. */

/* Purpose: is the file what it says? Of every kernel in it, or of one group's: checksums,
 * finite numbers; of a symmetric one also symmetry to the bit, diagonal and 2x2 minors not
 * negative, and v'Kv of random vectors. With a model (NULL: without), entries of random
 * samples are computed again, of all kernels, in f64 by another algorithm than the file's.
 * rows, columns  the whole data sets, of which the file knows the range; columns NULL:
 *                those of the rows.
 * options  text of the tables "verify", "group" and "describe" (--json), or NULL.
 * *text    also with NTK_ERR_FORMAT.
 * Errors: NTK_ERR_FORMAT: something is wrong; the message names the first wrong tile.
 * NTK_ERR_FILE: all is right but tiles are missing. Cost: the file is read once. */
NTK_API NTK_CHECKED ntk_status ntk_kernel_verify(ntk_context *context, const char *path,
                                                 ntk_model *model, ntk_data *rows,
                                                 ntk_data *columns, const char *options,
                                                 char **text);

/* Purpose: how much kernel `a` differs from `b`: |A - B| / |B| (Frobenius), max|A - B| /
 * max|B| and where, cosine <A, B> / (|A| |B|), and (--spectra K) their largest eigenvalues.
 * A trace or pseudo kernel stands for K x I_O beside a full or diagonal one, a diagonal one
 * for its blocks beside a full one. options: text of the tables "compare", "group" and
 * "describe" (--json), or NULL. Errors: NTK_ERR_SHAPE: other samples or outputs;
 * NTK_ERR_NONFINITE. Cost: both files are read once. */
NTK_API NTK_CHECKED ntk_status ntk_kernel_compare(ntk_context *context, const char *a,
                                                  const char *b, const char *options,
                                                  char **text);

/* Purpose: the mean of `count` >= 2 kernels of the same samples (an ensemble) as a kernel
 * file, with their variance (of the sample, divided by count - 1) as that of a group
 * "variance", and the mean of their outputs. command_line: recorded, may be NULL.
 * Errors: NTK_ERR_SHAPE names the file that is of another shape, kind or samples;
 * NTK_ERR_EXISTS, NTK_ERR_NONFINITE. Memory: four tiles in f64. */
NTK_API NTK_CHECKED ntk_status ntk_kernel_combine(ntk_context *context, int count,
                                                  const char *const paths[],
                                                  const char *output,
                                                  const char *command_line);

/* Purpose: the entries in a file of others: NumPy's .npy, or plain HDF5 (/kernel, with
 * scales, outputs and labels), in the file's type. nomp: as /kernel; nmop: [N1, N2, O, O],
 * of a diagonal kernel [N1, N2, O]; matrix: [N1 O, N2 O]. options: text of the tables
 * "export" and "group" or NULL. Errors: NTK_ERR_ARGUMENT (a diagonal kernel is no matrix),
 * NTK_ERR_EXISTS. */
NTK_API NTK_CHECKED ntk_status ntk_kernel_export(ntk_context *context, const char *path,
                                                 const char *output, const char *options);

#ifdef __cplusplus
}
#endif
#endif

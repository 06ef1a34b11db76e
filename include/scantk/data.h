/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_DATA_H
#define SCANTK_DATA_H

#include <scantk/context.h>
#include <scantk/dtype.h>
#include <scantk/model.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A data set, or a range of one: N samples, with labels where the file has them. */
typedef struct ntk_data ntk_data;

/* Purpose: open FILE[:/path]: HDF5 (default /inputs), .npy, IDX (.gz or not), CIFAR binary.
 * Collective. Nothing but shapes (and the labels) is read now; slices are read by the rank
 * that needs them; each rank opens the file. Labels: an HDF5 file's /labels beside /inputs,
 * CIFAR's own. options: text of the table "data" (range) or NULL. The context is borrowed
 * and outlives the data, which the caller owns; *out is written only on success.
 * Errors: NTK_ERR_FILE, NTK_ERR_FORMAT, NTK_ERR_UNSUPPORTED (kind of elements),
 * NTK_ERR_ARGUMENT (range outside the data), NTK_ERR_HDF5. */
NTK_API NTK_CHECKED ntk_status ntk_data_read(ntk_context *context, const char *path,
                                             const char *options, ntk_data **out);
/* The same for a model: where it has several inputs, FILE[:/group] is an HDF5 file in which
 * /NAME is the data set of each input NAME, all with the same number of samples; labels are
 * /labels beside them. One input may be called so too, where there is no /inputs.
 * NTK_ERR_FORMAT also names an input that is not there. */
NTK_API NTK_CHECKED ntk_status ntk_data_read_for(ntk_model *model, const char *path,
                                                 const char *options, ntk_data **out);

/* Fills samples first .. first + count, [count, shape of a sample], row-major, in the type
 * that was named. Called on any rank for any samples, as often as they are needed, on the
 * thread that runs the plan: the same sample must always be the same. It must call nothing
 * collective. A status other than success ends the call that wanted the samples, on all
 * ranks. */
typedef ntk_status (*ntk_samples_fn)(int64_t first, int64_t count, void *out, void *user);

/* Purpose: samples that a function of the caller's makes. Collective; samples, dtype, ndim
 * and shape (of one sample, at most 8 axes) are the same on all ranks, fn does the same.
 * The model has one input. There are no labels. Errors: NTK_ERR_ARGUMENT, NTK_ERR_MEMORY.
 */
NTK_API NTK_CHECKED ntk_status ntk_data_from_function(ntk_context *context, int64_t samples,
                                                      ntk_dtype dtype, int ndim,
                                                      const int64_t *shape,
                                                      ntk_samples_fn fn, void *user,
                                                      ntk_data **out);

/* Purpose: samples that stand in the caller's memory, first those of rank 0, then those of
 * rank 1, and so on. Collective.
 * samples  of this rank, 0 or more; together they are 1 or more.
 * dtype, ndim, shape  of one sample, the same on all ranks; at most 8 axes.
 * rows     [samples, shape], row-major; borrowed until the data are destroyed. Other ranks
 *          read them where they stand (one-sided messages), so that nothing is copied. They
 *          may change between executions: the next one is of the values that they have
 *          then, on all ranks.
 * The model has one input. There are no labels.
 * Errors: NTK_ERR_ARGUMENT, NTK_ERR_MEMORY, NTK_ERR_MPI. */
NTK_API NTK_CHECKED ntk_status ntk_data_from_rows(ntk_context *context, int64_t samples,
                                                  ntk_dtype dtype, int ndim,
                                                  const int64_t *shape, const void *rows,
                                                  ntk_data **out);

/* Frees the data and nulls the handle. Local, but collective for the caller's rows;
 * NULL-safe. Its plans must be gone before. */
NTK_API void ntk_data_destroy(ntk_data **data);

/* Samples in the range. Local. */
NTK_API int64_t ntk_data_samples(const ntk_data *data);

/* Purpose: convert images and labels to an HDF5 data set (/inputs, /labels). Collective:
 * rank 0 works. options: text of the table "dataset".
 * Errors: NTK_ERR_FILE, NTK_ERR_FORMAT, NTK_ERR_ARGUMENT, NTK_ERR_EXISTS. */
NTK_API NTK_CHECKED ntk_status ntk_data_convert(ntk_context *context, const char *options,
                                                const char *path);

#ifdef __cplusplus
}
#endif
#endif

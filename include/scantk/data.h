/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_DATA_H
#define SCANTK_DATA_H

#include <scantk/context.h>
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
/* Frees the data and nulls the handle. Local, NULL-safe. Its plans must be gone before. */
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

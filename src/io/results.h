/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_RESULTS_H
#define NTK_IO_RESULTS_H

#include "base/text.h"
#include "tensor/tensor.h"

/* A new HDF5 file of results, written by one process: OUTPUT.new, which becomes OUTPUT when
 * it is complete. All calls are local; whether OUTPUT may be made is checked before
 * (ntk_store_check). */
typedef struct ntk_results ntk_results;

/* format: the file's, "scantk-solution 1"; bytes: about so many will be written. Errors:
 * NTK_ERR_FILE, NTK_ERR_HDF5. */
NTK_CHECKED ntk_status ntk_results_create(const char *path, const char *format,
                                          int64_t bytes, ntk_results **out);
/* Purpose: a data set [shape]; values NULL: its boxes follow by ntk_results_write. */
NTK_CHECKED ntk_status ntk_results_put(ntk_results *results, const char *name,
                                       ntk_dtype dtype, const ntk_shape *shape,
                                       const void *values);
/* Purpose: what stands at first .. first + count of an axis of a data set, as f64. */
NTK_CHECKED ntk_status ntk_results_write(ntk_results *results, const char *name, int axis,
                                         int64_t first, int64_t count,
                                         const double *values);
NTK_CHECKED ntk_status ntk_results_put_text(ntk_results *results, const char *name,
                                            const char *text);
/* Purpose: the file as NXdata: what viewers plot is data set `signal`, against those of
 * `axes` [count]. */
NTK_CHECKED ntk_status ntk_results_plot(ntk_results *results, const char *signal, int count,
                                        const char *const *axes);
/* Purpose: close; with NTK_SUCCESS the file is OUTPUT, else it is gone and `status` comes
 * back. Frees the handle; NULL-safe. */
NTK_CHECKED ntk_status ntk_results_close(ntk_results **results, ntk_status status);

/* Is there a file of results of this program at `path` (features and outputs, too), or an
 * unfinished one; and what it holds, in words or JSON. Local. NTK_ERR_FORMAT, NTK_ERR_HDF5.
 */
bool ntk_results_are(const char *path);
NTK_CHECKED ntk_status ntk_results_describe(const char *path, bool json, ntk_text *text);

#endif

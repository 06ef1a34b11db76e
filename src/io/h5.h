/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_H5_H
#define NTK_IO_H5_H

#include "base/status.h"
#include "io/space.h"
#include "tensor/tensor.h"
#include <hdf5.h>

/* The one checking wrapper of HDF5: every call goes through NTK_TRY_H5, which leaves the
 * caller's error settings as they were. All calls here are local. */

/* Records what HDF5 said last about `path`, NTK_ERR_HDF5. */
ntk_status ntk_fail_h5(const char *path, const char *call);

/* Identifiers and error codes alike are negative on failure. */
#define NTK_TRY_H5(path, call)                                                             \
  do {                                                                                     \
    bool ntk_h5_bad_ = true;                                                               \
    H5E_BEGIN_TRY { ntk_h5_bad_ = (call) < 0; }                                            \
    H5E_END_TRY;                                                                           \
    if (ntk_h5_bad_) {                                                                     \
      status = ntk_fail_h5(path, #call);                                                   \
      goto done;                                                                           \
    }                                                                                      \
  } while (0)
/* id = call, or fails. */
#define NTK_OPEN_H5(path, id, call) NTK_TRY_H5(path, (id) = (call))

/* Closes an identifier of any kind where it is > 0, and zeroes it. */
void ntk_h5_close(hid_t *id);

/* Creates a file of about `bytes`, replacing an old one, with one process. HDF5 1.10
 * crashes at the end of a process that could not write what it buffers; hence space and
 * limits are checked first (NTK_ERR_FILE), elements are not buffered, and callers flush
 * before they write elements in number. */
NTK_CHECKED ntk_status ntk_h5_create(const char *path, int64_t bytes, hid_t *file);
/* The same whatever space there is: nothing much is to be written. NTK_ERR_FILE also where
 * the file system has no files so large. */
NTK_CHECKED ntk_status ntk_h5_create_sparse(const char *path, int64_t bytes, hid_t *file);

hid_t ntk_h5_type(ntk_dtype dtype); /* native type in memory and in new files */
/* Type of a data set's elements; NTK_ERR_UNSUPPORTED names what is neither real nor
 * integer. */
NTK_CHECKED ntk_status ntk_h5_dtype(const char *path, hid_t dataset, ntk_dtype *out);
/* Does the file have an object of this name? */
bool ntk_h5_has(hid_t file, const char *name);

/* Creates a contiguous data set [shape] and, where values is not NULL, writes it.
 * *out: owned by the caller; NULL: closed. */
NTK_CHECKED ntk_status ntk_h5_put(const char *path, hid_t file, const char *name,
                                  ntk_dtype dtype, int ndim, const int64_t *dim,
                                  const void *values, hid_t *out);
/* Sizes of a data set; of one without a data space, one axis of none. */
NTK_CHECKED ntk_status ntk_h5_shape(const char *path, hid_t dataset, ntk_shape *shape);
/* Scalar data set with UTF-8 text of fixed length, with room for so many bytes if they are
 * more than it has. */
NTK_CHECKED ntk_status ntk_h5_put_text(const char *path, hid_t file, const char *name,
                                       const char *text, int64_t room);
/* The same read back; *text to be freed with ntk_free. NTK_ERR_FORMAT: it is no text of
 * fixed length, or several. */
NTK_CHECKED ntk_status ntk_h5_get_text(const char *path, hid_t file, const char *name,
                                       char **text);
/* Attributes of an object: `count` texts of fixed length (a scalar where 1), or one number,
 * which is overwritten in place where it exists. */
NTK_CHECKED ntk_status ntk_h5_note(const char *path, hid_t object, const char *name,
                                   int count, const char *const *texts);
NTK_CHECKED ntk_status ntk_h5_note_number(const char *path, hid_t object, const char *name,
                                          ntk_dtype dtype, const void *value);
/* The text of an attribute, as far as there is room for it; NTK_ERR_FORMAT: it is not one.
 */
NTK_CHECKED ntk_status ntk_h5_get_note(const char *path, hid_t object, const char *name,
                                       char *text, size_t size);
/* A group (or the file) as NXdata: what viewers plot is the data set `signal` in it,
 * against the data sets `axes` [count], "." for none
 * (https://manual.nexusformat.org/classes/base_classes/NXdata.html). */
NTK_CHECKED ntk_status ntk_h5_note_plot(const char *path, hid_t group, const char *signal,
                                        int count, const char *const *axes);
/* False where the attribute is missing, or not a single number. */
bool ntk_h5_get_number(hid_t object, const char *name, ntk_dtype dtype, void *value);

/* Reads (write: writes) the box first .. first + count of a data set as `dtype`, row-major,
 * in pieces below 1 GiB along the first axis; ndim 0: a scalar. NTK_ERR_FORMAT: the data
 * set has other axes. */
NTK_CHECKED ntk_status ntk_h5_read_box(const char *path, hid_t dataset, int ndim,
                                       const int64_t *first, const int64_t *count,
                                       ntk_dtype dtype, void *values);
NTK_CHECKED ntk_status ntk_h5_write_box(const char *path, hid_t dataset, int ndim,
                                        const int64_t *first, const int64_t *count,
                                        ntk_dtype dtype, const void *values);

#endif

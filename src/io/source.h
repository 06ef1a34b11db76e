/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_SOURCE_H
#define NTK_IO_SOURCE_H

#include "io/data.h"

/* One file of samples, whatever its format. Private to src/io; everything is local. */
typedef struct ntk_data_source ntk_data_source;
struct ntk_data_source {
  const char *format; /* in words */
  ntk_dtype dtype;    /* of the elements in the file */
  int64_t samples;
  ntk_shape shape; /* of one sample */
  int part_count;  /* of several inputs: each, named; else 0 */
  ntk_data_part *parts;
  int64_t held_bytes; /* that the format's library holds beside what is counted as ours */
  ntk_label_kind labels;
  ntk_shape target_shape; /* of a sample's target, where labels are such */
  /* Samples first .. first + count as `dtype`, row-major. */
  ntk_status (*read)(ntk_data_source *source, int64_t first, int64_t count, ntk_dtype dtype,
                     void *out);
  /* Class numbers [count] as int64, or targets [count, ...] as f64, of the same samples;
   * not called where there are none. */
  ntk_status (*read_labels)(ntk_data_source *source, int64_t first, int64_t count,
                            void *out);
  /* Of a source that may change: what is read from now on is as it is now, after ranks have
   * met. NULL: it does not change. */
  ntk_status (*refresh)(ntk_data_source *source);
  void (*close)(ntk_data_source *source); /* frees the source */
};

/* Purpose: the data of a source that is no file. Collective; takes the source over, also
 * where it fails. `made`: did making the source succeed on this rank? else it may be NULL.
 * name: what it is, in words. */
NTK_CHECKED ntk_status ntk_data_of(ntk_context *context, ntk_data_source *source,
                                   ntk_status made, const char *name, ntk_data **out);
/* Samples that the caller describes: shape and number are right, and the same on all ranks
 * where `alike`; shape as one. Collective. NTK_ERR_ARGUMENT. */
NTK_CHECKED ntk_status ntk_data_check_samples(const ntk_context *context, int64_t samples,
                                              bool alike, ntk_dtype dtype, int ndim,
                                              const int64_t *dims, ntk_shape *shape);

/* IDX (.gz or not), .npy, CIFAR binary. */
bool ntk_flat_is(const char *path);
NTK_CHECKED ntk_status ntk_flat_open(const char *path, ntk_data_source **out);

/* HDF5 FILE[:/path], by default the data set `set`; /inputs has /labels beside it. */
bool ntk_hdf5_is(const char *path);
bool ntk_hdf5_has(const char *path, const char *set);
NTK_CHECKED ntk_status ntk_hdf5_open(const char *path, const char *set,
                                     ntk_data_source **out);
/* The data set `set` of the same file, if it is there, as labels of a source that
 * ntk_hdf5_open made. */
NTK_CHECKED ntk_status ntk_hdf5_find_labels(ntk_data_source *source, const char *set);

/* HDF5 FILE[:/group] with a data set for each of these inputs. */
NTK_CHECKED ntk_status ntk_inputs_open(const char *path, int count,
                                       const char *const *names, ntk_data_source **out);

/* HDF5 or one of the others; NTK_ERR_FILE (missing), NTK_ERR_FORMAT (neither). */
NTK_CHECKED ntk_status ntk_source_open(const char *path, const char *set,
                                       ntk_data_source **out);
void ntk_source_close(ntk_data_source **source);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_SOURCE_H
#define NTK_IO_SOURCE_H

#include "tensor/tensor.h"

/* One file of samples, whatever its format. Private to src/io; everything is local. */
typedef struct ntk_data_source ntk_data_source;
struct ntk_data_source {
  const char *format; /* in words */
  ntk_dtype dtype;    /* of the elements in the file */
  int64_t samples;
  ntk_shape shape;    /* of one sample */
  int64_t held_bytes; /* that the format's library holds beside what is counted as ours */
  /* Samples first .. first + count as `dtype`, row-major. */
  ntk_status (*read)(ntk_data_source *source, int64_t first, int64_t count, ntk_dtype dtype,
                     void *out);
  /* Class numbers [count], or targets [count, ...], of the same samples; both stay NULL
   * where the file has none. NULL: the format has none. */
  ntk_status (*read_labels)(ntk_data_source *source, int64_t first, int64_t count,
                            int64_t **labels, ntk_tensor **targets);
  void (*close)(ntk_data_source *source); /* frees the source */
};

/* IDX (.gz or not), .npy, CIFAR binary. */
bool ntk_flat_is(const char *path);
NTK_CHECKED ntk_status ntk_flat_open(const char *path, ntk_data_source **out);

/* HDF5 FILE[:/path], by default the data set `set`; /inputs has /labels beside it. */
bool ntk_hdf5_is(const char *path);
NTK_CHECKED ntk_status ntk_hdf5_open(const char *path, const char *set,
                                     ntk_data_source **out);

/* Either of them; NTK_ERR_FILE (missing), NTK_ERR_FORMAT (neither). */
NTK_CHECKED ntk_status ntk_source_open(const char *path, const char *set,
                                       ntk_data_source **out);
void ntk_source_close(ntk_data_source **source);

#endif

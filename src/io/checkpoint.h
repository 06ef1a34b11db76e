/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_CHECKPOINT_H
#define NTK_IO_CHECKPOINT_H

#include "tensor/half.h"
#include "tensor/tensor.h"

/* A file of named arrays, such as the parameters of a network: .npz (zip of npy), HDF5 (all
 * data sets; the name is the path without its first slash), safetensors. Everything is
 * local. */
typedef struct ntk_named_array {
  char *name;
  ntk_dtype dtype; /* as which it is read: f32 of halves */
  ntk_half half;
  ntk_shape shape;
  int64_t from; /* where it stands, to its format */
} ntk_named_array;

typedef struct ntk_checkpoint ntk_checkpoint;
struct ntk_checkpoint {
  char *path;
  int count;
  ntk_named_array *arrays;
  void *state; /* the format's */
  ntk_status (*read)(ntk_checkpoint *checkpoint, const ntk_named_array *array, void *out);
  void (*close)(void *state);
};

/* Purpose: open it and list the arrays: that their elements are there is known afterwards,
 * what is in them is not. Errors: NTK_ERR_FILE, NTK_ERR_FORMAT (none of the formats,
 * damaged), NTK_ERR_UNSUPPORTED (kind of elements), NTK_ERR_HDF5; each names the file. */
NTK_CHECKED ntk_status ntk_checkpoint_open(const char *path, ntk_checkpoint **out);
/* The elements of an array, row-major, as its dtype. */
NTK_CHECKED ntk_status ntk_checkpoint_read(ntk_checkpoint *checkpoint, int array,
                                           void *out);
void ntk_checkpoint_close(ntk_checkpoint **checkpoint);

/* For the formats: room for one more array, its name a copy; *array is zeroed otherwise. */
NTK_CHECKED ntk_status ntk_checkpoint_add(ntk_checkpoint *checkpoint, const char *name,
                                          ntk_named_array **array);
/* Bytes that the elements take in the file; NTK_ERR_FORMAT: more than there can be. */
NTK_CHECKED ntk_status ntk_checkpoint_bytes(const ntk_checkpoint *checkpoint,
                                            const ntk_named_array *array, int64_t *bytes);
NTK_CHECKED ntk_status ntk_npz_open(ntk_checkpoint *checkpoint);
NTK_CHECKED ntk_status ntk_safetensors_open(ntk_checkpoint *checkpoint);
NTK_CHECKED ntk_status ntk_hdf5_arrays_open(ntk_checkpoint *checkpoint);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_DATA_H
#define NTK_IO_DATA_H

#include "base/context.h"
#include "base/text.h"
#include "tensor/tensor.h"
#include <scantk/data.h>

/* Where the samples come from: one row each for HDF5, npy, IDX, CIFAR. */
struct ntk_data_source;

struct ntk_data {
  ntk_context *context;   /* borrowed */
  char *path;             /* as given */
  char *name;             /* of the data, for the provenance */
  const char *row;        /* what a row is, for messages: "sample" */
  int64_t total;          /* samples in the file */
  int64_t first, samples; /* the range */
  ntk_dtype dtype;        /* in the file */
  ntk_shape shape;        /* of one sample */
  int64_t *labels;        /* [samples] class numbers, NULL without */
  ntk_tensor *targets;    /* [samples, ...] real targets, NULL without; never both */
  struct ntk_data_source *source;
};

/* Purpose: open a file as ntk_data_read does, where `set` is the data set of an HDF5 file
 * that names none, and all rows are taken. Collective; errors as there. */
NTK_CHECKED ntk_status ntk_data_open(ntk_context *context, const char *path,
                                     const char *set, ntk_data **out);

/* Purpose: samples `first .. first + count` OF THE RANGE as reals of `dtype`, row-major,
 * into `out` (count * size of a sample). Local: any rank may read any slice. Errors:
 * NTK_ERR_FILE, NTK_ERR_HDF5, NTK_ERR_NONFINITE naming the sample. */
NTK_CHECKED ntk_status ntk_data_slice(ntk_data *data, int64_t first, int64_t count,
                                      ntk_dtype dtype, void *out);

/* Per-sample digests: XXH3-128(index in the range, values as `dtype`) of samples first ..
 * first + count, [count][2] words (low, high). Checks the values as ntk_data_slice. Local.
 */
NTK_CHECKED ntk_status ntk_data_digest(ntk_data *data, int64_t first, int64_t count,
                                       ntk_dtype dtype, uint64_t (*digest)[2]);

/* Bytes that the library of the format holds while samples are read: a chunk of what is
 * compressed. Local. */
int64_t ntk_data_held_bytes(const ntk_data *data);

/* Is this path readable as data (by its first bytes)? Local. */
bool ntk_data_is(const char *path);
NTK_CHECKED ntk_status ntk_data_describe(const ntk_data *data, bool json, ntk_text *text);

#endif

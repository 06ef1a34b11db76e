/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_DATA_H
#define NTK_IO_DATA_H

#include "base/context.h"
#include "base/text.h"
#include "tensor/tensor.h"
#include <scantk/data.h>

/* Where the samples come from: one row each for HDF5, npy, IDX, CIFAR. */
struct ntk_data_source;

typedef enum ntk_label_kind {
  NTK_LABELS_NONE,
  NTK_LABELS_CLASSES, /* a number each */
  NTK_LABELS_TARGETS  /* real numbers of a shape */
} ntk_label_kind;

/* A sample's values of one input of a model, as they stand in the file. */
typedef struct ntk_data_part {
  char *name; /* of the input; NULL: the only one, whatever its name */
  ntk_dtype dtype;
  ntk_shape shape;
  bool is_exact; /* they are integers and must stay so: ntk_data_slice sees to it */
} ntk_data_part;

struct ntk_data {
  ntk_context *context;   /* borrowed */
  char *path;             /* as given */
  char *name;             /* of the data, for the provenance */
  const char *row;        /* what a row is, for messages: "sample" */
  int64_t total;          /* samples in the file */
  int64_t first, samples; /* the range */
  ntk_dtype dtype;        /* in the file */
  ntk_shape shape;        /* of one sample; of several inputs: all their elements */
  int part_count;         /* inputs, one after the other in a sample */
  ntk_data_part *parts;   /* the source's, or `only` */
  ntk_data_part only;
  ntk_label_kind labels;
  ntk_shape target_shape; /* of one sample, where labels are targets */
  struct ntk_data_source *source;
};

/* Purpose: open a file as ntk_data_read does, where `set` is the data set of an HDF5 file
 * that names none, and all rows are taken. Collective; errors as there. */
NTK_CHECKED ntk_status ntk_data_open(ntk_context *context, const char *path,
                                     const char *set, ntk_data **out);

/* Purpose: open a file as ntk_data_read does, for inputs of these names, of which it may
 * have data sets. Collective; errors as there. */
NTK_CHECKED ntk_status ntk_data_read_inputs(ntk_context *context, const char *path,
                                            int count, const char *const *inputs,
                                            const char *options, ntk_data **out);

/* Purpose: samples of normally distributed numbers, the same on all ranks and each time;
 * of no file. Collective. */
NTK_CHECKED ntk_status ntk_data_random(ntk_context *context, int64_t samples,
                                       const ntk_shape *shape, ntk_data **out);

/* Purpose: some samples of another data set, numbers index[i] OF ITS RANGE, copied; it
 * outlives them, and has been checked to fit a model where they are to be. They have no
 * labels. Collective. */
NTK_CHECKED ntk_status ntk_data_pick(ntk_data *base, int64_t count, const int64_t *index,
                                     ntk_data **out);

/* The whole data set of which `data` are picked samples; itself, where they are not. */
ntk_data *ntk_data_whole(ntk_data *data);
/* Purpose: the samples of `base` with the numbers that were picked for `picked`; of a range
 * as that of its whole. As ntk_data_pick. */
NTK_CHECKED ntk_status ntk_data_pick_alike(ntk_data *base, ntk_data *picked,
                                           ntk_data **out);

/* Purpose: the caller's rows are read as they are now, once ranks have met after it. Local.
 */
NTK_CHECKED ntk_status ntk_data_refresh(ntk_data *data);

/* Purpose: samples `first .. first + count` OF THE RANGE as reals of `dtype`, row-major,
 * into `out` (count * size of a sample). Local: any rank may read any slice. Errors:
 * NTK_ERR_FILE, NTK_ERR_HDF5, NTK_ERR_NONFINITE naming the sample; NTK_ERR_ARGUMENT for an
 * integer that `dtype` cannot hold, in a part that is exact. */
NTK_CHECKED ntk_status ntk_data_slice(ntk_data *data, int64_t first, int64_t count,
                                      ntk_dtype dtype, void *out);

/* Purpose: labels of samples `first .. first + count` OF THE RANGE: class numbers [count]
 * as int64 or targets [count, ...] as f64. Local; not called where there are none. Errors
 * as above. */
NTK_CHECKED ntk_status ntk_data_labels(const ntk_data *data, int64_t first, int64_t count,
                                       void *out);

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

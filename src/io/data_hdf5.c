/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/h5.h"
#include "io/source.h"
#include <inttypes.h>
#include <string.h>

typedef struct hdf5_source {
  ntk_data_source source; /* first: it is a source */
  char *path;             /* as given, for messages */
  hid_t file, inputs, labels;
  ntk_shape labels_shape;
  ntk_dtype labels_dtype;
} hdf5_source;

bool ntk_hdf5_is(const char *path) {
  htri_t is = -1;
  H5E_BEGIN_TRY { is = H5Fis_hdf5(path); }
  H5E_END_TRY;
  return is > 0;
}

bool ntk_hdf5_has(const char *path, const char *set) {
  hid_t file = 0;
  H5E_BEGIN_TRY { file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT); }
  H5E_END_TRY;
  const bool has = file > 0 && ntk_h5_has(file, set);
  ntk_h5_close(&file);
  return has;
}

static ntk_status read_box(const hdf5_source *h, hid_t dataset, const ntk_shape *shape,
                           int64_t first, int64_t count, ntk_dtype dtype, void *out) {
  int64_t at[NTK_MAX_DIMS + 1] = {first}, size[NTK_MAX_DIMS + 1] = {count};
  for (int i = 0; i < shape->ndim; i++)
    size[i + 1] = shape->dim[i];
  return ntk_h5_read_box(h->path, dataset, shape->ndim + 1, at, size, dtype, out);
}

static ntk_status hdf5_read(ntk_data_source *source, int64_t first, int64_t count,
                            ntk_dtype dtype, void *out) {
  hdf5_source *h = (hdf5_source *)source;
  return read_box(h, h->inputs, &source->shape, first, count, dtype, out);
}

static ntk_status hdf5_labels(ntk_data_source *source, int64_t first, int64_t count,
                              void *out) {
  hdf5_source *h = (hdf5_source *)source;
  return read_box(h, h->labels, &h->labels_shape, first, count,
                  source->labels == NTK_LABELS_CLASSES ? NTK_I64 : NTK_F64, out);
}

static void hdf5_close(ntk_data_source *source) {
  hdf5_source *h = (hdf5_source *)source;
  ntk_h5_close(&h->inputs);
  ntk_h5_close(&h->labels);
  ntk_h5_close(&h->file);
  ntk_free(&h->path);
  ntk_free(&h);
}

/* Samples that are compressed can only be read by whole chunks: the one in hand is kept,
 * and unpacked beside its packed bytes (which HDF5 may not have made smaller). */
static ntk_status keep_chunk(hdf5_source *h, const char *name) {
  ntk_status status = NTK_SUCCESS;
  hid_t create = 0, access = 0;
  hsize_t chunk[H5S_MAX_RANK];
  NTK_OPEN_H5(h->path, create, H5Dget_create_plist(h->inputs));
  if (H5Pget_layout(create) != H5D_CHUNKED || H5Pget_nfilters(create) < 1)
    goto done;
  int64_t bytes = (int64_t)ntk_dtype_bytes(h->source.dtype);
  NTK_TRY_H5(h->path, H5Pget_chunk(create, h->source.shape.ndim + 1, chunk));
  for (int i = 0; i <= h->source.shape.ndim; i++)
    bytes *= (int64_t)chunk[i];
  NTK_OPEN_H5(h->path, access, H5Pcreate(H5P_DATASET_ACCESS));
  NTK_TRY_H5(h->path, H5Pset_chunk_cache(access, H5D_CHUNK_CACHE_NSLOTS_DEFAULT,
                                         (size_t)bytes, H5D_CHUNK_CACHE_W0_DEFAULT));
  ntk_h5_close(&h->inputs);
  NTK_OPEN_H5(h->path, h->inputs, H5Dopen2(h->file, name, access));
  h->source.held_bytes = 2 * bytes;
done:
  ntk_h5_close(&create);
  ntk_h5_close(&access);
  return status;
}

static ntk_status open_dataset(const hdf5_source *h, const char *name, hid_t *dataset,
                               ntk_dtype *dtype, int64_t *samples, ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  hid_t space = 0;
  hsize_t dim[H5S_MAX_RANK];
  int ndim;
  NTK_REQUIRE(ntk_h5_has(h->file, name), NTK_ERR_FORMAT,
              "%s: there is no data set %s; name it as FILE:/path", h->path, name);
  NTK_OPEN_H5(h->path, *dataset, H5Dopen2(h->file, name, H5P_DEFAULT));
  NTK_TRY(ntk_h5_dtype(h->path, *dataset, dtype));
  NTK_OPEN_H5(h->path, space, H5Dget_space(*dataset));
  NTK_OPEN_H5(h->path, ndim, H5Sget_simple_extent_dims(space, dim, NULL));
  NTK_REQUIRE(ndim >= 1 && ndim <= NTK_MAX_DIMS, NTK_ERR_FORMAT,
              "%s: %s has %d axes; 1 to %d are read", h->path, name, ndim, NTK_MAX_DIMS);
  *samples = (int64_t)dim[0];
  shape->ndim = ndim - 1;
  for (int i = 1; i < ndim; i++)
    shape->dim[i - 1] = (int64_t)dim[i];
done:
  ntk_h5_close(&space);
  return status;
}

ntk_status ntk_hdf5_find_labels(ntk_data_source *source, const char *set) {
  ntk_status status = NTK_SUCCESS;
  hdf5_source *h = (hdf5_source *)source;
  int64_t samples;
  if (!ntk_h5_has(h->file, set))
    goto done;
  NTK_TRY(open_dataset(h, set, &h->labels, &h->labels_dtype, &samples, &h->labels_shape));
  NTK_REQUIRE(samples == h->source.samples, NTK_ERR_FORMAT,
              "%s: %" PRId64 " labels for %" PRId64 " samples", h->path, samples,
              h->source.samples);
  /* integers of one axis are classes, anything else is a target */
  const bool classes =
      ntk_shape_size(&h->labels_shape) == 1 && !ntk_dtype_is_real(h->labels_dtype);
  h->source.labels = classes ? NTK_LABELS_CLASSES : NTK_LABELS_TARGETS;
  h->source.target_shape = h->labels_shape;
done:
  return status;
}

ntk_status ntk_hdf5_open(const char *path, const char *set, ntk_data_source **out) {
  ntk_status status = NTK_SUCCESS;
  hdf5_source *h = NULL;
  char *file = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *h, &h));
  NTK_TRY(ntk_strdup(path, &h->path));
  NTK_TRY(ntk_strdup(path, &file));
  char *colon = strstr(file, ":/");
  const char *name = colon ? path + (colon - file) + 1 : set;
  if (colon)
    *colon = '\0';
  NTK_OPEN_H5(path, h->file, H5Fopen(file, H5F_ACC_RDONLY, H5P_DEFAULT));
  NTK_TRY(open_dataset(h, name, &h->inputs, &h->source.dtype, &h->source.samples,
                       &h->source.shape));
  NTK_TRY(keep_chunk(h, name));
  if (strcmp(name, "/inputs") == 0)
    NTK_TRY(ntk_hdf5_find_labels(&h->source, "/labels"));
  h->source.format = "HDF5";
  h->source.read = hdf5_read;
  h->source.read_labels = hdf5_labels;
  h->source.close = hdf5_close;
  *out = &h->source;
  h = NULL;
done:
  ntk_free(&file);
  if (h)
    hdf5_close(&h->source);
  return status;
}

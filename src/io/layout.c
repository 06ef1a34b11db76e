/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a kernel file before its first tile. All of it is made by one process and
 * flushed before any other opens the file: metadata never change while tiles are written.
 */
#include "base/memory.h"
#include "io/store_parts.h"
#include <hdf5_hl.h>
#include <inttypes.h>
#include <string.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void add_axis(ntk_store_layout *l, const char *name, int64_t dim, int64_t chunk) {
  l->axis[l->ndim] = name;
  l->dim[l->ndim] = dim;
  l->chunk[l->ndim] = least(chunk, dim);
  l->tiles[l->ndim] = (dim + l->chunk[l->ndim] - 1) / l->chunk[l->ndim];
  l->ndim++;
}

ntk_store_layout ntk_store_layout_of(const ntk_store_spec *s) {
  ntk_store_layout l = {0};
  if (s->reduction == NTK_REDUCE_DIAGONAL)
    add_axis(&l, "output1", s->outputs, s->outputs_block);
  add_axis(&l, "sample1", s->rows, s->block);
  if (s->reduction == NTK_REDUCE_NONE)
    add_axis(&l, "output1", s->outputs, s->outputs_block);
  add_axis(&l, "sample2", s->columns, s->block);
  if (s->reduction == NTK_REDUCE_NONE)
    add_axis(&l, "output2", s->outputs, s->outputs_block);
  return l;
}

void ntk_store_box(const ntk_store_layout *layout, const ntk_tile *t,
                   int64_t first[NTK_STORE_AXES], int64_t count[NTK_STORE_AXES]) {
  for (int i = 0; i < layout->ndim; i++) {
    const bool output = layout->axis[i][0] == 'o';
    const bool row = layout->axis[i][6] == '1';
    first[i] = output ? row ? t->row_output : t->column_output
               : row  ? t->row_first
                      : t->column_first;
    count[i] = output ? row ? t->row_outputs : t->column_outputs
               : row  ? t->row_count
                      : t->column_count;
  }
}

int64_t ntk_store_file_bytes(const ntk_store_spec *spec) {
  const ntk_store_layout l = ntk_store_layout_of(spec);
  double bytes = (double)ntk_dtype_bytes(spec->dtype), tiles = 1;
  for (int i = 0; i < l.ndim; i++) {
    bytes *= (double)(l.tiles[i] * l.chunk[i]);
    tiles *= (double)l.tiles[i];
  }
  /* of a sample: scale, digest, label, outputs */
  const double per_sample = 8 * 4 + (double)spec->network_outputs * 8;
  bytes += tiles * 9 + (double)(spec->rows + spec->columns) * per_sample + 65536;
  return bytes < 0x1p63 ? (int64_t)bytes : INT64_MAX;
}

/* Before there is a file. */
static ntk_status check_tile(const char *path, const ntk_store_layout *l, ntk_dtype dtype) {
  double bytes = (double)ntk_dtype_bytes(dtype);
  for (int i = 0; i < l->ndim; i++)
    bytes *= (double)l->chunk[i];
  if (bytes < 0x1p32)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT,
                  "%s: a tile of %.3g GiB; HDF5 takes chunks below 4 GiB: use a smaller "
                  "--block",
                  path, bytes / 1073741824.0);
}

/* ---- the kernel -----------------------------------------------------------------------
 */

static ntk_status make_kernel(const char *path, hid_t file, const ntk_store_layout *l,
                              ntk_dtype dtype, hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  hid_t space = 0, create = 0;
  hsize_t dim[NTK_STORE_AXES], chunk[NTK_STORE_AXES];
  for (int i = 0; i < l->ndim; i++) {
    dim[i] = (hsize_t)l->dim[i];
    chunk[i] = (hsize_t)l->chunk[i];
  }
  NTK_OPEN_H5(path, space, H5Screate_simple(l->ndim, dim, NULL));
  NTK_OPEN_H5(path, create, H5Pcreate(H5P_DATASET_CREATE));
  NTK_TRY_H5(path, H5Pset_chunk(create, l->ndim, chunk));
  NTK_TRY_H5(path, H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY));
  NTK_TRY_H5(path, H5Pset_fill_time(create, H5D_FILL_TIME_NEVER));
  NTK_OPEN_H5(path, *out,
              H5Dcreate2(file, "/kernel", ntk_h5_type(dtype), space, H5P_DEFAULT, create,
                         H5P_DEFAULT));
done:
  ntk_h5_close(&create);
  ntk_h5_close(&space);
  return status;
}

/* ---- scales ---------------------------------------------------------------------------
 */

/* The original indices along an axis, every `step`-th of them. */
static ntk_status scale_values(const ntk_store_spec *s, const char *axis, int64_t step,
                               int64_t **values, int64_t *count) {
  ntk_status status = NTK_SUCCESS;
  const bool output = axis[0] == 'o';
  const bool row = axis[6] == '1';
  const ntk_data *data = row || !s->column_data ? s->row_data : s->column_data;
  const int64_t all = output ? s->outputs : row ? s->rows : s->columns;
  *count = (all + step - 1) / step;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, *count, sizeof **values, values));
  for (int64_t i = 0; i < *count; i++)
    (*values)[i] = !output           ? data->first + i * step
                   : s->output_index ? s->output_index[i * step]
                                     : i * step;
done:
  return status;
}

static ntk_status put_scale(const char *path, hid_t group, const ntk_store_spec *s,
                            const char *axis, int64_t step, hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  int64_t *values = NULL, count;
  const char *words = axis[0] == 's'     ? "sample (index in the data set)"
                      : s->of_cotangents ? "cotangent"
                                         : "output";
  NTK_TRY(scale_values(s, axis, step, &values, &count));
  NTK_TRY(ntk_h5_put(path, group, axis, NTK_I64, 1, &count, values, out));
  NTK_TRY(ntk_h5_note(path, *out, "long_name", 1, &words));
  NTK_TRY_H5(path, H5DSset_scale(*out, axis));
done:
  ntk_free(&values);
  return status;
}

static const char *const axes[NTK_STORE_AXES] = {"sample1", "output1", "sample2",
                                                 "output2"};

/* Attaches a scale to the axes of that name: all of a kernel's, axis `only` of others. */
static ntk_status attach(const char *path, const ntk_store_layout *l, hid_t dataset,
                         hid_t scale, const char *axis) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < l->ndim; i++)
    if (strcmp(l->axis[i], axis) == 0)
      NTK_TRY_H5(path, H5DSattach_scale(dataset, scale, (unsigned)i));
done:
  return status;
}

/* ---- marks ----------------------------------------------------------------------------
 */

static ntk_status make_marks(const char *path, hid_t file, const ntk_store_spec *s,
                             const ntk_store_layout *l) {
  ntk_status status = NTK_SUCCESS;
  hid_t group = 0, done_set = 0, checksum = 0, scale = 0;
  int64_t tiles = 1;
  void *zeros = NULL;
  for (int i = 0; i < l->ndim; i++)
    tiles *= l->tiles[i];
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, tiles, 8, &zeros));
  NTK_OPEN_H5(path, group,
              H5Gcreate2(file, "/tiles", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  NTK_TRY(ntk_h5_put(path, group, "done", NTK_U8, l->ndim, l->tiles, zeros, &done_set));
  NTK_TRY(
      ntk_h5_put(path, group, "checksum", NTK_U64, l->ndim, l->tiles, zeros, &checksum));
  for (int i = 0; i < l->ndim; i++) {
    NTK_TRY(put_scale(path, group, s, l->axis[i], l->chunk[i], &scale));
    NTK_TRY(attach(path, l, done_set, scale, l->axis[i]));
    NTK_TRY(attach(path, l, checksum, scale, l->axis[i]));
    ntk_h5_close(&scale);
  }
done:
  ntk_free(&zeros);
  ntk_h5_close(&scale);
  ntk_h5_close(&checksum);
  ntk_h5_close(&done_set);
  ntk_h5_close(&group);
  return status;
}

/* ---- what belongs to a side -----------------------------------------------------------
 */

static ntk_status put_labels(const char *path, hid_t file, const char *name,
                             const ntk_data *data, hid_t scale) {
  ntk_status status = NTK_SUCCESS;
  hid_t labels = 0;
  if (data->labels)
    NTK_TRY(
        ntk_h5_put(path, file, name, NTK_I64, 1, &data->samples, data->labels, &labels));
  else if (data->targets)
    NTK_TRY(ntk_h5_put(path, file, name, NTK_F64, data->targets->shape.ndim,
                       data->targets->shape.dim, data->targets->data, &labels));
  if (labels)
    NTK_TRY_H5(path, H5DSattach_scale(labels, scale, 0));
done:
  ntk_h5_close(&labels);
  return status;
}

/* outputs, labels and digests of one side; both sides of a symmetric kernel are there. */
static ntk_status put_side(const char *path, hid_t file, const ntk_store_spec *s, int side,
                           hid_t samples, hid_t outputs_scale) {
  static const char *const names[2][3] = {{"outputs1", "labels1", "digest1"},
                                          {"outputs2", "labels2", "digest2"}};
  ntk_status status = NTK_SUCCESS;
  hid_t outputs = 0;
  const ntk_data *data = side == 0 || !s->column_data ? s->row_data : s->column_data;
  const uint64_t(*digest)[2] =
      side == 0 || !s->column_data ? s->row_digest : s->column_digest;
  const int64_t outputs_dim[2] = {data->samples, s->network_outputs};
  const int64_t digest_dim[2] = {data->samples, 2};
  const char *words = "network output";
  NTK_TRY(ntk_h5_put(path, file, names[side][0], s->dtype, 2, outputs_dim, NULL, &outputs));
  NTK_TRY(ntk_h5_note(path, outputs, "long_name", 1, &words));
  NTK_TRY_H5(path, H5DSattach_scale(outputs, samples, 0));
  if (!s->of_cotangents)
    NTK_TRY_H5(path, H5DSattach_scale(outputs, outputs_scale, 1));
  NTK_TRY(put_labels(path, file, names[side][1], data, samples));
  if (digest)
    NTK_TRY(ntk_h5_put(path, file, names[side][2], NTK_U64, 2, digest_dim, digest, NULL));
done:
  ntk_h5_close(&outputs);
  return status;
}

static ntk_status put_scales(const char *path, hid_t file, const ntk_store_spec *s,
                             const ntk_store_layout *l, hid_t kernel) {
  ntk_status status = NTK_SUCCESS;
  hid_t scale[NTK_STORE_AXES] = {0};
  for (int i = 0; i < NTK_STORE_AXES; i++) {
    NTK_TRY(put_scale(path, file, s, axes[i], 1, &scale[i]));
    NTK_TRY(attach(path, l, kernel, scale[i], axes[i]));
  }
  NTK_TRY(put_side(path, file, s, 0, scale[0], scale[1]));
  NTK_TRY(put_side(path, file, s, 1, scale[2], scale[3]));
done:
  for (int i = 0; i < NTK_STORE_AXES; i++)
    ntk_h5_close(&scale[i]);
  return status;
}

static ntk_status put_notes(const char *path, hid_t file, const ntk_store_spec *s,
                            const ntk_store_layout *l) {
  static const char *const reductions[] = {"none", "trace", "diagonal", "pseudo"};
  ntk_status status = NTK_SUCCESS;
  const char *format = "scantk-kernel 1", *nexus = "NXdata", *signal = "kernel";
  static const char *const facts[] = {"seconds", "gflops", "gemm_gflops"};
  const uint8_t complete = 0, symmetric = s->symmetric;
  const double unknown = 0;
  NTK_TRY(ntk_h5_note(path, file, "format", 1, &format));
  NTK_TRY(ntk_h5_note(path, file, "NX_class", 1, &nexus));
  NTK_TRY(ntk_h5_note(path, file, "signal", 1, &signal));
  NTK_TRY(ntk_h5_note(path, file, "axes", l->ndim, l->axis));
  NTK_TRY(ntk_h5_note(path, file, "reduction", 1, &reductions[s->reduction]));
  NTK_TRY(ntk_h5_note_number(path, file, "symmetric", NTK_U8, &symmetric));
  NTK_TRY(ntk_h5_note_number(path, file, "complete", NTK_U8, &complete));
  for (int i = 0; i < 3; i++) /* filled at the end, where nothing may grow */
    NTK_TRY(ntk_h5_note_number(path, file, facts[i], NTK_F64, &unknown));
done:
  return status;
}

ntk_status ntk_store_lay_out(const char *path, const ntk_store_spec *spec) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout l = ntk_store_layout_of(spec);
  const char *words = "neural tangent kernel";
  hid_t file = 0, kernel = 0;
  NTK_TRY(check_tile(spec->path, &l, spec->dtype));
  NTK_TRY(ntk_h5_create(path, ntk_store_file_bytes(spec), &file));
  NTK_TRY(make_kernel(path, file, &l, spec->dtype, &kernel));
  NTK_TRY(ntk_h5_note(path, kernel, "long_name", 1, &words));
  NTK_TRY(put_notes(path, file, spec, &l));
  NTK_TRY(put_scales(path, file, spec, &l, kernel));
  NTK_TRY(make_marks(path, file, spec, &l));
  NTK_TRY(ntk_h5_put_text(path, file, "/plan", spec->plan));
  NTK_TRY(ntk_h5_put_text(path, file, "/provenance", spec->provenance));
  NTK_TRY_H5(path, H5Fflush(file, H5F_SCOPE_GLOBAL));
done:
  ntk_h5_close(&kernel);
  ntk_h5_close(&file);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a kernel file before its first tile. All of it is made by one process and
 * flushed before any other opens the file: metadata never change while tiles are written.
 */
#define _DEFAULT_SOURCE
#include "base/memory.h"
#include "dist/grid.h"
#include "io/store_parts.h"
#include <errno.h>
#include <hdf5_hl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* For what HDF5 notes of the objects, and for the provenance. */
static const double metadata_bytes = 65536, group_metadata_bytes = 16384;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void ntk_store_add_axis(ntk_store_layout *l, const char *name, int64_t dim, int64_t chunk) {
  l->axis[l->ndim] = name;
  l->dim[l->ndim] = dim;
  l->chunk[l->ndim] = least(chunk, dim);
  l->tiles[l->ndim] = (dim + l->chunk[l->ndim] - 1) / l->chunk[l->ndim];
  l->ndim++;
}

/* Half a kernel, with row blocks r = I * parts + q: the tiles of (I, q) and (J, p) stand in
 * the order of the pairs (I, J), then of p and q, in a block with itself those of q <= p;
 * reductions that keep pairs of outputs apart have q = p alone. */
static bool is_full(const ntk_store_layout *l) { return l->ndim - l->half == 4; }

static int64_t tiles_before(const ntk_store_layout *l, int64_t pair) {
  const int64_t own = pair < l->blocks ? pair : l->blocks;
  return is_full(l)
             ? own * (l->parts * (l->parts + 1) / 2) + (pair - own) * l->parts * l->parts
             : pair * l->parts;
}

/* From the axes of /kernel to those of /half/tiles. */
static void make_half(ntk_store_layout *l) {
  const int64_t tiles = tiles_before(l, l->blocks * (l->blocks + 1) / 2);
  ntk_store_layout half = {.half = true,
                           .marks = 1,
                           .block = l->block,
                           .part = l->part,
                           .blocks = l->blocks,
                           .parts = l->parts,
                           .samples = l->samples,
                           .outputs = l->outputs};
  ntk_store_add_axis(&half, "number of the tile", tiles, 1);
  for (int i = 0; i < l->ndim; i++)
    ntk_store_add_axis(&half, l->axis[i], l->chunk[i], l->chunk[i]);
  *l = half;
}

ntk_store_layout ntk_store_layout_of(const ntk_store_spec *s) {
  const bool pair = s->reduction == NTK_REDUCE_TRACE || s->reduction == NTK_REDUCE_PSEUDO;
  ntk_store_layout l = {.block = s->block, .part = pair ? 1 : s->outputs_block};
  if (s->reduction == NTK_REDUCE_DIAGONAL)
    ntk_store_add_axis(&l, "output1", s->outputs, s->outputs_block);
  ntk_store_add_axis(&l, "sample1", s->rows, s->block);
  if (s->reduction == NTK_REDUCE_NONE)
    ntk_store_add_axis(&l, "output1", s->outputs, s->outputs_block);
  ntk_store_add_axis(&l, "sample2", s->columns, s->block);
  if (s->reduction == NTK_REDUCE_NONE)
    ntk_store_add_axis(&l, "output2", s->outputs, s->outputs_block);
  l.marks = l.ndim;
  l.samples = s->rows;
  l.outputs = s->outputs;
  l.blocks = (s->rows - 1) / s->block + 1;
  l.parts = pair ? 1 : (s->outputs - 1) / s->outputs_block + 1;
  if (s->half)
    make_half(&l);
  return l;
}

const char *ntk_store_set(const ntk_store_layout *layout) {
  return layout->half ? "/half/tiles" : "/kernel";
}

bool ntk_store_holds(const ntk_store_layout *l, const ntk_tile *t) {
  const int64_t I = t->row_first / l->block, J = t->column_first / l->block;
  return !l->half || (ntk_pair_is_computed(I, J, l->blocks) &&
                      (I != J || t->row_output <= t->column_output));
}

static int64_t tile_number(const ntk_store_layout *l, const ntk_tile *t) {
  const int64_t I = t->row_first / l->block, J = t->column_first / l->block;
  const int64_t q = t->row_output / l->part, p = t->column_output / l->part;
  const int64_t inside = !is_full(l) ? q : I == J ? p * (p + 1) / 2 + q : p * l->parts + q;
  return tiles_before(l, ntk_pair_number(I, J, l->blocks)) + inside;
}

void ntk_store_box(const ntk_store_layout *l, const ntk_tile *t,
                   int64_t first[NTK_STORE_AXES], int64_t count[NTK_STORE_AXES]) {
  for (int i = 0; i < l->ndim; i++) {
    const bool output = l->axis[i][0] == 'o';
    const bool row = l->axis[i][6] == '1';
    first[i] = l->half  ? 0
               : output ? row ? t->row_output : t->column_output
               : row    ? t->row_first
                        : t->column_first;
    count[i] = output ? row ? t->row_outputs : t->column_outputs
               : row  ? t->row_count
                      : t->column_count;
  }
  if (l->half) {
    first[0] = tile_number(l, t);
    count[0] = 1;
  }
}

/* Labels, targets, scale, digest and outputs of the samples of a side. */
static double side_bytes(const ntk_store_spec *spec, int64_t samples,
                         const ntk_data *data) {
  double bytes = 32 + 8 * (double)spec->network_outputs;
  if (data && data->labels == NTK_LABELS_TARGETS)
    bytes += 8 * (double)ntk_shape_size(&data->target_shape);
  return bytes * (double)samples;
}

int64_t ntk_store_file_bytes(const ntk_store_spec *spec) {
  const ntk_store_layout l = ntk_store_layout_of(spec);
  double bytes = (double)ntk_dtype_bytes(spec->dtype), tiles = 1;
  for (int i = 0; i < l.ndim; i++) {
    bytes *= (double)(l.tiles[i] * l.chunk[i]);
    tiles *= (double)l.tiles[i];
  }
  bytes += tiles * 9;
  const double group_bytes = bytes + group_metadata_bytes;
  bytes += tiles * (l.half ? 16 : 0);
  bytes += side_bytes(spec, spec->rows, spec->row_data);
  bytes += side_bytes(spec, spec->columns,
                      spec->column_data ? spec->column_data : spec->row_data);
  bytes += 16 * (double)spec->outputs + metadata_bytes;
  for (int i = 0; i < l.ndim; i++) /* scales of the marks */
    bytes += 8 * (double)l.tiles[i];
  bytes += spec->groups * group_bytes;
  if (spec->plan)
    bytes += (double)strlen(spec->plan);
  return bytes < 0x1p63 ? (int64_t)bytes : INT64_MAX;
}

int64_t ntk_store_tiles(const ntk_store_layout *l) {
  int64_t tiles = 1;
  for (int i = 0; i < l->ndim; i++)
    tiles *= l->tiles[i];
  return tiles;
}

int64_t ntk_store_tile_elements(const ntk_store_layout *l) {
  int64_t elements = 1;
  for (int i = 0; i < l->ndim; i++)
    elements *= l->chunk[i];
  return elements;
}

int64_t ntk_store_number(const ntk_store_layout *l, const ntk_tile *tile) {
  int64_t first[NTK_STORE_AXES], count[NTK_STORE_AXES], number = 0;
  ntk_store_box(l, tile, first, count);
  for (int i = 0; i < l->ndim; i++)
    number = number * l->tiles[i] + first[i] / l->chunk[i];
  return number;
}

/* The tile of a number in half a kernel; the first pairs are those of a block with itself.
 */
static ntk_tile tile_at(const ntk_store_layout *l, int64_t number) {
  int64_t own = tiles_before(l, 1), all = tiles_before(l, l->blocks), I, J, p = 0, q;
  const int64_t each = is_full(l) ? l->parts * l->parts : l->parts;
  const int64_t pair = number < all ? number / own : l->blocks + (number - all) / each;
  q = number - tiles_before(l, pair);
  ntk_pair_at(pair, l->blocks, &I, &J);
  if (!is_full(l))
    p = q;
  else if (I != J) {
    p = q / l->parts;
    q %= l->parts;
  } else
    for (; q > p; p++) /* column p has p + 1 tiles */
      q -= p + 1;
  return (ntk_tile){.row_first = I * l->block,
                    .row_count = least(l->block, l->samples - I * l->block),
                    .row_output = q * l->part,
                    .row_outputs = least(l->part, l->outputs - q * l->part),
                    .column_first = J * l->block,
                    .column_count = least(l->block, l->samples - J * l->block),
                    .column_output = p * l->part,
                    .column_outputs = least(l->part, l->outputs - p * l->part)};
}

ntk_tile ntk_store_tile_at(const ntk_store_layout *l, int64_t number) {
  if (l->half)
    return tile_at(l, number);
  ntk_tile t = {.row_outputs = 1, .column_outputs = 1};
  for (int i = l->ndim - 1; i >= 0; i--) {
    const int64_t first = number % l->tiles[i] * l->chunk[i];
    const int64_t count = least(l->chunk[i], l->dim[i] - first);
    const bool output = l->axis[i][0] == 'o', row = l->axis[i][6] == '1';
    *(output ? row ? &t.row_output : &t.column_output
      : row  ? &t.row_first
             : &t.column_first) = first;
    *(output ? row ? &t.row_outputs : &t.column_outputs
      : row  ? &t.row_count
             : &t.column_count) = count;
    number /= l->tiles[i];
  }
  return t;
}

void ntk_store_box_at(const ntk_store_layout *l, int64_t number,
                      int64_t first[NTK_STORE_AXES], int64_t count[NTK_STORE_AXES]) {
  const ntk_tile tile = ntk_store_tile_at(l, number);
  ntk_store_box(l, &tile, first, count);
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

/* In the format of HDF5 1.10 the chunks lie one behind the other and need no index; that of
 * the older one takes some 60 bytes a tile, in the memory of every rank too. The other
 * objects stay as any HDF5 reads them. */
static ntk_status make_tiles(const char *path, hid_t file, const char *prefix,
                             const ntk_store_layout *l, ntk_dtype dtype, hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  hid_t space = 0, create = 0, link = 0;
  hsize_t dim[NTK_STORE_AXES], chunk[NTK_STORE_AXES];
  char name[NTK_STORE_NAME];
  for (int i = 0; i < l->ndim; i++) {
    dim[i] = (hsize_t)l->dim[i];
    chunk[i] = (hsize_t)l->chunk[i];
  }
  NTK_OPEN_H5(path, space, H5Screate_simple(l->ndim, dim, NULL));
  NTK_OPEN_H5(path, link, H5Pcreate(H5P_LINK_CREATE));
  NTK_TRY_H5(path, H5Pset_create_intermediate_group(link, 1));
  NTK_OPEN_H5(path, create, H5Pcreate(H5P_DATASET_CREATE));
  NTK_TRY_H5(path, H5Pset_chunk(create, l->ndim, chunk));
  NTK_TRY_H5(path, H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY));
  NTK_TRY_H5(path, H5Pset_fill_time(create, H5D_FILL_TIME_NEVER));
  NTK_TRY_H5(path, H5Fset_libver_bounds(file, H5F_LIBVER_V110, H5F_LIBVER_LATEST));
  NTK_OPEN_H5(path, *out,
              H5Dcreate2(file, ntk_store_name(name, prefix, ntk_store_set(l)),
                         ntk_h5_type(dtype), space, link, create, H5P_DEFAULT));
  NTK_TRY_H5(path, H5Fset_libver_bounds(file, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST));
done:
  ntk_h5_close(&create);
  ntk_h5_close(&link);
  ntk_h5_close(&space);
  return status;
}

/* Row blocks of the tiles of half a kernel, in their order. */
static void list_tiles(const ntk_store_layout *l, int64_t *row, int64_t *column) {
  const int64_t n = l->blocks, parts = l->parts;
  int64_t I, J, k = 0;
  for (int64_t pair = 0; pair < n * (n + 1) / 2; pair++) {
    ntk_pair_at(pair, n, &I, &J);
    for (int64_t p = 0; p < parts; p++)
      for (int64_t q = is_full(l) ? 0 : p; q < (I == J || !is_full(l) ? p + 1 : parts);
           q++) {
        row[k] = I * parts + q;
        column[k++] = J * parts + p;
      }
  }
}

static ntk_status put_list(const char *path, hid_t file, const ntk_store_layout *l) {
  ntk_status status = NTK_SUCCESS;
  int64_t *row = NULL, *column = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, l->tiles[0], sizeof *row, &row));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, l->tiles[0], sizeof *column, &column));
  list_tiles(l, row, column);
  NTK_TRY(ntk_h5_put(path, file, "/half/row", NTK_I64, 1, l->tiles, row, NULL));
  NTK_TRY(ntk_h5_put(path, file, "/half/column", NTK_I64, 1, l->tiles, column, NULL));
done:
  ntk_free(&row);
  ntk_free(&column);
  return status;
}

/* ---- scales ---------------------------------------------------------------------------
 */

/* Rows of what has as many as there are samples, written at a time. */
enum { PIECE = 4096 };

/* The original indices along an axis, every `step`-th of them. */
static void scale_values(const ntk_store_spec *s, const char *axis, int64_t step,
                         int64_t first, int64_t n, int64_t *values) {
  const bool output = axis[0] == 'o';
  const bool row = axis[6] == '1';
  const ntk_data *data = row || !s->column_data ? s->row_data : s->column_data;
  for (int64_t k = 0, i = first * step; k < n; k++, i += step)
    values[k] = !output ? data->first + i : s->output_index ? s->output_index[i] : i;
}

static ntk_status put_scale(const char *path, hid_t group, const ntk_store_spec *s,
                            const char *axis, int64_t step, hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  int64_t values[PIECE];
  const int64_t all = axis[0] == 'o' ? s->outputs : axis[6] == '1' ? s->rows : s->columns;
  const int64_t count = (all + step - 1) / step;
  const char *words = axis[0] == 's'     ? "sample (index in the data set)"
                      : s->of_cotangents ? "cotangent"
                                         : "output";
  NTK_TRY(ntk_h5_put(path, group, axis, NTK_I64, 1, &count, NULL, out));
  for (int64_t i = 0; i < count; i += PIECE) {
    const int64_t n = least(PIECE, count - i);
    scale_values(s, axis, step, i, n, values);
    NTK_TRY(ntk_h5_write_box(path, *out, 1, &i, &n, NTK_I64, values));
  }
  NTK_TRY(ntk_h5_note(path, *out, "long_name", 1, &words));
  NTK_TRY_H5(path, H5DSset_scale(*out, axis));
done:
  return status;
}

enum { SCALES = 4 };
static const char *const axes[SCALES] = {"sample1", "output1", "sample2", "output2"};

/* Attaches a scale to the axes of that name; those of tiles on their own are no such axes.
 */
static ntk_status attach(const char *path, const ntk_store_layout *l, hid_t dataset,
                         hid_t scale, const char *axis) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < l->ndim && !l->half; i++)
    if (strcmp(l->axis[i], axis) == 0)
      NTK_TRY_H5(path, H5DSattach_scale(dataset, scale, (unsigned)i));
done:
  return status;
}

/* ---- marks ----------------------------------------------------------------------------
 */

ntk_status ntk_store_make_marks(const char *path, hid_t file, const char *prefix,
                                const ntk_store_spec *s, const ntk_store_layout *l) {
  ntk_status status = NTK_SUCCESS;
  hid_t group = 0, done_set = 0, checksum = 0, scale = 0;
  int64_t tiles = 1;
  char name[NTK_STORE_NAME];
  void *zeros = NULL;
  for (int i = 0; i < l->marks; i++)
    tiles *= l->tiles[i];
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, tiles, 8, &zeros));
  NTK_OPEN_H5(path, group,
              H5Gcreate2(file, ntk_store_name(name, prefix, "/tiles"), H5P_DEFAULT,
                         H5P_DEFAULT, H5P_DEFAULT));
  NTK_TRY(ntk_h5_put(path, group, "done", NTK_U8, l->marks, l->tiles, zeros, &done_set));
  NTK_TRY(
      ntk_h5_put(path, group, "checksum", NTK_U64, l->marks, l->tiles, zeros, &checksum));
  for (int i = 0; s && i < l->ndim && !l->half; i++) {
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

ntk_shape ntk_store_labels_shape(const ntk_data *data) {
  ntk_shape shape = {.ndim = 1, .dim = {data->samples}};
  for (int i = 0; data->labels == NTK_LABELS_TARGETS && i < data->target_shape.ndim; i++)
    shape.dim[shape.ndim++] = data->target_shape.dim[i];
  return shape;
}

static ntk_dtype labels_type(const ntk_data *data) {
  return data->labels == NTK_LABELS_CLASSES ? NTK_I64 : NTK_F64;
}

ntk_status ntk_store_fill_labels(const char *path, hid_t labels, const ntk_data *data) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = ntk_store_labels_shape(data);
  const ntk_dtype dtype = labels_type(data);
  int64_t first[NTK_MAX_DIMS] = {0}, count[NTK_MAX_DIMS];
  void *values = NULL;
  memcpy(count, shape.dim, sizeof count);
  count[0] = least(PIECE, data->samples);
  const int64_t each = ntk_shape_size(&shape) / data->samples;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, count[0] * each, ntk_dtype_bytes(dtype), &values));
  for (; first[0] < data->samples; first[0] += PIECE) {
    count[0] = least(PIECE, data->samples - first[0]);
    NTK_TRY(ntk_data_labels(data, first[0], count[0], values));
    NTK_TRY(ntk_h5_write_box(path, labels, shape.ndim, first, count, dtype, values));
  }
done:
  ntk_free(&values);
  return status;
}

ntk_status ntk_store_put_labels(const char *path, hid_t file, const char *name,
                                const ntk_data *data, hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = ntk_store_labels_shape(data);
  if (data->labels == NTK_LABELS_NONE)
    return NTK_SUCCESS;
  NTK_TRY(
      ntk_h5_put(path, file, name, labels_type(data), shape.ndim, shape.dim, NULL, out));
  NTK_TRY(ntk_store_fill_labels(path, *out, data));
done:
  return status;
}

/* outputs, labels and digests of one side; both sides of a symmetric kernel are there. */
static ntk_status put_side(const char *path, hid_t file, const ntk_store_spec *s, int side,
                           hid_t samples, hid_t outputs_scale) {
  static const char *const names[2][3] = {{"outputs1", "labels1", "digest1"},
                                          {"outputs2", "labels2", "digest2"}};
  ntk_status status = NTK_SUCCESS;
  hid_t outputs = 0, labels = 0;
  const ntk_data *data = side == 0 || !s->column_data ? s->row_data : s->column_data;
  const int64_t outputs_dim[2] = {data->samples, s->network_outputs};
  const int64_t digest_dim[2] = {data->samples, 2};
  const char *words = "network output";
  NTK_TRY(ntk_h5_put(path, file, names[side][0], s->dtype, 2, outputs_dim, NULL, &outputs));
  NTK_TRY(ntk_h5_note(path, outputs, "long_name", 1, &words));
  NTK_TRY_H5(path, H5DSattach_scale(outputs, samples, 0));
  if (!s->of_cotangents)
    NTK_TRY_H5(path, H5DSattach_scale(outputs, outputs_scale, 1));
  NTK_TRY(ntk_store_put_labels(path, file, names[side][1], data, &labels));
  if (labels)
    NTK_TRY_H5(path, H5DSattach_scale(labels, samples, 0));
  NTK_TRY(ntk_h5_put(path, file, names[side][2], NTK_U64, 2, digest_dim, NULL, NULL));
done:
  ntk_h5_close(&labels);
  ntk_h5_close(&outputs);
  return status;
}

static ntk_status put_scales(const char *path, hid_t file, const ntk_store_spec *s,
                             const ntk_store_layout *l, hid_t kernel) {
  ntk_status status = NTK_SUCCESS;
  hid_t scale[SCALES] = {0};
  for (int i = 0; i < SCALES; i++) {
    NTK_TRY(put_scale(path, file, s, axes[i], 1, &scale[i]));
    NTK_TRY(attach(path, l, kernel, scale[i], axes[i]));
  }
  NTK_TRY(put_side(path, file, s, 0, scale[0], scale[1]));
  NTK_TRY(put_side(path, file, s, 1, scale[2], scale[3]));
done:
  for (int i = 0; i < SCALES; i++)
    ntk_h5_close(&scale[i]);
  return status;
}

/* Tiles on their own are nothing to be plotted. */
static ntk_status put_signal(const char *path, hid_t group, const ntk_store_layout *l) {
  return l->half ? NTK_SUCCESS : ntk_h5_note_plot(path, group, "kernel", l->ndim, l->axis);
}

static ntk_status put_notes(const char *path, hid_t file, const ntk_store_spec *s,
                            const ntk_store_layout *l) {
  static const char *const reductions[] = {"none", "trace", "diagonal", "pseudo"};
  ntk_status status = NTK_SUCCESS;
  const char *format = "scantk-kernel 1";
  static const char *const facts[] = {"seconds", "gflops", "gemm_gflops"};
  const uint8_t complete = 0, symmetric = s->symmetric;
  const double unknown = 0;
  NTK_TRY(ntk_h5_note(path, file, "format", 1, &format));
  NTK_TRY(put_signal(path, file, l));
  NTK_TRY(ntk_h5_note(path, file, "reduction", 1, &reductions[s->reduction]));
  NTK_TRY(ntk_h5_note_number(path, file, "symmetric", NTK_U8, &symmetric));
  NTK_TRY(ntk_h5_note_number(path, file, "complete", NTK_U8, &complete));
  if (s->combined > 0)
    NTK_TRY(ntk_h5_note_number(path, file, "combined", NTK_I64, &s->combined));
  for (int i = 0; i < 3; i++) /* filled at the end, where nothing may grow */
    NTK_TRY(ntk_h5_note_number(path, file, facts[i], NTK_F64, &unknown));
done:
  return status;
}

/* A group is plotted with the file's own scales, which have to stand in it. */
static ntk_status put_group_signal(const char *path, hid_t file, const char *prefix,
                                   const ntk_store_layout *l) {
  ntk_status status = NTK_SUCCESS;
  hid_t group = 0;
  NTK_OPEN_H5(path, group, H5Gopen2(file, prefix, H5P_DEFAULT));
  NTK_TRY(put_signal(path, group, l));
  for (int i = 0; i < l->ndim && !l->half; i++)
    NTK_TRY_H5(path, H5Lcreate_hard(file, l->axis[i], group, l->axis[i], H5P_DEFAULT,
                                    H5P_DEFAULT));
done:
  ntk_h5_close(&group);
  return status;
}

/* All that a group's kernel has of its own. */
static ntk_status fill_group(const char *path, hid_t file, const ntk_store_spec *spec,
                             const ntk_store_layout *l, int group) {
  ntk_status status = NTK_SUCCESS;
  const char *words = "neural tangent kernel of a group of parameters";
  char prefix[NTK_STORE_NAME];
  hid_t kernel = 0, scale = 0;
  ntk_store_prefix(prefix, spec, group + 1);
  NTK_TRY(make_tiles(path, file, prefix, l, spec->dtype, &kernel));
  NTK_TRY(ntk_h5_note(path, kernel, "long_name", 1, &words));
  for (int i = 0; i < SCALES; i++) {
    NTK_OPEN_H5(path, scale, H5Dopen2(file, axes[i], H5P_DEFAULT));
    NTK_TRY(attach(path, l, kernel, scale, axes[i]));
    ntk_h5_close(&scale);
  }
  NTK_TRY(put_group_signal(path, file, prefix, l));
  NTK_TRY(ntk_store_make_marks(path, file, prefix, spec, l));
done:
  ntk_h5_close(&scale);
  ntk_h5_close(&kernel);
  return status;
}

/* Texts of about the same length take the same room. */
static const int64_t unit = 2048;

static ntk_status fill(const char *path, hid_t file, const ntk_store_spec *spec) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout l = ntk_store_layout_of(spec);
  const char *words =
      l.half ? "tiles of the neural tangent kernel" : "neural tangent kernel";
  hid_t kernel = 0;
  NTK_TRY(make_tiles(path, file, "", &l, spec->dtype, &kernel));
  NTK_TRY(ntk_h5_note(path, kernel, "long_name", 1, &words));
  if (l.half)
    NTK_TRY(put_list(path, file, &l));
  NTK_TRY(put_notes(path, file, spec, &l));
  NTK_TRY(put_scales(path, file, spec, &l, kernel));
  NTK_TRY(ntk_store_make_marks(path, file, "", spec, &l));
  for (int g = 0; g < spec->groups; g++)
    NTK_TRY(fill_group(path, file, spec, &l, g));
  NTK_TRY(ntk_h5_put_text(path, file, "/plan", spec->plan, 0));
  NTK_TRY(
      ntk_h5_put_text(path, file, "/provenance", spec->provenance, spec->provenance_room));
  NTK_TRY(ntk_h5_put_text(path, file, "/identity", spec->identity,
                          (int64_t)(strlen(spec->identity) / unit + 1) * unit));
  NTK_TRY_H5(path, H5Fflush(file, H5F_SCOPE_GLOBAL));
done:
  ntk_h5_close(&kernel);
  return status;
}

static ntk_status check_spec(const ntk_store_spec *spec) {
  const ntk_store_layout l = ntk_store_layout_of(spec);
  return check_tile(spec->path, &l, spec->dtype);
}

ntk_status ntk_store_lay_out(const char *path, const ntk_store_spec *spec) {
  ntk_status status = NTK_SUCCESS;
  hid_t file = 0;
  NTK_TRY(check_spec(spec));
  NTK_TRY(ntk_h5_create(path, ntk_store_file_bytes(spec), &file));
  NTK_TRY(fill(path, file, spec));
done:
  ntk_h5_close(&file);
  return status;
}

ntk_status ntk_store_measure(const ntk_store_spec *spec, int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  const char *folder = getenv("TMPDIR");
  char path[1024];
  struct stat found;
  hid_t file = 0;
  const int length = snprintf(path, sizeof path, "%s/scantk-plan-XXXXXX",
                              folder && *folder ? folder : "/tmp");
  const int empty = length < (int)sizeof path ? mkstemp(path) : -1;
  NTK_REQUIRE(empty >= 0, NTK_ERR_FILE, "%s: no file can be made: %s", path,
              strerror(errno));
  (void)close(empty);
  NTK_TRY(check_spec(spec));
  NTK_TRY(ntk_h5_create_sparse(path, ntk_store_file_bytes(spec), &file));
  NTK_TRY(fill(path, file, spec));
  ntk_h5_close(&file);
  NTK_REQUIRE(stat(path, &found) == 0, NTK_ERR_FILE, "%s: %s", path, strerror(errno));
  *bytes = found.st_size;
done:
  ntk_h5_close(&file);
  if (empty >= 0)
    (void)unlink(path);
  return status;
}

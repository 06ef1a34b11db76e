/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/text.h"
#include "dist/grid.h"
#include "io/source.h"
#include "io/store_parts.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- opening ------------------------------------------------------------------------- */

/* OUTPUT.part where there is no OUTPUT. */
static ntk_status find_file(const char *path, char **found) {
  ntk_status status = NTK_SUCCESS;
  ntk_text part = {0};
  NTK_TRY(ntk_text_add(&part, "%s.part", path));
  const bool unfinished = access(path, F_OK) != 0 && access(part.data, F_OK) == 0;
  NTK_TRY(ntk_strdup(unfinished ? part.data : path, found));
done:
  ntk_text_clear(&part);
  return status;
}

ntk_status ntk_store_find(const char *path, char **found) {
  ntk_status status = NTK_SUCCESS;
  char *name = NULL;
  NTK_TRY(find_file(path, &name));
  *found = NULL;
  if (access(name, F_OK) == 0) {
    *found = name;
    name = NULL;
  }
done:
  ntk_free(&name);
  return status;
}

static bool has_sets(const char *path, bool of_kernel) {
  char *found = NULL;
  hid_t file = H5I_INVALID_HID;
  bool good = false;
  if (find_file(path, &found) == NTK_SUCCESS && ntk_hdf5_is(found)) {
    H5E_BEGIN_TRY { file = H5Fopen(found, H5F_ACC_RDONLY, H5P_DEFAULT); }
    H5E_END_TRY;
    good = file > 0 && ntk_h5_has(file, "/tiles") &&
           (!of_kernel || ntk_h5_has(file, "/kernel") || ntk_h5_has(file, "/half"));
  }
  ntk_h5_close(&file);
  ntk_free(&found);
  return good;
}

bool ntk_store_is(const char *path) { return has_sets(path, true); }

bool ntk_store_has_tiles(const char *path) { return has_sets(path, false); }

static ntk_status open_file(const char *path, char **found, hid_t *file) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(find_file(path, found));
  NTK_OPEN_H5(*found, *file, H5Fopen(*found, H5F_ACC_RDONLY, H5P_DEFAULT));
done:
  return status;
}

ntk_status ntk_store_read_plan(const char *path, char **text) {
  return ntk_store_read_text(path, "/plan", text);
}

ntk_status ntk_store_read_text(const char *path, const char *name, char **text) {
  ntk_status status = NTK_SUCCESS;
  char *found = NULL;
  hid_t file = 0;
  NTK_TRY(open_file(path, &found, &file));
  NTK_REQUIRE(ntk_h5_has(file, name), NTK_ERR_FORMAT,
              "%s: no kernel file of this version: it has no %s", found, name);
  NTK_TRY(ntk_h5_get_text(found, file, name, text));
done:
  ntk_h5_close(&file);
  ntk_free(&found);
  return status;
}

/* Sizes and chunks of the data set of tiles. */
static ntk_status read_axes(const ntk_kernel_file *f, int *ndim, hsize_t *dim,
                            hsize_t *chunk) {
  ntk_status status = NTK_SUCCESS;
  hid_t space = 0, create = 0;
  const int all = NTK_STORE_AXES - !f->facts.half;
  NTK_OPEN_H5(f->path, space, H5Dget_space(f->kernel));
  NTK_OPEN_H5(f->path, create, H5Dget_create_plist(f->kernel));
  *ndim = H5Sget_simple_extent_ndims(space);
  NTK_REQUIRE(*ndim >= all - 2 && *ndim <= all && H5Pget_layout(create) == H5D_CHUNKED,
              NTK_ERR_FORMAT, "%s: the kernel is not in tiles", f->path);
  NTK_TRY_H5(f->path, H5Sget_simple_extent_dims(space, dim, NULL));
  NTK_TRY_H5(f->path, H5Pget_chunk(create, *ndim, chunk));
done:
  ntk_h5_close(&create);
  ntk_h5_close(&space);
  return status;
}

/* Length of a scale. */
static ntk_status read_length(const ntk_kernel_file *f, const char *name, int64_t *length) {
  ntk_status status = NTK_SUCCESS;
  hid_t scale = 0, space = 0;
  NTK_OPEN_H5(f->path, scale, H5Dopen2(f->file, name, H5P_DEFAULT));
  NTK_OPEN_H5(f->path, space, H5Dget_space(scale));
  *length = H5Sget_simple_extent_npoints(space);
  NTK_REQUIRE(*length > 0, NTK_ERR_FORMAT, "%s: %s is empty", f->path, name);
done:
  ntk_h5_close(&space);
  ntk_h5_close(&scale);
  return status;
}

/* What the file was laid out from; the layout follows. */
static ntk_status read_layout(ntk_kernel_file *f) {
  ntk_status status = NTK_SUCCESS;
  hsize_t dim[NTK_STORE_AXES] = {0}, chunk[NTK_STORE_AXES] = {0};
  ntk_kernel_facts *k = &f->facts;
  int ndim = 0;
  NTK_TRY(read_axes(f, &ndim, dim, chunk));
  NTK_TRY(read_length(f, "/sample1", &k->rows));
  NTK_TRY(read_length(f, "/sample2", &k->columns));
  NTK_TRY(read_length(f, "/output1", &k->outputs));
  const int axes = ndim - k->half, samples = k->half + (axes == 3);
  const int64_t row = (int64_t)chunk[samples],
                column = (int64_t)chunk[ndim - (axes == 4) - 1];
  if (axes >= 3)
    k->reduction = axes == 4 ? NTK_REDUCE_NONE : NTK_REDUCE_DIAGONAL;
  else
    k->reduction = strcmp(f->reduction, "pseudo") ? NTK_REDUCE_TRACE : NTK_REDUCE_PSEUDO;
  ntk_store_spec spec = {.reduction = k->reduction,
                         .half = k->half,
                         .rows = k->rows,
                         .columns = k->columns,
                         .outputs = k->outputs,
                         .block = most(row, column), /* the smaller one is a whole side */
                         .outputs_block = axes == 4   ? (int64_t)chunk[samples + 1]
                                          : axes == 3 ? (int64_t)chunk[k->half]
                                                      : k->outputs};
  f->layout = ntk_store_layout_of(&spec);
  for (int i = 0; i < ndim; i++)
    NTK_REQUIRE(f->layout.ndim == ndim && f->layout.dim[i] == (int64_t)dim[i] &&
                    f->layout.chunk[i] == (int64_t)chunk[i],
                NTK_ERR_FORMAT, "%s: the tiles do not fit the scales", f->path);
  k->block = least(spec.block, most(k->rows, k->columns));
  k->part = f->layout.part;
  k->tiles = ntk_store_tiles(&f->layout);
  k->matrices = k->reduction == NTK_REDUCE_DIAGONAL ? k->outputs : 1;
  k->per_sample = k->reduction == NTK_REDUCE_NONE ? k->outputs : 1;
done:
  return status;
}

ntk_status ntk_kernel_open_set(const ntk_kernel_file *f, const char *name, hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  char buffer[NTK_STORE_NAME];
  NTK_OPEN_H5(f->path, *out,
              H5Dopen2(f->file, ntk_store_name(buffer, f->prefix, name), H5P_DEFAULT));
done:
  return status;
}

static ntk_status count_done(ntk_kernel_file *f) {
  ntk_status status = NTK_SUCCESS;
  const int64_t zero[NTK_STORE_AXES] = {0};
  uint8_t *marks = NULL;
  hid_t dataset = 0;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, f->facts.tiles, 1, &marks));
  NTK_TRY(ntk_kernel_open_set(f, "/tiles/done", &dataset));
  NTK_TRY(ntk_h5_read_box(f->path, dataset, f->layout.marks, zero, f->layout.tiles, NTK_U8,
                          marks));
  for (int64_t i = 0; i < f->facts.tiles; i++)
    f->facts.done += marks[i];
done:
  ntk_h5_close(&dataset);
  ntk_free(&marks);
  return status;
}

static ntk_status find_kernel(ntk_kernel_file *f, const char *group) {
  ntk_status status = NTK_SUCCESS;
  uint8_t symmetric, complete;
  if (group) {
    const int length = snprintf(f->prefix, sizeof f->prefix, "/groups/%s", group);
    NTK_REQUIRE(length < (int)sizeof f->prefix && ntk_h5_has(f->file, "/groups") &&
                    ntk_h5_has(f->file, f->prefix),
                NTK_ERR_FORMAT, "%s: no kernel of a group %s", f->path, group);
    f->facts.group = f->prefix + strlen("/groups/");
  }
  f->facts.half = ntk_h5_has(f->file, "/half");
  NTK_REQUIRE(ntk_h5_has(f->file, "/tiles") &&
                  (f->facts.half || ntk_h5_has(f->file, "/kernel")) &&
                  ntk_h5_get_number(f->file, "symmetric", NTK_U8, &symmetric) &&
                  ntk_h5_get_number(f->file, "complete", NTK_U8, &complete),
              NTK_ERR_FORMAT, "%s: not a kernel file of this program", f->path);
  f->facts.symmetric = symmetric;
  f->facts.complete = complete;
  NTK_TRY(ntk_kernel_open_set(f, f->facts.half ? "/half/tiles" : "/kernel", &f->kernel));
  NTK_TRY(ntk_h5_dtype(f->path, f->kernel, &f->facts.dtype));
  NTK_REQUIRE(ntk_dtype_is_real(f->facts.dtype), NTK_ERR_FORMAT,
              "%s: the kernel is not of real numbers", f->path);
  NTK_TRY(
      ntk_h5_get_note(f->path, f->file, "reduction", f->reduction, sizeof f->reduction));
done:
  return status;
}

ntk_status ntk_kernel_open(const char *path, const char *group, ntk_kernel_file **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_kernel_file *f = NULL;
  ntk_shape shape;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *f, &f));
  NTK_TRY(find_file(path, &f->path));
  NTK_REQUIRE(access(f->path, R_OK) == 0, NTK_ERR_FILE, "%s: no such file, or not readable",
              path);
  NTK_REQUIRE(ntk_hdf5_is(f->path), NTK_ERR_FORMAT,
              "%s: not a kernel file (HDF5): `scantk info` says what it is", f->path);
  NTK_OPEN_H5(f->path, f->file, H5Fopen(f->path, H5F_ACC_RDONLY, H5P_DEFAULT));
  f->facts.path = f->path;
  NTK_TRY(find_kernel(f, group));
  NTK_TRY(read_layout(f));
  NTK_TRY(count_done(f));
  NTK_TRY(ntk_kernel_side_shape(f, "outputs", 0, &shape));
  f->facts.network_outputs = shape.ndim == 2 ? shape.dim[1] : 0;
  *out = f;
  f = NULL;
done:
  ntk_kernel_close(&f);
  return status;
}

void ntk_kernel_close(ntk_kernel_file **file) {
  if (!*file)
    return;
  ntk_h5_close(&(*file)->kernel);
  ntk_h5_close(&(*file)->file);
  ntk_free(&(*file)->path);
  ntk_free(file);
}

const ntk_kernel_facts *ntk_kernel_get_facts(const ntk_kernel_file *file) {
  return &file->facts;
}

ntk_status ntk_kernel_require_complete(const ntk_kernel_file *file) {
  const ntk_kernel_facts *k = &file->facts;
  if (k->complete && k->done == k->tiles)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_FILE,
                  "%s: %" PRId64 " of %" PRId64 " tiles are missing; finish them with the "
                  "command that made it and --resume",
                  k->path, k->tiles - k->done, k->tiles);
}

/* ---- what stands beside the kernel ----------------------------------------------------
 */

static void side_name(char buffer[NTK_STORE_NAME], const char *name, int side) {
  snprintf(buffer, NTK_STORE_NAME, "/%s%d", name, side + 1);
}

/* *out stays 0 where there is none. */
static ntk_status open_side(const ntk_kernel_file *file, const char *name, int side,
                            hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  char buffer[NTK_STORE_NAME];
  side_name(buffer, name, side);
  if (ntk_h5_has(file->file, buffer))
    NTK_OPEN_H5(file->path, *out, H5Dopen2(file->file, buffer, H5P_DEFAULT));
done:
  return status;
}

ntk_status ntk_kernel_side_shape(const ntk_kernel_file *file, const char *name, int side,
                                 ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  hid_t dataset = 0;
  *shape = (ntk_shape){0};
  NTK_TRY(open_side(file, name, side, &dataset));
  if (dataset > 0)
    NTK_TRY(ntk_h5_shape(file->path, dataset, shape));
done:
  ntk_h5_close(&dataset);
  return status;
}

ntk_status ntk_kernel_side_dtype(const ntk_kernel_file *file, const char *name, int side,
                                 ntk_dtype *dtype) {
  ntk_status status = NTK_SUCCESS;
  hid_t dataset = 0;
  NTK_TRY(open_side(file, name, side, &dataset));
  if (dataset > 0)
    NTK_TRY(ntk_h5_dtype(file->path, dataset, dtype));
done:
  ntk_h5_close(&dataset);
  return status;
}

ntk_status ntk_kernel_read_side(const ntk_kernel_file *file, const char *name, int side,
                                int64_t first, int64_t count, ntk_dtype dtype,
                                void *values) {
  ntk_status status = NTK_SUCCESS;
  char buffer[NTK_STORE_NAME];
  hid_t dataset = 0;
  ntk_shape shape;
  int64_t at[NTK_MAX_DIMS] = {first};
  NTK_TRY(ntk_kernel_side_shape(file, name, side, &shape));
  side_name(buffer, name, side);
  NTK_REQUIRE(shape.ndim > 0 && first + count <= shape.dim[0], NTK_ERR_FORMAT,
              "%s: no %s of %" PRId64 " rows", file->path, buffer, first + count);
  shape.dim[0] = count;
  NTK_OPEN_H5(file->path, dataset, H5Dopen2(file->file, buffer, H5P_DEFAULT));
  NTK_TRY(ntk_h5_read_box(file->path, dataset, shape.ndim, at, shape.dim, dtype, values));
done:
  ntk_h5_close(&dataset);
  return status;
}

bool ntk_kernel_number(const ntk_kernel_file *file, const char *name, double *value) {
  return ntk_h5_get_number(file->file, name, NTK_F64, value);
}

/* ---- entries --------------------------------------------------------------------------
 */

/* A box as four axes (sample1, output1, sample2, output2), whatever the reduction; values
 * of a diagonal kernel stand as [output1, sample1, sample2]. */
typedef struct box4 {
  int64_t first[4], count[4];
} box4;

static box4 axes_of(const ntk_kernel_facts *k, const ntk_tile *t) {
  box4 b = {{t->row_first, t->row_output, t->column_first, t->column_output},
            {t->row_count, t->row_outputs, t->column_count, t->column_outputs}};
  if (k->reduction != NTK_REDUCE_NONE) {
    b.first[3] = 0;
    b.count[3] = 1;
    if (k->reduction != NTK_REDUCE_DIAGONAL) {
      b.first[1] = 0;
      b.count[1] = 1;
    }
  }
  return b;
}

static void strides_of(const ntk_kernel_facts *k, const box4 *b, int64_t stride[4]) {
  const int64_t plane = b->count[0] * b->count[2];
  stride[3] = 1;
  stride[2] = b->count[3];
  stride[1] = k->reduction == NTK_REDUCE_DIAGONAL ? plane : b->count[2] * b->count[3];
  stride[0] = k->reduction == NTK_REDUCE_DIAGONAL ? b->count[2]
                                                  : b->count[1] * b->count[2] * b->count[3];
}

int64_t ntk_kernel_most(const ntk_kernel_facts *k) {
  const ntk_tile box = {.row_count = least(k->block, k->rows),
                        .row_outputs = k->part,
                        .column_count = least(k->block, k->columns),
                        .column_outputs = k->part};
  return ntk_kernel_box_size(k, &box);
}

int64_t ntk_kernel_box_size(const ntk_kernel_facts *facts, const ntk_tile *box) {
  const box4 b = axes_of(facts, box);
  return b.count[0] * b.count[1] * b.count[2] * b.count[3];
}

ntk_kernel_view ntk_kernel_view_of(const ntk_kernel_facts *k, const ntk_tile *t) {
  const box4 b = axes_of(k, t);
  const bool planes = k->reduction == NTK_REDUCE_DIAGONAL;
  const int64_t outputs[2] = {planes ? 1 : b.count[1], planes ? 1 : b.count[3]};
  return (ntk_kernel_view){
      .plane = planes ? b.first[1] : 0,
      .planes = planes ? b.count[1] : 1,
      .rows = b.count[0] * outputs[0],
      .columns = b.count[2] * outputs[1],
      .first = {b.first[0] * k->per_sample, b.first[2] * k->per_sample},
      .output = {planes ? 0 : b.first[1], planes ? 0 : b.first[3]},
      .outputs = {outputs[0], outputs[1]},
      .per_sample = k->per_sample};
}

/* What tile (I, q; J, p) covers; p is q in a diagonal kernel. */
static ntk_tile tile_of(const ntk_kernel_file *f, int64_t I, int64_t q, int64_t J,
                        int64_t p) {
  const ntk_store_layout *l = &f->layout;
  const ntk_kernel_facts *k = &f->facts;
  const bool plain = k->reduction == NTK_REDUCE_TRACE || k->reduction == NTK_REDUCE_PSEUDO;
  const int64_t outputs = plain ? 1 : k->outputs;
  return (ntk_tile){.row_first = I * l->block,
                    .row_count = least(l->block, k->rows - I * l->block),
                    .row_output = q * l->part,
                    .row_outputs = least(l->part, outputs - q * l->part),
                    .column_first = J * l->block,
                    .column_count = least(l->block, k->columns - J * l->block),
                    .column_output = p * l->part,
                    .column_outputs = least(l->part, outputs - p * l->part)};
}

ntk_tile ntk_kernel_transpose(const ntk_tile *t) {
  return (ntk_tile){t->column_first, t->column_count, t->column_output, t->column_outputs,
                    t->row_first,    t->row_count,    t->row_output,    t->row_outputs};
}

bool ntk_kernel_is_diagonal(const ntk_tile *t) {
  return t->row_first == t->column_first && t->row_output == t->column_output;
}

static ntk_status read_stored(const ntk_kernel_file *f, const ntk_tile *box,
                              double *values) {
  int64_t first[NTK_STORE_AXES], count[NTK_STORE_AXES];
  ntk_store_box(&f->layout, box, first, count);
  return ntk_h5_read_box(f->path, f->kernel, f->layout.ndim, first, count, NTK_F64, values);
}

/* The part of `values`, those of `from`, or of the transpose of `from`, that is in `to`. */
static void copy_common(const ntk_kernel_facts *k, const ntk_tile *from, bool transposed,
                        const double *values, const ntk_tile *to, double *out) {
  const box4 a = axes_of(k, from), b = axes_of(k, to);
  const bool swap = transposed && k->reduction != NTK_REDUCE_DIAGONAL;
  int64_t as[4], bs[4], low[4], high[4], axis[4] = {0, 1, 2, 3};
  strides_of(k, &a, as);
  strides_of(k, &b, bs);
  if (transposed) { /* axis[i] of what is stored is axis i of what is wanted */
    axis[0] = 2;
    axis[2] = 0;
    axis[1] = swap ? 3 : 1;
    axis[3] = swap ? 1 : 3;
  }
  for (int i = 0; i < 4; i++) {
    low[i] = most(a.first[axis[i]], b.first[i]);
    high[i] = least(a.first[axis[i]] + a.count[axis[i]], b.first[i] + b.count[i]);
  }
  for (int64_t n = low[0]; n < high[0]; n++)
    for (int64_t o = low[1]; o < high[1]; o++)
      for (int64_t m = low[2]; m < high[2]; m++)
        for (int64_t p = low[3]; p < high[3]; p++) {
          const int64_t at[4] = {n, o, m, p};
          int64_t source = 0, target = 0;
          for (int i = 0; i < 4; i++) {
            source += (at[i] - a.first[axis[i]]) * as[axis[i]];
            target += (at[i] - b.first[i]) * bs[i];
          }
          out[target] = values[source];
        }
}

/* What two boxes have in common. */
static ntk_tile common_of(const ntk_kernel_facts *k, const ntk_tile *one,
                          const ntk_tile *other) {
  const box4 a = axes_of(k, one), b = axes_of(k, other);
  box4 c;
  for (int i = 0; i < 4; i++) {
    c.first[i] = most(a.first[i], b.first[i]);
    c.count[i] = least(a.first[i] + a.count[i], b.first[i] + b.count[i]) - c.first[i];
  }
  const int column = k->reduction == NTK_REDUCE_DIAGONAL ? 1 : 3;
  return (ntk_tile){c.first[0], c.count[0], c.first[1],      c.count[1],
                    c.first[2], c.count[2], c.first[column], c.count[column]};
}

/* A part of a tile of half a kernel. */
static ntk_status read_part(const ntk_kernel_file *f, const ntk_tile *stored,
                            const ntk_tile *part, double *values) {
  const ntk_store_layout *l = &f->layout;
  int64_t first[NTK_STORE_AXES], count[NTK_STORE_AXES];
  ntk_store_box(l, stored, first, count);
  for (int i = 1; i < l->ndim; i++) {
    const bool output = l->axis[i][0] == 'o', row = l->axis[i][6] == '1';
    first[i] = output ? row ? part->row_output - stored->row_output
                            : part->column_output - stored->column_output
               : row  ? part->row_first - stored->row_first
                      : part->column_first - stored->column_first;
    count[i] = output ? row ? part->row_outputs : part->column_outputs
               : row  ? part->row_count
                      : part->column_count;
  }
  return ntk_h5_read_box(f->path, f->kernel, l->ndim, first, count, NTK_F64, values);
}

/* Of half a kernel: tile after tile. */
static ntk_status read_half(const ntk_kernel_file *f, const ntk_tile *box, double *values) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout *l = &f->layout;
  const box4 b = axes_of(&f->facts, box);
  const bool diagonal = f->facts.reduction == NTK_REDUCE_DIAGONAL;
  int64_t first[4], last[4];
  double *tile = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, l->block * l->block * l->part * l->part,
                     sizeof *tile, &tile));
  for (int i = 0; i < 4; i++) {
    const int64_t size = i % 2 ? l->part : l->block;
    first[i] = b.first[i] / size;
    last[i] = (b.first[i] + b.count[i] - 1) / size;
  }
  for (int64_t I = first[0]; I <= last[0]; I++)
    for (int64_t J = first[2]; J <= last[2]; J++)
      for (int64_t q = first[1]; q <= last[1]; q++)
        for (int64_t p = diagonal ? q : first[3]; p <= (diagonal ? q : last[3]); p++) {
          const ntk_tile wanted = tile_of(f, I, q, J, p);
          const bool held = ntk_store_holds(l, &wanted);
          const ntk_tile stored = held ? wanted : ntk_kernel_transpose(&wanted);
          const ntk_tile common = common_of(&f->facts, &wanted, box);
          const ntk_tile part = held ? common : ntk_kernel_transpose(&common);
          NTK_TRY(read_part(f, &stored, &part, tile));
          copy_common(&f->facts, &part, !held, tile, box, values);
        }
done:
  ntk_free(&tile);
  return status;
}

/* Is it one tile that the file holds? */
static bool is_stored(const ntk_kernel_file *f, const ntk_tile *box) {
  const ntk_store_layout *l = &f->layout;
  const ntk_tile t = tile_of(f, box->row_first / l->block, box->row_output / l->part,
                             box->column_first / l->block, box->column_output / l->part);
  return memcmp(&t, box, sizeof t) == 0 && ntk_store_holds(l, box);
}

ntk_status ntk_kernel_read(const ntk_kernel_file *file, const ntk_tile *box,
                           double *values) {
  return file->layout.half && !is_stored(file, box) ? read_half(file, box, values)
                                                    : read_stored(file, box, values);
}

/* ---- the tiles that have to be read ----------------------------------------------------
 */

/* A symmetric kernel is read as half of it would be. */
static ntk_store_layout boxes_of(const ntk_kernel_file *f) {
  const ntk_kernel_facts *k = &f->facts;
  const ntk_store_spec spec = {.reduction = k->reduction,
                               .half = k->symmetric,
                               .rows = k->rows,
                               .columns = k->columns,
                               .outputs = k->outputs,
                               .block = f->layout.block,
                               .outputs_block = f->layout.part};
  return ntk_store_layout_of(&spec);
}

int64_t ntk_kernel_boxes(const ntk_kernel_file *file) {
  const ntk_store_layout l = boxes_of(file);
  return ntk_store_tiles(&l);
}

ntk_tile ntk_kernel_box(const ntk_kernel_file *file, int64_t number) {
  const ntk_store_layout l = boxes_of(file);
  return ntk_store_tile_at(&l, number);
}

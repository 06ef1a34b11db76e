/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel as others read it: its elements stand in one piece in the file, at a place that
 * is known once the rest is written, and every rank writes its part there by itself. */
#define _DEFAULT_SOURCE
#include "base/memory.h"
#include "base/options.h"
#include "io/npy.h"
#include "io/store_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <hdf5_hl.h>
#include <scantk/kernel.h>
#include <string.h>
#include <unistd.h>

/* Elements that are read at a time, about. */
static const int64_t most_elements = (int64_t)1 << 22;
enum { ROWS = 4096 }; /* of what stands beside the kernel */

typedef enum layout { NOMP, NMOP, MATRIX } layout;

typedef struct exporter {
  ntk_context *context;
  ntk_kernel_file *file;
  const ntk_kernel_facts *facts;
  layout layout;
  ntk_shape shape;
  const char *axis[4]; /* names of the axes, where each has one */
  char *fresh;         /* the file on its way */
  int64_t start;       /* of the elements */
  int descriptor;
  /* pieces: `samples` rows, or `parts` outputs (nmop: columns) of one row */
  int64_t samples, parts, outputs;
  double *values;
  char *out; /* the same in the file's order and type */
} exporter;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t pieces_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

static bool is_diagonal(const exporter *e) {
  return e->facts->reduction == NTK_REDUCE_DIAGONAL;
}

/* ---- shape ----------------------------------------------------------------------------
 */

static void add_axis(exporter *e, const char *name, int64_t size) {
  e->axis[e->shape.ndim] = name;
  e->shape.dim[e->shape.ndim++] = size;
}

static void set_shape(exporter *e) {
  const ntk_kernel_facts *k = e->facts;
  const bool full = k->reduction == NTK_REDUCE_NONE;
  if (e->layout == MATRIX) {
    add_axis(e, NULL, k->rows * k->per_sample);
    add_axis(e, NULL, k->columns * k->per_sample);
    return;
  }
  if (is_diagonal(e) && e->layout == NOMP)
    add_axis(e, "output1", k->outputs);
  add_axis(e, "sample1", k->rows);
  if (full && e->layout == NOMP)
    add_axis(e, "output1", k->outputs);
  add_axis(e, "sample2", k->columns);
  if ((full || is_diagonal(e)) && e->layout == NMOP)
    add_axis(e, "output1", k->outputs);
  if (full)
    add_axis(e, "output2", k->outputs);
}

/* How much is read at a time: whole tiles where they fit. */
static void set_pieces(exporter *e) {
  const ntk_kernel_facts *k = e->facts;
  e->outputs = is_diagonal(e) ? k->outputs : k->per_sample;
  const int64_t row = k->columns * k->per_sample * e->outputs;
  const int64_t parts = e->layout == NMOP ? k->columns : e->outputs;
  e->samples = most(1, least(k->block, most_elements / row));
  e->parts = row <= most_elements ? parts : most(1, most_elements / (row / parts));
}

/* ---- what stands before the elements --------------------------------------------------
 */

static ntk_status start_npy(exporter *e) {
  ntk_status status = NTK_SUCCESS;
  char text[1024];
  e->start = ntk_npy_write(e->facts->dtype, &e->shape, text);
  const int file = open(e->fresh, O_CREAT | O_TRUNC | O_WRONLY, 0666);
  NTK_REQUIRE(file >= 0 && write(file, text, (size_t)e->start) == e->start, NTK_ERR_FILE,
              "%s: cannot be written: %s", e->fresh, strerror(errno));
done:
  if (file >= 0)
    (void)close(file);
  return status;
}

/* A side's numbers, outputs or labels, where the kernel file has them. */
static ntk_status copy_side(const exporter *e, hid_t file, const char *name, int side) {
  ntk_status status = NTK_SUCCESS;
  char buffer[NTK_STORE_NAME];
  ntk_shape shape;
  ntk_dtype dtype = NTK_F64;
  void *values = NULL;
  hid_t copy = 0;
  int64_t at[NTK_MAX_DIMS] = {0};
  NTK_TRY(ntk_kernel_side_shape(e->file, name, side, &shape));
  NTK_TRY(ntk_kernel_side_dtype(e->file, name, side, &dtype));
  if (shape.ndim == 0)
    goto done;
  const int64_t all = shape.dim[0], each = ntk_shape_size(&shape) / all;
  (void)snprintf(buffer, sizeof buffer, "%s%d", name, side + 1);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, least(ROWS, all) * each, ntk_dtype_bytes(dtype),
                     &values));
  NTK_TRY(ntk_h5_put(e->fresh, file, buffer, dtype, shape.ndim, shape.dim, NULL, &copy));
  for (; at[0] < all; at[0] += ROWS) {
    shape.dim[0] = least(ROWS, all - at[0]);
    NTK_TRY(ntk_kernel_read_side(e->file, name, side, at[0], shape.dim[0], dtype, values));
    NTK_TRY(ntk_h5_write_box(e->fresh, copy, shape.ndim, at, shape.dim, dtype, values));
  }
  if (strcmp(name, "sample") == 0 || strcmp(name, "output") == 0)
    NTK_TRY_H5(e->fresh, H5DSset_scale(copy, buffer));
done:
  ntk_h5_close(&copy);
  ntk_free(&values);
  return status;
}

static ntk_status attach_scales(const exporter *e, hid_t file, hid_t kernel) {
  ntk_status status = NTK_SUCCESS;
  const char *nexus = "NXdata", *signal = "kernel", *words = "neural tangent kernel";
  hid_t scale = 0;
  NTK_TRY(ntk_h5_note(e->fresh, kernel, "long_name", 1, &words));
  NTK_TRY(ntk_h5_note(e->fresh, file, "NX_class", 1, &nexus));
  NTK_TRY(ntk_h5_note(e->fresh, file, "signal", 1, &signal));
  if (e->layout == MATRIX)
    goto done;
  NTK_TRY(ntk_h5_note(e->fresh, file, "axes", e->shape.ndim, e->axis));
  for (int i = 0; i < e->shape.ndim; i++) {
    NTK_OPEN_H5(e->fresh, scale, H5Dopen2(file, e->axis[i], H5P_DEFAULT));
    NTK_TRY_H5(e->fresh, H5DSattach_scale(kernel, scale, (unsigned)i));
    ntk_h5_close(&scale);
  }
done:
  ntk_h5_close(&scale);
  return status;
}

static ntk_status start_h5(exporter *e, int64_t bytes) {
  static const char *const sides[] = {"sample", "output", "outputs", "labels"};
  ntk_status status = NTK_SUCCESS;
  char *provenance = NULL;
  hid_t file = 0, kernel = 0;
  NTK_TRY(ntk_h5_create(e->fresh, bytes, &file));
  NTK_TRY(ntk_h5_put(e->fresh, file, "kernel", e->facts->dtype, e->shape.ndim, e->shape.dim,
                     NULL, &kernel));
  for (int i = 0; i < 8; i++)
    NTK_TRY(copy_side(e, file, sides[i / 2], i % 2));
  NTK_TRY(attach_scales(e, file, kernel));
  NTK_TRY(ntk_store_read_text(e->facts->path, "/provenance", &provenance));
  NTK_TRY(ntk_h5_put_text(e->fresh, file, "provenance", provenance, 0));
  const haddr_t offset = H5Dget_offset(kernel);
  NTK_REQUIRE(offset != HADDR_UNDEF, NTK_ERR_HDF5, "%s: /kernel has no place", e->fresh);
  e->start = (int64_t)offset;
  NTK_TRY_H5(e->fresh, H5Fflush(file, H5F_SCOPE_GLOBAL));
done:
  ntk_h5_close(&kernel);
  ntk_h5_close(&file);
  ntk_free(&provenance);
  return status;
}

/* ---- elements -------------------------------------------------------------------------
 */

static ntk_status write_bytes(const exporter *e, const char *bytes, int64_t count,
                              int64_t at) {
  while (count > 0) {
    const ssize_t written =
        pwrite(e->descriptor, bytes, (size_t)least(count, (int64_t)1 << 30), (off_t)at);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return ntk_fail(NTK_ERR_FILE, "%s: write failed: %s", e->fresh,
                      strerror(written < 0 ? errno : ENOSPC));
    bytes += written;
    count -= written;
    at += written;
  }
  return NTK_SUCCESS;
}

/* `count` elements of the values from `from` on, `stride` apart, behind the others. */
static char *take(const exporter *e, char *out, const double *from, int64_t count,
                  int64_t stride) {
  const bool wide = e->facts->dtype == NTK_F64;
  for (int64_t i = 0; i < count; i++)
    if (wide)
      ((double *)out)[i] = from[i * stride];
    else
      ((float *)out)[i] = (float)from[i * stride];
  return out + count * (int64_t)ntk_dtype_bytes(e->facts->dtype);
}

static ntk_status write_piece(const exporter *e, const ntk_tile *box) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = e->facts;
  const int64_t bytes = (int64_t)ntk_dtype_bytes(k->dtype), n = box->row_count;
  const int64_t m = box->column_count, p = k->per_sample, o = box->row_outputs;
  const int64_t cells = n * m; /* of a plane of a diagonal kernel */
  char *out = e->out;
  if (e->layout == NMOP) {
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < m; j++)
        if (is_diagonal(e))
          out = take(e, out, e->values + i * m + j, o, cells);
        else
          for (int64_t q = 0; q < o; q++)
            out = take(e, out, e->values + ((i * o + q) * m + j) * p, p, 1);
    return write_bytes(e, e->out, out - e->out,
                       e->start + (box->row_first * k->columns + box->column_first) * o *
                                      p * bytes);
  }
  if (!is_diagonal(e)) {
    out = take(e, out, e->values, n * o * m * p, 1);
    return write_bytes(e, e->out, out - e->out,
                       e->start + (box->row_first * p + box->row_output) * m * p * bytes);
  }
  for (int64_t q = 0; q < o; q++) {
    (void)take(e, e->out, e->values + q * cells, cells, 1);
    NTK_TRY(write_bytes(e, e->out, cells * bytes,
                        e->start + ((box->row_output + q) * k->rows + box->row_first) * m *
                                       bytes));
  }
done:
  return status;
}

/* The box of piece `part` of the rows from `row` on. */
static ntk_tile box_of(const exporter *e, int64_t row, int64_t part) {
  const ntk_kernel_facts *k = e->facts;
  const bool columns = e->layout == NMOP;
  const int64_t first = part * e->parts;
  const int64_t count = least(e->parts, (columns ? k->columns : e->outputs) - first);
  const int64_t output = columns ? 0 : first, outputs = columns ? e->outputs : count;
  return (ntk_tile){.row_first = row,
                    .row_count = least(e->samples, k->rows - row),
                    .row_output = output,
                    .row_outputs = outputs,
                    .column_first = columns ? first : 0,
                    .column_count = columns ? count : k->columns,
                    .column_output = is_diagonal(e) ? output : 0,
                    .column_outputs = is_diagonal(e) ? outputs : k->per_sample};
}

static ntk_status write_share(exporter *e) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = e->facts;
  const int64_t parts = pieces_of(e->layout == NMOP ? k->columns : e->outputs, e->parts);
  const int64_t all = pieces_of(k->rows, e->samples) * parts;
  const ntk_tile largest = box_of(e, 0, 0);
  const int64_t size = ntk_kernel_box_size(k, &largest);
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, size, sizeof *e->values, &e->values));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, size, ntk_dtype_bytes(k->dtype), &e->out));
  e->descriptor = open(e->fresh, O_WRONLY);
  NTK_REQUIRE(e->descriptor >= 0, NTK_ERR_FILE, "%s: cannot be opened: %s", e->fresh,
              strerror(errno));
  for (int64_t i = e->context->rank; i < all; i += e->context->size) {
    const ntk_tile box = box_of(e, i / parts * e->samples, i % parts);
    NTK_TRY(ntk_kernel_read(e->file, &box, e->values));
    NTK_TRY(write_piece(e, &box));
  }
done:
  if (e->descriptor >= 0 && close(e->descriptor) != 0 && status == NTK_SUCCESS)
    status = ntk_fail(NTK_ERR_FILE, "%s: write failed: %s", e->fresh, strerror(errno));
  return status;
}

/* ---- all ------------------------------------------------------------------------------
 */

static ntk_status open_kernel(exporter *e, const char *path, const char *output,
                              const ntk_options *options) {
  ntk_status status = NTK_SUCCESS;
  const char *chosen = ntk_options_string(options, "layout");
  ntk_text fresh = {0};
  NTK_TRY(ntk_kernel_open(path, ntk_options_string(options, "group"), &e->file));
  e->facts = ntk_kernel_get_facts(e->file);
  NTK_TRY(ntk_kernel_require_complete(e->file));
  e->layout = chosen[0] == 'm' ? MATRIX : chosen[1] == 'o' ? NOMP : NMOP;
  NTK_REQUIRE(e->layout != MATRIX || !is_diagonal(e), NTK_ERR_ARGUMENT,
              "%s: a diagonal kernel, a matrix for each output: --layout nomp gives "
              "[output, sample, sample]",
              e->facts->path);
  set_shape(e);
  set_pieces(e);
  NTK_TRY(ntk_text_add(&fresh, "%s.new", output));
  NTK_TRY(ntk_strdup(fresh.data, &e->fresh));
done:
  ntk_text_clear(&fresh);
  return status;
}

static ntk_status write_all(exporter *e, const char *output, bool npy) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = e->context->comm;
  bool made = false;
  const double bytes =
      (double)ntk_shape_size(&e->shape) * (double)ntk_dtype_bytes(e->facts->dtype);
  NTK_TRY(ntk_store_check(e->context, output, (int64_t)bytes));
  made = true;
  if (e->context->rank == 0)
    status = npy ? start_npy(e) : start_h5(e, (int64_t)bytes);
  NTK_TRY(ntk_agree(comm, status));
  NTK_TRY_MPI(MPI_Bcast(&e->start, 1, MPI_INT64_T, 0, comm));
  NTK_TRY(ntk_agree(comm, write_share(e)));
  if (e->context->rank == 0)
    status = ntk_store_rename(e->fresh, output);
  NTK_TRY(ntk_agree(comm, status));
done:
  if (status != NTK_SUCCESS && made && e->context->rank == 0)
    (void)unlink(e->fresh);
  return status;
}

ntk_status ntk_kernel_export(ntk_context *context, const char *path, const char *output,
                             const char *options) {
  ntk_status status = NTK_SUCCESS;
  const ntk_option *const tables[] = {ntk_option_table("export"), ntk_option_table("group"),
                                      NULL};
  ntk_options *parsed = NULL;
  exporter e = {.context = context, .descriptor = -1};
  NTK_TRY(ntk_options_parse_texts(tables, options, &parsed));
  NTK_TRY(ntk_agree(context->comm, open_kernel(&e, path, output, parsed)));
  NTK_TRY(write_all(&e, output, strcmp(ntk_options_string(parsed, "format"), "npy") == 0));
done:
  ntk_kernel_close(&e.file);
  ntk_free(&e.fresh);
  ntk_free(&e.values);
  ntk_free(&e.out);
  ntk_options_destroy(&parsed);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/source.h"
#include "io/store_parts.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* A kernel file opened for reading, and what is found out about it. */
typedef struct reader {
  char *path; /* OUTPUT, or OUTPUT.part */
  hid_t file, kernel;
  ntk_store_layout layout;
  ntk_dtype dtype;
  char reduction[16];
  uint8_t symmetric, complete;
  int64_t tiles, done; /* of /kernel */
  /* of a symmetric, complete kernel: */
  double trace, least, most, largest; /* largest: of all absolute values looked at */
  int64_t least_at[2], most_at[2];    /* sample, output of the extreme diagonal entries */
  double asymmetry;                   /* largest |K - K^T| seen */
  int64_t compared, pairs;            /* pairs of tiles compared, of all */
} reader;

/* Pairs of tiles that `info` compares with their transposes at most. */
static const int64_t most_pairs = 64;

/* ---- opening --------------------------------------------------------------------------
 */

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

bool ntk_store_is(const char *path) {
  char *found = NULL;
  hid_t file = H5I_INVALID_HID;
  bool good = false;
  if (find_file(path, &found) == NTK_SUCCESS && ntk_hdf5_is(found)) {
    H5E_BEGIN_TRY { file = H5Fopen(found, H5F_ACC_RDONLY, H5P_DEFAULT); }
    H5E_END_TRY;
    good = file > 0 && ntk_h5_has(file, "/kernel") && ntk_h5_has(file, "/tiles");
  }
  ntk_h5_close(&file);
  ntk_free(&found);
  return good;
}

static ntk_status open_file(const char *path, char **found, hid_t *file) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(find_file(path, found));
  NTK_OPEN_H5(*found, *file, H5Fopen(*found, H5F_ACC_RDONLY, H5P_DEFAULT));
done:
  return status;
}

ntk_status ntk_store_read_plan(const char *path, char **text) {
  ntk_status status = NTK_SUCCESS;
  char *found = NULL;
  hid_t file = 0;
  NTK_TRY(open_file(path, &found, &file));
  NTK_TRY(ntk_h5_get_text(found, file, "/plan", text));
done:
  ntk_h5_close(&file);
  ntk_free(&found);
  return status;
}

static ntk_status read_note(reader *r, const char *name, char *text, size_t size) {
  ntk_status status = NTK_SUCCESS;
  hid_t attribute = 0, memory = 0;
  NTK_OPEN_H5(r->path, attribute, H5Aopen(r->file, name, H5P_DEFAULT));
  NTK_OPEN_H5(r->path, memory, H5Tcopy(H5T_C_S1));
  NTK_TRY_H5(r->path, H5Tset_size(memory, size));
  NTK_TRY_H5(r->path, H5Tset_cset(memory, H5T_CSET_UTF8));
  NTK_TRY_H5(r->path, H5Aread(attribute, memory, text));
  text[size - 1] = '\0';
done:
  ntk_h5_close(&memory);
  ntk_h5_close(&attribute);
  return status;
}

/* The axes by the reduction; sizes and chunks as the file has them. */
static ntk_status read_layout(reader *r) {
  ntk_status status = NTK_SUCCESS;
  hid_t space = 0, create = 0;
  hsize_t dim[NTK_STORE_AXES], chunk[NTK_STORE_AXES];
  static const char *const full[] = {"sample1", "output1", "sample2", "output2"};
  static const char *const diagonal[] = {"output1", "sample1", "sample2"};
  static const char *const pair[] = {"sample1", "sample2"};
  ntk_store_layout *l = &r->layout;
  NTK_OPEN_H5(r->path, space, H5Dget_space(r->kernel));
  NTK_OPEN_H5(r->path, create, H5Dget_create_plist(r->kernel));
  l->ndim = H5Sget_simple_extent_ndims(space);
  NTK_REQUIRE(l->ndim >= 2 && l->ndim <= NTK_STORE_AXES &&
                  H5Pget_layout(create) == H5D_CHUNKED,
              NTK_ERR_FORMAT, "%s: /kernel is not in tiles", r->path);
  NTK_TRY_H5(r->path, H5Sget_simple_extent_dims(space, dim, NULL));
  NTK_TRY_H5(r->path, H5Pget_chunk(create, l->ndim, chunk));
  r->tiles = 1;
  for (int i = 0; i < l->ndim; i++) {
    l->axis[i] = l->ndim == 4 ? full[i] : l->ndim == 3 ? diagonal[i] : pair[i];
    l->dim[i] = (int64_t)dim[i];
    l->chunk[i] = (int64_t)chunk[i];
    l->tiles[i] = (l->dim[i] + l->chunk[i] - 1) / l->chunk[i];
    r->tiles *= l->tiles[i];
  }
done:
  ntk_h5_close(&create);
  ntk_h5_close(&space);
  return status;
}

static ntk_status count_done(reader *r) {
  ntk_status status = NTK_SUCCESS;
  const int64_t zero[NTK_STORE_AXES] = {0};
  uint8_t *marks = NULL;
  hid_t dataset = 0;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, r->tiles, 1, &marks));
  NTK_OPEN_H5(r->path, dataset, H5Dopen2(r->file, "/tiles/done", H5P_DEFAULT));
  NTK_TRY(ntk_h5_read_box(r->path, dataset, r->layout.ndim, zero, r->layout.tiles, NTK_U8,
                          marks));
  for (int64_t i = 0; i < r->tiles; i++)
    r->done += marks[i];
done:
  ntk_h5_close(&dataset);
  ntk_free(&marks);
  return status;
}

static ntk_status open_reader(const char *path, reader *r) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(open_file(path, &r->path, &r->file));
  NTK_OPEN_H5(r->path, r->kernel, H5Dopen2(r->file, "/kernel", H5P_DEFAULT));
  NTK_TRY(ntk_h5_dtype(r->path, r->kernel, &r->dtype));
  NTK_TRY(read_note(r, "reduction", r->reduction, sizeof r->reduction));
  NTK_REQUIRE(ntk_h5_get_number(r->file, "symmetric", NTK_U8, &r->symmetric) &&
                  ntk_h5_get_number(r->file, "complete", NTK_U8, &r->complete),
              NTK_ERR_FORMAT, "%s: not a kernel file of this program", r->path);
  NTK_TRY(read_layout(r));
  NTK_TRY(count_done(r));
done:
  return status;
}

static void close_reader(reader *r) {
  ntk_h5_close(&r->kernel);
  ntk_h5_close(&r->file);
  ntk_free(&r->path);
}

/* ---- the matrix -----------------------------------------------------------------------
 */

/* The kernel as matrices over (sample, output): one for each output of a diagonal kernel.
 */
typedef struct matrix_view {
  int64_t samples, outputs; /* a row is (sample, output) */
  int64_t block, part;      /* of a tile */
  int64_t matrices;         /* > 1: axis 0 of a diagonal kernel */
} matrix_view;

static matrix_view view_of(const reader *r) {
  const ntk_store_layout *l = &r->layout;
  if (l->ndim == 4)
    return (matrix_view){l->dim[0], l->dim[1], l->chunk[0], l->chunk[1], 1};
  if (l->ndim == 3)
    return (matrix_view){l->dim[1], 1, l->chunk[1], 1, l->dim[0]};
  return (matrix_view){l->dim[0], 1, l->chunk[0], 1, 1};
}

static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* Tile (I, q; J, p) of matrix m into values, as [n q x m p]; sizes into rows, columns. */
static ntk_status read_tile(const reader *r, const matrix_view *v, int64_t m,
                            const int64_t at[4], double *values, int64_t *rows,
                            int64_t *columns) {
  const int64_t i = at[0] * v->block, q = at[1] * v->part, j = at[2] * v->block,
                p = at[3] * v->part;
  const int64_t n1 = least_of(v->block, v->samples - i),
                n2 = least_of(v->block, v->samples - j);
  const int64_t o1 = least_of(v->part, v->outputs - q),
                o2 = least_of(v->part, v->outputs - p);
  const int64_t first4[4] = {i, q, j, p}, count4[4] = {n1, o1, n2, o2};
  const int64_t first3[3] = {m, i, j}, count3[3] = {1, n1, n2};
  *rows = n1 * o1;
  *columns = n2 * o2;
  if (r->layout.ndim == 4)
    return ntk_h5_read_box(r->path, r->kernel, 4, first4, count4, NTK_F64, values);
  if (r->layout.ndim == 3)
    return ntk_h5_read_box(r->path, r->kernel, 3, first3, count3, NTK_F64, values);
  return ntk_h5_read_box(r->path, r->kernel, 2, first3 + 1, count3 + 1, NTK_F64, values);
}

static void take_diagonal(reader *r, const matrix_view *v, int64_t m, int64_t sample,
                          int64_t output, double value) {
  const int64_t at[2] = {sample, v->matrices > 1 ? m : output};
  r->trace += value;
  if (!(value >= r->least)) {
    r->least = value;
    memcpy(r->least_at, at, sizeof at);
  }
  if (!(value <= r->most)) {
    r->most = value;
    memcpy(r->most_at, at, sizeof at);
  }
}

static ntk_status read_diagonal(reader *r, const matrix_view *v, double *values) {
  ntk_status status = NTK_SUCCESS;
  int64_t rows, columns;
  r->least = INFINITY;
  r->most = -INFINITY;
  for (int64_t m = 0; m < v->matrices; m++)
    for (int64_t I = 0; I * v->block < v->samples; I++)
      for (int64_t q = 0; q * v->part < v->outputs; q++) {
        const int64_t at[4] = {I, q, I, q};
        NTK_TRY(read_tile(r, v, m, at, values, &rows, &columns));
        const int64_t part = least_of(v->part, v->outputs - q * v->part);
        for (int64_t i = 0; i < rows; i++)
          take_diagonal(r, v, m, I * v->block + i / part, q * v->part + i % part,
                        values[i * columns + i]);
      }
done:
  return status;
}

static void compare(reader *r, const double *a, const double *b, int64_t rows,
                    int64_t columns) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) {
      const double x = a[i * columns + j], difference = fabs(x - b[j * rows + i]);
      if (!(difference <= r->asymmetry))
        r->asymmetry = difference;
      if (!(fabs(x) <= r->largest))
        r->largest = fabs(x);
    }
}

/* Tiles against their transposes: all of them, or evenly spread ones of many. */
static ntk_status compare_tiles(reader *r, const matrix_view *v, double *a, double *b) {
  ntk_status status = NTK_SUCCESS;
  const int64_t parts = (v->outputs + v->part - 1) / v->part;
  const int64_t blocks = (v->samples + v->block - 1) / v->block * parts;
  const int64_t all = v->matrices * blocks * (blocks + 1) / 2;
  const int64_t step = (all + most_pairs - 1) / most_pairs;
  int64_t rows, columns, number = 0;
  r->pairs = all;
  for (int64_t m = 0; m < v->matrices; m++)
    for (int64_t s = 0; s < blocks; s++)
      for (int64_t t = 0; t <= s; t++) {
        if (number++ % step)
          continue;
        const int64_t at[4] = {s / parts, s % parts, t / parts, t % parts};
        const int64_t mirrored[4] = {at[2], at[3], at[0], at[1]};
        NTK_TRY(read_tile(r, v, m, at, a, &rows, &columns));
        NTK_TRY(read_tile(r, v, m, mirrored, b, &columns, &rows));
        compare(r, a, b, rows, columns);
        r->compared++;
      }
done:
  return status;
}

static ntk_status look_at_matrix(reader *r) {
  ntk_status status = NTK_SUCCESS;
  const matrix_view v = view_of(r);
  const int64_t side = v.block * v.part;
  double *a = NULL, *b = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, side * side, sizeof *a, &a));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, side * side, sizeof *b, &b));
  NTK_TRY(read_diagonal(r, &v, a));
  NTK_TRY(compare_tiles(r, &v, a, b));
done:
  ntk_free(&a);
  ntk_free(&b);
  return status;
}

/* ---- description ----------------------------------------------------------------------
 */

static ntk_status describe_matrix(const reader *r, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const bool outputs = r->layout.ndim > 2;
  NTK_TRY(ntk_text_add(text, "trace       %.9g\n", r->trace));
  NTK_TRY(ntk_text_add(text,
                       "symmetry    %s (largest |K - K^T| is %.3g; %" PRId64 " of %" PRId64
                       " pairs of tiles compared)\n",
                       r->asymmetry == 0 ? "to the bit" : "NOT to the bit", r->asymmetry,
                       r->compared, r->pairs));
  NTK_TRY(ntk_text_add(text, "diagonal    least %.9g at sample %" PRId64, r->least,
                       r->least_at[0]));
  if (outputs)
    NTK_TRY(ntk_text_add(text, ", output %" PRId64, r->least_at[1]));
  NTK_TRY(ntk_text_add(text, "\n            most  %.9g at sample %" PRId64, r->most,
                       r->most_at[0]));
  if (outputs)
    NTK_TRY(ntk_text_add(text, ", output %" PRId64, r->most_at[1]));
  NTK_TRY(ntk_text_add(text, "\n"));
done:
  return status;
}

static ntk_status describe_facts(const reader *r, bool json, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  double seconds, gflops, gemm;
  if (!ntk_h5_get_number(r->file, "seconds", NTK_F64, &seconds) || seconds == 0 ||
      !ntk_h5_get_number(r->file, "gflops", NTK_F64, &gflops) ||
      !ntk_h5_get_number(r->file, "gemm_gflops", NTK_F64, &gemm))
    goto done;
  if (json)
    NTK_TRY(ntk_text_add(text,
                         ", \"seconds\": %.6g, \"gflops\": %.6g, \"gemm_gflops\": %.6g",
                         seconds, gflops, gemm));
  else
    NTK_TRY(ntk_text_add(text,
                         "seconds     %.3g\ncontraction %.3g GFLOP/s, %.0f %% of the GEMM "
                         "rate of the run (%.3g GFLOP/s)\n",
                         seconds, gflops, 100 * gflops / gemm, gemm));
done:
  return status;
}

static ntk_status shape_text(const reader *r, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < r->layout.ndim; i++)
    NTK_TRY(ntk_text_add(text, "%s%" PRId64, i ? ", " : "[", r->layout.dim[i]));
  NTK_TRY(ntk_text_add(text, "]"));
done:
  return status;
}

static ntk_status describe_words(const reader *r, const char *provenance, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "kernel      %s\nshape       ", r->path));
  NTK_TRY(shape_text(r, text));
  NTK_TRY(ntk_text_add(text, " %s (", ntk_dtype_name(r->dtype)));
  for (int i = 0; i < r->layout.ndim; i++)
    NTK_TRY(ntk_text_add(text, "%s%s", i ? ", " : "", r->layout.axis[i]));
  NTK_TRY(ntk_text_add(
      text, ")\nreduction   %s\ntiles       %" PRId64 " of %" PRId64 " done%s\n",
      r->reduction, r->done, r->tiles, r->complete ? "" : "; NOT complete"));
  if (r->symmetric && r->complete)
    NTK_TRY(describe_matrix(r, text));
  NTK_TRY(describe_facts(r, false, text));
  NTK_TRY(ntk_text_add(text, "provenance\n%s", provenance));
done:
  return status;
}

static ntk_status describe_json(const reader *r, const char *provenance, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "{\"kind\": \"kernel\", \"path\": "));
  NTK_TRY(ntk_text_add_json(text, r->path));
  NTK_TRY(ntk_text_add(text, ", \"shape\": "));
  NTK_TRY(shape_text(r, text));
  NTK_TRY(ntk_text_add(text,
                       ", \"type\": \"%s\", \"reduction\": \"%s\", \"complete\": %s, "
                       "\"tiles\": %" PRId64 ", \"done\": %" PRId64 ", \"symmetric\": %s",
                       ntk_dtype_name(r->dtype), r->reduction,
                       r->complete ? "true" : "false", r->tiles, r->done,
                       r->symmetric ? "true" : "false"));
  if (r->symmetric && r->complete)
    NTK_TRY(ntk_text_add(text,
                         ", \"trace\": %.17g, \"asymmetry\": %.17g, \"diagonal\": [%.17g, "
                         "%.17g]",
                         r->trace, r->asymmetry, r->least, r->most));
  NTK_TRY(describe_facts(r, true, text));
  NTK_TRY(ntk_text_add(text, ", \"provenance\": %s}\n", provenance));
done:
  return status;
}

ntk_status ntk_store_describe(const char *path, bool json, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  reader r = {0};
  char *provenance = NULL;
  NTK_TRY(open_reader(path, &r));
  NTK_TRY(ntk_h5_get_text(r.path, r.file, "/provenance", &provenance));
  if (r.symmetric && r.complete)
    NTK_TRY(look_at_matrix(&r));
  if (json)
    NTK_TRY(describe_json(&r, provenance, text));
  else
    NTK_TRY(describe_words(&r, provenance, text));
done:
  ntk_free(&provenance);
  close_reader(&r);
  return status;
}

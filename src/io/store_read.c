/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/kernel_check.h"
#include "io/store_parts.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* A kernel file, and what is found out about the entries of a symmetric, complete one. */
typedef struct reader {
  ntk_kernel_file *file;
  const ntk_kernel_facts *facts;
  double trace, least, most, largest; /* largest: of all absolute values looked at */
  int64_t least_at[2], most_at[2];    /* sample, output of the extreme diagonal entries */
  double asymmetry;                   /* largest |K - K^T| seen */
  int64_t compared, pairs;            /* pairs of tiles compared, of all */
} reader;

/* Pairs of tiles that `info` compares with their transposes at most. */
static const int64_t most_pairs = 64;

/* ---- the matrix -----------------------------------------------------------------------
 */

static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* Tile (I, q; J, p) of a symmetric kernel. */
static ntk_tile tile_of(const ntk_kernel_facts *k, const int64_t at[4]) {
  const int64_t outputs = k->matrices * k->per_sample, i = at[0] * k->block,
                q = at[1] * k->part, j = at[2] * k->block, p = at[3] * k->part;
  return (ntk_tile){i, least_of(k->block, k->rows - i), q, least_of(k->part, outputs - q),
                    j, least_of(k->block, k->rows - j), p, least_of(k->part, outputs - p)};
}

/* How many matrices a tile holds, and their sizes. */
static void planes_of(const ntk_kernel_facts *k, const ntk_tile *t, int64_t *planes,
                      int64_t *rows, int64_t *columns) {
  const bool diagonal = k->matrices > 1;
  *planes = diagonal ? t->row_outputs : 1;
  *rows = t->row_count * (diagonal ? 1 : t->row_outputs);
  *columns = t->column_count * (diagonal ? 1 : t->column_outputs);
}

static void take_diagonal(reader *r, int64_t sample, int64_t output, double value) {
  const int64_t at[2] = {sample, output};
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

static int64_t blocks_of(int64_t size, int64_t block) { return (size + block - 1) / block; }

static ntk_status read_diagonal(reader *r, double *values) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = r->facts;
  const int64_t parts = blocks_of(k->matrices * k->per_sample, k->part);
  int64_t planes, rows, columns;
  r->least = INFINITY;
  r->most = -INFINITY;
  for (int64_t I = 0; I < blocks_of(k->rows, k->block); I++)
    for (int64_t q = 0; q < parts; q++) {
      const ntk_tile t = tile_of(k, (int64_t[]){I, q, I, q});
      NTK_TRY(ntk_kernel_read(r->file, &t, values));
      planes_of(k, &t, &planes, &rows, &columns);
      const int64_t each = rows / t.row_count;
      for (int64_t m = 0; m < planes; m++)
        for (int64_t i = 0; i < rows; i++)
          take_diagonal(r, t.row_first + i / each, t.row_output + m + i % each,
                        values[(m * rows + i) * columns + i]);
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

static ntk_status compare_pair(reader *r, const int64_t at[4], double *a, double *b) {
  ntk_status status = NTK_SUCCESS;
  const ntk_tile t = tile_of(r->facts, at),
                 mirrored = tile_of(r->facts, (int64_t[]){at[2], at[3], at[0], at[1]});
  int64_t planes, rows, columns;
  planes_of(r->facts, &t, &planes, &rows, &columns);
  NTK_TRY(ntk_kernel_read(r->file, &t, a));
  NTK_TRY(ntk_kernel_read(r->file, &mirrored, b));
  for (int64_t m = 0; m < planes; m++)
    compare(r, a + m * rows * columns, b + m * rows * columns, rows, columns);
  r->compared++;
done:
  return status;
}

/* Tiles against their transposes: all of them, or evenly spread ones of many. Half a kernel
 * has those of the diagonal alone. */
static ntk_status compare_tiles(reader *r, double *a, double *b) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = r->facts;
  const bool diagonal = k->matrices > 1;
  const int64_t parts = blocks_of(k->matrices * k->per_sample, k->part);
  const int64_t planes = diagonal ? parts : 1, per_block = diagonal ? 1 : parts;
  const int64_t blocks = blocks_of(k->rows, k->block) * per_block;
  const int64_t all = planes * (k->half ? blocks : blocks * (blocks + 1) / 2);
  const int64_t step = (all + most_pairs - 1) / most_pairs;
  int64_t number = 0;
  r->pairs = all;
  for (int64_t m = 0; m < planes; m++)
    for (int64_t s = 0; s < blocks; s++)
      for (int64_t t = k->half ? s : 0; t <= s; t++) {
        if (number++ % step)
          continue;
        const int64_t at[4] = {s / per_block, diagonal ? m : s % per_block, t / per_block,
                               diagonal ? m : t % per_block};
        NTK_TRY(compare_pair(r, at, a, b));
      }
done:
  return status;
}

static ntk_status look_at_matrix(reader *r) {
  ntk_status status = NTK_SUCCESS;
  const ntk_tile first = tile_of(r->facts, (int64_t[4]){0});
  const int64_t size = ntk_kernel_box_size(r->facts, &first);
  double *a = NULL, *b = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, size, sizeof *a, &a));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, size, sizeof *b, &b));
  NTK_TRY(read_diagonal(r, a));
  NTK_TRY(compare_tiles(r, a, b));
done:
  ntk_free(&a);
  ntk_free(&b);
  return status;
}

/* ---- description ----------------------------------------------------------------------
 */

static ntk_status describe_matrix(const reader *r, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const bool outputs = r->facts->matrices * r->facts->per_sample > 1;
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
  if (!ntk_kernel_number(r->file, "seconds", &seconds) || seconds == 0 ||
      !ntk_kernel_number(r->file, "gflops", &gflops) ||
      !ntk_kernel_number(r->file, "gemm_gflops", &gemm))
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

/* The axes of the kernel, however it is stored. */
static ntk_store_layout kernel_axes(const reader *r) {
  const ntk_kernel_facts *k = r->facts;
  return ntk_store_layout_of(&(ntk_store_spec){.reduction = k->reduction,
                                               .rows = k->rows,
                                               .columns = k->columns,
                                               .outputs = k->outputs,
                                               .block = k->block,
                                               .outputs_block = k->part});
}

static ntk_status shape_text(const reader *r, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout kernel = kernel_axes(r);
  for (int i = 0; i < kernel.ndim; i++)
    NTK_TRY(ntk_text_add(text, "%s%" PRId64, i ? ", " : "[", kernel.dim[i]));
  NTK_TRY(ntk_text_add(text, "]"));
done:
  return status;
}

static bool has_groups(const reader *r) { return ntk_h5_has(r->file->file, "/groups"); }

/* The names of the groups, each between `open` and `close`; nothing where there are none.
 */
static ntk_status add_groups(const reader *r, const char *open, const char *close,
                             ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  char *name = NULL;
  for (int i = 0; i == 0 || name; i++) {
    ntk_free(&name);
    NTK_TRY(ntk_kernel_group(r->file, i, &name));
    if (name)
      NTK_TRY(ntk_text_add(text, "%s%s%s%s", i > 0 ? ", " : "", open, name, close));
  }
done:
  ntk_free(&name);
  return status;
}

static ntk_status describe_words(const reader *r, const char *provenance, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "kernel      %s\nshape       ", r->facts->path));
  NTK_TRY(shape_text(r, text));
  NTK_TRY(ntk_text_add(text, " %s (", ntk_dtype_name(r->facts->dtype)));
  const ntk_store_layout kernel = kernel_axes(r);
  for (int i = 0; i < kernel.ndim; i++)
    NTK_TRY(ntk_text_add(text, "%s%s", i ? ", " : "", kernel.axis[i]));
  NTK_TRY(ntk_text_add(text, ")\nreduction   %s\n", r->file->reduction));
  if (r->facts->half)
    NTK_TRY(ntk_text_add(text, "stored      half: tiles in /half/tiles, each pair once\n"));
  if (has_groups(r)) {
    NTK_TRY(ntk_text_add(text, "groups      "));
    NTK_TRY(add_groups(r, "", "", text));
    NTK_TRY(ntk_text_add(text, ": their kernels stand in /groups\n"));
  }
  NTK_TRY(ntk_text_add(text, "tiles       %" PRId64 " of %" PRId64 " done%s\n",
                       r->facts->done, r->facts->tiles,
                       r->facts->complete ? "" : "; NOT complete"));
  if (r->facts->symmetric && r->facts->complete)
    NTK_TRY(describe_matrix(r, text));
  NTK_TRY(describe_facts(r, false, text));
  NTK_TRY(ntk_text_add(text, "provenance\n%s", provenance));
done:
  return status;
}

static ntk_status describe_json(const reader *r, const char *provenance, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "{\"kind\": \"kernel\", \"path\": "));
  NTK_TRY(ntk_text_add_json(text, r->facts->path));
  NTK_TRY(ntk_text_add(text, ", \"shape\": "));
  NTK_TRY(shape_text(r, text));
  NTK_TRY(ntk_text_add(
      text,
      ", \"type\": \"%s\", \"reduction\": \"%s\", \"complete\": %s, "
      "\"store\": \"%s\", \"tiles\": %" PRId64 ", \"done\": %" PRId64 ", \"symmetric\": %s",
      ntk_dtype_name(r->facts->dtype), r->file->reduction,
      r->facts->complete ? "true" : "false", r->facts->half ? "half" : "full",
      r->facts->tiles, r->facts->done, r->facts->symmetric ? "true" : "false"));
  NTK_TRY(ntk_text_add(text, ", \"groups\": ["));
  NTK_TRY(add_groups(r, "\"", "\"", text));
  NTK_TRY(ntk_text_add(text, "]"));
  if (r->facts->symmetric && r->facts->complete)
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
  NTK_TRY(ntk_kernel_open(path, NULL, &r.file));
  r.facts = ntk_kernel_get_facts(r.file);
  NTK_TRY(ntk_h5_get_text(r.facts->path, r.file->file, "/provenance", &provenance));
  if (r.facts->symmetric && r.facts->complete)
    NTK_TRY(look_at_matrix(&r));
  if (json)
    NTK_TRY(describe_json(&r, provenance, text));
  else
    NTK_TRY(describe_words(&r, provenance, text));
done:
  ntk_free(&provenance);
  ntk_kernel_close(&r.file);
  return status;
}

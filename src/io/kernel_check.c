/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kernel_check.h"
#include "base/memory.h"
#include "base/random.h"
#include "dist/grid.h"
#include "io/store_parts.h"
#include <math.h>
#include <string.h>

enum { FORMS = 4 };

typedef struct checker {
  ntk_context *context;
  const ntk_kernel_file *file;
  const ntk_kernel_facts *facts;
  bool definite; /* positive semidefinite */
  ntk_store_source source;
  hid_t checksum;
  uint8_t *marks;        /* [tiles] done */
  void *raw;             /* a tile as it is stored */
  double *a, *b;         /* the same in f64; its transpose */
  int64_t size;          /* rows of a matrix */
  double *diagonal;      /* [matrices, size]; infinite where it is not known */
  double *trace;         /* [matrices] */
  uint8_t *signs;        /* [size] bit f: the sign in vector f */
  double (*form)[FORMS]; /* [matrices] v'Kv */
  ntk_kernel_checks found;
} checker;

const char *ntk_check_name(ntk_check check) {
  static const char *const names[] = {
#define NTK_CHECK_NAME(name, text) text,
      NTK_CHECK_LIST(NTK_CHECK_NAME)
#undef NTK_CHECK_NAME
  };
  return names[check];
}

double ntk_kernel_rounding(const ntk_kernel_facts *facts) {
  return facts->dtype == NTK_F64 ? 1e-10 : 1e-4;
}

const char *ntk_kernel_place(const ntk_kernel_file *file, int64_t number,
                             char text[NTK_KERNEL_PLACE]) {
  const ntk_tile tile = ntk_store_tile_at(&file->layout, number);
  return ntk_store_place(&file->layout, &tile, text);
}

int64_t ntk_kernel_tile_of(const ntk_kernel_file *file, int64_t row, int64_t row_output,
                           int64_t column, int64_t column_output) {
  const ntk_store_layout *l = &file->layout;
  const int64_t b = l->block, q = l->part;
  const ntk_tile tile = {.row_first = row / b * b,
                         .row_output = row_output / q * q,
                         .column_first = column / b * b,
                         .column_output = column_output / q * q};
  const ntk_tile other = ntk_kernel_transpose(&tile);
  return ntk_store_number(l, ntk_store_holds(l, &tile) ? &tile : &other);
}

ntk_status ntk_kernel_group(const ntk_kernel_file *file, int i, char **name) {
  ntk_status status = NTK_SUCCESS;
  char text[NTK_STORE_NAME];
  hid_t group = 0;
  H5G_info_t info;
  *name = NULL;
  if (!ntk_h5_has(file->file, "/groups"))
    return NTK_SUCCESS;
  NTK_OPEN_H5(file->path, group, H5Gopen2(file->file, "/groups", H5P_DEFAULT));
  NTK_TRY_H5(file->path, H5Gget_info(group, &info));
  if ((hsize_t)i < info.nlinks) {
    NTK_TRY_H5(file->path, H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC,
                                              (hsize_t)i, text, sizeof text, H5P_DEFAULT));
    NTK_TRY(ntk_strdup(text, name));
  }
done:
  ntk_h5_close(&group);
  return status;
}

/* ---- tiles ----------------------------------------------------------------------------
 */

static void blame(checker *c, ntk_check check, int64_t number) {
  if (c->found.wrong[check]++ == 0 || number < c->found.first[check])
    c->found.first[check] = number;
}

/* Variances of entries are no definite matrix. */
static bool is_definite(const checker *c) {
  double combined;
  return c->facts->symmetric && !(ntk_kernel_number(c->file, "combined", &combined) &&
                                  strcmp(c->file->prefix, "/groups/variance") == 0);
}

/* A tile into `values`; false where it is not done, or not to be trusted. */
static ntk_status read_tile(checker *c, const ntk_tile *tile, double *values, bool *good) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout *l = &c->file->layout;
  const int64_t number = ntk_store_number(l, tile);
  const int64_t size = ntk_kernel_box_size(c->facts, tile);
  *good = false;
  if (!c->marks[number])
    goto done;
  NTK_TRY(ntk_store_check_tile(&c->source, number, c->raw, good));
  c->found.checked++;
  if (!*good)
    blame(c, NTK_CHECK_SUM, number);
  if (ntk_find_nonfinite(c->facts->dtype, c->raw, size) >= 0) {
    blame(c, NTK_CHECK_FINITE, number);
    *good = false;
  }
  ntk_convert(c->facts->dtype, c->raw, NTK_F64, values, size);
done:
  return status;
}

/* Is each of the matrices of `a` the transpose of that of b? */
static bool are_transposes(const ntk_kernel_view *v, const double *a, const double *b) {
  const int64_t size = v->rows * v->columns;
  for (int64_t m = 0; m < v->planes; m++)
    for (int64_t i = 0; i < v->rows; i++)
      for (int64_t j = 0; j < v->columns; j++)
        if (a[m * size + i * v->columns + j] != b[m * size + j * v->rows + i])
          return false;
  return true;
}

static const double *diagonal_of(const checker *c, const ntk_kernel_view *v, int64_t m) {
  return c->diagonal + (v->plane + m) * c->size;
}

static bool is_non_negative(const checker *c, const ntk_kernel_view *v) {
  for (int64_t m = 0; m < v->planes; m++)
    for (int64_t i = 0; i < v->rows; i++)
      if (diagonal_of(c, v, m)[ntk_kernel_index(v, 0, i)] < 0)
        return false;
  return true;
}

/* |K_ij| <= sqrt(K_ii K_jj), but for rounding. */
static bool has_minors(const checker *c, const ntk_kernel_view *v, const double *values) {
  const double most = 1 + ntk_kernel_rounding(c->facts);
  for (int64_t m = 0; m < v->planes; m++) {
    const double *d = diagonal_of(c, v, m);
    for (int64_t i = 0; i < v->rows; i++) {
      const double row = most * sqrt(fmax(d[ntk_kernel_index(v, 0, i)], 0));
      for (int64_t j = 0; j < v->columns; j++)
        if (fabs(*values++) > row * sqrt(fmax(d[ntk_kernel_index(v, 1, j)], 0)))
          return false;
    }
  }
  return true;
}

/* weight: 2 where the box stands for its transpose, too. */
static void add_forms(checker *c, const ntk_kernel_view *v, double weight,
                      const double *values) {
  for (int64_t m = 0; m < v->planes; m++)
    for (int64_t i = 0; i < v->rows; i++) {
      const int row = c->signs[ntk_kernel_index(v, 0, i)];
      double sum[FORMS] = {0};
      for (int64_t j = 0; j < v->columns; j++, values++) {
        const int signs = row ^ c->signs[ntk_kernel_index(v, 1, j)];
        for (int f = 0; f < FORMS; f++)
          sum[f] += signs >> f & 1 ? -*values : *values;
      }
      for (int f = 0; f < FORMS; f++)
        c->form[v->plane + m][f] += weight * sum[f];
    }
}

static ntk_status check_symmetric(checker *c, const ntk_tile *tile) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_view v = ntk_kernel_view_of(c->facts, tile);
  const ntk_tile mirrored = ntk_kernel_transpose(tile);
  const int64_t number = ntk_store_number(&c->file->layout, tile);
  const bool own = ntk_kernel_is_diagonal(tile);
  bool there = true;
  if (!own && !c->facts->half)
    NTK_TRY(read_tile(c, &mirrored, c->b, &there));
  if (there && (own || !c->facts->half) && !are_transposes(&v, c->a, own ? c->a : c->b))
    blame(c, NTK_CHECK_SYMMETRY, number);
  if (own && !is_non_negative(c, &v))
    blame(c, NTK_CHECK_DIAGONAL, number);
  if (c->definite && !has_minors(c, &v, c->a))
    blame(c, NTK_CHECK_MINORS, number);
  add_forms(c, &v, own ? 1 : 2, c->a);
done:
  return status;
}

/* This rank's share of the tiles. */
static ntk_status check_share(checker *c) {
  ntk_status status = NTK_SUCCESS;
  bool good, there;
  for (int64_t k = c->context->rank; k < ntk_kernel_boxes(c->file); k += c->context->size) {
    const ntk_tile tile = ntk_kernel_box(c->file, k);
    NTK_TRY(read_tile(c, &tile, c->a, &good));
    if (c->facts->symmetric && good) {
      NTK_TRY(check_symmetric(c, &tile));
    } else if (c->facts->symmetric && !c->facts->half && !ntk_kernel_is_diagonal(&tile)) {
      const ntk_tile mirrored = ntk_kernel_transpose(&tile);
      NTK_TRY(read_tile(c, &mirrored, c->b, &there));
    }
  }
done:
  return status;
}

/* ---- the diagonal ---------------------------------------------------------------------
 */

static void take_diagonal(checker *c, const ntk_tile *tile) {
  const ntk_kernel_view v = ntk_kernel_view_of(c->facts, tile);
  for (int64_t m = 0; m < v.planes; m++)
    for (int64_t i = 0; i < v.rows; i++) {
      const double x = c->a[(m * v.rows + i) * v.columns + i];
      if (isfinite(x))
        c->diagonal[(v.plane + m) * c->size + ntk_kernel_index(&v, 0, i)] = x;
    }
}

static ntk_status read_diagonal(checker *c) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t i = 0; i < c->facts->matrices * c->size; i++)
    c->diagonal[i] = INFINITY;
  for (int64_t k = c->context->rank; k < ntk_kernel_boxes(c->file); k += c->context->size) {
    const ntk_tile tile = ntk_kernel_box(c->file, k);
    if (!ntk_kernel_is_diagonal(&tile) ||
        !c->marks[ntk_store_number(&c->file->layout, &tile)])
      continue;
    NTK_TRY(ntk_kernel_read(c->file, &tile, c->a));
    take_diagonal(c, &tile);
  }
done:
  return status;
}

static ntk_status share_diagonal(checker *c) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_reduce(c->diagonal, c->facts->matrices * c->size, MPI_MIN, c->context->comm));
  c->found.least_diagonal = INFINITY;
  for (int64_t i = 0; i < c->facts->matrices * c->size; i++) {
    c->trace[i / c->size] += c->diagonal[i];
    c->found.least_diagonal = fmin(c->found.least_diagonal, c->diagonal[i]);
  }
done:
  return status;
}

/* ---- all ------------------------------------------------------------------------------
 */

static ntk_status read_marks(checker *c) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout *l = &c->file->layout;
  const int64_t zero[NTK_STORE_AXES] = {0};
  hid_t done_set = 0;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, c->facts->tiles, 1, &c->marks));
  NTK_TRY(ntk_kernel_open_set(c->file, "/tiles/done", &done_set));
  NTK_TRY(
      ntk_h5_read_box(c->file->path, done_set, l->marks, zero, l->tiles, NTK_U8, c->marks));
done:
  ntk_h5_close(&done_set);
  return status;
}

static ntk_status allocate(checker *c, uint64_t seed) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout *l = &c->file->layout;
  const int64_t elements = ntk_store_tile_elements(l), matrices = c->facts->matrices;
  NTK_TRY(
      ntk_malloc(NTK_MEMORY_TILES, elements, ntk_dtype_bytes(c->facts->dtype), &c->raw));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, elements, sizeof *c->a, &c->a));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, matrices, sizeof *c->form, &c->form));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, matrices, sizeof *c->trace, &c->trace));
  if (!c->facts->symmetric)
    goto done;
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, elements, sizeof *c->b, &c->b));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, matrices * c->size, sizeof *c->diagonal,
                     &c->diagonal));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, c->size, 1, &c->signs));
  for (int64_t i = 0; i < c->size; i++)
    c->signs[i] = (uint8_t)(ntk_random_bits(seed, 1, (uint64_t)i) & ((1 << FORMS) - 1));
done:
  return status;
}

static ntk_status prepare(checker *c, uint64_t seed) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_kernel_open_set(c->file, "/tiles/checksum", &c->checksum));
  c->source = (ntk_store_source){c->file->path, &c->file->layout, c->facts->dtype,
                                 c->file->kernel, c->checksum};
  NTK_TRY(read_marks(c));
  NTK_TRY(allocate(c, seed));
done:
  return status;
}

/* Where all tiles are right, a quadratic form may only be negative by rounding. */
static void judge_forms(checker *c) {
  ntk_kernel_checks *found = &c->found;
  found->forms = c->definite && c->facts->done == c->facts->tiles &&
                         found->wrong[NTK_CHECK_SUM] == 0 &&
                         found->wrong[NTK_CHECK_FINITE] == 0
                     ? FORMS
                     : 0;
  found->least_form = INFINITY;
  for (int64_t m = 0; m < c->facts->matrices; m++)
    for (int f = 0; f < found->forms; f++)
      found->least_form =
          fmin(found->least_form, c->trace[m] > 0 ? c->form[m][f] / c->trace[m] : 0);
}

static ntk_status share_findings(checker *c) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = c->context->comm;
  ntk_kernel_checks *found = &c->found;
  for (int k = 0; k < NTK_CHECKS; k++) {
    found->is_applied[k] = k <= NTK_CHECK_FINITE ||
                           (k == NTK_CHECK_MINORS ? c->definite : c->facts->symmetric);
    if (found->wrong[k] == 0)
      found->first[k] = INT64_MAX;
  }
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &found->checked, 1, MPI_INT64_T, MPI_SUM, comm));
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, found->wrong, NTK_CHECKS, MPI_INT64_T, MPI_SUM, comm));
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, found->first, NTK_CHECKS, MPI_INT64_T, MPI_MIN, comm));
  if (c->facts->symmetric) {
    NTK_TRY(ntk_reduce(*c->form, c->facts->matrices * FORMS, MPI_SUM, comm));
    judge_forms(c);
  }
done:
  return status;
}

ntk_status ntk_kernel_check(ntk_context *context, const ntk_kernel_file *file,
                            uint64_t seed, ntk_kernel_checks *out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *facts = ntk_kernel_get_facts(file);
  checker c = {.context = context,
               .file = file,
               .facts = facts,
               .size = facts->rows * facts->per_sample};
  c.definite = is_definite(&c);
  NTK_TRY(ntk_agree(context->comm, prepare(&c, seed)));
  if (facts->symmetric) {
    NTK_TRY(ntk_agree(context->comm, read_diagonal(&c)));
    NTK_TRY(share_diagonal(&c));
  }
  NTK_TRY(ntk_agree(context->comm, check_share(&c)));
  NTK_TRY(share_findings(&c));
  *out = c.found;
done:
  ntk_h5_close(&c.checksum);
  ntk_free(&c.marks);
  ntk_free(&c.raw);
  ntk_free(&c.a);
  ntk_free(&c.b);
  ntk_free(&c.diagonal);
  ntk_free(&c.trace);
  ntk_free(&c.signs);
  ntk_free(&c.form);
  return status;
}

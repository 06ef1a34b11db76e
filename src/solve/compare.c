/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/options.h"
#include "base/text.h"
#include "dist/grid.h"
#include "io/kernel_check.h"
#include "solve/lanczos.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <scantk/kernel.h>
#include <string.h>

/* Sums over the entries, as they stand in a message. */
enum { AA, BB, AB, DD, SUMS };
/* Largest in size. */
enum { MOST_A, MOST_B, MOST_D, MOSTS };

typedef struct comparison {
  ntk_context *context;
  ntk_kernel_file *files[2];
  const ntk_kernel_facts *facts[2];
  int leader; /* the file whose boxes are gone through: the one with more outputs apart */
  double *values[2], *small;
  double sums[SUMS], most[MOSTS];
  int64_t at[4]; /* sample, output; sample, output of the largest difference */
  int64_t count; /* eigenvalues */
  double *spectra[2];
} comparison;

/* ---- entries of one kernel in the boxes of another --------------------------------------
 */

/* How far outputs are kept apart: not, pairs of the same, all pairs. */
static int detail_of(const ntk_kernel_facts *k) {
  return k->reduction == NTK_REDUCE_NONE ? 2 : k->reduction == NTK_REDUCE_DIAGONAL;
}

/* The box of the same samples in a kernel of less detail. */
static ntk_tile box_in(const ntk_kernel_facts *k, const ntk_tile *box) {
  ntk_tile small = *box;
  if (detail_of(k) == 0) {
    small.row_output = small.column_output = 0;
    small.row_outputs = small.column_outputs = 1;
  } else {
    small.column_output = small.row_output;
    small.column_outputs = small.row_outputs;
  }
  return small;
}

/* K x I_O, or a matrix for each output, as the full kernel has it. */
static void spread_full(const ntk_tile *box, bool planes, const double *small,
                        double *values) {
  const int64_t N = box->row_count, O = box->row_outputs, M = box->column_count,
                P = box->column_outputs;
  for (int64_t n = 0; n < N; n++)
    for (int64_t o = 0; o < O; o++)
      for (int64_t m = 0; m < M; m++)
        for (int64_t p = 0; p < P; p++)
          *values++ = box->row_output + o == box->column_output + p
                          ? small[((planes ? o : 0) * N + n) * M + m]
                          : 0;
}

static ntk_status read_like(comparison *c, int which, const ntk_tile *box) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = c->facts[which], *lead = c->facts[c->leader];
  double *values = c->values[which];
  if (detail_of(k) == detail_of(lead))
    return ntk_kernel_read(c->files[which], box, values);
  const ntk_tile small = box_in(k, box);
  const int64_t size = ntk_kernel_box_size(k, &small);
  NTK_TRY(ntk_kernel_read(c->files[which], &small, c->small));
  if (detail_of(lead) == 2)
    spread_full(box, detail_of(k) == 1, c->small, values);
  else
    for (int64_t o = 0; o < box->row_outputs; o++)
      memcpy(values + o * size, c->small, (size_t)size * sizeof *values);
done:
  return status;
}

/* ---- sums -----------------------------------------------------------------------------
 */

/* Entry i of a box: sample, output; sample, output. */
static void place_of(const comparison *c, const ntk_tile *box, int64_t i, int64_t at[4]) {
  const ntk_kernel_view v = ntk_kernel_view_of(c->facts[c->leader], box);
  const int64_t plane = i / (v.rows * v.columns), inside = i % (v.rows * v.columns);
  const int64_t row = inside / v.columns, column = inside % v.columns;
  at[0] = box->row_first + row / v.outputs[0];
  at[1] = v.output[0] + row % v.outputs[0] + v.plane + plane;
  at[2] = box->column_first + column / v.outputs[1];
  at[3] = v.output[1] + column % v.outputs[1] + v.plane + plane;
}

static void add_box(comparison *c, const ntk_tile *box, double weight) {
  const int64_t size = ntk_kernel_box_size(c->facts[c->leader], box);
  const double *a = c->values[0], *b = c->values[1];
  for (int64_t i = 0; i < size; i++) {
    const double d = a[i] - b[i];
    c->sums[AA] += weight * a[i] * a[i];
    c->sums[BB] += weight * b[i] * b[i];
    c->sums[AB] += weight * a[i] * b[i];
    c->sums[DD] += weight * d * d;
    c->most[MOST_A] = fmax(c->most[MOST_A], fabs(a[i]));
    c->most[MOST_B] = fmax(c->most[MOST_B], fabs(b[i]));
    if (fabs(d) > c->most[MOST_D]) {
      c->most[MOST_D] = fabs(d);
      place_of(c, box, i, c->at);
    }
  }
}

static ntk_status compare_box(comparison *c, const ntk_tile *box, double weight) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = ntk_kernel_box_size(c->facts[c->leader], box);
  for (int which = 0; which < 2; which++) {
    NTK_TRY(read_like(c, which, box));
    NTK_REQUIRE(ntk_find_nonfinite(NTK_F64, c->values[which], size) < 0, NTK_ERR_NONFINITE,
                "%s: NaN or infinity among samples %" PRId64 "... and %" PRId64
                "...: scantk verify names the tile",
                c->facts[which]->path, box->row_first, box->column_first);
  }
  add_box(c, box, weight);
done:
  return status;
}

/* Where both are symmetric each pair of tiles is read once. */
static ntk_status compare_share(comparison *c) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_file *lead = c->files[c->leader];
  const bool both = c->facts[0]->symmetric && c->facts[1]->symmetric;
  for (int64_t k = c->context->rank; k < ntk_kernel_boxes(lead); k += c->context->size) {
    const ntk_tile box = ntk_kernel_box(lead, k);
    const bool pair = c->facts[c->leader]->symmetric && !ntk_kernel_is_diagonal(&box);
    const ntk_tile mirrored = ntk_kernel_transpose(&box);
    NTK_TRY(compare_box(c, &box, pair && both ? 2 : 1));
    if (pair && !both)
      NTK_TRY(compare_box(c, &mirrored, 1));
  }
done:
  return status;
}

static ntk_status share_sums(comparison *c) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = c->context->comm;
  struct {
    double value;
    int rank;
  } worst = {c->most[MOST_D], c->context->rank};
  NTK_TRY(ntk_reduce(c->sums, SUMS, MPI_SUM, comm));
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &worst, 1, MPI_DOUBLE_INT, MPI_MAXLOC, comm));
  NTK_TRY(ntk_reduce(c->most, MOSTS, MPI_MAX, comm));
  NTK_TRY_MPI(MPI_Bcast(c->at, 4, MPI_INT64_T, worst.rank, comm));
done:
  return status;
}

/* ---- spectra --------------------------------------------------------------------------
 */

/* Sorts the values of all matrices of a kernel, the largest first. */
static void insert(double *list, int64_t count, double value) {
  for (int64_t i = 0; i < count; i++)
    if (value > list[i]) {
      const double moved = list[i];
      list[i] = value;
      value = moved;
    }
}

/* Eigenvalues of the matrix that file `which` stands for beside the leader: K x I_O has
 * each O times. */
static ntk_status find_spectrum(comparison *c, int which) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = c->facts[which], *lead = c->facts[c->leader];
  const int64_t times = detail_of(k) == 0 && detail_of(lead) > 0 ? lead->outputs : 1;
  const int64_t size = k->rows * k->per_sample;
  const int64_t want = (c->count + times - 1) / times, count = want < size ? want : size;
  ntk_tiles tiles = {0};
  ntk_lanczos found = {0};
  for (int64_t i = 0; i < c->count; i++)
    c->spectra[which][i] = -INFINITY;
  for (int64_t plane = 0; plane < k->matrices; plane++) {
    NTK_TRY(ntk_tiles_create(c->context, c->files[which], plane, ntk_lanczos_block(count),
                             ntk_tiles_room(c->context), &tiles));
    NTK_TRY(ntk_lanczos_create(&tiles, count, &found));
    for (int64_t i = 0; i < count * times; i++)
      insert(c->spectra[which], c->count, found.values[i / times]);
    ntk_lanczos_destroy(&found);
    ntk_tiles_destroy(&tiles);
  }
done:
  ntk_lanczos_destroy(&found);
  ntk_tiles_destroy(&tiles);
  return status;
}

static ntk_status compare_spectra(comparison *c) {
  ntk_status status = NTK_SUCCESS;
  if (c->count == 0)
    return NTK_SUCCESS;
  for (int which = 0; which < 2; which++) {
    NTK_REQUIRE(c->facts[which]->symmetric, NTK_ERR_ARGUMENT,
                "--spectra: %s is no symmetric kernel", c->facts[which]->path);
    NTK_TRY(ntk_agree(c->context->comm, ntk_malloc(NTK_MEMORY_GENERAL, c->count,
                                                   sizeof(double), &c->spectra[which])));
  }
  NTK_TRY(find_spectrum(c, 0));
  NTK_TRY(find_spectrum(c, 1));
done:
  return status;
}

/* ---- words ----------------------------------------------------------------------------
 */

typedef struct measures {
  double frobenius, largest, cosine;
} measures;

static double ratio(double a, double b) { return a == 0 ? 0 : a / b; }

static measures measures_of(const comparison *c) {
  return (measures){.frobenius = ratio(sqrt(c->sums[DD]), sqrt(c->sums[BB])),
                    .largest = ratio(c->most[MOST_D], c->most[MOST_B]),
                    .cosine =
                        c->sums[AA] == 0 && c->sums[BB] == 0
                            ? 1
                            : ratio(c->sums[AB], sqrt(c->sums[AA]) * sqrt(c->sums[BB]))};
}

static ntk_status describe_words(const comparison *c, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const measures m = measures_of(c);
  NTK_TRY(ntk_text_add(text, "A           %s\nB           %s\n", c->facts[0]->path,
                       c->facts[1]->path));
  if (c->facts[0]->group)
    NTK_TRY(ntk_text_add(text, "group       %s\n", c->facts[0]->group));
  NTK_TRY(
      ntk_text_add(text,
                   "norms       |A| %.9g, |B| %.9g\n|A - B|     %.3g of |B|\nlargest     "
                   "%.3g of the largest of B",
                   sqrt(c->sums[AA]), sqrt(c->sums[BB]), m.frobenius, m.largest));
  if (c->most[MOST_D] > 0)
    NTK_TRY(ntk_text_add(text,
                         ", at sample %" PRId64 ", output %" PRId64 "; sample %" PRId64
                         ", output %" PRId64,
                         c->at[0], c->at[1], c->at[2], c->at[3]));
  NTK_TRY(ntk_text_add(text, "\ncosine      %.12g\n", m.cosine));
  for (int64_t i = 0; i < c->count; i++)
    NTK_TRY(ntk_text_add(text, "%-11s %.9g, %.9g\n", i == 0 ? "eigenvalues" : "",
                         c->spectra[0][i], c->spectra[1][i]));
done:
  return status;
}

static ntk_status add_list(ntk_text *text, const char *name, int64_t count,
                           const double *values) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, ", \"%s\": [", name));
  for (int64_t i = 0; i < count; i++)
    NTK_TRY(ntk_text_add(text, "%s%.17g", i > 0 ? ", " : "", values[i]));
  NTK_TRY(ntk_text_add(text, "]"));
done:
  return status;
}

static ntk_status describe_json(const comparison *c, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const measures m = measures_of(c);
  NTK_TRY(ntk_text_add(text, "{\"a\": "));
  NTK_TRY(ntk_text_add_json(text, c->facts[0]->path));
  NTK_TRY(ntk_text_add(text, ", \"b\": "));
  NTK_TRY(ntk_text_add_json(text, c->facts[1]->path));
  NTK_TRY(ntk_text_add(text, ", \"group\": "));
  NTK_TRY(ntk_text_add_json(text, c->facts[0]->group));
  NTK_TRY(ntk_text_add(text,
                       ", \"norms\": [%.17g, %.17g], \"frobenius\": %.17g, \"largest\": "
                       "%.17g, \"at\": [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                       "], \"cosine\": %.17g",
                       sqrt(c->sums[AA]), sqrt(c->sums[BB]), m.frobenius, m.largest,
                       c->at[0], c->at[1], c->at[2], c->at[3], m.cosine));
  if (c->count > 0) {
    NTK_TRY(add_list(text, "eigenvalues_a", c->count, c->spectra[0]));
    NTK_TRY(add_list(text, "eigenvalues_b", c->count, c->spectra[1]));
  }
  NTK_TRY(ntk_text_add(text, "}\n"));
done:
  return status;
}

/* ---- all ------------------------------------------------------------------------------
 */

static ntk_status check_shapes(const comparison *c) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *a = c->facts[0], *b = c->facts[1];
  NTK_REQUIRE(a->rows == b->rows && a->columns == b->columns, NTK_ERR_SHAPE,
              "%s has %" PRId64 " x %" PRId64 " samples, %s %" PRId64 " x %" PRId64,
              a->path, a->rows, a->columns, b->path, b->rows, b->columns);
  NTK_REQUIRE(detail_of(a) == 0 || detail_of(b) == 0 || a->outputs == b->outputs,
              NTK_ERR_SHAPE, "%s has %" PRId64 " outputs, %s %" PRId64, a->path, a->outputs,
              b->path, b->outputs);
done:
  return status;
}

/* Kernels of other samples may be compared, but that should be known. */
static ntk_status warn_of_samples(const comparison *c) {
  ntk_status status = NTK_SUCCESS;
  int64_t first[2];
  for (int side = 0; side < 2; side++) {
    for (int which = 0; which < 2; which++)
      NTK_TRY(ntk_kernel_read_side(c->files[which], "sample", side, 0, 1, NTK_I64,
                                   &first[which]));
    if (first[0] != first[1])
      ntk_say(c->context, NTK_REPORT_WARNING,
              "%s begin at sample %" PRId64 " in %s, at %" PRId64 " in %s",
              side == 0 ? "rows" : "columns", first[0], c->facts[0]->path, first[1],
              c->facts[1]->path);
  }
done:
  return status;
}

static ntk_status open_files(comparison *c, const char *const paths[2], const char *group) {
  ntk_status status = NTK_SUCCESS;
  for (int which = 0; which < 2; which++) {
    NTK_TRY(ntk_kernel_open(paths[which], group, &c->files[which]));
    c->facts[which] = ntk_kernel_get_facts(c->files[which]);
    NTK_TRY(ntk_kernel_require_complete(c->files[which]));
  }
  NTK_TRY(check_shapes(c));
  NTK_TRY(warn_of_samples(c));
  c->leader = detail_of(c->facts[1]) > detail_of(c->facts[0]);
  const int64_t most = ntk_kernel_most(c->facts[c->leader]);
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, sizeof(double), &c->values[0]));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, sizeof(double), &c->values[1]));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, sizeof(double), &c->small));
done:
  return status;
}

static ntk_status compare(comparison *c, bool json, char **text) {
  ntk_status status = NTK_SUCCESS;
  ntk_text words = {0};
  NTK_TRY(ntk_agree(c->context->comm, compare_share(c)));
  NTK_TRY(share_sums(c));
  NTK_TRY(compare_spectra(c));
  NTK_TRY(ntk_agree(c->context->comm,
                    json ? describe_json(c, &words) : describe_words(c, &words)));
  NTK_TRY(ntk_bcast_text(words.data, c->context->comm, text));
done:
  ntk_text_clear(&words);
  return status;
}

ntk_status ntk_kernel_compare(ntk_context *context, const char *a, const char *b,
                              const char *options, char **text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_option *const tables[] = {ntk_option_table("compare"),
                                      ntk_option_table("group"),
                                      ntk_option_table("describe"), NULL};
  const char *const paths[2] = {a, b};
  const int threads = ntk_blas_set_threads(omp_get_max_threads());
  ntk_options *parsed = NULL;
  comparison c = {.context = context};
  NTK_TRY(ntk_options_parse_texts(tables, options, &parsed));
  if (ntk_options_given(parsed, "spectra"))
    c.count = ntk_options_int(parsed, "spectra");
  NTK_TRY(
      ntk_agree(context->comm, open_files(&c, paths, ntk_options_string(parsed, "group"))));
  NTK_TRY(compare(&c, ntk_options_flag(parsed, "json"), text));
done:
  (void)ntk_blas_set_threads(threads);
  for (int which = 0; which < 2; which++) {
    ntk_kernel_close(&c.files[which]);
    ntk_free(&c.values[which]);
    ntk_free(&c.spectra[which]);
  }
  ntk_free(&c.small);
  ntk_options_destroy(&parsed);
  return status;
}

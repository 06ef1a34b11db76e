/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/memory_limit.h"
#include "base/options.h"
#include "base/text.h"
#include "dist/grid.h"
#include "io/results.h"
#include "io/store.h"
#include "solve/lanczos.h"
#include "solve/spectrum_parts.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <scantk/spectrum.h>
#include <string.h>

enum {
  VECTORS = 16
}; /* of labels that are multiplied, or eigenvectors written, at a time */

typedef struct spectrum {
  ntk_context *context;
  ntk_options *options;
  ntk_kernel_file *file;
  const ntk_kernel_facts *facts;
  int64_t n;                 /* rows of a matrix */
  int64_t largest, smallest; /* eigenvalues that are kept from each end */
  int64_t count;             /* both */
  bool all, lanczos, vectors;
  ntk_eigensolver solver; /* of all eigenvalues */
  int nb;
  ntk_blacs grid;
  ntk_matrix z;             /* eigenvectors of the matrix at hand, in columns, rising */
  ntk_lanczos found;        /* or these */
  ntk_label_vectors labels; /* of the matrix at hand */
  double *rising;           /* [n] its eigenvalues, where all are found */
  double *values;           /* [matrices, count] falling */
  double *shares;           /* [matrices, count] of the labels' square */
  double *rows;             /* [VECTORS, n] eigenvectors on their way */
  ntk_results *results;     /* on rank 0 */
  /* of all matrices */
  double trace, square, positive, entropy, most, least, residual;
  double label_form, label_square; /* y'Ky, y'y */
  int64_t copies, below_zero, products;
} spectrum;

/* ---- what is wanted -------------------------------------------------------------------
 */

static ntk_status choose_count(spectrum *s) {
  ntk_status status = NTK_SUCCESS;
  const char *which = ntk_options_string(s->options, "which");
  int64_t count = s->n;
  if (ntk_options_given(s->options, "count"))
    count = ntk_options_int(s->options, "count");
  else
    NTK_REQUIRE(!which, NTK_ERR_ARGUMENT, "--which %s is of --count", which);
  NTK_REQUIRE(count <= s->n, NTK_ERR_ARGUMENT,
              "--count %" PRId64 ": the kernel of %s has %" PRId64 " eigenvalues", count,
              s->facts->path, s->n);
  s->largest = which && strcmp(which, "smallest") == 0 ? 0 : count;
  s->smallest = which && strcmp(which, "largest") != 0 ? count : 0;
  s->all = s->largest + s->smallest >= s->n;
  if (s->all) {
    s->largest = s->n;
    s->smallest = 0;
  }
  s->count = s->largest + s->smallest;
done:
  return status;
}

static ntk_status choose_method(spectrum *s) {
  ntk_status status = NTK_SUCCESS;
  const char *method = ntk_options_string(s->options, "method");
  const bool few = s->smallest == 0 && s->n > 500 && s->largest <= s->n / 10;
  s->lanczos = method[0] == 'l' || (method[0] == 'a' && few);
  NTK_REQUIRE(!s->lanczos || s->smallest == 0, NTK_ERR_ARGUMENT,
              "--method lanczos finds the largest eigenvalues alone: the smallest lie too "
              "close together");
  NTK_REQUIRE(!s->lanczos || !ntk_options_given(s->options, "eigensolver"),
              NTK_ERR_ARGUMENT, "--eigensolver is of all eigenvalues: --method dense");
  if (!s->lanczos)
    NTK_TRY(ntk_eigensolver_choose(ntk_options_string(s->options, "eigensolver"), s->n,
                                   s->nb, s->context->size, s->vectors, &s->solver));
done:
  return status;
}

static ntk_status open_kernel(spectrum *s, const char *path) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_kernel_open(path, ntk_options_string(s->options, "group"), &s->file));
  s->facts = ntk_kernel_get_facts(s->file);
  NTK_REQUIRE(
      s->facts->symmetric, NTK_ERR_ARGUMENT,
      "%s: eigenvalues are of a kernel whose rows and columns are the same samples; "
      "this one has %" PRId64 " x %" PRId64 ", made with --inputs2 or --range2",
      s->facts->path, s->facts->rows, s->facts->columns);
  NTK_TRY(ntk_kernel_require_complete(s->file));
  s->n = s->facts->rows * s->facts->per_sample;
  const int64_t nb = ntk_options_int(s->options, "nb");
  s->nb = (int)(nb < s->n ? nb : s->n);
  s->vectors = ntk_options_flag(s->options, "vectors");
  s->most = -INFINITY;
  s->least = INFINITY;
  NTK_TRY(choose_count(s));
  NTK_TRY(choose_method(s));
done:
  return status;
}

static ntk_status allocate(spectrum *s) {
  ntk_status status = NTK_SUCCESS;
  const int64_t all = s->facts->matrices * s->count;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, s->n, sizeof *s->rising, &s->rising));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, all, sizeof *s->values, &s->values));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, all, sizeof *s->shares, &s->shares));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, VECTORS * s->n, sizeof *s->rows, &s->rows));
done:
  return status;
}

/* ---- the file -------------------------------------------------------------------------
 */

/* [K], of a diagonal kernel [O, K]. */
static ntk_shape shape_of(const spectrum *s) {
  return s->facts->matrices > 1
             ? (ntk_shape){.ndim = 2, .dim = {s->facts->matrices, s->count}}
             : (ntk_shape){.ndim = 1, .dim = {s->count}};
}

static ntk_status start_file(spectrum *s, const char *output) {
  ntk_status status = NTK_SUCCESS;
  const int64_t rows = s->facts->matrices * s->count;
  const ntk_shape vectors = {.ndim = 2, .dim = {rows, s->n}};
  const int64_t bytes = 8 * rows * (3 + (s->vectors ? s->n : 0)) + 65536;
  if (s->context->rank == 0)
    status = ntk_results_create(output, "scantk-spectrum 1", bytes, &s->results);
  if (s->results && s->vectors)
    status = ntk_results_put(s->results, "eigenvectors", NTK_F64, &vectors, NULL);
  NTK_TRY(ntk_agree(s->context->comm, status));
done:
  return status;
}

static ntk_status write_numbers(const spectrum *s) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = {.ndim = 1, .dim = {s->count}};
  int64_t *numbers = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, s->count, sizeof *numbers, &numbers));
  for (int64_t k = 0; k < s->count; k++)
    numbers[k] = k < s->largest ? k : s->n - s->count + k;
  NTK_TRY(ntk_results_put(s->results, "number", NTK_I64, &shape, numbers));
done:
  ntk_free(&numbers);
  return status;
}

/* Numbers of the outputs whose matrices these are. */
static ntk_status write_outputs(const spectrum *s) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = {.ndim = 1, .dim = {s->facts->matrices}};
  int64_t *numbers = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, s->facts->matrices, sizeof *numbers, &numbers));
  NTK_TRY(
      ntk_kernel_read_side(s->file, "output", 0, 0, s->facts->matrices, NTK_I64, numbers));
  NTK_TRY(ntk_results_put(s->results, "output", NTK_I64, &shape, numbers));
done:
  ntk_free(&numbers);
  return status;
}

/* Everything but the vectors, on rank 0. */
static ntk_status finish_file(const spectrum *s, const char *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = shape_of(s);
  const char *axes[] = {"output", "number"};
  char *provenance = NULL;
  NTK_TRY(ntk_results_put(s->results, "eigenvalues", NTK_F64, &shape, s->values));
  if (s->vectors && s->label_square > 0)
    NTK_TRY(ntk_results_put(s->results, "label_share", NTK_F64, &shape, s->shares));
  NTK_TRY(write_numbers(s));
  if (s->facts->matrices > 1)
    NTK_TRY(write_outputs(s));
  NTK_TRY(ntk_results_plot(s->results, "eigenvalues", shape.ndim, axes + 2 - shape.ndim));
  NTK_TRY(ntk_store_read_text(s->facts->path, "/provenance", &provenance));
  NTK_TRY(ntk_results_put_text(s->results, "kernel_provenance", provenance));
  NTK_TRY(ntk_results_put_text(s->results, "summary", text));
done:
  ntk_free(&provenance);
  return status;
}

/* ---- vectors --------------------------------------------------------------------------
 */

/* Number k .. k + count of the kept eigenvectors, in rows, on rank 0. */
static ntk_status gather_vectors(spectrum *s, int64_t k, int64_t count) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t i = 0; s->lanczos && i < count; i++)
    NTK_TRY(ntk_lanczos_gather(s->context, &s->found, k + i, s->rows + i * s->n));
  for (int64_t i = 0; !s->lanczos && i < count; i++) {
    const int64_t number = k + i < s->largest ? k + i : s->n - s->count + k + i;
    NTK_TRY(ntk_dense_gather(s->context, &s->z, s->n - 1 - number, 1, s->rows + i * s->n));
  }
done:
  return status;
}

/* What part of the labels' square lies along a vector. */
static double share_of(const spectrum *s, const double *vector) {
  double sum = 0;
  for (int64_t c = 0; c < s->labels.count; c++) {
    double product = 0;
    for (int64_t i = 0; i < s->n; i++)
      product += vector[i] * s->labels.values[c * s->n + i];
    sum += product * product;
  }
  return s->labels.square > 0 ? sum / s->labels.square : 0;
}

static ntk_status keep_vectors(spectrum *s, int64_t plane) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t k = 0; s->vectors && k < s->count; k += VECTORS) {
    const int64_t count = s->count - k < VECTORS ? s->count - k : VECTORS;
    NTK_TRY(gather_vectors(s, k, count));
    const int64_t row = plane * s->count + k;
    for (int64_t i = 0; s->context->rank == 0 && i < count; i++)
      s->shares[row + i] = share_of(s, s->rows + i * s->n);
    if (s->results)
      status = ntk_results_write(s->results, "eigenvectors", 0, row, count, s->rows);
    NTK_TRY(ntk_agree(s->context->comm, status));
  }
done:
  return status;
}

/* ---- one matrix -----------------------------------------------------------------------
 */

/* y'Ky of the labels. */
static ntk_status measure_labels(spectrum *s, ntk_tiles *tiles) {
  ntk_status status = NTK_SUCCESS;
  double *product = NULL;
  NTK_TRY(ntk_agree(s->context->comm, ntk_malloc(NTK_MEMORY_GENERAL, tiles->columns * s->n,
                                                 sizeof *product, &product)));
  for (int64_t c = 0; c < s->labels.count; c += tiles->columns) {
    const double *y = s->labels.values + c * s->n;
    const int64_t rest = s->labels.count - c;
    const int64_t columns = rest < tiles->columns ? rest : tiles->columns;
    NTK_TRY(ntk_tiles_multiply(tiles, columns, y, product));
    for (int64_t i = 0; i < columns * s->n; i++)
      s->label_form += y[i] * product[i];
  }
  s->label_square += s->labels.square;
  s->copies = s->labels.copies;
done:
  ntk_free(&product);
  return status;
}

/* The kernel as it stands in tiles: labels, and a few eigenvalues. */
static ntk_status use_tiles(spectrum *s, int64_t plane) {
  ntk_status status = NTK_SUCCESS;
  const int64_t block = s->lanczos ? ntk_lanczos_block(s->largest) : 1;
  const int64_t labels = s->labels.count < VECTORS ? s->labels.count : VECTORS;
  ntk_tiles tiles = {0};
  if (!s->lanczos && s->labels.count == 0)
    return NTK_SUCCESS;
  NTK_TRY(ntk_tiles_create(s->context, s->file, plane, block > labels ? block : labels,
                           ntk_tiles_room(s->context), &tiles));
  if (s->labels.count > 0)
    NTK_TRY(measure_labels(s, &tiles));
  if (!s->lanczos)
    goto done;
  s->trace += tiles.trace;
  s->square += tiles.frobenius * tiles.frobenius;
  NTK_TRY(ntk_lanczos_create(&tiles, s->largest, &s->found));
  s->products += s->found.products;
  for (int64_t k = 0; k < s->count; k++) {
    s->values[plane * s->count + k] = s->found.values[k];
    s->residual = fmax(s->residual, s->found.residuals[k] / fabs(s->found.values[0]));
  }
done:
  ntk_tiles_destroy(&tiles);
  return status;
}

/* All eigenvalues: what is kept of them, and the sums. */
static void take_values(spectrum *s, int64_t plane) {
  for (int64_t k = 0; k < s->count; k++) {
    const int64_t number = k < s->largest ? k : s->n - s->count + k;
    s->values[plane * s->count + k] = s->rising[s->n - 1 - number];
  }
  for (int64_t i = 0; i < s->n; i++) {
    const double x = s->rising[i];
    s->trace += x;
    s->square += x * x;
    s->below_zero += x <= 0;
    if (x > 0) {
      s->positive += x;
      s->entropy += x * log(x);
    }
  }
}

static ntk_status use_dense(spectrum *s, int64_t plane) {
  ntk_status status = NTK_SUCCESS;
  if (s->lanczos)
    return NTK_SUCCESS;
  if (s->vectors)
    NTK_TRY(ntk_matrix_create(s->context, &s->grid, s->n, s->n, s->nb, &s->z));
  NTK_TRY(ntk_dense_eigen(s->context, s->solver, s->file, plane, &s->grid, s->nb, s->rising,
                          s->vectors ? &s->z : NULL));
  take_values(s, plane);
  s->least = fmin(s->least, s->rising[0]);
done:
  return status;
}

static ntk_status do_matrix(spectrum *s, int64_t plane) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_agree(s->context->comm, ntk_labels_read(s->file, plane, &s->labels)));
  NTK_TRY(use_tiles(s, plane));
  NTK_TRY(use_dense(s, plane));
  NTK_TRY(keep_vectors(s, plane));
  const double first = s->lanczos ? s->found.values[0] : s->rising[s->n - 1];
  s->most = fmax(s->most, first);
done:
  ntk_labels_clear(&s->labels);
  ntk_lanczos_destroy(&s->found);
  ntk_matrix_destroy(&s->z);
  return status;
}

/* ---- what follows ---------------------------------------------------------------------
 */

typedef struct facts {
  double condition;      /* infinite where an eigenvalue is not positive */
  double effective_rank; /* Roy and Vetterli 2007 */
  double stable_rank;    /* |K|^2 / largest^2 */
  double alignment;      /* Cristianini et al. 2001 */
  double rate_of_sum, rate_of_mean;
} facts;

static facts facts_of(const spectrum *s) {
  const ntk_kernel_facts *k = s->facts;
  const bool pair = k->reduction == NTK_REDUCE_TRACE || k->reduction == NTK_REDUCE_PSEUDO;
  const int64_t outputs = pair ? k->network_outputs : k->outputs;
  const double norm = sqrt(s->square * (double)s->copies);
  return (facts){
      .condition = s->least > 0 ? s->most / s->least : INFINITY,
      .effective_rank = s->positive > 0 ? s->positive * exp(-s->entropy / s->positive) : 0,
      .stable_rank = s->square / (s->most * s->most),
      .alignment = s->label_square > 0 ? s->label_form / (norm * s->label_square) : 0,
      .rate_of_sum = 2 / s->most,
      .rate_of_mean = (double)(k->rows * outputs) / s->most};
}

static ntk_status describe_numbers(const spectrum *s, const facts *f, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "largest     %.12g\n", s->most));
  if (!s->lanczos) {
    NTK_TRY(ntk_text_add(text, "smallest    %.12g\n", s->least));
    if (s->below_zero > 0)
      NTK_TRY(ntk_text_add(
          text, "condition   infinite: %" PRId64 " eigenvalues are not positive\n",
          s->below_zero));
    else
      NTK_TRY(ntk_text_add(text, "condition   %.6g\n", f->condition));
    NTK_TRY(ntk_text_add(text, "effective rank %.6g (exp of the entropy of the spectrum)\n",
                         f->effective_rank));
  }
  NTK_TRY(ntk_text_add(text, "stable rank %.6g (|K|^2 / largest^2)\n", f->stable_rank));
  NTK_TRY(ntk_text_add(text, "trace       %.12g\n", s->trace));
  if (s->label_square > 0)
    NTK_TRY(ntk_text_add(text, "alignment   %.6g (of the labels: y'Ky / (|K| y'y))\n",
                         f->alignment));
  NTK_TRY(ntk_text_add(text,
                       "learning rate of gradient descent, below %.6g for the sum of (f - "
                       "y)^2 / 2,\n            below %.6g for the mean of (f - y)^2 over "
                       "samples and outputs\n",
                       f->rate_of_sum, f->rate_of_mean));
done:
  return status;
}

static ntk_status describe_words(const spectrum *s, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const facts f = facts_of(s);
  const ntk_kernel_facts *k = s->facts;
  const int64_t shown = s->count < 10 ? s->count : 10;
  NTK_TRY(ntk_text_add(text, "kernel      %s%s%s: %" PRId64 " x %" PRId64, k->path,
                       k->group ? ", group " : "", k->group ? k->group : "", s->n, s->n));
  if (k->matrices > 1)
    NTK_TRY(ntk_text_add(text, ", one for each of %" PRId64 " outputs", k->matrices));
  else if (k->reduction != NTK_REDUCE_NONE)
    NTK_TRY(ntk_text_add(text, ", stands for K x I_O"));
  NTK_TRY(ntk_text_add(text, "\neigenvalues %" PRId64 " by %s", s->count,
                       s->lanczos ? "block Lanczos" : ntk_eigensolver_name(s->solver)));
  if (s->lanczos)
    NTK_TRY(ntk_text_add(text,
                         ", residuals up to %.2g of the largest, %" PRId64 " products",
                         s->residual, s->products));
  NTK_TRY(ntk_text_add(text, "\n"));
  NTK_TRY(describe_numbers(s, &f, text));
  for (int64_t i = 0; i < shown && k->matrices == 1; i++)
    NTK_TRY(ntk_text_add(text, "%s%.6g", i > 0 ? ", " : "first       ", s->values[i]));
  if (k->matrices == 1)
    NTK_TRY(ntk_text_add(text, "%s\n", shown < s->count ? ", ..." : ""));
done:
  return status;
}

/* A number, or null where it is infinite. */
static ntk_status add_number(ntk_text *text, const char *name, double value) {
  return isfinite(value) ? ntk_text_add(text, ", \"%s\": %.17g", name, value)
                         : ntk_text_add(text, ", \"%s\": null", name);
}

static ntk_status describe_json(const spectrum *s, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const facts f = facts_of(s);
  NTK_TRY(ntk_text_add(text, "{\"path\": "));
  NTK_TRY(ntk_text_add_json(text, s->facts->path));
  NTK_TRY(ntk_text_add(text, ", \"group\": "));
  NTK_TRY(ntk_text_add_json(text, s->facts->group));
  NTK_TRY(ntk_text_add(
      text,
      ", \"rows\": %" PRId64 ", \"matrices\": %" PRId64
      ", \"method\": \"%s\", \"eigensolver\": \"%s\", \"not_positive\": %" PRId64,
      s->n, s->facts->matrices, s->lanczos ? "lanczos" : "dense",
      s->lanczos ? "block Lanczos" : ntk_eigensolver_name(s->solver), s->below_zero));
  NTK_TRY(add_number(text, "largest", s->most));
  NTK_TRY(add_number(text, "smallest", s->lanczos ? INFINITY : s->least));
  NTK_TRY(add_number(text, "condition", s->lanczos ? INFINITY : f.condition));
  NTK_TRY(add_number(text, "effective_rank", s->lanczos ? INFINITY : f.effective_rank));
  NTK_TRY(add_number(text, "stable_rank", f.stable_rank));
  NTK_TRY(add_number(text, "trace", s->trace));
  NTK_TRY(add_number(text, "frobenius", sqrt(s->square)));
  NTK_TRY(add_number(text, "alignment", s->label_square > 0 ? f.alignment : INFINITY));
  NTK_TRY(add_number(text, "learning_rate_of_sum", f.rate_of_sum));
  NTK_TRY(add_number(text, "learning_rate_of_mean", f.rate_of_mean));
  NTK_TRY(add_number(text, "residual", s->lanczos ? s->residual : INFINITY));
  NTK_TRY(ntk_text_add(text, ", \"eigenvalues\": ["));
  for (int64_t i = 0; i < s->facts->matrices * s->count; i++)
    NTK_TRY(ntk_text_add(text, "%s%.17g", i > 0 ? ", " : "", s->values[i]));
  NTK_TRY(ntk_text_add(text, "]}\n"));
done:
  return status;
}

/* ---- all ------------------------------------------------------------------------------
 */

static ntk_status find_all(spectrum *s, const char *output) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = s->context;
  if (output) {
    NTK_TRY(ntk_store_check(context, output, 0));
    NTK_TRY(start_file(s, output));
  }
  NTK_TRY(ntk_agree(context->comm, allocate(s)));
  if (!s->lanczos)
    NTK_TRY(ntk_blacs_create_square(context->comm, &s->grid));
  for (int64_t plane = 0; plane < s->facts->matrices; plane++)
    NTK_TRY(do_matrix(s, plane));
done:
  return status;
}

static ntk_status tell(spectrum *s, char **text) {
  ntk_status status = NTK_SUCCESS;
  const bool json = ntk_options_flag(s->options, "json");
  ntk_text words = {0}, summary = {0};
  status = json ? describe_json(s, &words) : describe_words(s, &words);
  if (status == NTK_SUCCESS && s->results)
    status = describe_json(s, &summary);
  if (status == NTK_SUCCESS && s->results)
    status = finish_file(s, summary.data);
  NTK_TRY(ntk_agree(s->context->comm, status));
  NTK_TRY(ntk_bcast_text(words.data, s->context->comm, text));
done:
  ntk_text_clear(&words);
  ntk_text_clear(&summary);
  return status;
}

/* The least cap of all ranks. */
static ntk_status set_cap(const spectrum *s, int64_t *before) {
  ntk_status status = NTK_SUCCESS;
  const char *bound_by;
  int64_t cap = ntk_memory_default_cap(s->context->sharers, &bound_by);
  if (ntk_options_given(s->options, "memory"))
    cap = ntk_options_bytes(s->options, "memory");
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &cap, 1, MPI_INT64_T, MPI_MIN, s->context->comm));
  *before = ntk_memory_set_cap(cap);
done:
  return status;
}

static void clear(spectrum *s) {
  ntk_kernel_close(&s->file);
  ntk_blacs_destroy(&s->grid);
  ntk_free(&s->rising);
  ntk_free(&s->values);
  ntk_free(&s->shares);
  ntk_free(&s->rows);
  ntk_options_destroy(&s->options);
}

ntk_status ntk_spectrum(ntk_context *context, const char *path, const char *options,
                        const char *output, char **text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_option *const tables[] = {ntk_option_table("spectrum"),
                                      ntk_option_table("group"),
                                      ntk_option_table("describe"), NULL};
  const int threads = ntk_blas_set_threads(omp_get_max_threads());
  spectrum s = {.context = context, .copies = 1};
  int64_t cap = -1;
  NTK_TRY(ntk_options_parse_texts(tables, options, &s.options));
  NTK_TRY(ntk_agree(context->comm, open_kernel(&s, path)));
  NTK_REQUIRE(output || !s.vectors, NTK_ERR_ARGUMENT, "--vectors needs --output");
  NTK_TRY(set_cap(&s, &cap));
  status = find_all(&s, output);
  if (status == NTK_SUCCESS)
    status = tell(&s, text);
  NTK_TRY(status);
  NTK_TRY(ntk_agree(context->comm, ntk_results_close(&s.results, NTK_SUCCESS)));
done:
  status = ntk_results_close(&s.results, status);
  if (cap >= 0)
    (void)ntk_memory_set_cap(cap);
  (void)ntk_blas_set_threads(threads);
  clear(&s);
  return status;
}

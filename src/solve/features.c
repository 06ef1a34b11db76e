/* SPDX-License-Identifier: Apache-2.0 */
/* Ridge regression in the space of random features: the primal of kernel regression. Every
 * rank adds up what its samples give to Phi^T Phi and Phi^T y; rank 0 solves. */
#include <scantk/features.h>

#include "base/memory.h"
#include "io/data.h"
#include "io/features_store.h"
#include "solve/classes.h"
#include <cblas.h>
#include <inttypes.h>
#include <math.h>
#include <scantk/options.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK, with the lengths of texts that Fortran passes. */
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info,
                    size_t uplo_length);
extern void dpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a,
                    const int *lda, double *b, const int *ldb, int *info,
                    size_t uplo_length);

/* Bytes of features read at a time; elements of one message; ridges of a run; the most that
 * features may have. */
enum { MOST_RIDGES = 64, MOST_DIM = 32768 };
static const int64_t piece_bytes = (int64_t)64 << 20, message = (int64_t)1 << 24;

/* Training or test samples: the files, this rank's share of them, what is predicted. */
typedef struct side {
  const char *path;
  ntk_data *features, *outputs, *labels;
  int64_t label_offset; /* of sample 0 in labels */
  int64_t N, first, count;
  double *predictions; /* [ridges, count, O] */
} side;

typedef struct fit {
  ntk_context *context;
  ntk_options *options;
  side sides[2]; /* train, test */
  int side_count;
  bool is_pseudo, is_centered;
  int64_t K, C, O; /* dim, right-hand sides, outputs */
  int64_t *index;  /* [O] numbers of the outputs, columns of /outputs; NULL: 0.. */
  int64_t piece;   /* samples read at a time */
  int64_t network_outputs;
  double *phi, *targets, *center; /* of a piece: [piece, K or O K], [piece, O] twice */
  double *raw;                    /* [piece, columns of /outputs] */
  int64_t *classes;               /* [piece] among the outputs */
  double *gram;     /* [K, K]: upper half Phi^T Phi, lower half of the factor */
  double *diagonal; /* [K] of Phi^T Phi */
  double *moment;   /* [C, K] Phi^T y */
  double *weights;  /* [ridges, C, K] */
  int ridges;
  double ridge[MOST_RIDGES], lambda[MOST_RIDGES];
  double mse[MOST_RIDGES][2], accuracy[MOST_RIDGES][2];
} fit;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- what is asked for ----------------------------------------------------------------
 */

static ntk_status read_ridges(fit *f, const char *text) {
  ntk_status status = NTK_SUCCESS;
  for (const char *c = text; *c;) {
    char *end;
    const double value = strtod(c, &end);
    NTK_REQUIRE(end != c && (*end == ',' || *end == '\0') && isfinite(value) && value >= 0,
                NTK_ERR_ARGUMENT, "--ridge: '%s' is not a list such as 1e-6,1e-4", text);
    NTK_REQUIRE(f->ridges < MOST_RIDGES, NTK_ERR_ARGUMENT, "--ridge: more than %d values",
                MOST_RIDGES);
    f->ridge[f->ridges++] = value;
    c = *end ? end + 1 : end;
  }
  NTK_REQUIRE(f->ridges > 0, NTK_ERR_ARGUMENT, "--ridge: the list is empty");
done:
  return status;
}

static ntk_status read_options(fit *f, const char *features, const char *options) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("features-solve"), options, &f->options));
  NTK_TRY(read_ridges(f, ntk_options_string(f->options, "ridge")));
  f->is_centered = strcmp(ntk_options_string(f->options, "center"), "auto") == 0;
  f->sides[0].path = features;
  f->sides[1].path = ntk_options_string(f->options, "test-features");
  f->side_count = f->sides[1].path ? 2 : 1;
  NTK_REQUIRE(f->side_count == 2 || !ntk_options_given(f->options, "test-labels"),
              NTK_ERR_ARGUMENT, "--test-labels are of --test-features, which are missing");
done:
  return status;
}

static int64_t label_size(const side *s) { return ntk_shape_size(&s->labels->shape); }

/* ---- files ----------------------------------------------------------------------------
 */

/* FILE:/name of a file of features. */
static ntk_status open_set(fit *f, const char *path, const char *name, ntk_data **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_text text = {0};
  NTK_TRY(ntk_agree(f->context->comm, ntk_text_add(&text, "%s:%s", path, name)));
  NTK_TRY(ntk_data_open(f->context, text.data, name, out));
done:
  ntk_text_clear(&text);
  return status;
}

/* Labels in a file of their own: as many as samples, or as the data set that these are a
 * range of. */
static ntk_status open_labels(fit *f, side *s, const char *path) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *samples = NULL;
  double first = 0;
  NTK_TRY(ntk_data_open(f->context, path, "/labels", &s->labels));
  if (s->labels->total != s->N) {
    NTK_TRY(open_set(f, s->path, "/sample", &samples));
    NTK_TRY(ntk_agree(f->context->comm, ntk_data_slice(samples, 0, 1, NTK_F64, &first)));
    s->label_offset = (int64_t)first;
  }
  NTK_REQUIRE(s->label_offset + s->N <= s->labels->total, NTK_ERR_SHAPE,
              "%s: %" PRId64 " labels for samples %" PRId64 ":%" PRId64 " of %s", path,
              s->labels->total, s->label_offset, s->label_offset + s->N, s->path);
done:
  ntk_data_destroy(&samples);
  return status;
}

/* Those of the option, else those beside the features. */
static ntk_status find_labels(fit *f, side *s, const char *option) {
  const char *path = ntk_options_string(f->options, option);
  if (path)
    return open_labels(f, s, path);
  const ntk_status status = open_set(f, s->path, "/labels", &s->labels);
  if (status == NTK_ERR_FORMAT)
    return ntk_fail(NTK_ERR_ARGUMENT, "%s has no labels: give --%s", s->path, option);
  return status;
}

/* Integers are class numbers; anything else is targets. */
static bool has_classes(const side *s) {
  return label_size(s) == 1 && !ntk_dtype_is_real(s->labels->dtype);
}

static ntk_status check_labels(const fit *f, const side *s) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(has_classes(s) || label_size(s) == f->O, NTK_ERR_SHAPE,
              "%s: labels are %" PRId64
              " numbers of a sample; classes (integers) or %" PRId64 " targets are needed",
              s->labels->path, label_size(s), f->O);
  NTK_REQUIRE(!has_classes(s) || f->O > 1, NTK_ERR_SHAPE,
              "%s: class labels, but the features are of one output; give real targets",
              s->labels->path);
done:
  return status;
}

/* The first line of two texts that differs. */
static ntk_status compare_identities(const fit *f) {
  ntk_status status = NTK_SUCCESS;
  char *texts[2] = {NULL, NULL};
  for (int i = 0; i < f->side_count; i++)
    NTK_TRY(ntk_store_read_text(f->sides[i].path, "/identity", &texts[i]));
  const char *a = texts[0], *b = texts[1];
  while (b && (*a || *b)) {
    const size_t la = strcspn(a, "\n"), lb = strcspn(b, "\n");
    NTK_REQUIRE(la == lb && memcmp(a, b, la) == 0, NTK_ERR_ARGUMENT,
                "%s holds other features than %s: %.*s there, %.*s here", f->sides[1].path,
                f->sides[0].path, (int)least((int64_t)lb, 80), b,
                (int)least((int64_t)la, 80), a);
    a += la + (a[la] == '\n');
    b += lb + (b[lb] == '\n');
  }
  NTK_REQUIRE(!f->is_centered || strstr(texts[0], "\ncotangents: 0\n"), NTK_ERR_ARGUMENT,
              "%s: features of cotangents have no outputs of the network to regress from: "
              "use --center zero",
              f->sides[0].path);
done:
  ntk_free(&texts[0]);
  ntk_free(&texts[1]);
  return status;
}

/* Which outputs the features are of. */
static ntk_status read_index(fit *f) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *data = NULL;
  double *values = NULL;
  if (f->is_pseudo)
    return NTK_SUCCESS;
  NTK_TRY(open_set(f, f->sides[0].path, "/output", &data));
  status = ntk_malloc(NTK_MEMORY_GENERAL, f->O, sizeof *values, &values);
  if (status == NTK_SUCCESS)
    status = ntk_malloc(NTK_MEMORY_GENERAL, f->O, sizeof *f->index, &f->index);
  if (status == NTK_SUCCESS)
    status = ntk_data_slice(data, 0, f->O, NTK_F64, values);
  NTK_TRY(ntk_agree(f->context->comm, status));
  for (int64_t o = 0; o < f->O; o++) {
    f->index[o] = (int64_t)values[o];
    NTK_REQUIRE(f->index[o] >= 0 && (f->index[o] < f->network_outputs || !f->is_centered),
                NTK_ERR_FORMAT, "%s: /output names output %" PRId64 " of %" PRId64,
                f->sides[0].path, f->index[o], f->network_outputs);
  }
done:
  ntk_free(&values);
  ntk_data_destroy(&data);
  return status;
}

static int64_t share_start(int64_t n, int rank, int size) {
  return n / size * rank + least(n % size, rank);
}

static ntk_status open_side(fit *f, int i) {
  ntk_status status = NTK_SUCCESS;
  side *s = &f->sides[i];
  const ntk_context *c = f->context;
  NTK_TRY(open_set(f, s->path, "/features", &s->features));
  NTK_TRY(open_set(f, s->path, "/outputs", &s->outputs));
  const ntk_shape *shape = &s->features->shape;
  NTK_REQUIRE(shape->ndim == 1 || shape->ndim == 2, NTK_ERR_FORMAT,
              "%s: /features are not those of `scantk features`", s->path);
  s->N = ntk_data_samples(s->features);
  NTK_REQUIRE(ntk_data_samples(s->outputs) == s->N, NTK_ERR_FORMAT,
              "%s: /features and /outputs have different samples", s->path);
  s->first = share_start(s->N, c->rank, c->size);
  s->count = share_start(s->N, c->rank + 1, c->size) - s->first;
  if (i == 0) {
    f->is_pseudo = shape->ndim == 1;
    f->K = shape->dim[shape->ndim - 1];
    f->network_outputs = ntk_shape_size(&s->outputs->shape);
    f->O = f->is_pseudo ? f->network_outputs : shape->dim[0];
    f->C = f->is_pseudo ? f->O : 1;
  }
  NTK_REQUIRE(ntk_shape_equal(shape, &f->sides[0].features->shape) &&
                  ntk_shape_size(&s->outputs->shape) == f->network_outputs,
              NTK_ERR_SHAPE, "%s: the features have other shapes than those of %s", s->path,
              f->sides[0].path);
  NTK_TRY(find_labels(f, s, i == 0 ? "labels" : "test-labels"));
  NTK_TRY(check_labels(f, s));
done:
  return status;
}

static ntk_status open_files(fit *f) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_agree(f->context->comm, compare_identities(f)));
  for (int i = 0; i < f->side_count; i++)
    NTK_TRY(open_side(f, i));
  NTK_REQUIRE(f->K <= MOST_DIM, NTK_ERR_ARGUMENT,
              "%s: --dim %" PRId64
              ": every rank would hold that number squared; at most %d "
              "is solved",
              f->sides[0].path, f->K, MOST_DIM);
  NTK_TRY(read_index(f));
done:
  return status;
}

/* ---- pieces ---------------------------------------------------------------------------
 */

/* Rows of Phi of a sample. */
static int64_t rows_of(const fit *f) { return f->is_pseudo ? 1 : f->O; }

static ntk_status allocate(fit *f) {
  ntk_status status = NTK_SUCCESS;
  const int64_t each = rows_of(f) * f->K;
  f->piece = piece_bytes / (each * 8) > 1 ? piece_bytes / (each * 8) : 1;
  for (int i = 0; i < f->side_count; i++) {
    side *s = &f->sides[i];
    NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, f->ridges * s->count * f->O, sizeof(double),
                       &s->predictions));
  }
  double **const arrays[] = {&f->phi,  &f->targets,  &f->center, &f->raw,
                             &f->gram, &f->diagonal, &f->moment, &f->weights};
  const int64_t sizes[] = {f->piece * each, f->piece * f->O,
                           f->piece * f->O, f->piece * f->network_outputs,
                           f->K * f->K,     f->K,
                           f->C * f->K,     f->ridges * f->C * f->K};
  for (int i = 0; i < 8; i++)
    NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, sizes[i], sizeof(double), arrays[i]));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, f->piece, sizeof *f->classes, &f->classes));
done:
  return status;
}

/* f->targets [n, O]: class numbers as one-hot less 1/O. */
static ntk_status read_targets(fit *f, const side *s, int64_t i, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  const int64_t first = s->label_offset + i;
  if (!has_classes(s))
    return ntk_data_slice(s->labels, first, n, NTK_F64, f->targets);
  NTK_TRY(ntk_classes_read(s->labels, first, n, f->classes));
  NTK_TRY(ntk_classes_encode(s->labels->path, first, n, f->O, f->index, f->classes,
                             f->targets));
done:
  return status;
}

/* f->center [n, O]: where the regression starts. */
static ntk_status read_center(fit *f, const side *s, int64_t i, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  if (!f->is_centered)
    return NTK_SUCCESS; /* zeros */
  NTK_TRY(ntk_data_slice(s->outputs, i, n, NTK_F64, f->raw));
  for (int64_t k = 0; k < n; k++)
    for (int64_t o = 0; o < f->O; o++)
      f->center[k * f->O + o] =
          f->raw[k * f->network_outputs + (f->index ? f->index[o] : o)];
done:
  return status;
}

static ntk_status read_piece(fit *f, const side *s, int64_t i, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_data_slice(s->features, i, n, NTK_F64, f->phi));
  NTK_TRY(read_targets(f, s, i, n));
  NTK_TRY(read_center(f, s, i, n));
done:
  return status;
}

/* ---- the equations --------------------------------------------------------------------
 */

/* Phi^T Phi and Phi^T y of this rank's training samples. */
static ntk_status add_samples(fit *f) {
  ntk_status status = NTK_SUCCESS;
  const side *s = &f->sides[0];
  const int K = (int)f->K, C = (int)f->C;
  for (int64_t i = 0; i < s->count; i += f->piece) {
    const int64_t n = least(f->piece, s->count - i);
    const int rows = (int)(n * rows_of(f));
    NTK_TRY(read_piece(f, s, s->first + i, n));
    for (int64_t k = 0; k < n * f->O; k++)
      f->targets[k] -= f->center[k];
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, K, rows, 1, f->phi, K, 1, f->gram,
                K);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, C, K, rows, 1, f->targets, C,
                f->phi, K, 1, f->moment, K);
  }
done:
  return status;
}

/* Sums over ranks, on rank 0. */
static ntk_status add_ranks(const fit *f, double *values, int64_t count) {
  ntk_status status = NTK_SUCCESS;
  const bool root = f->context->rank == 0;
  for (int64_t i = 0; i < count; i += message)
    NTK_TRY_MPI(MPI_Reduce(root ? MPI_IN_PLACE : values + i, values + i,
                           (int)least(message, count - i), MPI_DOUBLE, MPI_SUM, 0,
                           f->context->comm));
done:
  return status;
}

/* The lower half again Phi^T Phi, with lambda on the diagonal. */
static void restore_gram(fit *f, double lambda) {
  enum { TILE = 64 };
  const int64_t K = f->K;
  for (int64_t i0 = 0; i0 < K; i0 += TILE)
    for (int64_t j0 = 0; j0 <= i0; j0 += TILE)
      for (int64_t i = i0; i < least(i0 + TILE, K); i++)
        for (int64_t j = j0; j < least(j0 + TILE, i); j++)
          f->gram[i * K + j] = f->gram[j * K + i];
  for (int64_t i = 0; i < K; i++)
    f->gram[i * K + i] = f->diagonal[i] + lambda;
}

/* On rank 0, by Cholesky: what is lower row by row is upper column by column. */
static ntk_status solve_ridge(fit *f, int r) {
  ntk_status status = NTK_SUCCESS;
  const int K = (int)f->K, C = (int)f->C;
  double *w = f->weights + (int64_t)r * f->C * f->K;
  int info;
  restore_gram(f, f->lambda[r]);
  dpotrf_("U", &K, f->gram, &K, &info, 1);
  NTK_REQUIRE(info == 0, NTK_ERR_NUMERICAL,
              "--ridge %g: the matrix of %" PRId64
              " features is not positive definite (at %d); "
              "use a larger ridge",
              f->ridge[r], f->K, info);
  memcpy(w, f->moment, (size_t)(f->C * f->K) * sizeof *w);
  dpotrs_("U", &K, &C, f->gram, &K, w, &K, &info, 1);
  for (int64_t i = 0; i < f->C * f->K; i++)
    NTK_REQUIRE(isfinite(w[i]), NTK_ERR_NUMERICAL,
                "--ridge %g: a weight is not a finite number", f->ridge[r]);
done:
  return status;
}

static ntk_status solve_all(fit *f) {
  ntk_status status = NTK_SUCCESS;
  const bool absolute =
      strcmp(ntk_options_string(f->options, "ridge-scale"), "absolute") == 0;
  double trace = 0;
  for (int64_t i = 0; i < f->K; i++)
    trace += f->diagonal[i] = f->gram[i * f->K + i];
  const double unit = absolute ? 1 : trace / (double)(f->sides[0].N * rows_of(f));
  for (int r = 0; r < f->ridges; r++) {
    f->lambda[r] = f->ridge[r] * unit;
    NTK_TRY(solve_ridge(f, r));
  }
done:
  return status;
}

static ntk_status regress(fit *f) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = f->context->comm;
  NTK_TRY(ntk_agree(comm, add_samples(f)));
  NTK_TRY(add_ranks(f, f->gram, f->K * f->K));
  NTK_TRY(add_ranks(f, f->moment, f->C * f->K));
  if (f->context->rank == 0)
    status = solve_all(f);
  NTK_TRY(ntk_agree(comm, status));
  const int64_t count = f->ridges * f->C * f->K;
  for (int64_t i = 0; i < count; i += message)
    NTK_TRY_MPI(
        MPI_Bcast(f->weights + i, (int)least(message, count - i), MPI_DOUBLE, 0, comm));
done:
  return status;
}

/* ---- predictions ----------------------------------------------------------------------
 */

static bool is_right(const double *row, int64_t class, int64_t O) {
  int64_t best = 0;
  for (int64_t o = 1; o < O; o++)
    best = row[o] > row[best] ? o : best;
  return best == class;
}

/* Of the n samples in hand, from sample i of the share on, for one ridge; adds squared
 * errors and right classes. */
static void predict_piece(const fit *f, const side *s, int r, int64_t i, int64_t n,
                          double sums[2]) {
  const int K = (int)f->K, C = (int)f->C, rows = (int)(n * rows_of(f));
  double *to = s->predictions + (r * s->count + i) * f->O;
  memcpy(to, f->center, (size_t)(n * f->O) * sizeof *to);
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, C, K, 1, f->phi, K,
              f->weights + (int64_t)r * f->C * f->K, K, 1, to, C);
  for (int64_t k = 0; k < n * f->O; k++)
    sums[0] += (to[k] - f->targets[k]) * (to[k] - f->targets[k]);
  for (int64_t k = 0; k < n; k++)
    sums[1] += is_right(to + k * f->O, f->classes[k], f->O);
}

static ntk_status predict(fit *f, int i) {
  ntk_status status = NTK_SUCCESS;
  const side *s = &f->sides[i];
  double sums[MOST_RIDGES][2] = {{0}};
  for (int64_t k = 0; k < s->count && status == NTK_SUCCESS; k += f->piece) {
    const int64_t n = least(f->piece, s->count - k);
    status = read_piece(f, s, s->first + k, n);
    for (int r = 0; r < f->ridges && status == NTK_SUCCESS; r++)
      predict_piece(f, s, r, k, n, sums[r]);
  }
  NTK_TRY(ntk_agree(f->context->comm, status));
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, sums, 2 * f->ridges, MPI_DOUBLE, MPI_SUM,
                            f->context->comm));
  for (int r = 0; r < f->ridges; r++) {
    f->mse[r][i] = sums[r][0] / (double)(s->N * f->O);
    f->accuracy[r][i] = has_classes(s) ? sums[r][1] / (double)s->N : NAN;
  }
done:
  return status;
}

static ntk_status report(const fit *f) {
  static const char *const names[2] = {"train", "test"};
  ntk_status status = NTK_SUCCESS;
  ntk_text text = {0};
  for (int r = 0; r < f->ridges; r++) {
    NTK_TRY(ntk_text_add(&text, "%sridge %-10g", r > 0 ? "\n" : "", f->ridge[r]));
    for (int i = 0; i < 2 && i < f->side_count; i++) {
      NTK_TRY(ntk_text_add(&text, "  %s MSE %.6g", names[i], f->mse[r][i]));
      if (!isnan(f->accuracy[r][i]))
        NTK_TRY(ntk_text_add(&text, " accuracy %.6g", f->accuracy[r][i]));
    }
  }
  ntk_say(f->context, NTK_REPORT_RESULT, "%s", text.data);
done:
  ntk_text_clear(&text);
  return status;
}

/* ---- the file -------------------------------------------------------------------------
 */

static ntk_status write_predictions(const fit *f, ntk_store *store) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < f->side_count; i++) {
    const side *s = &f->sides[i];
    for (int r = 0; r < f->ridges && s->count > 0; r++)
      NTK_TRY(ntk_fit_store_write(store, i, f->O, r, s->first, s->count,
                                  s->predictions + r * s->count * f->O));
  }
done:
  return status;
}

/* [ridges, C, K] to [ridges, K, C], on rank 0. */
static ntk_status transpose_weights(const fit *f, double **out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, f->ridges * f->K * f->C, sizeof **out, out));
  for (int64_t r = 0; r < f->ridges; r++)
    for (int64_t k = 0; k < f->K; k++)
      for (int64_t c = 0; c < f->C; c++)
        (*out)[(r * f->K + k) * f->C + c] = f->weights[(r * f->C + c) * f->K + k];
done:
  return status;
}

static ntk_status write_file(fit *f, const char *path, const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = NULL;
  double *weights = NULL;
  if (f->context->rank == 0)
    status = transpose_weights(f, &weights);
  NTK_TRY(ntk_agree(f->context->comm, status));
  const ntk_fit_spec spec = {.path = path,
                             .ridges = f->ridges,
                             .dim = f->K,
                             .targets = f->C,
                             .outputs = f->O,
                             .samples = {f->sides[0].N, f->sides[1].N},
                             .ridge = f->ridge,
                             .lambda = f->lambda,
                             .mse = f->mse[0],
                             .accuracy = f->accuracy[0],
                             .weights = weights,
                             .features = {f->sides[0].path, f->sides[1].path},
                             .command_line = command_line ? command_line : ""};
  NTK_TRY(ntk_fit_store_create(f->context, &spec, &store));
  status = ntk_agree(f->context->comm, write_predictions(f, store));
  if (status != NTK_SUCCESS)
    status = ntk_store_abandon(&store, status);
  NTK_TRY(status);
  NTK_TRY(ntk_store_close(&store, true, NULL));
done:
  ntk_free(&weights);
  return status;
}

static void clear(fit *f) {
  double **const arrays[] = {&f->phi,  &f->targets,  &f->center, &f->raw,
                             &f->gram, &f->diagonal, &f->moment, &f->weights};
  for (int i = 0; i < 8; i++)
    ntk_free(arrays[i]);
  for (int i = 0; i < 2; i++) {
    ntk_data_destroy(&f->sides[i].features);
    ntk_data_destroy(&f->sides[i].outputs);
    ntk_data_destroy(&f->sides[i].labels);
    ntk_free(&f->sides[i].predictions);
  }
  ntk_free(&f->classes);
  ntk_free(&f->index);
  ntk_options_destroy(&f->options);
}

ntk_status ntk_features_solve(ntk_context *context, const char *features,
                              const char *options, const char *path,
                              const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  fit f = {.context = context};
  for (int r = 0; r < MOST_RIDGES; r++)
    f.mse[r][1] = f.accuracy[r][1] = NAN;
  NTK_TRY(ntk_agree(context->comm, read_options(&f, features, options)));
  NTK_TRY(ntk_store_check(context, path, 0));
  NTK_TRY(open_files(&f));
  NTK_TRY(ntk_agree(context->comm, allocate(&f)));
  NTK_TRY(regress(&f));
  for (int i = 0; i < f.side_count; i++)
    NTK_TRY(predict(&f, i));
  NTK_TRY(ntk_agree(context->comm, report(&f)));
  NTK_TRY(write_file(&f, path, command_line));
done:
  clear(&f);
  return status;
}

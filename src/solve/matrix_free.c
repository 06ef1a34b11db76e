/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/text.h"
#include "dist/grid.h"
#include "dist/shares.h"
#include "io/rows.h"
#include "job/identity.h"
#include "job/provenance.h"
#include "solve/matrix_free_parts.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <scantk/options.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_RIDGES = 64 };

/* ---- systems --------------------------------------------------------------------------
 */

/* Element of [ridges, rows, outputs] that is the e-th of the systems. */
static int64_t place_of(const ntk_systems *s, int64_t e) {
  if (!s->apart)
    return e;
  const int64_t i = e % s->rows, o = e / s->rows % s->outputs;
  return (e / s->rows / s->outputs * s->rows + i) * s->outputs + o;
}

void ntk_systems_split(const ntk_systems *s, const double *from, double *to) {
  for (int64_t e = 0; e < ntk_systems_elements(s); e++)
    to[e] = from[place_of(s, e)];
}

void ntk_systems_join(const ntk_systems *s, const double *from, double *to) {
  for (int64_t e = 0; e < ntk_systems_elements(s); e++)
    to[place_of(s, e)] = from[e];
}

/* ---- one solve ------------------------------------------------------------------------
 */

typedef struct solve {
  ntk_context *context;
  ntk_model *model;
  ntk_data *train, *test;
  ntk_options *options;
  const char *path;
  ntk_text plan_options, state; /* state: PATH.state */
  ntk_plan *plan;
  ntk_systems systems, test_systems;
  ntk_targets targets, test_targets;
  ntk_nystrom *nystrom;
  int64_t *matrix_of;               /* [systems] of those in hand: ridge and matrix */
  double *diagonal;                 /* [matrices] its mean */
  double *wide[2];                  /* [ridges, rows, outputs] in and out, of a diagonal */
  double *given, *ridge;            /* [ridges] as asked for; as they are added */
  double *shifts, *residuals;       /* [systems] */
  const char *center, *test_center; /* auto, zero or a file */
  double *outputs, *test_outputs;   /* [rows, outputs] f0 */
  double *b, *x, *ax;               /* [systems, unknowns] */
  double *alpha, *predictions, *test_predictions; /* [ridges, rows, outputs] */
  double *worst;                                  /* [ridges] residuals */
  ntk_cg_report found;
} solve;

static bool given_as(const ntk_options *options, const char *name, const char *value) {
  return strcmp(ntk_options_string(options, name), value) == 0;
}

/* "1e-6,1e-4". */
static ntk_status read_ridges(solve *s) {
  ntk_status status = NTK_SUCCESS;
  const char *text = ntk_options_string(s->options, "ridge"), *c = text;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, MOST_RIDGES, sizeof *s->given, &s->given));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, MOST_RIDGES, sizeof *s->ridge, &s->ridge));
  for (;;) {
    char *end;
    const double ridge = strtod(c, &end);
    NTK_REQUIRE(
        end != c && isfinite(ridge) && ridge >= 0 && (*end == ',' || *end == '\0') &&
            s->systems.ridges < MOST_RIDGES,
        NTK_ERR_ARGUMENT,
        "--ridge %s: a list of at most %d numbers >= 0 is needed, such as 1e-6,1e-4", text,
        MOST_RIDGES);
    s->given[s->systems.ridges++] = ridge;
    if (*end == '\0')
      break;
    c = end + 1;
  }
done:
  return status;
}

ntk_status ntk_matrix_free_plan_options(const ntk_options *options, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const char *outputs = ntk_options_string(options, "select-outputs");
  NTK_TRY(ntk_text_add(text, "--dtype %s --reduce %s", ntk_options_string(options, "dtype"),
                       ntk_options_string(options, "reduce")));
  if (outputs) {
    NTK_REQUIRE(strspn(outputs, "0123456789,:") == strlen(outputs) && *outputs,
                NTK_ERR_ARGUMENT, "--select-outputs: '%s' is not a list such as 0,3,10:20",
                outputs);
    NTK_TRY(ntk_text_add(text, " --select-outputs %s", outputs));
  }
  if (ntk_options_given(options, "memory"))
    NTK_TRY(ntk_text_add(text, " --memory %" PRId64, ntk_options_bytes(options, "memory")));
done:
  return status;
}

static ntk_status read_options(solve *s, const char *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("matrix-free"), text, &s->options));
  NTK_TRY(read_ridges(s));
  NTK_TRY(ntk_matrix_free_plan_options(s->options, &s->plan_options));
  NTK_TRY(ntk_text_add(&s->state, "%s.state", s->path));
  s->center = ntk_options_string(s->options, "center");
  s->test_center = ntk_options_string(s->options, "test-center");
  NTK_REQUIRE(s->test || !ntk_options_string(s->options, "test-labels"), NTK_ERR_ARGUMENT,
              "--test-labels are of --test-inputs, which are missing");
  NTK_REQUIRE(s->test || !s->test_center, NTK_ERR_ARGUMENT,
              "--test-center is of --test-inputs, which are missing");
  if (!s->test_center)
    s->test_center = strcmp(s->center, "zero") == 0 ? "zero" : "auto";
done:
  return status;
}

/* Is there a state to go on with, or even the result? An old one is not to be lost unasked.
 */
static ntk_status find_state(const solve *s, bool *resumes, bool *is_done) {
  ntk_status status = NTK_SUCCESS;
  const bool asked = ntk_options_flag(s->options, "resume");
  int there[2] = {0};
  if (s->context->rank == 0) {
    there[0] = access(s->state.data, F_OK) == 0;
    there[1] = access(s->path, F_OK) == 0;
  }
  NTK_TRY_MPI(MPI_Bcast(there, 2, MPI_INT, 0, s->context->comm));
  NTK_REQUIRE(
      !there[0] || asked, NTK_ERR_EXISTS,
      "%s, left by an unfinished run, exists; continue it with --resume or remove it",
      s->state.data);
  *resumes = there[0] && asked;
  *is_done = there[1] && asked;
  if (*is_done)
    ntk_say(s->context, NTK_REPORT_INFO, "resumed %s is there: nothing is left to do",
            s->path);
done:
  return status;
}

static ntk_status allocate(solve *s) {
  ntk_status status = NTK_SUCCESS;
  const ntk_systems *y = &s->systems, *t = &s->test_systems;
  const int64_t all = ntk_systems_elements(y), count = ntk_systems_count(y);
  double **const vectors[] = {&s->b, &s->x, &s->ax, &s->alpha, &s->predictions};
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
    NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, all, sizeof(double), vectors[i]));
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, y->rows * y->outputs, sizeof(double), &s->outputs));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, t->rows * t->outputs, sizeof(double),
                     &s->test_outputs));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, ntk_systems_elements(t), sizeof(double),
                     &s->test_predictions));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(double), &s->shifts));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof(double), &s->residuals));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof *s->matrix_of, &s->matrix_of));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, y->matrices, sizeof(double), &s->diagonal));
  for (int i = 0; i < 2 && y->matrices > 1; i++)
    NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, all, sizeof(double), &s->wide[i]));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, y->ridges, sizeof(double), &s->worst));
done:
  return status;
}

static ntk_status read_labels(solve *s) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_targets_read(s->context, s->plan, s->train,
                           ntk_options_string(s->options, "labels"), &s->targets));
  NTK_REQUIRE(s->targets.values, NTK_ERR_ARGUMENT,
              "%s has no labels; name them with --labels", s->train->path);
  if (s->test)
    NTK_TRY(ntk_targets_read(s->context, s->plan, s->test,
                             ntk_options_string(s->options, "test-labels"),
                             &s->test_targets));
done:
  return status;
}

static bool is_file(const char *center) {
  return strcmp(center, "auto") != 0 && strcmp(center, "zero") != 0;
}

/* f0 where it stands in files. */
static ntk_status read_centers(solve *s) {
  ntk_status status = NTK_SUCCESS;
  if (is_file(s->center))
    NTK_TRY(
        ntk_center_read(s->context, s->train, s->center, s->plan->selected, s->outputs));
  if (s->test && is_file(s->test_center))
    NTK_TRY(ntk_center_read(s->context, s->test, s->test_center, s->plan->selected,
                            s->test_outputs));
done:
  return status;
}

/* f0 of the plan's rows. */
static ntk_status find_center(solve *s, const char *center, double *outputs) {
  return strcmp(center, "auto") == 0 ? ntk_plan_row_outputs(s->plan, outputs) : NTK_SUCCESS;
}

/* Plan, labels and memory: what can be refused before any work. */
static ntk_status begin(solve *s) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = s->context;
  if (s->test)
    NTK_TRY(ntk_data_fits(s->test, s->model));
  NTK_TRY(ntk_plan_create(s->model, s->train, NULL, s->plan_options.data, &s->plan));
  NTK_TRY(ntk_apply_check(s->plan));
  NTK_TRY(read_labels(s));
  const int64_t n = ntk_data_samples(s->train), O = s->plan->selected;
  s->systems.rows = ntk_share_count(n, context->rank, context->size);
  s->systems.outputs = O;
  s->systems.apart = s->plan->numeric.reduction != NTK_REDUCE_NONE;
  s->systems.matrices = ntk_apply_matrices(s->plan);
  if (s->test) {
    s->test_systems = s->systems;
    s->test_systems.rows =
        ntk_share_count(ntk_data_samples(s->test), context->rank, context->size);
  }
  NTK_TRY(ntk_agree(context->comm, allocate(s)));
  NTK_TRY(read_centers(s));
done:
  return status;
}

/* The means of the diagonals of the kernel's matrices, and theirs. */
static ntk_status find_diagonal(solve *s, double *mean) {
  ntk_status status = NTK_SUCCESS;
  const int64_t matrices = s->systems.matrices;
  NTK_TRY(ntk_plan_mean_diagonals(s->plan, s->diagonal));
  *mean = 0;
  for (int64_t k = 0; k < matrices; k++) {
    NTK_REQUIRE(isfinite(s->diagonal[k]), NTK_ERR_NONFINITE,
                "the kernel's diagonal is not finite; --dtype f64 reaches further");
    NTK_REQUIRE(s->diagonal[k] > 0, NTK_ERR_NUMERICAL,
                "the kernel%s is 0: no output depends on a parameter",
                matrices > 1 ? " of an output" : "");
    *mean += s->diagonal[k] / (double)matrices;
  }
done:
  return status;
}

/* Ridges become absolute, of a diagonal kernel those of each output; b = labels - f0 for
 * each. */
static ntk_status make_systems(solve *s, double *diagonal) {
  ntk_status status = NTK_SUCCESS;
  const ntk_systems *y = &s->systems;
  const int64_t one = y->rows * y->outputs, each = ntk_systems_count(y) / y->ridges;
  const bool relative = given_as(s->options, "ridge-scale", "relative");
  NTK_TRY(find_diagonal(s, diagonal));
  NTK_TRY(find_center(s, s->center, s->outputs));
  for (int64_t r = 0; r < y->ridges; r++) {
    s->ridge[r] = s->given[r] * (relative ? *diagonal : 1);
    for (int64_t k = r * each; k < (r + 1) * each; k++)
      s->shifts[k] = s->given[r] *
                     (relative ? s->diagonal[ntk_systems_matrix(y, k) % y->matrices] : 1);
    for (int64_t i = 0; i < one; i++)
      s->alpha[r * one + i] = s->targets.values[i] - s->outputs[i];
  }
  ntk_systems_split(y, s->alpha, s->b);
done:
  return status;
}

/* ---- what conjugate gradients call ----------------------------------------------------
 */

/* Vectors of single outputs, side by side: those of a ridge are one that the kernel is
 * applied to. */
static ntk_status apply_diagonal(solve *s, int64_t count, const int64_t *which,
                                 const double *in, double *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t rows = s->systems.rows, O = s->systems.outputs, one = rows * O;
  int64_t vectors = 0;
  for (int64_t k = 0; k < count; k++) {
    if (k == 0 || which[k] / O != which[k - 1] / O)
      memset(s->wide[0] + vectors++ * one, 0, (size_t)one * sizeof(double));
    for (int64_t i = 0; i < rows; i++)
      s->wide[0][(vectors - 1) * one + i * O + which[k] % O] = in[k * rows + i];
  }
  NTK_TRY(ntk_plan_apply(s->plan, NTK_THETA, vectors, s->wide[0], s->wide[1]));
  vectors = 0;
  for (int64_t k = 0; k < count; k++) {
    vectors += k == 0 || which[k] / O != which[k - 1] / O;
    for (int64_t i = 0; i < rows; i++)
      out[k * rows + i] = s->wide[1][(vectors - 1) * one + i * O + which[k] % O];
  }
done:
  return status;
}

static ntk_status apply_kernel(void *self, int64_t count, const int64_t *which,
                               const double *in, double *out) {
  solve *s = self;
  if (s->systems.matrices > 1)
    return apply_diagonal(s, count, which, in, out);
  return ntk_plan_apply(s->plan, NTK_THETA, count, in, out);
}

static ntk_status precondition(void *self, int64_t count, const int64_t *which,
                               const double *in, double *out) {
  solve *s = self;
  for (int64_t k = 0; k < count; k++)
    s->matrix_of[k] = ntk_systems_matrix(&s->systems, which[k]);
  return ntk_nystrom_apply(s->nystrom, count, s->matrix_of, in, out);
}

static ntk_rows rows_of(const solve *s, const char *name, int64_t ridges,
                        const double *values) {
  const int64_t n = ntk_data_samples(s->train);
  return (ntk_rows){.name = name,
                    .vectors = ridges,
                    .rows = n,
                    .outputs = s->systems.outputs,
                    .first = ntk_share_first(n, s->context->rank, s->context->size),
                    .count = s->systems.rows,
                    .values = values};
}

static ntk_status keep(void *self, const double *x) {
  solve *s = self;
  ntk_systems_join(&s->systems, x, s->alpha);
  const ntk_rows rows = rows_of(s, "/alpha", s->systems.ridges, s->alpha);
  const ntk_rows_spec spec = {.format = "scantk-state 1", .row_count = 1, .rows = &rows};
  return ntk_rows_write(s->context, s->state.data, &spec);
}

/* What an earlier run has reached is a first guess, whatever its ridges were. */
static ntk_status read_state(solve *s) {
  ntk_status status = NTK_SUCCESS;
  const ntk_rows rows = rows_of(s, "/alpha", s->systems.ridges, NULL);
  ntk_shape shape;
  NTK_TRY(ntk_rows_shape(s->state.data, rows.name, &shape));
  NTK_REQUIRE(shape.ndim == 3 && shape.dim[0] == rows.vectors &&
                  shape.dim[1] == rows.rows && shape.dim[2] == rows.outputs,
              NTK_ERR_ARGUMENT,
              "%s cannot be resumed: it is of other ridges, samples or "
              "outputs; remove it",
              s->state.data);
  if (rows.count > 0)
    NTK_TRY(ntk_rows_read(s->state.data, rows.name, rows.first, rows.count, s->alpha));
  ntk_systems_split(&s->systems, s->alpha, s->x);
done:
  return status;
}

/* ---- solving --------------------------------------------------------------------------
 */

/* As many as make a preconditioner of about a million numbers and, with what making it
 * takes, 2 GiB of a rank. */
static int64_t landmarks_of(const solve *s) {
  const int64_t N = ntk_data_samples(s->train), matrices = s->systems.matrices;
  const int64_t Q = ntk_apply_width(s->plan) / matrices;
  if (ntk_options_given(s->options, "landmarks")) {
    const int64_t asked = ntk_options_int(s->options, "landmarks");
    return asked < N ? asked : N;
  }
  int64_t count = (int64_t)(1024 / sqrt((double)matrices)) / Q;
  count = count > 1 ? count : 1;
  const double each =
      24.0 * (double)(N * matrices) * (double)(Q * Q) / (double)s->context->size;
  while (count > 1 && (double)count * each > 2147483648.0)
    count /= 2;
  return count < N ? count : N;
}

static ntk_status end_early(solve *s) {
  ntk_status status = NTK_SUCCESS;
  double most = 0;
  for (int64_t k = 0; k < ntk_systems_count(&s->systems); k++)
    most = fmax(most, s->residuals[k]);
  NTK_TRY(keep(s, s->x));
  if (s->found.end == NTK_CG_STOPPED) {
    NTK_TRY(ntk_stop_obeyed(s->context));
    return ntk_fail(NTK_STOPPED,
                    "stopped (%s) after %" PRId64 " iterations, relative residual %.3g",
                    s->context->stopped_for, s->found.iterations, most);
  }
  return ntk_fail(NTK_ERR_NUMERICAL,
                  "not converged after %" PRId64 " iterations: relative residual %.3g, "
                  "--tolerance %.3g; more --landmarks or a larger --ridge converge sooner, "
                  "--dtype f64 further; --resume with --iterations goes on",
                  s->found.iterations, most, ntk_options_real(s->options, "tolerance"));
done:
  return status;
}

/* The preconditioner, of `landmarks` samples. */
static ntk_status make_nystrom(solve *s, int64_t landmarks) {
  ntk_status status = NTK_SUCCESS;
  const ntk_systems *y = &s->systems;
  double *ridge = NULL;
  NTK_TRY(ntk_agree(s->context->comm, ntk_malloc(NTK_MEMORY_GENERAL, ntk_systems_count(y),
                                                 sizeof *ridge, &ridge)));
  for (int64_t k = 0; k < ntk_systems_count(y); k++)
    ridge[ntk_systems_matrix(y, k)] = s->shifts[k];
  NTK_TRY(ntk_nystrom_create(s->plan, s->plan_options.data, landmarks,
                             ntk_options_int(s->options, "seed"), y->ridges, ridge,
                             s->diagonal, ntk_systems_count(y), &s->nystrom));
done:
  ntk_free(&ridge);
  return status;
}

static ntk_status iterate(solve *s, double diagonal) {
  ntk_status status = NTK_SUCCESS;
  const ntk_systems *y = &s->systems;
  const int64_t landmarks = landmarks_of(s);
  if (landmarks > 0)
    NTK_TRY(make_nystrom(s, landmarks));
  const ntk_cg cg = {.context = s->context,
                     .systems = ntk_systems_count(y),
                     .unknowns = ntk_systems_unknowns(y),
                     .each = ntk_systems_alike(y),
                     .shifts = s->shifts,
                     .tolerance = ntk_options_real(s->options, "tolerance"),
                     .most_iterations = ntk_options_int(s->options, "iterations"),
                     .keep_seconds = ntk_options_real(s->options, "checkpoint"),
                     .self = s,
                     .apply = apply_kernel,
                     .precondition = s->nystrom ? precondition : NULL,
                     .keep = keep};
  NTK_TRY(ntk_cg_solve(&cg, s->b, s->x, s->ax, s->residuals, &s->found));
  if (s->found.end != NTK_CG_CONVERGED)
    NTK_TRY(end_early(s));
  for (int64_t k = 0; k < cg.systems; k++) {
    double *worst = &s->worst[k / (cg.systems / y->ridges)];
    *worst = fmax(*worst, s->residuals[k]);
  }
  ntk_say(s->context, NTK_REPORT_INFO,
          "solved  %" PRId64 " iterations, kernel applied to %" PRId64 " vectors, %" PRId64
          " landmarks, mean diagonal %.6g",
          s->found.iterations, s->found.products, landmarks, diagonal);
done:
  ntk_nystrom_destroy(&s->nystrom);
  return status;
}

/* f0 + Theta alpha, of the training samples from what the solver leaves. */
static void predict_train(solve *s) {
  const ntk_systems *y = &s->systems;
  const int64_t one = y->rows * y->outputs;
  ntk_systems_join(y, s->x, s->alpha);
  ntk_systems_join(y, s->ax, s->predictions);
  for (int64_t i = 0; i < ntk_systems_elements(y); i++)
    s->predictions[i] += s->outputs[i % one];
}

static ntk_status predict_test(solve *s) {
  ntk_status status = NTK_SUCCESS;
  const ntk_systems *y = &s->test_systems;
  const int64_t one = y->rows * y->outputs, all = ntk_systems_elements(y);
  const bool copies = y->apart && y->matrices == 1;
  double *apart = NULL;
  ntk_plan_destroy(&s->plan);
  NTK_TRY(ntk_plan_create(s->model, s->test, s->train, s->plan_options.data, &s->plan));
  NTK_TRY(ntk_agree(s->context->comm,
                    ntk_malloc(NTK_MEMORY_GENERAL, all, sizeof *apart, &apart)));
  NTK_TRY(ntk_plan_apply(s->plan, NTK_THETA, copies ? ntk_systems_count(y) : y->ridges,
                         copies ? s->x : s->alpha, copies ? apart : s->test_predictions));
  NTK_TRY(find_center(s, s->test_center, s->test_outputs));
  if (copies)
    ntk_systems_join(y, apart, s->test_predictions);
  for (int64_t i = 0; i < all; i++)
    s->test_predictions[i] += s->test_outputs[i % one];
done:
  ntk_free(&apart);
  return status;
}

/* ---- the file -------------------------------------------------------------------------
 */

/* Provenance of a file that is made from rows (and columns), on rank 0. Collective. */
ntk_status ntk_matrix_free_provenance(ntk_plan *plan, const char *format,
                                      const char *command_line, ntk_text *text,
                                      ntk_text *identity) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = plan->context;
  ntk_digests digests[2] = {{.sum = {0}}, {.sum = {0}}};
  ntk_text hosts = {0};
  NTK_TRY(ntk_hosts(context, &hosts));
  NTK_TRY(ntk_digests_create(context, plan->rows, plan->numeric.dtype, &digests[0]));
  if (plan->columns)
    NTK_TRY(ntk_digests_create(context, plan->columns, plan->numeric.dtype, &digests[1]));
  const ntk_origin origin = {.context = context,
                             .model = plan->model,
                             .rows = plan->rows,
                             .columns = plan->columns,
                             .digests = digests,
                             .plan = plan,
                             .format = format,
                             .hosts = hosts.data,
                             .command_line = command_line};
  if (context->rank == 0)
    status = ntk_provenance_write(&origin, text);
  if (context->rank == 0 && status == NTK_SUCCESS && identity)
    status = ntk_identity_write(plan, digests, digests, identity);
  NTK_TRY(ntk_agree(context->comm, status));
done:
  ntk_digests_clear(&digests[0]);
  ntk_digests_clear(&digests[1]);
  ntk_text_clear(&hosts);
  return status;
}

static ntk_status write_file(const solve *s, const char *provenance, const char *identity) {
  const int64_t R = s->systems.ridges;
  const double iterations = (double)s->found.iterations;
  ntk_rows rows[4] = {rows_of(s, "/alpha", R, s->alpha),
                      rows_of(s, "/train_predictions", R, s->predictions),
                      rows_of(s, "/outputs", 0, s->outputs)};
  const ntk_list lists[] = {{"/ridge", R, s->given},
                            {"/ridge_absolute", R, s->ridge},
                            {"/residual", R, s->worst},
                            {"/iterations", 1, &iterations}};
  const char *center = is_file(s->center) ? "file" : s->center;
  const ntk_note notes[] = {{"/center", strcmp(center, "auto") == 0 ? "outputs" : center},
                            {"/provenance", provenance},
                            {"/identity", identity}};
  if (s->test) {
    const int64_t n = ntk_data_samples(s->test);
    rows[3] = rows_of(s, "/test_predictions", R, s->test_predictions);
    rows[3].rows = n;
    rows[3].first = ntk_share_first(n, s->context->rank, s->context->size);
    rows[3].count = s->test_systems.rows;
  }
  const ntk_rows_spec spec = {.format = "scantk-solution 1",
                              .signal = "alpha",
                              .row_count = s->test ? 4 : 3,
                              .rows = rows,
                              .list_count = 4,
                              .lists = lists,
                              .note_count = 3,
                              .notes = notes};
  return ntk_rows_write(s->context, s->path, &spec);
}

static ntk_status finish(solve *s, const char *provenance, const char *identity) {
  ntk_status status = NTK_SUCCESS;
  const int64_t R = s->systems.ridges;
  predict_train(s);
  if (s->test)
    NTK_TRY(predict_test(s));
  NTK_TRY(write_file(s, provenance ? provenance : "", identity ? identity : ""));
  if (s->context->rank == 0)
    (void)unlink(s->state.data);
  NTK_TRY(ntk_targets_score(s->context, &s->targets, "train", R, s->given, s->predictions));
  NTK_TRY(ntk_targets_score(s->context, &s->test_targets, "test", R, s->given,
                            s->test_predictions));
done:
  return status;
}

static void release(solve *s) {
  double **const vectors[] = {
      &s->given,  &s->ridge,   &s->shifts,       &s->residuals,   &s->b,
      &s->x,      &s->ax,      &s->alpha,        &s->predictions, &s->test_predictions,
      &s->worst,  &s->outputs, &s->test_outputs, &s->diagonal,    &s->wide[0],
      &s->wide[1]};
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
    ntk_free(vectors[i]);
  ntk_free(&s->matrix_of);
  ntk_plan_destroy(&s->plan);
  ntk_targets_clear(&s->targets);
  ntk_targets_clear(&s->test_targets);
  ntk_text_clear(&s->plan_options);
  ntk_text_clear(&s->state);
  ntk_options_destroy(&s->options);
}

ntk_status ntk_matrix_free_solve(ntk_model *model, ntk_data *train, ntk_data *test,
                                 const char *options, const char *path,
                                 const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  solve s = {
      .context = context, .model = model, .train = train, .test = test, .path = path};
  ntk_text provenance = {0}, identity = {0};
  double diagonal;
  bool resumes, is_done;
  NTK_TRY(ntk_agree(context->comm, read_options(&s, options)));
  NTK_TRY(find_state(&s, &resumes, &is_done));
  if (is_done)
    goto done;
  const int64_t samples = ntk_data_samples(train) * 3 + (test ? ntk_data_samples(test) : 0);
  NTK_TRY(ntk_store_check(
      context, path, 8 * s.systems.ridges * samples * ntk_graph_outputs(model->graph)));
  NTK_TRY(begin(&s));
  NTK_TRY(ntk_matrix_free_provenance(s.plan, "scantk-solution 1", command_line, &provenance,
                                     &identity));
  NTK_TRY(make_systems(&s, &diagonal));
  if (resumes)
    NTK_TRY(ntk_agree(context->comm, read_state(&s)));
  NTK_TRY(iterate(&s, diagonal));
  NTK_TRY(finish(&s, provenance.data, identity.data));
done:
  ntk_text_clear(&provenance);
  ntk_text_clear(&identity);
  release(&s);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "dist/grid.h"
#include "dist/shares.h"
#include "io/rows.h"
#include "job/identity.h"
#include "job/provenance.h"
#include "solve/matrix_free_parts.h"
#include <inttypes.h>
#include <scantk/options.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct linear {
  ntk_context *context;
  const char *solution, *path;
  ntk_options *options;
  ntk_text plan_options;
  ntk_plan *plan;             /* rows: new samples, columns: those of the solution */
  ntk_systems train, systems; /* of alpha; of the results */
  double *alpha, *u;          /* [ridges, columns, outputs]; as systems */
  double *dtheta;             /* [systems, parameters] */
  double *apart, *values;     /* [systems, unknowns]; [ridges, rows, outputs] */
  double *outputs;            /* [rows, outputs] f0 */
  double *ridge;              /* [ridges] */
  bool is_centred;
} linear;

/* ---- what a solution says of itself ---------------------------------------------------
 */

/* The value of a line "name: value"; "", of length 0, where there is none. */
static const char *line_of(const char *text, const char *name, int *length) {
  const size_t size = strlen(name);
  for (const char *c = text; *c; c += strcspn(c, "\n"), c += *c == '\n')
    if (strncmp(c, name, size) == 0 && strncmp(c + size, ": ", 2) == 0) {
      *length = (int)strcspn(c + size + 2, "\n");
      return c + size + 2;
    }
  *length = 0;
  return "";
}

/* The line of the solution's identity must be what is so here. */
static ntk_status require_same(const linear *l, const char *identity, const char *name,
                               const char *here, int length) {
  int there;
  const char *value = line_of(identity, name, &there);
  if (there == length && memcmp(value, here, (size_t)length) == 0)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT, "%s is not of this: %s: %.*s there, %.*s here",
                  l->solution, name, there < 80 ? there : 80, value,
                  length < 80 ? length : 80, here);
}

static ntk_status check_lines(const linear *l, const char *identity) {
  static const char *const names[] = {"model",      "values of the parameters",
                                      "parameters", "outputs",
                                      "cotangents", "reduction"};
  ntk_status status = NTK_SUCCESS;
  ntk_text own = {0};
  int group;
  const char *name = line_of(identity, "group", &group);
  NTK_REQUIRE(group == 0, NTK_ERR_ARGUMENT,
              "%s is of the kernel of group %.*s: it goes with those parameters alone, "
              "this with all",
              l->solution, group, name);
  NTK_TRY(ntk_identity_of_plan(l->plan, &l->plan->numeric, true, &own));
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    int length;
    const char *here = line_of(own.data, names[i], &length);
    NTK_TRY(require_same(l, identity, names[i], here, length));
  }
done:
  ntk_text_clear(&own);
  return status;
}

/* The samples, by their digest. Collective. */
static ntk_status check_samples(const linear *l, const char *identity) {
  ntk_status status = NTK_SUCCESS;
  ntk_digests digests = {.sum = {0}};
  char here[64];
  int length;
  const char *dtype = line_of(identity, "dtype", &length);
  NTK_TRY(ntk_digests_create(l->context, l->plan->columns,
                             strncmp(dtype, "f32", 3) == 0 ? NTK_F32 : NTK_F64, &digests));
  length = snprintf(here, sizeof here, "%016" PRIx64 "%016" PRIx64, digests.sum[1],
                    digests.sum[0]);
  if (l->context->rank == 0)
    status = require_same(l, identity, "samples of the rows", here, length);
  NTK_TRY(ntk_agree(l->context->comm, status));
done:
  ntk_digests_clear(&digests);
  return status;
}

/* A text of the solution, "" where it has none. Collective. */
static ntk_status read_note(const linear *l, const char *name, char **text) {
  char *found = NULL;
  if (l->context->rank == 0 &&
      ntk_store_read_text(l->solution, name, &found) != NTK_SUCCESS)
    found = NULL;
  const ntk_status status = ntk_bcast_text(found ? found : "", l->context->comm, text);
  ntk_free(&found);
  return status;
}

/* Does the text, up to its end or a quotation mark, say `word`? */
static bool says(const char *text, const char *word) {
  const size_t length = strlen(word);
  return strcspn(text, "\"") == length && strncmp(text, word, length) == 0;
}

/* Were the labels taken relative to the outputs? So says --center, else the solution. */
static ntk_status find_center(linear *l) {
  static const char key[] = "\"center\": \"";
  ntk_status status = NTK_SUCCESS;
  const char *asked = ntk_options_string(l->options, "center");
  char *center = NULL, *provenance = NULL;
  NTK_TRY(read_note(l, "/center", &center));
  NTK_TRY(read_note(l, "/provenance", &provenance));
  const char *found = strstr(provenance, key);
  const char *said = asked     ? asked
                     : *center ? center
                     : found   ? found + strlen(key)
                               : "auto";
  l->is_centred = !says(said, "zero");
  NTK_REQUIRE(!l->is_centred || says(said, "auto") || says(said, "outputs"),
              NTK_ERR_ARGUMENT,
              "%s has outputs of another file as center: say --center outputs or zero",
              l->solution);
done:
  ntk_free(&center);
  ntk_free(&provenance);
  return status;
}

static ntk_status check_origin(linear *l) {
  ntk_status status = NTK_SUCCESS;
  char *identity = NULL;
  NTK_TRY(read_note(l, "/identity", &identity));
  if (*identity) {
    NTK_TRY(ntk_agree(l->context->comm, check_lines(l, identity)));
    NTK_TRY(check_samples(l, identity));
  } else {
    ntk_say(l->context, NTK_REPORT_WARNING,
            "%s does not tell which model and samples it is of: they are not compared",
            l->solution);
  }
  NTK_TRY(find_center(l));
done:
  ntk_free(&identity);
  return status;
}

/* ---- reading it -----------------------------------------------------------------------
 */

static ntk_status find_shape(linear *l) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = l->plan;
  const ntk_context *context = l->context;
  const int64_t N = ntk_data_samples(plan->columns), M = ntk_data_samples(plan->rows);
  char text[NTK_SHAPE_TEXT];
  ntk_shape shape;
  NTK_TRY(ntk_rows_shape(l->solution, "/alpha", &shape));
  const int64_t *last = shape.dim + (shape.ndim > 2 ? shape.ndim - 2 : 0);
  const int64_t vectors = ntk_shape_size(&shape) / (N * plan->selected);
  NTK_REQUIRE((shape.ndim == 3 || shape.ndim == 4) && vectors > 0 && last[0] == N &&
                  last[1] == plan->selected,
              NTK_ERR_SHAPE,
              "%s: /alpha is %s, [ridges, %" PRId64 ", %" PRId64
              "] is needed for these --inputs and outputs",
              l->solution, ntk_shape_text(&shape, text), N, plan->selected);
  l->train = (ntk_systems){.ridges = vectors,
                           .rows = ntk_share_count(N, context->rank, context->size),
                           .outputs = plan->selected,
                           .apart = plan->numeric.reduction == NTK_REDUCE_PSEUDO};
  l->systems = l->train;
  l->systems.rows = ntk_share_count(M, context->rank, context->size);
done:
  return status;
}

static ntk_status allocate(linear *l) {
  ntk_status status = NTK_SUCCESS;
  const int64_t in = ntk_systems_elements(&l->train),
                out = ntk_systems_elements(&l->systems);
  ntk_shares shares;
  ntk_plan_get_shares(l->plan, &shares);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, in, sizeof(double), &l->alpha));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, in, sizeof(double), &l->u));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, ntk_systems_count(&l->train) * shares.parameters,
                     sizeof(double), &l->dtheta));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, out, sizeof(double), &l->apart));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, out, sizeof(double), &l->values));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, l->systems.rows * l->systems.outputs,
                     sizeof(double), &l->outputs));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, l->train.ridges, sizeof(double), &l->ridge));
done:
  return status;
}

static ntk_status read_alpha(linear *l) {
  ntk_status status = NTK_SUCCESS;
  const int64_t first = ntk_share_first(ntk_data_samples(l->plan->columns),
                                        l->context->rank, l->context->size);
  ntk_shape shape;
  if (l->train.rows > 0)
    NTK_TRY(ntk_rows_read(l->solution, "/alpha", first, l->train.rows, l->alpha));
  NTK_REQUIRE(ntk_find_nonfinite(NTK_F64, l->alpha, ntk_systems_elements(&l->train)) < 0,
              NTK_ERR_NONFINITE, "%s: /alpha holds NaN or infinity", l->solution);
  if (ntk_rows_shape(l->solution, "/ridge", &shape) == NTK_SUCCESS && shape.ndim == 1 &&
      shape.dim[0] > 0 && l->train.ridges % shape.dim[0] == 0) {
    NTK_TRY(ntk_rows_read(l->solution, "/ridge", 0, 0, l->ridge));
    for (int64_t r = shape.dim[0]; r < l->train.ridges; r++)
      l->ridge[r] = l->ridge[r - shape.dim[0]]; /* the same at each time */
  }
  ntk_systems_split(&l->train, l->alpha, l->u);
done:
  return status;
}

/* ---- the call -------------------------------------------------------------------------
 */

static ntk_status compute(linear *l) {
  ntk_status status = NTK_SUCCESS;
  const int64_t count = ntk_systems_count(&l->train);
  const int64_t one = l->systems.rows * l->systems.outputs;
  NTK_TRY(ntk_plan_apply(l->plan, NTK_JT, count, l->u, l->dtheta));
  NTK_TRY(ntk_plan_apply(l->plan, NTK_J, count, l->dtheta, l->apart));
  if (l->is_centred)
    NTK_TRY(ntk_plan_row_outputs(l->plan, l->outputs));
  ntk_systems_join(&l->systems, l->apart, l->values);
  for (int64_t i = 0; i < ntk_systems_elements(&l->systems); i++)
    l->values[i] += l->outputs[i % one];
done:
  return status;
}

static ntk_status write_file(const linear *l, const char *provenance) {
  const int64_t M = ntk_data_samples(l->plan->rows);
  const ntk_rows all = {.name = "/linearized",
                        .vectors = l->systems.ridges,
                        .rows = M,
                        .outputs = l->systems.outputs,
                        .first = ntk_share_first(M, l->context->rank, l->context->size),
                        .count = l->systems.rows,
                        .values = l->values};
  ntk_rows rows[2] = {all, all};
  rows[0].name = "/outputs"; /* the first ridge's */
  rows[0].vectors = 0;
  const ntk_list ridge = {"/ridge", l->systems.ridges, l->ridge};
  const ntk_note note = {"/provenance", provenance};
  const ntk_rows_spec spec = {.format = "scantk-linearized 1",
                              .signal = "linearized",
                              .row_count = 2,
                              .rows = rows,
                              .list_count = 1,
                              .lists = &ridge,
                              .note_count = 1,
                              .notes = &note};
  return ntk_rows_write(l->context, l->path, &spec);
}

static ntk_status score(const linear *l, ntk_data *test) {
  ntk_status status = NTK_SUCCESS;
  ntk_targets targets;
  NTK_TRY(ntk_targets_read(l->context, l->plan, test,
                           ntk_options_string(l->options, "test-labels"), &targets));
  status = ntk_targets_score(l->context, &targets, "test", l->systems.ridges, l->ridge,
                             l->values);
  ntk_targets_clear(&targets);
done:
  return status;
}

static ntk_status read_options(linear *l, const char *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("linearize"), text, &l->options));
  NTK_TRY(ntk_matrix_free_plan_options(l->options, &l->plan_options));
done:
  return status;
}

static void release(linear *l) {
  ntk_plan_destroy(&l->plan);
  ntk_options_destroy(&l->options);
  ntk_text_clear(&l->plan_options);
  ntk_free(&l->alpha);
  ntk_free(&l->u);
  ntk_free(&l->dtheta);
  ntk_free(&l->apart);
  ntk_free(&l->values);
  ntk_free(&l->outputs);
  ntk_free(&l->ridge);
}

ntk_status ntk_linearize(ntk_model *model, ntk_data *train, ntk_data *test,
                         const char *solution, const char *options, const char *path,
                         const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  linear l = {.context = context, .solution = solution, .path = path};
  ntk_text provenance = {0};
  NTK_TRY(ntk_agree(context->comm, read_options(&l, options)));
  NTK_TRY(ntk_store_check(context, path,
                          16 * ntk_data_samples(test) * ntk_graph_outputs(model->graph)));
  NTK_TRY(ntk_plan_create(model, test, train, l.plan_options.data, &l.plan));
  NTK_TRY(ntk_agree(context->comm, find_shape(&l)));
  NTK_TRY(check_origin(&l));
  NTK_TRY(ntk_agree(context->comm, allocate(&l)));
  NTK_TRY(ntk_agree(context->comm, read_alpha(&l)));
  NTK_TRY(ntk_matrix_free_provenance(l.plan, "scantk-linearized 1", command_line,
                                     &provenance, NULL));
  NTK_TRY(compute(&l));
  NTK_TRY(write_file(&l, provenance.data ? provenance.data : ""));
  NTK_TRY(score(&l, test));
done:
  ntk_text_clear(&provenance);
  release(&l);
  return status;
}

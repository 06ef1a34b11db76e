/* SPDX-License-Identifier: Apache-2.0 */
#include "job/recompute.h"
#include "base/memory.h"
#include "base/random.h"
#include "io/store.h"
#include "job/identity.h"
#include "job/plan_parts.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The samples of a side that were picked. */
typedef struct side {
  ntk_data view; /* the file's range of the data set; borrows all of it */
  int64_t count;
  int64_t *index; /* [count] in the range, rising */
  ntk_data *picked;
} side;

typedef struct trial {
  ntk_context *context;
  const ntk_kernel_file *file;
  const ntk_kernel_facts *facts;
  ntk_model *model;
  const ntk_options *options; /* of verify */
  char *identity;             /* of the file */
  side sides[2];
  double *stored; /* [O, O] or less */
  char algorithm[16];
  int count;               /* kernels */
  ntk_kernel_file **files; /* [count] of them */
  ntk_recomputed *found;   /* [count] */
} trial;

/* ---- samples --------------------------------------------------------------------------
 */

/* Different numbers below n, rising: each is taken with the chance that fills the list. */
static void draw(int64_t n, int64_t count, uint64_t seed, int which, int64_t *index) {
  int64_t taken = 0;
  for (int64_t i = 0; i < n && taken < count; i++)
    if (ntk_random_uniform(seed, (uint64_t)(2 + which), (uint64_t)i) * (double)(n - i) <
        (double)(count - taken))
      index[taken++] = i;
}

/* The file's range of the data, or NTK_ERR_FORMAT. */
static ntk_status find_range(const trial *t, int which, const ntk_data *data, side *s) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n = which == 0 ? t->facts->rows : t->facts->columns;
  int64_t first;
  NTK_TRY(ntk_kernel_read_side(t->file, "sample", which, 0, 1, NTK_I64, &first));
  s->view = *data;
  s->view.first = first;
  s->view.samples = n;
  NTK_REQUIRE(first + n <= data->total, NTK_ERR_FORMAT,
              "%s is of samples %" PRId64 ":%" PRId64 ", %s has %" PRId64, t->facts->path,
              first, first + n, data->path, data->total);
done:
  return status;
}

static ntk_status check_sample(trial *t, int which, int64_t i) {
  ntk_status status = NTK_SUCCESS;
  side *s = &t->sides[which];
  uint64_t here[1][2], there[2];
  NTK_TRY(ntk_data_digest(&s->view, i, 1, t->facts->dtype, here));
  NTK_TRY(ntk_kernel_read_side(t->file, "digest", which, i, 1, NTK_U64, there));
  NTK_REQUIRE(here[0][0] == there[0] && here[0][1] == there[1], NTK_ERR_FORMAT,
              "%s: sample %" PRId64 " of %s is not the one that the file was made of",
              t->facts->path, s->view.first + i, s->view.path);
done:
  return status;
}

static ntk_status pick_side(trial *t, int which, ntk_data *data, int64_t samples,
                            uint64_t seed) {
  ntk_status status = NTK_SUCCESS;
  side *s = &t->sides[which];
  NTK_TRY(find_range(t, which, data, s));
  s->count = s->view.samples < samples ? s->view.samples : samples;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, s->count, sizeof *s->index, &s->index));
  draw(s->view.samples, s->count, seed, which, s->index);
  for (int64_t i = 0; i < s->count; i++)
    NTK_TRY(check_sample(t, which, s->index[i]));
  NTK_TRY(ntk_data_pick(&s->view, s->count, s->index, &s->picked));
done:
  return status;
}

/* ---- the plan -------------------------------------------------------------------------
 */

static ntk_status check_model(const trial *t) {
  ntk_status status = NTK_SUCCESS;
  ntk_text here = {0};
  NTK_TRY(ntk_identity_of_model(t->model, &here));
  status = ntk_identity_compare(t->context, t->facts->path, t->identity, here.data,
                                "is not of this model");
  if (status == NTK_ERR_ARGUMENT)
    status = NTK_ERR_FORMAT;
done:
  ntk_text_clear(&here);
  return status;
}

/* An algorithm that is not the file's. */
static ntk_status choose_algorithm(trial *t) {
  ntk_status status = NTK_SUCCESS;
  char *used = NULL;
  NTK_TRY(ntk_identity_value(t->facts->path, t->identity, "algorithm: ", &used));
  (void)snprintf(t->algorithm, sizeof t->algorithm, "%s",
                 strcmp(used, "jacobian") ? "jacobian" : "structured");
done:
  ntk_free(&used);
  return status;
}

/* "NAME=GLOB,GLOB; ..." as options. */
static ntk_status write_groups(const char *groups, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const char *at = strcmp(groups, "none") == 0 ? NULL : groups;
  while (at) {
    const char *end = strstr(at, "; ");
    const int64_t length = end ? end - at : (int64_t)strlen(at);
    NTK_TRY(ntk_text_add(text, " --group "));
    NTK_TRY(ntk_text_add_quoted(text, at, length));
    at = end ? end + 2 : NULL;
  }
done:
  return status;
}

static ntk_status add_option(ntk_text *text, const char *name, const char *value) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, " --%s ", name));
  NTK_TRY(ntk_text_add_quoted(text, value, (int64_t)strlen(value)));
done:
  return status;
}

/* Those of a side of the file are those that are given; *each: one set for each sample. */
static ntk_status write_cotangents(const trial *t, const char *name, ntk_text *text,
                                   bool *each) {
  ntk_status status = NTK_SUCCESS;
  const char *path = t->facts->path, *given = ntk_options_string(t->options, name);
  char line[32], *value = NULL;
  (void)snprintf(line, sizeof line, "%s: ", name);
  NTK_TRY(ntk_identity_value(path, t->identity, line, &value));
  const bool needed = strcmp(value, "none") != 0;
  *each = strstr(value, "of each sample") != NULL;
  NTK_REQUIRE(needed == (given != NULL), NTK_ERR_ARGUMENT, "%s was made with%s --%s%s",
              path, needed ? "" : "out", name, needed ? ": give them" : "");
  if (needed)
    NTK_TRY(add_option(text, name, given));
done:
  ntk_free(&value);
  return status;
}

/* Outputs, or cotangents in their place. Where rows and columns are the same samples, those
 * of each are of both; here they are two sides. */
static ntk_status write_outputs(const trial *t, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const char *given = ntk_options_string(t->options, "cotangents");
  bool each[2];
  char *outputs = NULL;
  NTK_TRY(write_cotangents(t, "cotangents", text, &each[0]));
  NTK_TRY(write_cotangents(t, "cotangents2", text, &each[1]));
  if (each[0] && !ntk_options_given(t->options, "cotangents2"))
    NTK_TRY(add_option(text, "cotangents2", given));
  if (given)
    goto done;
  NTK_TRY(ntk_identity_value(t->facts->path, t->identity, "outputs: ", &outputs));
  for (char *c = outputs; *c; c++)
    if (*c == ' ')
      *c = ',';
  NTK_TRY(ntk_text_add(text, " --select-outputs %s", outputs));
done:
  ntk_free(&outputs);
  return status;
}

/* The text of options with which the plan gives what the file has. */
static ntk_status write_options(trial *t, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const char *path = t->facts->path;
  char *scale = NULL, *groups = NULL;
  NTK_TRY(choose_algorithm(t));
  NTK_TRY(ntk_identity_value(path, t->identity, "trace-scale: ", &scale));
  NTK_TRY(ntk_text_add(text, "--dtype f64 --algorithm %s --reduce %s", t->algorithm,
                       ntk_reduction_name(t->facts->reduction)));
  NTK_TRY(write_outputs(t, text));
  NTK_TRY(ntk_identity_value(path, t->identity, "groups: ", &groups));
  NTK_TRY(write_groups(groups, text));
  if (t->facts->reduction == NTK_REDUCE_TRACE)
    NTK_TRY(ntk_text_add(text, " --trace-scale %s", scale));
done:
  ntk_free(&scale);
  ntk_free(&groups);
  return status;
}

/* ---- comparing ------------------------------------------------------------------------
 */

static void compare_entry(const trial *t, ntk_recomputed *found, const ntk_tile *entry,
                          double here, double there) {
  const double difference = isnan(here - there) ? INFINITY : fabs(here - there);
  found->entries++;
  if (!(fabs(here) <= found->largest))
    found->largest = fabs(here);
  if (difference <= found->difference)
    return;
  found->difference = difference;
  found->tile = ntk_kernel_tile_of(t->file, entry->row_first, entry->row_output,
                                   entry->column_first, entry->column_output);
}

/* What the file has of one sample pair of a tile of a kernel. */
static ntk_status compare_pair(trial *t, int kernel, const ntk_tile *tile, int64_t n,
                               int64_t m, const double *values) {
  ntk_status status = NTK_SUCCESS;
  ntk_tile entry = *tile;
  const bool full = t->facts->reduction == NTK_REDUCE_NONE;
  const bool diagonal = t->facts->reduction == NTK_REDUCE_DIAGONAL;
  const int64_t rows = full || diagonal ? tile->row_outputs : 1;
  const int64_t columns = full ? tile->column_outputs : 1;
  entry.row_first = t->sides[0].index[tile->row_first + n];
  entry.column_first = t->sides[1].index[tile->column_first + m];
  entry.row_count = entry.column_count = 1;
  NTK_TRY(ntk_kernel_read(t->files[kernel], &entry, t->stored));
  for (int64_t o = 0; o < rows; o++)
    for (int64_t p = 0; p < columns; p++) {
      const int64_t at = diagonal ? (o * tile->row_count + n) * tile->column_count + m
                                  : ((n * rows + o) * tile->column_count + m) * columns + p;
      const ntk_tile one = {.row_first = entry.row_first,
                            .row_output = full || diagonal ? tile->row_output + o : 0,
                            .column_first = entry.column_first,
                            .column_output = full       ? tile->column_output + p
                                             : diagonal ? tile->row_output + o
                                                        : 0};
      compare_entry(t, &t->found[kernel], &one, values[at], t->stored[o * columns + p]);
    }
done:
  return status;
}

static ntk_status compare_group(void *self, int kernel, const ntk_tile *tile,
                                const void *values) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t n = 0; n < tile->row_count; n++)
    for (int64_t m = 0; m < tile->column_count; m++)
      NTK_TRY(compare_pair(self, kernel, tile, n, m, values));
done:
  return status;
}

static ntk_status compare_whole(void *self, const ntk_tile *tile, const void *values) {
  return compare_group(self, 0, tile, values);
}

/* Of all ranks. */
static ntk_status share_findings(const trial *t, ntk_recomputed *f) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = t->context->comm;
  struct {
    double value;
    int rank;
  } worst = {f->difference, t->context->rank};
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &worst, 1, MPI_DOUBLE_INT, MPI_MAXLOC, comm));
  NTK_TRY_MPI(MPI_Bcast(&f->tile, 1, MPI_INT64_T, worst.rank, comm));
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &f->entries, 1, MPI_INT64_T, MPI_SUM, comm));
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &f->largest, 1, MPI_DOUBLE, MPI_MAX, comm));
  f->difference = worst.value;
done:
  return status;
}

static ntk_status prepare(trial *t, ntk_data *rows, ntk_data *columns, ntk_text *options) {
  ntk_status status = NTK_SUCCESS;
  const int64_t samples = ntk_options_int(t->options, "samples");
  const uint64_t seed = (uint64_t)ntk_options_int(t->options, "seed");
  const int64_t O = t->facts->outputs;
  NTK_TRY(ntk_store_read_text(t->facts->path, "/identity", &t->identity));
  NTK_TRY(check_model(t));
  NTK_TRY(write_options(t, options));
  NTK_TRY(pick_side(t, 0, rows, samples, seed));
  NTK_TRY(pick_side(t, 1, columns ? columns : rows, samples, seed));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, O * t->facts->per_sample, sizeof *t->stored,
                     &t->stored));
done:
  return status;
}

/* Those of the plan have the file's values. Collective. */
static ntk_status check_cotangents(const trial *t, const ntk_plan *plan) {
  static const char *const options[2] = {"cotangents", "cotangents2"};
  static const char *const names[2] = {"values of the cotangents",
                                       "values of the cotangents2"};
  ntk_status status = NTK_SUCCESS;
  ntk_digests digests = {.sum = {0}};
  ntk_text here = {0};
  for (int which = 0; which < 2; which++) {
    const bool is_given = ntk_options_given(t->options, options[which]);
    ntk_data *given = is_given ? ntk_cotangents_file(&plan->cotangents, which) : NULL;
    ntk_digests_clear(&digests);
    digests = (ntk_digests){.sum = {0}};
    if (given)
      NTK_TRY(ntk_digests_create(t->context, given, t->facts->dtype, &digests));
    if (t->context->rank == 0)
      status = ntk_identity_of_digest(names[which], given, &digests, &here);
    NTK_TRY(ntk_agree(t->context->comm, status));
  }
  if (t->context->rank == 0)
    status = ntk_identity_compare(t->context, t->facts->path, t->identity, here.data,
                                  "is not of these cotangents");
  NTK_TRY(ntk_agree(t->context->comm, status));
done:
  ntk_digests_clear(&digests);
  ntk_text_clear(&here);
  return status;
}

/* The kernels of the file that the plan has. */
static ntk_status open_kernels(trial *t, const ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  t->count = 1 + plan->groups.count;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, t->count, sizeof *t->files, &t->files));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, t->count, sizeof *t->found, &t->found));
  for (int k = 0; k < t->count; k++) {
    ntk_recomputed *f = &t->found[k];
    const char *group = k > 0 ? plan->groups.names[k - 1] : NULL;
    if (group)
      NTK_TRY(ntk_strdup(group, &f->group));
    NTK_TRY(ntk_kernel_open(t->facts->path, group, &t->files[k]));
    memcpy(f->algorithm, t->algorithm, sizeof f->algorithm);
    f->rows = t->sides[0].count;
    f->columns = t->sides[1].count;
  }
done:
  return status;
}

void ntk_recomputed_free(ntk_recomputed **found, int count) {
  for (int k = 0; *found && k < count; k++)
    ntk_free(&(*found)[k].group);
  ntk_free(found);
}

ntk_status ntk_kernel_recompute(ntk_context *context, const ntk_kernel_file *file,
                                ntk_model *model, ntk_data *rows, ntk_data *columns,
                                const ntk_options *asked, ntk_recomputed **out,
                                int *count) {
  ntk_status status = NTK_SUCCESS;
  trial t = {.context = context,
             .file = file,
             .facts = ntk_kernel_get_facts(file),
             .model = model,
             .options = asked};
  const ntk_sink sink = {.self = &t, .write = compare_whole, .write_group = compare_group};
  ntk_text options = {0};
  ntk_plan *plan = NULL;
  NTK_TRY(ntk_agree(context->comm, prepare(&t, rows, columns, &options)));
  NTK_TRY(
      ntk_plan_create(model, t.sides[0].picked, t.sides[1].picked, options.data, &plan));
  NTK_TRY(check_cotangents(&t, plan));
  NTK_TRY(ntk_agree(context->comm, open_kernels(&t, plan)));
  NTK_TRY(ntk_plan_run(plan, &sink));
  for (int k = 0; k < t.count; k++)
    NTK_TRY(share_findings(&t, &t.found[k]));
  *out = t.found;
  *count = t.count;
  t.found = NULL;
done:
  ntk_plan_destroy(&plan);
  for (int k = 0; t.files && k < t.count; k++)
    ntk_kernel_close(&t.files[k]);
  ntk_free(&t.files);
  ntk_recomputed_free(&t.found, t.count);
  for (int which = 0; which < 2; which++) {
    ntk_data_destroy(&t.sides[which].picked);
    ntk_free(&t.sides[which].index);
  }
  ntk_text_clear(&options);
  ntk_free(&t.identity);
  ntk_free(&t.stored);
  return status;
}

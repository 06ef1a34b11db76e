/* SPDX-License-Identifier: Apache-2.0 */
#include "job/identity.h"
#include "base/memory.h"
#include "job/calibrate.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* ---- writing --------------------------------------------------------------------------
 */

static ntk_status add_inputs(const ntk_graph *graph, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  char shape[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_text_add(text, "shape of the input: "));
  for (int i = 0; i < graph->input_count; i++)
    NTK_TRY(ntk_text_add(text, "%s%s", i ? ", " : "",
                         ntk_shape_text(&graph->values[graph->inputs[i]].shape, shape)));
  NTK_TRY(ntk_text_add(text, "\n"));
done:
  return status;
}

static ntk_status add_parameters(const ntk_model *m, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = m->graph;
  ntk_text names = {0};
  for (int i = 0; i < graph->parameter_count; i++)
    NTK_TRY(ntk_text_add(&names, "%s\n", graph->values[graph->parameters[i]].name));
  NTK_TRY(ntk_text_add(text,
                       "parameters: %" PRId64 " in %d tensors, names %016" PRIx64 "\n",
                       ntk_graph_parameters(graph), graph->parameter_count,
                       (uint64_t)XXH3_64bits(names.data, (size_t)names.length)));
  NTK_TRY(ntk_text_add(text, "values of the parameters: %s\n", m->parameter_digest));
  NTK_TRY(ntk_text_add(text, "other tensors given with --parameters: %s\n",
                       *m->others_digest ? m->others_digest : "none"));
done:
  ntk_text_clear(&names);
  return status;
}

ntk_status ntk_identity_of_range(const char *name, const ntk_data *data, ntk_text *text) {
  if (!data)
    return ntk_text_add(text, "%s: that of the rows\n", name);
  return ntk_text_add(text, "%s: %" PRId64 ":%" PRId64 "\n", name, data->first,
                      data->first + data->samples);
}

ntk_status ntk_identity_of_outputs(int64_t count, const int64_t *index, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "outputs:"));
  for (int64_t i = 0; i < count; i++)
    NTK_TRY(ntk_text_add(text, " %" PRId64, index[i]));
  NTK_TRY(ntk_text_add(text, "\n"));
done:
  return status;
}

static ntk_status add_cotangents(const ntk_cotangents *c, int side, ntk_text *text) {
  const char *name = side == 0 ? "cotangents" : "cotangents2";
  if (!c->sides[side])
    return ntk_text_add(text, "%s: none\n", name);
  return ntk_text_add(text, "%s: %" PRId64 "%s\n", name, c->count,
                      c->per_sample[side] ? " of each sample" : "");
}

ntk_status ntk_identity_of_model(const ntk_model *m, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "model: %s%s%s\n", m->sha256, *m->output ? ", output " : "",
                       m->output));
  NTK_TRY(ntk_text_add(text, "batch axis: %s\n", m->batch_axis));
  NTK_TRY(add_inputs(m->graph, text));
  NTK_TRY(add_parameters(m, text));
done:
  return status;
}

ntk_status ntk_identity_of_plan(const ntk_plan *plan, const ntk_numeric *p,
                                bool any_algorithm, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_identity_of_model(plan->model, text));
  NTK_TRY(ntk_identity_of_range("range", plan->rows, text));
  NTK_TRY(ntk_identity_of_range("range2", plan->columns, text));
  NTK_TRY(ntk_identity_of_outputs(plan->selected, plan->output_index, text));
  NTK_TRY(add_cotangents(&plan->cotangents, 0, text));
  NTK_TRY(add_cotangents(&plan->cotangents, 1, text));
  NTK_TRY(ntk_text_add(text, "reduction: %s\n", ntk_reduction_name(p->reduction)));
  NTK_TRY(ntk_text_add(text, "trace-scale: %s\n", p->trace_sum ? "sum" : "mean"));
  NTK_TRY(ntk_text_add(text, "groups: %s\n", plan->groups.text));
  NTK_TRY(ntk_text_add(text, "dtype: %s\n", ntk_dtype_name(p->dtype)));
  if (!any_algorithm)
    NTK_TRY(ntk_text_add(text, "algorithm: %s\n", ntk_algorithm_name(p->algorithm)));
done:
  return status;
}

ntk_status ntk_identity_of_digest(const char *name, bool there, const ntk_digests *digest,
                                  ntk_text *text) {
  if (!there)
    return ntk_text_add(text, "%s: none\n", name);
  return ntk_text_add(text, "%s: %016" PRIx64 "%016" PRIx64 "\n", name, digest->sum[1],
                      digest->sum[0]);
}

ntk_status ntk_identity_of_data(const ntk_plan *plan, const ntk_digests *digests,
                                const ntk_digests *cotangents, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *const *sides = plan->cotangents.sides;
  NTK_TRY(ntk_identity_of_digest("samples of the rows", true, &digests[0], text));
  NTK_TRY(
      ntk_identity_of_digest("samples of the columns", plan->columns, &digests[1], text));
  NTK_TRY(
      ntk_identity_of_digest("values of the cotangents", sides[0], &cotangents[0], text));
  NTK_TRY(
      ntk_identity_of_digest("values of the cotangents2", sides[1], &cotangents[1], text));
done:
  return status;
}

/* Where bytes may differ. */
static const char *const machine[] = {"processor: ", "BLAS: ", "threads of a rank: "};

ntk_status ntk_identity_of_machine(ntk_text *text) {
  char cpu[128];
  ntk_cpu_model(cpu, sizeof cpu);
  return ntk_text_add(text, "%s%s\n%s%s\n%s%d\n", machine[0], cpu, machine[1],
                      ntk_blas_name(), machine[2], omp_get_max_threads());
}

ntk_status ntk_identity_write(const ntk_plan *plan, const ntk_digests *digests,
                              const ntk_digests *cotangents, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_identity_of_plan(plan, &plan->numeric, false, text));
  NTK_TRY(ntk_identity_of_data(plan, digests, cotangents, text));
  NTK_TRY(ntk_identity_of_machine(text));
done:
  return status;
}

/* ---- comparing ------------------------------------------------------------------------
 */

/* A line "name: value" without its end. */
typedef struct line {
  const char *name, *value;
  int name_length, value_length;
} line;

/* Takes the line at *text and goes on to the next. */
static line take_line(const char **text) {
  const char *end = *text + strcspn(*text, "\n"), *colon = strstr(*text, ": ");
  const char *value = colon && colon < end ? colon + 2 : end;
  const line l = {*text, value, (int)(value - *text), (int)(end - value)};
  *text = *end ? end + 1 : end;
  return l;
}

static bool find_line(const char *text, const line *like, line *found) {
  while (*text) {
    *found = take_line(&text);
    if (found->name_length == like->name_length &&
        memcmp(found->name, like->name, (size_t)like->name_length) == 0)
      return true;
  }
  return false;
}

/* Does the file say the same? What it says instead. */
static bool agrees(const char *file, const line *now, line *in_file) {
  static const line nothing = {"", "nothing", 0, 7};
  if (!find_line(file, now, in_file)) {
    *in_file = nothing;
    return false;
  }
  return now->value_length == in_file->value_length &&
         memcmp(now->value, in_file->value, (size_t)now->value_length) == 0;
}

static bool is_of_machine(const line *l) {
  for (int i = 0; i < 3; i++)
    if (strncmp(l->name, machine[i], (size_t)l->name_length) == 0)
      return true;
  return false;
}

/* Long values are cut. */
static int shown(int length) { return length < 80 ? length : 80; }

/* A number for the values that the texts have of a line. */
static ntk_status hash_values(int count, char *const *texts, const line *name,
                              uint64_t *hash) {
  ntk_status status = NTK_SUCCESS;
  ntk_text values = {0};
  line found;
  for (int i = 0; i < count; i++) {
    const bool there = find_line(texts[i], name, &found);
    NTK_TRY(ntk_text_add(&values, "%.*s\n", there ? found.value_length : 0,
                         there ? found.value : ""));
  }
  *hash = XXH3_64bits(values.data, (size_t)values.length);
done:
  ntk_text_clear(&values);
  return status;
}

ntk_status ntk_identity_combine(int count, char *const *texts, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const char *rest = texts[0];
  uint64_t hash;
  line theirs;
  while (*rest) {
    const line l = take_line(&rest);
    bool same = true;
    for (int i = 1; i < count && same; i++)
      same = agrees(texts[i], &l, &theirs);
    NTK_TRY(hash_values(count, texts, &l, &hash));
    if (same || is_of_machine(&l))
      NTK_TRY(
          ntk_text_add(text, "%.*s%.*s\n", l.name_length, l.name, l.value_length, l.value));
    else
      NTK_TRY(ntk_text_add(text, "%.*s%d kernels, %016" PRIx64 "\n", l.name_length, l.name,
                           count, hash));
  }
done:
  return status;
}

ntk_status ntk_identity_value(const char *path, const char *text, const char *name,
                              char **value) {
  ntk_status status = NTK_SUCCESS;
  const line like = {name, name, (int)strlen(name), 0};
  line found;
  NTK_REQUIRE(find_line(text, &like, &found), NTK_ERR_FORMAT, "%s: /identity has no \"%s\"",
              path, name);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, found.value_length + 1, 1, value));
  memcpy(*value, found.value, (size_t)found.value_length);
  (*value)[found.value_length] = '\0';
done:
  return status;
}

ntk_status ntk_identity_compare(const ntk_context *context, const char *path,
                                const char *file, const char *here, const char *verdict) {
  while (*here) {
    line theirs, ours = take_line(&here);
    char what[256];
    if (agrees(file, &ours, &theirs))
      continue;
    (void)snprintf(what, sizeof what, "%.*s%.*s in the file, %.*s now", ours.name_length,
                   ours.name, shown(theirs.value_length), theirs.value,
                   shown(ours.value_length), ours.value);
    if (!is_of_machine(&ours))
      return ntk_fail(NTK_ERR_ARGUMENT, "%s %s: %s", path, verdict, what);
    ntk_say(context, NTK_REPORT_WARNING, "%s: %s: bytes may differ", path, what);
  }
  return NTK_SUCCESS;
}

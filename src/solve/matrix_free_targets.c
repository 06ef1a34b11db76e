/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "dist/shares.h"
#include "solve/classes.h"
#include "solve/matrix_free_parts.h"
#include <inttypes.h>
#include <string.h>

/* Where the labels of the samples stand: labels of data, or rows of a file of them. */
typedef struct source {
  const ntk_data *data;
  ntk_data *file; /* NULL: the data's own */
  int64_t first;  /* row of the file that is this rank's first sample's */
  bool is_class;
  int64_t size; /* real numbers of a sample */
} source;

/* Are there such (`what`: "labels") of each sample, or of all of the data's file? */
static ntk_status find_rows(source *s, const char *what) {
  ntk_status status = NTK_SUCCESS;
  const ntk_data *d = s->data;
  NTK_REQUIRE(s->file->samples == d->samples || s->file->samples == d->total, NTK_ERR_SHAPE,
              "%s: %s of %" PRId64 " samples, but there are %" PRId64 " (of %" PRId64
              " in %s)",
              s->file->path, what, s->file->samples, d->samples, d->total, d->path);
  if (s->file->samples != d->samples)
    s->first += d->first;
done:
  return status;
}

static ntk_status read_kind(source *s, int64_t outputs) {
  ntk_status status = NTK_SUCCESS;
  const ntk_data *d = s->data;
  const char *path = s->file ? s->file->path : d->path;
  if (s->file) {
    NTK_TRY(find_rows(s, "labels"));
    s->size = ntk_shape_size(&s->file->shape);
    s->is_class = s->size == 1 && !ntk_dtype_is_real(s->file->dtype) && outputs > 1;
  } else {
    s->size = d->labels == NTK_LABELS_TARGETS ? ntk_shape_size(&d->target_shape) : 1;
    s->is_class = d->labels == NTK_LABELS_CLASSES && outputs > 1;
  }
  NTK_REQUIRE(s->is_class || s->size == outputs, NTK_ERR_SHAPE,
              "%s: labels are %" PRId64 " numbers for a sample, the kernel has %" PRId64
              " outputs",
              path, s->size, outputs);
done:
  return status;
}

static ntk_status read_reals(const source *s, ntk_targets *t) {
  ntk_status status = NTK_SUCCESS;
  int64_t *numbers = NULL;
  if (s->file)
    return ntk_data_slice(s->file, s->first, t->rows, NTK_F64, t->values);
  if (s->data->labels == NTK_LABELS_TARGETS)
    return ntk_data_labels(s->data, s->first, t->rows, t->values);
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, t->rows, sizeof *numbers, &numbers));
  NTK_TRY(ntk_data_labels(s->data, s->first, t->rows, numbers));
  ntk_convert(NTK_I64, numbers, NTK_F64, t->values, t->rows);
done:
  ntk_free(&numbers);
  return status;
}

static ntk_status read_share(source *s, const ntk_plan *plan, ntk_targets *t) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(read_kind(s, t->outputs));
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, t->rows * t->outputs, sizeof(double), &t->values));
  if (!s->is_class) {
    NTK_TRY(read_reals(s, t));
    goto done;
  }
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, t->rows, sizeof *t->classes, &t->classes));
  NTK_TRY(s->file ? ntk_classes_read(s->file, s->first, t->rows, t->classes)
                  : ntk_data_labels(s->data, s->first, t->rows, t->classes));
  NTK_TRY(ntk_classes_encode(s->file ? s->file->path : s->data->path, s->first, t->rows,
                             t->outputs, plan->output_index, t->classes, t->values));
done:
  return status;
}

ntk_status ntk_targets_read(ntk_context *context, const ntk_plan *plan, ntk_data *data,
                            const char *path, ntk_targets *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t N = ntk_data_samples(data);
  source s = {.data = data, .first = ntk_share_first(N, context->rank, context->size)};
  *out = (ntk_targets){.rows = ntk_share_count(N, context->rank, context->size),
                       .outputs = plan->selected};
  if (path)
    NTK_TRY(ntk_data_open(context, path, "/labels", &s.file));
  if (path || data->labels != NTK_LABELS_NONE)
    NTK_TRY(ntk_agree(context->comm, read_share(&s, plan, out)));
done:
  if (status != NTK_SUCCESS)
    ntk_targets_clear(out);
  ntk_data_destroy(&s.file);
  return status;
}

static ntk_status read_outputs(source *s, int64_t rows, int64_t outputs, double *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = ntk_shape_size(&s->file->shape);
  NTK_TRY(find_rows(s, "outputs"));
  NTK_REQUIRE(size == outputs, NTK_ERR_SHAPE,
              "%s: %" PRId64 " outputs of a sample, the kernel has %" PRId64, s->file->path,
              size, outputs);
  NTK_TRY(ntk_data_slice(s->file, s->first, rows, NTK_F64, out));
done:
  return status;
}

ntk_status ntk_center_read(ntk_context *context, ntk_data *data, const char *path,
                           int64_t outputs, double *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t N = ntk_data_samples(data);
  source s = {.data = data, .first = ntk_share_first(N, context->rank, context->size)};
  NTK_TRY(ntk_data_open(context, path, "/outputs", &s.file));
  NTK_TRY(ntk_agree(
      context->comm,
      read_outputs(&s, ntk_share_count(N, context->rank, context->size), outputs, out)));
done:
  ntk_data_destroy(&s.file);
  return status;
}

void ntk_targets_clear(ntk_targets *t) {
  ntk_free(&t->values);
  ntk_free(&t->classes);
}

/* sums: squares of the errors, samples whose largest output is at the label, samples. */
static void add_up(const ntk_targets *t, const double *y, double sums[3]) {
  for (int64_t i = 0; i < t->rows; i++, y += t->outputs) {
    int64_t best = 0;
    for (int64_t q = 0; q < t->outputs; q++) {
      const double error = y[q] - t->values[i * t->outputs + q];
      sums[0] += error * error;
      best = y[q] > y[best] ? q : best;
    }
    sums[1] += t->classes && t->classes[i] == best;
    sums[2]++;
  }
}

ntk_status ntk_targets_score(ntk_context *context, const ntk_targets *t, const char *name,
                             int64_t ridges, const double *ridge,
                             const double *predictions) {
  ntk_status status = NTK_SUCCESS;
  if (!t->values)
    return NTK_SUCCESS;
  for (int64_t r = 0; r < ridges; r++) {
    double sums[3] = {0}, room[6];
    add_up(t, predictions + r * t->rows * t->outputs, sums);
    NTK_TRY(ntk_shares_sum_all(context->comm, 3, sums, room));
    const double mse = sums[0] / (sums[2] * (double)t->outputs);
    if (t->classes)
      ntk_say(context, NTK_REPORT_RESULT, "%-5s ridge %-10.4g mse %.6g accuracy %.6g", name,
              ridge[r], mse, sums[1] / sums[2]);
    else
      ntk_say(context, NTK_REPORT_RESULT, "%-5s ridge %-10.4g mse %.6g", name, ridge[r],
              mse);
  }
done:
  return status;
}

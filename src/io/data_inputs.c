/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/source.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Samples of a model with several inputs: a data set of one HDF5 file for each, by its
 * name. A row is those of all inputs, one after the other. */
typedef struct inputs_source {
  ntk_data_source source; /* first: it is a source */
  int count;
  ntk_data_source **inputs;
  ntk_data_part *parts; /* [count], named */
} inputs_source;

/* Bytes of one input that are read at a time, at least a row: they pass through a buffer.
 */
enum { PIECE_BYTES = 1 << 20 };

static int64_t piece_of(int64_t bytes, int64_t count) {
  const int64_t rows = bytes < PIECE_BYTES ? PIECE_BYTES / (bytes ? bytes : 1) : 1;
  return rows < count ? rows : count;
}

/* Rows of one input to their places in rows of all. */
static ntk_status read_input(ntk_data_source *input, int64_t first, int64_t count,
                             ntk_dtype dtype, char *to, int64_t row_bytes) {
  ntk_status status = NTK_SUCCESS;
  const int64_t bytes = ntk_shape_size(&input->shape) * (int64_t)ntk_dtype_bytes(dtype);
  const int64_t piece = piece_of(bytes, count);
  char *rows = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, piece * bytes, 1, &rows));
  for (int64_t i = 0; i < count; i += piece) {
    const int64_t n = count - i < piece ? count - i : piece;
    NTK_TRY(input->read(input, first + i, n, dtype, rows));
    for (int64_t k = 0; k < n; k++)
      memcpy(to + (i + k) * row_bytes, rows + k * bytes, (size_t)bytes);
  }
done:
  ntk_free(&rows);
  return status;
}

static ntk_status inputs_read(ntk_data_source *source, int64_t first, int64_t count,
                              ntk_dtype dtype, void *out) {
  ntk_status status = NTK_SUCCESS;
  inputs_source *s = (inputs_source *)source;
  const int64_t element = (int64_t)ntk_dtype_bytes(dtype);
  const int64_t row = ntk_shape_size(&source->shape) * element;
  char *to = out;
  for (int k = 0; k < s->count; k++) {
    NTK_TRY(read_input(s->inputs[k], first, count, dtype, to, row));
    to += ntk_shape_size(&s->parts[k].shape) * element;
  }
done:
  return status;
}

static ntk_status inputs_labels(ntk_data_source *source, int64_t first, int64_t count,
                                void *out) {
  inputs_source *s = (inputs_source *)source;
  return s->inputs[0]->read_labels(s->inputs[0], first, count, out);
}

static void inputs_close(ntk_data_source *source) {
  inputs_source *s = (inputs_source *)source;
  for (int k = 0; k < s->count; k++) {
    ntk_source_close(&s->inputs[k]);
    ntk_free(&s->parts[k].name);
  }
  ntk_free(&s->inputs);
  ntk_free(&s->parts);
  ntk_free(&s);
}

static ntk_status list_names(int count, const char *const *names, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < count; i++)
    NTK_TRY(ntk_text_add(text, "%s/%s", i ? ", " : "", names[i]));
done:
  return status;
}

/* The data set of one input; a failure names them all. */
static ntk_status open_input(inputs_source *s, const char *path, int count,
                             const char *const *names, int k) {
  ntk_status status = NTK_SUCCESS;
  const char *name = names[k];
  ntk_text set = {0}, list = {0};
  char cause[512];
  NTK_TRY(strstr(path, ":/") ? ntk_text_add(&set, "%s/%s", path, name)
                             : ntk_text_add(&set, "%s:/%s", path, name));
  NTK_TRY(ntk_strdup(name, &s->parts[k].name));
  s->count++;
  const ntk_status opened = ntk_source_open(set.data, NULL, &s->inputs[k]);
  if (opened != NTK_SUCCESS) {
    (void)snprintf(cause, sizeof cause, "%s", ntk_fail_message());
    NTK_TRY(list_names(count, names, &list));
    status = ntk_fail(opened, "%s (of the model's inputs %s)", cause, list.data);
    goto done;
  }
  s->parts[k].dtype = s->inputs[k]->dtype;
  s->parts[k].shape = s->inputs[k]->shape;
  NTK_REQUIRE(s->inputs[k]->samples == s->inputs[0]->samples, NTK_ERR_FORMAT,
              "%s: %" PRId64 " samples of input '%s', %" PRId64 " of '%s'", path,
              s->inputs[k]->samples, name, s->inputs[0]->samples, s->parts[0].name);
done:
  ntk_text_clear(&set);
  ntk_text_clear(&list);
  return status;
}

/* What is known of all from each. */
static void sum_up(inputs_source *s) {
  ntk_data_source *all = &s->source;
  int64_t buffer = PIECE_BYTES;
  all->samples = s->inputs[0]->samples;
  all->dtype = s->inputs[0]->dtype;
  all->shape = (ntk_shape){1, {0}};
  for (int k = 0; k < s->count; k++) {
    all->shape.dim[0] += ntk_shape_size(&s->parts[k].shape);
    const int64_t bytes =
        ntk_shape_size(&s->parts[k].shape) * (int64_t)ntk_dtype_bytes(NTK_F64);
    buffer = bytes > buffer ? bytes : buffer;
    all->held_bytes += s->inputs[k]->held_bytes;
    if (ntk_dtype_bytes(s->parts[k].dtype) > ntk_dtype_bytes(all->dtype))
      all->dtype = s->parts[k].dtype;
  }
  all->held_bytes += buffer;
  all->labels = s->inputs[0]->labels;
  all->target_shape = s->inputs[0]->target_shape;
  all->part_count = s->count;
  all->parts = s->parts;
}

/* /labels beside the inputs, unless one of them is called so. */
static ntk_status find_labels(inputs_source *s, const char *path) {
  const char *colon = strstr(path, ":/");
  char set[1024];
  for (int k = 0; k < s->count; k++)
    if (strcmp(s->parts[k].name, "labels") == 0)
      return NTK_SUCCESS;
  (void)snprintf(set, sizeof set, "%s/labels", colon ? colon + 1 : "");
  return ntk_hdf5_find_labels(s->inputs[0], set);
}

ntk_status ntk_inputs_open(const char *path, int count, const char *const *names,
                           ntk_data_source **out) {
  ntk_status status = NTK_SUCCESS;
  inputs_source *s = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *s, &s));
  s->source = (ntk_data_source){.format = "HDF5",
                                .read = inputs_read,
                                .read_labels = inputs_labels,
                                .close = inputs_close};
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, count, sizeof *s->inputs, &s->inputs));
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, count, sizeof *s->parts, &s->parts));
  for (int k = 0; k < count; k++)
    NTK_TRY(open_input(s, path, count, names, k));
  NTK_TRY(find_labels(s, path));
  sum_up(s);
  *out = &s->source;
  s = NULL;
done:
  if (s)
    inputs_close(&s->source);
  return status;
}

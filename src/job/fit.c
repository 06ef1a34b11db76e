/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "job/plan.h"
#include <stdio.h>
#include <string.h>

ntk_status ntk_data_read_for(ntk_model *model, const char *path, const char *options,
                             ntk_data **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = model->graph;
  const char **names = NULL;
  status = ntk_malloc(NTK_MEMORY_GENERAL, graph->input_count, sizeof *names, &names);
  NTK_TRY(ntk_agree(model->context->comm, status));
  for (int i = 0; i < graph->input_count; i++)
    names[i] = graph->values[graph->inputs[i]].name;
  NTK_TRY(
      ntk_data_read_inputs(model->context, path, graph->input_count, names, options, out));
done:
  ntk_free(&names);
  return status;
}

static ntk_shape squeezed(const ntk_shape *shape) {
  ntk_shape s = {0};
  for (int i = 0; i < shape->ndim; i++)
    if (shape->dim[i] != 1)
      s.dim[s.ndim++] = shape->dim[i];
  return s;
}

/* A permutation of the data's axes that gives the model's but for axes of size 1, which
 * come first; as text for --transpose. */
static bool find_permutation(const ntk_shape *data, const ntk_shape *model, char *text,
                             size_t size) {
  bool taken[NTK_MAX_DIMS] = {false};
  size_t length = 0;
  for (int k = 0; k < data->ndim; k++) {
    taken[k] = data->dim[k] == 1;
    if (taken[k])
      length += (size_t)snprintf(text + length, size - length, "%d,", k);
  }
  for (int i = 0; i < model->ndim; i++) {
    int k = 0;
    while (k < data->ndim && (taken[k] || data->dim[k] != model->dim[i]))
      k++;
    if (k == data->ndim)
      return false;
    taken[k] = true;
    length += (size_t)snprintf(text + length, size - length, "%d,", k);
  }
  for (int k = 0; k < data->ndim; k++)
    if (!taken[k])
      return false;
  text[length - 1] = '\0';
  return true;
}

static ntk_status part_fits(const ntk_data *data, ntk_data_part *part,
                            const ntk_value *input, const ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  char have[NTK_SHAPE_TEXT], want[NTK_SHAPE_TEXT], permutation[64];
  const char *note = strcmp(model->batch_axis, "none") == 0 ? "" : " (1 on the batch axis)";
  NTK_REQUIRE(ntk_dtype_is_real(input->dtype) || !ntk_dtype_is_real(part->dtype),
              NTK_ERR_ARGUMENT, "%s: the model's input '%s' is of type %s, the data %s",
              data->path, input->name, ntk_dtype_name(input->dtype),
              ntk_dtype_name(part->dtype));
  part->is_exact = !ntk_dtype_is_real(input->dtype);
  const ntk_shape a = squeezed(&part->shape), b = squeezed(&input->shape);
  const bool flat =
      (a.ndim <= 1 || b.ndim <= 1) && ntk_shape_size(&a) == ntk_shape_size(&b);
  if (flat || ntk_shape_equal(&a, &b))
    goto done;
  (void)ntk_shape_text(&part->shape, have);
  (void)ntk_shape_text(&input->shape, want);
  if (find_permutation(&part->shape, &b, permutation, sizeof permutation))
    status = ntk_fail(NTK_ERR_SHAPE,
                      "%s: samples are %s, the model's input '%s' is %s%s; scantk dataset "
                      "--transpose %s would fit",
                      data->path, have, input->name, want, note, permutation);
  else
    status = ntk_fail(NTK_ERR_SHAPE, "%s: samples are %s, the model's input '%s' is %s%s",
                      data->path, have, input->name, want, note);
done:
  return status;
}

ntk_status ntk_data_fits(ntk_data *data, const ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = model->graph;
  NTK_REQUIRE(data->part_count == graph->input_count, NTK_ERR_ARGUMENT,
              "%s: the model has %d inputs, the data %d", data->path, graph->input_count,
              data->part_count);
  for (int i = 0; i < graph->input_count; i++)
    NTK_TRY(part_fits(data, &data->parts[i], &graph->values[graph->inputs[i]], model));
done:
  return status;
}

ntk_status ntk_outputs_select(const char *text, int64_t outputs, int64_t **index,
                              int64_t *count) {
  ntk_status status = NTK_SUCCESS;
  int64_t *list = NULL, n = 0;
  bool *seen = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, outputs, sizeof *list, &list));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, outputs, sizeof *seen, &seen));
  for (int64_t i = 0; !text && i < outputs; i++)
    list[n++] = i;
  for (const char *c = text; c && *c;) {
    long long first, last;
    int used = 0;
    if (sscanf(c, "%lld:%lld%n", &first, &last, &used) < 2) {
      used = 0;
      NTK_REQUIRE(sscanf(c, "%lld%n", &first, &used) == 1, NTK_ERR_ARGUMENT,
                  "--select-outputs: '%s' is not a list such as 0,3,10:20", text);
      last = first + 1;
    }
    NTK_REQUIRE(first >= 0 && first < last && last <= outputs, NTK_ERR_ARGUMENT,
                "--select-outputs: %lld:%lld is outside the model's %lld outputs", first,
                last, (long long)outputs);
    for (long long i = first; i < last; i++) {
      NTK_REQUIRE(!seen[i], NTK_ERR_ARGUMENT,
                  "--select-outputs: output %lld is named twice", i);
      seen[i] = true;
      list[n++] = i;
    }
    c += used;
    NTK_REQUIRE(*c == ',' || *c == '\0', NTK_ERR_ARGUMENT,
                "--select-outputs: '%s' is not a list such as 0,3,10:20", text);
    if (*c == ',')
      c++;
  }
  NTK_REQUIRE(n > 0, NTK_ERR_ARGUMENT, "--select-outputs: the list is empty");
  *index = list;
  *count = n;
  list = NULL;
done:
  ntk_free(&list);
  ntk_free(&seen);
  return status;
}

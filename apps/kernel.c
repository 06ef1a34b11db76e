/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <inttypes.h>
#include <stdio.h>

static const ntk_option own[] = {
    {"model", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the network, ONNX"},
    {"inputs", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false, "samples of the rows"},
    {"inputs2", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false,
     "samples of the columns (default: those of the rows)"},
    {"range2", NTK_OPTION_RANGE, NULL, 0, 0, NULL, false,
     "samples of --inputs2, or of --inputs, to use as columns"},
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false,
     "the kernel file to write (-o)"},
    {"quiet", NTK_OPTION_FLAG, NULL, 0, 0, NULL, false, "no log, no progress"},
    {.name = NULL}};

/* Columns are other samples where --inputs2 or --range2 say so. */
static ntk_status read_columns(ntk_context *context, const ntk_options *options,
                               ntk_data **columns) {
  const char *path = ntk_options_string(options, "inputs2");
  char range[64] = "";
  int64_t first, last;
  if (ntk_options_range(options, "range2", &first, &last))
    (void)snprintf(range, sizeof range, "--range %" PRId64 ":%" PRId64, first, last);
  else if (!path)
    return NTK_SUCCESS;
  return ntk_data_read(context, path ? path : ntk_options_string(options, "inputs"), range,
                       columns);
}

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  ntk_model *model = NULL;
  ntk_data *rows = NULL, *columns = NULL;
  ntk_plan *plan = NULL;
  ntk_status status = ntk_model_read(context, ntk_options_string(options, "model"),
                                     options_of(options, "model"), &model);
  if (status == NTK_SUCCESS)
    status = ntk_data_read(context, ntk_options_string(options, "inputs"),
                           options_of(options, "data"), &rows);
  if (status == NTK_SUCCESS)
    status = read_columns(context, options, &columns);
  if (status == NTK_SUCCESS)
    status = ntk_plan_create(model, rows, columns, options_of(options, "plan"), &plan);
  if (status == NTK_SUCCESS)
    status = ntk_plan_to_file(plan, ntk_options_string(options, "output"),
                              options_of(options, "output"), line);
  ntk_plan_destroy(&plan);
  ntk_data_destroy(&columns);
  ntk_data_destroy(&rows);
  ntk_model_destroy(&model);
  return status;
}

const command command_kernel = {
    .name = "kernel",
    .synopsis = "scantk kernel --model M.onnx --inputs D.h5 [options] --output K.h5",
    .purpose = "the neural tangent kernel of a network on a data set",
    .own = own,
    .objects = {"model", "data", "plan", "output"},
    .required = {"model", "inputs", "output"},
    .stops = true,
    .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#include "stop.h"

const ntk_option kernel_options[] = {
    {"model", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the network, ONNX"},
    {"inputs", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false, "samples of the rows"},
    {"inputs2", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false,
     "samples of the columns (default: those of the rows)"},
    {"range2", NTK_OPTION_RANGE, NULL, 0, 0, NULL, false,
     "samples of --inputs2, or of --inputs, to use as columns"},
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false,
     "the kernel file to write (-o)"},
    {"sweep", NTK_OPTION_STRING, NULL, 0, 0, "LIST", false,
     "many kernels in one run: a text file, a row of it MODEL PARAMETERS OUTPUT, - for no "
     "parameters of its own; --resume passes by what is complete"},
    {"ranks-per-kernel", NTK_OPTION_INT, NULL, 1, 1 << 24, "R", false,
     "ranks that work on a row of --sweep together (default all)"},
    STOP_OPTIONS,
    {"quiet", NTK_OPTION_FLAG, NULL, 0, 0, NULL, false, "no log, no progress"},
    {"log-json", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false,
     "append lines of JSON to it: header, progress, warnings, phases, end"},
    {.name = NULL}};

ntk_status read_sides(ntk_model *model, ntk_options *options, ntk_data **rows,
                      ntk_data **columns) {
  const char *path = ntk_options_string(options, "inputs");
  const ntk_status status =
      ntk_data_read_for(model, path, options_of(options, "data"), rows);
  return status == NTK_SUCCESS
             ? read_samples(model, options, "inputs2", "range2", path, columns)
             : status;
}

ntk_status compute_kernel(ntk_context *context, ntk_options *options, const char *path,
                          const char *model_options, const char *output, const char *line) {
  ntk_model *model = NULL;
  ntk_data *rows = NULL, *columns = NULL;
  ntk_plan *plan = NULL;
  ntk_status status = ntk_model_read(context, path, model_options, &model);
  if (status == NTK_SUCCESS)
    status = read_sides(model, options, &rows, &columns);
  if (status == NTK_SUCCESS)
    status =
        ntk_options_flag(options, "resume")
            ? ntk_plan_resume(model, rows, columns, options_of(options, "plan"), output,
                              &plan)
            : ntk_plan_create(model, rows, columns, options_of(options, "plan"), &plan);
  if (status == NTK_SUCCESS)
    status = ntk_plan_to_file(plan, output, options_of(options, "output"), line);
  ntk_plan_destroy(&plan);
  ntk_data_destroy(&columns);
  ntk_data_destroy(&rows);
  ntk_model_destroy(&model);
  return status;
}

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  return compute_kernel(context, options, ntk_options_string(options, "model"),
                        options_of(options, "model"), ntk_options_string(options, "output"),
                        line);
}

const command command_kernel = {
    .name = "kernel",
    .synopsis = "scantk kernel --model M.onnx --inputs D.h5 [options] --output K.h5",
    .purpose = "the neural tangent kernel of a network on a data set",
    .own = kernel_options,
    .objects = {"model", "data", "plan", "output"},
    .required = {"model", "inputs", "output"},
    .stops = true,
    .run = run};

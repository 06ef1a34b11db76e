/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdlib.h>

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  static const char *const objects[] = {"plan", "output", "machine", "describe", NULL};
  ntk_model *model = NULL;
  ntk_data *rows = NULL, *columns = NULL;
  char *text = NULL, *joined = join_options(options, objects);
  (void)line;
  ntk_status status = ntk_model_read_shapes(context, ntk_options_string(options, "model"),
                                            options_of(options, "model"), &model);
  if (status == NTK_SUCCESS)
    status = read_sides(model, options, &rows, &columns);
  if (status == NTK_SUCCESS)
    status = ntk_plan_describe(model, rows, columns, joined,
                               ntk_options_string(options, "output"), &text);
  print_text(context, &text);
  free(joined);
  ntk_data_destroy(&columns);
  ntk_data_destroy(&rows);
  ntk_model_destroy(&model);
  return status;
}

const command command_plan = {
    .name = "plan",
    .synopsis =
        "scantk plan --model M.onnx --inputs D.h5 [options of kernel] [--ranks R ...]",
    .purpose = "what a kernel will cost: time, memory, file, on this machine or another",
    .own = kernel_options,
    .objects = {"machine", "describe", "model", "data", "plan", "output"},
    .required = {"model", "inputs"},
    .run = run};

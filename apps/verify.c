/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdlib.h>

static const ntk_option own[] = {
    {"model", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false,
     "compute entries again with the network, ONNX"},
    {"inputs", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false,
     "its samples: the data set that the kernel is of a range of"},
    {"inputs2", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false,
     "samples of the columns, where these are others"},
    {.name = NULL}};

/* Model and samples come together; without them nothing is for them. */
static const char *problem(ntk_options *options) {
  static const char *const of_model[] = {"samples", "inputs2", "cotangents", "cotangents2"};
  const bool model = ntk_options_given(options, "model");
  const char *text = options_of(options, "model");
  if (model != ntk_options_given(options, "inputs"))
    return model ? "verify: --model needs --inputs" : "verify: --inputs needs --model";
  if (model)
    return NULL;
  bool given = text && *text;
  for (int i = 0; i < 4; i++)
    given = given || ntk_options_given(options, of_model[i]);
  return given
             ? "verify: --samples, --inputs2, --cotangents and the options of a model need "
               "--model"
             : NULL;
}

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  static const char *const objects[] = {"verify", "group", "describe", NULL};
  ntk_model *model = NULL;
  ntk_data *rows = NULL, *columns = NULL;
  char *text = NULL, *joined = join_options(options, objects);
  ntk_status status = NTK_SUCCESS;
  (void)line;
  if (ntk_options_given(options, "model"))
    status = read_network(context, options, &model, &rows);
  if (status == NTK_SUCCESS && model)
    status = read_samples(model, options, "inputs2", NULL, NULL, &columns);
  if (status == NTK_SUCCESS)
    status = ntk_kernel_verify(context, ntk_options_positional(options, 0), model, rows,
                               columns, joined, &text);
  print_text(context, &text);
  free(joined);
  ntk_data_destroy(&columns);
  ntk_data_destroy(&rows);
  ntk_model_destroy(&model);
  return status;
}

const command command_verify = {
    .name = "verify",
    .synopsis = "scantk verify K.h5 [--model M.onnx --inputs D.h5] [options]",
    .purpose = "check a kernel file: checksums, symmetry, signs, entries",
    .own = own,
    .objects = {"verify", "group", "describe", "model"},
    .words = 1,
    .problem = problem,
    .run = run};

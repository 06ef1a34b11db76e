/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"

static const ntk_option own[] = {
    {"model", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the network, ONNX"},
    {"inputs", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false,
     "the samples that the solution is of"},
    {"solution", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false,
     "what solve has written: /alpha [R, N, O]"},
    {"test-inputs", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false,
     "the samples to predict"},
    {"test-range", NTK_OPTION_RANGE, NULL, 0, 0, NULL, false,
     "samples of --test-inputs to use"},
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the HDF5 file to write (-o)"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  ntk_model *model = NULL;
  ntk_data *train = NULL, *test = NULL;
  ntk_status status = read_network(context, options, &model, &train);
  if (status == NTK_SUCCESS)
    status = read_samples(model, options, "test-inputs", "test-range", NULL, &test);
  if (status == NTK_SUCCESS)
    status = ntk_linearize(model, train, test, ntk_options_string(options, "solution"),
                           options_of(options, "linearize"),
                           ntk_options_string(options, "output"), line);
  ntk_data_destroy(&test);
  ntk_data_destroy(&train);
  ntk_model_destroy(&model);
  return status;
}

const command command_linearize = {
    .name = "linearize",
    .synopsis = "scantk linearize --model M --inputs D --solution S.h5 --test-inputs E "
                "[options] --output F.h5",
    .purpose = "outputs of the network linearised, at the parameters of a solution",
    .own = own,
    .objects = {"model", "data", "linearize"},
    .required = {"model", "inputs", "solution", "test-inputs", "output"},
    .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#include "stop.h"

static const ntk_option own[] = {
    {"method", NTK_OPTION_CHOICE, "matrix-free", 0, 0, "matrix-free", false,
     "by conjugate gradients, the kernel never formed"},
    {"model", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the network, ONNX"},
    {"inputs", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false,
     "the training samples"},
    {"test-inputs", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false,
     "samples to predict"},
    {"test-range", NTK_OPTION_RANGE, NULL, 0, 0, NULL, false,
     "samples of --test-inputs to use"},
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the HDF5 file to write (-o)"},
    STOP_OPTIONS,
    {"quiet", NTK_OPTION_FLAG, NULL, 0, 0, NULL, false, "no log, no progress"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  ntk_model *model = NULL;
  ntk_data *train = NULL, *test = NULL;
  ntk_status status = read_network(context, options, &model, &train);
  if (status == NTK_SUCCESS)
    status = read_samples(model, options, "test-inputs", "test-range", NULL, &test);
  if (status == NTK_SUCCESS)
    status = ntk_matrix_free_solve(model, train, test, options_of(options, "matrix-free"),
                                   ntk_options_string(options, "output"), line);
  ntk_data_destroy(&test);
  ntk_data_destroy(&train);
  ntk_model_destroy(&model);
  return status;
}

const command command_matrix_free = {
    .name = "solve",
    .when = "--method=matrix-free",
    .synopsis = "scantk solve --method matrix-free --model M --inputs D [--test-inputs E] "
                "[options] --output S.h5",
    .purpose = "regression with a kernel that is never formed",
    .own = own,
    .objects = {"model", "data", "matrix-free"},
    .required = {"model", "inputs", "output"},
    .stops = true,
    .run = run};

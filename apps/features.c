/* SPDX-License-Identifier: Apache-2.0 */
#include "stop.h"

static const ntk_option own[] = {
    {"model", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the network, ONNX"},
    {"inputs", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false, "the samples"},
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the HDF5 file to write (-o)"},
    STOP_OPTIONS,
    {"quiet", NTK_OPTION_FLAG, NULL, 0, 0, NULL, false, "no log, no progress"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  ntk_model *model = NULL;
  ntk_data *data = NULL;
  ntk_status status = read_network(context, options, &model, &data);
  if (status == NTK_SUCCESS)
    status = ntk_features_to_file(model, data, options_of(options, "features"),
                                  ntk_options_string(options, "output"), line);
  ntk_data_destroy(&data);
  ntk_model_destroy(&model);
  return status;
}

const command command_features = {
    .name = "features",
    .synopsis = "scantk features --model M --inputs D --dim K [options] --output F.h5",
    .purpose = "gradients of the samples, projected at random: features of the kernel",
    .own = own,
    .objects = {"model", "data", "features"},
    .required = {"model", "inputs", "dim", "output"},
    .stops = true,
    .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdio.h>

static const ntk_option own[] = {
    {"model", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the network, ONNX"},
    {"inputs", NTK_OPTION_STRING, NULL, 0, 0, "FILE[:/path]", false, "the samples"},
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the HDF5 file to write (-o)"},
    {"accuracy", NTK_OPTION_FLAG, NULL, 0, 0, NULL, false,
     "print the share of samples whose largest output is at the label"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  ntk_model *model = NULL;
  ntk_data *data = NULL;
  double accuracy = -1;
  (void)line;
  ntk_status status = read_network(context, options, &model, &data);
  if (status == NTK_SUCCESS)
    status = ntk_forward_to_file(model, data, options_of(options, "forward"),
                                 ntk_options_string(options, "output"), &accuracy);
  if (status == NTK_SUCCESS && ntk_options_flag(options, "accuracy") &&
      ntk_context_rank(context) == 0) {
    if (accuracy < 0)
      (void)printf("accuracy    unknown: the data have no class labels\n");
    else
      (void)printf("accuracy    %.6g\n", accuracy);
  }
  ntk_data_destroy(&data);
  ntk_model_destroy(&model);
  return status;
}

const command command_forward = {
    .name = "forward",
    .synopsis = "scantk forward --model M --inputs D [options] --output F.h5",
    .purpose = "the network's outputs on a data set",
    .own = own,
    .objects = {"model", "data", "forward"},
    .required = {"model", "inputs", "output"},
    .run = run};

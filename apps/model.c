/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"

static const ntk_option own[] = {
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the ONNX file to write (-o)"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  (void)line;
  return ntk_model_generate(context, ntk_options_positional(options, 0),
                            options_of(options, "family"),
                            ntk_options_string(options, "output"));
}

const command command_model = {
    .name = "model",
    .synopsis = "scantk model fcn|cnn|lenet5|resnet18|vit [options] --output M.onnx",
    .purpose = "write a network with random parameters as an ONNX file",
    .own = own,
    .objects = {"family"},
    .required = {"output"},
    .words = 1,
    .run = run};

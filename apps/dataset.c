/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"

static const ntk_option own[] = {
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the HDF5 file to write (-o)"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  (void)line;
  return ntk_data_convert(context, options_of(options, "dataset"),
                          ntk_options_string(options, "output"));
}

const command command_dataset = {
    .name = "dataset",
    .synopsis = "scantk dataset --images A [--labels L] [options] --output D.h5",
    .purpose = "convert images and labels to an HDF5 data set",
    .own = own,
    .objects = {"dataset"},
    .required = {"images", "output"},
    .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"

static const ntk_option own[] = {
    {"features", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false,
     "features of the training samples"},
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the HDF5 file to write (-o)"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  return ntk_features_solve(context, ntk_options_string(options, "features"),
                            options_of(options, "features-solve"),
                            ntk_options_string(options, "output"), line);
}

const command command_features_solve = {
    .name = "solve",
    .when = "--features",
    .synopsis = "scantk solve --features F.h5 [options] --output S.h5",
    .purpose = "ridge regression on features",
    .own = own,
    .objects = {"features-solve"},
    .required = {"features", "output"},
    .run = run};

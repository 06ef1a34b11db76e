/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdlib.h>

static const ntk_option own[] = {
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the file to write (-o)"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  static const char *const objects[] = {"export", "group", NULL};
  char *joined = join_options(options, objects);
  (void)line;
  const ntk_status status =
      ntk_kernel_export(context, ntk_options_positional(options, 0),
                        ntk_options_string(options, "output"), joined);
  free(joined);
  return status;
}

const command command_export = {
    .name = "export",
    .synopsis = "scantk export K.h5 [options] --output FILE",
    .purpose = "the entries as .npy or plain HDF5, in any order of the axes",
    .own = own,
    .objects = {"export", "group"},
    .required = {"output"},
    .words = 1,
    .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdlib.h>

static const ntk_option own[] = {
    {"kernel", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the kernel file"},
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the HDF5 file to write (-o)"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  static const char *const objects[] = {"spectrum", "group", "describe", NULL};
  char *text = NULL, *joined = join_options(options, objects);
  (void)line;
  const ntk_status status =
      ntk_spectrum(context, ntk_options_string(options, "kernel"), joined,
                   ntk_options_string(options, "output"), &text);
  print_text(context, &text);
  free(joined);
  return status;
}

const command command_spectrum = {
    .name = "spectrum",
    .synopsis = "scantk spectrum --kernel K.h5 [options] [--output E.h5]",
    .purpose = "eigenvalues of a kernel, condition, ranks, label alignment",
    .own = own,
    .objects = {"spectrum", "group", "describe"},
    .required = {"kernel"},
    .run = run};

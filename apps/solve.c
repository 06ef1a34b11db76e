/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdio.h>
#include <stdlib.h>

static const ntk_option own[] = {
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the HDF5 file to write (-o)"},
    {"quiet", NTK_OPTION_FLAG, NULL, 0, 0, NULL, false, "no log"},
    {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  static const char *const objects[] = {"solve", "group", NULL};
  char *joined = join_options(options, objects);
  const ntk_status status =
      ntk_solve_to_file(context, joined, ntk_options_string(options, "output"), line);
  free(joined);
  return status;
}

static void print_more(void) {
  (void)puts("\nWithout a stored kernel, with options of their own:\n"
             "  scantk solve --method matrix-free --help\n"
             "  scantk solve --features --help");
}

const command command_solve = {
    .name = "solve",
    .synopsis = "scantk solve --kernel K.h5 [--labels L] [--test-kernel T.h5] [options] "
                "--output S.h5",
    .purpose = "regression with a kernel: ridges, training times, test predictions",
    .own = own,
    .objects = {"solve", "group"},
    .required = {"output"},
    .print_more = print_more,
    .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdlib.h>

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  static const char *const objects[] = {"compare", "group", "describe", NULL};
  char *text = NULL, *joined = join_options(options, objects);
  (void)line;
  const ntk_status status =
      ntk_kernel_compare(context, ntk_options_positional(options, 0),
                         ntk_options_positional(options, 1), joined, &text);
  print_text(context, &text);
  free(joined);
  return status;
}

const command command_compare = {.name = "compare",
                                 .synopsis = "scantk compare A.h5 B.h5 [options]",
                                 .purpose = "how much kernel A differs from kernel B",
                                 .objects = {"compare", "group", "describe"},
                                 .words = 2,
                                 .run = run};

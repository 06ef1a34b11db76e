/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdio.h>

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  char *text = NULL;
  (void)line;
  const ntk_status status = ntk_describe(context, ntk_options_positional(options, 0),
                                         options_of(options, "describe"), &text);
  if (status == NTK_SUCCESS && ntk_context_rank(context) == 0)
    (void)fputs(text, stdout);
  ntk_text_free(&text);
  return status;
}

const command command_info = {.name = "info",
                              .synopsis = "scantk info FILE [--json]",
                              .purpose = "describe a model, a data set or a kernel file",
                              .objects = {"describe"},
                              .words = 1,
                              .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  char *text = NULL;
  const char *model = options_of(options, "model");
  const size_t bytes = (model ? strlen(model) : 0) + sizeof " --json";
  char *words = calloc(bytes, 1);
  (void)line;
  if (model && words)
    (void)snprintf(words, bytes, "%s%s", model,
                   ntk_options_flag(options, "json") ? " --json" : "");
  const ntk_status status =
      ntk_describe(context, ntk_options_positional(options, 0), words, &text);
  if (status == NTK_SUCCESS && ntk_context_rank(context) == 0)
    (void)fputs(text, stdout);
  ntk_text_free(&text);
  free(words);
  return status;
}

const command command_info = {
    .name = "info",
    .synopsis = "scantk info FILE [--json] [options of a model]",
    .purpose = "describe a model, a data set, a kernel or a file of results",
    .objects = {"describe", "model"},
    .words = 1,
    .run = run};

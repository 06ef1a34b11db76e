/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  (void)options;
  (void)line;
  return ntk_selftest(context);
}

const command command_selftest = {
    .name = "selftest",
    .synopsis = "scantk selftest",
    .purpose = "check products, messages, algorithms and files on these ranks",
    .run = run};

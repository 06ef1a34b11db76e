/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *join_options(ntk_options *options, const char *const objects[]) {
  size_t bytes = 1;
  for (int i = 0; objects[i]; i++) {
    const char *text = options_of(options, objects[i]);
    bytes += text ? strlen(text) + 1 : 0;
  }
  char *joined = calloc(bytes, 1);
  for (int i = 0; joined && objects[i]; i++) {
    const char *text = options_of(options, objects[i]);
    (void)strcat(strcat(joined, text ? text : ""), text ? " " : "");
  }
  return joined;
}

void print_text(const ntk_context *context, char **text) {
  if (*text && ntk_context_rank(context) == 0)
    (void)fputs(*text, stdout);
  ntk_text_free(text);
}

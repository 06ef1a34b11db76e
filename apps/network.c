/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <inttypes.h>
#include <stdio.h>

ntk_status read_samples(ntk_model *model, const ntk_options *options, const char *name,
                        const char *range_name, const char *fallback, ntk_data **data) {
  const char *path = ntk_options_string(options, name);
  char range[64] = "";
  int64_t first, last;
  if (range_name && ntk_options_range(options, range_name, &first, &last)) {
    (void)snprintf(range, sizeof range, "--range %" PRId64 ":%" PRId64, first, last);
    path = path ? path : fallback;
  }
  return path ? ntk_data_read_for(model, path, range, data) : NTK_SUCCESS;
}

ntk_status read_network(ntk_context *context, ntk_options *options, ntk_model **model,
                        ntk_data **data) {
  const ntk_status status = ntk_model_read(context, ntk_options_string(options, "model"),
                                           options_of(options, "model"), model);
  return status != NTK_SUCCESS
             ? status
             : ntk_data_read_for(*model, ntk_options_string(options, "inputs"),
                                 options_of(options, "data"), data);
}

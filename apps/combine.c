/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdlib.h>

static const ntk_option own[] = {{"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false,
                                  "the kernel file to write (-o)"},
                                 {.name = NULL}};

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  int count = 0;
  while (ntk_options_positional(options, count))
    count++;
  const char **paths = calloc((size_t)count + 1, sizeof *paths);
  for (int i = 0; paths && i < count; i++)
    paths[i] = ntk_options_positional(options, i);
  const ntk_status status =
      paths ? ntk_kernel_combine(context, count, paths,
                                 ntk_options_string(options, "output"), line)
            : NTK_ERR_MEMORY;
  free(paths);
  return status;
}

const command command_combine = {
    .name = "combine",
    .synopsis = "scantk combine K1.h5 K2.h5 ... --output MEAN.h5",
    .purpose = "mean and variance of the kernels of an ensemble",
    .own = own,
    .required = {"output"},
    .words = 2,
    .more_words = 1 << 20,
    .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#include "apps.h"
#include <stdio.h>

static const ntk_option own[] = {
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "the ONNX file to write (-o)"},
    {.name = NULL}};

static void print_size(const char *name, int64_t size) {
  if (size > 0)
    (void)printf(" %s %lld,", name, (long long)size);
}

static void print_families(void) {
  ntk_family_info f;
  (void)printf("\nFAMILY, with its defaults:\n");
  for (int i = 0; ntk_model_family(i, &f); i++) {
    (void)printf("  %-10s  input %s,", f.name, f.input);
    print_size("width", f.width);
    print_size("depth", f.depth);
    (void)printf(" %s: %s\n", f.activation ? f.activation : "tanh and sigmoid", f.help);
  }
}

static ntk_status run(ntk_context *context, ntk_options *options, const char *line) {
  (void)line;
  return ntk_model_generate(context, ntk_options_positional(options, 0),
                            options_of(options, "family"),
                            ntk_options_string(options, "output"));
}

const command command_model = {
    .name = "model",
    .synopsis = "scantk model FAMILY [options] --output M.onnx (--help lists the families)",
    .purpose = "write a network with random parameters as an ONNX file",
    .own = own,
    .objects = {"family"},
    .required = {"output"},
    .words = 1,
    .print_more = print_families,
    .run = run};

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_APPS_H
#define SCANTK_APPS_H

#include <scantk/scantk.h>

/* The program: one file per subcommand. A subcommand parses its options, calls the library
 * and leaves messages to report(); what it returns becomes the exit code of every rank. */
typedef struct command {
  const char *name, *synopsis, *purpose;
  const ntk_option *own;   /* the subcommand's own options, before those of `objects` */
  const char *objects[6];  /* tables of the library that it takes, NULL-terminated */
  const char *required[4]; /* options that must be given, NULL-terminated */
  int words;               /* positional words that must be given */
  bool stops;              /* at a signal finishes what it has in hand; others just end */
  ntk_status (*run)(ntk_context *context, ntk_options *options, const char *command_line);
} command;

extern const command command_model, command_dataset, command_info, command_forward,
    command_kernel;

/* Text of the options of a library's table that were given; valid until the next call. */
static inline const char *options_of(ntk_options *options, const char *object) {
  return ntk_options_text(options, ntk_option_table(object));
}

#endif

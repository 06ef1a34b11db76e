/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_APPS_H
#define SCANTK_APPS_H

#include <scantk/scantk.h>

/* The program: one file per subcommand. A subcommand parses its options, calls the library
 * and leaves messages to report(); what it returns becomes the exit code of every rank. */
typedef struct command {
  const char *name, *synopsis, *purpose;
  const char
      *when; /* "--option" or "--option=value" of several commands of a name, or NULL */
  const ntk_option *own;   /* the subcommand's own options, before those of `objects` */
  const char *objects[7];  /* tables of the library that it takes, NULL-terminated */
  const char *required[6]; /* options that must be given, NULL-terminated */
  int words;               /* positional words that must be given */
  int more_words;          /* so many more may be */
  /* what is wrong with the options taken together; NULL: nothing. Or no such function. */
  const char *(*problem)(ntk_options *options);
  bool stops;               /* at a signal finishes what it has in hand; others just end */
  void (*print_more)(void); /* behind the options in --help, or NULL */
  ntk_status (*run)(ntk_context *context, ntk_options *options, const char *command_line);
} command;

extern const command command_model, command_dataset, command_info, command_forward,
    command_plan, command_kernel, command_matrix_free, command_features,
    command_features_solve, command_solve, command_linearize, command_verify,
    command_spectrum, command_compare, command_combine, command_export, command_selftest;

/* kernel.c: the options of kernel itself, and its samples: of the rows and, where other
 * than these, of the columns. Collective; what is read is the caller's. */
extern const ntk_option kernel_options[];
/* One kernel: of the model at `path`, read with these options, into `output`. */
ntk_status compute_kernel(ntk_context *context, ntk_options *options, const char *path,
                          const char *model_options, const char *output, const char *line);
ntk_status read_sides(ntk_model *model, ntk_options *options, ntk_data **rows,
                      ntk_data **columns);

/* network.c: the network of --model and the samples of --inputs; what is read is the
 * caller's, also on failure. Collective. */
ntk_status read_network(ntk_context *context, ntk_options *options, ntk_model **model,
                        ntk_data **data);
/* And samples of another option, as its range option says (range_name NULL: there is none),
 * which may stand alone, for `fallback`; *data is left alone where neither is given. */
ntk_status read_samples(ntk_model *model, const ntk_options *options, const char *name,
                        const char *range_name, const char *fallback, ntk_data **data);

/* sweep.c: kernel --sweep. Collective over MPI_COMM_WORLD; the exit code. line: the command
 * line, recorded. */
int run_sweep(ntk_options *options, int argc, char *argv[], const char *line);
/* What --sweep lacks, or may not have beside it; NULL: nothing. */
const char *sweep_problem(const ntk_options *options);

/* --log-json, on one rank: opens FILE to append (false: errno says why); hands over what
 * the library reports; writes the end with its exit code and closes. Without an open file
 * the last two do nothing. */
bool log_open(const char *path);
void log_report(const ntk_report *report);
void log_end(int code, const char *text);

/* text.c: the options of several tables (a NULL-terminated list) as one text, to be freed;
 * a text of the library on stdout, once, and freed. */
char *join_options(ntk_options *options, const char *const objects[]);
void print_text(const ntk_context *context, char **text);

/* pages.c: the manual page and the completion of bash, made from the tables of all commands
 * (NULL-terminated), to stdout. No MPI. */
void print_manual(const command *const commands[]);
void print_completion(const command *const commands[]);

/* Text of the options of a library's table that were given; valid until the next call. */
static inline const char *options_of(ntk_options *options, const char *object) {
  return ntk_options_text(options, ntk_option_table(object));
}

#endif

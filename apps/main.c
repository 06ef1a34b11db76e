/* SPDX-License-Identifier: Apache-2.0 */
/* scantk: finds the subcommand, parses its options, runs it, turns its status into the exit
 * code. Messages go to stderr from rank 0, results to stdout. */
#include "stop.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const command *const commands[] = {
    &command_model,       &command_dataset,        &command_info,
    &command_forward,     &command_plan,           &command_kernel,
    &command_matrix_free, &command_features_solve, &command_solve,
    &command_linearize,   &command_verify,         &command_spectrum,
    &command_compare,     &command_combine,        &command_export,
    &command_features,    &command_selftest,       NULL};

/* ---- messages -------------------------------------------------------------------------
 */

typedef struct speaker {
  bool quiet, has_progress, is_terminal, bar_shown;
  double last; /* seconds of the last progress line */
} speaker;

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void end_bar(speaker *s) {
  if (s->bar_shown)
    (void)fputc('\n', stderr);
  s->bar_shown = false;
}

/* A bar on a terminal, at most a line a minute elsewhere. */
static void show_progress(speaker *s, const ntk_report *report) {
  const double t = now();
  char bar[33];
  if (t - s->last < (s->is_terminal ? 0.2 : 60) && report->fraction < 1)
    return;
  if (!s->is_terminal && s->last == 0) { /* the first minute is silent */
    s->last = t;
    return;
  }
  s->last = t;
  const int filled = (int)lrint(32 * report->fraction);
  for (int i = 0; i < 32; i++)
    bar[i] = i < filled ? '#' : '.';
  bar[32] = '\0';
  (void)fprintf(stderr, "%s[%s] %5.1f %%, %.0f s left  %s", s->is_terminal ? "\r" : "", bar,
                100 * report->fraction, report->seconds_left, s->is_terminal ? "" : "\n");
  s->bar_shown = s->is_terminal;
}

static void speak(const ntk_report *report, void *user) {
  speaker *s = user;
  log_report(report);
  if (report->kind == NTK_REPORT_RECORD)
    return;
  if (report->kind == NTK_REPORT_PROGRESS) {
    stop_look();
    if (!s->quiet && s->has_progress)
      show_progress(s, report);
    return;
  }
  end_bar(s);
  if (report->kind == NTK_REPORT_RESULT)
    (void)printf("%s\n", report->text);
  else if (report->kind == NTK_REPORT_WARNING)
    (void)fprintf(stderr, "scantk: warning: %s\n", report->text);
  else if (!s->quiet)
    (void)fprintf(stderr, "%s\n", report->text);
}

/* ---- help -----------------------------------------------------------------------------
 */

static void print_usage(FILE *out) {
  (void)fprintf(out, "scantk: neural tangent kernels of any network on many ranks\n\n");
  for (int i = 0; commands[i]; i++)
    if (!commands[i]->when)
      (void)fprintf(out, "  scantk %-9s %s\n", commands[i]->name, commands[i]->purpose);
  (void)fprintf(out,
                "\n  scantk COMMAND --help lists the options of a command\n"
                "  scantk --version | --build-info\n"
                "  scantk --manual | --completion     a page for man, a script for bash\n");
}

static void print_table(const ntk_option *table) {
  char text[16384];
  if (table && ntk_options_help(table, text, sizeof text) > 0)
    (void)fputs(text, stdout);
}

static void print_help(const command *c) {
  (void)printf("%s\n%s\n\n", c->synopsis, c->purpose);
  print_table(c->own);
  for (int i = 0; c->objects[i]; i++)
    print_table(ntk_option_table(c->objects[i]));
  if (c->print_more)
    c->print_more();
}

/* ---- running --------------------------------------------------------------------------
 */

static int fail(int rank, ntk_status status, const char *message) {
  if (rank == 0)
    (void)fprintf(stderr, "scantk: error: %s\n",
                  *message ? message : ntk_status_text(status));
  return ntk_status_exit_code(status);
}

/* How to go on, and the code that says so. */
static int tell_stop(int rank, const ntk_options *options, const char *message, int argc,
                     char *const argv[]) {
  char *line = rank == 0 ? stop_command(argc, argv) : NULL;
  if (rank == 0)
    (void)fprintf(stderr, "scantk: %s; continue with: %s\n", message,
                  line ? line : "the same command and --resume");
  free(line);
  return (int)ntk_options_int(options, "stop-code");
}

static int usage_error(int rank, const char *problem, const char *detail) {
  if (rank == 0)
    (void)fprintf(stderr, "scantk: error: %s%s\n", problem, detail);
  return ntk_status_exit_code(NTK_ERR_ARGUMENT);
}

static bool has_option(const command *c, const char *name) {
  for (const ntk_option *o = c->own; o && o->name; o++)
    if (strcmp(o->name, name) == 0)
      return true;
  return false;
}

static bool sweeps(const command *c, const ntk_options *options) {
  return has_option(c, "sweep") && c->stops && ntk_options_given(options, "sweep");
}

static const char *missing(const command *c, ntk_options *options) {
  static char text[128];
  if (sweeps(c, options))
    return sweep_problem(options);
  if (has_option(c, "sweep") && (ntk_options_given(options, "sweep") ||
                                 ntk_options_given(options, "ranks-per-kernel"))) {
    (void)snprintf(text, sizeof text, "%s: --%s", c->name,
                   c->stops ? "ranks-per-kernel goes with --sweep"
                            : "sweep and --ranks-per-kernel are options of kernel");
    return text;
  }
  for (int i = 0; c->required[i]; i++)
    if (!ntk_options_given(options, c->required[i]) ||
        !*ntk_options_string(options, c->required[i])) {
      (void)snprintf(text, sizeof text, "%s: --%s is missing", c->name, c->required[i]);
      return text;
    }
  if (c->words > 0 && !ntk_options_positional(options, c->words - 1)) {
    (void)snprintf(text, sizeof text, "%s: an argument is missing: %s", c->name,
                   c->synopsis);
    return text;
  }
  return c->problem ? c->problem(options) : NULL;
}

static char *join(int argc, char *const argv[]) {
  size_t bytes = 1;
  for (int i = 0; i < argc; i++)
    bytes += strlen(argv[i]) + 1;
  char *line = calloc(bytes, 1);
  for (int i = 0; line && i < argc; i++) {
    (void)strcat(line, i ? " " : "");
    (void)strcat(line, argv[i]);
  }
  return line;
}

/* Rank 0 opens the log in JSON, if one is wanted; all know whether it could. */
static int open_log(const command *c, const ntk_options *options, int rank) {
  const char *path =
      has_option(c, "log-json") ? ntk_options_string(options, "log-json") : NULL;
  int problem = rank == 0 && path && !log_open(path) ? errno : 0;
  char text[512];
  (void)MPI_Bcast(&problem, 1, MPI_INT, 0, MPI_COMM_WORLD);
  if (problem == 0)
    return 0;
  (void)snprintf(text, sizeof text, "%s: cannot be written: %s", path, strerror(problem));
  return fail(rank, NTK_ERR_FILE, text);
}

static int run_parsed(const command *c, ntk_options *options, int argc, char *argv[],
                      int rank) {
  speaker s = {.quiet = has_option(c, "quiet") && ntk_options_flag(options, "quiet"),
               .has_progress = c->stops, /* others are done soon */
               .is_terminal = isatty(2) != 0};
  ntk_context *context = NULL;
  const char *problem;
  int code = open_log(c, options, rank);
  if (code != 0)
    return code;
  if (sweeps(c, options)) {
    char *line = join(argc, argv);
    code = run_sweep(options, argc, argv, line ? line : "");
    free(line);
    return code;
  }
  ntk_status status = ntk_context_create(MPI_COMM_WORLD, NULL, &context);
  if (status != NTK_SUCCESS)
    return fail(rank, status, ntk_context_error(NULL));
  ntk_context_report(context, speak, &s);
  if (c->stops && !stop_begin(context, options, ntk_options_string(options, "output"),
                              s.quiet, &problem)) {
    code = usage_error(rank, problem, ntk_options_string(options, "max-time"));
  } else {
    char *line = join(argc, argv);
    status = c->run(context, options, line ? line : "");
    free(line);
    end_bar(&s);
    if (status == NTK_STOPPED)
      code = tell_stop(rank, options, ntk_context_error(context), argc, argv);
    else if (status != NTK_SUCCESS)
      code = fail(rank, status, ntk_context_error(context));
  }
  log_end(code, code == 0 ? "" : ntk_context_error(context));
  stop_end();
  ntk_context_destroy(&context);
  return code;
}

static int run_command(const command *c, int argc, char *argv[], int rank) {
  const ntk_option *tables[8] = {NULL};
  ntk_options *options = NULL;
  int count = 0;
  if (c->own)
    tables[count++] = c->own;
  for (int i = 0; c->objects[i]; i++)
    tables[count++] = ntk_option_table(c->objects[i]);
  for (int i = 2; i < argc; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      if (rank == 0)
        print_help(c);
      return 0;
    }
  const ntk_status status =
      ntk_options_parse(tables, argc - 2, (const char *const *)(argv + 2),
                        c->words + c->more_words, &options);
  if (status != NTK_SUCCESS) {
    char text[512];
    (void)snprintf(text, sizeof text, "%s%s%s%s", c->when ? c->name : "",
                   c->when ? " " : "", c->when ? c->when : "", c->when ? ": " : "");
    (void)strncat(text, ntk_context_error(NULL), sizeof text - strlen(text) - 1);
    return fail(rank, status, text);
  }
  const char *problem = missing(c, options);
  const int code =
      problem ? usage_error(rank, problem, "") : run_parsed(c, options, argc, argv, rank);
  ntk_options_destroy(&options);
  return code;
}

/* Is the command's option among the words, as it must be? */
static bool is_meant(const command *c, int argc, char *argv[]) {
  const char *value = c->when ? strchr(c->when, '=') : NULL;
  const size_t length = value ? (size_t)(value - c->when) : c->when ? strlen(c->when) : 0;
  for (int i = 2; c->when && i < argc; i++) {
    if (strncmp(argv[i], c->when, length) != 0)
      continue;
    const char *given = argv[i][length] == '=' ? argv[i] + length + 1
                        : argv[i][length]      ? NULL
                        : i + 1 < argc         ? argv[i + 1]
                                               : "";
    if (given && (!value || strcmp(given, value + 1) == 0))
      return true;
  }
  return !c->when;
}

static int dispatch(int argc, char *argv[], int rank) {
  if (argc < 2) {
    if (rank == 0)
      print_usage(stderr);
    return ntk_status_exit_code(NTK_ERR_ARGUMENT);
  }
  if (strcmp(argv[1], "--version") == 0) {
    if (rank == 0)
      (void)printf("scantk %s\n", ntk_version());
    return 0;
  }
  if (strcmp(argv[1], "--build-info") == 0) {
    if (rank == 0)
      (void)fputs(ntk_build_info(), stdout);
    return 0;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    if (rank == 0)
      print_usage(stdout);
    return 0;
  }
  for (int i = 0; commands[i]; i++)
    if (strcmp(argv[1], commands[i]->name) == 0 && is_meant(commands[i], argc, argv))
      return run_command(commands[i], argc, argv, rank);
  return usage_error(rank, "unknown command; scantk --help lists them: ", argv[1]);
}

static bool prints_page(int argc, char *argv[]) {
  if (argc != 2)
    return false;
  if (strcmp(argv[1], "--manual") == 0)
    print_manual(commands);
  else if (strcmp(argv[1], "--completion") == 0)
    print_completion(commands);
  else
    return false;
  return true;
}

static int end_output(int code, int rank) {
  if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
    return fail(rank, NTK_ERR_FILE, "stdout cannot be written");
  return code;
}

int main(int argc, char *argv[]) {
  int provided, rank;
  if (prints_page(argc, argv)) /* where nothing runs yet: a build */
    return end_output(0, 0);
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
    return 1;
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const int code = end_output(dispatch(argc, argv, rank), rank);
  (void)MPI_Finalize();
  return code;
}

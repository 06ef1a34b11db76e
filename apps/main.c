/* SPDX-License-Identifier: Apache-2.0 */
/* scantk: finds the subcommand, parses its options, runs it, turns its status into the exit
 * code. Messages go to stderr from rank 0, results to stdout. */
#include "apps.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const command *const commands[] = {&command_model,   &command_dataset, &command_info,
                                          &command_forward, &command_kernel,  NULL};

/* ---- messages -------------------------------------------------------------------------
 */

typedef struct speaker {
  bool quiet, is_terminal, bar_shown;
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
  if (report->kind == NTK_REPORT_PROGRESS) {
    if (!s->quiet)
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

/* ---- signals --------------------------------------------------------------------------
 */

static ntk_context *stoppable;

static void on_signal(int number) {
  if (stoppable)
    ntk_context_stop(stoppable); /* async-signal-safe. NOLINT(bugprone-signal-handler) */
  (void)signal(number, SIG_DFL); /* the second one ends at once */
}

static void catch_signals(ntk_context *context) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
  stoppable = context;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    (void)signal(numbers[i], on_signal);
}

/* ---- help -----------------------------------------------------------------------------
 */

static void print_usage(FILE *out) {
  (void)fprintf(out, "scantk: neural tangent kernels of any network on many ranks\n\n");
  for (int i = 0; commands[i]; i++)
    (void)fprintf(out, "  scantk %-8s %s\n", commands[i]->name, commands[i]->purpose);
  (void)fprintf(out, "\n  scantk COMMAND --help lists the options of a command\n"
                     "  scantk --version\n");
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
}

/* ---- running --------------------------------------------------------------------------
 */

static int fail(int rank, ntk_status status, const char *message) {
  if (rank == 0)
    (void)fprintf(stderr, "scantk: %s%s\n", status == NTK_STOPPED ? "" : "error: ",
                  *message ? message : ntk_status_text(status));
  return ntk_status_exit_code(status);
}

static int usage_error(int rank, const char *problem, const char *detail) {
  if (rank == 0)
    (void)fprintf(stderr, "scantk: error: %s%s\n", problem, detail);
  return ntk_status_exit_code(NTK_ERR_ARGUMENT);
}

static const char *missing(const command *c, const ntk_options *options) {
  static char text[128];
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
  return NULL;
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

static bool has_flag(const command *c, const ntk_options *options, const char *name) {
  for (const ntk_option *o = c->own; o && o->name; o++)
    if (strcmp(o->name, name) == 0)
      return ntk_options_flag(options, name);
  return false;
}

static int run_parsed(const command *c, ntk_options *options, const char *line, int rank) {
  speaker s = {.quiet = has_flag(c, options, "quiet"), .is_terminal = isatty(2) != 0};
  ntk_context *context = NULL;
  ntk_status status = ntk_context_create(MPI_COMM_WORLD, NULL, &context);
  if (status != NTK_SUCCESS)
    return fail(rank, status, ntk_context_error(NULL));
  ntk_context_report(context, speak, &s);
  if (c->stops)
    catch_signals(context);
  status = c->run(context, options, line);
  stoppable = NULL;
  end_bar(&s);
  const int code =
      status == NTK_SUCCESS ? 0 : fail(rank, status, ntk_context_error(context));
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
  const ntk_status status = ntk_options_parse(
      tables, argc - 2, (const char *const *)(argv + 2), c->words, &options);
  if (status != NTK_SUCCESS)
    return fail(rank, status, ntk_context_error(NULL));
  const char *problem = missing(c, options);
  char *line = join(argc, argv);
  const int code = problem ? usage_error(rank, problem, "")
                           : run_parsed(c, options, line ? line : "", rank);
  free(line);
  ntk_options_destroy(&options);
  return code;
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
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    if (rank == 0)
      print_usage(stdout);
    return 0;
  }
  for (int i = 0; commands[i]; i++)
    if (strcmp(argv[1], commands[i]->name) == 0)
      return run_command(commands[i], argc, argv, rank);
  return usage_error(rank, "unknown command; scantk --help lists them: ", argv[1]);
}

int main(int argc, char *argv[]) {
  int provided, rank;
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
    return 1;
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  int code = dispatch(argc, argv, rank);
  if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
    code = fail(rank, NTK_ERR_FILE, "stdout cannot be written");
  (void)MPI_Finalize();
  return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "stop.h"
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Seconds between TERM and the dropping of what is in hand. */
enum { TERM_SECONDS = 20 };

static ntk_context *stoppable;
static volatile sig_atomic_t is_asked;
static const char *volatile asked_by;
static const char by_file[] = "OUTPUT.stop";
static bool is_begun, is_for_many;
static char stop_file[PATH_MAX];
static time_t looked;

/* ---- signals --------------------------------------------------------------------------
 */

static const struct {
  int number;
  const char *name;
} signals[] = {{SIGINT, "INT"},
               {SIGTERM, "TERM"},
               {SIGUSR1, "USR1"},
               {SIGUSR2, "USR2"},
               {SIGALRM, "max-time"}};
enum { SIGNALS = sizeof signals / sizeof *signals };

static const char *name_of(int number) {
  for (int i = 0; i < SIGNALS; i++)
    if (signals[i].number == number)
      return signals[i].name;
  return "signal";
}

/* The first finishes what is in hand, the second (after TERM: the alarm) drops it, a third
 * INT or TERM just ends. All calls here are async-signal-safe. */
static void on_signal(int number) {
  ntk_context *context = stoppable;
  if (is_asked) {
    if (context)
      ntk_context_drop(context); /* NOLINT(bugprone-signal-handler) */
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    return;
  }
  asked_by = name_of(number);
  is_asked = 1;
  if (context) /* NOLINTNEXTLINE(bugprone-signal-handler) */
    ntk_context_stop_for(context, name_of(number));
  if (number == SIGTERM)
    (void)alarm(TERM_SECONDS);
}

/* ---- time -----------------------------------------------------------------------------
 */

/* What is left of the batch job, less what stopping may take: a twentieth, within half a
 * minute and two; 0: there is no limit. */
static double time_of_job(void) {
  const double left = ntk_limit_seconds_left();
  if (isinf(left))
    return 0;
  return fmax(1, left - fmin(120, fmax(30, left / 20)));
}

/* Each rank measures it by itself, so that all stop at about the same time. */
static void set_time(const ntk_options *options, double seconds, bool quiet) {
  int rank;
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (!ntk_options_given(options, "max-time")) {
    if (rank == 0)
      seconds = time_of_job();
    (void)MPI_Bcast(&seconds, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    if (rank == 0 && seconds > 0 && !quiet)
      (void)fprintf(stderr, "limit   stops in %.0f s, before the job ends\n", seconds);
  }
  if (seconds > 0)
    (void)alarm((unsigned)fmin(INT_MAX, ceil(seconds)));
}

/* ---- all of it ------------------------------------------------------------------------
 */

void stop_aim(ntk_context *context) {
  stoppable = context;
  if (context && is_asked)
    ntk_context_stop_for(context, asked_by);
}

bool stop_asked(void) { return is_asked; }

bool stop_begin(ntk_context *context, const ntk_options *options, const char *output,
                bool quiet, const char **problem) {
  const char *time_text = ntk_options_string(options, "max-time");
  const double seconds = time_text ? ntk_limit_parse(time_text) : 0;
  *problem = "--max-time: HH:MM:SS is needed, not ";
  if (time_text && seconds <= 0)
    return false;
  (void)snprintf(stop_file, sizeof stop_file, "%s.stop", output);
  is_begun = true;
  is_for_many = !context;
  stoppable = context;
  for (int i = 0; i < SIGNALS; i++)
    (void)signal(signals[i].number, on_signal);
  set_time(options, seconds, quiet);
  return true;
}

void stop_look(void) {
  const time_t now = time(NULL);
  if (!is_begun || now == looked)
    return;
  looked = now;
  if (access(stop_file, F_OK) != 0)
    return;
  if (!is_for_many)
    (void)unlink(stop_file);
  asked_by = by_file;
  is_asked = 1;
  stop_aim(stoppable);
}

void stop_end(void) {
  if (!is_begun)
    return;
  is_begun = false;
  if (is_for_many && asked_by == by_file)
    (void)unlink(stop_file);
  (void)alarm(0);
  stoppable = NULL;
  for (int i = 0; i < SIGNALS; i++)
    (void)signal(signals[i].number, SIG_DFL);
}

static char *append(char *to, const char *text) {
  while (*text)
    *to++ = *text++;
  return to;
}

/* A word for a shell, in quotes where it needs them; returns the end. */
static char *quote(char *to, const char *word) {
  const char *plain = "_-./:=,@%+";
  bool is_plain = *word != '\0';
  for (const char *c = word; *c; c++)
    is_plain = is_plain && (isalnum((unsigned char)*c) || strchr(plain, *c));
  if (is_plain)
    return append(to, word);
  to = append(to, "'");
  for (const char *c = word; *c; c++)
    if (*c == '\'')
      to = append(to, "'\\''");
    else
      *to++ = *c;
  return append(to, "'");
}

char *stop_command(int argc, char *const argv[]) {
  size_t bytes = sizeof " --resume";
  bool resumes = false;
  for (int i = 0; i < argc; i++) {
    bytes += 4 * strlen(argv[i]) + 3;
    resumes = resumes || strcmp(argv[i], "--resume") == 0;
  }
  char *line = calloc(bytes, 1), *to = line;
  for (int i = 0; line && i < argc; i++) {
    if (i > 0)
      *to++ = ' ';
    to = quote(to, argv[i]);
  }
  if (line && !resumes)
    (void)append(to, " --resume");
  return line;
}

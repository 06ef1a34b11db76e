/* SPDX-License-Identifier: Apache-2.0 */
/* kernel --sweep: the rows of a list, each by a group of ranks; a group that is free takes
 * the next row. */
#include "stop.h"
#include <errno.h>
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct row {
  int line; /* of the list, from 1 */
  const char *model, *parameters, *output;
} row;

typedef struct sweep {
  ntk_options *options;
  const char *path; /* of the list */
  const char *command_line;
  char *text; /* of the list; the rows' words lie in it */
  int count;
  row *rows;
  bool quiet;
  int rank; /* in MPI_COMM_WORLD */
  MPI_Comm group;
  int group_rank;
  MPI_Win window; /* over the number of the next row, on rank 0 */
  ntk_context *context;
  const row *row;   /* in hand */
  int done, failed; /* of the group's rows */
  int stopped;
} sweep;

const char *sweep_problem(const ntk_options *options) {
  static const char *const of_rows[] = {"model", "parameters", "output", NULL};
  static const char *const of_one[] = {"write-plan", "log-json", NULL};
  static char text[128];
  for (int i = 0; of_rows[i]; i++)
    if (ntk_options_given(options, of_rows[i])) {
      (void)snprintf(text, sizeof text, "kernel: --%s stands in the rows of --sweep",
                     of_rows[i]);
      return text;
    }
  for (int i = 0; of_one[i]; i++)
    if (ntk_options_given(options, of_one[i])) {
      (void)snprintf(text, sizeof text, "kernel: --%s is for one kernel, not for --sweep",
                     of_one[i]);
      return text;
    }
  return ntk_options_given(options, "inputs") ? NULL : "kernel: --inputs is missing";
}

/* ---- the list -------------------------------------------------------------------------
 */

/* The whole file, on rank 0; NULL: errno says why. */
static char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  size_t length = 0, room = 4096;
  char *text = file ? malloc(room) : NULL;
  for (size_t got = 1; text && got > 0;) {
    got = fread(text + length, 1, room - length - 1, file);
    length += got;
    if (length + 1 < room)
      continue;
    char *more = length < INT_MAX / 2 ? realloc(text, room *= 2) : NULL;
    if (!more)
      free(text);
    text = more;
  }
  if (text && ferror(file)) {
    free(text);
    text = NULL;
  }
  if (text)
    text[length] = '\0';
  if (file)
    (void)fclose(file);
  return text;
}

/* Rank 0's file for all. 0, or errno. */
static int share_text(sweep *s) {
  int facts[2] = {0}; /* errno, bytes with the NUL */
  if (s->rank == 0) {
    s->text = read_text(s->path);
    facts[0] = s->text ? 0 : errno ? errno : EIO;
    facts[1] = s->text ? (int)strlen(s->text) + 1 : 0;
  }
  (void)MPI_Bcast(facts, 2, MPI_INT, 0, MPI_COMM_WORLD);
  if (facts[0] != 0)
    return facts[0];
  if (s->rank != 0)
    s->text = malloc((size_t)facts[1]);
  int lacks = !s->text;
  (void)MPI_Allreduce(MPI_IN_PLACE, &lacks, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  if (lacks)
    return ENOMEM;
  (void)MPI_Bcast(s->text, facts[1], MPI_CHAR, 0, MPI_COMM_WORLD);
  return 0;
}

/* Cuts a line into words; returns how many, up to `most`. */
static int cut(char *line, int most, const char **words) {
  static const char blanks[] = " \t\r";
  int count = 0;
  for (line += strspn(line, blanks); *line && *line != '#'; line += strspn(line, blanks)) {
    if (count < most)
      words[count] = line;
    count++;
    line += strcspn(line, blanks);
    if (*line)
      *line++ = '\0';
  }
  return count;
}

static const row *same_output(const sweep *s, const char *output) {
  for (int i = 0; i < s->count; i++)
    if (strcmp(s->rows[i].output, output) == 0)
      return &s->rows[i];
  return NULL;
}

/* False, with what is wrong, where a line is no row. */
static bool parse(sweep *s, char *problem, size_t size) {
  int lines = 1;
  for (const char *c = s->text; *c; c++)
    lines += *c == '\n';
  s->rows = calloc((size_t)lines, sizeof *s->rows);
  if (!s->rows)
    (void)snprintf(problem, size, "%s: no memory", s->path);
  char *at = s->text;
  for (int line = 1; s->rows && at; line++) {
    const char *words[3];
    char *end = strchr(at, '\n'), *const text = at;
    if (end)
      *end = '\0';
    at = end ? end + 1 : NULL;
    const int count = cut(text, 3, words);
    if (count == 0)
      continue;
    const row *twin = count == 3 ? same_output(s, words[2]) : NULL;
    if (count != 3)
      (void)snprintf(problem, size, "%s:%d: a row is MODEL PARAMETERS OUTPUT, not %d words",
                     s->path, line, count);
    else if (twin)
      (void)snprintf(problem, size, "%s:%d: has the output of line %d", s->path, line,
                     twin->line);
    if (count != 3 || twin)
      return false;
    s->rows[s->count++] = (row){line, words[0], words[1], words[2]};
  }
  return s->rows != NULL;
}

/* ---- rows -----------------------------------------------------------------------------
 */

static void on_report(const ntk_report *report, void *user) {
  const sweep *s = user;
  if (report->kind == NTK_REPORT_PROGRESS)
    stop_look();
  else if (report->kind == NTK_REPORT_WARNING)
    (void)fprintf(stderr, "scantk: warning: %s:%d: %s\n", s->path, s->row->line,
                  report->text);
  else if (report->kind == NTK_REPORT_RESULT)
    (void)printf("%s\n", report->text);
}

/* The options of the model with those of the row, each quote in it twice; NULL: no memory.
 */
static char *model_options(const sweep *s, const row *r) {
  static const char own[] = " '--parameters=";
  const char *text = options_of(s->options, "model");
  char *joined =
      text ? calloc(strlen(text) + sizeof own + 2 * strlen(r->parameters) + 2, 1) : NULL;
  if (!joined)
    return NULL;
  (void)strcpy(joined, text);
  if (strcmp(r->parameters, "-") == 0)
    return joined;
  char *to = strcat(joined, own) + strlen(text) + strlen(own);
  for (const char *c = r->parameters; *c; c++) {
    *to++ = *c;
    if (*c == '\'')
      *to++ = *c;
  }
  *to = '\'';
  return joined;
}

static void tell(const sweep *s, ntk_status status, double seconds) {
  if (s->group_rank != 0 || (status == NTK_SUCCESS && s->quiet))
    return;
  if (status == NTK_SUCCESS)
    (void)fprintf(stderr, "scantk: %s:%d: %s is done (%.1f s)\n", s->path, s->row->line,
                  s->row->output, seconds);
  else
    (void)fprintf(stderr, "scantk: %s%s:%d: %s\n",
                  status == NTK_STOPPED ? "" : "error: ", s->path, s->row->line,
                  ntk_context_error(s->context));
}

static void compute(sweep *s) {
  const double start = MPI_Wtime();
  char *words = model_options(s, s->row);
  int lacks = !words;
  (void)MPI_Allreduce(MPI_IN_PLACE, &lacks, 1, MPI_INT, MPI_MAX, s->group);
  ntk_status status = NTK_ERR_MEMORY;
  stop_aim(s->context);
  if (!lacks)
    status = compute_kernel(s->context, s->options, s->row->model, words, s->row->output,
                            s->command_line);
  stop_aim(NULL);
  free(words);
  tell(s, status, MPI_Wtime() - start);
  s->done += status == NTK_SUCCESS;
  s->stopped = status == NTK_STOPPED;
  s->failed += status != NTK_SUCCESS && status != NTK_STOPPED;
}

/* The next row for this group, NULL: there is none, or it is to stop. */
static const row *take(sweep *s) {
  const int one = 1;
  int number = s->count;
  if (s->group_rank == 0) {
    stop_look();
    if (!stop_asked()) {
      (void)MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, s->window);
      (void)MPI_Fetch_and_op(&one, &number, MPI_INT, 0, 0, MPI_SUM, s->window);
      (void)MPI_Win_unlock(0, s->window);
    }
  }
  (void)MPI_Bcast(&number, 1, MPI_INT, 0, s->group);
  return number < s->count ? &s->rows[number] : NULL;
}

/* ---- all of them ----------------------------------------------------------------------
 */

static int say(int rank, int code, const char *text) {
  if (rank == 0)
    (void)fprintf(stderr, "scantk: %s%s\n", code == 0 ? "" : "error: ", text);
  return code;
}

/* Groups, their contexts and the counter. Nothing of it fails on one rank alone. */
static ntk_status begin(sweep *s, int ranks) {
  int sharers, *next;
  char words[32];
  MPI_Comm node;
  (void)MPI_Comm_split(MPI_COMM_WORLD, s->rank / ranks, s->rank, &s->group);
  (void)MPI_Comm_rank(s->group, &s->group_rank);
  (void)MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  (void)MPI_Comm_size(node, &sharers);
  (void)MPI_Comm_free(&node);
  (void)MPI_Win_allocate(s->rank == 0 ? (MPI_Aint)sizeof(int) : 0, sizeof(int),
                         MPI_INFO_NULL, MPI_COMM_WORLD, &next, &s->window);
  if (s->rank == 0)
    *next = 0;
  (void)MPI_Barrier(MPI_COMM_WORLD);
  (void)snprintf(words, sizeof words, "--sharers %d", sharers);
  const ntk_status status = ntk_context_create(s->group, words, &s->context);
  if (status == NTK_SUCCESS)
    ntk_context_report(s->context, on_report, s);
  return status;
}

/* What has become of the rows, for all; each group counts once. */
static int conclude(const sweep *s, int argc, char *argv[]) {
  int sums[3] = {0};
  char text[256];
  if (s->group_rank == 0) {
    sums[0] = s->done;
    sums[1] = s->failed;
    sums[2] = s->stopped;
  }
  (void)MPI_Allreduce(MPI_IN_PLACE, sums, 3, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  if (sums[2] > 0 || sums[0] + sums[1] < s->count) {
    char *line = stop_command(argc, argv);
    if (s->rank == 0)
      (void)fprintf(stderr, "scantk: stopped at %d of %d kernels; continue with: %s\n",
                    sums[0], s->count, line ? line : "the same command and --resume");
    free(line);
    return (int)ntk_options_int(s->options, "stop-code");
  }
  (void)snprintf(text, sizeof text, "%.128s: %d of %d kernels %s", s->path,
                 sums[1] > 0 ? sums[1] : sums[0], s->count,
                 sums[1] > 0 ? "failed" : "done");
  if (sums[1] > 0 || !s->quiet)
    (void)say(s->rank, sums[1] > 0, text);
  return sums[1] > 0 ? 1 : 0;
}

static int run_rows(sweep *s, int ranks, int argc, char *argv[]) {
  const ntk_status status = begin(s, ranks);
  if (status != NTK_SUCCESS)
    (void)say(s->group_rank, 1, ntk_context_error(NULL));
  s->stopped = 0;
  while (status == NTK_SUCCESS && !s->stopped && (s->row = take(s)))
    compute(s);
  const int code = conclude(s, argc, argv);
  ntk_context_destroy(&s->context);
  (void)MPI_Win_free(&s->window);
  (void)MPI_Comm_free(&s->group);
  return code;
}

int run_sweep(ntk_options *options, int argc, char *argv[], const char *line) {
  const char *time_problem;
  char problem[512] = "";
  int size, code = 2;
  sweep s = {.options = options,
             .path = ntk_options_string(options, "sweep"),
             .command_line = line,
             .quiet = ntk_options_flag(options, "quiet")};
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &s.rank);
  (void)MPI_Comm_size(MPI_COMM_WORLD, &size);
  const int64_t ranks = ntk_options_given(options, "ranks-per-kernel")
                            ? ntk_options_int(options, "ranks-per-kernel")
                            : size;
  const int error = share_text(&s);
  if (error != 0) {
    (void)snprintf(problem, sizeof problem, "%.256s: cannot be read: %s", s.path,
                   strerror(error));
    code = 1;
  } else if (ranks > size) {
    (void)snprintf(problem, sizeof problem, "kernel: --ranks-per-kernel %lld: there are %d",
                   (long long)ranks, size);
  } else if (parse(&s, problem, sizeof problem)) {
    if (stop_begin(NULL, options, s.path, s.quiet, &time_problem))
      code = run_rows(&s, (int)ranks, argc, argv);
    else
      (void)snprintf(problem, sizeof problem, "%s%.64s", time_problem,
                     ntk_options_string(options, "max-time"));
    stop_end();
  }
  if (*problem)
    (void)say(s.rank, code, problem);
  free(s.text);
  free(s.rows);
  return code;
}

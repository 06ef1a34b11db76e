/* SPDX-License-Identifier: Apache-2.0 */
#include "solve/solve.h"
#include "base/memory.h"
#include "base/options.h"
#include "io/store.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

const char *ntk_solver_name(ntk_solver solver) {
  static const char *const names[NTK_SOLVERS] = {"cholesky", "eigen", "cg"};
  return names[solver];
}

int64_t ntk_solve_place(const ntk_solve *s, int64_t n_all, int result, int64_t sample,
                        int64_t output) {
  const int64_t per = s->facts->per_sample;
  const int64_t plane = s->planes > 1 ? output : 0;
  const int64_t row = sample * per + (per > 1 ? output : 0);
  const int64_t column = result * s->columns + (s->columns > 1 ? output : 0);
  return (plane * n_all + row) * s->results * s->columns + column;
}

double ntk_solve_ridge(const ntk_solve *s, int64_t plane, int ridge) {
  return s->absolute ? s->ridge[ridge] : s->ridge[ridge] * s->mean[plane];
}

double ntk_solve_clock(ntk_solve *s, ntk_solve_phase phase, double start) {
  const double now = ntk_seconds();
  s->seconds[phase] += now - start;
  return now;
}

/* ---- options --------------------------------------------------------------------------
 */

/* Numbers between commas, none below zero; `inf` where it may be. */
static ntk_status read_list(const char *name, const char *text, bool infinite,
                            double **list, int *count) {
  ntk_status status = NTK_SUCCESS;
  const char *at = text;
  char *end;
  do {
    const double value = strtod(at, &end);
    NTK_REQUIRE(end != at && (*end == ',' || *end == '\0') && value >= 0 &&
                    (isfinite(value) || infinite),
                NTK_ERR_ARGUMENT,
                "--%s: '%s' is not a list of numbers from 0 on, such as 1e-6,1e-4%s", name,
                text, infinite ? ",inf" : "");
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, *count + 1, sizeof **list, list));
    (*list)[(*count)++] = value;
    at = end + 1;
  } while (*end == ',');
done:
  return status;
}

static ntk_status read_lists(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  const char *time = ntk_options_string(s->options, "time");
  NTK_TRY(read_list("ridge", ntk_options_string(s->options, "ridge"), false, &s->ridge,
                    &s->ridges));
  s->timed = time != NULL;
  NTK_TRY(read_list("time", time ? time : "inf", true, &s->time, &s->times));
  NTK_REQUIRE((int64_t)s->ridges * s->times <= 4096, NTK_ERR_ARGUMENT,
              "--ridge and --time: %d x %d results; at most 4096 at once", s->ridges,
              s->times);
  s->results = s->ridges * s->times;
done:
  return status;
}

static ntk_status read_options(ntk_solve *s, const char *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_option *const tables[] = {ntk_option_table("solve"), ntk_option_table("group"),
                                      NULL};
  NTK_TRY(ntk_options_parse_texts(tables, text, &s->options));
  s->group = ntk_options_string(s->options, "group");
  const char *method = ntk_options_string(s->options, "method");
  NTK_REQUIRE(ntk_options_given(s->options, "kernel"), NTK_ERR_ARGUMENT,
              "solve: --kernel is missing");
  NTK_REQUIRE(strcmp(method, "matrix-free") != 0, NTK_ERR_ARGUMENT,
              "--method matrix-free takes --model and --inputs in place of --kernel");
  NTK_TRY(read_lists(s));
  NTK_REQUIRE(!s->timed || strcmp(method, "auto") == 0 || strcmp(method, "eigen") == 0,
              NTK_ERR_ARGUMENT, "--method %s: --time needs eigenvalues: --method eigen",
              method);
  NTK_REQUIRE(s->timed || !ntk_options_given(s->options, "learning-rate"), NTK_ERR_ARGUMENT,
              "--learning-rate goes with --time");
  static const char *const of_tests[] = {"test-labels", "test-center"};
  for (int i = 0; i < 2; i++)
    NTK_REQUIRE(ntk_options_given(s->options, "test-kernel") ||
                    !ntk_options_given(s->options, of_tests[i]),
                NTK_ERR_ARGUMENT, "--%s goes with --test-kernel", of_tests[i]);
  s->absolute = strcmp(ntk_options_string(s->options, "ridge-scale"), "absolute") == 0;
  s->nb = ntk_options_given(s->options, "nb") ? (int)ntk_options_int(s->options, "nb") : 64;
done:
  return status;
}

/* ---- preparing ------------------------------------------------------------------------
 */

static ntk_status open_file(const char *path, const char *group, ntk_kernel_file **file,
                            char **identity) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_kernel_open(path, group, file));
  NTK_TRY(ntk_kernel_require_complete(*file));
  NTK_TRY(ntk_store_read_text(path, "/identity", identity));
done:
  return status;
}

static ntk_status open_files(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  const char *test = ntk_options_string(s->options, "test-kernel");
  NTK_TRY(open_file(ntk_options_string(s->options, "kernel"), s->group, &s->kernel,
                    &s->identity));
  s->facts = ntk_kernel_get_facts(s->kernel);
  if (test)
    NTK_TRY(open_file(test, s->group, &s->test, &s->test_identity));
  s->N = s->facts->rows;
  s->O = s->facts->outputs;
  s->planes = s->facts->matrices;
  s->n = s->N * s->facts->per_sample;
  s->columns =
      s->facts->reduction == NTK_REDUCE_TRACE || s->facts->reduction == NTK_REDUCE_PSEUDO
          ? s->O
          : 1;
done:
  return status;
}

static ntk_status allocate(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  const int64_t wide = s->planes * s->results * s->columns;
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, s->n * wide, sizeof *s->alpha, &s->alpha));
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, s->n * wide, sizeof *s->product, &s->product));
  if (s->test)
    NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, s->sides[1].samples * s->facts->per_sample * wide,
                       sizeof *s->tested, &s->tested));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, s->planes, sizeof *s->mean, &s->mean));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, s->results, sizeof *s->residual, &s->residual));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, s->results, sizeof *s->scaled, &s->scaled));
done:
  return status;
}

static ntk_status prepare(ntk_solve *s, const char *options, const char *path) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = s->context->comm;
  NTK_TRY(ntk_agree(comm, read_options(s, options)));
  NTK_TRY(ntk_agree(comm, open_files(s)));
  NTK_TRY(ntk_solve_check_kernel(s));
  if (s->test)
    NTK_TRY(ntk_solve_check_test(s));
  NTK_TRY(ntk_side_read(s, 0));
  if (s->test)
    NTK_TRY(ntk_side_read(s, 1));
  NTK_TRY(ntk_store_check(s->context, path, ntk_solve_file_bytes(s)));
  NTK_TRY(ntk_solve_choose(s));
  NTK_TRY(ntk_agree(comm, allocate(s)));
done:
  return status;
}

/* ---- running --------------------------------------------------------------------------
 */

static ntk_status solve_plane(ntk_solve *s, int64_t plane) {
  static ntk_status (*const solvers[NTK_SOLVERS])(ntk_system *) = {
      ntk_solve_cholesky, ntk_solve_eigen, ntk_solve_cg};
  ntk_status status = NTK_SUCCESS;
  ntk_system system = {.solve = s};
  NTK_TRY(ntk_system_create(s, plane, &system));
  NTK_TRY(solvers[s->solver](&system));
done:
  ntk_system_clear(&system);
  return status;
}

static ntk_status solve_planes(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  const int threads = ntk_blas_set_threads(omp_get_max_threads());
  NTK_TRY(ntk_blacs_create_square(s->context->comm, &s->grid));
  for (int64_t plane = 0; plane < s->planes; plane++)
    NTK_TRY(solve_plane(s, plane));
done:
  ntk_blacs_destroy(&s->grid);
  (void)ntk_blas_set_threads(threads);
  return status;
}

static ntk_status run(ntk_solve *s, const char *path, const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  const int threads = ntk_blas_set_threads(1); /* our own loops are the parallel ones */
  NTK_TRY(solve_planes(s));
  if (s->test)
    NTK_TRY(ntk_solve_predict(s));
  const double start = ntk_seconds();
  if (s->context->rank == 0)
    status = ntk_solve_write(s, path, command_line);
  NTK_TRY(ntk_agree(s->context->comm, status));
  (void)ntk_solve_clock(s, NTK_SOLVE_WRITE, start);
  NTK_TRY(ntk_solve_report(s));
done:
  (void)ntk_blas_set_threads(threads);
  return status;
}

static void clear(ntk_solve *s) {
  void **const owned[] = {(void **)&s->identity, (void **)&s->test_identity,
                          (void **)&s->ridge,    (void **)&s->time,
                          (void **)&s->alpha,    (void **)&s->product,
                          (void **)&s->tested,   (void **)&s->mean,
                          (void **)&s->residual, (void **)&s->scaled};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
    ntk_free(owned[i]);
  for (int side = 0; side < 2; side++)
    ntk_side_clear(&s->sides[side]);
  ntk_kernel_close(&s->kernel);
  ntk_kernel_close(&s->test);
  ntk_options_destroy(&s->options);
  if (s->cap > 0)
    (void)ntk_memory_set_cap(ntk_memory_set_cap(0) - s->cap);
}

ntk_status ntk_solve_to_file(ntk_context *context, const char *options, const char *path,
                             const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  ntk_solve s = {.context = context};
  NTK_TRY(prepare(&s, options, path));
  NTK_TRY(run(&s, path, command_line));
done:
  clear(&s);
  return status;
}

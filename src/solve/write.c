/* SPDX-License-Identifier: Apache-2.0 */
/* The file of solutions, on rank 0. */
#include "base/memory.h"
#include "io/results.h"
#include "job/provenance.h"
#include "solve/solve.h"
#include <inttypes.h>
#include <math.h>
#include <scantk/version.h>
#include <string.h>

static const char format[] = "scantk-solution 1";

int64_t ntk_solve_file_bytes(const ntk_solve *s) {
  const double samples = (double)(2 * s->sides[0].samples + s->sides[1].samples);
  const double bytes = 8 * samples * (double)(s->O * s->results + 1) + 65536;
  return bytes < 0x1p62 ? (int64_t)bytes : INT64_MAX / 2;
}

/* [R, ...], with times [T, R, ...]. */
static ntk_shape shape_of(const ntk_solve *s, int64_t samples, int64_t outputs) {
  ntk_shape shape = {0};
  if (s->timed)
    shape.dim[shape.ndim++] = s->times;
  shape.dim[shape.ndim++] = s->ridges;
  if (samples > 0)
    shape.dim[shape.ndim++] = samples;
  if (outputs > 0)
    shape.dim[shape.ndim++] = outputs;
  return shape;
}

static double value_of(const ntk_solve *s, bool solutions, int side, int m, int64_t n,
                       int64_t o) {
  return solutions ? s->alpha[ntk_solve_place(s, s->n, m, n, o)]
                   : ntk_solve_prediction(s, side, m, n, o);
}

/* Solutions, or predictions of a side, row by row of the first axis. */
static ntk_status put_results(const ntk_solve *s, ntk_results *file, const char *name,
                              bool solutions, int side) {
  ntk_status status = NTK_SUCCESS;
  const int64_t samples = s->sides[side].samples, size = samples * s->O;
  const int each = s->timed ? s->ridges : 1;
  const ntk_shape shape = shape_of(s, samples, s->O);
  double *values = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, each * size, sizeof *values, &values));
  NTK_TRY(ntk_results_put(file, name, NTK_F64, &shape, NULL));
  for (int row = 0; row < s->results / each; row++) {
    for (int64_t i = 0; i < each * size; i++)
      values[i] = value_of(s, solutions, side, row * each + (int)(i / size),
                           i % size / s->O, i % s->O);
    NTK_TRY(ntk_results_write(file, name, 0, row, 1, values));
  }
done:
  ntk_free(&values);
  return status;
}

static ntk_status put_list(ntk_results *file, const char *name, int64_t count,
                           const double *values) {
  const ntk_shape shape = {1, {count}};
  return ntk_results_put(file, name, NTK_F64, &shape, values);
}

static ntk_status put_ridges(const ntk_solve *s, ntk_results *file) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = {s->planes > 1 ? 2 : 1, {s->ridges, s->planes}};
  double *values = NULL;
  NTK_TRY(put_list(file, "/ridge", s->ridges, s->ridge));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, s->ridges * s->planes, sizeof *values, &values));
  for (int r = 0; r < s->ridges; r++)
    for (int64_t plane = 0; plane < s->planes; plane++)
      values[r * s->planes + plane] = ntk_solve_ridge(s, plane, r);
  NTK_TRY(ntk_results_put(file, "/ridge_absolute", NTK_F64, &shape, values));
  if (s->timed)
    NTK_TRY(put_list(file, "/time", s->times, s->time));
done:
  ntk_free(&values);
  return status;
}

/* Original indices of the rows of a kernel file, its samples or outputs. */
static ntk_status put_numbers(const ntk_kernel_file *from, const char *side, int64_t n,
                              ntk_results *file, const char *name) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = {1, {n}};
  int64_t *values = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof *values, &values));
  NTK_TRY(ntk_kernel_read_side(from, side, 0, 0, n, NTK_I64, values));
  NTK_TRY(ntk_results_put(file, name, NTK_I64, &shape, values));
done:
  ntk_free(&values);
  return status;
}

/* The solutions are what is plotted. */
static ntk_status put_axes(const ntk_solve *s, ntk_results *file) {
  static const char *const axes[] = {"time", "ridge", "sample", "output"};
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(put_numbers(s->kernel, "sample", s->N, file, "/sample"));
  NTK_TRY(put_numbers(s->kernel, "output", s->O, file, "/output"));
  NTK_TRY(ntk_results_plot(file, "alpha", 3 + s->timed, axes + !s->timed));
done:
  return status;
}

static ntk_status put_errors(const ntk_solve *s, ntk_results *file, int side) {
  static const char *const names[2][2] = {{"/train_mse", "/train_accuracy"},
                                          {"/test_mse", "/test_accuracy"}};
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = shape_of(s, 0, 0);
  const int64_t all = s->results;
  double *values = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, 2 * all, sizeof *values, &values));
  ntk_solve_errors(s, side, values, values + all);
  for (int64_t i = 0; i < 2; i++)
    if (!isnan(values[i * all]))
      NTK_TRY(ntk_results_put(file, names[side][i], NTK_F64, &shape, values + i * all));
done:
  ntk_free(&values);
  return status;
}

/* ---- where it comes from --------------------------------------------------------------
 */

static ntk_status add_word(ntk_text *text, const char *name, const char *value) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, ",\n  \"%s\": ", name));
  NTK_TRY(ntk_text_add_json(text, value));
done:
  return status;
}

static ntk_status put_provenance(const ntk_solve *s, ntk_results *file, const char *line) {
  static const char *const options[] = {
      "kernel",      "labels",      "test-kernel",   "test-labels", "center",
      "test-center", "ridge-scale", "learning-rate", "tolerance",   "group"};
  ntk_status status = NTK_SUCCESS;
  ntk_text text = {0}, identity = {0};
  char date[32];
  NTK_TRY(ntk_text_add(&text, "{\n  \"format\": \"%s\"", format));
  NTK_TRY(add_word(&text, "program", ntk_version()));
  NTK_TRY(add_word(&text, "command", line));
  NTK_TRY(add_word(&text, "date", ntk_utc_now(date)));
  NTK_TRY(add_word(&text, "method", ntk_solver_name(s->solver)));
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    NTK_TRY(add_word(&text, options[i], ntk_options_string(s->options, options[i])));
  NTK_TRY(ntk_text_add(&text, ",\n  \"ranks\": %d, \"grid\": [%d, %d], \"nb\": %d\n}\n",
                       s->context->size, s->grid.rows, s->grid.columns, s->nb));
  NTK_TRY(ntk_results_put_text(file, "/provenance", text.data));
  NTK_TRY(ntk_text_add(&identity, "%s", s->identity));
  if (s->group)
    NTK_TRY(ntk_text_add(&identity, "group: %s\n", s->group));
  NTK_TRY(ntk_results_put_text(file, "/identity", identity.data));
done:
  ntk_text_clear(&identity);
  ntk_text_clear(&text);
  return status;
}

static ntk_status fill(const ntk_solve *s, ntk_results *file, const char *line) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = shape_of(s, 0, 0);
  NTK_TRY(put_results(s, file, "/alpha", true, 0));
  NTK_TRY(put_results(s, file, "/train_predictions", false, 0));
  NTK_TRY(put_ridges(s, file));
  NTK_TRY(ntk_results_put(file, "/residual", NTK_F64, &shape, s->residual));
  NTK_TRY(ntk_results_put(file, "/residual_scaled", NTK_F64, &shape, s->scaled));
  NTK_TRY(put_axes(s, file));
  NTK_TRY(put_errors(s, file, 0));
  if (s->test) {
    NTK_TRY(put_results(s, file, "/test_predictions", false, 1));
    NTK_TRY(put_numbers(s->test, "sample", s->sides[1].samples, file, "/test_sample"));
    NTK_TRY(put_errors(s, file, 1));
  }
  NTK_TRY(put_provenance(s, file, line));
done:
  return status;
}

ntk_status ntk_solve_write(ntk_solve *s, const char *path, const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  ntk_results *file = NULL;
  NTK_TRY(ntk_results_create(path, format, ntk_solve_file_bytes(s), &file));
  status = fill(s, file, command_line);
done:
  return ntk_results_close(&file, status);
}

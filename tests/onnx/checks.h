/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ONNX_CHECKS_H
#define TESTS_ONNX_CHECKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "onnx/builder.h"
#include "onnx/model.h"
#include <mpi.h>

/* Reading models that were built in memory. */

static ntk_context *context;
static char warnings[4096]; /* since the last reading */

static inline void collect(const ntk_report *report, void *user) {
  (void)user;
  const size_t used = strlen(warnings);
  if (report->kind == NTK_REPORT_WARNING)
    (void)snprintf(warnings + used, sizeof warnings - used, "%s\n", report->text);
}

/* As a kernel needs it: with parameters. */
static inline ntk_status try_read(const Onnx__ModelProto *proto, const char *options,
                                  ntk_model **out) {
  size_t size;
  uint8_t *bytes = model_pack(proto, &size);
  warnings[0] = '\0';
  ntk_status status = ntk_model_from_memory(context, bytes, size, options, out);
  if (status == NTK_SUCCESS)
    status = ntk_model_check_parameters(*out);
  if (status != NTK_SUCCESS)
    ntk_model_destroy(out);
  free(bytes);
  return status;
}

/* A model that must be read. */
static inline ntk_model *read_model(const Onnx__ModelProto *proto, const char *options) {
  ntk_model *model = NULL;
  if (try_read(proto, options, &model) != NTK_SUCCESS)
    fail_msg("%s: %s", options ? options : "", ntk_context_error(context));
  return model;
}

/* Reads it, frees both, and compares the number of parameters. */
static inline void expect_parameters(Onnx__ModelProto *proto, const char *options,
                                     int64_t parameters) {
  ntk_model *model = read_model(proto, options);
  assert_int_equal(ntk_model_get_info(model).parameters, parameters);
  ntk_model_destroy(&model);
  model_free(proto);
}

static inline void check_message(const char *text) {
  const char *message = ntk_context_error(context);
  if (!*message || strchr(message, '\n'))
    fail_msg("no message of one line: '%s'", message);
  if (!strstr(message, text))
    fail_msg("no '%s' in '%s'", text, message);
}

/* It must be refused with this status and a line that holds `text`; frees it. */
static inline void expect_refused(Onnx__ModelProto *proto, const char *options,
                                  ntk_status expected, const char *text) {
  ntk_model *model = NULL;
  const int64_t before = ntk_memory_used_total();
  const ntk_status status = try_read(proto, options, &model);
  if (status != expected)
    fail_msg("status %d (%s), not %d, for '%s'", (int)status, ntk_context_error(context),
             (int)expected, text);
  check_message(text);
  assert_null(model);
  assert_int_equal(ntk_memory_used_total(), before);
  model_free(proto);
}

static inline void add_named(Onnx__ModelProto *proto, const char *json) {
  add_entry(proto, "scantk.parameters", json);
}

/* Runs a group of tests in a context on all ranks. */
#define RUN_TESTS(tests)                                                                   \
  int main(int argc, char **argv) {                                                        \
    MPI_Init(&argc, &argv);                                                                \
    if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)                 \
      return 1;                                                                            \
    ntk_context_report(context, collect, NULL);                                            \
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);                          \
    ntk_context_destroy(&context);                                                         \
    MPI_Finalize();                                                                        \
    return failed;                                                                         \
  }

#endif

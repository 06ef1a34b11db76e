/* SPDX-License-Identifier: Apache-2.0 */
#include "base/context.h"
#include "base/memory.h"
#include <scantk/options.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static ntk_status count_neighbours(ntk_context *context) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm node = MPI_COMM_NULL;
  NTK_TRY_MPI(
      MPI_Comm_split_type(context->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  NTK_TRY_MPI(MPI_Comm_size(node, &context->ranks_on_node));
  if (context->sharers == 0)
    context->sharers = context->ranks_on_node;
done:
  if (node != MPI_COMM_NULL)
    (void)MPI_Comm_free(&node);
  return status;
}

static ntk_status create_locally(const char *options, ntk_context **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_options *parsed = NULL;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("context"), options, &parsed));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof **out, out));
  (*out)->comm = MPI_COMM_NULL;
  if (ntk_options_given(parsed, "sharers"))
    (*out)->sharers = (int)ntk_options_int(parsed, "sharers");
  (*out)->resident_bytes = ntk_memory_resident() - ntk_memory_used_total();
done:
  ntk_options_destroy(&parsed);
  return status;
}

ntk_status ntk_context_create(MPI_Comm comm, const char *options, ntk_context **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = NULL;
  NTK_TRY(ntk_agree(comm, create_locally(options, &context)));
  NTK_TRY_MPI(MPI_Comm_dup(comm, &context->comm));
  NTK_TRY_MPI(MPI_Comm_set_errhandler(context->comm, MPI_ERRORS_RETURN));
  NTK_TRY_MPI(MPI_Comm_rank(context->comm, &context->rank));
  NTK_TRY_MPI(MPI_Comm_size(context->comm, &context->size));
  NTK_TRY(count_neighbours(context));
  *out = context;
  context = NULL;
done:
  ntk_context_destroy(&context);
  return status;
}

ntk_status ntk_context_create_f(MPI_Fint comm, const char *options, ntk_context **out) {
  return ntk_context_create(MPI_Comm_f2c(comm), options, out);
}

void ntk_context_destroy(ntk_context **handle) {
  if (!*handle)
    return;
  if ((*handle)->comm != MPI_COMM_NULL)
    (void)MPI_Comm_free(&(*handle)->comm);
  ntk_free(handle);
}

void ntk_context_report(ntk_context *context, ntk_report_fn fn, void *user) {
  context->report = fn;
  context->report_user = user;
}

const char *ntk_context_error(const ntk_context *context) {
  (void)context;
  return ntk_fail_message();
}

int ntk_context_rank(const ntk_context *context) { return context->rank; }
int ntk_context_size(const ntk_context *context) { return context->size; }

/* ---- stopping -------------------------------------------------------------------------
 */

void ntk_context_stop_for(ntk_context *context, const char *reason) {
  if (!context->stop_reason)
    context->stop_reason = reason;
  if (context->stop == NTK_STOP_NOT)
    context->stop = NTK_STOP_FINISH;
}
void ntk_context_stop(ntk_context *context) { ntk_context_stop_for(context, NULL); }
void ntk_context_drop(ntk_context *context) { context->stop = NTK_STOP_DROP; }

ntk_status ntk_stop_obeyed(ntk_context *context) {
  ntk_status status = NTK_SUCCESS;
  const char *reason = context->stop_reason;
  int mine = reason ? context->rank : context->size, first;
  (void)snprintf(context->stopped_for, sizeof context->stopped_for, "%s",
                 reason ? reason : "on request");
  context->stop = NTK_STOP_NOT;
  context->stop_reason = NULL;
  NTK_TRY_MPI(MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, context->comm));
  NTK_TRY_MPI(MPI_Bcast(context->stopped_for, (int)sizeof context->stopped_for, MPI_CHAR,
                        first < context->size ? first : 0, context->comm));
done:
  return status;
}

/* ---- messages -------------------------------------------------------------------------
 */

void ntk_say(const ntk_context *context, ntk_report_kind kind, const char *format, ...) {
  char line[1024], *longer = NULL;
  if (context->rank != 0 || !context->report)
    return;
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  const int length = vsnprintf(line, sizeof line, format, arguments);
  /* without memory for a long text its beginning must do */
  if (length >= (int)sizeof line &&
      ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)length + 1, 1, &longer) == NTK_SUCCESS)
    (void)vsnprintf(longer, (size_t)length + 1, format, again);
  va_end(again);
  va_end(arguments);
  const ntk_report report = {.kind = kind, .text = longer ? longer : line};
  context->report(&report, context->report_user);
  ntk_free(&longer);
}

void ntk_say_progress(const ntk_context *context, double fraction, double seconds_left) {
  if (context->rank != 0 || !context->report)
    return;
  const ntk_report report = {.kind = NTK_REPORT_PROGRESS,
                             .text = "",
                             .fraction = fraction,
                             .seconds_left = seconds_left};
  context->report(&report, context->report_user);
}

/* ---- time -----------------------------------------------------------------------------
 */

double ntk_seconds(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double ntk_phase_add(ntk_context *context, ntk_phase phase, double start) {
  const double now = ntk_seconds();
  context->phase_seconds[phase] += now - start;
  return now;
}

void ntk_phase_reset(ntk_context *context) {
  memset(context->phase_seconds, 0, sizeof context->phase_seconds);
}

ntk_status ntk_phase_reduce(ntk_context *context, ntk_phase_row rows[NTK_PHASES]) {
  ntk_status status = NTK_SUCCESS;
  double least[NTK_PHASES], most[NTK_PHASES], sum[NTK_PHASES];
  double *const mine = context->phase_seconds;
  NTK_TRY_MPI(MPI_Allreduce(mine, least, NTK_PHASES, MPI_DOUBLE, MPI_MIN, context->comm));
  NTK_TRY_MPI(MPI_Allreduce(mine, most, NTK_PHASES, MPI_DOUBLE, MPI_MAX, context->comm));
  NTK_TRY_MPI(MPI_Allreduce(mine, sum, NTK_PHASES, MPI_DOUBLE, MPI_SUM, context->comm));
  for (int i = 0; i < NTK_PHASES; i++)
    rows[i] = (ntk_phase_row){least[i], sum[i] / context->size, most[i]};
done:
  return status;
}

const char *ntk_phase_name(ntk_phase phase) {
  static const char *const names[] = {
#define NTK_PHASE_TEXT(name, text) text,
      NTK_PHASE_LIST(NTK_PHASE_TEXT)
#undef NTK_PHASE_TEXT
  };
  return names[phase];
}

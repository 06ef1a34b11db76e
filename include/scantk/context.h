/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_CONTEXT_H
#define SCANTK_CONTEXT_H

#include <mpi.h>
#include <scantk/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A context: the library's state on a communicator. Many may exist in a process. */
typedef struct ntk_context ntk_context;

/* Messages of the library. It never prints: rank 0 of the context hands each one to the
 * callback, the other ranks hand over nothing. */
typedef enum ntk_report_kind {
  NTK_REPORT_INFO,     /* a line of the log */
  NTK_REPORT_WARNING,  /* a line that the user should read */
  NTK_REPORT_PROGRESS, /* `fraction` of the tiles is done, `seconds_left` is predicted */
  NTK_REPORT_RESULT,   /* lines that belong on stdout (--explain, final facts) */
  NTK_REPORT_RECORD    /* a JSON object for machines: "event" header or phases */
} ntk_report_kind;

typedef struct ntk_report {
  ntk_report_kind kind;
  const char *text; /* without a newline at its end; valid during the call */
  double fraction;
  double seconds_left;
} ntk_report;

typedef void (*ntk_report_fn)(const ntk_report *report, void *user);

/* Purpose: make a context on a duplicate of `comm`. Collective over `comm`.
 * comm     borrowed for the call; MPI must be initialised (MPI_THREAD_FUNNELED).
 * options  command-line text of the table "context", or NULL for the defaults; copied.
 * out      owned by the caller; written only on success.
 * Errors: NTK_ERR_ARGUMENT (options), NTK_ERR_MPI, NTK_ERR_MEMORY. */
NTK_API NTK_CHECKED ntk_status ntk_context_create(MPI_Comm comm, const char *options,
                                                  ntk_context **out);
/* The same for Fortran's handle of a communicator. */
NTK_API NTK_CHECKED ntk_status ntk_context_create_f(MPI_Fint comm, const char *options,
                                                    ntk_context **out);

/* Frees the context and its communicator and nulls the handle. Collective. NULL-safe.
 * Models, data and plans made in the context must be gone before. */
NTK_API void ntk_context_destroy(ntk_context **context);

/* Sets the callback for messages; NULL silences. Local. */
NTK_API void ntk_context_report(ntk_context *context, ntk_report_fn fn, void *user);

/* Text of the last error on this rank, "" if there was none; valid until the next call of
 * the library. With NULL: of the last error on this thread (after a failed create). Local.
 */
NTK_API const char *ntk_context_error(const ntk_context *context);

/* Rank and size of the context's communicator. Local. */
NTK_API int ntk_context_rank(const ntk_context *context);
NTK_API int ntk_context_size(const ntk_context *context);

/* Asks ntk_plan_to_file, ntk_plan_to_tiles, ntk_features_to_file or ntk_matrix_free_solve,
 * the one that runs or else the next, to finish what it has in hand and return NTK_STOPPED.
 * Local, async-signal-safe; one rank's call stops all. */
NTK_API void ntk_context_stop(ntk_context *context);
/* The same, naming the reason in the message: "stopped (USR1) at ...". reason: a text that
 * lives on, at most 31 characters of it are told; the first one given is. */
NTK_API void ntk_context_stop_for(ntk_context *context, const char *reason);
/* The same, and the tiles in hand on this rank are dropped. */
NTK_API void ntk_context_drop(ntk_context *context);

#ifdef __cplusplus
}
#endif
#endif

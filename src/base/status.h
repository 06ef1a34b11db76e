/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_BASE_STATUS_H
#define NTK_BASE_STATUS_H

#include <mpi.h>
#include <scantk/status.h>

/* ntk_fail(status, format, ...) records "what was wrong and what to do" for this thread and
 * returns `status`: used once, at the origin of an error. Local. A macro, so that compilers
 * see which status comes back and warn of no impossible path. */
#define ntk_fail(status, ...) (ntk_fail_record(__VA_ARGS__), (status))
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void ntk_fail_record(const char *format, ...);

/* Message recorded last on this thread; "" where there was none. */
const char *ntk_fail_message(void);

/* Records the name of an MPI error and returns NTK_ERR_MPI. */
#define ntk_fail_mpi(code, what) (ntk_fail_record_mpi((code), (what)), NTK_ERR_MPI)
void ntk_fail_record_mpi(int code, const char *what);

/* Purpose: agree on the outcome of a local phase. Collective over comm. All ranks return
 * the status of the lowest failing rank, whose message (with "[rank r, host] " in front
 * where size > 1) is then recorded on all of them. Cost: one small allreduce. */
NTK_CHECKED ntk_status ntk_agree(MPI_Comm comm, ntk_status status);

/* One cleanup style: a local `status`, a label `done:`. */
#define NTK_TRY(call)                                                                      \
  do {                                                                                     \
    status = (call);                                                                       \
    if (status != NTK_SUCCESS)                                                             \
      goto done;                                                                           \
  } while (0)
/* NTK_REQUIRE(condition, status, format, ...): fails at the origin. */
#define NTK_REQUIRE(condition, code, ...)                                                  \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      status = ntk_fail((code), __VA_ARGS__);                                              \
      goto done;                                                                           \
    }                                                                                      \
  } while (0)
#define NTK_TRY_MPI(call)                                                                  \
  do {                                                                                     \
    const int ntk_mpi_code_ = (call);                                                      \
    if (ntk_mpi_code_ != MPI_SUCCESS) {                                                    \
      status = ntk_fail_mpi(ntk_mpi_code_, #call);                                         \
      goto done;                                                                           \
    }                                                                                      \
  } while (0)

#endif

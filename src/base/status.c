/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 1024 };
static _Thread_local char message[MESSAGE_BYTES];

const char *ntk_status_text(ntk_status status) {
  switch (status) {
#define NTK_STATUS_CASE(name, code, text)                                                  \
  case name:                                                                               \
    return text;
    NTK_STATUS_LIST(NTK_STATUS_CASE)
#undef NTK_STATUS_CASE
  }
  return "unknown status";
}

int ntk_status_exit_code(ntk_status status) {
  switch (status) {
#define NTK_STATUS_CASE(name, code, text)                                                  \
  case name:                                                                               \
    return code;
    NTK_STATUS_LIST(NTK_STATUS_CASE)
#undef NTK_STATUS_CASE
  }
  return 1;
}

void ntk_fail_record(const char *format, ...) {
  char text[MESSAGE_BYTES]; /* arguments may point into the last message */
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  memcpy(message, text, sizeof text);
}

const char *ntk_fail_message(void) { return message; }

void ntk_fail_record_mpi(int code, const char *what) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length;
  (void)MPI_Error_string(code, text, &length);
  ntk_fail_record("MPI failed in %.60s: %s", what, text);
}

static void add_origin(int rank, int size) {
  char host[64] = "";
  if (size < 2 || strncmp(message, "[rank ", 6) == 0)
    return;
  (void)gethostname(host, sizeof host - 1);
  ntk_fail_record("[rank %d, %s] %s", rank, host, message);
}

ntk_status ntk_agree(MPI_Comm comm, ntk_status status) {
  int rank, size, mine, first;
  int result = (int)status;
  if (MPI_Comm_rank(comm, &rank) != MPI_SUCCESS ||
      MPI_Comm_size(comm, &size) != MPI_SUCCESS)
    return ntk_fail(NTK_ERR_MPI, "communicator is not valid");
  mine = status == NTK_SUCCESS ? size : rank;
  int code = MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, comm);
  if (code != MPI_SUCCESS)
    return ntk_fail_mpi(code, "MPI_Allreduce");
  if (first == size)
    return NTK_SUCCESS;
  if (rank == first)
    add_origin(rank, size);
  code = MPI_Bcast(&result, 1, MPI_INT, first, comm);
  if (code == MPI_SUCCESS)
    code = MPI_Bcast(message, MESSAGE_BYTES, MPI_CHAR, first, comm);
  if (code != MPI_SUCCESS)
    return ntk_fail_mpi(code, "MPI_Bcast");
  return (ntk_status)result;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/shared.h"
#include "base/memory.h"
#include "dist/grid.h"
#include <sys/statvfs.h>

/* Below this, sharing saves less than windows cost. */
static const int64_t least_bytes = (int64_t)1 << 20;
enum { ALIGNMENT = 64 };

/* Where MPI libraries put what processes share. One that runs out there may end the
 * process: hence asked beforehand. */
static bool is_lent(int64_t bytes) {
  struct statvfs s;
  return statvfs("/dev/shm", &s) != 0 ||
         (double)bytes < 0.9 * (double)s.f_bavail * (double)s.f_frsize;
}

static char *aligned(char *start) {
  return start + (ALIGNMENT - (uintptr_t)start % ALIGNMENT) % ALIGNMENT;
}

/* The node's ranks and, of these, the writer. */
static ntk_status find_node(ntk_shared *s) {
  ntk_status status = NTK_SUCCESS;
  int rank;
  NTK_TRY_MPI(MPI_Comm_split_type(s->context->comm, MPI_COMM_TYPE_SHARED, s->context->rank,
                                  MPI_INFO_NULL, &s->node));
  NTK_TRY_MPI(MPI_Comm_set_errhandler(s->node, MPI_ERRORS_RETURN));
  NTK_TRY_MPI(MPI_Comm_rank(s->node, &rank));
  NTK_TRY_MPI(MPI_Comm_size(s->node, &s->ranks));
  s->is_writer = rank == 0;
done:
  return status;
}

/* Is there a node with ranks to share, and room on all of them? */
static ntk_status can_share(const ntk_shared *s, bool *can) {
  ntk_status status = NTK_SUCCESS;
  int most[2] = {s->ranks, !is_lent(s->bytes)};
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_INT, MPI_MAX, s->context->comm));
  *can = most[0] > 1 && most[1] == 0;
  if (most[0] > 1 && most[1])
    ntk_say(s->context, NTK_REPORT_WARNING,
            "/dev/shm has no room for %.0f MiB of parameters: each rank holds its own",
            (double)s->bytes / 1048576);
done:
  return status;
}

static ntk_status allocate_window(ntk_shared *s) {
  ntk_status status = NTK_SUCCESS;
  MPI_Aint bytes = s->is_writer ? (MPI_Aint)s->bytes + ALIGNMENT : 0;
  int unit;
  char *start;
  NTK_TRY_MPI(
      MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, s->node, &start, &s->window));
  NTK_TRY_MPI(MPI_Win_set_errhandler(s->window, MPI_ERRORS_RETURN));
  NTK_TRY_MPI(MPI_Win_shared_query(s->window, 0, &bytes, &unit, &start));
  s->data = aligned(start);
  NTK_TRY_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, s->window));
done:
  return status;
}

static ntk_status make_window(ntk_shared *s) {
  ntk_status status = NTK_SUCCESS;
  status = ntk_memory_share(NTK_MEMORY_PARAMETERS, s->bytes, s->ranks);
  s->is_counted = status == NTK_SUCCESS;
  NTK_TRY(ntk_agree(s->context->comm, status));
  NTK_TRY(ntk_agree(s->context->comm, allocate_window(s)));
  NTK_TRY_MPI(MPI_Comm_split(s->context->comm, s->is_writer ? 0 : MPI_UNDEFINED,
                             s->context->rank, &s->writers));
done:
  return status;
}

/* Each rank is a node of its own. */
static ntk_status make_plain(ntk_shared *s) {
  ntk_status status = NTK_SUCCESS;
  s->is_writer = true;
  s->ranks = 1;
  NTK_TRY(ntk_agree(s->context->comm,
                    ntk_malloc(NTK_MEMORY_PARAMETERS, s->bytes, 1, &s->plain)));
  s->data = s->plain;
  s->writers = s->context->comm;
done:
  return status;
}

ntk_status ntk_shared_create(ntk_context *context, int64_t bytes, ntk_shared **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_shared *s = NULL;
  bool can = false;
  NTK_TRY(ntk_agree(context->comm, ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *s, &s)));
  *s = (ntk_shared){.context = context,
                    .bytes = bytes,
                    .writers = MPI_COMM_NULL,
                    .node = MPI_COMM_NULL,
                    .window = MPI_WIN_NULL};
  if (bytes >= least_bytes) {
    NTK_TRY(find_node(s));
    NTK_TRY(can_share(s, &can));
  }
  NTK_TRY(can ? make_window(s) : make_plain(s));
  *out = s;
  s = NULL;
done:
  ntk_shared_destroy(&s);
  return status;
}

ntk_status ntk_shared_publish(ntk_shared *s, ntk_status written) {
  ntk_status status = NTK_SUCCESS;
  if (s->window != MPI_WIN_NULL)
    NTK_TRY_MPI(MPI_Win_sync(s->window));
  NTK_TRY(ntk_agree(s->context->comm, written)); /* also the barrier */
  if (s->window != MPI_WIN_NULL)
    NTK_TRY_MPI(MPI_Win_sync(s->window));
done:
  return status;
}

ntk_status ntk_shared_spread(ntk_shared *s, ntk_status written) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_agree(s->context->comm, written));
  if (s->is_writer)
    status = ntk_bcast(s->data, s->bytes, 0, s->writers);
  NTK_TRY(ntk_shared_publish(s, status));
done:
  return status;
}

int64_t ntk_shared_part(const ntk_shared *s, int ranks) {
  return s->bytes < least_bytes ? s->bytes : s->bytes / ranks;
}

void ntk_shared_destroy(ntk_shared **handle) {
  ntk_shared *s = *handle;
  if (!s)
    return;
  if (s->window != MPI_WIN_NULL) {
    (void)MPI_Win_unlock_all(s->window);
    (void)MPI_Win_free(&s->window);
  }
  if (s->is_counted)
    ntk_memory_unshare(NTK_MEMORY_PARAMETERS, s->bytes, s->ranks);
  ntk_free(&s->plain);
  if (s->writers != MPI_COMM_NULL && s->writers != s->context->comm)
    (void)MPI_Comm_free(&s->writers);
  if (s->node != MPI_COMM_NULL)
    (void)MPI_Comm_free(&s->node);
  ntk_free(handle);
}

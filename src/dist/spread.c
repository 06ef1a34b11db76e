/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/spread.h"
#include <limits.h>
#include <stddef.h>

static ntk_status unit_type(MPI_Datatype *type) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY_MPI(MPI_Type_contiguous(NTK_SPREAD_UNIT, MPI_BYTE, type));
  NTK_TRY_MPI(MPI_Type_commit(type));
done:
  return status;
}

static ntk_status count_units(int64_t bytes, int *units) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(bytes % NTK_SPREAD_UNIT == 0 && bytes / NTK_SPREAD_UNIT <= INT_MAX,
              NTK_ERR_MPI, "a message of %lld bytes", (long long)bytes);
  *units = (int)(bytes / NTK_SPREAD_UNIT);
done:
  return status;
}

/* Rank at a distance behind the root. */
static int rank_behind(const ntk_spread *s, int distance) {
  return s->line.first + (s->root + distance) % s->line.count * s->line.stride;
}

/* The d-th behind the root has its bytes from the one at d without its lowest bit, and
 * hands them on to those at d + 1, 2, 4, ... below that bit; the farthest first. */
static ntk_status hand_on(ntk_spread *s) {
  ntk_status status = NTK_SUCCESS;
  const int count = s->line.count, mine = (s->line.mine - s->root + count) % count;
  MPI_Datatype type = MPI_DATATYPE_NULL;
  int step = 1;
  s->has_arrived = true;
  while (step < count && !(mine & step))
    step *= 2;
  if (mine + 1 >= count || step == 1)
    return NTK_SUCCESS;
  NTK_TRY(unit_type(&type));
  for (step /= 2; step > 0; step /= 2)
    if (mine + step < count) {
      NTK_TRY_MPI(MPI_Isend(s->buffer, s->units, type, rank_behind(s, mine + step), s->tag,
                            s->line.comm, &s->to[s->to_count]));
      s->to_count++;
    }
done:
  if (type != MPI_DATATYPE_NULL)
    (void)MPI_Type_free(&type);
  return status;
}

static ntk_status receive(ntk_spread *s, int from) {
  ntk_status status = NTK_SUCCESS;
  MPI_Datatype type = MPI_DATATYPE_NULL;
  NTK_TRY(unit_type(&type));
  NTK_TRY_MPI(MPI_Irecv(s->buffer, s->units, type, from, s->tag, s->line.comm, &s->from));
done:
  if (type != MPI_DATATYPE_NULL)
    (void)MPI_Type_free(&type);
  return status;
}

ntk_status ntk_spread_begin(ntk_spread *s, const ntk_line *line, int root, int source,
                            int tag, void *buffer, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  const int mine = (line->mine - root + line->count) % line->count;
  *s = (ntk_spread){.line = *line,
                    .root = root,
                    .tag = tag,
                    .buffer = buffer,
                    .from = MPI_REQUEST_NULL,
                    .begun = MPI_Wtime()};
  NTK_TRY(count_units(bytes, &s->units));
  if (mine > 0)
    NTK_TRY(receive(s, rank_behind(s, mine & (mine - 1))));
  else if (source != rank_behind(s, 0))
    NTK_TRY(receive(s, source));
  else
    NTK_TRY(hand_on(s));
done:
  return status;
}

ntk_status ntk_spread_feed(MPI_Comm comm, int to, int tag, const void *buffer,
                           int64_t bytes, MPI_Request *request) {
  ntk_status status = NTK_SUCCESS;
  MPI_Datatype type = MPI_DATATYPE_NULL;
  int units;
  NTK_TRY(count_units(bytes, &units));
  NTK_TRY(unit_type(&type));
  NTK_TRY_MPI(MPI_Isend(buffer, units, type, to, tag, comm, request));
done:
  if (type != MPI_DATATYPE_NULL)
    (void)MPI_Type_free(&type);
  return status;
}

static ntk_status arrive(ntk_spread *s) {
  s->travelled = MPI_Wtime() - s->begun;
  return hand_on(s);
}

ntk_status ntk_spread_advance(ntk_spread *s) {
  ntk_status status = NTK_SUCCESS;
  int flag = 0;
  if (!s->buffer || (s->has_arrived && s->to_count == 0))
    return NTK_SUCCESS;
  if (s->has_arrived) /* the library moves what is on its way */
    NTK_TRY_MPI(MPI_Testall(s->to_count, s->to, &flag, MPI_STATUSES_IGNORE));
  else
    NTK_TRY_MPI(MPI_Test(&s->from, &flag, MPI_STATUS_IGNORE));
  if (flag && !s->has_arrived)
    NTK_TRY(arrive(s));
done:
  return status;
}

ntk_status ntk_spread_wait(ntk_spread *s) {
  ntk_status status = NTK_SUCCESS;
  const double start = MPI_Wtime();
  if (!s->buffer || s->has_arrived)
    return NTK_SUCCESS;
  NTK_TRY_MPI(MPI_Wait(&s->from, MPI_STATUS_IGNORE));
  s->waited = MPI_Wtime() - start;
  NTK_TRY(arrive(s));
done:
  return status;
}

ntk_status ntk_spread_end(ntk_spread *s) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_spread_wait(s));
  if (s->buffer && s->to_count > 0)
    NTK_TRY_MPI(MPI_Waitall(s->to_count, s->to, MPI_STATUSES_IGNORE));
  s->to_count = 0;
  s->buffer = NULL;
done:
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate.h"
#include <limits.h>
#include <mpi.h>

/* Linked in front of SMPI's calls (--wrap), where those would take long on this machine. */

int __real_MPI_Isend(const void *buffer, int count, MPI_Datatype type, int to, int tag,
                     MPI_Comm comm, MPI_Request *request);
int __wrap_MPI_Isend(const void *buffer, int count, MPI_Datatype type, int to, int tag,
                     MPI_Comm comm, MPI_Request *request);
int __real_MPI_Irecv(void *buffer, int count, MPI_Datatype type, int from, int tag,
                     MPI_Comm comm, MPI_Request *request);
int __wrap_MPI_Irecv(void *buffer, int count, MPI_Datatype type, int from, int tag,
                     MPI_Comm comm, MPI_Request *request);
int __wrap_MPI_Iallreduce(const void *mine, void *all, int count, MPI_Datatype type,
                          MPI_Op op, MPI_Comm comm, MPI_Request *request);

/* The loop's own types are contiguous. SMPI packs messages of such types into memory of
 * their own, but bytes that lie in shared memory it does not even copy. */
static void in_bytes(int *count, MPI_Datatype *type) {
  int size;
  if (MPI_Type_size(*type, &size) != MPI_SUCCESS || *count > INT_MAX / size)
    return;
  *count *= size;
  *type = MPI_BYTE;
}

int __wrap_MPI_Isend(const void *buffer, int count, MPI_Datatype type, int to, int tag,
                     MPI_Comm comm, MPI_Request *request) {
  in_bytes(&count, &type);
  return __real_MPI_Isend(buffer, count, type, to, tag, comm, request);
}

int __wrap_MPI_Irecv(void *buffer, int count, MPI_Datatype type, int from, int tag,
                     MPI_Comm comm, MPI_Request *request) {
  in_bytes(&count, &type);
  return __real_MPI_Irecv(buffer, count, type, from, tag, comm, request);
}

/* ---- votes ----------------------------------------------------------------------------
 */

static int query(void *self, MPI_Status *status) {
  (void)self, (void)status;
  return MPI_SUCCESS;
}
static int release(void *self) {
  (void)self;
  return MPI_SUCCESS;
}
static int cancel(void *self, int complete) {
  (void)self, (void)complete;
  return MPI_SUCCESS;
}

/* Of one int, the largest of all ranks, in no time. SMPI's own lets each rank send to every
 * other one, 16 million messages for 4096 ranks; here the last rank that votes ends the
 * requests of all. */
int __wrap_MPI_Iallreduce(const void *mine, void *all, int count, MPI_Datatype type,
                          MPI_Op op, MPI_Comm comm, MPI_Request *request) {
  static MPI_Request waiting[SIMULATE_RANKS];
  static int *heard[SIMULATE_RANKS];
  static int voted, largest;
  const int vote = *(const int *)mine;
  int size, rank;
  if (count != 1 || type != MPI_INT || op != MPI_MAX)
    return MPI_ERR_UNSUPPORTED_OPERATION;
  (void)MPI_Comm_size(comm, &size);
  (void)MPI_Comm_rank(comm, &rank);
  if (voted == 0 || vote > largest)
    largest = vote;
  int code = MPI_Grequest_start(query, release, cancel, NULL, &waiting[rank]);
  *request = waiting[rank];
  heard[rank] = all;
  if (++voted < size)
    return code;
  const int result = largest;
  voted = 0; /* whoever hears of this vote may begin the next one at once */
  for (int i = 0; i < size && code == MPI_SUCCESS; i++) {
    *heard[i] = result;
    code = MPI_Grequest_complete(waiting[i]);
  }
  return code;
}

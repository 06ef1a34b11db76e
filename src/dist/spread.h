/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_DIST_SPREAD_H
#define NTK_DIST_SPREAD_H

#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

/* Bytes on their way from one rank to all ranks of a line, along a binomial tree of
 * non-blocking messages. Nobody waits while they travel; who is busy calls
 * ntk_spread_advance now and then, which hands on what has arrived. */

/* Ranks first, first + stride, ... of comm, `count` of them; I am the `mine`-th. */
typedef struct ntk_line {
  MPI_Comm comm;
  int first, stride, count, mine;
} ntk_line;

/* Messages count in units of this many bytes, so that 128 GiB are one. */
enum { NTK_SPREAD_UNIT = 64, NTK_SPREAD_MOST = 31 };

typedef struct ntk_spread {
  ntk_line line;
  int root, tag;
  char *buffer;
  int units;
  bool has_arrived;
  MPI_Request from;                /* what I wait for */
  MPI_Request to[NTK_SPREAD_MOST]; /* those to whom I hand on */
  int to_count;
  double begun, travelled, waited; /* seconds: at; until it arrived; of those, waited for */
} ntk_spread;

/* Purpose: begin. Called by all ranks of the line, those of one comm and tag in the same
 * order; returns at once.
 * root    position in the line where it enters.
 * source  rank of comm that has the bytes: the root itself, or one that is not of the line
 *         and sends them by ntk_spread_feed.
 * buffer  [bytes], a multiple of NTK_SPREAD_UNIT; borrowed until ntk_spread_end; there
 *         already where I am the source.
 * tag     other than that of any spread that one of these ranks has not ended. */
NTK_CHECKED ntk_status ntk_spread_begin(ntk_spread *spread, const ntk_line *line, int root,
                                        int source, int tag, void *buffer, int64_t bytes);
/* Purpose: the source's message to a root of another line; `request` is to be waited for.
 */
NTK_CHECKED ntk_status ntk_spread_feed(MPI_Comm comm, int to, int tag, const void *buffer,
                                       int64_t bytes, MPI_Request *request);
/* Hands on what has arrived, if it has. Local. Nothing for a zeroed or ended spread. */
NTK_CHECKED ntk_status ntk_spread_advance(ntk_spread *spread);
/* Waits until the bytes are here, and hands them on. */
NTK_CHECKED ntk_status ntk_spread_wait(ntk_spread *spread);
/* Waits until they are here and handed on: the buffer is the caller's again. */
NTK_CHECKED ntk_status ntk_spread_end(ntk_spread *spread);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_DIST_SHARED_H
#define NTK_DIST_SHARED_H

#include "base/context.h"
#include <stdbool.h>

/* A block of memory that all ranks of a node see and one of them writes (an MPI-3 shared
 * window): what all ranks need and none changes is held once per node. Ranks alone on their
 * node have plain memory, and so have all where the system lends too little to share, or
 * the block is small: each rank is then its own node. */
typedef struct ntk_shared {
  ntk_context *context; /* borrowed */
  char *data;           /* [bytes], aligned to 64; only the writer may write */
  int64_t bytes;
  bool is_writer;   /* the first rank of a node: rank 0 of the context is one */
  MPI_Comm writers; /* those of all nodes; MPI_COMM_NULL on other ranks */
  MPI_Comm node;
  MPI_Win window;  /* MPI_WIN_NULL: plain memory */
  void *plain;     /* owned */
  int ranks;       /* that share it */
  bool is_counted; /* of a window its part */
} ntk_shared;

/* Purpose: make one of `bytes` for parameters, not initialised. Collective over the
 * context; so is all below. NTK_ERR_MEMORY: beyond the cap, of which a shared block takes
 * each rank's part. */
NTK_CHECKED ntk_status ntk_shared_create(ntk_context *context, int64_t bytes,
                                         ntk_shared **out);
/* What the writers have written is there for the ranks of their nodes. status: of the
 * writing, agreed on. */
NTK_CHECKED ntk_status ntk_shared_publish(ntk_shared *shared, ntk_status status);
/* The same of a block that rank 0 alone has written: the other nodes get it from there. */
NTK_CHECKED ntk_status ntk_shared_spread(ntk_shared *shared, ntk_status status);
/* Bytes of it that each of so many ranks of a node counts, where they can share. Local. */
int64_t ntk_shared_part(const ntk_shared *shared, int ranks);
/* Frees it; NULL-safe. */
void ntk_shared_destroy(ntk_shared **shared);

#endif

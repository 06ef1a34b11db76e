/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_TURNS_H
#define NTK_NTK_TURNS_H

#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

/* A tile's rows, of which no task has fewer than `unit`, but for the last, nor more than
 * `most`. mirror: only columns up to a row's own number are work. */
typedef struct ntk_turns_tile {
  int64_t rows, columns, unit, most;
  bool mirror;
} ntk_turns_tile;

/* Row samples of tiles for threads to take turns at, so that all end together after as few
 * tasks as that needs: each task fetches all columns anew, which costs as much as some
 * rows. A thread takes what it can do until the time at which all would be done, by the
 * pace that each had of late; while paces are unknown, tasks shrink as in guided
 * scheduling. */
typedef struct ntk_turns {
  int64_t threads;
  double *until;       /* [threads] when its task will have ended */
  double *pace;        /* [threads] seconds that a pair of samples took of late */
  double late;         /* seconds after which the first thread joined the others, of late */
  ntk_turns_tile tile; /* in hand */
  int64_t left;        /* rows of it that nobody has taken */
} ntk_turns;

NTK_CHECKED ntk_status ntk_turns_create(int64_t threads, ntk_turns *out);
void ntk_turns_destroy(ntk_turns *turns);
/* now: seconds, here and below. */
void ntk_turns_begin(ntk_turns *turns, const ntk_turns_tile *tile, double now);
/* The first thread has done something else first, until now. */
void ntk_turns_join(ntk_turns *turns, double began, double now);
/* Samples of the next task of a thread, the last of those that are left; 0 where none is.
 * The caller sees to it that one thread at a time asks. */
int64_t ntk_turns_take(ntk_turns *turns, int64_t thread, double now);
/* The thread has taken n samples, the last of the first `end`, from `began` until now. */
void ntk_turns_taken(ntk_turns *turns, int64_t thread, int64_t end, int64_t n, double began,
                     double now);

#endif

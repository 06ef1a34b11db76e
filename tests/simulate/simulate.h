/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TESTS_SIMULATE_SIMULATE_H
#define NTK_TESTS_SIMULATE_SIMULATE_H

#include <stdint.h>

/* The loop of src/job and what it stands on, under SimGrid's SMPI: all ranks are one
 * process and share its static variables; never do two of them run at once. */
enum { SIMULATE_RANKS = 1 << 14 };

/* Purpose: make the memory in which all large blocks of all ranks lie on one another.
 * Called by every rank before it allocates; bytes: of the largest block. */
void simulate_memory_create(int64_t bytes);
/* Most bytes that a rank has had at once. */
int64_t simulate_memory_peak(int rank);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_DIST_BLACS_H
#define NTK_DIST_BLACS_H

#include "base/status.h"

/* A process grid of ScaLAPACK: the ranks of a communicator, row-major, those that are over
 * idle (my_row = my_column = -1; context -1). */
typedef struct ntk_blacs {
  int context; /* BLACS */
  int rows, columns, my_row, my_column;
  MPI_Comm comm; /* of the grid's ranks, row-major; MPI_COMM_NULL on idle ones */
} ntk_blacs;

/* Purpose: the grid rows x columns on the first ranks of comm. Collective over comm, which
 * is borrowed for the grid's life. NTK_ERR_ARGUMENT where there are fewer ranks. */
NTK_CHECKED ntk_status ntk_blacs_create(MPI_Comm comm, int rows, int columns,
                                        ntk_blacs *out);
/* The same with the grid of ntk_blacs_square. */
NTK_CHECKED ntk_status ntk_blacs_create_square(MPI_Comm comm, ntk_blacs *out);
/* The most square grid of at least nine tenths of so many ranks. Local. */
void ntk_blacs_square(int ranks, int *rows, int *columns);
void ntk_blacs_destroy(ntk_blacs *grid); /* collective; safe on zeros */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_TILES_H
#define NTK_SOLVE_TILES_H

#include "base/context.h"
#include "io/kernel_file.h"

/* A symmetric kernel as an operator. Its tiles are dealt to the ranks, each pair once;
 * those that find room stay in memory in the file's type, the others are read at each use.
 */
typedef struct ntk_tiles {
  ntk_context *context;
  const ntk_kernel_file *file; /* borrowed */
  int64_t plane, size;         /* matrix of a diagonal kernel; rows */
  int64_t mine, kept;          /* tiles of this rank; of them in memory */
  int64_t columns;             /* most of a product */
  char *values;                /* of those kept, one behind the other */
  double *tile, *in, *out;     /* one tile; its parts of the vectors */
  double frobenius, trace;     /* |K| and trace */
} ntk_tiles;

/* Purpose: matrix `plane` (0 but for diagonal kernels) for products with up to `columns`
 * vectors; every tile is read once. room_bytes: of a rank, for tiles that are kept.
 * Collective. The file is symmetric and complete. Errors: NTK_ERR_NONFINITE names the tile;
 * NTK_ERR_HDF5, NTK_ERR_MEMORY. */
NTK_CHECKED ntk_status ntk_tiles_create(ntk_context *context, const ntk_kernel_file *file,
                                        int64_t plane, int64_t columns, int64_t room_bytes,
                                        ntk_tiles *out);
void ntk_tiles_destroy(ntk_tiles *tiles); /* local, safe on zeros */

/* Half of what a rank may still take: for tiles that are kept. Local. */
int64_t ntk_tiles_room(const ntk_context *context);

/* Purpose: y = K x; both [columns, size], whole on all ranks. Collective. Cost: 2 size^2
 * columns flops, and the sum of y over the ranks. */
NTK_CHECKED ntk_status ntk_tiles_multiply(ntk_tiles *tiles, int64_t columns,
                                          const double *x, double *y);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_DIST_CYCLIC_H
#define NTK_DIST_CYCLIC_H

#include "base/context.h"
#include "tensor/tensor.h"

/* A caller's matrix as ScaLAPACK has it, block-cyclic and column-major, into which any rank
 * puts any elements by one-sided messages. */
typedef struct ntk_cyclic ntk_cyclic;

/* Where this process stands in the grid of a BLACS context; rows, columns, row and column
 * are -1 outside it. */
typedef struct ntk_process {
  int rows, columns, row, column;
} ntk_process;
/* Local. */
ntk_process ntk_blacs_process(int blacs_context);

/* Purpose: open the matrix. Collective over the context.
 * desc     ScaLAPACK's descriptor, without its BLACS context, in place of which stands
 * process  on ranks outside the grid nothing else is looked at.
 * local    [columns here][LLD] elements of dtype, NTK_F64 or NTK_F32; borrowed.
 * rows, columns            what the matrix must have.
 * most_rows, most_columns  of one ntk_cyclic_put.
 * Errors: NTK_ERR_ARGUMENT names what is wrong with the descriptor. */
NTK_CHECKED ntk_status ntk_cyclic_create(ntk_context *context, const int desc[9],
                                         ntk_process process, ntk_dtype dtype, void *local,
                                         int64_t rows, int64_t columns, int64_t most_rows,
                                         int64_t most_columns, ntk_cyclic **out);
/* Puts values [row_count, column_count], row-major, of type `from`, at the crossings of
 * rows and columns of the whole matrix, each list ascending. Local; the values may go as it
 * returns. */
NTK_CHECKED ntk_status ntk_cyclic_put(ntk_cyclic *matrix, int64_t row_count,
                                      const int64_t *rows, int64_t column_count,
                                      const int64_t *columns, ntk_dtype from,
                                      const void *values);
/* What was put is there, on all ranks, when all have closed it. Collective, NULL-safe. */
NTK_CHECKED ntk_status ntk_cyclic_close(ntk_cyclic **matrix);

#endif

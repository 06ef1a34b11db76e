/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_MATRIX_H
#define NTK_SOLVE_MATRIX_H

#include "base/context.h"
#include "dist/blacs.h"
#include "io/kernel_file.h"

/* A matrix of f64 in ScaLAPACK's block-cyclic layout, column-major, on a grid that outlives
 * it. Idle ranks hold nothing and call all the same. */
typedef struct ntk_matrix {
  const ntk_blacs *grid; /* borrowed */
  int desc[9];           /* ScaLAPACK's descriptor */
  int rows, columns, nb; /* blocks nb x nb from rank (0, 0) on */
  int local_rows, local_columns;
  double *values; /* [local_columns][local_rows], leading dimension desc[8] */
} ntk_matrix;

/* Purpose: zeros. Collective over the context, on whose ranks the grid is.
 * NTK_ERR_MEMORY says how many ranks would do; NTK_ERR_ARGUMENT: sizes beyond ScaLAPACK's
 * integers. */
NTK_CHECKED ntk_status ntk_matrix_create(ntk_context *context, const ntk_blacs *grid,
                                         int64_t rows, int64_t columns, int nb,
                                         ntk_matrix *out);
void ntk_matrix_destroy(ntk_matrix *matrix); /* local, safe on zeros */

/* The most bytes that a rank of a square grid of so many has of a matrix. Local. */
int64_t ntk_matrix_part_bytes(int64_t rows, int64_t columns, int nb, int ranks);

/* Global index of a local row or column. */
int ntk_matrix_row(const ntk_matrix *matrix, int local);
int ntk_matrix_column(const ntk_matrix *matrix, int local);

/* Purpose: the kernel (matrix `plane` of a diagonal one) into [per_sample N1, per_sample
 * N2]; row n * O + o. Each tile is read once, by one rank, and sent on in rounds: no rank
 * has more of it than its part, a tile and what is under way. Of a symmetric kernel both
 * triangles are filled, each pair of tiles read once. Collective over the context.
 * Errors: NTK_ERR_FILE, NTK_ERR_HDF5, NTK_ERR_NONFINITE (names the sample),
 * NTK_ERR_MEMORY. */
NTK_CHECKED ntk_status ntk_matrix_read(ntk_context *context, const ntk_kernel_file *file,
                                       int64_t plane, ntk_matrix *matrix);
/* Bytes that it takes of each of so many ranks meanwhile. Local. */
int64_t ntk_matrix_read_bytes(const ntk_kernel_facts *facts, int ranks);

/* Purpose: element (i, j) of the matrix is set to values[i * columns + j] (local), or what
 * stands there to `values` (collective), which all ranks have whole: for sides of few
 * columns. */
void ntk_matrix_set(ntk_matrix *matrix, const double *values);
NTK_CHECKED ntk_status ntk_matrix_get(ntk_context *context, const ntk_matrix *matrix,
                                      double *values);

/* Sums of all ranks, on all ranks, of any number. Collective. */
NTK_CHECKED ntk_status ntk_matrix_add_ranks(ntk_context *context, double *values,
                                            int64_t n);

/* The diagonal, on all ranks. Collective. */
NTK_CHECKED ntk_status ntk_matrix_get_diagonal(ntk_context *context,
                                               const ntk_matrix *matrix, double *values);
/* Sets it to values[i] + shift. Local. */
void ntk_matrix_set_diagonal(ntk_matrix *matrix, const double *values, double shift);
/* The most of the sums of absolute values of a column, on all ranks. Collective. */
NTK_CHECKED ntk_status ntk_matrix_norm1(ntk_context *context, const ntk_matrix *matrix,
                                        double *norm);
/* Of a square matrix the lower triangle, without the diagonal, becomes the transpose of the
 * upper one. Local calls of the ranks of the grid. */
void ntk_matrix_mirror(ntk_matrix *matrix);

#endif

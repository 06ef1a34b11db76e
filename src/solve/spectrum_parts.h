/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_SPECTRUM_PARTS_H
#define NTK_SOLVE_SPECTRUM_PARTS_H

#include "solve/matrix.h"

/* The parts of a spectrum. Private to src/solve. */

/* ---- all eigenvalues (spectrum_dense.c) ------------------------------------------------
 */

/* The library that finds them. */
typedef enum ntk_eigensolver {
  NTK_EIGENSOLVER_SCALAPACK,
  NTK_EIGENSOLVER_ELPA
} ntk_eigensolver;
const char *ntk_eigensolver_name(ntk_eigensolver solver);

/* Purpose: the one for a matrix of n rows in blocks of nb on a square grid of so many
 * ranks: `asked`, as --eigensolver has it; auto: ELPA for vectors, where it can. Local.
 * NTK_ERR_ARGUMENT: the build has no ELPA, or a rank of the grid would have nothing of the
 * matrix. */
NTK_CHECKED ntk_status ntk_eigensolver_choose(const char *asked, int64_t n, int nb,
                                              int ranks, bool vectors,
                                              ntk_eigensolver *out);

/* Numbers of f64 that ScaLAPACK wants as work space on a rank that has local_rows x
 * local_columns of a matrix of n rows in blocks of nb, on a grid of so many columns; and
 * integers. Local. */
typedef struct ntk_dense_room {
  int64_t reals, integers;
} ntk_dense_room;
ntk_dense_room ntk_dense_work(int64_t n, int nb, int64_t local_rows, int64_t local_columns,
                              int grid_columns, bool vectors);

/* Purpose: the eigenvalues of a symmetric matrix, of which both triangles are given,
 * rising, on all ranks; with vectors (not NULL), into which they come as columns: as the
 * caller has created it, n x n. The matrix is used up. Collective. Errors: NTK_ERR_MEMORY
 * and NTK_ERR_ARGUMENT say how many ranks would do; NTK_ERR_NUMERICAL. */
NTK_CHECKED ntk_status ntk_dense_decompose(ntk_context *context, ntk_eigensolver solver,
                                           const ntk_matrix *matrix, double *values,
                                           ntk_matrix *vectors);
/* Purpose: the n eigenvalues of a matrix of the kernel, rising, on all ranks; with vectors
 * (not NULL), into which they come as columns: as the caller has created it, n x n. Two
 * matrices are held, without vectors one. Collective. Errors: those of ntk_matrix_read;
 * NTK_ERR_MEMORY and NTK_ERR_ARGUMENT say how many ranks would do; NTK_ERR_NUMERICAL. */
NTK_CHECKED ntk_status ntk_dense_eigen(ntk_context *context, ntk_eigensolver solver,
                                       const ntk_kernel_file *file, int64_t plane,
                                       const ntk_blacs *grid, int nb, double *values,
                                       ntk_matrix *vectors);
/* Purpose: columns first .. first + count of a matrix, [count, rows], on rank 0. All ranks
 * give room for them. Collective. */
NTK_CHECKED ntk_status ntk_dense_gather(ntk_context *context, const ntk_matrix *matrix,
                                        int64_t first, int64_t count, double *columns);

/* ---- ELPA (spectrum_elpa.c) ------------------------------------------------------------
 */

/* Has the build found it? Local. */
bool ntk_elpa_is_there(void);
/* As ntk_dense_decompose; each rank of the grid has a part of the matrix. Errors:
 * NTK_ERR_NUMERICAL. */
NTK_CHECKED ntk_status ntk_elpa_decompose(ntk_context *context, const ntk_matrix *matrix,
                                          double *values, ntk_matrix *vectors);

/* ---- labels (spectrum_labels.c) --------------------------------------------------------
 */

/* The labels as vectors that the kernel's matrices may be multiplied with: of classes
 * one-hot minus 1/O, of targets themselves. */
typedef struct ntk_label_vectors {
  int64_t count, size; /* of a full kernel one vector; of a diagonal one those of a plane */
  double *values;      /* [count, size] */
  double square;       /* of all of them */
  int64_t copies;      /* the kernel stands for K x I_copies */
} ntk_label_vectors;

/* Purpose: those of matrix `plane`; count 0 where the file has no labels, or none that fit
 * its outputs. Local. NTK_ERR_HDF5, NTK_ERR_MEMORY. */
NTK_CHECKED ntk_status ntk_labels_read(const ntk_kernel_file *file, int64_t plane,
                                       ntk_label_vectors *out);
void ntk_labels_clear(ntk_label_vectors *labels);

#endif

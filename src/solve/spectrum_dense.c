/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "dist/grid.h"
#include "solve/lapack.h"
#include "solve/scalapack.h"
#include "solve/spectrum_parts.h"
#include <inttypes.h>
#include <limits.h>
#include <string.h>

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* As the comments of pdsytrd and pdsyevd have it, counted with 64 bits: theirs overflow
 * from 32,767 rows on a rank on. */
ntk_dense_room ntk_dense_work(int64_t n, int nb, int64_t local_rows, int64_t local_columns,
                              int grid_columns, bool vectors) {
  const int64_t reduction = most(nb * (local_rows + 1), 3 * (int64_t)nb);
  if (!vectors)
    return (ntk_dense_room){.reals = reduction};
  const int64_t conquer = 1 + 6 * n + 2 * local_rows * local_columns;
  /* pdsyevd leaves too little to pdormtr where blocks are large, which it does not tell */
  const int64_t back = 4 * n + (local_rows + local_columns + 4 * (int64_t)nb) * nb;
  return (ntk_dense_room){.reals = most(most(conquer, 3 * n + reduction), back) + 2 * n,
                          .integers = 7 * n + 8 * (int64_t)grid_columns + 2};
}

/* Whole matrices that ELPA takes as work space, by its source. */
static const double elpa_matrices = 2;

const char *ntk_eigensolver_name(ntk_eigensolver solver) {
  return solver == NTK_EIGENSOLVER_ELPA ? "ELPA" : "ScaLAPACK";
}

ntk_status ntk_eigensolver_choose(const char *asked, int64_t n, int nb, int ranks,
                                  bool vectors, ntk_eigensolver *out) {
  ntk_status status = NTK_SUCCESS;
  const bool elpa = strcmp(asked, "elpa") == 0, is_there = ntk_elpa_is_there();
  int rows, columns;
  ntk_blacs_square(ranks, &rows, &columns);
  const bool fits = n >= (int64_t)nb * most(rows, columns);
  NTK_REQUIRE(
      !elpa || is_there, NTK_ERR_ARGUMENT,
      "--eigensolver elpa: this build has no ELPA; install libelpa-dev and build again, "
      "or leave the option out");
  NTK_REQUIRE(!elpa || fits, NTK_ERR_ARGUMENT,
              "--eigensolver elpa: %" PRId64
              " rows in blocks of %d leave ranks of the grid of %d "
              "x %d without any; take fewer ranks or a smaller --nb",
              n, nb, rows, columns);
  const bool better = is_there && fits && vectors && strcmp(asked, "auto") == 0;
  *out = elpa || better ? NTK_EIGENSOLVER_ELPA : NTK_EIGENSOLVER_SCALAPACK;
done:
  return status;
}

typedef struct dense {
  ntk_context *context;
  ntk_eigensolver solver;
  const ntk_blacs *grid;
  const ntk_matrix *matrix;
  ntk_dense_room room;
  double *work;
  int *integers;
} dense;

/* ---- memory ---------------------------------------------------------------------------
 */

/* More ranks, on whose square grid the sizes stay below `limit` numbers. */
static int ranks_for(const dense *d, double limit, bool vectors) {
  const ntk_matrix *m = d->matrix;
  const bool elpa = d->solver == NTK_EIGENSOLVER_ELPA;
  const double given = vectors ? 2 : 1;
  const double matrices = given + (elpa ? elpa_matrices : vectors ? 2 : 0);
  int ranks = d->grid->rows * d->grid->columns + 1;
  for (; ranks < INT_MAX / 2; ranks += ranks / 8 + 1) {
    const int64_t part = ntk_matrix_part_bytes(m->rows, m->rows, m->nb, ranks) / 8;
    if ((double)part * matrices + (vectors ? 11 : m->nb) * (double)m->rows < limit)
      break;
  }
  return ranks;
}

static ntk_status check_room(const dense *d, double bytes, bool vectors) {
  if (bytes <= (double)ntk_memory_room())
    return NTK_SUCCESS;
  const int64_t all = ntk_memory_room() + ntk_memory_used(NTK_MEMORY_TILES);
  return ntk_fail(
      NTK_ERR_MEMORY,
      "the work space of %s, %.3g GiB on a rank, does not fit under the cap; %d "
      "ranks would do, or a larger --memory",
      ntk_eigensolver_name(d->solver), bytes / 1073741824.0,
      ranks_for(d, (double)all / 8, vectors));
}

/* ELPA takes its work space from the system. */
static ntk_status check_elpa(const dense *d, bool vectors) {
  const double local = (double)d->matrix->local_rows * d->matrix->local_columns;
  return check_room(d, 8 * elpa_matrices * local, vectors);
}

static ntk_status allocate(dense *d, bool vectors) {
  ntk_status status = NTK_SUCCESS;
  const ntk_matrix *m = d->matrix;
  d->room = ntk_dense_work(m->rows, m->nb, m->local_rows, m->local_columns,
                           d->grid->columns, vectors);
  if (d->room.reals > INT_MAX)
    return ntk_fail(NTK_ERR_ARGUMENT,
                    "ScaLAPACK counts its work space to 2^31: the eigenvectors of %d rows "
                    "need more than %d ranks; %d will do",
                    m->rows, d->grid->rows * d->grid->columns,
                    ranks_for(d, 2.0 * INT_MAX, vectors));
  NTK_TRY(check_room(d, 8 * (double)d->room.reals + 4 * (double)d->room.integers, vectors));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, d->room.reals, sizeof *d->work, &d->work));
  NTK_TRY(
      ntk_malloc(NTK_MEMORY_TILES, d->room.integers, sizeof *d->integers, &d->integers));
done:
  return status;
}

/* ---- values alone ---------------------------------------------------------------------
 */

/* The diagonal and the one below of the matrix, of all ranks' parts. */
static ntk_status take_tridiagonal(dense *d, double *diagonal, double *below) {
  ntk_status status = NTK_SUCCESS;
  const ntk_matrix *m = d->matrix;
  memset(diagonal, 0, (size_t)m->rows * sizeof *diagonal);
  memset(below, 0, (size_t)m->rows * sizeof *below);
  for (int j = 0; j < m->local_columns; j++) {
    const int column = ntk_matrix_column(m, j);
    const double *values = m->values + (int64_t)j * m->desc[8];
    for (int i = 0; i < m->local_rows; i++) {
      const int row = ntk_matrix_row(m, i);
      if (row == column)
        diagonal[column] = values[i];
      else if (row == column + 1)
        below[column] = values[i];
    }
  }
  NTK_TRY(ntk_reduce(diagonal, m->rows, MPI_SUM, d->context->comm));
  NTK_TRY(ntk_reduce(below, m->rows, MPI_SUM, d->context->comm));
done:
  return status;
}

/* Room for what pdsytrd gives by columns. */
static ntk_status reduce_matrix(dense *d, double *by_columns) {
  const ntk_matrix *m = d->matrix;
  const int one = 1, lwork = (int)d->room.reals;
  const int64_t step = m->local_columns + 1;
  int info = 0;
  if (d->grid->my_row >= 0)
    pdsytrd_("L", &m->rows, m->values, &one, &one, m->desc, by_columns, by_columns + step,
             by_columns + 2 * step, d->work, &lwork, &info, 1);
  return ntk_scalapack_agree(d->context->comm, "pdsytrd", &info);
}

static ntk_status solve_tridiagonal(dense *d, double *values, double *below) {
  ntk_status status = NTK_SUCCESS;
  const int n = d->matrix->rows;
  int info = 0;
  if (d->context->rank == 0)
    dsterf_(&n, values, below, &info);
  NTK_TRY_MPI(MPI_Bcast(&info, 1, MPI_INT, 0, d->context->comm));
  NTK_REQUIRE(info == 0, NTK_ERR_NUMERICAL, "dsterf has not found %d eigenvalues", info);
  NTK_TRY(ntk_bcast(values, (int64_t)n * 8, 0, d->context->comm));
done:
  return status;
}

static ntk_status find_values(dense *d, double *values) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n = d->matrix->rows, columns = d->matrix->local_columns + 1;
  double *room = NULL;
  NTK_TRY(ntk_agree(d->context->comm,
                    ntk_malloc(NTK_MEMORY_GENERAL, 3 * columns + n, sizeof *room, &room)));
  NTK_TRY(reduce_matrix(d, room));
  NTK_TRY(take_tridiagonal(d, values, room + 3 * columns));
  NTK_TRY(solve_tridiagonal(d, values, room + 3 * columns));
done:
  ntk_free(&room);
  return status;
}

/* ---- with vectors ---------------------------------------------------------------------
 */

static ntk_status find_vectors(dense *d, double *values, ntk_matrix *vectors) {
  ntk_status status = NTK_SUCCESS;
  const ntk_matrix *m = d->matrix;
  const int one = 1, lwork = (int)d->room.reals, liwork = (int)d->room.integers;
  int info = 0;
  if (d->grid->my_row >= 0)
    pdsyevd_("V", "L", &m->rows, m->values, &one, &one, m->desc, values, vectors->values,
             &one, &one, vectors->desc, d->work, &lwork, d->integers, &liwork, &info, 1, 1);
  NTK_TRY(ntk_scalapack_agree(d->context->comm, "pdsyevd", &info));
  NTK_REQUIRE(info == 0, NTK_ERR_NUMERICAL, "pdsyevd has not found eigenvalue %d", info);
  NTK_TRY(ntk_bcast(values, (int64_t)m->rows * 8, 0, d->context->comm));
done:
  return status;
}

ntk_status ntk_dense_gather(ntk_context *context, const ntk_matrix *m, int64_t first,
                            int64_t count, double *columns) {
  ntk_status status = NTK_SUCCESS;
  memset(columns, 0, (size_t)(count * m->rows) * sizeof *columns);
  for (int j = 0; j < m->local_columns; j++) {
    const int64_t at = ntk_matrix_column(m, j) - first;
    const double *values = m->values + (int64_t)j * m->desc[8];
    for (int i = 0; at >= 0 && at < count && i < m->local_rows; i++)
      columns[at * m->rows + ntk_matrix_row(m, i)] = values[i];
  }
  for (int64_t k = 0; k < count; k++)
    NTK_TRY_MPI(MPI_Reduce(context->rank == 0 ? MPI_IN_PLACE : columns + k * m->rows,
                           columns + k * m->rows, m->rows, MPI_DOUBLE, MPI_SUM, 0,
                           context->comm));
done:
  return status;
}

static ntk_status use_scalapack(dense *d, double *values, ntk_matrix *vectors) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_agree(d->context->comm, allocate(d, vectors != NULL)));
  NTK_TRY(vectors ? find_vectors(d, values, vectors) : find_values(d, values));
done:
  ntk_free(&d->work);
  ntk_free(&d->integers);
  return status;
}

ntk_status ntk_dense_decompose(ntk_context *context, ntk_eigensolver solver,
                               const ntk_matrix *matrix, double *values,
                               ntk_matrix *vectors) {
  ntk_status status = NTK_SUCCESS;
  dense d = {.context = context, .solver = solver, .grid = matrix->grid, .matrix = matrix};
  if (solver == NTK_EIGENSOLVER_SCALAPACK)
    return use_scalapack(&d, values, vectors);
  NTK_TRY(ntk_agree(context->comm, check_elpa(&d, vectors != NULL)));
  NTK_TRY(ntk_elpa_decompose(context, matrix, values, vectors));
done:
  return status;
}

ntk_status ntk_dense_eigen(ntk_context *context, ntk_eigensolver solver,
                           const ntk_kernel_file *file, int64_t plane,
                           const ntk_blacs *grid, int nb, double *values,
                           ntk_matrix *vectors) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = ntk_kernel_get_facts(file);
  const int64_t n = k->rows * k->per_sample;
  ntk_matrix matrix = {0};
  NTK_TRY(ntk_matrix_create(context, grid, n, n, nb, &matrix));
  NTK_TRY(ntk_matrix_read(context, file, plane, &matrix));
  NTK_TRY(ntk_dense_decompose(context, solver, &matrix, values, vectors));
done:
  ntk_matrix_destroy(&matrix);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "solve/matrix.h"
#include "base/memory.h"
#include "solve/scalapack.h"
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- layout ---------------------------------------------------------------------------
 */

/* Of n rows dealt in blocks to `count` grid rows, those of number `mine`. */
static int64_t dealt(int64_t n, int nb, int mine, int count) {
  const int64_t blocks = n / nb, full = mine < 0 ? 0 : blocks / count;
  const int64_t more = blocks % count;
  if (mine < 0)
    return 0;
  return full * nb + (mine < more ? nb : mine == more ? n % nb : 0);
}

static int global_of(int local, int nb, int mine, int count) {
  return (local / nb * count + mine) * nb + local % nb;
}

int ntk_matrix_row(const ntk_matrix *m, int local) {
  return global_of(local, m->nb, m->grid->my_row, m->grid->rows);
}

int ntk_matrix_column(const ntk_matrix *m, int local) {
  return global_of(local, m->nb, m->grid->my_column, m->grid->columns);
}

int64_t ntk_matrix_part_bytes(int64_t rows, int64_t columns, int nb, int ranks) {
  int grid_rows, grid_columns;
  ntk_blacs_square(ranks, &grid_rows, &grid_columns);
  const double bytes = 8 * (double)dealt(rows, nb, 0, grid_rows) *
                       (double)dealt(columns, nb, 0, grid_columns);
  return bytes < 0x1p62 ? (int64_t)bytes : INT64_MAX / 2;
}

/* How many ranks would have the room that this one has. */
static ntk_status fail_memory(const ntk_matrix *m) {
  const int64_t room = ntk_memory_room();
  const int here = m->grid->rows * m->grid->columns;
  int ranks = here;
  while (ranks < INT_MAX / 2 &&
         ntk_matrix_part_bytes(m->rows, m->columns, m->nb, ranks) > room)
    ranks += ranks / 8 + 1;
  return ntk_fail(NTK_ERR_MEMORY,
                  "a matrix of %d x %d takes %" PRId64 "M of each of %d ranks, and %" PRId64
                  "M are left under the cap; %d ranks would do, or a larger --memory",
                  m->rows, m->columns,
                  ntk_matrix_part_bytes(m->rows, m->columns, m->nb, here) >> 20, here,
                  room >> 20, ranks);
}

static ntk_status allocate(const ntk_blacs *grid, ntk_matrix *m) {
  ntk_status status = NTK_SUCCESS;
  const int64_t rows = dealt(m->rows, m->nb, grid->my_row, grid->rows);
  const int64_t columns = dealt(m->columns, m->nb, grid->my_column, grid->columns);
  const double size = (double)rows * (double)columns;
  NTK_REQUIRE(size < INT_MAX, NTK_ERR_ARGUMENT,
              "ScaLAPACK counts to 2^31: a matrix of %d x %d needs more than %d ranks",
              m->rows, m->columns, grid->rows * grid->columns);
  m->local_rows = (int)rows;
  m->local_columns = (int)columns;
  m->desc[8] = rows > 0 ? (int)rows : 1;
  if (size * 8 > (double)ntk_memory_room())
    return fail_memory(m);
  NTK_TRY(ntk_calloc(NTK_MEMORY_TILES, rows * columns, sizeof *m->values, &m->values));
done:
  return status;
}

ntk_status ntk_matrix_create(ntk_context *context, const ntk_blacs *grid, int64_t rows,
                             int64_t columns, int nb, ntk_matrix *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_matrix m = {.grid = grid, .nb = nb};
  NTK_REQUIRE(rows > 0 && columns > 0 && rows < INT_MAX - nb && columns < INT_MAX - nb,
              NTK_ERR_ARGUMENT,
              "ScaLAPACK counts to 2^31: a matrix of %" PRId64 " x %" PRId64
              " is too large, or empty",
              rows, columns);
  m.rows = (int)rows;
  m.columns = (int)columns;
  const int desc[9] = {1, grid->context, m.rows, m.columns, nb, nb, 0, 0, 1};
  memcpy(m.desc, desc, sizeof desc);
  NTK_TRY(ntk_agree(context->comm, allocate(grid, &m)));
  *out = m;
  m.values = NULL;
done:
  ntk_free(&m.values);
  return status;
}

void ntk_matrix_destroy(ntk_matrix *matrix) {
  ntk_free(&matrix->values);
  *matrix = (ntk_matrix){0};
}

static double *column_of(const ntk_matrix *m, int local) {
  return m->values + (int64_t)local * m->desc[8];
}

void ntk_matrix_set(ntk_matrix *m, const double *values) {
  for (int j = 0; j < m->local_columns; j++) {
    const int64_t column = ntk_matrix_column(m, j);
    for (int i = 0; i < m->local_rows; i++)
      column_of(m, j)[i] = values[(int64_t)ntk_matrix_row(m, i) * m->columns + column];
  }
}

ntk_status ntk_matrix_add_ranks(ntk_context *context, double *values, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  const int64_t piece = (int64_t)1 << 26;
  for (int64_t i = 0; i < n; i += piece)
    NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, values + i, (int)least(piece, n - i),
                              MPI_DOUBLE, MPI_SUM, context->comm));
done:
  return status;
}

ntk_status ntk_matrix_get(ntk_context *context, const ntk_matrix *m, double *values) {
  const int64_t n = (int64_t)m->rows * m->columns;
  memset(values, 0, (size_t)n * sizeof *values);
  for (int j = 0; j < m->local_columns; j++) {
    const int64_t column = ntk_matrix_column(m, j);
    for (int i = 0; i < m->local_rows; i++)
      values[(int64_t)ntk_matrix_row(m, i) * m->columns + column] = column_of(m, j)[i];
  }
  return ntk_matrix_add_ranks(context, values, n);
}

/* The local place of element (i, i) of local column j; NULL on other ranks. */
static double *diagonal_of(const ntk_matrix *m, int j) {
  const int i = ntk_matrix_column(m, j), block = i / m->nb;
  if (i >= m->rows || block % m->grid->rows != m->grid->my_row)
    return NULL;
  const int64_t row = (int64_t)(block / m->grid->rows) * m->nb + i % m->nb;
  return column_of(m, j) + row;
}

ntk_status ntk_matrix_get_diagonal(ntk_context *context, const ntk_matrix *m,
                                   double *values) {
  const int64_t n = least(m->rows, m->columns);
  memset(values, 0, (size_t)n * sizeof *values);
  for (int j = 0; j < m->local_columns; j++) {
    const double *value = diagonal_of(m, j);
    if (value)
      values[ntk_matrix_column(m, j)] = *value;
  }
  return ntk_matrix_add_ranks(context, values, n);
}

void ntk_matrix_set_diagonal(ntk_matrix *m, const double *values, double shift) {
  for (int j = 0; j < m->local_columns; j++) {
    double *place = diagonal_of(m, j);
    if (place)
      *place = values[ntk_matrix_column(m, j)] + shift;
  }
}

ntk_status ntk_matrix_norm1(ntk_context *context, const ntk_matrix *m, double *norm) {
  ntk_status status = NTK_SUCCESS;
  double *sums = NULL;
  *norm = 0;
  NTK_TRY(ntk_agree(context->comm,
                    ntk_calloc(NTK_MEMORY_GENERAL, m->columns, sizeof *sums, &sums)));
  for (int j = 0; j < m->local_columns; j++)
    for (int i = 0; i < m->local_rows; i++)
      sums[ntk_matrix_column(m, j)] += fabs(column_of(m, j)[i]);
  NTK_TRY(ntk_matrix_add_ranks(context, sums, m->columns));
  for (int j = 0; j < m->columns; j++)
    *norm = sums[j] > *norm ? sums[j] : *norm;
done:
  ntk_free(&sums);
  return status;
}

/* The blocks on the diagonal, each on one rank. */
static void mirror_blocks(ntk_matrix *m) {
  const int64_t ld = m->desc[8];
  for (int j = 0; j < m->local_columns; j += m->nb) {
    double *corner = diagonal_of(m, j);
    const int side = (int)least(m->nb, m->local_columns - j);
    for (int b = 0; corner && b < side; b++)
      for (int a = b + 1; a < side; a++)
        corner[a + b * ld] = corner[b + a * ld];
  }
}

void ntk_matrix_mirror(ntk_matrix *m) {
  const double one = 1, zero = 0;
  if (m->grid->my_row < 0)
    return;
  mirror_blocks(m);
  for (int j = 0; j + m->nb < m->rows; j += m->nb) {
    const int below = j + m->nb + 1, here = j + 1, rest = m->rows - j - m->nb;
    pdtran_(&rest, &m->nb, &one, m->values, &here, &below, m->desc, &zero, m->values,
            &below, &here, m->desc);
  }
}

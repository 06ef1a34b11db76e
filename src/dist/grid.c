/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/grid.h"

bool ntk_pair_is_computed(int64_t I, int64_t J, int64_t n) {
  const int64_t d = ((I - J) % n + n) % n;
  return 2 * d < n || (2 * d == n && I < J);
}

/* Pairs of one rank of the grid. */
static int64_t pairs_of(int row, int column, int rows, int columns, int64_t n1, int64_t n2,
                        bool symmetric) {
  int64_t pairs = 0;
  if (!symmetric) {
    const int64_t mine1 = row < n1 ? (n1 - row + rows - 1) / rows : 0;
    const int64_t mine2 = column < n2 ? (n2 - column + columns - 1) / columns : 0;
    return mine1 * mine2;
  }
  for (int64_t I = row; I < n1; I += rows)
    for (int64_t J = column; J < n2; J += columns)
      pairs += ntk_pair_is_computed(I, J, n1);
  return pairs;
}

int64_t ntk_grid_max_pairs(int rows, int columns, int64_t n1, int64_t n2, bool symmetric) {
  int64_t most = 0;
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) {
      const int64_t pairs = pairs_of(r, c, rows, columns, n1, n2, symmetric);
      if (pairs > most)
        most = pairs;
    }
  return most;
}

void ntk_grid_choose(int size, int64_t n1, int64_t n2, bool symmetric, int *rows,
                     int *columns) {
  int64_t least = -1;
  for (int r = 1; r <= size; r++) {
    const int c = size / r;
    const int64_t most = ntk_grid_max_pairs(r, c, n1, n2, symmetric);
    if (least < 0 || most < least || (most == least && r + c < *rows + *columns)) {
      least = most;
      *rows = r;
      *columns = c;
    }
  }
}

ntk_status ntk_grid_create(MPI_Comm comm, int rows, int columns, ntk_grid *out) {
  ntk_status status = NTK_SUCCESS;
  int rank, size;
  ntk_grid grid = {.comm = comm,
                   .row = MPI_COMM_NULL,
                   .column = MPI_COMM_NULL,
                   .rows = rows,
                   .columns = columns,
                   .my_row = -1,
                   .my_column = -1};
  NTK_TRY_MPI(MPI_Comm_rank(comm, &rank));
  NTK_TRY_MPI(MPI_Comm_size(comm, &size));
  NTK_REQUIRE(rows > 0 && columns > 0 && rows <= size / columns, NTK_ERR_ARGUMENT,
              "--grid: %dx%d needs %lld ranks, there are %d", rows, columns,
              (long long)rows * columns, size);
  const bool idle = rank >= rows * columns;
  if (!idle) {
    grid.my_row = rank / columns;
    grid.my_column = rank % columns;
  }
  NTK_TRY_MPI(MPI_Comm_split(comm, idle ? MPI_UNDEFINED : grid.my_row, rank, &grid.row));
  NTK_TRY_MPI(
      MPI_Comm_split(comm, idle ? MPI_UNDEFINED : grid.my_column, rank, &grid.column));
  *out = grid;
done:
  if (status != NTK_SUCCESS)
    ntk_grid_destroy(&grid);
  return status;
}

void ntk_grid_destroy(ntk_grid *grid) {
  if (grid->row != MPI_COMM_NULL)
    (void)MPI_Comm_free(&grid->row);
  if (grid->column != MPI_COMM_NULL)
    (void)MPI_Comm_free(&grid->column);
}

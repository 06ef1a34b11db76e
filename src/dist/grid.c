/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/grid.h"

bool ntk_pair_is_computed(int64_t I, int64_t J, int64_t n) {
  const int64_t d = ((I - J) % n + n) % n;
  return 2 * d < n || (2 * d == n && I < J);
}

int64_t ntk_grid_dealt(int64_t n, int64_t mine, int64_t count) {
  return mine >= 0 && n > mine ? (n - mine + count - 1) / count : 0;
}

/* Pairs of one rank of the grid, x2 = x1: for each I the J of I - half .. I, cyclically. */
static int64_t symmetric_pairs(int row, int column, int rows, int columns, int64_t n) {
  const int64_t half = (n - 1) / 2;
  int64_t pairs = 0;
  for (int64_t I = row; I < n; I += rows) {
    const int64_t first = I > half ? I - half : 0, wrapped = I < half ? half - I : 0;
    pairs +=
        ntk_grid_dealt(I + 1, column, columns) - ntk_grid_dealt(first, column, columns);
    pairs +=
        ntk_grid_dealt(n, column, columns) - ntk_grid_dealt(n - wrapped, column, columns);
    if (n % 2 == 0 && I < n / 2)
      pairs += (I + n / 2) % columns == column;
  }
  return pairs;
}

int64_t ntk_grid_max_pairs(int rows, int columns, int64_t n1, int64_t n2, bool symmetric) {
  int64_t most = 0;
  if (!symmetric)
    return ntk_grid_dealt(n1, 0, rows) * ntk_grid_dealt(n2, 0, columns);
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) {
      const int64_t pairs = symmetric_pairs(r, c, rows, columns, n1);
      if (pairs > most)
        most = pairs;
    }
  return most;
}

void ntk_grid_choose(int size, int64_t n1, int64_t n2, bool symmetric, int *rows,
                     int *columns) {
  const int64_t total = symmetric ? n1 * (n1 + 1) / 2 : n1 * n2;
  int64_t least = total;
  *rows = *columns = 1;
  for (int r = 1; r <= size && r <= n1; r++)
    /* fewer columns only while a perfect balance would still do */
    for (int c = n2 < size / r ? (int)n2 : size / r; c > 0 && total <= least * r * c; c--) {
      const int64_t most = ntk_grid_max_pairs(r, c, n1, n2, symmetric);
      if (most < least || (most == least && r + c < *rows + *columns)) {
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/grid.h"
#include <math.h>

bool ntk_pair_is_computed(int64_t I, int64_t J, int64_t n) {
  const int64_t d = ((I - J) % n + n) % n;
  return 2 * d < n || (2 * d == n && I < J);
}

int64_t ntk_pair_number(int64_t I, int64_t J, int64_t n) {
  return ((I - J) % n + n) % n * n + I;
}

void ntk_pair_at(int64_t number, int64_t n, int64_t *I, int64_t *J) {
  *I = number % n;
  *J = (*I - number / n + n) % n;
}

int64_t ntk_grid_dealt(int64_t n, int64_t mine, int64_t count) {
  return mine >= 0 && n > mine && count > 0 ? (n - mine + count - 1) / count : 0;
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

/* The maximum, or any number above `limit` as soon as one rank has more. */
static int64_t max_pairs_within(int rows, int columns, int64_t n1, int64_t n2,
                                bool symmetric, int64_t limit) {
  int64_t most = 0;
  if (!symmetric)
    return ntk_grid_dealt(n1, 0, rows) * ntk_grid_dealt(n2, 0, columns);
  for (int r = 0; r < rows && most <= limit; r++)
    for (int c = 0; c < columns && most <= limit; c++) {
      const int64_t pairs = symmetric_pairs(r, c, rows, columns, n1);
      if (pairs > most)
        most = pairs;
    }
  return most;
}

int64_t ntk_grid_max_pairs(int rows, int columns, int64_t n1, int64_t n2, bool symmetric) {
  return max_pairs_within(rows, columns, n1, n2, symmetric, INT64_MAX);
}

/* The best grid so far. */
typedef struct best {
  int rows, columns;
  int64_t most; /* pairs of its busiest rank */
} best;

/* Is rows x columns better? Most grids lose at the first rank that is looked at, or by
 * their mean alone. false: nor would one with fewer columns be. */
static bool improve(best *b, int rows, int columns, int64_t n1, int64_t n2,
                    bool symmetric) {
  const int64_t total = symmetric ? n1 * (n1 + 1) / 2 : n1 * n2;
  const int sweeps = rows + columns, before = b->rows + b->columns;
  const bool is_favoured = sweeps < before || (sweeps == before && rows > b->rows);
  const int64_t limit = is_favoured ? b->most : b->most - 1;
  const int64_t worth = b->most - b->most / 256; /* less than 0.4 % is not looked for */
  if ((double)total > (double)worth * rows * columns)
    return false;
  if ((double)total > (double)limit * rows * columns)
    return true;
  const int64_t most = max_pairs_within(rows, columns, n1, n2, symmetric, limit);
  if (most <= limit)
    *b = (best){rows, columns, most};
  return true;
}

static int least(int64_t a, int64_t b) { return (int)(a < b ? a : b); }

void ntk_grid_choose(int size, int64_t n1, int64_t n2, bool symmetric, int *rows,
                     int *columns) {
  best b = {1, 1, symmetric ? n1 * (n1 + 1) / 2 : n1 * n2};
  const int square = least(n2, (int64_t)sqrt((double)size)); /* good, so that others lose */
  if (square > 0 && n1 > 0)
    (void)improve(&b, least(n1, size / square), least(n2, square), n1, n2, symmetric);
  for (int r = least(n1, size); r > 0; r--)
    for (int c = least(n2, size / r); c > 0 && improve(&b, r, c, n1, n2, symmetric); c--) {
    }
  *rows = b.rows;
  *columns = b.columns;
}

ntk_status ntk_grid_create(MPI_Comm comm, int rows, int columns, int depth, ntk_grid *out) {
  ntk_status status = NTK_SUCCESS;
  int rank, size;
  ntk_grid grid = {.comm = MPI_COMM_NULL,
                   .rows = rows,
                   .columns = columns,
                   .depth = depth,
                   .my_row = -1,
                   .my_column = -1,
                   .my_depth = -1};
  NTK_TRY_MPI(MPI_Comm_rank(comm, &rank));
  NTK_TRY_MPI(MPI_Comm_size(comm, &size));
  const bool fits = rows > 0 && columns > 0 && depth > 0 && rows <= size / columns / depth;
  NTK_REQUIRE(fits, NTK_ERR_ARGUMENT, "--grid: %dx%dx%d needs %.0f ranks, there are %d",
              rows, columns, depth, (double)rows * columns * depth, size);
  if (rank < rows * columns * depth) {
    grid.my_depth = rank % depth;
    grid.my_column = rank / depth % columns;
    grid.my_row = rank / depth / columns;
  }
  NTK_TRY_MPI(MPI_Comm_dup(comm, &grid.comm));
  *out = grid;
done:
  return status;
}

void ntk_grid_destroy(ntk_grid *grid) {
  if (grid->comm != MPI_COMM_NULL)
    (void)MPI_Comm_free(&grid->comm);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/blacs.h"
#include <stdint.h>

/* The C interface of BLACS, for which there is no header. */
extern int Csys2blacs_handle(MPI_Comm comm);
extern void Cfree_blacs_system_handle(int handle);
extern void Cblacs_gridinit(int *context, char *order, int rows, int columns);
extern void Cblacs_gridinfo(int context, int *rows, int *columns, int *my_row,
                            int *my_column);
extern void Cblacs_gridexit(int context);

ntk_status ntk_blacs_create(MPI_Comm comm, int rows, int columns, ntk_blacs *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_blacs grid = {.context = -1, .rows = rows, .columns = columns, .comm = MPI_COMM_NULL};
  char order[] = "Row";
  int size, r, c;
  NTK_TRY_MPI(MPI_Comm_size(comm, &size));
  NTK_REQUIRE(rows > 0 && columns > 0 && rows <= size / columns, NTK_ERR_ARGUMENT,
              "a grid of %d x %d needs %.0f ranks, there are %d", rows, columns,
              (double)rows * columns, size);
  const int handle = Csys2blacs_handle(comm);
  grid.context = handle;
  Cblacs_gridinit(&grid.context, order, rows, columns);
  Cfree_blacs_system_handle(handle);
  grid.my_row = grid.my_column = -1;
  if (grid.context >= 0)
    Cblacs_gridinfo(grid.context, &r, &c, &grid.my_row, &grid.my_column);
  NTK_TRY_MPI(MPI_Comm_split(comm, grid.my_row >= 0 ? 0 : MPI_UNDEFINED, 0, &grid.comm));
  *out = grid;
done:
  return status;
}

void ntk_blacs_square(int ranks, int *rows, int *columns) {
  int r = 1;
  while (r + 1 <= ranks / (r + 1))
    r++;
  while (r > 1 && 10 * (int64_t)(ranks / r * r) < 9 * (int64_t)ranks)
    r--;
  *rows = r;
  *columns = ranks / r;
}

ntk_status ntk_blacs_create_square(MPI_Comm comm, ntk_blacs *out) {
  ntk_status status = NTK_SUCCESS;
  int size, rows, columns;
  NTK_TRY_MPI(MPI_Comm_size(comm, &size));
  ntk_blacs_square(size, &rows, &columns);
  NTK_TRY(ntk_blacs_create(comm, rows, columns, out));
done:
  return status;
}

void ntk_blacs_destroy(ntk_blacs *grid) {
  if (grid->rows > 0 && grid->context >= 0) {
    Cblacs_gridexit(grid->context);
    (void)MPI_Comm_free(&grid->comm);
  }
  *grid = (ntk_blacs){.context = -1, .my_row = -1, .my_column = -1, .comm = MPI_COMM_NULL};
}

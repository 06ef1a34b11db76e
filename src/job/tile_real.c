/* SPDX-License-Identifier: Apache-2.0 */
#include "job/tile.h"
#include "tensor/real.h"
#include <string.h>

/* Rounds n elements and leaves zeros behind; false: not all are finite. No exit from the
 * loop, so that it is vectorised. */
static bool round_row(int64_t n, double *acc, real *to) {
  int finite = 1;
  for (int64_t j = 0; j < n; j++) {
    to[j] = (real)acc[j];
    finite &= to[j] <= NTK_REAL_MAX && to[j] >= -NTK_REAL_MAX;
    acc[j] = 0;
  }
  return finite;
}

/* to[j, i] = from[i, j] for `rows` rows i, to its leading dimension apart. */
static void transpose(int64_t rows, int64_t columns, const real *from, int64_t ld_from,
                      real *to, int64_t ld_to) {
  enum { BLOCK = 16 }; /* rows and columns that stay in the first cache */
  for (int64_t j0 = 0; j0 < columns; j0 += BLOCK) {
    const int64_t end = columns - j0 < BLOCK ? columns : j0 + BLOCK;
    for (int64_t j = j0; j < end; j++)
      for (int64_t i = 0; i < rows; i++)
        to[j * ld_to + i] = from[i * ld_from + j];
  }
}

/* Rows and columns i0 .. i0 + n of a square matrix: the lower half into the upper one. */
static void mirror_corner(int64_t i0, int64_t n, real *values, int64_t ld) {
  for (int64_t i = i0; i < i0 + n; i++)
    for (int64_t j = i0; j < i; j++)
      values[j * ld + i] = values[i * ld + j];
}

bool NTK_REAL(ntk_tile_round)(const ntk_tile_rounding *r, int64_t number) {
  const int64_t strips = ntk_tile_strips(r->rows), columns = r->columns;
  const int64_t i0 = number % strips * NTK_TILE_STRIP;
  const int64_t at = number / strips * r->rows * columns;
  const int64_t n = r->rows - i0 < NTK_TILE_STRIP ? r->rows - i0 : NTK_TILE_STRIP;
  real *values = (real *)r->values + at;
  bool finite = true;
  for (int64_t i = i0; i < i0 + n; i++) {
    double *acc = r->acc + at + i * columns;
    const int64_t right = r->mirror ? i + 1 : columns;
    finite = round_row(right, acc, values + i * columns) && finite;
    memset(acc + right, 0, (size_t)(columns - right) * sizeof *acc);
  }
  if (r->mirror) {
    transpose(n, i0, values + i0 * columns, columns, values + i0, columns);
    mirror_corner(i0, n, values, columns);
  } else if (r->transposed)
    transpose(n, columns, values + i0 * columns, columns, (real *)r->transposed + at + i0,
              r->rows);
  return finite;
}

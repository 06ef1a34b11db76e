/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 6 */
/* The work space of eigendecompositions: what ScaLAPACK asks for, and beyond where its own
 * count overflows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "solve/scalapack.h"
#include "solve/spectrum_parts.h"
#include <limits.h>
#include <unistd.h>

extern int numroc_(const int *n, const int *nb, const int *mine, const int *first,
                   const int *count);

static ntk_blacs grid;

static int part(int n, int nb, int mine, int count) {
  const int zero = 0;
  return mine < 0 ? 0 : numroc_(&n, &nb, &mine, &zero, &count);
}

static ntk_dense_room ours(int n, int nb, bool vectors) {
  return ntk_dense_work(n, nb, part(n, nb, grid.my_row, grid.rows),
                        part(n, nb, grid.my_column, grid.columns), grid.columns, vectors);
}

/* What pdsyevd answers to lwork = -1. */
static void ask(int n, int nb, double *reals, int *integers) {
  const int one = 1, minus = -1, rows = part(n, nb, grid.my_row, grid.rows);
  const int desc[9] = {1, grid.context, n, n, nb, nb, 0, 0, rows > 0 ? rows : 1};
  double none[1] = {0};
  int info = 0;
  pdsyevd_("V", "L", &n, none, &one, &one, desc, none, none, &one, &one, desc, reals,
           &minus, integers, &minus, &info, 1, 1);
  assert_int_equal(info, 0);
}

static void room_is_what_is_asked_for(void **state) {
  static const int sizes[][2] = {{7, 2}, {100, 64}, {500, 7}, {3001, 64}, {32000, 64}};
  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes && grid.my_row >= 0; i++) {
    const int n = sizes[i][0], nb = sizes[i][1];
    const ntk_dense_room room = ours(n, nb, true);
    double reals = 0;
    int integers = 0;
    ask(n, nb, &reals, &integers);
    assert_true((double)room.reals >= reals);
    assert_true((double)room.reals <= reals + 6 * n + 4.0 * nb * (n + nb));
    assert_true(room.integers >= integers && room.integers <= integers + 64);
  }
}

/* From 32,767 rows on a rank on 32 bits do not count the work space. */
static void sizes_do_not_overflow(void **state) {
  static const int64_t sizes[] = {32766, 32767, 32768, 40000, 65536, 1000000};
  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    const int64_t n = sizes[i];
    const ntk_dense_room all = ntk_dense_work(n, 64, n, n, 1, true);
    const ntk_dense_room values = ntk_dense_work(n, 64, n, n, 1, false);
    assert_true((double)all.reals == 1 + 8.0 * (double)n + 2.0 * (double)n * (double)n);
    assert_true((double)all.integers == 7.0 * (double)n + 10);
    assert_true((double)values.reals == 64 * ((double)n + 1));
    assert_int_equal(all.reals > INT_MAX, n >= 32767);
    assert_true(values.reals < INT_MAX);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(room_is_what_is_asked_for),
                                     cmocka_unit_test(sizes_do_not_overflow)};
  (void)MPI_Init(&argc, &argv);
  (void)alarm(60);
  if (ntk_blacs_create_square(MPI_COMM_WORLD, &grid) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_blacs_destroy(&grid);
  (void)MPI_Finalize();
  return failed;
}

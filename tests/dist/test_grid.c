/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 6 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dist/grid.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int rank, size;

/* ---- ownership (local) ----------------------------------------------------------------
 */

static void each_pair_is_computed_once(void **state) {
  (void)state;
  for (int64_t n = 1; n <= 20; n++)
    for (int64_t I = 0; I < n; I++) {
      int64_t in_row = 0;
      for (int64_t J = 0; J < n; J++) {
        const int times = ntk_pair_is_computed(I, J, n) + ntk_pair_is_computed(J, I, n);
        assert_int_equal(times, I == J ? 2 : 1);
        in_row += ntk_pair_is_computed(I, J, n);
      }
      /* balanced: half a row each */
      assert_true(in_row == (n + 1) / 2 || (n % 2 == 0 && in_row == n / 2 + 1));
    }
}

/* Pairs of the busiest rank, one by one. */
static int64_t counted_pairs(int rows, int columns, int64_t n1, int64_t n2,
                             bool symmetric) {
  int64_t pairs[64] = {0}, most = 0;
  for (int64_t I = 0; I < n1; I++)
    for (int64_t J = 0; J < n2; J++)
      if (!symmetric || ntk_pair_is_computed(I, J, n1))
        pairs[I % rows * columns + J % columns]++;
  for (int i = 0; i < rows * columns; i++)
    most = pairs[i] > most ? pairs[i] : most;
  return most;
}

static void most_pairs_are_counted(void **state) {
  (void)state;
  for (int rows = 1; rows <= 5; rows++)
    for (int columns = 1; columns <= 7; columns++)
      for (int64_t n = 1; n <= 18; n++) {
        assert_true(ntk_grid_max_pairs(rows, columns, n, n, true) ==
                    counted_pairs(rows, columns, n, n, true));
        assert_true(ntk_grid_max_pairs(rows, columns, n, 7, false) ==
                    counted_pairs(rows, columns, n, 7, false));
      }
}

static void chosen_grid_is_best_of_all(void **state) {
  (void)state;
  for (int ranks = 1; ranks <= 24; ranks++)
    for (int64_t n = 1; n <= 13; n++)
      for (int symmetric = 0; symmetric < 2; symmetric++) {
        const int64_t n2 = symmetric ? n : 5;
        int64_t least = INT64_MAX;
        int fewest = 0, rows = 0, columns = 0;
        for (int r = 1; r <= ranks; r++)
          for (int c = 1; c <= ranks / r; c++) {
            const int64_t most = counted_pairs(r, c, n, n2, symmetric);
            if (most < least || (most == least && r + c < fewest)) {
              least = most;
              fewest = r + c;
            }
          }
        ntk_grid_choose(ranks, n, n2, symmetric, &rows, &columns);
        assert_true(rows > 0 && columns > 0 && rows * columns <= ranks);
        assert_true(counted_pairs(rows, columns, n, n2, symmetric) == least);
        assert_int_equal(rows + columns, fewest);
      }
}

/* ---- communicators --------------------------------------------------------------------
 */

static void grids_are_made(void **state) {
  (void)state;
  for (int rows = 1; rows <= size; rows++)
    for (int columns = 1; columns <= size / rows; columns++) {
      ntk_grid g;
      int at, count;
      assert_int_equal(ntk_grid_create(MPI_COMM_WORLD, rows, columns, &g), NTK_SUCCESS);
      if (rank >= rows * columns) {
        assert_int_equal(g.my_row, -1);
        assert_int_equal(g.my_column, -1);
        assert_true(g.row == MPI_COMM_NULL && g.column == MPI_COMM_NULL);
      } else {
        assert_int_equal(g.my_row * columns + g.my_column, rank);
        assert_int_equal(MPI_Comm_rank(g.row, &at), MPI_SUCCESS);
        assert_int_equal(MPI_Comm_size(g.row, &count), MPI_SUCCESS);
        assert_true(at == g.my_column && count == columns);
        assert_int_equal(MPI_Comm_rank(g.column, &at), MPI_SUCCESS);
        assert_int_equal(MPI_Comm_size(g.column, &count), MPI_SUCCESS);
        assert_true(at == g.my_row && count == rows);
      }
      ntk_grid_destroy(&g);
      assert_true(g.row == MPI_COMM_NULL && g.column == MPI_COMM_NULL);
      ntk_grid_destroy(&g);
    }
}

static void too_large_grids_are_refused(void **state) {
  (void)state;
  ntk_grid g;
  char line[64];
  assert_int_equal(ntk_grid_create(MPI_COMM_WORLD, 2, size, &g), NTK_ERR_ARGUMENT);
  (void)snprintf(line, sizeof line, "--grid: 2x%d needs %d ranks, there are %d", size,
                 2 * size, size);
  assert_string_equal(ntk_fail_message(), line);
  assert_int_equal(ntk_grid_create(MPI_COMM_WORLD, 1 << 20, 1 << 20, &g), NTK_ERR_ARGUMENT);
  assert_int_equal(ntk_grid_create(MPI_COMM_WORLD, 0, 1, &g), NTK_ERR_ARGUMENT);
}

/* ---- exchanges ------------------------------------------------------------------------
 */

static void broadcasts_in_pieces(void **state) {
  (void)state;
  enum { LENGTH = 23 };
  for (int root = 0; root < size; root++)
    for (int bytes = 0; bytes <= LENGTH; bytes++)
      for (int piece = 1; piece <= LENGTH + 1; piece += 3) {
        unsigned char buffer[LENGTH + 1];
        for (int i = 0; i <= LENGTH; i++)
          buffer[i] = (unsigned char)(rank == root ? 7 * i + root : 255);
        assert_int_equal(ntk_bcast_pieces(buffer, bytes, root, MPI_COMM_WORLD, piece),
                         NTK_SUCCESS);
        for (int i = 0; i <= LENGTH; i++)
          assert_int_equal(buffer[i], i < bytes || rank == root ? 7 * i + root : 255);
      }
  int64_t number = rank == size - 1 ? 42 : 0;
  assert_int_equal(ntk_bcast(&number, sizeof number, size - 1, MPI_COMM_WORLD),
                   NTK_SUCCESS);
  assert_true(number == 42);
}

/* Flag of a rank at a step: zero mostly, and different on all. */
static int flag_at(int step, int who) {
  return (step * 5 + who * 3) % 11 == 0 ? who + 1 : 0;
}
static int largest_at(int step) {
  int most = 0;
  for (int r = 0; r < size; r++)
    most = flag_at(step, r) > most ? flag_at(step, r) : most;
  return most;
}

static void votes_tell_the_previous_step(void **state) {
  (void)state;
  for (int steps = 0; steps < 30; steps++) {
    ntk_vote vote;
    int decided = -1, seen = 0;
    ntk_vote_begin(&vote, MPI_COMM_WORLD);
    for (int step = 0; step < steps; step++) {
      assert_int_equal(ntk_vote_next(&vote, flag_at(step, rank), &decided), NTK_SUCCESS);
      assert_int_equal(decided, step > 0 ? largest_at(step - 1) : 0);
    }
    /* the end gives the larger of the last two, so that nothing is lost */
    assert_int_equal(ntk_vote_finish(&vote, flag_at(steps, rank), &decided), NTK_SUCCESS);
    seen = steps > 0 ? largest_at(steps - 1) : 0;
    assert_int_equal(decided, largest_at(steps) > seen ? largest_at(steps) : seen);
    assert_true(vote.request == MPI_REQUEST_NULL);
  }
}

/* ---- agreement ------------------------------------------------------------------------
 */

static void success_is_agreed(void **state) {
  (void)state;
  assert_int_equal(ntk_agree(MPI_COMM_WORLD, NTK_SUCCESS), NTK_SUCCESS);
}

/* The lowest failing rank speaks for all, named where there are several. */
static void failures_are_agreed(void **state) {
  (void)state;
  for (int first = 0; first < size; first++) {
    char mine[64], host[64] = "", line[256];
    (void)snprintf(mine, sizeof mine, "disk %d is full", rank);
    ntk_fail_record("old message of rank %d", rank);
    const bool fails = rank >= first && (rank - first) % 2 == 0;
    const ntk_status status =
        fails ? ntk_fail(rank == first ? NTK_ERR_FILE : NTK_ERR_HDF5, "%s", mine)
              : NTK_SUCCESS;
    assert_int_equal(ntk_agree(MPI_COMM_WORLD, status), NTK_ERR_FILE);
    (void)gethostname(host, sizeof host - 1); /* the test runs on one host */
    if (size > 1)
      (void)snprintf(line, sizeof line, "[rank %d, %s] disk %d is full", first, host,
                     first);
    else
      (void)snprintf(line, sizeof line, "disk 0 is full");
    assert_string_equal(ntk_fail_message(), line);
    /* agreed once more on the way up: the same line */
    assert_int_equal(ntk_agree(MPI_COMM_WORLD, NTK_ERR_FILE), NTK_ERR_FILE);
    assert_string_equal(ntk_fail_message(), line);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(each_pair_is_computed_once),
                                     cmocka_unit_test(most_pairs_are_counted),
                                     cmocka_unit_test(chosen_grid_is_best_of_all),
                                     cmocka_unit_test(grids_are_made),
                                     cmocka_unit_test(too_large_grids_are_refused),
                                     cmocka_unit_test(broadcasts_in_pieces),
                                     cmocka_unit_test(votes_tell_the_previous_step),
                                     cmocka_unit_test(success_is_agreed),
                                     cmocka_unit_test(failures_are_agreed)};
  (void)MPI_Init(&argc, &argv);
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  (void)MPI_Comm_size(MPI_COMM_WORLD, &size);
  (void)alarm(120); /* a failure on one rank leaves the others waiting */
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  (void)MPI_Finalize();
  return failed;
}

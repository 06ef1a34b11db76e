/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 6 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dist/grid.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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

static void pairs_have_numbers(void **state) {
  (void)state;
  for (int64_t n = 1; n <= 20; n++) {
    bool taken[210] = {false};
    for (int64_t I = 0; I < n; I++)
      for (int64_t J = 0; J < n; J++) {
        const int64_t number = ntk_pair_number(I, J, n);
        int64_t i, j;
        if (!ntk_pair_is_computed(I, J, n))
          continue;
        assert_true(number >= 0 && number < n * (n + 1) / 2 && !taken[number]);
        assert_true((number < n) == (I == J));
        taken[number] = true;
        ntk_pair_at(number, n, &i, &j);
        assert_true(i == I && j == J);
      }
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
  for (int ranks = 1; ranks <= 40; ranks++)
    for (int64_t n = 1; n <= 16; n++)
      for (int symmetric = 0; symmetric < 2; symmetric++) {
        const int64_t n2 = symmetric ? n : 5;
        int64_t least = INT64_MAX;
        int fewest = 0, tallest = 0, rows = 0, columns = 0;
        for (int r = 1; r <= ranks; r++)
          for (int c = 1; c <= ranks / r; c++) {
            const int64_t most = counted_pairs(r, c, n, n2, symmetric);
            if (most < least || (most == least && r + c < fewest)) {
              least = most;
              fewest = r + c;
              tallest = r;
            } else if (most == least && r + c == fewest) {
              tallest = r;
            }
          }
        ntk_grid_choose(ranks, n, n2, symmetric, &rows, &columns);
        assert_true(rows > 0 && columns > 0 && rows * columns <= ranks);
        assert_true(counted_pairs(rows, columns, n, n2, symmetric) == least);
        assert_int_equal(rows + columns, fewest);
        assert_int_equal(rows, tallest);
      }
}

/* Trying all grids takes half a minute. */
static void grids_of_many_ranks_are_chosen_at_once(void **state) {
  (void)state;
  static const int sizes[] = {1000, 8192, 65536};
  static const int64_t blocks[] = {47, 294, 1001};
  const clock_t start = clock();
  for (int i = 0; i < 3; i++)
    for (int k = 0; k < 3; k++) {
      const int64_t n = blocks[k], total = n * (n + 1) / 2;
      int rows = 0, columns = 0;
      ntk_grid_choose(sizes[i], n, n, true, &rows, &columns);
      assert_true(rows > 0 && columns > 0 && (int64_t)rows * columns <= sizes[i]);
      const int64_t most = ntk_grid_max_pairs(rows, columns, n, n, true);
      const int side =
          (int)sqrt((double)sizes[i]) < n ? (int)sqrt((double)sizes[i]) : (int)n;
      assert_true(most <= ntk_grid_max_pairs(side, side, n, n, true));
      assert_true(most * rows * columns >= total);
      assert_true(rows >= columns);
    }
  assert_true((double)(clock() - start) < 10.0 * CLOCKS_PER_SEC);
}

/* ---- communicators --------------------------------------------------------------------
 */

static void check_grid(int rows, int columns, int depth) {
  ntk_grid g;
  assert_int_equal(ntk_grid_create(MPI_COMM_WORLD, rows, columns, depth, &g), NTK_SUCCESS);
  if (rank >= rows * columns * depth) {
    assert_true(g.my_row == -1 && g.my_column == -1 && g.my_depth == -1);
  } else {
    assert_int_equal(ntk_grid_rank(&g, g.my_row, g.my_column, g.my_depth), rank);
    assert_true(g.my_row < rows && g.my_column < columns && g.my_depth < depth);
  }
  ntk_grid_destroy(&g);
  assert_true(g.comm == MPI_COMM_NULL);
  ntk_grid_destroy(&g);
}

static void grids_are_made(void **state) {
  (void)state;
  for (int rows = 1; rows <= size; rows++)
    for (int columns = 1; columns <= size / rows; columns++)
      for (int depth = 1; depth <= size / rows / columns; depth++)
        check_grid(rows, columns, depth);
}

static void too_large_grids_are_refused(void **state) {
  (void)state;
  ntk_grid g;
  char line[64];
  assert_int_equal(ntk_grid_create(MPI_COMM_WORLD, 2, size, 1, &g), NTK_ERR_ARGUMENT);
  (void)snprintf(line, sizeof line, "--grid: 2x%dx1 needs %d ranks, there are %d", size,
                 2 * size, size);
  assert_string_equal(ntk_fail_message(), line);
  assert_int_equal(ntk_grid_create(MPI_COMM_WORLD, 1 << 20, 1 << 20, 1, &g),
                   NTK_ERR_ARGUMENT);
  assert_int_equal(ntk_grid_create(MPI_COMM_WORLD, 1, 1, size + 1, &g), NTK_ERR_ARGUMENT);
  assert_int_equal(ntk_grid_create(MPI_COMM_WORLD, 0, 1, 1, &g), NTK_ERR_ARGUMENT);
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
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_pair_is_computed_once),
      cmocka_unit_test(pairs_have_numbers),
      cmocka_unit_test(most_pairs_are_counted),
      cmocka_unit_test(chosen_grid_is_best_of_all),
      cmocka_unit_test(grids_of_many_ranks_are_chosen_at_once),
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

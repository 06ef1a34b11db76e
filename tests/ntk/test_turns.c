/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ntk/turns.h"
#include <math.h>

/* How threads take turns at the rows of a tile: threads of made-up paces on a made-up
 * clock.
 */

enum { MOST_THREADS = 5 };

/* What came of a tile. */
typedef struct outcome {
  int64_t tasks;
  double first_end, last_end; /* of the threads */
} outcome;

/* A tile at which thread i takes pace[i] for a pair, and the first one comes late; tasks
 * cover all rows once, none of a size that it must not have. */
static outcome run(ntk_turns *t, const ntk_turns_tile *tile, const double *pace,
                   double late) {
  double now[MOST_THREADS] = {late};
  int64_t left = tile->rows;
  outcome out = {0, INFINITY, 0};
  ntk_turns_begin(t, tile, 0);
  bool joined = false;
  for (;;) {
    int64_t who = 0;
    for (int64_t i = 1; i < t->threads; i++)
      if (now[i] < now[who])
        who = i;
    if (who == 0 && !joined)
      ntk_turns_join(t, 0, late);
    joined = joined || who == 0;
    const double began = now[who];
    const int64_t n = ntk_turns_take(t, who, began);
    if (n == 0)
      break;
    assert_true(n > 0 && n <= tile->most && n <= left);
    assert_true(n >= tile->unit || n == left);
    for (int64_t row = left - n; row < left; row++)
      now[who] += pace[who] * (double)(tile->mirror ? row + 1 : tile->columns);
    ntk_turns_taken(t, who, left, n, began, now[who]);
    left -= n;
    out.tasks++;
  }
  assert_int_equal(left, 0);
  for (int64_t i = 0; i < t->threads; i++) {
    out.last_end = fmax(out.last_end, now[i]);
    out.first_end = fmin(out.first_end, now[i]);
  }
  return out;
}

/* After some tiles each thread has one task, or a few where rows differ, and they end
 * within a row of one another. */
static void check_even(int64_t threads, const double *pace, double late, bool mirror) {
  const ntk_turns_tile tile = {
      .rows = 240, .columns = 240, .unit = 1, .most = 240, .mirror = mirror};
  ntk_turns t;
  outcome out = {0};
  double slowest = 0;
  assert_int_equal(ntk_turns_create(threads, &t), NTK_SUCCESS);
  for (int i = 0; i < 12; i++)
    out = run(&t, &tile, pace, late);
  for (int64_t i = 0; i < threads; i++)
    slowest = fmax(slowest, pace[i]);
  assert_true(out.last_end - out.first_end <= 1.5 * slowest * (double)tile.columns);
  assert_true(out.tasks <= (mirror ? 3 * threads : threads + 1));
  ntk_turns_destroy(&t);
}

static void threads_end_together(void **state) {
  (void)state;
  const double equal[] = {1, 1, 1, 1, 1}, uneven[] = {1, 2, 1, 3, 1.5};
  for (int64_t threads = 1; threads <= MOST_THREADS; threads++)
    for (int mirror = 0; mirror < 2; mirror++) {
      check_even(threads, equal, 0, mirror);
      check_even(threads, uneven, 0, mirror);
      check_even(threads, equal, 1000, mirror);
      check_even(threads, uneven, 2000, mirror);
    }
}

/* The first tile: nothing is known of paces yet, and no thread gets so much that the others
 * wait long. */
static void the_first_tile_is_guided(void **state) {
  (void)state;
  const double pace[] = {1, 5};
  const ntk_turns_tile tile = {.rows = 64, .columns = 64, .unit = 1, .most = 64};
  ntk_turns t;
  assert_int_equal(ntk_turns_create(2, &t), NTK_SUCCESS);
  ntk_turns_begin(&t, &tile, 0);
  assert_int_equal(ntk_turns_take(&t, 0, 0), 32);
  assert_int_equal(ntk_turns_take(&t, 1, 1), 16);
  assert_int_equal(ntk_turns_take(&t, 0, 2), 8);
  ntk_turns_destroy(&t);
  assert_int_equal(ntk_turns_create(2, &t), NTK_SUCCESS);
  (void)run(&t, &tile, pace, 0);
  ntk_turns_destroy(&t);
}

/* Two tasks of the least size are one for each thread, whichever is a little faster. */
static void two_least_tasks_are_for_two_threads(void **state) {
  (void)state;
  const double paces[][2] = {{1, 1}, {1, 1.2}, {1.2, 1}};
  const ntk_turns_tile tile = {.rows = 16, .columns = 16, .unit = 8, .most = 512};
  for (int i = 0; i < 3; i++) {
    ntk_turns t;
    assert_int_equal(ntk_turns_create(2, &t), NTK_SUCCESS);
    for (int k = 0; k < 10; k++)
      assert_int_equal(run(&t, &tile, paces[i], 0).tasks, 2);
    ntk_turns_destroy(&t);
  }
}

/* A thread that once took a thousand times as long has its share again some tiles later. */
static void slow_moments_are_forgotten(void **state) {
  (void)state;
  const double pace[] = {1, 1}, slow[] = {1, 1000};
  const ntk_turns_tile tile = {.rows = 64, .columns = 64, .unit = 1, .most = 64};
  ntk_turns t;
  outcome out = {0};
  assert_int_equal(ntk_turns_create(2, &t), NTK_SUCCESS);
  (void)run(&t, &tile, pace, 0);
  (void)run(&t, &tile, slow, 0);
  for (int i = 0; i < 16; i++)
    out = run(&t, &tile, pace, 0);
  assert_true(out.tasks <= 3 && out.last_end <= 34 * 64);
  ntk_turns_destroy(&t);
}

/* Limits of tasks, and rows that they do not divide. */
static void tasks_keep_to_their_limits(void **state) {
  (void)state;
  const double pace[] = {1, 2, 1};
  ntk_turns t;
  assert_int_equal(ntk_turns_create(3, &t), NTK_SUCCESS);
  for (int64_t rows = 1; rows <= 100; rows++)
    for (int64_t unit = 1; unit <= 9; unit += 4) {
      const ntk_turns_tile tile = {
          .rows = rows, .columns = 7, .unit = unit, .most = 17, .mirror = rows % 2};
      (void)run(&t, &tile, pace, 0);
    }
  ntk_turns_destroy(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads_end_together),
      cmocka_unit_test(the_first_tile_is_guided),
      cmocka_unit_test(two_least_tasks_are_for_two_threads),
      cmocka_unit_test(slow_moments_are_forgotten),
      cmocka_unit_test(tasks_keep_to_their_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 6 */
#include "job/fake.h"
#include <unistd.h>

static int rank, size;
static bool recompute; /* the columns */
static int passes;

/* Enough blocks that every rank of any grid sweeps, contracts and writes several times. */
static ntk_job_shape shape_of(ntk_reduction reduction, bool symmetric) {
  const int64_t rows = size <= 6 ? 13 : 3 * size;
  return (ntk_job_shape){.reduction = reduction,
                         .dtype = NTK_F32,
                         .symmetric = symmetric,
                         .rows = rows,
                         .columns = symmetric ? rows : rows + 2,
                         .outputs = 3,
                         .block = 1,
                         .outputs_block = 2};
}
static ntk_layout layout_of(void) {
  return size == 12  ? (ntk_layout){4, 3, 1, 4, recompute, passes}
         : size == 6 ? (ntk_layout){3, 2, 1, 4, recompute, passes}
         : size == 4 ? (ntk_layout){2, 2, 1, 4, recompute, passes}
         : size == 3 ? (ntk_layout){1, 3, 1, 4, recompute, passes}
                     : (ntk_layout){size, 1, 1, 4, recompute, passes};
}

static ntk_context *create_context(void) {
  ntk_context *context = NULL;
  assert_int_equal(ntk_context_create(MPI_COMM_WORLD, NULL, &context), NTK_SUCCESS);
  return context;
}

/* The same message on all ranks. */
static void check_same_message(void) {
  char mine[1024] = "", first[1024];
  (void)snprintf(mine, sizeof mine, "%s", ntk_fail_message());
  memcpy(first, mine, sizeof first);
  assert_int_equal(MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD),
                   MPI_SUCCESS);
  assert_string_equal(mine, first);
}

/* The origin's message, with its rank where there are several. */
static void check_origin(int origin, fake_place place) {
  char who[32] = "", what[64];
  if (size > 1)
    (void)snprintf(who, sizeof who, "[rank %d, ", origin);
  (void)snprintf(what, sizeof what, "rank %d failed in %d", origin, (int)place);
  assert_memory_equal(ntk_fail_message(), who, strlen(who));
  const char *found = strstr(ntk_fail_message(), what);
  assert_true(found && strlen(found) == strlen(what));
  check_same_message();
}

/* Every tile that was contracted is written, up to the write that failed if one did. */
static void check_writes(const fake *f) {
  if (f->fired && f->place == IN_WRITE && f->failure != NTK_SUCCESS)
    assert_true(f->calls[IN_WRITE] == f->call + 1 && f->due_writes > f->call);
  else
    assert_true(f->calls[IN_WRITE] == f->due_writes);
}

/* A failure at some call of each rank in turn: the same status and message on all, nothing
 * is computed from what the failed rank sends, nothing is left behind. */
static void fail_in(fake_place place, ntk_reduction reduction, bool symmetric) {
  const ntk_job_shape s = shape_of(reduction, symmetric);
  const ntk_layout layout = layout_of();
  ntk_context *context = create_context();
  for (int origin = 0; origin < size; origin++)
    for (int64_t call = 0; call < 6; call += 5) {
      fake f;
      fake_create(context, &s, &f);
      f.place = place;
      f.call = rank == origin ? call : -1;
      f.failure = NTK_ERR_FILE;
      const int64_t before = ntk_memory_used_total();
      (void)ntk_fail(NTK_SUCCESS, "old");
      assert_int_equal(fake_run(&f, &layout), NTK_ERR_FILE);
      check_origin(origin, place);
      assert_int_equal(f.wrong, 0);
      assert_int_equal(f.fired, rank == origin);
      check_writes(&f);
      if (rank == origin && place == IN_SWEEP)
        assert_true(f.calls[IN_SWEEP] == call + 1);
      assert_true(ntk_memory_used_total() == before);
      fake_destroy(&f);
    }
  ntk_context_destroy(&context);
}

static void failures_of_each_rank(void **state) {
  (void)state;
  for (int place = 0; place < PLACES; place++)
    for (int symmetric = 0; symmetric < 2; symmetric++) {
      fail_in((fake_place)place, NTK_REDUCE_NONE, symmetric);
      fail_in((fake_place)place, NTK_REDUCE_TRACE, symmetric);
      recompute = true;
      fail_in((fake_place)place, NTK_REDUCE_NONE, symmetric);
      recompute = false;
      passes = 2;
      fail_in((fake_place)place, NTK_REDUCE_NONE, symmetric);
      fail_in((fake_place)place, NTK_REDUCE_TRACE, symmetric);
      passes = 0;
    }
}

/* The last call of a run: no later step could tell of it. */
static void failures_at_the_end(void **state) {
  (void)state;
  const ntk_layout layout = layout_of();
  ntk_context *context = create_context();
  for (int k = 0; k < 2 * size; k++) {
    const int origin = k / 2;
    const ntk_job_shape s = shape_of(NTK_REDUCE_NONE, k % 2);
    fake whole, f;
    fake_create(context, &s, &whole);
    assert_int_equal(fake_run(&whole, &layout), NTK_SUCCESS);
    fake_create(context, &s, &f);
    f.place = IN_WRITE;
    f.call = rank == origin ? whole.calls[IN_WRITE] - 1 : -1;
    f.failure = NTK_ERR_HDF5;
    assert_int_equal(fake_run(&f, &layout), NTK_ERR_HDF5);
    check_origin(origin, IN_WRITE);
    check_writes(&f);
    fake_destroy(&f);
    fake_destroy(&whole);
  }
  ntk_context_destroy(&context);
}

/* All ranks fail at once: the lowest speaks. */
static void failures_of_all_ranks(void **state) {
  (void)state;
  const ntk_job_shape s = shape_of(NTK_REDUCE_NONE, false);
  const ntk_layout layout = layout_of();
  ntk_context *context = create_context();
  fake f;
  fake_create(context, &s, &f);
  f.place = IN_CONTRACT;
  f.call = 0;
  f.failure = NTK_ERR_MEMORY;
  assert_int_equal(fake_run(&f, &layout), NTK_ERR_MEMORY);
  check_origin(0, IN_CONTRACT);
  fake_destroy(&f);
  ntk_context_destroy(&context);
}

/* One rank asks to stop: all return NTK_STOPPED with whole, right tiles; a failure at the
 * same time is told instead. */
static void stops_of_each_rank(void **state) {
  (void)state;
  const ntk_layout layout = layout_of();
  for (int origin = 0; origin < size; origin++)
    for (int fails = 0; fails < 2; fails++) {
      const ntk_job_shape s = shape_of(NTK_REDUCE_TRACE, origin % 2);
      ntk_context *context = create_context();
      fake f;
      fake_create(context, &s, &f);
      f.place = IN_CONTRACT;
      f.call = rank == origin ? 3 : -1;
      f.stops = true;
      f.failure = fails ? NTK_ERR_FILE : NTK_SUCCESS;
      assert_int_equal(fake_run(&f, &layout), fails ? NTK_ERR_FILE : NTK_STOPPED);
      check_same_message();
      assert_int_equal(f.wrong, 0);
      check_writes(&f);
      const int64_t contracted = summed(f.calls[IN_CONTRACT]);
      assert_true(contracted > 0 && contracted < ntk_job_tiles(&s));
      fake_destroy(&f);
      ntk_context_destroy(&context);
    }
}

/* In the first pass no tile is whole, and none is written. */
static void a_stop_between_passes_leaves_nothing(void **state) {
  (void)state;
  passes = 2;
  const ntk_job_shape s = shape_of(NTK_REDUCE_NONE, true);
  ntk_layout layout = layout_of();
  layout.panel = 1000;
  ntk_context *context = create_context();
  fake f;
  fake_create(context, &s, &f);
  f.place = IN_CONTRACT;
  f.call = rank == 0 ? 3 : -1;
  f.stops = true;
  assert_int_equal(fake_run(&f, &layout), NTK_STOPPED);
  assert_non_null(strstr(ntk_fail_message(), "at 0 of "));
  check_same_message();
  assert_int_equal(f.wrong, 0);
  assert_true(summed(f.calls[IN_CONTRACT]) > 0 && summed(f.calls[IN_WRITE]) == 0);
  fake_destroy(&f);
  ntk_context_destroy(&context);
  passes = 0;
}

static void a_stop_before_the_run_stops_it(void **state) {
  (void)state;
  const ntk_job_shape s = shape_of(NTK_REDUCE_NONE, false);
  const ntk_layout layout = layout_of();
  ntk_context *context = create_context();
  fake f;
  fake_create(context, &s, &f);
  if (rank == size - 1)
    ntk_context_stop(context);
  assert_int_equal(fake_run(&f, &layout), NTK_STOPPED);
  assert_true(summed(f.calls[IN_CONTRACT]) < ntk_job_tiles(&s) / 4);
  check_writes(&f);
  fake_destroy(&f);
  fake_create(context, &s, &f);
  assert_int_equal(fake_run(&f, &layout), NTK_SUCCESS); /* the wish was for one run */
  fake_destroy(&f);
  ntk_context_destroy(&context);
}

/* Is this the end of the message? */
static bool names_samples(int64_t n, int64_t m, ntk_dtype dtype) {
  char line[128];
  (void)snprintf(line, sizeof line,
                 "the kernel of samples %d and %d is not a finite number%s", (int)n, (int)m,
                 dtype == NTK_F32 ? "; try --dtype f64" : "");
  const char *found = strstr(ntk_fail_message(), line);
  return found && strlen(found) == strlen(line);
}

static void spoil(ntk_reduction reduction, bool symmetric, double bad, int64_t n,
                  int64_t m) {
  ntk_job_shape s = shape_of(reduction, symmetric);
  const ntk_layout layout = layout_of();
  ntk_context *context = create_context();
  fake f;
  if (reduction == NTK_REDUCE_PSEUDO)
    s.outputs = s.outputs_block = 1;
  s.block = 4;
  s.dtype = isnan(bad) ? NTK_F64 : NTK_F32;
  fake_create(context, &s, &f);
  f.bad_row = n;
  f.bad_column = m;
  f.bad_value = bad;
  assert_int_equal(fake_run(&f, &layout), NTK_ERR_NONFINITE);
  assert_true(names_samples(n, m, s.dtype) || (symmetric && names_samples(m, n, s.dtype)));
  check_same_message();
  assert_int_equal(f.wrong, 0);
  fake_destroy(&f);
  ntk_context_destroy(&context);
}

/* Not a number, and what is too large for f32 (1e300). */
static void values_that_are_not_finite(void **state) {
  (void)state;
  static const ntk_reduction reductions[] = {NTK_REDUCE_NONE, NTK_REDUCE_TRACE,
                                             NTK_REDUCE_DIAGONAL, NTK_REDUCE_PSEUDO};
  for (int i = 0; i < 4; i++) {
    spoil(reductions[i], false, NAN, 6, 14);
    spoil(reductions[i], false, 1e300, 12, 0);
    spoil(reductions[i], true, NAN, 6, 5);
    spoil(reductions[i], true, 1e300, 11, 7);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(failures_of_each_rank),
                                     cmocka_unit_test(failures_at_the_end),
                                     cmocka_unit_test(failures_of_all_ranks),
                                     cmocka_unit_test(stops_of_each_rank),
                                     cmocka_unit_test(a_stop_between_passes_leaves_nothing),
                                     cmocka_unit_test(a_stop_before_the_run_stops_it),
                                     cmocka_unit_test(values_that_are_not_finite)};
  (void)MPI_Init(&argc, &argv);
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  (void)MPI_Comm_size(MPI_COMM_WORLD, &size);
  (void)alarm(280); /* a failure on one rank leaves the others waiting */
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  (void)MPI_Finalize();
  return failed;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 6 */
#include "job/fake.h"
#include <unistd.h>

/* A loop that finds some of its tiles done: it makes the others, once each, and sweeps no
 * block that nothing needs. A rank that is to drop its tile drops it. */

static int size;
static ntk_context *context;

static const ntk_job_shape shapes[] = {
    {.rows = 13, .columns = 9, .outputs = 4, .block = 3, .outputs_block = 3},
    {.rows = 12, .columns = 7, .outputs = 3, .block = 2, .outputs_block = 1}};
static const int grids[][3] = {{1, 1, 1}, {1, 2, 1}, {2, 1, 1}, {3, 1, 1}, {1, 1, 2},
                               {2, 1, 2}, {1, 2, 2}, {2, 3, 1}, {1, 6, 1}, {1, 2, 3}};

static ntk_job_shape variant(ntk_job_shape s, ntk_reduction reduction, bool symmetric) {
  s.reduction = reduction;
  s.dtype = NTK_F64;
  s.symmetric = symmetric;
  if (symmetric)
    s.columns = s.rows;
  if (reduction == NTK_REDUCE_PSEUDO)
    s.outputs = s.outputs_block = 1;
  return s;
}

/* Was the tile of these parts there? A symmetric one lies as it is contracted. */
static bool was_done(fake *f, int64_t I, int64_t q, int64_t J, int64_t p) {
  const ntk_job_shape *s = f->shape;
  const int64_t n = ntk_job_blocks(s->rows, s->block);
  const bool full = s->reduction == NTK_REDUCE_NONE;
  const bool exchanged =
      s->symmetric && (I == J ? full && q > p : !ntk_pair_is_computed(I, J, n));
  const ntk_tile t = {.row_first = (exchanged ? J : I) * s->block,
                      .row_output = (exchanged ? p : q) * s->outputs_block,
                      .column_first = (exchanged ? I : J) * s->block,
                      .column_output = (exchanged ? q : p) * s->outputs_block};
  return fake_is_done(f, &t);
}

/* Of the element that is number k of the kernel. */
static bool element_was_done(fake *f, int64_t k) {
  const ntk_job_shape *s = f->shape;
  const int64_t O = s->outputs, M = s->columns, Q = s->outputs_block, B = s->block;
  if (s->reduction == NTK_REDUCE_NONE)
    return was_done(f, k / O / M / O / B, k / O / M % O / Q, k / O % M / B, k % O / Q);
  const int64_t o = s->reduction == NTK_REDUCE_DIAGONAL ? k / M / s->rows : 0;
  return was_done(f, k / M % s->rows / B, o / Q, k % M / B, o / Q);
}

static void check_run(const ntk_job_shape *s, const ntk_layout *layout, int64_t kept) {
  const size_t elements = (size_t)fake_elements(s);
  fake f;
  fake_create(context, s, &f);
  f.kept = kept;
  const int64_t before = ntk_memory_used_total();
  assert_int_equal(fake_run(&f, layout), NTK_SUCCESS);
  assert_int_equal(f.wrong, 0);
  assert_true(ntk_memory_used_total() == before);
  assert_int_equal(MPI_Allreduce(MPI_IN_PLACE, f.writes, (int)elements, MPI_UNSIGNED_CHAR,
                                 MPI_SUM, MPI_COMM_WORLD),
                   MPI_SUCCESS);
  for (size_t i = 0; i < elements; i++)
    assert_int_equal(f.writes[i], !element_was_done(&f, (int64_t)i));
  if (kept == 1)
    assert_true(f.sweeps[0] == 0 && f.sweeps[1] == 0 && f.calls[IN_CONTRACT] == 0);
  else
    assert_true(summed(f.calls[IN_CONTRACT]) <
                ntk_job_tiles(s) * layout->grid_depth * layout->passes);
  fake_destroy(&f);
}

static void check_reduction(ntk_reduction reduction) {
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int symmetric = 0; symmetric < 2; symmetric++)
      for (size_t g = 0; g < sizeof grids / sizeof *grids; g++)
        for (int64_t kept = 1; kept < 4; kept++) {
          const ntk_job_shape s = variant(shapes[i], reduction, symmetric);
          const int64_t parts = ntk_job_blocks(s.outputs, s.outputs_block);
          const ntk_layout layout = {grids[g][0], grids[g][1],
                                     grids[g][2], g % 2 ? 2 * parts : 1000 * parts,
                                     kept == 2,   1 + (int)(kept % 2)};
          if (layout.grid_rows * layout.grid_columns * layout.grid_depth <= size)
            check_run(&s, &layout, kept);
        }
}

static void full_kernels(void **state) {
  (void)state;
  check_reduction(NTK_REDUCE_NONE);
}
static void traces(void **state) {
  (void)state;
  check_reduction(NTK_REDUCE_TRACE);
}
static void diagonals(void **state) {
  (void)state;
  check_reduction(NTK_REDUCE_DIAGONAL);
}
static void pseudo_kernels(void **state) {
  (void)state;
  check_reduction(NTK_REDUCE_PSEUDO);
}

/* ---- dropping and reasons -------------------------------------------------------------
 */

static ntk_status drop(void *self, const ntk_tile *t, const void *row, const void *column,
                       bool mirror, double *acc, ntk_meanwhile meanwhile) {
  fake *f = self;
  const ntk_status status = fake_contract(self, t, row, column, mirror, acc, meanwhile);
  if (f->calls[IN_CONTRACT] == 2) {
    acc[0] = NAN; /* of what is given up nothing is right */
    f->due_writes -= writes_of(f->shape, t, mirror);
    ntk_context_stop_for(f->context, "first");
    ntk_context_stop_for(f->context, "second");
    ntk_context_drop(f->context);
  }
  return status;
}

/* The tile in hand on the last rank that has tiles is dropped: nothing of it is written;
 * what the rank says for a reason is told on all of them. */
static void tiles_in_hand_are_dropped(void **state) {
  (void)state;
  const ntk_job_shape s = variant(shapes[1], NTK_REDUCE_NONE, false);
  const int ranks = size < 4 ? size : 4; /* column blocks */
  const ntk_layout layout = {1, ranks, 1, 1000, false, 1};
  fake f;
  fake_create(context, &s, &f);
  f.depth = 1;
  ntk_worker worker = fake_worker(&f);
  const ntk_sink sink = {.self = &f, .write = fake_write};
  if (context->rank == ranks - 1)
    worker.contract = drop;
  assert_int_equal(ntk_job_run(context, &s, &layout, &worker, &sink, NULL), NTK_STOPPED);
  assert_memory_equal(ntk_fail_message(), "stopped (first) at ", 19);
  assert_string_equal(context->stopped_for, "first");
  assert_int_equal(f.wrong, 0);
  assert_true(f.calls[IN_WRITE] == f.due_writes);
  assert_true(context->stop == NTK_STOP_NOT && !context->stop_reason);
  fake_destroy(&f);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(full_kernels), cmocka_unit_test(traces), cmocka_unit_test(diagonals),
      cmocka_unit_test(pseudo_kernels), cmocka_unit_test(tiles_in_hand_are_dropped)};
  (void)MPI_Init(&argc, &argv);
  (void)MPI_Comm_size(MPI_COMM_WORLD, &size);
  (void)alarm(100); /* a failure on one rank leaves the others waiting */
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  (void)MPI_Finalize();
  return failed;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 6 */
#include "job/fake.h"
#include <unistd.h>

static int size;
static ntk_context *context;
static double last_fraction;

/* Sizes that divide nothing; a single tile; a single column. */
static const ntk_job_shape shapes[] = {
    {.rows = 7, .columns = 5, .outputs = 4, .block = 3, .outputs_block = 3},
    {.rows = 8, .columns = 11, .outputs = 3, .block = 2, .outputs_block = 1},
    {.rows = 3, .columns = 2, .outputs = 2, .block = 16, .outputs_block = 5},
    {.rows = 5, .columns = 1, .outputs = 2, .block = 1, .outputs_block = 2}};
static const int grids[][3] = {{1, 1, 1}, {1, 2, 1}, {2, 1, 1}, {3, 1, 1}, {2, 2, 1},
                               {2, 3, 1}, {1, 6, 1}, {1, 1, 2}, {1, 1, 3}, {2, 1, 2},
                               {1, 2, 2}, {1, 3, 2}, {2, 1, 3}, {1, 1, 6}};
static const int64_t panels[] = {1, 2, 1000};

static int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static ntk_job_shape variant(ntk_job_shape s, ntk_reduction reduction, bool symmetric,
                             ntk_dtype dtype) {
  s.reduction = reduction;
  s.dtype = dtype;
  s.symmetric = symmetric;
  if (symmetric)
    s.columns = s.rows;
  if (reduction == NTK_REDUCE_PSEUDO)
    s.outputs = s.outputs_block = 1;
  return s;
}

/* The kernel of all ranks on all ranks, once each element. */
static void gather(const fake *f, void *kernel) {
  const size_t elements = (size_t)fake_elements(f->shape);
  unsigned char *writes = malloc(elements);
  assert_non_null(writes);
  assert_int_equal(MPI_Allreduce(f->kernel, kernel,
                                 (int)(elements * ntk_dtype_bytes(f->shape->dtype)),
                                 MPI_BYTE, MPI_BOR, MPI_COMM_WORLD),
                   MPI_SUCCESS);
  assert_int_equal(MPI_Allreduce(f->writes, writes, (int)elements, MPI_UNSIGNED_CHAR,
                                 MPI_SUM, MPI_COMM_WORLD),
                   MPI_SUCCESS);
  for (size_t i = 0; i < elements; i++)
    assert_int_equal(writes[i], 1);
  free(writes);
}

/* Sweeps over all ranks, in each pass: each row block once; each column block at most once
 * a panel, and with x2 = x1 only what stands in no panel, half of the blocks for each
 * (design 5). The ranks of a grid row (column) take turns. Recomputed columns: at most once
 * a rank and panel, and nothing travels along grid columns. */
static void check_sweeps(const fake *f, const ntk_layout *layout) {
  const ntk_job_shape *s = f->shape;
  const int64_t parts = up(s->outputs, s->outputs_block);
  const int64_t n1 = up(s->rows, s->block), n2 = up(s->columns, s->block);
  const int64_t panel_count = up(up(n1, layout->grid_rows) * parts, layout->panel);
  const int passes = ntk_layout_passes(layout);
  const int64_t sweeps[2] = {f->sweeps[0] / passes, f->sweeps[1] / passes};
  assert_true(sweeps[0] * passes == f->sweeps[0] && sweeps[1] * passes == f->sweeps[1]);
  const int64_t columns = summed(sweeps[1]);
  assert_true(summed(sweeps[0]) == n1 * parts);
  if (layout->recompute) {
    assert_true(columns <=
                panel_count * n2 * parts * layout->grid_rows * layout->grid_depth);
    assert_true(layout->grid_columns * layout->grid_depth > 1 ||
                summed((int64_t)f->traffic.bytes) == 0);
    return;
  }
  assert_true(columns <= panel_count * n2 * parts);
  const int depth = layout->grid_depth;
  assert_true(sweeps[0] <=
              up(up(n1, layout->grid_rows) * parts, layout->grid_columns * depth));
  assert_true(sweeps[1] <= panel_count * up(up(n2, layout->grid_columns) * parts,
                                            layout->grid_rows * depth));
  if (!s->symmetric && s->reduction == NTK_REDUCE_NONE)
    assert_true(columns == panel_count * n2 * parts);
  if (s->symmetric && panel_count == 1)
    assert_true(columns == 0);
  if (s->symmetric && (layout->panel % parts == 0 || panel_count == 1))
    assert_true(2 * columns <= panel_count * n1 * parts);
}

static void check_run(const ntk_job_shape *s, const ntk_layout *layout, void *kernel) {
  fake f;
  fake_create(context, s, &f);
  const ntk_worker worker = fake_worker(&f);
  const int64_t before = ntk_memory_used_total(), peak = ntk_memory_peak_total();
  ntk_job_memory m;
  assert_int_equal(ntk_job_bytes(s, layout, &worker, &m), NTK_SUCCESS);
  const int64_t most = before + m.panel + m.columns + m.tiles + m.parts + m.books;
  assert_int_equal(fake_run(&f, layout), NTK_SUCCESS);
  assert_int_equal(f.wrong, 0);
  gather(&f, kernel);
  check_sweeps(&f, layout);
  assert_true(summed(f.calls[IN_CONTRACT]) ==
              ntk_job_tiles(s) * layout->grid_depth * f.passes);
  const int ranks = layout->grid_rows * layout->grid_columns * layout->grid_depth;
  assert_true(ranks > 1 || summed((int64_t)f.traffic.bytes) == 0);
  assert_true(layout->grid_depth == 1 || summed((int64_t)f.traffic.bytes) > 0);
  assert_true(f.calls[IN_WRITE] == f.due_writes);
  assert_true(f.most_memory <= most);
  assert_true(ntk_memory_peak_total() <= (peak > most ? peak : most));
  assert_true(ntk_memory_used_total() == before);
  if (context->rank == 0 && f.calls[IN_CONTRACT] > 0)
    assert_true(last_fraction == 1);
  fake_destroy(&f);
}

/* Every grid and panel gives the same bytes, those of one rank with all rows in hand; so do
 * passes, but where the worker itself adds several outputs in each. */
static void check_layouts(const ntk_job_shape *s) {
  const size_t bytes = (size_t)fake_elements(s) * ntk_dtype_bytes(s->dtype);
  const int64_t parts = up(s->outputs, s->outputs_block);
  void *reference = malloc(bytes), *kernel = malloc(bytes);
  assert_true(reference && kernel);
  check_run(s, &(ntk_layout){1, 1, 1, 1000 * parts, false, 1}, reference);
  for (size_t g = 0; g < sizeof grids / sizeof *grids; g++)
    for (size_t i = 0; i < sizeof panels / sizeof *panels; i++) {
      ntk_layout layout = {grids[g][0], grids[g][1], grids[g][2], panels[i], false, 1};
      if (layout.grid_rows * layout.grid_columns * layout.grid_depth > size ||
          (layout.grid_depth > 1 && i == 0))
        continue;
      if (s->reduction == NTK_REDUCE_TRACE)
        layout.panel *= parts;
      for (int again = 0; again < 4; again++) {
        const bool is_exact =
            layout.grid_depth == 1 &&
            (again % 2 == 0 || s->reduction != NTK_REDUCE_TRACE || s->outputs_block == 1);
        layout.recompute = again / 2;
        layout.passes = again % 2 ? 2 + (int)((g + i) % 2) : 0;
        check_run(s, &layout, kernel);
        if (is_exact) /* else values are compared where they are kept */
          assert_memory_equal(kernel, reference, bytes);
      }
    }
  free(reference);
  free(kernel);
}

static void check_reduction(ntk_reduction reduction) {
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int symmetric = 0; symmetric < 2; symmetric++) {
      const ntk_job_shape s =
          variant(shapes[i], reduction, symmetric, i % 2 ? NTK_F64 : NTK_F32);
      check_layouts(&s);
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

static void too_large_grids_are_refused(void **state) {
  (void)state;
  fake f;
  const ntk_job_shape s = variant(shapes[0], NTK_REDUCE_NONE, false, NTK_F32);
  fake_create(context, &s, &f);
  assert_int_equal(fake_run(&f, &(ntk_layout){2, size, 1, 1, false, 1}), NTK_ERR_ARGUMENT);
  assert_true(f.calls[IN_SWEEP] == 0);
  fake_destroy(&f);
}

static void hear(const ntk_report *report, void *user) {
  (void)user;
  if (report->kind == NTK_REPORT_PROGRESS)
    last_fraction = report->fraction;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(full_kernels), cmocka_unit_test(traces), cmocka_unit_test(diagonals),
      cmocka_unit_test(pseudo_kernels), cmocka_unit_test(too_large_grids_are_refused)};
  (void)MPI_Init(&argc, &argv);
  (void)MPI_Comm_size(MPI_COMM_WORLD, &size);
  (void)alarm(280); /* a failure on one rank leaves the others waiting */
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  ntk_context_report(context, hear, NULL);
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  (void)MPI_Finalize();
  return failed;
}

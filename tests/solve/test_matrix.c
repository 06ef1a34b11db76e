/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 6 */
#include "dist/grid.h"
#include "io/kernel_files.h"
#include "solve/matrix.h"

/* Kernel files of all kinds, read into ScaLAPACK's layout with blocks that divide nothing.
 */

static int64_t sides_of(const ntk_store_spec *s, int64_t samples) {
  return s->reduction == NTK_REDUCE_NONE ? samples * s->outputs : samples;
}

/* Element (i, j) of the matrix of a plane. */
static double due_at(const ntk_store_spec *s, int64_t plane, int64_t i, int64_t j) {
  const int64_t O = s->outputs;
  if (s->reduction == NTK_REDUCE_NONE)
    return entry(s, i / O, i % O, j / O, j % O);
  return entry(s, i, plane, j, plane);
}

static void check_matrix(const ntk_store_spec *s, int64_t plane, const ntk_matrix *m) {
  for (int j = 0; j < m->local_columns; j++)
    for (int i = 0; i < m->local_rows; i++) {
      const int row = ntk_matrix_row(m, i), column = ntk_matrix_column(m, j);
      assert_true(row < m->rows && column < m->columns);
      const double due = due_at(s, plane, row, column);
      if (m->values[(int64_t)j * m->desc[8] + i] != due)
        fail_msg("plane %d, row %d, column %d: %g for %g", (int)plane, row, column,
                 m->values[(int64_t)j * m->desc[8] + i], due);
    }
}

static void read_plane(const ntk_store_spec *s, const ntk_kernel_file *file,
                       const ntk_blacs *grid, int64_t plane, int nb) {
  const int64_t rows = sides_of(s, s->rows), columns = sides_of(s, s->columns);
  ntk_matrix m = {0};
  check_success(ntk_matrix_create(context, grid, rows, columns, nb, &m));
  int64_t held[2] = {(int64_t)m.local_rows * m.local_columns, 0};
  assert_int_equal(MPI_Allreduce(held, held + 1, 1, MPI_INT64_T, MPI_SUM, context->comm),
                   MPI_SUCCESS);
  assert_int_equal(held[1], rows * columns);
  check_success(ntk_matrix_read(context, file, plane, &m));
  check_matrix(s, plane, &m);
  ntk_matrix_destroy(&m);
}

/* Of half a kernel the tiles that it has a place for. */
static bool is_held(const ntk_store_spec *s, const ntk_tile *t) {
  const int64_t I = t->row_first / s->block, J = t->column_first / s->block;
  return I == J ? t->row_output <= t->column_output
                : ntk_pair_is_computed(I, J, blocks_of(s->rows, s->block));
}

static void make_half(const ntk_store_spec *s) {
  static double values[MOST_TILE];
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = NULL;
  ntk_tile t;
  check_success(ntk_store_create(context, s, &store));
  for (int64_t k = 0; status == NTK_SUCCESS && tile_at(s, k, &t); k++)
    if (is_held(s, &t) && k % ntk_context_size(context) == ntk_context_rank(context)) {
      (void)fill_tile(s, &t, values);
      status = ntk_store_write(store, &t, values);
    }
  check_success(status);
  check_success(write_outputs(store, s));
  check_success(ntk_store_close(&store, true, NULL));
}

static void check_kind(ntk_reduction reduction, bool symmetric, bool half) {
  ntk_store_spec s =
      spec_of(reduction, symmetric, symmetric ? NTK_F64 : NTK_F32, 11, 7, 3, 4, 2);
  ntk_kernel_file *file = NULL;
  ntk_blacs grid = {0};
  s.half = half;
  if (half)
    make_half(&s);
  else
    make_file(&s, NULL);
  check_success(ntk_kernel_open(s.path, NULL, &file));
  check_success(ntk_blacs_create_square(context->comm, &grid));
  for (int64_t plane = 0; plane < ntk_kernel_get_facts(file)->matrices; plane++) {
    read_plane(&s, file, &grid, plane, 3);
    read_plane(&s, file, &grid, plane, 64);
  }
  ntk_blacs_destroy(&grid);
  ntk_kernel_close(&file);
  remove_file("K.h5");
}

static void test_full(void **state) {
  (void)state;
  check_kind(NTK_REDUCE_NONE, true, false);
  check_kind(NTK_REDUCE_NONE, false, false);
}

static void test_reduced(void **state) {
  (void)state;
  check_kind(NTK_REDUCE_TRACE, true, false);
  check_kind(NTK_REDUCE_PSEUDO, false, false);
  check_kind(NTK_REDUCE_DIAGONAL, true, false);
  check_kind(NTK_REDUCE_DIAGONAL, false, false);
}

static void test_half(void **state) {
  (void)state;
  check_kind(NTK_REDUCE_NONE, true, true);
  check_kind(NTK_REDUCE_TRACE, true, true);
  check_kind(NTK_REDUCE_DIAGONAL, true, true);
}

enum { SIDE = 23, NARROW = 3 };

/* Whole arrays in and out, the diagonal, and the lower triangle from the upper one. */
static void test_parts(void **state) {
  (void)state;
  double values[SIDE * NARROW], back[SIDE * NARROW], square[SIDE * SIDE],
      whole[SIDE * SIDE];
  double diagonal[SIDE], norm, most = 0;
  ntk_blacs grid = {0};
  ntk_matrix narrow = {0}, m = {0};
  for (int i = 0; i < SIDE * NARROW; i++)
    values[i] = i * 0.25;
  for (int i = 0; i < SIDE * SIDE; i++)
    square[i] = i * 7 % 101 - 50;
  check_success(ntk_blacs_create_square(context->comm, &grid));
  check_success(ntk_matrix_create(context, &grid, SIDE, NARROW, 2, &narrow));
  ntk_matrix_set(&narrow, values);
  check_success(ntk_matrix_get(context, &narrow, back));
  assert_memory_equal(values, back, sizeof values);
  check_success(ntk_matrix_create(context, &grid, SIDE, SIDE, 4, &m));
  ntk_matrix_set(&m, square);
  check_success(ntk_matrix_norm1(context, &m, &norm));
  for (int j = 0; j < SIDE; j++) {
    double sum = 0;
    for (int i = 0; i < SIDE; i++)
      sum += square[i * SIDE + j] < 0 ? -square[i * SIDE + j] : square[i * SIDE + j];
    most = sum > most ? sum : most;
  }
  assert_true(norm == most);
  check_success(ntk_matrix_get_diagonal(context, &m, diagonal));
  ntk_matrix_set_diagonal(&m, diagonal, 0.5);
  ntk_matrix_mirror(&m);
  check_success(ntk_matrix_get(context, &m, whole));
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++)
      assert_true(whole[i * SIDE + j] == (i == j  ? square[i * SIDE + i] + 0.5
                                          : i < j ? square[i * SIDE + j]
                                                  : square[j * SIDE + i]));
  ntk_matrix_destroy(&narrow);
  ntk_matrix_destroy(&m);
  ntk_blacs_destroy(&grid);
}

/* What does not fit: how many ranks would do, and no rank is left waiting. */
static void test_refused(void **state) {
  (void)state;
  ntk_blacs grid = {0};
  ntk_matrix m = {0};
  check_success(ntk_blacs_create_square(context->comm, &grid));
  const int64_t cap = ntk_memory_set_cap(ntk_memory_used_total() + 1000000);
  check_failure(ntk_matrix_create(context, &grid, 5000, 5000, 64, &m), NTK_ERR_MEMORY,
                "ranks would do");
  (void)ntk_memory_set_cap(cap);
  check_failure(ntk_matrix_create(context, &grid, (int64_t)1 << 33, 2, 64, &m),
                NTK_ERR_ARGUMENT, "too large");
  check_failure(ntk_blacs_create(context->comm, 64, 64, &grid), NTK_ERR_ARGUMENT,
                "4096 ranks");
  ntk_blacs_destroy(&grid);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_full, begin, end),
      cmocka_unit_test_setup_teardown(test_reduced, begin, end),
      cmocka_unit_test_setup_teardown(test_half, begin, end), cmocka_unit_test(test_parts),
      cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return with_ranks(run); }

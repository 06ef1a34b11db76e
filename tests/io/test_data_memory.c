/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 */
#include "io/files.h"
#include <math.h>

/* Samples of the caller's: rows that stand on ranks, and those of a function. */

enum { SIZE = 6, MOST = 3 * 5 };
static const int64_t shape[2] = {2, 3};

/* Rank r has 2 r rows: the first has none, unless it is alone. */
static int64_t count_of(int rank) { return context->size == 1 ? 5 : (int64_t)2 * rank; }
static int64_t first_of(int rank) { return (int64_t)rank * (rank - 1); }
static int64_t total(void) {
  return context->size == 1 ? 5 : first_of(context->size - 1) + count_of(context->size - 1);
}

/* Rows of this rank, as value_of has them and `shift` later ones. */
static void fill(ntk_dtype dtype, int64_t shift, unsigned char *rows) {
  const int64_t first = first_of(context->rank) * SIZE;
  size_t at = 0;
  for (int64_t i = 0; i < count_of(context->rank) * SIZE; i++)
    at += encode(dtype, false, value_of(dtype, first + i + shift), rows + at);
}

static void check_slices(ntk_data *data, ntk_dtype dtype, int64_t shift) {
  double wide[MOST * SIZE];
  float narrow[MOST * SIZE];
  assert_int_equal(ntk_data_samples(data), total());
  for (int64_t n = total(); n > 0; n--)
    for (int64_t first = total() - n; first >= 0; first--) {
      check_success(ntk_data_slice(data, first, n, NTK_F64, wide));
      check_success(ntk_data_slice(data, first, n, NTK_F32, narrow));
      for (int64_t i = 0; i < n * SIZE; i++) {
        const double due = value_of(dtype, first * SIZE + i + shift);
        assert_true(wide[i] == due && narrow[i] == (float)due);
      }
    }
}

static void rows(void **state) {
  (void)state;
  unsigned char bytes[MOST * SIZE * 8];
  for (int dtype = 0; dtype < NTK_DTYPES; dtype++) {
    ntk_data *data = NULL;
    const int64_t count = count_of(context->rank);
    fill((ntk_dtype)dtype, 0, bytes);
    check_success(ntk_data_from_rows(context, count, (ntk_dtype)dtype, 2, shape,
                                     count > 0 ? bytes : NULL, &data));
    assert_int_equal(data->labels, NTK_LABELS_NONE);
    check_slices(data, (ntk_dtype)dtype, 0);
    assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
    fill((ntk_dtype)dtype, 5, bytes);
    check_success(ntk_data_refresh(data));
    assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
    check_slices(data, (ntk_dtype)dtype, 5);
    assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
    ntk_data_destroy(&data);
  }
}

/* Rows that do not fit a piece, of the last rank for the others. */
static void large_rows(void **state) {
  (void)state;
  static const int64_t large = 300007;
  const bool last = context->rank == context->size - 1;
  ntk_data *data = NULL;
  double *x = malloc((size_t)(2 * large) * sizeof *x),
         *y = malloc((size_t)(2 * large) * sizeof *y);
  assert_true(x && y);
  for (int64_t i = 0; i < 2 * large; i++)
    x[i] = sin((double)i);
  check_success(ntk_data_from_rows(context, last ? 2 : 0, NTK_F64, 1, &large,
                                   last ? x : NULL, &data));
  check_success(ntk_data_slice(data, 0, 2, NTK_F64, y));
  assert_memory_equal(x, y, (size_t)(2 * large) * sizeof *y);
  assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
  ntk_data_destroy(&data);
  free(x);
  free(y);
}

typedef struct maker {
  ntk_dtype dtype;
  int64_t bad; /* sample at which it fails */
} maker;

static ntk_status make(int64_t first, int64_t count, void *out, void *user) {
  const maker *m = user;
  size_t at = 0;
  for (int64_t i = 0; i < count * SIZE; i++)
    at += encode(m->dtype, false, value_of(m->dtype, first * SIZE + i),
                 (unsigned char *)out + at);
  return m->bad >= first && m->bad < first + count ? NTK_ERR_NUMERICAL : NTK_SUCCESS;
}

static void function(void **state) {
  (void)state;
  for (int dtype = 0; dtype < NTK_DTYPES; dtype++) {
    maker m = {(ntk_dtype)dtype, -1};
    double values[SIZE];
    ntk_data *data = NULL;
    check_success(
        ntk_data_from_function(context, total(), m.dtype, 2, shape, make, &m, &data));
    check_slices(data, m.dtype, 0);
    m.bad = 1;
    check_success(ntk_data_slice(data, 0, 1, NTK_F64, values));
    check_failure(ntk_data_slice(data, 1, 1, NTK_F64, values), NTK_ERR_NUMERICAL,
                  "the caller's function for samples returned");
    ntk_data_destroy(&data);
  }
}

/* The message is rank r's, on all ranks. */
static void refusals(void **state) {
  (void)state;
  static const int64_t none[2] = {2, 0}, other[2] = {3, 2}, huge[2] = {INT64_MAX / 2, 4};
  const bool last = context->rank == context->size - 1;
  double x[SIZE] = {0};
  maker m = {NTK_F64, -1};
  ntk_data *data = NULL;
  check_failure(ntk_data_from_rows(context, 0, NTK_F64, 2, shape, NULL, &data),
                NTK_ERR_ARGUMENT, "no rank has samples");
  check_failure(ntk_data_from_rows(context, last ? -1 : 1, NTK_F64, 2, shape, x, &data),
                NTK_ERR_ARGUMENT, "data of -1 samples");
  check_failure(ntk_data_from_rows(context, 1, NTK_F64, 2, shape, last ? NULL : x, &data),
                NTK_ERR_ARGUMENT, "the rows are NULL");
  check_failure(ntk_data_from_rows(context, 1, NTK_F64, 2, last ? none : shape, x, &data),
                NTK_ERR_ARGUMENT, "axis 1 of the samples has the size 0");
  check_failure(ntk_data_from_rows(context, 1, NTK_F64, 2, last ? huge : shape, x, &data),
                NTK_ERR_ARGUMENT, "axis ");
  check_failure(ntk_data_from_rows(context, 1, NTK_F64, last ? 9 : 2, shape, x, &data),
                NTK_ERR_ARGUMENT, "samples of 9 axes");
  check_failure(
      ntk_data_from_rows(context, 1, last ? NTK_DTYPES : NTK_F64, 2, shape, x, &data),
      NTK_ERR_ARGUMENT, "data of no known type");
  check_failure(ntk_data_from_function(context, 0, NTK_F64, 2, shape, make, &m, &data),
                NTK_ERR_ARGUMENT, "data of no samples");
  check_failure(
      ntk_data_from_function(context, 1, NTK_F64, 2, shape, last ? NULL : make, &m, &data),
      NTK_ERR_ARGUMENT, "the function for samples is NULL");
  if (context->size > 1) {
    check_failure(
        ntk_data_from_rows(context, 1, last ? NTK_F32 : NTK_F64, 2, shape, x, &data),
        NTK_ERR_ARGUMENT, "of another type than on rank 0");
    check_failure(
        ntk_data_from_rows(context, 1, NTK_F64, 2, last ? other : shape, x, &data),
        NTK_ERR_ARGUMENT, "of another shape than on rank 0");
    check_failure(
        ntk_data_from_function(context, last ? 2 : 1, NTK_F64, 2, shape, make, &m, &data),
        NTK_ERR_ARGUMENT, "of another number than on rank 0");
  }
  assert_null(data);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rows), cmocka_unit_test(large_rows),
                                     cmocka_unit_test(function),
                                     cmocka_unit_test(refusals)};
  MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}

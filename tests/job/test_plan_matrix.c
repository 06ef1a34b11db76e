/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 */
#include "io/files.h"
#include "job/plan.h"
#include <math.h>

/* The caller's matrix against the kernel file, byte for byte, and samples of the caller's
 * against those of a file. */

enum { ROWS = 13, COLUMNS = 9, INPUTS = 6, OUTPUTS = 3, PAD = 3, MOST = 40 };
static ntk_model *model;
static ntk_data *rows, *columns; /* columns: another file */
static char options_of_all[512];

void Cblacs_get(int context, int what, int *value);
void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
void Cblacs_gridinfo(int context, int *rows, int *columns, int *row, int *column);
void Cblacs_gridexit(int context);

/* A kernel, as a matrix [r, c]. */
typedef struct kernel {
  ntk_plan *plan;
  ntk_plan_info info;
  int64_t r, c;
  double values[MOST * MOST];
} kernel;

static ntk_plan *make_plan(ntk_data *x1, ntk_data *x2, const char *options) {
  ntk_plan *plan = NULL;
  char text[1024];
  (void)snprintf(text, sizeof text, "%s %s", options_of_all, options);
  check_success(ntk_plan_create(model, x1, x2, text, &plan));
  return plan;
}

/* What the plan's file says. */
static void compute_file(ntk_plan *plan, double *values) {
  ntk_data *file = NULL;
  check_success(ntk_plan_to_file(plan, path_of("k.h5"), NULL, NULL));
  check_success(ntk_data_open(context, path_of("k.h5"), "/kernel", &file));
  check_success(ntk_data_slice(file, 0, file->samples, NTK_F64, values));
  ntk_data_destroy(&file);
  assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
  if (context->rank == 0)
    assert_int_equal(remove(path_of("k.h5")), 0);
  assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
}

static ntk_status add_tile(const ntk_tile *t, const void *values, void *user) {
  kernel *k = user;
  const bool full = k->info.reduction == NTK_REDUCE_NONE;
  const int64_t O = full ? k->info.outputs : 1, p0 = full ? t->column_output : 0;
  const int64_t o0 = full ? t->row_output : 0, o = full ? t->row_outputs : 1;
  const int64_t p = full ? t->column_outputs : 1;
  const ntk_dtype dtype = k->info.element_bytes == 8 ? NTK_F64 : NTK_F32;
  const char *from = values;
  for (int64_t i = 0; i < t->row_count * o; i++)
    for (int64_t j = 0; j < t->column_count; j++) {
      const int64_t row = (t->row_first + i / o) * O + o0 + i % o;
      ntk_convert(dtype, from, NTK_F64,
                  &k->values[row * k->c + (t->column_first + j) * O + p0], p);
      from += p * k->info.element_bytes;
    }
  return NTK_SUCCESS;
}

/* What its tiles say. */
static void compute(kernel *k) {
  memset(k->values, 0, sizeof k->values);
  check_success(ntk_plan_to_tiles(k->plan, add_tile, k));
  assert_int_equal(MPI_Allreduce(MPI_IN_PLACE, k->values, (int)(k->r * k->c), MPI_DOUBLE,
                                 MPI_SUM, context->comm),
                   MPI_SUCCESS);
}

static kernel make_kernel(ntk_data *x1, ntk_data *x2, const char *options) {
  kernel k = {.plan = make_plan(x1, x2, options)};
  ntk_plan_get_info(k.plan, &k.info);
  const int64_t each = k.info.reduction == NTK_REDUCE_NONE ? k.info.outputs : 1;
  k.r = k.info.rows * each;
  k.c = k.info.columns * each;
  compute(&k);
  return k;
}

/* ---- a matrix of ScaLAPACK ------------------------------------------------------------
 */

typedef struct matrix {
  int desc[9], place[4]; /* rows and columns of the grid, mine */
  double *local;
  float *narrow; /* the same in f32 */
  int64_t elements;
} matrix;

static int owned(int64_t i, int block, int first, int count) {
  return (int)((i / block + first) % count);
}

/* Rows or columns of a process. */
static int64_t number(int64_t size, int block, int first, int count, int process) {
  int64_t n = 0;
  for (int64_t i = 0; i < size; i++)
    n += owned(i, block, first, count) == process;
  return n;
}

static matrix make_matrix(const kernel *k, int grid_rows, int grid_columns, int mb,
                          int nb) {
  matrix m = {.desc = {1, -1, (int)k->r, (int)k->c, mb, nb, grid_rows - 1, 0, 0}};
  Cblacs_get(0, 0, &m.desc[1]);
  Cblacs_gridinit(&m.desc[1], "R", grid_rows, grid_columns);
  if (context->rank >= grid_rows * grid_columns) {
    for (int i = 0; i < 9; i++)
      m.desc[i] = i == 1 ? -1 : 77;
    m.place[2] = -1;
    return m;
  }
  Cblacs_gridinfo(m.desc[1], &m.place[0], &m.place[1], &m.place[2], &m.place[3]);
  m.desc[8] = PAD + (int)number(k->r, mb, m.desc[6], grid_rows, m.place[2]);
  m.elements = m.desc[8] * number(k->c, nb, m.desc[7], grid_columns, m.place[3]);
  m.local = malloc((size_t)m.elements * sizeof *m.local + 1);
  m.narrow = malloc((size_t)m.elements * sizeof *m.narrow + 1);
  assert_true(m.local && m.narrow);
  for (int64_t i = 0; i < m.elements; i++)
    m.narrow[i] = (float)(m.local[i] = -77);
  return m;
}

static void free_matrix(matrix *m) {
  if (m->place[2] >= 0)
    Cblacs_gridexit(m->desc[1]);
  free(m->local);
  free(m->narrow);
}

/* Every element is that of the file, padding is untouched. */
static void check_matrix(const kernel *k, const matrix *m, bool narrow) {
  const int *d = m->desc;
  int64_t at = 0;
  for (int64_t j = 0; j < k->c && m->place[2] >= 0; j++) {
    int64_t row = 0;
    if (owned(j, d[5], d[7], m->place[1]) != m->place[3])
      continue;
    for (int64_t i = 0; i < k->r; i++) {
      if (owned(i, d[4], d[6], m->place[0]) != m->place[2])
        continue;
      const double due = k->values[i * k->c + j];
      if (narrow ? m->narrow[at + row] != (float)due : m->local[at + row] != due)
        fail_msg("element %lld,%lld", (long long)i, (long long)j);
      row++;
    }
    for (; row < d[8]; row++)
      assert_true((narrow ? (double)m->narrow[at + row] : m->local[at + row]) == -77);
    at += d[8];
  }
  assert_true(at == m->elements);
}

static void check_grid(const kernel *k, int grid_rows, int grid_columns, int mb, int nb) {
  matrix m = make_matrix(k, grid_rows, grid_columns, mb, nb);
  check_success(ntk_plan_to_matrix(k->plan, m.desc, NTK_F64, m.local));
  check_matrix(k, &m, false);
  check_success(ntk_plan_to_matrix(k->plan, m.desc, NTK_F32, m.narrow));
  check_matrix(k, &m, true);
  free_matrix(&m);
}

/* All ranks, in lines and a square, and fewer ranks; blocks that divide nothing, of one
 * element, and larger than the matrix. */
static void check_kernel(ntk_data *x2, const char *options) {
  static const int blocks[][2] = {{5, 4}, {1, 1}, {100, 7}};
  kernel k = make_kernel(rows, x2, options);
  for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
    const int P = context->size, mb = blocks[b][0], nb = blocks[b][1];
    check_grid(&k, 1, P, mb, nb);
    check_grid(&k, P, 1, mb, nb);
    if (P == 4)
      check_grid(&k, 2, 2, mb, nb);
    if (P > 1)
      check_grid(&k, P - 1, 1, mb, nb);
  }
  ntk_plan_destroy(&k.plan);
}

static void full(void **state) {
  (void)state;
  kernel k = make_kernel(rows, NULL, "--dtype f64 --block 4x2");
  compute_file(k.plan, k.values);
  check_grid(&k, context->size, 1, 5, 4);
  ntk_plan_destroy(&k.plan);
  check_kernel(NULL, "--dtype f64 --block 4x2");
  check_kernel(columns, "--dtype f64 --block 5");
}
static void reduced(void **state) {
  (void)state;
  check_kernel(NULL, "--dtype f64 --block 4x2 --reduce trace");
  check_kernel(columns, "--dtype f64 --block 4 --reduce pseudo");
}
static void narrow_plan(void **state) {
  (void)state;
  check_kernel(NULL, "--dtype f32 --block 3x1 --select-outputs 2,0");
}

/* ---- what is wrong --------------------------------------------------------------------
 */

static void check_refused(const kernel *k, const matrix *m, int field, int value,
                          const char *part) {
  int desc[9];
  memcpy(desc, m->desc, sizeof desc);
  desc[field] = value;
  check_failure(ntk_plan_to_matrix(k->plan, desc, NTK_F64, m->local), NTK_ERR_ARGUMENT,
                part);
}

static void refusals(void **state) {
  (void)state;
  kernel k = make_kernel(rows, NULL, "--dtype f64 --block 4x2");
  matrix m = make_matrix(&k, context->size, 1, 5, 4);
  const int last = context->rank == context->size - 1;
  check_refused(&k, &m, 0, 501, "DTYPE is 501");
  check_refused(&k, &m, 1, -1, "no rank is in the grid");
  check_refused(&k, &m, 2, 38, "the matrix is 38 x 39, the kernel 39 x 39");
  check_refused(&k, &m, 4, last ? 0 : 5, "blocks of 0 x 4");
  check_refused(&k, &m, 6, context->size, "the first process is");
  check_refused(&k, &m, 8, last ? 0 : m.desc[8], "LLD is 0");
  if (context->size > 1) {
    check_refused(&k, &m, 5, last ? 3 : 4, "NB is 3 here, 4 on rank 0");
    check_refused(&k, &m, 1, last ? -1 : m.desc[1], "is no rank of the context");
  }
  check_failure(ntk_plan_to_matrix(k.plan, m.desc, NTK_I32, m.local), NTK_ERR_ARGUMENT,
                "a matrix of i32");
  check_failure(ntk_plan_to_matrix(k.plan, m.desc, NTK_F64, NULL), NTK_ERR_ARGUMENT,
                "the matrix is NULL");
  ntk_plan_destroy(&k.plan);
  k.plan = make_plan(rows, NULL, "--dtype f64 --reduce diagonal");
  check_failure(ntk_plan_to_matrix(k.plan, m.desc, NTK_F64, m.local), NTK_ERR_ARGUMENT,
                "is no matrix");
  ntk_plan_destroy(&k.plan);
  k.plan = make_plan(rows, NULL, "--dtype f64 --group w=*weight*");
  check_failure(ntk_plan_to_matrix(k.plan, m.desc, NTK_F64, m.local), NTK_ERR_ARGUMENT,
                "--group");
  ntk_plan_destroy(&k.plan);
  free_matrix(&m);
}

/* A stopped run leaves a plan that runs again. */
static void stops(void **state) {
  (void)state;
  kernel k = make_kernel(rows, NULL, "--dtype f64 --block 1x1");
  matrix m = make_matrix(&k, context->size, 1, 5, 4);
  if (context->rank == context->size - 1)
    ntk_context_stop(context);
  check_failure(ntk_plan_to_matrix(k.plan, m.desc, NTK_F64, m.local), NTK_STOPPED,
                "stopped");
  check_success(ntk_plan_to_matrix(k.plan, m.desc, NTK_F64, m.local));
  check_matrix(&k, &m, false);
  free_matrix(&m);
  ntk_plan_destroy(&k.plan);
}

/* ---- the caller's samples -------------------------------------------------------------
 */

static void fill_samples(int64_t first, int64_t count, double *out) {
  for (int64_t i = 0; i < count * INPUTS; i++)
    out[i] = value_of(NTK_F64, first * INPUTS + i);
}

static ntk_status make_samples(int64_t first, int64_t count, void *out, void *user) {
  int *calls = user;
  ++*calls;
  fill_samples(first, count, out);
  return *calls > 1000 ? NTK_ERR_FILE : NTK_SUCCESS;
}

static void a_function(void **state) {
  (void)state;
  static const int64_t shape[1] = {INPUTS};
  int calls = 0;
  ntk_data *data = NULL;
  check_success(ntk_data_from_function(context, ROWS, NTK_F64, 1, shape, make_samples,
                                       &calls, &data));
  kernel due = make_kernel(rows, NULL, "--dtype f64 --block 4x2"),
         found = make_kernel(data, NULL, "--dtype f64 --block 4x2");
  assert_memory_equal(due.values, found.values, sizeof due.values);
  if (context->rank == context->size - 1)
    calls = 1000;
  check_failure(ntk_plan_to_file(found.plan, path_of("k.h5"), NULL, NULL), NTK_ERR_FILE,
                "the caller's function for samples returned");
  assert_false(is_there("k.h5"));
  ntk_plan_destroy(&found.plan);
  ntk_plan_destroy(&due.plan);
  ntk_data_destroy(&data);
}

/* Rank 1 has no rows, the last one most; the first of a rank. */
static int64_t count_of(int rank) {
  const int P = context->size, last = P - 1;
  if (rank == 1)
    return 0;
  return P < 3 ? ROWS : rank == last ? ROWS - 2 * (P - 2) : 2;
}
static int64_t first_of(int rank) {
  int64_t first = 0;
  while (rank > 0)
    first += count_of(--rank);
  return first;
}

/* They are changed, and changed back, under a plan. */
static void rows_of_ranks(void **state) {
  (void)state;
  static const int64_t shape[3] = {2, 1, 3};
  const int64_t count = count_of(context->rank), first = first_of(context->rank);
  double x[ROWS * INPUTS];
  ntk_data *data = NULL;
  fill_samples(first, count, x);
  check_success(ntk_data_from_rows(context, count, NTK_F64, 3, shape, x, &data));
  assert_int_equal(ntk_data_samples(data), ROWS);
  kernel due = make_kernel(rows, NULL, "--dtype f64 --block 4x2"),
         found = make_kernel(data, NULL, "--dtype f64 --block 4x2");
  assert_memory_equal(due.values, found.values, sizeof due.values);
  for (int64_t i = 0; i < count * INPUTS; i++)
    x[i] = -x[i];
  compute(&found);
  assert_memory_not_equal(due.values, found.values, sizeof due.values);
  fill_samples(first, count, x);
  compute(&found);
  assert_memory_equal(due.values, found.values, sizeof due.values);
  compute_file(found.plan, found.values);
  assert_memory_equal(due.values, found.values, (size_t)(due.r * due.c) * sizeof(double));
  if (context->rank == 0)
    x[7] = NAN;
  check_failure(ntk_plan_to_tiles(found.plan, add_tile, &found), NTK_ERR_NONFINITE,
                "caller's rows: sample 1 holds NaN");
  ntk_plan_destroy(&found.plan);
  ntk_plan_destroy(&due.plan);
  ntk_data_destroy(&data);
}

/* ---- */

static void write_inputs(void) {
  static const char rates[] = "scantk-rates 1\nsgemm 4e10\ndgemm 2e10\nsgemm_knee 40\n"
                              "dgemm_knee 30\ncopy 8e9\n";
  static unsigned char bytes[512 + ROWS * INPUTS * 8];
  size_t head = encode_npy_header(1, "'<f8'", "(13, 6)", "False", bytes);
  size_t size = head + encode_values(NTK_F64, false, ROWS * INPUTS, bytes + head);
  put_file("rows.npy", bytes, size, false);
  head = encode_npy_header(1, "'<i2'", "(9, 6)", "False", bytes);
  size = head + encode_values(NTK_I16, false, COLUMNS * INPUTS, bytes + head);
  put_file("columns.npy", bytes, size, false);
  put_file("rates.txt", rates, sizeof rates - 1, false);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(full),         cmocka_unit_test(reduced),
      cmocka_unit_test(narrow_plan),  cmocka_unit_test(refusals),
      cmocka_unit_test(stops),        cmocka_unit_test(a_function),
      cmocka_unit_test(rows_of_ranks)};
  MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  make_folder();
  if (context->rank == 0)
    write_inputs();
  (void)snprintf(options_of_all, sizeof options_of_all, "--rates %s", path_of("rates.txt"));
  check_success(ntk_model_generate(
      context, "fcn", "--input 6 --width 16 --depth 1 --outputs 3", path_of("m.onnx")));
  check_success(ntk_model_read(context, path_of("m.onnx"), NULL, &model));
  check_success(ntk_data_read(context, path_of("rows.npy"), NULL, &rows));
  check_success(ntk_data_read(context, path_of("columns.npy"), NULL, &columns));
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_data_destroy(&columns);
  ntk_data_destroy(&rows);
  ntk_model_destroy(&model);
  remove_folder();
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}

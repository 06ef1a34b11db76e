/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 3 */
#include "base/random.h"
#include "dist/shares.h"
#include "io/files.h"
#include "job/plan.h"
#include "job/tile.h"
#include <math.h>
#include <scantk/apply.h>

/* The kernel as an operator against the kernel that is formed, for every golden network:
 * whatever stands between a parameter and its use. */

#define GOLDEN "tests/golden/"

static const char *const networks[] = {
    "activations", "attention",  "cnn",       "convolution_used_twice",
    "cut_weights", "dense",      "fcn",       "convolutions_1d_3d",
    "groups",      "lenet5",     "mixer",     "residual_convolutions",
    "ntk",         "sequence",   "ties",      "resnet_batchnorm",
    "transposed",  "used_twice", "vit_fused", "scaled_weight",
    "weight_norm", "vit_encoder"};
enum { NETWORKS = sizeof networks / sizeof *networks };

typedef struct subject {
  ntk_model *model;
  ntk_data *rows, *columns; /* columns NULL: the rows */
  ntk_plan *plan;
  ntk_shares shares;
  int64_t n1, n2; /* N O' of each side */
  double *kernel; /* [n1, n2] */
} subject;

static double *doubles(int64_t count) {
  double *values = calloc((size_t)(count > 0 ? count : 1), sizeof *values);
  assert_non_null(values);
  return values;
}

/* Numbers that depend on their place alone, on whichever rank. */
static double number(int64_t vector, int64_t place) {
  return ntk_random_normal(3, (uint64_t)vector, (uint64_t)place);
}

static double *vectors_of(int64_t vectors, int64_t first, int64_t count) {
  double *values = doubles(vectors * count);
  for (int64_t v = 0; v < vectors; v++)
    for (int64_t i = 0; i < count; i++)
      values[v * count + i] = number(v, first + i);
  return values;
}

static void sum_ranks(double *values, int64_t count) {
  assert_int_equal(
      MPI_Allreduce(MPI_IN_PLACE, values, (int)count, MPI_DOUBLE, MPI_SUM, context->comm),
      MPI_SUCCESS);
}

/* Of a trace, one number for two samples; of a diagonal, the blocks of an output each. */
static bool take_apart(const subject *s, const ntk_tile *t, const double *from) {
  const ntk_reduction reduction = s->plan->numeric.reduction;
  const int64_t O = s->shares.outputs;
  if (reduction != NTK_REDUCE_TRACE && reduction != NTK_REDUCE_DIAGONAL)
    return false;
  const int64_t blocks = reduction == NTK_REDUCE_TRACE ? 1 : t->row_outputs;
  for (int64_t o = t->row_output; o < t->row_output + blocks; o++)
    for (int64_t i = 0; i < t->row_count; i++)
      for (int64_t j = 0; j < t->column_count; j++)
        s->kernel[((t->row_first + i) * O + o) * s->n2 + (t->column_first + j) * O + o] =
            *from++;
  return true;
}

static ntk_status take_tile(const ntk_tile *t, const void *values, void *user) {
  const subject *s = user;
  if (!take_apart(s, t, values))
    ntk_tile_add(t, values, s->shares.outputs, s->n2, s->kernel);
  return NTK_SUCCESS;
}

static subject make(const char *network, bool second, const char *options) {
  char path[256], text[1024];
  subject s = {NULL};
  (void)snprintf(path, sizeof path, GOLDEN "%s.onnx", network);
  check_success(ntk_model_read(context, path, NULL, &s.model));
  (void)snprintf(path, sizeof path, GOLDEN "references.h5:/%s/inputs", network);
  check_success(ntk_data_read_for(s.model, path, NULL, &s.rows));
  (void)snprintf(path, sizeof path, GOLDEN "references.h5:/%s/inputs2", network);
  if (second)
    check_success(ntk_data_read_for(s.model, path, NULL, &s.columns));
  (void)snprintf(text, sizeof text, "--rates %s --algorithm structured --dtype f64 %s",
                 path_of("rates.txt"), options);
  check_success(ntk_plan_create(s.model, s.rows, s.columns, text, &s.plan));
  ntk_plan_get_shares(s.plan, &s.shares);
  s.n1 = ntk_data_samples(s.rows) * s.shares.outputs;
  s.n2 = second ? ntk_data_samples(s.columns) * s.shares.outputs : s.n1;
  s.kernel = doubles(s.n1 * s.n2);
  check_success(ntk_plan_to_tiles(s.plan, take_tile, &s));
  sum_ranks(s.kernel, s.n1 * s.n2);
  return s;
}

static void drop(subject *s) {
  ntk_plan_destroy(&s->plan);
  ntk_data_destroy(&s->rows);
  ntk_data_destroy(&s->columns);
  ntk_model_destroy(&s->model);
  free(s->kernel);
}

/* Theta u against the kernel's rows, and as J (J^T u). */
static void check_product(const subject *s, int64_t vectors, const char *name) {
  const ntk_shares *h = &s->shares;
  const int64_t O = h->outputs, rows = h->rows * O;
  const ntk_reduction reduction = s->plan->numeric.reduction;
  double *u = vectors_of(vectors, h->column_first * O, h->columns * O);
  double *y = doubles(vectors * rows), *again = doubles(vectors * rows);
  double *theta = doubles(vectors * h->parameters), most = 0, error = 0, apart = 0;
  check_success(ntk_plan_apply(s->plan, NTK_THETA, vectors, u, y));
  if (reduction == NTK_REDUCE_NONE || reduction == NTK_REDUCE_PSEUDO) {
    check_success(ntk_plan_apply(s->plan, NTK_JT, vectors, u, theta));
    check_success(ntk_plan_apply(s->plan, NTK_J, vectors, theta, again));
  } else {
    check_failure(ntk_plan_apply(s->plan, NTK_JT, vectors, u, theta), NTK_ERR_ARGUMENT,
                  ntk_reduction_name(reduction));
    check_success(ntk_plan_apply(s->plan, NTK_THETA, vectors, u, again));
  }
  for (int64_t v = 0; v < vectors; v++)
    for (int64_t i = 0; i < rows; i++) {
      double due = 0;
      for (int64_t j = 0; j < s->n2; j++)
        due += s->kernel[(h->row_first * O + i) * s->n2 + j] * number(v, j);
      most = fmax(most, fabs(due));
      error = fmax(error, fabs(due - y[v * rows + i]));
      apart = fmax(apart, fabs(again[v * rows + i] - y[v * rows + i]));
    }
  if (error > 1e-10 * most || apart > 1e-12 * most)
    fail_msg("%s: off by %g, in two steps by %g, of %g", name, error, apart, most);
  free(u);
  free(y);
  free(again);
  free(theta);
}

/* (J v) . u = v . (J^T u), of the rows alone. */
static void check_adjoint(const subject *s, const char *name) {
  const ntk_shares *h = &s->shares;
  const int64_t rows = h->rows * h->outputs;
  double *u = vectors_of(1, h->row_first * h->outputs, rows);
  double *v = vectors_of(1, h->parameter_first, h->parameters);
  double *y = doubles(rows), *theta = doubles(h->parameters), dots[2] = {0, 0};
  check_success(ntk_plan_apply(s->plan, NTK_J, 1, v, y));
  check_success(ntk_plan_apply(s->plan, NTK_JT, 1, u, theta));
  for (int64_t i = 0; i < rows; i++)
    dots[0] += u[i] * y[i];
  for (int64_t i = 0; i < h->parameters; i++)
    dots[1] += v[i] * theta[i];
  sum_ranks(dots, 2);
  if (fabs(dots[0] - dots[1]) > 1e-10 * (fabs(dots[0]) + sqrt((double)s->n1)))
    fail_msg("%s: %.17g for %.17g", name, dots[0], dots[1]);
  free(u);
  free(v);
  free(y);
  free(theta);
}

static void check_diagonal(const subject *s, const char *name) {
  double mean, due = 0;
  check_success(ntk_plan_mean_diagonal(s->plan, &mean));
  for (int64_t i = 0; i < s->n1; i++)
    due += s->kernel[i * s->n1 + i] / (double)s->n1;
  if (fabs(mean - due) > 1e-11 * due)
    fail_msg("%s: mean of the diagonal %.17g for %.17g", name, mean, due);
}

static void every_network(void **state) {
  (void)state;
  for (int i = 0; i < NETWORKS; i++) {
    subject s = make(networks[i], false, "");
    check_product(&s, 2, networks[i]);
    check_adjoint(&s, networks[i]);
    check_diagonal(&s, networks[i]);
    drop(&s);
  }
}

static void selections(void **state) {
  (void)state;
  static const struct {
    const char *network, *options;
    bool second;
    int64_t vectors;
  } cases[] = {{"cnn", "", true, 3},
               {"fcn", "", true, 70}, /* more than are taken at a time */
               {"fcn", "--select-outputs 1", true, 2},
               {"lenet5", "--select-outputs 7,2:4", true, 2},
               {"cnn", "--reduce pseudo", true, 3},
               {"mixer", "--reduce pseudo --select-outputs 1,0", false, 2}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    subject s = make(cases[i].network, cases[i].second, cases[i].options);
    check_product(&s, cases[i].vectors, cases[i].options);
    check_product(&s, 1, cases[i].options);
    if (!cases[i].second) {
      check_adjoint(&s, cases[i].options);
      check_diagonal(&s, cases[i].options);
    }
    drop(&s);
  }
}

/* Sums over outputs, and outputs apart: in several parts, with more vectors than are taken
 * at a time, of two sides, of cotangents. */
static void outputs_apart(void **state) {
  (void)state;
  static const struct {
    const char *network, *options;
    bool second;
    int64_t vectors;
  } cases[] = {
      {"fcn", "--reduce trace", true, 3},
      {"cnn", "--reduce trace --trace-scale sum --block 2x3", false, 2},
      {"lenet5", "--reduce trace", false, 8},
      {"vit_encoder", "--reduce trace --select-outputs 1,0", true, 2},
      {"fcn", "--reduce trace --select-outputs 2", false, 2},
      {"cnn", "--reduce diagonal", true, 3},
      {"lenet5", "--reduce diagonal --select-outputs 7,2:6 --block 2x2", false, 2}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    subject s = make(cases[i].network, cases[i].second, cases[i].options);
    check_product(&s, cases[i].vectors, cases[i].options);
    if (!cases[i].second)
      check_diagonal(&s, cases[i].options);
    drop(&s);
  }
}

/* C of all samples, and of each sample its own. */
static void cotangents(void **state) {
  (void)state;
  static unsigned char bytes[512 + 64 * 2 * 64 * 8];
  static const char *const reductions[] = {"none", "pseudo", "trace"};
  for (int each = 0; each < 2; each++)
    for (int r = 0; r < 3; r++) {
      char shape[64], options[512];
      subject s = make("fcn", false, "");
      const int64_t O = s.shares.outputs, N = s.n1 / O, count = (each ? N : 1) * 2 * O;
      drop(&s);
      (void)snprintf(shape, sizeof shape, "(2, %d)", (int)O);
      if (each)
        (void)snprintf(shape, sizeof shape, "(%d, 2, %d)", (int)N, (int)O);
      size_t size = encode_npy_header(1, "'<f8'", shape, "False", bytes);
      size += encode_values(NTK_F64, false, count, bytes + size);
      if (context->rank == 0)
        put_file("c.npy", bytes, size, false);
      assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
      (void)snprintf(options, sizeof options, "--cotangents %s --reduce %s",
                     path_of("c.npy"), reductions[r]);
      s = make("fcn", false, options);
      assert_true(s.shares.outputs == (r == 0 ? 2 : 1));
      check_product(&s, 2, options);
      if (r < 2)
        check_adjoint(&s, options);
      check_diagonal(&s, options);
      drop(&s);
    }
}

static void narrow_type(void **state) {
  (void)state;
  char text[512];
  subject s = make("cnn", false, "");
  ntk_plan *plan = NULL;
  const int64_t rows = s.shares.rows * s.shares.outputs;
  double *u = vectors_of(1, s.shares.row_first * s.shares.outputs, rows);
  double *y = doubles(rows), *wide = doubles(rows), most = 0;
  (void)snprintf(text, sizeof text, "--rates %s", path_of("rates.txt"));
  check_success(ntk_plan_create(s.model, s.rows, NULL, text, &plan));
  check_success(ntk_plan_apply(plan, NTK_THETA, 1, u, y));
  check_success(ntk_plan_apply(s.plan, NTK_THETA, 1, u, wide));
  for (int64_t i = 0; i < rows; i++)
    most = fmax(most, fabs(wide[i]));
  for (int64_t i = 0; i < rows; i++)
    assert_true(fabs(y[i] - wide[i]) < 1e-4 * most);
  ntk_plan_destroy(&plan);
  free(u);
  free(y);
  free(wide);
  drop(&s);
}

static void refused(void **state) {
  (void)state;
  subject s = make("fcn", false, "");
  double *u = doubles(s.n1), *y = doubles(s.n1);
  if (s.shares.columns > 0 && (context->rank > 0 || context->size == 1))
    u[0] = NAN;
  check_failure(ntk_plan_apply(s.plan, NTK_THETA, 1, u, y), NTK_ERR_NONFINITE, "f64");
  free(u);
  free(y);
  drop(&s);
}

/* Sums of shares, also where there are fewer numbers than ranks. */
static void shares(void **state) {
  (void)state;
  for (int64_t n = 1; n < 8; n++) {
    double values[8], room[16];
    for (int64_t i = 0; i < n; i++)
      values[i] = (double)(i + 10 * context->rank);
    check_success(ntk_shares_sum_all(context->comm, n, values, room));
    for (int64_t i = 0; i < n; i++)
      assert_true(values[i] ==
                  (double)(i * context->size + 5 * context->size * (context->size - 1)));
  }
}

int main(int argc, char *argv[]) {
  static const char rates[] = "scantk-rates 1\nsgemm 4e10\ndgemm 2e10\nsgemm_knee 40\n"
                              "dgemm_knee 30\ncopy 8e9\n";
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_network), cmocka_unit_test(selections),
      cmocka_unit_test(outputs_apart), cmocka_unit_test(cotangents),
      cmocka_unit_test(narrow_type),   cmocka_unit_test(refused),
      cmocka_unit_test(shares)};
  (void)MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  make_folder();
  if (context->rank == 0)
    put_file("rates.txt", rates, sizeof rates - 1, false);
  const int failures = cmocka_run_group_tests(tests, NULL, NULL);
  remove_folder();
  ntk_context_destroy(&context);
  (void)MPI_Finalize();
  return failures;
}

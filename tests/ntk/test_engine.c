/* SPDX-License-Identifier: Apache-2.0 */
/* simd: all */
/* timeout: 900 */
#define NTK_DOUBLE 1
#include "engine.h"
#include "networks.h"
#include "ntk/micro.h"
#include <mpi.h>

/* The engine against kernels made by torch and functorch (tests/golden): every algorithm,
 * every order, all forms, and tiles of all kinds. */

static ntk_context *context;

/* Networks in which an order was forced somewhere, so that none goes untested. */
static int forced_in[NTK_ORDERS];

/* Compares one computation with the form of the full kernel; false where no group has the
 * forced order. */
static bool check(const subject *s, const setup *u, const double *full, double tolerance) {
  static const char *const forms[] = {"full", "trace", "diagonal"};
  double *kernel = kernel_make(s, u);
  if (!kernel)
    return false;
  double *expected = reduce(s, u, full);
  const double found = difference(kernel_size(s, u), kernel, expected);
  if (!(found < tolerance))
    fail_msg("%s: %s, order %d, %s, %s%s, B %d, Q %d, sweep %d: differs by %g", s->name,
             ntk_algorithm_name(u->algorithm), u->order,
             u->pseudo ? "pseudo" : forms[u->form], ntk_dtype_name(u->dtype),
             u->symmetric ? ", symmetric" : "", (int)u->block, (int)u->outputs_block,
             (int)u->sweep_samples, found);
  free(kernel);
  free(expected);
  return true;
}

/* One algorithm and order in all forms, as one tile or in blocks. */
static bool check_forms(const subject *s, setup u, const double *full, double tolerance) {
  bool any = false;
  for (u.form = NTK_FORM_FULL; u.form <= NTK_FORM_DIAGONAL; u.form++)
    any = check(s, &u, full, tolerance) || any;
  u.form = NTK_FORM_FULL;
  u.pseudo = true;
  return check(s, &u, full, tolerance) || any;
}

/* Blocks that do not divide samples or outputs, sweeps within a block. */
static const struct tiling {
  int64_t block, outputs_block, sweep_samples;
} tilings[] = {{0, 0, 0}, {3, 0, 2}, {1, 2, 0}, {2, 1, 1}, {3, 3, 3}, {0, 2, 3}};
enum { TILINGS = sizeof tilings / sizeof *tilings };

/* Each computation takes three of them, in turn; one with narrower vectors, or where memory
 * is watched. */
static int next_tiling;

static int tiling_count(void) {
#ifdef __SANITIZE_ADDRESS__
  return 1;
#else
  return getenv("SCANTK_SIMD") ? 1 : TILINGS / 2;
#endif
}

static bool check_tilings(const subject *s, setup u, const double *full, double tolerance) {
  bool any = false;
  for (int i = 0; i < tiling_count(); i++) {
    const struct tiling *t = &tilings[next_tiling++ % TILINGS];
    u.block = t->block;
    u.outputs_block = t->outputs_block;
    u.sweep_samples = t->sweep_samples;
    any = check_forms(s, u, full, tolerance) || any;
  }
  return any;
}

static void check_algorithms(const subject *s, setup u, const double *full,
                             double tolerance) {
  u.order = -1;
  for (int a = 0; a <= NTK_ALGORITHM_STRUCTURED; a++) {
    u.algorithm = (ntk_algorithm)a;
    assert_true(check_tilings(s, u, full, tolerance));
  }
  for (u.order = 0; u.order < NTK_ORDERS; u.order++)
    if (check_tilings(s, u, full, tolerance) && u.dtype == NTK_F64 && u.symmetric)
      forced_in[u.order]++;
}

static void golden_network(void **state) {
  int64_t count;
  const char *name = *state;
  subject s = subject_golden(context, name);
  for (int symmetric = 0; symmetric < 2; symmetric++) {
    double *full = read_reference(name, symmetric ? "kernel" : "kernel2", &count);
    assert_int_equal(count, s.count[0] * s.O * s.count[1 - symmetric] * s.O);
    for (int type = NTK_F32; type <= NTK_F64; type++) {
      const setup u = {.dtype = (ntk_dtype)type, .symmetric = symmetric};
      check_algorithms(&s, u, full, type == NTK_F64 ? 1e-12 : 1e-5);
    }
    free(full);
  }
  subject_free(&s);
}

/* Runs after the golden networks. */
static void every_order_was_forced(void **state) {
  (void)state;
  assert_true(forced_in[NTK_ORDER_OUTSIDE_IN] == GOLDEN);
  assert_true(forced_in[NTK_ORDER_INSIDE_OUT] >= GOLDEN - 2);
  assert_true(forced_in[NTK_ORDER_LEFT_TO_RIGHT] >= GOLDEN - 2);
  assert_true(forced_in[NTK_ORDER_CONSTANT] >= GOLDEN - 6);
}

static void every_reference_is_used(void **state) {
  (void)state;
  assert_int_equal(count_references(), GOLDEN);
}

/* The outputs of the forward sweeps, as they are handed over. */
static void outputs_are_handed_over(void **state) {
  (void)state;
  for (int i = 0; i < GOLDEN; i++) {
    int64_t count;
    subject s = subject_golden(context, golden[i]);
    double *expected = read_reference(golden[i], "outputs", &count);
    assert_int_equal(count, s.count[0] * s.O);
    for (int a = 0; a <= NTK_ALGORITHM_STRUCTURED; a++) {
      double *outputs = doubles(count);
      const setup u = {.algorithm = (ntk_algorithm)a,
                       .dtype = NTK_F64,
                       .order = -1,
                       .block = 3,
                       .outputs_block = 2,
                       .sweep_samples = 2,
                       .outputs = outputs};
      free(kernel_make(&s, &u));
      assert_true(difference(count, outputs, expected) < 1e-12);
      free(outputs);
    }
    free(expected);
    subject_free(&s);
  }
}

/* Networks that merge uses in many ways, against their dense Jacobians. */
static void written_network(void **state) {
  subject s = subject_written(context, *state, 4, 3);
  for (int symmetric = 0; symmetric < 2; symmetric++) {
    setup u = {.algorithm = NTK_ALGORITHM_JACOBIAN,
               .dtype = NTK_F64,
               .order = -1,
               .symmetric = symmetric};
    double *full = kernel_make(&s, &u);
    check_algorithms(&s, u, full, 1e-12);
    free(full);
  }
  subject_free(&s);
}

/* Networks that are large enough for several windows, chains and patches. */
static void generated_networks(void **state) {
  (void)state;
  static const struct {
    const char *family, *options;
    int64_t n1, n2;
  } cases[] = {
      {"fcn", "--input 20 --width 30 --depth 2 --outputs 5 --activation gelu", 90, 100},
      {"cnn", "--input 2x9x8 --width 6 --depth 2 --outputs 3 --activation tanh", 9, 7},
      {"fcn", "--input 20 --width 30 --depth 2 --outputs 400 --activation erf", 3, 2},
      {"lenet5", "--input 1x28x28 --activation tanh --parameterization ntk", 3, 2},
      {"resnet18", "--input 3x8x8 --width 4 --activation tanh", 2, 3},
      {"vit", "--input 2x6x9 --patch 3 --width 6 --heads 3 --depth 1 --outputs 3", 4, 3}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    subject s = subject_generated(context, cases[i].family, cases[i].options, cases[i].n1,
                                  cases[i].n2);
    for (int symmetric = 0; symmetric < 2; symmetric++) {
      setup u = {.algorithm = NTK_ALGORITHM_JACOBIAN,
                 .dtype = NTK_F64,
                 .order = -1,
                 .symmetric = symmetric};
      double *full = kernel_make(&s, &u);
      u.algorithm = NTK_ALGORITHM_STRUCTURED;
      for (u.order = -1; u.order < NTK_ORDERS; u.order++) {
        const bool cut = (u.order + symmetric) & 1;
        u.block = cut ? s.count[0] / 2 + 1 : 0;
        u.outputs_block = cut ? s.O * 3 / 5 : 0;
        u.sweep_samples = cut ? 2 : 0;
        check_forms(&s, u, full, 1e-10);
      }
      free(full);
    }
    subject_free(&s);
  }
}

/* Sums of more terms than one accumulator may take: over K, over positions, over (o, k, c).
 */
static void long_sums(void **state) {
  (void)state;
  static const struct {
    const char *family, *options;
    int last; /* order to go up to */
  } cases[] = {
      {"fcn", "--input 9000 --width 3 --depth 1 --outputs 2", NTK_ORDER_CONSTANT},
      {"fcn", "--input 5 --width 5000 --depth 1 --outputs 2", NTK_ORDER_CONSTANT},
      {"cnn", "--input 1x65x66 --width 2 --depth 1 --outputs 2", NTK_ORDER_OUTSIDE_IN},
      {"vit", "--input 1x23x23 --patch 1 --width 6 --heads 2 --depth 1 --outputs 2",
       NTK_ORDER_OUTSIDE_IN}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    subject s = subject_generated(context, cases[i].family, cases[i].options, 3, 2);
    setup u = {.algorithm = NTK_ALGORITHM_NTVP, .dtype = NTK_F64, .order = -1};
    double *full = kernel_make(&s, &u);
    u.algorithm = NTK_ALGORITHM_STRUCTURED;
    for (int order = 0; order <= cases[i].last; order++)
      for (int type = NTK_F32; type <= NTK_F64; type++) {
        u.order = order;
        u.dtype = (ntk_dtype)type;
        check_forms(&s, u, full, type == NTK_F64 ? 1e-12 : 1e-5);
      }
    free(full);
    subject_free(&s);
  }
}

/* The kernel's bits on some number of threads. */
static double *kernel_by(int threads, const subject *s, const setup *u) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  double *kernel = kernel_make(s, u);
  omp_set_num_threads(before);
  return kernel;
}

/* Threads cut blocks of few samples down to single ones. Sweeps of one sample leave nothing
 * else that depends on them. */
static void threads_change_no_bit(void **state) {
  (void)state;
  static const int threads[] = {2, 7};
  subject s = subject_generated(context, "cnn",
                                "--input 2x6x5 --width 100 --depth 1 --outputs 3", 9, 6);
  setup u = {.algorithm = NTK_ALGORITHM_STRUCTURED, .sweep_samples = 1};
  for (u.order = -1; u.order < NTK_ORDERS; u.order++)
    for (u.block = 4; u.block < 12; u.block += 5)
      for (int k = 0; k < 2; k++) {
        u.symmetric = k;
        double *one = kernel_by(1, &s, &u), *more = kernel_by(threads[k], &s, &u);
        assert_memory_equal(one, more, (size_t)kernel_size(&s, &u) * sizeof *one);
        free(one);
        free(more);
      }
  subject_free(&s);
}

/* What fails beside a contraction fails the call. */
static void failures_meanwhile(void **state) {
  (void)state;
  subject s = subject_golden(context, golden[0]);
  setup u = {.order = -1, .block = 3, .meanwhile = NTK_ERR_HDF5};
  for (int a = 0; a <= NTK_ALGORITHM_STRUCTURED; a++) {
    u.algorithm = (ntk_algorithm)a;
    free(kernel_by(2, &s, &u));
  }
  subject_free(&s);
}

int main(int argc, char **argv) {
  struct CMUnitTest tests[GOLDEN + 7 + WRITTEN];
  const char *width = getenv("SCANTK_SIMD");
  if (width && strcmp(width, ntk_micro_at_f64(0)->name) == 0)
    return 77; /* the processor's own, with which the test runs anyway */
  MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_SELF, NULL, &context) != NTK_SUCCESS)
    return 1;
  for (int i = 0; i < GOLDEN; i++)
    tests[i] = (struct CMUnitTest){golden[i], golden_network, NULL, NULL,
                                   (void *)(uintptr_t)golden[i]};
  tests[GOLDEN] = (struct CMUnitTest)cmocka_unit_test(every_order_was_forced);
  tests[GOLDEN + 1] = (struct CMUnitTest)cmocka_unit_test(every_reference_is_used);
  tests[GOLDEN + 2] = (struct CMUnitTest)cmocka_unit_test(outputs_are_handed_over);
  tests[GOLDEN + 3] = (struct CMUnitTest)cmocka_unit_test(generated_networks);
  tests[GOLDEN + 4] = (struct CMUnitTest)cmocka_unit_test(long_sums);
  tests[GOLDEN + 5] = (struct CMUnitTest)cmocka_unit_test(threads_change_no_bit);
  tests[GOLDEN + 6] = (struct CMUnitTest)cmocka_unit_test(failures_meanwhile);
  for (int i = 0; i < WRITTEN; i++)
    tests[GOLDEN + 7 + i] =
        (struct CMUnitTest){written_networks[i].name, written_network, NULL, NULL,
                            (void *)(uintptr_t)&written_networks[i]};
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}

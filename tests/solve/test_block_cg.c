/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 3 */
#include "base/random.h"
#include "dist/shares.h"
#include "io/kernel_files.h"
#include "solve/block_cg.h"
#include <math.h>

/* Block conjugate gradients on diagonal matrices: what dependent right-hand sides, rounding
 * and directions of no use do to them. */

enum { MOST_N = 400, MOST_SYSTEMS = 12 };

typedef struct subject {
  int64_t n, first, unknowns;  /* of all ranks; of this one */
  double a[MOST_N];            /* the diagonal of A */
  double scale[MOST_N];        /* that of the preconditioner; 0: none */
  double shifts[MOST_SYSTEMS]; /* of the systems */
  double b[MOST_SYSTEMS * MOST_N], x[MOST_SYSTEMS * MOST_N], ax[MOST_SYSTEMS * MOST_N];
  double residuals[MOST_SYSTEMS];
  int64_t vectors, most; /* applied to; at once */
  int64_t kept;
} subject;

static subject s;

static ntk_status apply(void *self, int64_t count, const int64_t *which, const double *in,
                        double *out) {
  (void)self;
  for (int64_t k = 1; k < count; k++)
    assert_true(which[k] >= which[k - 1]);
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < s.unknowns; i++)
      out[k * s.unknowns + i] = s.a[s.first + i] * in[k * s.unknowns + i];
  s.vectors += count;
  s.most = count > s.most ? count : s.most;
  return NTK_SUCCESS;
}

static ntk_status precondition(void *self, int64_t count, const int64_t *which,
                               const double *in, double *out) {
  (void)self;
  (void)which;
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < s.unknowns; i++)
      out[k * s.unknowns + i] = s.scale[s.first + i] * in[k * s.unknowns + i];
  return NTK_SUCCESS;
}

static ntk_status keep(void *self, const double *x) {
  (void)self;
  (void)x;
  s.kept++;
  return NTK_SUCCESS;
}

/* n eigenvalues from `least` to 1, systems of random right-hand sides, by groups of
 * `each`: shifts of 0, 0.1, 0.2, .. */
static ntk_cg make(int64_t n, double least, int64_t systems, int64_t each) {
  s = (subject){.n = n, .first = ntk_share_first(n, context->rank, context->size)};
  s.unknowns = ntk_share_count(n, context->rank, context->size);
  for (int64_t i = 0; i < n; i++)
    s.a[i] = pow(least, n > 1 ? (double)i / (double)(n - 1) : 0);
  for (int64_t k = 0; k < systems; k++) {
    const int64_t group = k / each;
    s.shifts[k] = 0.1 * (double)group;
    for (int64_t i = 0; i < s.unknowns; i++)
      s.b[k * s.unknowns + i] = ntk_random_normal(1, (uint64_t)k, (uint64_t)(s.first + i));
  }
  return (ntk_cg){.context = context,
                  .systems = systems,
                  .unknowns = s.unknowns,
                  .each = each,
                  .shifts = s.shifts,
                  .tolerance = 1e-9,
                  .most_iterations = 5000,
                  .keep_seconds = 1e9,
                  .apply = apply,
                  .keep = keep};
}

static ntk_cg_report solve(const ntk_cg *cg) {
  ntk_cg_report found = {.iterations = 0};
  check_success(ntk_cg_solve(cg, s.b, s.x, s.ax, s.residuals, &found));
  assert_true(found.products == s.vectors);
  return found;
}

static void check_solved(const ntk_cg *cg, const ntk_cg_report *found) {
  assert_int_equal(found->end, NTK_CG_CONVERGED);
  assert_false(found->is_indefinite);
  for (int64_t k = 0; k < cg->systems; k++)
    for (int64_t i = 0; i < s.unknowns; i++) {
      const int64_t e = k * s.unknowns + i;
      const double left = s.b[e] - (s.a[s.first + i] + s.shifts[k]) * s.x[e];
      assert_true(s.residuals[k] <= cg->tolerance);
      assert_true(fabs(left) <= 2e-9 * sqrt(2.0 * (double)s.n));
      assert_true(s.ax[e] == s.a[s.first + i] * s.x[e]);
    }
}

static void groups(void **state) {
  (void)state;
  ntk_cg cg = make(MOST_N, 1e-3, 12, 4);
  const ntk_cg_report blocks = solve(&cg);
  check_solved(&cg, &blocks);
  cg = make(MOST_N, 1e-3, 12, 4);
  cg.each = 1;
  const ntk_cg_report apart = solve(&cg);
  check_solved(&cg, &apart);
  assert_true(blocks.products < apart.products && blocks.iterations < apart.iterations);
}

/* One is 0, one a multiple, one the sum of others: two directions serve all five. */
static void dependent(void **state) {
  (void)state;
  ntk_cg cg = make(MOST_N, 1e-2, 5, 5);
  for (int64_t i = 0; i < s.unknowns; i++) {
    s.b[2 * s.unknowns + i] = 0;
    s.b[3 * s.unknowns + i] = 1e6 * s.b[i];
    s.b[4 * s.unknowns + i] = s.b[i] + s.b[s.unknowns + i];
  }
  const ntk_cg_report found = solve(&cg);
  assert_int_equal(found.end, NTK_CG_CONVERGED);
  assert_true(found.products - 10 <= 2 * found.iterations);
  for (int64_t i = 0; i < s.unknowns; i++) {
    assert_true(s.x[2 * s.unknowns + i] == 0);
    assert_true(fabs(s.x[3 * s.unknowns + i] - 1e6 * s.x[i]) < 1e6 * 1e-5);
  }
}

/* Fewer unknowns than ranks, than right-hand sides. */
static void few(void **state) {
  (void)state;
  for (int64_t n = 1; n < 4; n++) {
    const ntk_cg cg = make(n, 0.5, 10, 5);
    const ntk_cg_report found = solve(&cg);
    check_solved(&cg, &found);
    assert_true(found.iterations <= 2);
  }
}

/* A preconditioner that makes things worse, until directions are lost in rounding. */
static void hard(void **state) {
  (void)state;
  const double decades = context->size == 1 ? 4 : 3; /* many steps take messages long */
  ntk_cg cg = make(MOST_N, 1e-3, 8, 8);
  for (int64_t i = 0; i < s.n; i++)
    s.scale[i] = pow(10, decades * ntk_random_uniform(2, 0, (uint64_t)i));
  cg.precondition = precondition;
  cg.most_iterations = 20000;
  const ntk_cg_report found = solve(&cg);
  check_solved(&cg, &found);
}

static void not_solved(void **state) {
  (void)state;
  ntk_cg cg = make(MOST_N, 1e-6, 4, 2);
  cg.most_iterations = 3;
  ntk_cg_report found = solve(&cg);
  assert_true(found.end == NTK_CG_NOT_CONVERGED && found.iterations == 3);
  assert_false(found.is_rounding || found.is_indefinite);
  cg = make(MOST_N, 1e-12, 2, 2);
  cg.tolerance = 1e-15;
  found = solve(&cg);
  assert_int_equal(found.end, NTK_CG_NOT_CONVERGED);
  cg = make(MOST_N, 1e-3, 4, 4);
  s.a[s.n - 1] = -0.5;
  found = solve(&cg);
  assert_true(found.end != NTK_CG_CONVERGED || s.residuals[0] <= cg.tolerance);
  assert_true(found.is_indefinite);
}

/* What is reached is kept at a stop, and gone on with. */
static void stopped(void **state) {
  (void)state;
  ntk_cg cg = make(MOST_N, 1e-4, 6, 3);
  cg.keep_seconds = 0;
  if (context->rank == 0)
    ntk_context_stop(context);
  ntk_cg_report found = solve(&cg);
  assert_int_equal(found.end, NTK_CG_STOPPED);
  assert_true(found.iterations == 1 && s.kept == 1);
  check_success(ntk_stop_obeyed(context));
  s.vectors = 0;
  found = solve(&cg);
  check_solved(&cg, &found);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(groups), cmocka_unit_test(dependent),  cmocka_unit_test(few),
      cmocka_unit_test(hard),   cmocka_unit_test(not_solved), cmocka_unit_test(stopped)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return with_ranks(run); }

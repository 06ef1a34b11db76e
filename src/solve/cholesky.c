/* SPDX-License-Identifier: Apache-2.0 */
/* The factor stands in the lower triangle, the kernel stays in the upper one: refinement
 * needs no second matrix. */
#include "base/memory.h"
#include "solve/scalapack.h"
#include "solve/solve.h"
#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Steps of refinement at most; a step that does not halve the residual is the last. */
enum { MOST_STEPS = 3 };
/* Parts so large are left to pdpotrf. */
enum { WHOLE = 256 };

typedef struct work {
  ntk_system *system;
  ntk_matrix x, p, r;
  double *factor; /* [n] diagonal of the factor */
} work;

/* Rows and columns `at` .. at + n of the lower triangle. One rank alone goes by halves:
 * pdpotrf updates by products one block wide, of which large ones are half as fast (n =
 * 4,000: 17 GFLOP/s with pdpotrf alone, 27 by halves, where dgemm has 37); between ranks
 * that gains nothing, as pdtrsm waits more. The first pivot that is not above zero; 0:
 * none. */
static int factorize_part(ntk_matrix *k, int at, int n) {
  const double one = 1, minus = -1;
  const int half = (n / 2 + k->nb - 1) / k->nb * k->nb, rest = n - half;
  const int here = at + 1, below = at + half + 1;
  const bool alone = k->grid->rows * k->grid->columns == 1;
  int info = 0;
  if (!alone || n <= WHOLE || rest <= 0) {
    pdpotrf_("L", &n, k->values, &here, &here, k->desc, &info, 1);
    return info > 0 ? at + info : info;
  }
  info = factorize_part(k, at, half);
  if (info != 0)
    return info;
  pdtrsm_("R", "L", "T", "N", &rest, &half, &one, k->values, &here, &here, k->desc,
          k->values, &below, &here, k->desc);
  pdsyrk_("L", "N", &rest, &half, &minus, k->values, &below, &here, k->desc, &one,
          k->values, &below, &below, k->desc);
  return factorize_part(k, at + half, rest);
}

/* K + ridge = L L^T; *info as of pdpotrf, the same on all ranks. */
static ntk_status factorize(work *w, double ridge, int *info) {
  ntk_status status = NTK_SUCCESS;
  ntk_matrix *k = &w->system->kernel;
  ntk_context *context = w->system->solve->context;
  *info = 0;
  ntk_matrix_set_diagonal(k, w->system->diagonal, ridge);
  if (k->grid->my_row >= 0)
    *info = factorize_part(k, 0, k->rows);
  NTK_TRY(ntk_scalapack_agree(context->comm, "pdpotrf", info));
  NTK_TRY(ntk_matrix_get_diagonal(context, k, w->factor));
done:
  return status;
}

/* v = (L L^T)^-1 v */
static ntk_status solve(work *w, ntk_matrix *v) {
  ntk_matrix *k = &w->system->kernel;
  const int first = 1;
  int info = 0;
  ntk_matrix_set_diagonal(k, w->factor, 0);
  if (k->grid->my_row >= 0)
    pdpotrs_("L", &k->rows, &v->columns, k->values, &first, &first, k->desc, v->values,
             &first, &first, v->desc, &info, 1);
  return ntk_scalapack_agree(w->system->solve->context->comm, "pdpotrs", &info);
}

static int64_t local_size(const ntk_matrix *m) {
  return (int64_t)m->local_rows * m->local_columns;
}

/* P = K X and R = y - f0 - (K + ridge) X. */
static ntk_status measure(work *w, double ridge, ntk_residual *out) {
  ntk_system_multiply(w->system, &w->x, 0, w->x.columns, &w->p);
  return ntk_system_residual(w->system, ridge, &w->x, &w->p, &w->system->right, 0,
                             w->x.columns, &w->r, out);
}

static void add(ntk_matrix *x, const ntk_matrix *step, double sign) {
  for (int64_t k = 0; k < local_size(x); k++)
    x->values[k] += sign * step->values[k];
}

/* Iterative refinement with residuals in f64, of the kernel as the file has it. */
static ntk_status refine(work *w, double ridge) {
  ntk_status status = NTK_SUCCESS;
  ntk_residual before, now;
  ntk_matrix step = {0};
  NTK_TRY(ntk_system_vectors(w->system, w->x.columns, &step));
  NTK_TRY(measure(w, ridge, &now));
  for (int i = 0; i < MOST_STEPS && now.relative > DBL_EPSILON; i++) {
    before = now;
    memcpy(step.values, w->r.values, (size_t)local_size(&step) * sizeof(double));
    NTK_TRY(solve(w, &step));
    add(&w->x, &step, 1);
    NTK_TRY(measure(w, ridge, &now));
    if (now.relative > before.relative) { /* back to what was better */
      add(&w->x, &step, -1);
      NTK_TRY(measure(w, ridge, &now));
      break;
    }
    if (now.relative > before.relative / 2)
      break;
  }
done:
  ntk_matrix_destroy(&step);
  return status;
}

/* A ridge that is enough, tried: rounding of the file's type leaves eigenvalues of about
 * eps times the norm below zero. */
static ntk_status find_ridge(work *w, double ridge, double *enough) {
  ntk_status status = NTK_SUCCESS;
  const double eps =
      w->system->solve->facts->dtype == NTK_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
  double more = eps * w->system->norm / 10;
  int info = 1;
  while (info > 0 && more < 10 * w->system->norm) {
    more *= 10;
    ntk_matrix_mirror(&w->system->kernel);
    NTK_TRY(factorize(w, ridge + more, &info));
  }
  *enough = info == 0 ? ridge + more : 0;
done:
  return status;
}

static ntk_status fail(work *w, int ridge, int info) {
  ntk_status status = NTK_SUCCESS;
  char why[96];
  double enough;
  (void)snprintf(why, sizeof why, "pivot %d of %d is %.3g", info, w->system->kernel.rows,
                 w->factor[info - 1]);
  NTK_TRY(
      find_ridge(w, ntk_solve_ridge(w->system->solve, w->system->plane, ridge), &enough));
  status = ntk_system_fail(w->system, ridge, why, enough);
done:
  return status;
}

static ntk_status solve_ridge(work *w, int ridge) {
  ntk_status status = NTK_SUCCESS;
  ntk_system *system = w->system;
  ntk_solve *s = system->solve;
  const double value = ntk_solve_ridge(s, system->plane, ridge), n = (double)s->n;
  int info;
  double start = ntk_seconds();
  NTK_TRY(factorize(w, value, &info));
  start = ntk_solve_clock(s, NTK_SOLVE_FACTOR, start);
  s->flops[NTK_SOLVE_FACTOR] += n * n * n / 3;
  if (info > 0)
    return fail(w, ridge, info);
  memcpy(w->x.values, system->right.values, (size_t)local_size(&w->x) * sizeof(double));
  NTK_TRY(solve(w, &w->x));
  NTK_TRY(refine(w, value));
  NTK_TRY(ntk_system_keep(system, ridge, &w->x, &w->p, &system->right));
  (void)ntk_solve_clock(s, NTK_SOLVE_SOLVE, start);
done:
  return status;
}

ntk_status ntk_solve_cholesky(ntk_system *system) {
  ntk_status status = NTK_SUCCESS;
  ntk_solve *s = system->solve;
  work w = {.system = system};
  NTK_TRY(ntk_agree(s->context->comm,
                    ntk_malloc(NTK_MEMORY_DATA, s->n, sizeof *w.factor, &w.factor)));
  ntk_matrix *const vectors[] = {&w.x, &w.p, &w.r};
  for (int i = 0; i < 3; i++)
    NTK_TRY(ntk_system_vectors(system, s->columns, vectors[i]));
  for (int ridge = 0; ridge < s->ridges; ridge++) {
    if (ridge > 0)
      ntk_matrix_mirror(&system->kernel);
    NTK_TRY(solve_ridge(&w, ridge));
  }
done:
  ntk_matrix_destroy(&w.x);
  ntk_matrix_destroy(&w.p);
  ntk_matrix_destroy(&w.r);
  ntk_free(&w.factor);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Conjugate gradients on the distributed matrix, preconditioned by its diagonal. Right-hand
 * sides that stand on the same column of the process grid, a block of them, share their
 * directions; the ranks of that column have the vectors, all multiply. */
#include "base/memory.h"
#include "solve/block_cg.h"
#include "solve/scalapack.h"
#include "solve/solve.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct work {
  ntk_system *system;
  int first;         /* right-hand side that the block in hand begins with */
  int64_t unknowns;  /* of its vectors, of this rank */
  int64_t at;        /* where the block begins among this rank's values */
  ntk_matrix x, p;   /* solution, K X */
  ntk_matrix d, q;   /* what K is applied to, what comes out: the block's columns */
  double *inverse;   /* [local rows] of the diagonal with its ridge */
  double *shifts;    /* [columns] the ridge */
  double *residuals; /* [columns] */
} work;

/* ---- what conjugate gradients call ----------------------------------------------------
 */

/* A rank's part of the block's columns is as its vectors are: one after the other. */
static ntk_status apply(void *self, int64_t count, const int64_t *which, const double *in,
                        double *out) {
  work *w = self;
  (void)which;
  const size_t bytes = (size_t)(count * w->unknowns) * sizeof *in;
  if (bytes > 0)
    memcpy(w->d.values + w->at, in, bytes);
  ntk_system_multiply(w->system, &w->d, w->first, (int)count, &w->q);
  if (bytes > 0)
    memcpy(out, w->q.values + w->at, bytes);
  return NTK_SUCCESS;
}

static ntk_status precondition(void *self, int64_t count, const int64_t *which,
                               const double *in, double *out) {
  const work *w = self;
  (void)which;
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < w->unknowns; i++)
      out[k * w->unknowns + i] = w->inverse[i] * in[k * w->unknowns + i];
  return NTK_SUCCESS;
}

/* ---- solving --------------------------------------------------------------------------
 */

/* The ranks of one column of the grid have the block that begins with column `first`. */
static void take_block(work *w, int first) {
  const ntk_matrix *x = &w->x;
  const int block = first / x->nb;
  const bool has_it = x->local_rows > 0 && x->grid->my_column == block % x->grid->columns;
  w->first = first;
  w->unknowns = has_it ? x->local_rows : 0;
  w->at = has_it ? (int64_t)(block / x->grid->columns) * x->nb * x->desc[8] : 0;
}

static ntk_status check_end(const work *w, int ridge, const ntk_cg_report *found,
                            int count) {
  ntk_status status = NTK_SUCCESS;
  const ntk_solve *s = w->system->solve;
  double most = 0;
  if (found->is_indefinite)
    return ntk_system_fail(w->system, ridge, "a direction has a curvature below zero", 0);
  if (found->end == NTK_CG_STOPPED) {
    NTK_TRY(ntk_stop_obeyed(s->context));
    return ntk_fail(NTK_STOPPED, "stopped (%s); nothing is kept", s->context->stopped_for);
  }
  for (int k = 0; k < count; k++)
    most = fmax(most, w->residuals[k]);
  NTK_REQUIRE(found->end == NTK_CG_CONVERGED || found->is_rounding, NTK_ERR_NUMERICAL,
              "--ridge %g: not converged: the residual is %.3g after %" PRId64
              " iterations, --tolerance %g; use more --iterations, a larger --ridge or "
              "--method cholesky",
              s->ridge[ridge], most, found->iterations,
              ntk_options_real(s->options, "tolerance"));
done:
  return status;
}

static ntk_status solve_block(work *w, int ridge, ntk_cg_report *found) {
  ntk_status status = NTK_SUCCESS;
  const ntk_solve *s = w->system->solve;
  const int rest = w->x.columns - w->first, count = rest < w->x.nb ? rest : w->x.nb;
  const ntk_cg cg = {.context = s->context,
                     .systems = count,
                     .unknowns = w->unknowns,
                     .each = count,
                     .shifts = w->shifts,
                     .tolerance = ntk_options_real(s->options, "tolerance"),
                     .most_iterations = ntk_options_int(s->options, "iterations"),
                     .self = w,
                     .apply = apply,
                     .precondition = precondition};
  ntk_cg_report one = {.iterations = 0};
  NTK_TRY(ntk_cg_solve(&cg, w->system->right.values + w->at, w->x.values + w->at,
                       w->p.values + w->at, w->residuals, &one));
  NTK_TRY(check_end(w, ridge, &one, count));
  found->iterations += one.iterations;
  found->products += one.products;
done:
  return status;
}

static ntk_status solve_ridge(work *w, int ridge) {
  ntk_status status = NTK_SUCCESS;
  ntk_solve *s = w->system->solve;
  const double start = ntk_seconds();
  const double shift = ntk_solve_ridge(s, w->system->plane, ridge);
  const int64_t size = (int64_t)w->x.local_rows * w->x.local_columns;
  ntk_cg_report found = {.iterations = 0};
  for (int k = 0; k < w->x.columns; k++)
    w->shifts[k] = shift;
  for (int i = 0; i < w->x.local_rows; i++)
    w->inverse[i] = 1 / (w->system->diagonal[ntk_matrix_row(&w->x, i)] + shift);
  if (size > 0)
    memset(w->x.values, 0, (size_t)size * sizeof *w->x.values);
  for (int first = 0; first < w->x.columns; first += w->x.nb) {
    take_block(w, first);
    NTK_TRY(solve_block(w, ridge, &found));
  }
  ntk_say(s->context, NTK_REPORT_INFO,
          "cg      ridge %g: %" PRId64 " iterations, kernel applied to %" PRId64 " vectors",
          s->ridge[ridge], found.iterations, found.products);
  NTK_TRY(ntk_system_keep(w->system, ridge, &w->x, &w->p, &w->system->right));
  (void)ntk_solve_clock(s, NTK_SOLVE_SOLVE, start);
done:
  return status;
}

static ntk_status allocate(work *w) {
  ntk_status status = NTK_SUCCESS;
  const ntk_matrix *x = &w->x;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, x->local_rows, sizeof(double), &w->inverse));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, x->columns, sizeof(double), &w->shifts));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, x->columns, sizeof(double), &w->residuals));
done:
  return status;
}

/* An entry of the diagonal that is not above zero has no inverse. */
static ntk_status check_diagonal(const work *w, int ridge) {
  const ntk_solve *s = w->system->solve;
  for (int64_t i = 0; i < s->n; i++)
    if (w->system->diagonal[i] + ntk_solve_ridge(s, w->system->plane, ridge) <= 0)
      return ntk_system_fail(w->system, ridge, "an entry of the diagonal is not above zero",
                             0);
  return NTK_SUCCESS;
}

ntk_status ntk_solve_cg(ntk_system *system) {
  ntk_status status = NTK_SUCCESS;
  ntk_solve *s = system->solve;
  work w = {.system = system};
  ntk_matrix *const vectors[] = {&w.x, &w.p, &w.d, &w.q};
  for (int i = 0; i < 4; i++)
    NTK_TRY(ntk_system_vectors(system, s->columns, vectors[i]));
  NTK_TRY(ntk_agree(s->context->comm, allocate(&w)));
  for (int ridge = 0; ridge < s->ridges; ridge++) {
    NTK_TRY(check_diagonal(&w, ridge));
    NTK_TRY(solve_ridge(&w, ridge));
  }
done:
  for (int i = 0; i < 4; i++)
    ntk_matrix_destroy(vectors[i]);
  ntk_free(&w.inverse);
  ntk_free(&w.shifts);
  ntk_free(&w.residuals);
  return status;
}

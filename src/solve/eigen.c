/* SPDX-License-Identifier: Apache-2.0 */
/* One decomposition for all ridges and times. */
#include "base/memory.h"
#include "solve/scalapack.h"
#include "solve/solve.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct work {
  ntk_system *system;
  ntk_matrix z;   /* [n, n] eigenvectors */
  double *values; /* [n] eigenvalues, ascending */
  double *right;  /* [n, columns] Z^T (y - f0), on all ranks */
} work;

/* ---- decomposition --------------------------------------------------------------------
 */

static ntk_status decompose(work *w) {
  ntk_status status = NTK_SUCCESS;
  ntk_solve *s = w->system->solve;
  const double start = ntk_seconds();
  NTK_TRY(ntk_dense_decompose(s->context, s->eigensolver, &w->system->kernel, w->values,
                              &w->z));
  (void)ntk_solve_clock(s, NTK_SOLVE_FACTOR, start);
done:
  return status;
}

/* ---- functions of the eigenvalues -----------------------------------------------------
 */

/* (1 - exp(-m u)) / m, of m below zero its limit at 0: rounding has made it so. */
static double learned(double m, double u) {
  if (isinf(u))
    return 1 / m;
  return m > 0 ? -expm1(-m * u) / m : u;
}
static double left(double m, double u) { return isinf(u) ? 0 : m > 0 ? exp(-m * u) : 1; }

/* u of a time: eta t / (N O). */
static double scaled_time(const ntk_solve *s, int time) {
  return s->time[time] * ntk_options_real(s->options, "learning-rate") /
         (double)(s->N * s->O);
}

/* Column block of each result: Z^T (y - f0) times a function of the eigenvalues. */
static void set_weights(const work *w, double (*function)(double, double), ntk_matrix *y) {
  const ntk_solve *s = w->system->solve;
  for (int j = 0; j < y->local_columns; j++) {
    const int column = ntk_matrix_column(y, j), m = (int)(column / s->columns);
    const double ridge = ntk_solve_ridge(s, w->system->plane, m % s->ridges);
    const double u = scaled_time(s, m / s->ridges);
    for (int i = 0; i < y->local_rows; i++) {
      const int row = ntk_matrix_row(y, i);
      y->values[(int64_t)j * y->desc[8] + i] =
          function(w->values[row] + ridge, u) *
          w->right[row * s->columns + column % s->columns];
    }
  }
}

/* C = op(Z) A */
static void multiply(const work *w, const char *op, const ntk_matrix *a, ntk_matrix *c) {
  const double one = 1, zero = 0;
  const int first = 1;
  const ntk_matrix *z = &w->z;
  if (z->grid->my_row >= 0)
    pdgemm_(op, "N", &z->rows, &a->columns, &z->rows, &one, z->values, &first, &first,
            z->desc, a->values, &first, &first, a->desc, &zero, c->values, &first, &first,
            c->desc);
}

/* ---- all results ----------------------------------------------------------------------
 */

/* Whatever has no limit needs eigenvalues above zero. */
static ntk_status check_positive(const work *w) {
  const ntk_solve *s = w->system->solve;
  const double least = w->values[0], most = w->values[s->n - 1];
  bool infinite = false;
  char why[96];
  for (int t = 0; t < s->times; t++)
    infinite = infinite || isinf(s->time[t]);
  (void)snprintf(why, sizeof why, "its smallest eigenvalue is %.3g, the largest %.3g",
                 least, most);
  for (int r = 0; infinite && r < s->ridges; r++)
    if (least + ntk_solve_ridge(s, w->system->plane, r) <= 0)
      return ntk_system_fail(w->system, r, why, 2 * (fabs(least) + 1e-15 * most));
  int64_t below = 0;
  while (below < s->n && w->values[below] < 0)
    below++;
  if (below > 0 && s->timed)
    ntk_say(s->context, NTK_REPORT_WARNING,
            "%" PRId64 " of %" PRId64
            " eigenvalues are below zero (%s); where a ridge does "
            "not lift them they count as zero",
            below, s->n, why);
  return NTK_SUCCESS;
}

/* Z^T (y - f0). */
static ntk_status rotate_right(work *w) {
  ntk_status status = NTK_SUCCESS;
  const ntk_system *system = w->system;
  ntk_context *context = system->solve->context;
  const int64_t size = system->solve->n * system->solve->columns;
  ntk_matrix c = {0};
  NTK_TRY(ntk_system_vectors(system, system->solve->columns, &c));
  NTK_TRY(ntk_agree(context->comm,
                    ntk_malloc(NTK_MEMORY_DATA, size, sizeof *w->right, &w->right)));
  multiply(w, "T", &system->right, &c);
  NTK_TRY(ntk_matrix_get(context, &c, w->right));
done:
  ntk_matrix_destroy(&c);
  return status;
}

/* G: what (K + ridge) alpha_t should be, y - f0 less what is not yet learned. */
static ntk_status set_due(const work *w, ntk_matrix *y, ntk_matrix *g) {
  ntk_status status = NTK_SUCCESS;
  const ntk_solve *s = w->system->solve;
  double *right = NULL;
  set_weights(w, left, y);
  multiply(w, "N", y, g);
  NTK_TRY(ntk_agree(s->context->comm,
                    ntk_malloc(NTK_MEMORY_DATA, s->n * s->columns, sizeof *right, &right)));
  NTK_TRY(ntk_matrix_get(s->context, &w->system->right, right));
  for (int j = 0; j < g->local_columns; j++) {
    const int64_t column = ntk_matrix_column(g, j) % s->columns;
    double *values = g->values + (int64_t)j * g->desc[8];
    for (int i = 0; i < g->local_rows; i++)
      values[i] = right[ntk_matrix_row(g, i) * s->columns + column] - values[i];
  }
done:
  ntk_free(&right);
  return status;
}

static ntk_status solve_all(work *w) {
  ntk_status status = NTK_SUCCESS;
  ntk_system *system = w->system;
  ntk_solve *s = system->solve;
  ntk_matrix y = {0}, x = {0}, p = {0}, g = {0}, *const all[] = {&y, &x, &p, &g};
  double start = ntk_seconds();
  for (int i = 0; i < 4; i++)
    NTK_TRY(ntk_system_vectors(system, s->results * s->columns, all[i]));
  NTK_TRY(rotate_right(w));
  set_weights(w, learned, &y);
  multiply(w, "N", &y, &x);
  NTK_TRY(set_due(w, &y, &g));
  (void)ntk_solve_clock(s, NTK_SOLVE_SOLVE, start);
  NTK_TRY(ntk_system_reread(system)); /* the decomposition has destroyed it */
  start = ntk_seconds();
  ntk_system_multiply(system, &x, 0, x.columns, &p);
  NTK_TRY(ntk_system_keep(system, 0, &x, &p, &g));
  (void)ntk_solve_clock(s, NTK_SOLVE_SOLVE, start);
done:
  for (int i = 0; i < 4; i++)
    ntk_matrix_destroy(all[i]);
  return status;
}

ntk_status ntk_solve_eigen(ntk_system *system) {
  ntk_status status = NTK_SUCCESS;
  ntk_solve *s = system->solve;
  work w = {.system = system};
  NTK_TRY(ntk_matrix_create(s->context, &s->grid, s->n, s->n, s->nb, &w.z));
  NTK_TRY(ntk_agree(s->context->comm,
                    ntk_malloc(NTK_MEMORY_DATA, s->n, sizeof *w.values, &w.values)));
  NTK_TRY(decompose(&w));
  NTK_TRY(check_positive(&w));
  NTK_TRY(solve_all(&w));
done:
  ntk_matrix_destroy(&w.z);
  ntk_free(&w.values);
  ntk_free(&w.right);
  return status;
}

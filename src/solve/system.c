/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "solve/scalapack.h"
#include "solve/solve.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- making one -----------------------------------------------------------------------
 */

/* y - f0 of a plane, [n, columns]. */
static ntk_status set_right(ntk_system *system) {
  ntk_status status = NTK_SUCCESS;
  const ntk_solve *s = system->solve;
  const ntk_side *side = &s->sides[0];
  double *right = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, s->n * s->columns, sizeof *right, &right));
  for (int64_t i = 0; i < s->n * s->columns; i++) {
    const int64_t k = s->planes > 1 ? i * s->O + system->plane : i;
    right[i] = side->targets[k] - side->outputs[k];
    system->right_norm += right[i] * right[i];
  }
  system->right_norm = sqrt(system->right_norm);
  ntk_matrix_set(&system->right, right);
done:
  ntk_free(&right);
  return status;
}

static ntk_status read_kernel(ntk_system *system) {
  ntk_status status = NTK_SUCCESS;
  ntk_solve *s = system->solve;
  const double start = ntk_seconds();
  NTK_TRY(ntk_matrix_read(s->context, s->kernel, system->plane, &system->kernel));
  (void)ntk_solve_clock(s, NTK_SOLVE_READ, start);
done:
  return status;
}

static ntk_status look_at_kernel(ntk_system *system) {
  ntk_status status = NTK_SUCCESS;
  ntk_solve *s = system->solve;
  double sum = 0;
  NTK_TRY(ntk_agree(s->context->comm,
                    ntk_malloc(NTK_MEMORY_DATA, s->n, sizeof(double), &system->diagonal)));
  NTK_TRY(ntk_matrix_get_diagonal(s->context, &system->kernel, system->diagonal));
  NTK_TRY(ntk_matrix_norm1(s->context, &system->kernel, &system->norm));
  for (int64_t i = 0; i < s->n; i++)
    sum += system->diagonal[i];
  s->mean[system->plane] = sum / (double)s->n;
  NTK_REQUIRE(sum > 0, NTK_ERR_NUMERICAL,
              "%s: not positive definite: the mean of the diagonal is %g", s->facts->path,
              sum / (double)s->n);
done:
  return status;
}

ntk_status ntk_system_create(ntk_solve *s, int64_t plane, ntk_system *out) {
  ntk_status status = NTK_SUCCESS;
  out->solve = s;
  out->plane = plane;
  NTK_TRY(ntk_matrix_create(s->context, &s->grid, s->n, s->n, s->nb, &out->kernel));
  NTK_TRY(ntk_system_vectors(out, s->columns, &out->right));
  NTK_TRY(ntk_agree(s->context->comm, set_right(out)));
  NTK_TRY(read_kernel(out));
  NTK_TRY(look_at_kernel(out));
done:
  return status;
}

ntk_status ntk_system_reread(ntk_system *system) { return read_kernel(system); }

void ntk_system_clear(ntk_system *system) {
  ntk_matrix_destroy(&system->kernel);
  ntk_matrix_destroy(&system->right);
  ntk_free(&system->diagonal);
}

ntk_status ntk_system_vectors(const ntk_system *system, int64_t columns, ntk_matrix *out) {
  const ntk_solve *s = system->solve;
  return ntk_matrix_create(s->context, &s->grid, s->n, columns, s->nb, out);
}

void ntk_system_multiply(ntk_system *system, const ntk_matrix *x, int from, int count,
                         ntk_matrix *p) {
  const double one = 1, zero = 0;
  const int first = 1, column = from + 1;
  ntk_matrix *k = &system->kernel;
  ntk_matrix_set_diagonal(k, system->diagonal, 0);
  if (k->grid->my_row >= 0 && count > 0)
    pdsymm_("L", "U", &k->rows, &count, &one, k->values, &first, &first, k->desc, x->values,
            &first, &column, x->desc, &zero, p->values, &first, &column, p->desc);
}

/* ---- how good a solution is -----------------------------------------------------------
 */

/* Sums over a column, of all ranks: |r|, |x|, r r. */
enum { SUMS = 3 };

/* The worst of the columns that were summed; eps as LAPACK has it. */
static ntk_residual worst(const ntk_system *system, double ridge,
                          const double (*sums)[SUMS], int count) {
  const double norm = system->norm + ridge;
  const double unit = norm * (double)system->solve->n * DBL_EPSILON / 2;
  ntk_residual out = {0, 0};
  double r = 0;
  for (int j = 0; j < count; j++) {
    const double scaled = sums[j][1] > 0 ? sums[j][0] / sums[j][1] / unit : 0;
    out.scaled = scaled > out.scaled ? scaled : out.scaled;
    r += sums[j][2];
  }
  out.relative = system->right_norm > 0 ? sqrt(r) / system->right_norm : sqrt(r);
  return out;
}

ntk_status ntk_system_residual(const ntk_system *system, double ridge, const ntk_matrix *x,
                               const ntk_matrix *p, const ntk_matrix *g, int first,
                               int count, ntk_matrix *r, ntk_residual *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = system->solve->context;
  double(*sums)[SUMS] = NULL;
  NTK_TRY(
      ntk_agree(context->comm, ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof *sums, &sums)));
  for (int j = 0; j < x->local_columns; j++) {
    const int column = ntk_matrix_column(x, j) - first;
    if (column < 0 || column >= count)
      continue;
    for (int64_t k = (int64_t)j * x->desc[8], end = k + x->local_rows; k < end; k++) {
      const double left = g->values[k] - p->values[k] - ridge * x->values[k];
      sums[column][0] += fabs(left);
      sums[column][1] += fabs(x->values[k]);
      sums[column][2] += left * left;
      if (r)
        r->values[k] = left;
    }
  }
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, sums, count * SUMS, MPI_DOUBLE, MPI_SUM, context->comm));
  *out = worst(system, ridge, (const double(*)[SUMS])sums, count);
done:
  ntk_free(&sums);
  return status;
}

/* ---- keeping it -----------------------------------------------------------------------
 */

/* The columns of results first .. of `from` on all ranks, among those of all results. */
static ntk_status keep_columns(const ntk_system *system, int first, const ntk_matrix *from,
                               double *to) {
  ntk_status status = NTK_SUCCESS;
  const ntk_solve *s = system->solve;
  const int64_t wide = s->results * s->columns, width = from->columns;
  double *values = NULL;
  NTK_TRY(ntk_agree(s->context->comm,
                    ntk_malloc(NTK_MEMORY_DATA, s->n * width, sizeof *values, &values)));
  NTK_TRY(ntk_matrix_get(s->context, from, values));
  to += system->plane * s->n * wide + first * s->columns;
  for (int64_t i = 0; i < s->n; i++)
    memcpy(to + i * wide, values + i * width, (size_t)width * sizeof *to);
done:
  ntk_free(&values);
  return status;
}

ntk_status ntk_system_keep(ntk_system *system, int first, const ntk_matrix *x,
                           const ntk_matrix *p, const ntk_matrix *g) {
  ntk_status status = NTK_SUCCESS;
  ntk_solve *s = system->solve;
  const int count = (int)(x->columns / s->columns);
  for (int k = 0; k < count; k++) {
    const int m = first + k;
    ntk_residual r;
    NTK_TRY(ntk_system_residual(system, ntk_solve_ridge(s, system->plane, m % s->ridges), x,
                                p, g, k * (int)s->columns, (int)s->columns, NULL, &r));
    s->residual[m] = fmax(s->residual[m], r.relative);
    s->scaled[m] = fmax(s->scaled[m], r.scaled);
  }
  NTK_TRY(keep_columns(system, first, x, s->alpha));
  NTK_TRY(keep_columns(system, first, p, s->product));
done:
  return status;
}

/* Upwards, to one digit. */
static double round_up(double value) {
  const double unit = pow(10, floor(log10(value)));
  return ceil(value / unit * (1 - 1e-9)) * unit;
}

ntk_status ntk_system_fail(const ntk_system *system, int ridge, const char *why,
                           double enough) {
  const ntk_solve *s = system->solve;
  char plane[48] = "", hint[96] = "";
  if (s->planes > 1)
    (void)snprintf(plane, sizeof plane, ", output %" PRId64, system->plane);
  if (enough > 0)
    (void)snprintf(hint, sizeof hint, "; --ridge %.0e%s would do",
                   round_up(s->absolute ? enough : enough / s->mean[system->plane]),
                   s->absolute ? " (absolute)" : "");
  return ntk_fail(NTK_ERR_NUMERICAL,
                  "%s%s: not positive definite with --ridge %g: %s (mean of the diagonal "
                  "%.4g)%s",
                  s->facts->path, plane, s->ridge[ridge], why, s->mean[system->plane],
                  hint);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "solve/block_cg.h"
#include "base/memory.h"
#include "dist/shares.h"
#include "tensor/blas.h"
#include "tensor/cholesky.h"
#include <math.h>
#include <string.h>

/* The systems of one shift take their steps in the same directions, as many as there are
 * independent ones. Groups of different shifts go side by side: A is applied to the
 * directions of all at once. When the residuals that they carry along are small, the true
 * ones are computed; where these are not, they start again from what they have reached. A
 * block whose directions are lost in rounding gets nowhere: then each system goes for
 * itself. */

/* A direction less of which, squared, is new to the others is left out. */
static const double least_new = 1e-9;
/* Residuals, by the tolerance, at which a group is done, and at which one of its systems
 * leaves before that: its directions are missed. */
static const double done_at = 0.5, leaves_at = 0.1;
/* Steps without a smaller residual after which blocks are given up. */
enum { MOST_IDLE = 100 };

/* Systems of one shift that go on, and their directions. */
typedef struct group {
  int64_t first, count; /* among the active systems */
  int64_t place, rank;  /* among the directions */
} group;

typedef struct run {
  const ntk_cg *cg;
  int64_t each; /* systems of a group: those of a shift, or each for itself */
  int64_t group_count;
  group *groups;
  double *r;      /* [systems, unknowns] residuals */
  double *p, *q;  /* [directions, unknowns]; q = (A + shift) p */
  double *z;      /* [active, unknowns] preconditioned residuals, or steps */
  double *packed; /* [active, unknowns] of r */
  double *inner;  /* [groups][each, each] factor of p q^T */
  double *taken;  /* [each, each] which of z make p */
  double *norm;   /* [systems] |b| */
  double *sums;   /* [2 groups each each + 2] */
  double *room;
  int64_t *active; /* systems that go on, in their order */
  int64_t active_count, directions;
  int64_t *system_of; /* [systems] of a vector that A is applied to */
  double *residual;   /* [systems] relative */
  double least;       /* the largest of them, at its best since the last start */
  int64_t idle;       /* steps since then */
  ntk_cg_report *report;
  double begun, kept; /* seconds; of the last keep */
  bool stops;
} run;

static double *at(const run *w, double *vectors, int64_t number) {
  return vectors + number * w->cg->unknowns;
}

static double dot(const run *w, const double *a, const double *b) {
  double sum = 0;
  for (int64_t i = 0; i < w->cg->unknowns; i++)
    sum += a[i] * b[i];
  return sum;
}

/* out [m, n] = a b^T by this rank's unknowns. */
static void multiply(const run *w, int64_t m, const double *a, int64_t n, const double *b,
                     double *out) {
  const int64_t k = w->cg->unknowns;
  if (m > 0 && n > 0 && k > 0)
    ntk_gemm_f64(false, true, m, n, k, 1, a, k, b, k, 0, out, n);
  else if (m > 0 && n > 0)
    memset(out, 0, (size_t)(m * n) * sizeof *out);
}

/* to [m, unknowns] = keep to + factor c [m, n] from. */
static void combine(const run *w, int64_t m, int64_t n, double factor, const double *c,
                    const double *from, double keep, double *to) {
  const int64_t k = w->cg->unknowns;
  if (m > 0 && n > 0 && k > 0)
    ntk_gemm_f64(false, false, m, k, n, factor, c, n, from, k, keep, to, k);
}

/* The sums over the ranks of w->sums [count]. */
static ntk_status sum_ranks(const run *w, int64_t count) {
  return ntk_shares_sum_all(w->cg->context->comm, count, w->sums, w->room);
}

static ntk_status allocate(run *w) {
  ntk_status status = NTK_SUCCESS;
  const int64_t S = w->cg->systems, n = w->cg->unknowns, square = w->cg->each * w->cg->each;
  const int64_t squares = S * w->cg->each, sums = 2 * squares + 2;
  double **const vectors[] = {&w->r, &w->p, &w->q, &w->z, &w->packed};
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
    NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, S * n, sizeof(double), vectors[i]));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, squares, sizeof(double), &w->inner));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, square, sizeof(double), &w->taken));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, S, sizeof *w->groups, &w->groups));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, S, sizeof(double), &w->norm));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, sums, sizeof(double), &w->sums));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 2 * sums, sizeof(double), &w->room));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, S, sizeof *w->active, &w->active));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, S, sizeof *w->system_of, &w->system_of));
done:
  return status;
}

static void release(run *w) {
  double **const vectors[] = {&w->r,     &w->p,     &w->q,    &w->z,    &w->packed,
                              &w->inner, &w->taken, &w->norm, &w->sums, &w->room};
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
    ntk_free(vectors[i]);
  ntk_free(&w->groups);
  ntk_free(&w->active);
  ntk_free(&w->system_of);
}

static void make_groups(run *w, int64_t each) {
  w->each = each;
  w->group_count = w->cg->systems / each;
}

/* Active systems into their groups. */
static void divide(run *w) {
  int64_t k = 0;
  for (int64_t g = 0; g < w->group_count; g++) {
    w->groups[g].first = k;
    while (k < w->active_count && w->active[k] / w->each == g)
      k++;
    w->groups[g].count = k - w->groups[g].first;
  }
}

static double *factor_of(const run *w, int64_t g) {
  return w->inner + g * w->each * w->each;
}

static void pack_residuals(const run *w) {
  for (int64_t k = 0; k < w->active_count; k++)
    memcpy(at(w, w->packed, k), at(w, w->r, w->active[k]),
           (size_t)w->cg->unknowns * sizeof(double));
}

/* ---- directions -----------------------------------------------------------------------
 */

/* From the products g [n, n] of vectors, which it uses up, the combinations c [rank, n] of
 * them that are of length 1 and at right angles, the longest first; lengths do not count at
 * the start. e [n, n]: scratch, what is left of each vector. */
static int64_t find_independent(int64_t n, double *g, double *e, double *c) {
  int64_t rank = 0;
  memset(e, 0, (size_t)(n * n) * sizeof *e);
  for (int64_t i = 0; i < n; i++)
    e[i * n + i] = g[i * n + i] > 0 ? 1 / sqrt(g[i * n + i]) : 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      g[i * n + j] *= e[i * n + i] * e[j * n + j];
  for (; rank < n; rank++) {
    int64_t pick = 0;
    for (int64_t i = 1; i < n; i++)
      pick = g[i * n + i] > g[pick * n + pick] ? i : pick;
    double *own = g + pick * n, *to = c + rank * n;
    if (!(own[pick] > least_new))
      break;
    const double scale = 1 / sqrt(own[pick]);
    for (int64_t j = 0; j < n; j++) {
      own[j] *= scale;
      to[j] = e[pick * n + j] * scale;
    }
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; i != pick && j < n; j++) {
        e[i * n + j] -= own[i] * to[j];
        g[i * n + j] -= own[i] * own[j];
      }
    own[pick] = 0;
  }
  return rank;
}

/* z = M^-1 r of the active systems. */
static ntk_status precondition(const run *w) {
  ntk_status status = NTK_SUCCESS;
  const ntk_cg *cg = w->cg;
  pack_residuals(w);
  if (cg->precondition)
    NTK_TRY(cg->precondition(cg->self, w->active_count, w->active, w->packed, w->z));
  else if (cg->unknowns > 0)
    memcpy(w->z, w->packed, (size_t)(w->active_count * cg->unknowns) * sizeof *w->z);
done:
  return status;
}

/* z less what of it is along the directions of the last step, in the sense of A. */
static ntk_status turn_away(const run *w) {
  ntk_status status = NTK_SUCCESS;
  double *sums = w->sums;
  for (int64_t g = 0; g < w->group_count; g++) {
    const group *o = &w->groups[g];
    multiply(w, o->count, at(w, w->z, o->first), o->rank, at(w, w->q, o->place), sums);
    sums += o->count * o->rank;
  }
  NTK_TRY(sum_ranks(w, sums - w->sums));
  sums = w->sums;
  for (int64_t g = 0; g < w->group_count; g++) {
    const group *o = &w->groups[g];
    ntk_cholesky_forward(o->count, o->rank, factor_of(w, g), sums);
    ntk_cholesky_backward(o->count, o->rank, factor_of(w, g), sums);
    combine(w, o->count, o->rank, -1, sums, at(w, w->p, o->place), 1,
            at(w, w->z, o->first));
    sums += o->count * o->rank;
  }
done:
  return status;
}

/* The next directions, from the preconditioned residuals. */
static ntk_status turn(run *w, bool first) {
  ntk_status status = NTK_SUCCESS;
  double *sums = w->sums;
  divide(w);
  NTK_TRY(precondition(w));
  if (!first)
    NTK_TRY(turn_away(w));
  for (int64_t g = 0; g < w->group_count; g++) {
    const group *o = &w->groups[g];
    multiply(w, o->count, at(w, w->z, o->first), o->count, at(w, w->z, o->first), sums);
    sums += o->count * o->count;
  }
  NTK_TRY(sum_ranks(w, sums - w->sums));
  w->directions = 0;
  sums = w->sums;
  for (int64_t g = 0; g < w->group_count; g++) {
    group *o = &w->groups[g];
    o->place = w->directions;
    o->rank = find_independent(o->count, sums, factor_of(w, g), w->taken);
    combine(w, o->rank, o->count, 1, w->taken, at(w, w->z, o->first), 0,
            at(w, w->p, o->place));
    w->directions += o->rank;
    sums += o->count * o->count;
  }
done:
  return status;
}

/* ---- steps ----------------------------------------------------------------------------
 */

/* q = (A + shift) p, and the products of p with q and of the residuals with p in w->sums,
 * with a wish to stop or to keep what is reached. */
static ntk_status apply(run *w, bool *keep) {
  ntk_status status = NTK_SUCCESS;
  const ntk_cg *cg = w->cg;
  double *sums = w->sums;
  for (int64_t g = 0; g < w->group_count; g++)
    for (int64_t k = 0; k < w->groups[g].rank; k++)
      w->system_of[w->groups[g].place + k] = w->active[w->groups[g].first];
  if (w->directions > 0)
    NTK_TRY(cg->apply(cg->self, w->directions, w->system_of, w->p, w->q));
  w->report->products += w->directions;
  pack_residuals(w);
  for (int64_t g = 0; g < w->group_count; g++) {
    const group *o = &w->groups[g];
    double *p = at(w, w->p, o->place), *q = at(w, w->q, o->place);
    for (int64_t i = 0; i < o->rank * cg->unknowns; i++)
      q[i] += cg->shifts[g * w->each] * p[i];
    multiply(w, o->rank, p, o->rank, q, sums);
    sums += o->rank * o->rank;
    multiply(w, o->count, at(w, w->packed, o->first), o->rank, p, sums);
    sums += o->count * o->rank;
  }
  const int64_t count = sums - w->sums;
  sums[0] = cg->context->stop != NTK_STOP_NOT;
  sums[1] =
      cg->keep && cg->context->rank == 0 && ntk_seconds() - w->kept > cg->keep_seconds;
  NTK_TRY(sum_ranks(w, count + 2));
  w->stops = sums[0] > 0;
  *keep = sums[1] > 0;
done:
  return status;
}

/* Is an entry of the diagonal of a square matrix negative? */
static bool is_below_zero(int64_t n, const double *matrix) {
  for (int64_t i = 0; i < n; i++)
    if (matrix[i * n + i] < 0)
      return true;
  return false;
}

/* x += step p, r -= step q of a group, with the products as `apply` leaves them. False: no
 * more directions of positive curvature; the true residual will tell. */
static bool advance(run *w, int64_t g, const double *products, double *x) {
  const group *o = &w->groups[g];
  const int64_t square = o->rank * o->rank, n = w->cg->unknowns;
  double *factor = factor_of(w, g), *steps = w->taken;
  memcpy(factor, products, (size_t)square * sizeof *factor);
  if (o->rank == 0 || !ntk_cholesky(o->rank, factor)) {
    w->report->is_indefinite = w->report->is_indefinite || is_below_zero(o->rank, products);
    return false;
  }
  memcpy(steps, products + square, (size_t)(o->count * o->rank) * sizeof *steps);
  ntk_cholesky_forward(o->count, o->rank, factor, steps);
  ntk_cholesky_backward(o->count, o->rank, factor, steps);
  combine(w, o->count, o->rank, 1, steps, at(w, w->p, o->place), 0, at(w, w->z, o->first));
  combine(w, o->count, o->rank, -1, steps, at(w, w->q, o->place), 1,
          at(w, w->packed, o->first));
  for (int64_t k = o->first; k < o->first + o->count; k++) {
    const double *by = at(w, w->z, k);
    double *to = at(w, x, w->active[k]);
    for (int64_t i = 0; i < n; i++)
      to[i] += by[i];
    memcpy(at(w, w->r, w->active[k]), at(w, w->packed, k), (size_t)n * sizeof *to);
  }
  return true;
}

/* A step of all groups; *keep: it is time to keep what is reached. */
static ntk_status step(run *w, double *x, bool *keep) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(apply(w, keep));
  const double *products = w->sums;
  for (int64_t g = 0; g < w->group_count; g++) {
    const group *o = &w->groups[g];
    const bool goes_on = advance(w, g, products, x); /* on all ranks, or NaN on all */
    products += o->rank * (o->rank + o->count);
    for (int64_t k = o->first; k < o->first + o->count; k++)
      w->residual[w->active[k]] = goes_on ? 0 : NAN;
  }
  for (int64_t k = 0; k < w->active_count; k++) {
    const double *r = at(w, w->r, w->active[k]);
    w->sums[k] = dot(w, r, r) + w->residual[w->active[k]];
  }
  NTK_TRY(sum_ranks(w, w->active_count));
  for (int64_t k = 0; k < w->active_count; k++)
    w->residual[w->active[k]] = sqrt(w->sums[k]) / w->norm[w->active[k]];
done:
  return status;
}

static double most_of(const run *w, int64_t first, int64_t count) {
  double most = 0;
  for (int64_t k = first; k < first + count; k++)
    if (isfinite(w->residual[w->active[k]]))
      most = fmax(most, w->residual[w->active[k]]);
  return most;
}

/* Systems go on while they must, or others of their group need their directions, and they
 * can. */
static void drop_done(run *w) {
  const double must = done_at * w->cg->tolerance;
  const double most = most_of(w, 0, w->active_count);
  int64_t left = 0;
  w->idle = most < w->least ? 0 : w->idle + 1;
  w->least = fmin(w->least, most);
  for (int64_t g = 0; g < w->group_count; g++) {
    const group *o = &w->groups[g];
    const double leaves = most_of(w, o->first, o->count) > must ? leaves_at / done_at : 1;
    for (int64_t k = o->first; k < o->first + o->count; k++) {
      const double residual = w->residual[w->active[k]];
      if (residual > leaves * must && isfinite(residual))
        w->active[left++] = w->active[k];
    }
  }
  w->active_count = left;
}

static double worst(const run *w) {
  double most = 0;
  for (int64_t s = 0; s < w->cg->systems; s++)
    most = isfinite(w->residual[s]) ? fmax(most, w->residual[s]) : INFINITY;
  return most;
}

static void tell(const run *w) {
  const double done = log(worst(w)) / log(w->cg->tolerance);
  const double part = fmin(0.999, fmax(1e-3, done));
  ntk_say_progress(w->cg->context, part, (ntk_seconds() - w->begun) * (1 - part) / part);
}

/* Until the residuals that are carried along are small. */
static ntk_status iterate(run *w, double *x) {
  ntk_status status = NTK_SUCCESS;
  const ntk_cg *cg = w->cg;
  bool keep;
  w->least = INFINITY;
  w->idle = 0;
  NTK_TRY(turn(w, true));
  while (w->active_count > 0 && w->report->iterations < cg->most_iterations && !w->stops &&
         (w->each == 1 || w->idle < MOST_IDLE)) {
    NTK_TRY(step(w, x, &keep));
    w->report->iterations++;
    if (keep) {
      NTK_TRY(cg->keep(cg->self, x));
      w->kept = ntk_seconds();
    }
    tell(w);
    drop_done(w);
    if (w->active_count > 0)
      NTK_TRY(turn(w, false));
  }
done:
  return status;
}

/* r = b - (A + shift) x and its relative norms, ax = A x. */
static ntk_status true_residual(run *w, const double *b, double *x, double *ax) {
  ntk_status status = NTK_SUCCESS;
  const ntk_cg *cg = w->cg;
  for (int64_t s = 0; s < cg->systems; s++)
    w->system_of[s] = s;
  NTK_TRY(cg->apply(cg->self, cg->systems, w->system_of, x, ax));
  w->report->products += cg->systems;
  for (int64_t s = 0; s < cg->systems; s++) {
    double *r = at(w, w->r, s);
    for (int64_t i = 0; i < cg->unknowns; i++) {
      const int64_t k = s * cg->unknowns + i;
      r[i] = b[k] - ax[k] - cg->shifts[s] * x[k];
    }
    w->sums[s] = dot(w, r, r);
  }
  NTK_TRY(sum_ranks(w, cg->systems));
  w->active_count = 0;
  for (int64_t s = 0; s < cg->systems; s++) {
    w->residual[s] = sqrt(w->sums[s]) / w->norm[s];
    if (!(w->residual[s] <= cg->tolerance))
      w->active[w->active_count++] = s;
  }
done:
  return status;
}

static ntk_status find_norms(const run *w, const double *b) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t s = 0; s < w->cg->systems; s++) {
    const double *v = b + s * w->cg->unknowns;
    w->sums[s] = dot(w, v, v);
  }
  NTK_TRY(sum_ranks(w, w->cg->systems));
  for (int64_t s = 0; s < w->cg->systems; s++)
    w->norm[s] = w->sums[s] > 0 ? sqrt(w->sums[s]) : 1;
done:
  return status;
}

ntk_status ntk_cg_solve(const ntk_cg *cg, const double *b, double *x, double *ax,
                        double *residuals, ntk_cg_report *report) {
  ntk_status status = NTK_SUCCESS;
  run w = {.cg = cg, .residual = residuals, .report = report};
  double before = INFINITY;
  w.begun = w.kept = ntk_seconds();
  NTK_TRY(ntk_agree(cg->context->comm, allocate(&w)));
  NTK_TRY(find_norms(&w, b));
  make_groups(&w, cg->each);
  for (;;) {
    NTK_TRY(true_residual(&w, b, x, ax));
    report->end = w.active_count == 0 ? NTK_CG_CONVERGED
                  : w.stops           ? NTK_CG_STOPPED
                                      : NTK_CG_NOT_CONVERGED;
    const double now = worst(&w);
    if (report->end != NTK_CG_NOT_CONVERGED || report->iterations >= cg->most_iterations)
      break;
    const bool falls = now < 0.5 * before; /* else rounding stands in the way */
    if (!falls && w.each == 1)
      break;
    if (!falls || w.idle >= MOST_IDLE)
      make_groups(&w, 1);
    before = now;
    NTK_TRY(iterate(&w, x));
    report->is_rounding = worst(&w) <= cg->tolerance;
  }
done:
  release(&w);
  return status;
}

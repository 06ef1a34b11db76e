/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/micro.h"
#include "ntk/tie.h"
#include <string.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Row sample i against column samples j0 .. j0 + m, one g. */
typedef struct task {
  const ntk_pair *pair;
  const NTK_REAL(ntk_micro) * micro;
  ntk_place places[2]; /* of the roles in the row block */
  ntk_tie_strip at;
  const real *strip; /* of this g */
  int64_t i, j0, m, g;
} task;

/* One of the two terms: role r of the row sample with the other one of the columns. */
typedef struct term {
  int r;
  const ntk_group *row, *column; /* roles */
  real *v;                       /* [o, t, (m,s)] */
  real *u;                       /* [t, (m,p,s)], or [t, (p,s)] for all samples */
  int64_t u_row, u_sample;       /* strides of t and m */
  real *rest;                    /* of the scratch */
} term;

/* Row sample's X [t, k], or rows of the table [t] and scales [t]. */
static const real *row_x(const task *x, int r) {
  const ntk_place *p = &x->places[r];
  const real *block = x->pair->block1;
  return x->pair->group->roles[r].one_hot
             ? block + p->pixels + x->g * p->pixels_g + x->i * p->pixels_n
             : block + p->x + x->g * p->xg + x->i * p->xn;
}

/* Row sample's D [o, t, c]. */
static const real *row_d(const task *x, int r) {
  const ntk_place *p = &x->places[r];
  return (const real *)x->pair->block1 + p->d + x->g * p->dg + x->i * p->dn;
}

/* ---- V and U --------------------------------------------------------------------------
 */

/* V from the entries of D: X is [(m,s), k] as it is. */
static void sparse_v(const task *x, const term *e, const real *columns_x) {
  const ntk_pair *p = x->pair;
  const int64_t T = e->row->T, K = e->column->K, columns = x->m * e->column->T;
  memset(e->v, 0, (size_t)(p->o1 * T * columns) * sizeof(real));
  for (int64_t k = 0; k < p->constant->count; k++) {
    const ntk_constant_entry *entry = &p->constant->entries[k];
    const int64_t o = entry->o - p->output1;
    const real d = (real)entry->e;
    if (o < 0 || o >= p->o1)
      continue;
    real *to = e->v + (o * T + entry->t) * columns;
    for (int64_t b = 0; b < columns; b++)
      if (!e->column->one_hot)
        to[b] += d * columns_x[b * K + entry->s];
      else if (columns_x[b] == (real)entry->s)
        to[b] += d * columns_x[columns + b];
  }
}

static void make_v(const task *x, const term *e) {
  const int64_t C = e->row->C, columns = x->m * e->column->T;
  const real *columns_x = x->strip + x->at.x[1 - e->r];
  if (ntk_tie_lacks_d(x->pair->order, e->r)) {
    sparse_v(x, e, columns_x);
    return;
  }
  const NTK_REAL(ntk_product) product = {.rows = x->pair->o1 * e->row->T,
                                         .columns = columns,
                                         .k = C,
                                         .a = row_d(x, e->r),
                                         .b = columns_x,
                                         .c = e->v,
                                         .lda = C,
                                         .ldc = columns};
  if (!e->column->one_hot) {
    x->micro->multiply(&product);
    return;
  }
  for (int64_t a = 0; a < product.rows; a++)
    for (int64_t b = 0; b < columns; b++)
      e->v[a * columns + b] =
          columns_x[columns + b] * product.a[a * C + (int64_t)columns_x[b]];
}

/* U of all samples from the entries of D. */
static void sparse_u(const task *x, const term *e) {
  const ntk_pair *p = x->pair;
  const int64_t T = e->row->T;
  const real *rows_x = row_x(x, e->r);
  memset(e->u, 0, (size_t)(T * e->u_row) * sizeof(real));
  for (int64_t k = 0; k < p->constant->count; k++) {
    const ntk_constant_entry *entry = &p->constant->entries[k];
    const int64_t o = entry->o - p->output2;
    const real d = (real)entry->e;
    if (o < 0 || o >= p->o2)
      continue;
    real *to = e->u + o * e->column->T + entry->t;
    for (int64_t t = 0; t < T; t++)
      if (!e->row->one_hot)
        to[t * e->u_row] += d * rows_x[t * e->row->K + entry->s];
      else if (rows_x[t] == (real)entry->s)
        to[t * e->u_row] += d * rows_x[T + t];
  }
}

static void make_u(const task *x, term *e) {
  const int64_t T = e->row->T, C = e->column->C;
  const real *rows_x = row_x(x, e->r), *columns_d = x->strip + x->at.d[1 - e->r];
  const bool sparse = ntk_tie_lacks_d(x->pair->order, 1 - e->r);
  const int64_t sample = x->pair->o2 * e->column->T, columns = (sparse ? 1 : x->m) * sample;
  e->u_row = columns;
  e->u_sample = sparse ? 0 : sample;
  if (sparse) {
    sparse_u(x, e);
    return;
  }
  const NTK_REAL(ntk_product) product = {.rows = T,
                                         .columns = columns,
                                         .k = C,
                                         .a = rows_x,
                                         .b = columns_d,
                                         .c = e->u,
                                         .lda = C,
                                         .ldc = columns};
  if (!e->row->one_hot) {
    x->micro->multiply(&product);
    return;
  }
  for (int64_t t = 0; t < T; t++)
    for (int64_t b = 0; b < columns; b++)
      e->u[t * columns + b] = rows_x[T + t] * columns_d[b * C + (int64_t)rows_x[t]];
}

/* ---- their product --------------------------------------------------------------------
 */

/* V [o, (t,s)] and U [p, (t,s)] of one pair of samples. */
static void pick_pair(const task *x, const term *e, int64_t j, real *v, real *u) {
  const int64_t T = e->row->T, S = e->column->T;
  for (int64_t o = 0; o < x->pair->o1; o++)
    for (int64_t t = 0; t < T; t++)
      memcpy(v + (o * T + t) * S, e->v + ((o * T + t) * x->m + j) * S,
             (size_t)S * sizeof *v);
  for (int64_t p = 0; p < x->pair->o2; p++)
    for (int64_t t = 0; t < T; t++)
      memcpy(u + (p * T + t) * S, e->u + t * e->u_row + j * e->u_sample + p * S,
             (size_t)S * sizeof *u);
}

static void add_full(const task *x, const term *e, int64_t j) {
  const ntk_pair *p = x->pair;
  const int64_t positions = e->row->T * e->column->T;
  real *v = e->rest, *u = v + p->o1 * positions, *packed = u + p->o2 * positions;
  pick_pair(x, e, j, v, u);
  x->micro->pack(p->o2, positions, u, positions, p->o2, 0, packed);
  const NTK_REAL(ntk_fold) fold = {.rows = p->o1,
                                   .columns = p->o2,
                                   .k = positions,
                                   .a = v,
                                   .b = packed,
                                   .lda = positions,
                                   .alpha = p->scale,
                                   .t = p->acc + (x->i * p->o1 * p->n2 + x->j0 + j) * p->o2,
                                   .ldt = p->n2 * p->o2,
                                   .diagonal = INT64_MAX / 2};
  x->micro->fold(&fold);
}

/* Of one output of a pair of samples. */
static double diagonal_of(const task *x, const term *e, int64_t j, int64_t o) {
  const int64_t T = e->row->T, S = e->column->T;
  double sum = 0;
  for (int64_t t = 0; t < T; t++) {
    const real *v = e->v + ((o * T + t) * x->m + j) * S;
    const real *u = e->u + t * e->u_row + j * e->u_sample + o * S;
    for (int64_t s = 0; s < S; s++)
      sum += (double)(v[s] * u[s]);
  }
  return sum;
}

static void add_diagonals(const task *x, const term *e, int64_t j) {
  const ntk_pair *p = x->pair;
  const bool trace = p->form == NTK_FORM_TRACE;
  for (int64_t o = 0; o < p->o1; o++)
    p->acc[((trace ? 0 : o) * p->n1 + x->i) * p->n2 + x->j0 + j] +=
        p->scale * diagonal_of(x, e, j, o);
}

static void add_term(const task *x, int r) {
  const ntk_pair *p = x->pair;
  const ntk_group *roles = p->group->roles;
  const int64_t positions = roles[0].T * roles[1].T;
  term e = {.r = r, .row = &roles[r], .column = &roles[1 - r], .v = p->scratch};
  e.u = e.v + p->o1 * positions * x->m;
  e.rest = e.u + p->o2 * positions * x->m;
  make_v(x, &e);
  make_u(x, &e);
  for (int64_t j = 0; j < x->m; j++)
    if (p->mirror && x->j0 + j > x->i)
      break;
    else if (p->form == NTK_FORM_FULL)
      add_full(x, &e, j);
    else
      add_diagonals(x, &e, j);
}

void NTK_REAL(ntk_tie_contract)(const ntk_pair *p, int64_t i0, int64_t n) {
  const ntk_strips whole = ntk_strips_of(p->group, p->order, p->form, p->n2, p->o2);
  task x = {.pair = p, .micro = NTK_REAL(ntk_micro_get)()};
  for (int r = 0; r < 2; r++)
    x.places[r] = ntk_place_role(p->group, p->place1, r);
  for (; x.j0 < p->n2; x.j0 += whole.samples) {
    x.m = least(whole.samples, p->n2 - x.j0);
    x.at = ntk_tie_strip_of(p->group, p->order, x.m, p->o2);
    for (x.i = i0; x.i < i0 + n; x.i++) {
      if (p->mirror && x.j0 > x.i)
        continue;
      ntk_between_do(p->between);
      for (x.g = 0; x.g < p->group->G; x.g++) {
        x.strip =
            (const real *)p->packed2 + x.j0 / whole.samples * whole.size + x.g * x.at.size;
        add_term(&x, 0);
        add_term(&x, 1);
      }
    }
  }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/block.h"
#include "tensor/real.h"
#include <omp.h>

/* Every product has one block of E = D1 D2^T in cache for its result, which is folded into
 * the f64 accumulator at once:
 *
 *     acc[n,o,m,p] += scale * sum over t,s of A[n,t,m,s] E[n,o,t,m,p,s],   A = X1 X2^T,
 *
 * outside-in is the same without A (J for D); left-to-right brackets it differently. */

#define NTK_CLONES __attribute__((target_clones("avx512f", "avx2,fma", "default")))

static real *scratch_of(const ntk_pair *pair) {
  return (real *)pair->scratch + omp_get_thread_num() * pair->scratch_stride;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* C = A B^T in chains of bounded length (A and B row-major over k). */
static void gram(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
                 int64_t ldb, real *c, int64_t ldc) {
  for (int64_t k0 = 0; k0 < k; k0 += NTK_CHAIN_TERMS)
    NTK_REAL(ntk_gemm)
  (false, true, m, n, least(k - k0, NTK_CHAIN_TERMS), 1, a + k0, lda, b + k0, ldb,
   k0 > 0 ? 1 : 0, c, ldc);
}

/* ---- products of blocks ---------------------------------------------------------------
 */

/* One product over all samples of two row blocks: E rows (n, u, t), columns (m, v, s). */
typedef struct product {
  int64_t n1, n2, u1, u2, T, k;
  const real *d1, *d2;
  int64_t ld1, ld2;    /* of rows */
  const real *x1, *x2; /* rows (n, t) of K; NULL: A = 1 */
  int64_t K;
  double *acc; /* [n1, u1, n2, u2] */
} product;

/* acc[j] += a[j] e[j]. */
NTK_CLONES static void fold_row(int64_t n, const real *restrict a, const real *restrict e,
                                double *restrict acc) {
  for (int64_t j = 0; j < n; j++)
    acc[j] += (double)a[j] * (double)e[j];
}

NTK_CLONES static void fold_scaled(int64_t n, double scale, const real *restrict e,
                                   double *restrict acc) {
  for (int64_t j = 0; j < n; j++)
    acc[j] += scale * (double)e[j];
}

/* sum over t,s of A[t,s] E[t,s]: rows in the type of computation, their sums in f64. */
NTK_CLONES static double fold_positions(int64_t T, const real *restrict a, int64_t lda,
                                        const real *restrict e, int64_t lde) {
  double sum = 0;
  for (int64_t t = 0; t < T; t++) {
    real row = 0;
#pragma omp simd reduction(+ : row)
    for (int64_t s = 0; s < T; s++)
      row += a[t * lda + s] * e[t * lde + s];
    sum += (double)row;
  }
  return sum;
}

/* The samples i0 .. of rows and j0 .. of columns that are in hand. */
typedef struct window {
  int64_t i0, n, j0, m;
} window;

static void fold_single(const product *p, window w, double scale, const real *a,
                        const real *e, real *expanded) {
  const int64_t columns = w.m * p->u2;
  for (int64_t i = 0; i < w.n; i++) {
    for (int64_t j = 0; p->x1 && j < w.m; j++)
      for (int64_t v = 0; v < p->u2; v++)
        expanded[j * p->u2 + v] = (real)scale * a[i * w.m + j];
    for (int64_t u = 0; u < p->u1; u++) {
      double *acc = p->acc + (((w.i0 + i) * p->u1 + u) * p->n2 + w.j0) * p->u2;
      const real *row = e + (i * p->u1 + u) * columns;
      if (p->x1)
        fold_row(columns, expanded, row, acc);
      else
        fold_scaled(columns, scale, row, acc);
    }
  }
}

static void fold_many(const product *p, window w, double scale, const real *a,
                      const real *e) {
  const int64_t T = p->T, lda = w.m * T, lde = w.m * p->u2 * T;
  for (int64_t i = 0; i < w.n; i++)
    for (int64_t u = 0; u < p->u1; u++)
      for (int64_t j = 0; j < w.m; j++)
        for (int64_t v = 0; v < p->u2; v++)
          p->acc[(((w.i0 + i) * p->u1 + u) * p->n2 + w.j0 + j) * p->u2 + v] +=
              scale * fold_positions(T, a + i * T * lda + j * T, lda,
                                     e + (i * p->u1 + u) * T * lde + (j * p->u2 + v) * T,
                                     lde);
}

static void product_window(const ntk_pair *pair, const product *p, window w) {
  const int64_t T = p->T, rows = w.n * p->u1 * T, columns = w.m * p->u2 * T;
  real *e = scratch_of(pair), *a = e + rows * columns, *expanded = a;
  if (p->x1) {
    expanded = a + w.n * T * w.m * T;
    gram(w.n * T, w.m * T, p->K, p->x1 + w.i0 * T * p->K, p->K, p->x2 + w.j0 * T * p->K,
         p->K, a, w.m * T);
  }
  for (int64_t k0 = 0; k0 < p->k; k0 += NTK_CHAIN_TERMS) {
    NTK_REAL(ntk_gemm)
    (false, true, rows, columns, least(p->k - k0, NTK_CHAIN_TERMS), 1,
     p->d1 + w.i0 * p->u1 * T * p->ld1 + k0, p->ld1, p->d2 + w.j0 * p->u2 * T * p->ld2 + k0,
     p->ld2, 0, e, columns);
    if (T == 1)
      fold_single(p, w, pair->scale, a, e, expanded);
    else
      fold_many(p, w, pair->scale, a, e);
  }
}

/* Cuts a pair of blocks into windows of bn x bm samples; each result is one window's. */
static int64_t count_windows(const ntk_pair *pair, int64_t bn, int64_t bm) {
  return ((pair->n1 + bn - 1) / bn) * ((pair->n2 + bm - 1) / bm);
}

static window window_at(const ntk_pair *pair, int64_t bn, int64_t bm, int64_t number) {
  const int64_t columns = (pair->n2 + bm - 1) / bm;
  const int64_t i0 = number / columns * bn, j0 = number % columns * bm;
  return (window){i0, least(bn, pair->n1 - i0), j0, least(bm, pair->n2 - j0)};
}

/* Is all of the window above the diagonal of a block that will be mirrored? */
static bool is_mirrored(const ntk_pair *pair, window w) {
  return pair->mirror && w.j0 >= w.i0 + w.n;
}

static void run_product(const ntk_pair *pair, const product *p) {
  const int64_t bn = ntk_window_samples(p->u1 * p->T, p->n1);
  const int64_t bm = ntk_window_samples(p->u2 * p->T, p->n2);
/* the same thread for a window of all groups: what it adds to stays in its cache */
#pragma omp parallel for schedule(static, 1)
  for (int64_t b = 0; b < count_windows(pair, bn, bm); b++) {
    const window w = window_at(pair, bn, bm, b);
    if (!is_mirrored(pair, w))
      product_window(pair, p, w);
  }
}

/* Outside-in, and groups whose D is J: rows are Jacobians. */
static void contract_jacobians(const ntk_pair *pair) {
  const ntk_group *g = pair->group;
  const ntk_place *a = pair->place1, *b = pair->place2;
  const int64_t length = g->G * g->K * g->C;
  const real *d1 = (const real *)pair->block1 + (g->unit_x ? a->d : a->j);
  const real *d2 = (const real *)pair->block2 + (g->unit_x ? b->d : b->j);
  product p = {.n1 = pair->n1, .n2 = pair->n2, .u1 = 1, .u2 = 1, .T = 1, .acc = pair->acc};
  if (pair->form == NTK_FORM_FULL) {
    p.u1 = pair->o1;
    p.u2 = pair->o2;
  }
  p.k = p.ld1 = p.ld2 = pair->form == NTK_FORM_TRACE ? pair->o1 * length : length;
  const int64_t count = pair->form == NTK_FORM_DIAGONAL ? pair->o1 : 1;
  for (int64_t o = 0; o < count; o++) {
    p.d1 = d1 + o * pair->n1 * length;
    p.d2 = d2 + o * pair->n2 * length;
    p.acc = pair->acc + o * pair->n1 * pair->n2;
    run_product(pair, &p);
  }
}

static void contract_inside_out(const ntk_pair *pair) {
  const ntk_group *group = pair->group;
  const ntk_place *a = pair->place1, *b = pair->place2;
  const real *block1 = pair->block1, *block2 = pair->block2;
  const bool full = pair->form == NTK_FORM_FULL;
  product p = {.n1 = pair->n1,
               .n2 = pair->n2,
               .u1 = full ? pair->o1 : 1,
               .u2 = full ? pair->o2 : 1,
               .T = group->T,
               .K = group->K,
               .k = group->C};
  if (pair->form == NTK_FORM_TRACE)
    p.k *= pair->o1;
  p.ld1 = p.ld2 = p.k;
  const int64_t count = pair->form == NTK_FORM_DIAGONAL ? pair->o1 : 1;
  for (int64_t g = 0; g < group->G; g++)
    for (int64_t o = 0; o < count; o++) {
      p.x1 = block1 + a->x + g * a->xg;
      p.x2 = block2 + b->x + g * b->xg;
      p.d1 = block1 + a->d + g * a->dg + (count > 1 ? o * a->d_o : 0);
      p.d2 = block2 + b->d + g * b->dg + (count > 1 ? o * b->d_o : 0);
      p.acc = pair->acc + o * pair->n1 * pair->n2;
      run_product(pair, &p);
    }
}

/* ---- left-to-right --------------------------------------------------------------------
 */

/* One pair of samples: F[p] = A D2[p] [T x C], then R[o,p] = D1[o] . F[p]. */
static void left_to_right_pair(const ntk_pair *pair, int64_t g, int64_t i, int64_t j) {
  const ntk_group *group = pair->group;
  const ntk_place *a = pair->place1, *b = pair->place2;
  const int64_t T = group->T, C = group->C, length = T * C;
  const real *block1 = pair->block1, *block2 = pair->block2;
  const real *d1 = block1 + a->d + g * a->dg + i * a->dn;
  const real *d2 = block2 + b->d + g * b->dg + j * b->dn;
  real *A = scratch_of(pair), *F = A + T * T, *R = F + pair->o2 * length;
  gram(T, T, group->K, block1 + a->x + g * a->xg + i * a->xn, group->K,
       block2 + b->x + g * b->xg + j * b->xn, group->K, A, T);
  for (int64_t p = 0; p < pair->o2; p++)
    NTK_REAL(ntk_gemm)
  (false, false, T, C, T, 1, A, T, d2 + p * length, C, 0, F + p * length, C);
  for (int64_t k0 = 0; k0 < length; k0 += NTK_CHAIN_TERMS) {
    NTK_REAL(ntk_gemm)
    (false, true, pair->o1, pair->o2, least(length - k0, NTK_CHAIN_TERMS), 1, d1 + k0,
     length, F + k0, length, 0, R, pair->o2);
    for (int64_t o = 0; o < pair->o1; o++)
      fold_scaled(pair->o2, pair->scale, R + o * pair->o2,
                  pair->acc + ((i * pair->o1 + o) * pair->n2 + j) * pair->o2);
  }
}

static void contract_left_to_right(const ntk_pair *pair) {
#pragma omp parallel for schedule(dynamic)
  for (int64_t b = 0; b < pair->n1 * pair->n2; b++) {
    const int64_t i = b / pair->n2, j = b % pair->n2;
    if (pair->mirror && j > i)
      continue;
    for (int64_t g = 0; g < pair->group->G; g++)
      left_to_right_pair(pair, g, i, j);
  }
}

/* ---- constant D -----------------------------------------------------------------------
 */

static double *constant_target(const ntk_pair *pair, const ntk_constant_entry *entry,
                               int64_t i, int64_t j) {
  const int64_t o = entry->o - pair->output1, p = entry->p - pair->output2;
  if (o < 0 || o >= pair->o1 || p < 0 || p >= pair->o2)
    return NULL;
  switch (pair->form) {
  case NTK_FORM_FULL:
    return pair->acc + ((i * pair->o1 + o) * pair->n2 + j) * pair->o2 + p;
  case NTK_FORM_TRACE:
    return entry->o == entry->p ? pair->acc + i * pair->n2 + j : NULL;
  default:
    return entry->o == entry->p ? pair->acc + (o * pair->n1 + i) * pair->n2 + j : NULL;
  }
}

static void constant_window(const ntk_pair *pair, window w) {
  const ntk_group *group = pair->group;
  const int64_t T = group->T, K = group->K, ld = w.m * T;
  real *A = scratch_of(pair);
  gram(w.n * T, ld, K, (const real *)pair->block1 + pair->place1->x + w.i0 * T * K, K,
       (const real *)pair->block2 + pair->place2->x + w.j0 * T * K, K, A, ld);
  for (int64_t k = 0; k < pair->constant->count; k++) {
    const ntk_constant_entry *entry = &pair->constant->entries[k];
    const real *a = A + entry->t * ld + entry->s;
    for (int64_t i = 0; i < w.n; i++)
      for (int64_t j = 0; j < w.m; j++) {
        double *to = constant_target(pair, entry, w.i0 + i, w.j0 + j);
        if (!to)
          break;
        *to += pair->scale * entry->e * (double)a[i * T * ld + j * T];
      }
  }
}

static void contract_constant(const ntk_pair *pair) {
  const bool full = pair->form == NTK_FORM_FULL; /* the windows of E: acc is in cache */
  const int64_t T = pair->group->T;
  const int64_t bn = ntk_window_samples(T * (full ? pair->o1 : 1), pair->n1);
  const int64_t bm = ntk_window_samples(T * (full ? pair->o2 : 1), pair->n2);
#pragma omp parallel for schedule(static, 1)
  for (int64_t b = 0; b < count_windows(pair, bn, bm); b++) {
    const window w = window_at(pair, bn, bm, b);
    if (!is_mirrored(pair, w))
      constant_window(pair, w);
  }
}

void NTK_REAL(ntk_contract)(const ntk_pair *pair) {
  if (pair->group->unit_x || pair->order == NTK_ORDER_OUTSIDE_IN)
    contract_jacobians(pair);
  else if (pair->order == NTK_ORDER_CONSTANT)
    contract_constant(pair);
  else if (pair->order == NTK_ORDER_LEFT_TO_RIGHT)
    contract_left_to_right(pair);
  else
    contract_inside_out(pair);
}

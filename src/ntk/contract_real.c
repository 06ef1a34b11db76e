/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/micro.h"
#include "ntk/pixels.h"
#include "ntk/tie.h"
#include <string.h>

/* Theta[n,o,m,p] += sum over g, t, s of A[n,t,m,s] E[n,o,t,m,p,s] with A = X1 X2^T and
 * E = D1 D2^T; outside-in is the same without A (J for D); left-to-right brackets it as
 * D1 (A D2). The rows of some samples go against one packed strip of columns after the
 * other. */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Rows i0 .. i0 + n against columns j0 .. j0 + m. */
typedef struct task {
  const ntk_pair *pair;
  const NTK_REAL(ntk_micro) * micro;
  int64_t i0, n, j0, m;
  int64_t u1, u2;    /* rows and columns of the tile for a sample */
  const real *strip; /* what is left of it */
} task;

static const real *row_x(const task *x, int64_t g, int64_t i) {
  const ntk_place *p = x->pair->place1;
  return (const real *)x->pair->block1 + p->x + g * p->xg + i * p->xn;
}

static const real *row_d(const task *x, int64_t g, int64_t i) {
  const ntk_place *p = x->pair->place1;
  return (const real *)x->pair->block1 + p->d + g * p->dg + i * p->dn;
}

/* Where sample i's rows of the tile meet the strip; output o of a diagonal. */
static double *tile_at(const task *x, int64_t o, int64_t i) {
  const ntk_pair *p = x->pair;
  return p->acc + ((o * p->n1 + i) * x->u1 * p->n2 + x->j0) * x->u2;
}

static int64_t tile_ld(const task *x) { return x->pair->n2 * x->u2; }

static int64_t diagonals(const ntk_pair *p) {
  return p->form == NTK_FORM_DIAGONAL ? p->o1 : 1;
}

/* Columns of the tile up to the row's own number plus this are needed. */
static int64_t diagonal_of(const task *x) {
  return x->pair->mirror ? x->i0 * x->u1 - x->j0 * x->u2 : INT64_MAX / 2;
}

/* ---- rows of Jacobians ----------------------------------------------------------------
 */

/* Some slices of k at a time, so that no piece of work is long; sums are the same. */
static void fold_in_pieces(const task *x, NTK_REAL(ntk_fold) fold) {
  const int64_t piece = (int64_t)1 << 22; /* multiply-adds: a tenth of a millisecond */
  const int64_t window = NTK_SLICE * (1 + piece / (fold.rows * fold.columns * NTK_SLICE));
  const int64_t k = fold.k;
  for (int64_t k0 = 0; k0 < k; k0 += window) {
    fold.k = least(window, k - k0);
    x->micro->fold(&fold);
    fold.a += fold.k;
    fold.b += ntk_packed(fold.columns, fold.k);
    ntk_between_do(x->pair->between);
  }
}

static void strip_of_jacobians(const task *x) {
  const ntk_pair *p = x->pair;
  const ntk_group *group = p->group;
  const int64_t length = group->G * group->K * group->C;
  const int64_t k = p->form == NTK_FORM_TRACE ? p->o1 * length : length;
  const real *rows = (const real *)p->block1 +
                     (group->unit_x ? p->place1->d : p->place1->j) + x->i0 * x->u1 * k;
  for (int64_t o = 0; o < diagonals(p); o++) {
    const NTK_REAL(ntk_fold) fold = {.rows = x->n * x->u1,
                                     .columns = x->m * x->u2,
                                     .k = k,
                                     .a = rows + o * p->n1 * length,
                                     .b = x->strip + o * ntk_packed(x->m, length),
                                     .lda = k,
                                     .alpha = p->scale,
                                     .t = tile_at(x, o, x->i0),
                                     .ldt = tile_ld(x),
                                     .diagonal = diagonal_of(x)};
    fold_in_pieces(x, fold);
  }
}

/* ---- A --------------------------------------------------------------------------------
 */

/* Adds the shifted Grams of one part's pixels for row sample i; moves the strip on. */
static const real *add_pixels(const task *x, const ntk_x_part *part, int64_t g, int64_t i,
                              const real *packed, real *a, int64_t lda, real *scratch) {
  const ntk_group *group = x->pair->group;
  const ntk_place *place = x->pair->place1;
  const int64_t channels = part->use.channels;
  const real *pixels = (const real *)x->pair->block1 + place->pixels + g * place->pixels_g +
                       i * place->pixels_n + part->at;
  for (int64_t c = 0; c < ntk_pixel_classes(part->use.window); c++) {
    const ntk_pixel_class k = ntk_pixel_class_at(part->use.window, c);
    const int64_t columns = x->m * k.count;
    const NTK_REAL(ntk_product) gram = {.rows = k.count,
                                        .columns = columns,
                                        .k = channels,
                                        .a = pixels + k.first * channels,
                                        .b = packed,
                                        .c = scratch,
                                        .lda = channels,
                                        .ldc = columns};
    x->micro->multiply(&gram);
    for (int64_t j = 0; j < x->m; j++)
      NTK_REAL(ntk_pixels_add)
    (part->use.window, &k, scratch + j * k.count, columns, a + j * group->T, lda,
     scratch + k.count * columns);
    packed += ntk_packed(columns, channels);
  }
  return packed;
}

/* Adds where rows of a table meet themselves; moves the strip on. */
static const real *add_matches(const task *x, const ntk_x_part *part, int64_t g, int64_t i,
                               int64_t n, const real *packed, real *a) {
  const ntk_place *place = x->pair->place1;
  const int64_t T = x->pair->group->T, columns = x->m * T;
  const real *rows = (const real *)x->pair->block1 + place->pixels + g * place->pixels_g +
                     i * place->pixels_n + part->at;
  for (int64_t k = 0; k < n * T; k++) {
    const real *row = rows + k / T * place->pixels_n + k % T;
    const real index = row[0], scale = row[T];
    real *to = a + k * columns;
#pragma omp simd
    for (int64_t c = 0; c < columns; c++)
      to[c] += packed[c] == index ? scale * packed[columns + c] : 0;
  }
  return packed + ntk_packed(columns, 2);
}

/* A[n, t, (m,s)] of row samples i .. i + n of one g, n = 1 where there are pixels. */
static void form_a(const task *x, int64_t g, int64_t i, int64_t n, real *a, real *scratch) {
  const ntk_group *group = x->pair->group;
  const int64_t T = group->T, columns = x->m * T;
  const NTK_REAL(ntk_product) gram = {.rows = n * T,
                                      .columns = columns,
                                      .k = group->row_K,
                                      .a = row_x(x, g, i),
                                      .b = x->strip,
                                      .c = a,
                                      .lda = group->row_K,
                                      .ldc = columns};
  const real *packed = x->strip + ntk_packed(columns, group->row_K);
  if (group->row_K > 0)
    x->micro->multiply(&gram);
  else
    memset(a, 0, (size_t)(n * T * columns) * sizeof *a);
  for (int p = 0; p < group->x_count; p++) {
    const ntk_x_part *part = &group->sections[0].x[p];
    if (part->pixels)
      packed = add_pixels(x, part, g, i, packed, a, columns, scratch);
    else if (part->use.one_hot)
      packed = add_matches(x, part, g, i, n, packed, a);
  }
}

/* ---- inside-out -----------------------------------------------------------------------
 */

/* S as the factor of every element of the tile's rows. */
static void expand(const task *x, const real *s, real *out) {
  const real scale = (real)x->pair->scale;
  for (int64_t i = 0; i < x->n; i++)
    for (int64_t j = 0; j < x->m; j++)
      for (int64_t v = 0; v < x->u2; v++)
        out[(i * x->m + j) * x->u2 + v] = scale * s[i * x->m + j];
}

/* T = 1. */
static void strip_of_samples(const task *x, int64_t g, const real *d) {
  const ntk_pair *p = x->pair;
  const int64_t C = p->group->C, k = p->form == NTK_FORM_TRACE ? p->o1 * C : C;
  real *s = p->scratch, *factor = s + x->n * x->m;
  form_a(x, g, x->i0, x->n, s, NULL);
  expand(x, s, factor);
  for (int64_t o = 0; o < diagonals(p); o++) {
    const NTK_REAL(ntk_fold) fold = {.rows = x->n * x->u1,
                                     .columns = x->m * x->u2,
                                     .k = k,
                                     .a = row_d(x, g, x->i0) + o * p->place1->d_o,
                                     .b = d + o * ntk_packed(x->m, C),
                                     .lda = k,
                                     .s = factor,
                                     .lds = x->m * x->u2,
                                     .s_rows = x->u1,
                                     .t = tile_at(x, o, x->i0),
                                     .ldt = tile_ld(x),
                                     .diagonal = diagonal_of(x)};
    x->micro->fold(&fold);
  }
}

static void strip_of_positions(const task *x, int64_t g, const real *d) {
  const ntk_pair *p = x->pair;
  const int64_t T = p->group->T, C = p->group->C, columns = x->m * T;
  const int64_t k = p->form == NTK_FORM_TRACE ? p->o1 * C : C;
  real *a = p->scratch;
  for (int64_t i = x->i0; i < x->i0 + x->n; i++) {
    if (p->mirror && x->j0 > i)
      continue;
    ntk_between_do(p->between);
    form_a(x, g, i, 1, a, a + T * columns);
    for (int64_t o = 0; o < diagonals(p); o++) {
      const NTK_REAL(ntk_fold_positions) fold = {.T = T,
                                                 .u = x->u1,
                                                 .v = x->u2,
                                                 .m = x->m,
                                                 .k = k,
                                                 .a = row_d(x, g, i) + o * p->place1->d_o,
                                                 .stride_a = p->place1->d_o,
                                                 .b = d + o * ntk_packed(columns, C),
                                                 .lda = k,
                                                 .s = a,
                                                 .lds = columns,
                                                 .alpha = p->scale,
                                                 .t = tile_at(x, o, i),
                                                 .ldt = tile_ld(x)};
      x->micro->fold_positions(&fold);
    }
  }
}

/* ---- left-to-right --------------------------------------------------------------------
 */

/* Row samples i .. i + n against the strip: A of all pairs, sums of D1 (A D2). */
typedef struct tile {
  int64_t i, n;
  real *a, *sums, *f;
} tile;

static bool is_needed(const task *x, const tile *l, int64_t i, int64_t j) {
  return !x->pair->mirror || x->j0 + j <= l->i + i;
}

static void add_sums(const task *x, const tile *l) {
  const int64_t o1 = x->pair->o1, o2 = x->pair->o2, size = o1 * o2 * NTK_CHUNK;
  for (int64_t i = 0; i < l->n; i++)
    for (int64_t j = 0; j < x->m; j++)
      x->micro->add_dots(o1, o2, l->sums + (i * x->m + j) * size, x->pair->scale,
                         tile_at(x, 0, l->i + i) + j * o2, tile_ld(x));
  memset(l->sums, 0, (size_t)(l->n * x->m * size) * sizeof(real));
}

/* Some chunks of channels of one pair; a sum's vector has at least four lanes in f32. */
static void pair_of_samples(const task *x, const tile *l, int64_t g, int64_t i, int64_t j,
                            int64_t chunk, int64_t chunks, const real *d2) {
  const ntk_pair *p = x->pair;
  const int64_t T = p->group->T, lda = x->m * T, columns = chunks * p->o2 * NTK_CHUNK;
  const NTK_REAL(ntk_product) product = {.rows = T,
                                         .columns = columns,
                                         .k = T,
                                         .a = l->a + i * T * lda + j * T,
                                         .b = d2,
                                         .c = l->f,
                                         .lda = lda,
                                         .ldc = columns};
  const NTK_REAL(ntk_dots)
      dots = {.chunks = chunks,
              .T = T,
              .o = p->o1,
              .p = p->o2,
              .d = row_d(x, g, l->i + i) + chunk * p->place1->dchunk,
              .f = l->f,
              .ldf = columns,
              .r = l->sums + (i * x->m + j) * p->o1 * p->o2 * NTK_CHUNK};
  x->micro->multiply(&product);
  x->micro->dots(&dots);
}

static void left_to_right_tile(const task *x, const tile *l, int64_t g, const real *d) {
  const ntk_pair *p = x->pair;
  const int64_t T = p->group->T, chunks = p->place1->dn / p->place1->dchunk;
  const int64_t step = ntk_chunks_at_once(p->group, p->o2);
  const int64_t chunk = T * p->o2 * NTK_CHUNK, terms = step * T * (NTK_CHUNK / 4);
  int64_t chain = 0;
  for (int64_t i = 0; i < l->n; i++)
    form_a(x, g, l->i + i, 1, l->a + i * T * x->m * T, l->f);
  for (int64_t c = 0; c < chunks; c += step) {
    const int64_t count = least(step, chunks - c);
    ntk_between_do(p->between);
    for (int64_t j = 0; j < x->m; j++)
      for (int64_t i = 0; i < l->n; i++)
        if (is_needed(x, l, i, j))
          pair_of_samples(x, l, g, i, j, c, count, d + (j * chunks + c) * chunk);
    chain += terms;
    if (chain + terms > NTK_CHAIN_TERMS) {
      add_sums(x, l);
      chain = 0;
    }
  }
  if (chain > 0)
    add_sums(x, l);
}

static void strip_of_pairs(const task *x, int64_t g, const real *d) {
  const ntk_pair *p = x->pair;
  const int64_t T = p->group->T;
  tile l = {.a = p->scratch};
  l.sums = l.a + NTK_PAIR_SAMPLES * T * x->m * T;
  l.f = l.sums + NTK_PAIR_SAMPLES * x->m * p->o1 * p->o2 * NTK_CHUNK;
  memset(l.sums, 0, (size_t)(l.f - l.sums) * sizeof(real));
  for (int64_t i = 0; i < x->n; i += NTK_PAIR_SAMPLES) {
    l.i = x->i0 + i;
    l.n = least(NTK_PAIR_SAMPLES, x->n - i);
    left_to_right_tile(x, &l, g, d);
  }
}

/* ---- constant D -----------------------------------------------------------------------
 */

static double *constant_target(const task *x, const ntk_constant_entry *entry, int64_t i) {
  const ntk_pair *p = x->pair;
  const int64_t o = entry->o - p->output1, q = entry->p - p->output2;
  if (o < 0 || o >= p->o1 || q < 0 || q >= p->o2 ||
      (p->form != NTK_FORM_FULL && entry->o != entry->p))
    return NULL;
  if (p->form == NTK_FORM_FULL)
    return tile_at(x, 0, i) + o * tile_ld(x) + q;
  return tile_at(x, p->form == NTK_FORM_DIAGONAL ? o : 0, i);
}

static void add_constants(const task *x, int64_t i, const real *a) {
  const ntk_pair *p = x->pair;
  const int64_t T = p->group->T, columns = x->m * T;
  for (int64_t k = 0; k < p->constant->count; k++) {
    const ntk_constant_entry *entry = &p->constant->entries[k];
    double *to = constant_target(x, entry, i);
    for (int64_t j = 0; to && j < x->m; j++)
      to[j * x->u2] +=
          p->scale * entry->e * (double)a[entry->t * columns + j * T + entry->s];
  }
}

static void strip_of_constants(const task *x, int64_t g) {
  const int64_t T = x->pair->group->T, step = T == 1 ? x->n : 1, size = T * x->m * T;
  real *a = x->pair->scratch;
  for (int64_t i = 0; i < x->n; i += step) {
    form_a(x, g, x->i0 + i, step, a, a + step * size);
    for (int64_t k = 0; k < step; k++)
      add_constants(x, x->i0 + i + k, a + k * size);
  }
}

/* ---- all of them ----------------------------------------------------------------------
 */

static void contract_strip(const task *x, int64_t g, const real *d) {
  switch (x->pair->order) {
  case NTK_ORDER_LEFT_TO_RIGHT:
    strip_of_pairs(x, g, d);
    break;
  case NTK_ORDER_CONSTANT:
    strip_of_constants(x, g);
    break;
  default:
    if (x->pair->group->T > 1)
      strip_of_positions(x, g, d);
    else
      strip_of_samples(x, g, d);
  }
}

void NTK_REAL(ntk_contract)(const ntk_pair *p, int64_t i0, int64_t n) {
  if (p->group->roles) {
    NTK_REAL(ntk_tie_contract)(p, i0, n);
    return;
  }
  const ntk_strips whole = ntk_strips_of(p->group, p->order, p->form, p->n2, p->o2);
  const int64_t columns = p->mirror ? least(i0 + n, p->n2) : p->n2; /* that are needed */
  task x = {.pair = p,
            .micro = NTK_REAL(ntk_micro_get)(),
            .i0 = i0,
            .n = n,
            .u1 = ntk_form_rows(p->form, p->o1),
            .u2 = ntk_form_rows(p->form, p->o2)};
  for (; x.j0 < columns; x.j0 += whole.samples) {
    x.m = least(whole.samples, p->n2 - x.j0);
    const ntk_strips s = ntk_strips_of(p->group, p->order, p->form, x.m, p->o2);
    x.strip = (const real *)p->packed2 + x.j0 / whole.samples * whole.size;
    ntk_between_do(p->between);
    if (p->group->unit_x || p->order == NTK_ORDER_OUTSIDE_IN) {
      strip_of_jacobians(&x);
      continue;
    }
    for (int64_t g = 0; g < p->group->G; g++, x.strip += s.x + s.pixels + s.d)
      contract_strip(&x, g, x.strip + s.x + s.pixels);
  }
}

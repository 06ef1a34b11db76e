/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/micro.h"
#include "ntk/project_parts.h"
#include <omp.h>
#include <string.h>

#define micro NTK_REAL(ntk_micro_get)()

/* A part of the work: samples i0 .. i1, and `rows` rows of R, those of a block. */
typedef struct task {
  int64_t i0, i1, block, rows;
} task;

/* A thread's scratch. */
typedef struct areas {
  real *packed;     /* [parameters, NTK_SKETCH_ROWS] */
  int64_t *numbers; /* [parameters] */
  real *packed_y;   /* [t, 16, NTK_SKETCH_ROWS] of one sample */
  real *y;          /* [samples, t, 16, NTK_SKETCH_ROWS] */
} areas;

/* T: of what goes by X first, else 0. */
static areas areas_of(const ntk_projector *p, int64_t T) {
  const int64_t parameters = ntk_panel_parameters(NTK_REAL_DTYPE);
  areas a;
  a.packed = (real *)p->scratch + omp_get_thread_num() * p->scratch_elements;
  a.numbers = (int64_t *)(void *)(a.packed + parameters * NTK_SKETCH_ROWS);
  a.packed_y = a.packed + ntk_panel_elements(NTK_REAL_DTYPE);
  a.y = a.packed_y + T * NTK_CHUNK * NTK_SKETCH_ROWS;
  return a;
}

/* Blocks of R by shares of the samples, so many that every thread has some. */
static int64_t shares_of(const ntk_projector *p) {
  const int64_t blocks = ntk_sketch_blocks(&p->spec.sketch);
  const int64_t wanted = (2 * (int64_t)omp_get_max_threads() + blocks - 1) / blocks;
  const int64_t most = p->n * p->o / 64 < p->n ? p->n * p->o / 64 : p->n;
  if (omp_get_max_threads() == 1 || most < 1)
    return 1;
  return wanted < most ? wanted : most;
}

static task task_of(const ntk_projector *p, int64_t number, int64_t shares) {
  const int64_t block = number / shares, share = number % shares;
  const int64_t rest = p->spec.sketch.dim - block * NTK_SKETCH_ROWS;
  return (task){p->n * share / shares, p->n * (share + 1) / shares, block,
                rest < NTK_SKETCH_ROWS ? rest : NTK_SKETCH_ROWS};
}

/* Makes and packs the panel of the parameters that a.numbers names. */
static void make_panel(const ntk_projector *p, const task *t, int64_t count,
                       const areas *a) {
  real part[NTK_PANEL_PART * NTK_SKETCH_ROWS] __attribute__((aligned(64)));
  for (int64_t i = 0; i < count; i += NTK_PANEL_PART) {
    const int64_t n = count - i < NTK_PANEL_PART ? count - i : NTK_PANEL_PART;
    NTK_REAL(ntk_sketch_fill)(&p->spec.sketch, t->block, n, a->numbers + i, part);
    micro->pack_some(t->rows, count, i, n, part, NTK_SKETCH_ROWS, a->packed);
  }
}

/* phi of sample i on, first output: where the rows of the task stand. */
static double *phi_of(const ntk_projector *p, const task *t, int64_t i) {
  return p->phi + i * p->o * p->spec.sketch.dim + t->block * NTK_SKETCH_ROWS;
}

/* phi += a packed / sqrt(dim), for rows of a that are those of phi from `to` on. */
static void add_to_phi(const ntk_projector *p, const task *t, int64_t rows, int64_t k,
                       const real *a, int64_t lda, const real *packed, double *to) {
  const NTK_REAL(ntk_fold) fold = {.rows = rows,
                                   .columns = t->rows,
                                   .k = k,
                                   .a = a,
                                   .lda = lda,
                                   .b = packed,
                                   .alpha = 1 / sqrt((double)p->spec.sketch.dim),
                                   .t = to,
                                   .ldt = p->spec.sketch.dim,
                                   .diagonal = t->rows};
  micro->fold(&fold);
}

/* ---- J --------------------------------------------------------------------------------
 */

static void project_j_task(const ntk_projector *p, const ntk_path *path, ntk_array j,
                           const task *t) {
  const areas a = areas_of(p, 0);
  const int64_t step = ntk_panel_parameters(NTK_REAL_DTYPE);
  const bool together = j.outer == p->o * j.inner;
  const int64_t at_once = together ? t->i1 - t->i0 : 1;
  for (int64_t k0 = 0; k0 < path->size; k0 += step) {
    const int64_t count = step < path->size - k0 ? step : path->size - k0;
    for (int64_t i = 0; i < count; i++)
      a.numbers[i] = path->first + k0 + i;
    make_panel(p, t, count, &a);
    for (int64_t i = t->i0; i < t->i1; i += at_once)
      add_to_phi(p, t, at_once * p->o, count, (const real *)j.data + i * j.outer + k0,
                 j.inner, a.packed, phi_of(p, t, i));
  }
}

void NTK_REAL(ntk_project_j)(ntk_projector *p, const ntk_path *path, ntk_array j) {
  const int64_t shares = shares_of(p);
  const int64_t tasks = shares * ntk_sketch_blocks(&p->spec.sketch);
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < tasks; i++) {
    const task t = task_of(p, i, shares);
    project_j_task(p, path, j, &t);
  }
}

/* ---- X first --------------------------------------------------------------------------
 */

static int64_t number_of(const ntk_path *path, int64_t g, int64_t k, int64_t c) {
  const ntk_group *u = &path->use;
  const int64_t element = path->map ? (int64_t)path->map[(g * u->K + k) * u->C + c]
                                    : g * path->wg + k * path->wk + c * path->wc;
  return path->first + element;
}

/* y[i, t, :] = sum over k of X[i, t, k] R[:, (k, c)]. */
static void make_y(const ntk_projector *p, const ntk_path *path, const task *t,
                   const areas *a, int64_t g, int64_t c, real *y) {
  const int64_t T = path->use.T, K = path->use.K;
  const int64_t step = ntk_panel_parameters(NTK_REAL_DTYPE);
  for (int64_t k0 = 0; k0 < K; k0 += step) {
    const int64_t count = step < K - k0 ? step : K - k0;
    for (int64_t i = 0; i < count; i++)
      a->numbers[i] = number_of(path, g, k0 + i, c);
    make_panel(p, t, count, a);
    const NTK_REAL(ntk_product)
        product = {.rows = (t->i1 - t->i0) * T,
                   .columns = t->rows,
                   .k = count,
                   .a = (const real *)p->x + (g * p->n + t->i0) * T * K + k0,
                   .lda = K,
                   .b = a->packed,
                   .c = y,
                   .ldc = (int64_t)NTK_CHUNK * NTK_SKETCH_ROWS,
                   .add = k0 > 0};
    micro->multiply(&product);
  }
}

/* A channel behind the last. */
static void clear_y(int64_t rows, real *y) {
  for (int64_t r = 0; r < rows; r++, y += (int64_t)NTK_CHUNK * NTK_SKETCH_ROWS)
    memset(y, 0, NTK_SKETCH_ROWS * sizeof *y);
}

static void project_x_task(const ntk_projector *p, const ntk_path *path, const task *t) {
  const int64_t T = path->use.T, chunks = ntk_path_chunks(path);
  const int64_t chunk = p->o * T * NTK_CHUNK, each = T * NTK_CHUNK * NTK_SKETCH_ROWS;
  const areas a = areas_of(p, T);
  for (int64_t q = 0; q < path->use.G * chunks; q++) {
    const int64_t g = q / chunks, c0 = q % chunks * NTK_CHUNK;
    for (int64_t c = c0; c < c0 + NTK_CHUNK; c++) {
      real *y = a.y + (c - c0) * NTK_SKETCH_ROWS;
      if (c < path->use.C)
        make_y(p, path, t, &a, g, c, y);
      else
        clear_y((t->i1 - t->i0) * T, y);
    }
    for (int64_t i = t->i0; i < t->i1; i++) {
      micro->pack_columns(t->rows, T * NTK_CHUNK, a.y + (i - t->i0) * each, NTK_SKETCH_ROWS,
                          a.packed_y);
      add_to_phi(p, t, p->o, T * NTK_CHUNK,
                 (const real *)p->d + (i * path->use.G * chunks + q) * chunk, T * NTK_CHUNK,
                 a.packed_y, phi_of(p, t, i));
    }
  }
}

/* Row of a table that position t looks up. */
static int64_t row_of(const ntk_projector *p, const ntk_path *path, int64_t i, int64_t g,
                      int64_t t) {
  const ntk_x_part *x = path->use.sections->x;
  const ntk_use *u = &x->use;
  const ntk_array value = ntk_sweep_value(p->sweep, x->value);
  const int64_t at = g * u->xg + t / u->T2 * u->xt1 + t % u->T2 * u->xt2;
  const int64_t row = (int64_t)((const real *)value.data)[i * value.outer + at];
  return row < 0 ? row + u->K : row;
}

/* Of a table: phi += sum over t and 16 channels of D[o, (t, c)] R[:, (row of t, c)]. */
static void project_rows(const ntk_projector *p, const ntk_path *path, const task *t,
                         const areas *a, int64_t i, int64_t q) {
  const ntk_group *u = &path->use;
  const int64_t chunks = ntk_path_chunks(path), g = q / chunks, c0 = q % chunks * NTK_CHUNK;
  const int64_t all = u->T * NTK_CHUNK, step = ntk_panel_parameters(NTK_REAL_DTYPE);
  const real *d = (const real *)p->d + (i * u->G * chunks + q) * p->o * all;
  const real scale = (real)u->sections->x->scale;
  for (int64_t k0 = 0; k0 < all; k0 += step) {
    const int64_t count = step < all - k0 ? step : all - k0;
    for (int64_t k = k0; k < k0 + count; k++) {
      const int64_t c = c0 + k % NTK_CHUNK; /* behind the last channel D is 0 */
      a->numbers[k - k0] =
          number_of(path, g, row_of(p, path, i, g, k / NTK_CHUNK), c < u->C ? c : u->C - 1);
    }
    make_panel(p, t, count, a);
    for (int64_t k = 0; scale != 1 && k < count * NTK_SKETCH_ROWS; k++)
      a->packed[k] *= scale;
    add_to_phi(p, t, p->o, count, d + k0, all, a->packed, phi_of(p, t, i));
  }
}

static void project_table_task(const ntk_projector *p, const ntk_path *path,
                               const task *t) {
  const areas a = areas_of(p, 0);
  for (int64_t i = t->i0; i < t->i1; i++)
    for (int64_t q = 0; q < path->use.G * ntk_path_chunks(path); q++)
      project_rows(p, path, t, &a, i, q);
}

/* X and D of all samples, as the tasks read them. */
static void capture(ntk_projector *p, const ntk_path *path, ntk_array cotangent) {
  const ntk_group *u = &path->use;
  const int64_t chunk = p->o * u->T * NTK_CHUNK, chunks = ntk_path_chunks(path);
  const ntk_place place = {.xt = u->K,
                           .xn = u->T * u->K,
                           .xg = p->n * u->T * u->K,
                           .dn = u->G * chunks * chunk,
                           .dg = chunks * chunk,
                           .dchunk = chunk,
                           .d_o = u->T * NTK_CHUNK,
                           .dt = NTK_CHUNK};
  ntk_capture c = {.net = p->spec.paths->net,
                   .sweep = p->sweep,
                   .buffer = p->x,
                   .n = p->n,
                   .o = p->o,
                   .scratch = p->scratch,
                   .scratch_stride = p->scratch_elements};
  if (!u->one_hot)
    NTK_REAL(ntk_capture_x)(&c, u, &place);
  if (u->C % NTK_CHUNK != 0)
    memset(p->d, 0, (size_t)(p->n * place.dn) * sizeof(real));
  c.buffer = p->d;
  NTK_REAL(ntk_capture_d)(&c, u, &place, 0, 0, cotangent);
}

void NTK_REAL(ntk_project_x)(ntk_projector *p, const ntk_path *path, ntk_array cotangent) {
  const int64_t shares = shares_of(p);
  const int64_t tasks = shares * ntk_sketch_blocks(&p->spec.sketch);
  capture(p, path, cotangent);
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < tasks; i++) {
    const task t = task_of(p, i, shares);
    (path->use.one_hot ? project_table_task : project_x_task)(p, path, &t);
  }
}

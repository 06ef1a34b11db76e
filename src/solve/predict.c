/* SPDX-License-Identifier: Apache-2.0 */
/* The test kernel is multiplied tile by tile as it is read; no rank has more than one. */
#include "base/memory.h"
#include "solve/solve.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <string.h>

typedef struct work {
  ntk_solve *s;
  const ntk_kernel_facts *facts; /* of the test kernel */
  int64_t wide;                  /* columns of alpha in a plane */
  double *values;                /* a tile */
  double *alpha, *sum;           /* its rows of alpha, and their products */
} work;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t blocks(int64_t n, int64_t block) { return (n - 1) / block + 1; }

/* Outputs of an axis of the tiles: those of full and diagonal kernels. */
static int64_t axis_outputs(const ntk_kernel_facts *k) {
  return k->matrices * k->per_sample;
}

/* Tile of a number; of a diagonal kernel both sides have the same outputs. */
static ntk_tile tile_at(const ntk_kernel_facts *k, int64_t number) {
  const int64_t parts = blocks(axis_outputs(k), k->part);
  const bool full = k->per_sample > 1;
  const int64_t q = number % parts, p = full ? number / parts % parts : q;
  const int64_t pair = number / parts / (full ? parts : 1);
  const int64_t wide = blocks(k->columns, k->block);
  ntk_tile t = {.row_first = pair / wide * k->block,
                .row_output = q * k->part,
                .column_first = pair % wide * k->block,
                .column_output = p * k->part};
  t.row_count = least(k->block, k->rows - t.row_first);
  t.column_count = least(k->block, k->columns - t.column_first);
  t.row_outputs = least(k->part, axis_outputs(k) - t.row_output);
  t.column_outputs = least(k->part, axis_outputs(k) - t.column_output);
  return t;
}

static int64_t tile_count(const ntk_kernel_facts *k) {
  const int64_t parts = blocks(axis_outputs(k), k->part);
  return blocks(k->rows, k->block) * blocks(k->columns, k->block) * parts *
         (k->per_sample > 1 ? parts : 1);
}

/* Rows of a plane, of samples first .. and, in a full kernel, some of their outputs: copied
 * out of `all`, or (add) added to it. */
static void move(const work *w, int64_t first, int64_t samples, int64_t output,
                 int64_t outputs, double *all, double *some, bool add) {
  const int64_t per = w->facts->per_sample;
  for (int64_t i = 0; i < samples; i++) {
    double *there = all + ((first + i) * per + output) * w->wide;
    double *here = some + i * outputs * w->wide;
    if (!add)
      memcpy(here, there, (size_t)(outputs * w->wide) * sizeof *here);
    for (int64_t k = 0; add && k < outputs * w->wide; k++)
      there[k] += here[k];
  }
}

/* values [rows, columns] of one plane. */
static void multiply(work *w, const ntk_tile *t, int64_t plane, const double *values) {
  ntk_solve *s = w->s;
  const bool full = w->facts->per_sample > 1;
  const int64_t row_outputs = full ? t->row_outputs : 1;
  const int64_t column_outputs = full ? t->column_outputs : 1;
  const int64_t rows = t->row_count * row_outputs,
                columns = t->column_count * column_outputs;
  double *alpha = s->alpha + plane * s->n * w->wide;
  double *out = s->tested + plane * w->facts->rows * w->facts->per_sample * w->wide;
  move(w, t->column_first, t->column_count, full ? t->column_output : 0, column_outputs,
       alpha, w->alpha, false);
  ntk_gemm_f64(false, false, rows, w->wide, columns, 1, values, columns, w->alpha, w->wide,
               0, w->sum, w->wide);
  move(w, t->row_first, t->row_count, full ? t->row_output : 0, row_outputs, out, w->sum,
       true);
}

static ntk_status take_tile(work *w, const ntk_tile *t) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = ntk_kernel_box_size(w->facts, t);
  NTK_TRY(ntk_kernel_read(w->s->test, t, w->values));
  const int64_t bad = ntk_find_nonfinite(NTK_F64, w->values, size);
  NTK_REQUIRE(bad < 0, NTK_ERR_NONFINITE,
              "%s: the tile of samples %" PRId64 " .. and %" PRId64
              " .. has an entry that is not a finite number",
              w->facts->path, t->row_first, t->column_first);
  const int64_t planes = w->s->planes > 1 ? t->row_outputs : 1;
  for (int64_t k = 0; k < planes; k++)
    multiply(w, t, w->s->planes > 1 ? t->row_output + k : 0, w->values + k * size / planes);
done:
  return status;
}

static ntk_status take_tiles(work *w) {
  ntk_status status = NTK_SUCCESS;
  const int64_t side = w->facts->block * w->facts->part, all = tile_count(w->facts);
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, side * side, sizeof(double), &w->values));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, side * w->wide, sizeof(double), &w->alpha));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, side * w->wide, sizeof(double), &w->sum));
  for (int64_t k = w->s->context->rank; k < all; k += w->s->context->size) {
    const ntk_tile t = tile_at(w->facts, k);
    NTK_TRY(take_tile(w, &t));
  }
done:
  return status;
}

ntk_status ntk_solve_predict(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  work w = {
      .s = s, .facts = ntk_kernel_get_facts(s->test), .wide = s->results * s->columns};
  const double start = ntk_seconds();
  const int64_t rows = s->planes * w.facts->rows * w.facts->per_sample;
  NTK_TRY(ntk_agree(s->context->comm, take_tiles(&w)));
  NTK_TRY(ntk_matrix_add_ranks(s->context, s->tested, rows * w.wide));
  s->flops[NTK_SOLVE_TEST] = 2 * (double)rows * (double)s->n * (double)w.wide;
  (void)ntk_solve_clock(s, NTK_SOLVE_TEST, start);
done:
  ntk_free(&w.values);
  ntk_free(&w.alpha);
  ntk_free(&w.sum);
  return status;
}

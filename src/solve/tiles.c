/* SPDX-License-Identifier: Apache-2.0 */
#include "solve/tiles.h"
#include "base/memory.h"
#include "base/memory_limit.h"
#include "dist/grid.h"
#include "io/kernel_check.h"
#include "tensor/blas.h"
#include <math.h>
#include <string.h>

/* ---- the tiles of a rank --------------------------------------------------------------
 */

/* Has the box a part in this matrix? Cut to it. */
static bool cut_box(const ntk_tiles *t, ntk_tile *box) {
  if (ntk_kernel_get_facts(t->file)->reduction != NTK_REDUCE_DIAGONAL)
    return true;
  if (t->plane < box->row_output || t->plane >= box->row_output + box->row_outputs)
    return false;
  box->row_output = box->column_output = t->plane;
  box->row_outputs = box->column_outputs = 1;
  return true;
}

/* The next tile of this rank from number *k on; false: there is none. */
static bool next_box(const ntk_tiles *t, int64_t *k, ntk_tile *box) {
  for (; *k < ntk_kernel_boxes(t->file); *k += t->context->size) {
    *box = ntk_kernel_box(t->file, *k);
    if (cut_box(t, box)) {
      *k += t->context->size;
      return true;
    }
  }
  return false;
}

static int64_t box_bytes(const ntk_tiles *t, const ntk_tile *box) {
  const ntk_kernel_facts *facts = ntk_kernel_get_facts(t->file);
  return ntk_kernel_box_size(facts, box) * (int64_t)ntk_dtype_bytes(facts->dtype);
}

/* ---- creation -------------------------------------------------------------------------
 */

static ntk_status check_finite(const ntk_tiles *t, const ntk_tile *box, int64_t size) {
  char place[NTK_KERNEL_PLACE];
  if (ntk_find_nonfinite(NTK_F64, t->tile, size) < 0)
    return NTK_SUCCESS;
  const int64_t number = ntk_kernel_tile_of(t->file, box->row_first, box->row_output,
                                            box->column_first, box->column_output);
  return ntk_fail(NTK_ERR_NONFINITE, "%s: tile %s holds NaN or infinity",
                  ntk_kernel_get_facts(t->file)->path,
                  ntk_kernel_place(t->file, number, place));
}

/* Adds to trace and squared norm. */
static void measure(ntk_tiles *t, const ntk_tile *box, int64_t size) {
  const ntk_kernel_view v = ntk_kernel_view_of(ntk_kernel_get_facts(t->file), box);
  const bool own = ntk_kernel_is_diagonal(box);
  double sum = 0;
  for (int64_t i = 0; i < size; i++)
    sum += t->tile[i] * t->tile[i];
  t->frobenius += own ? sum : 2 * sum;
  for (int64_t i = 0; own && i < v.rows; i++)
    t->trace += t->tile[i * v.columns + i];
}

/* Reads every tile; the first ones stay. */
static ntk_status read_tiles(ntk_tiles *t) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *facts = ntk_kernel_get_facts(t->file);
  ntk_tile box;
  int64_t at = 0;
  for (int64_t k = t->context->rank, i = 0; next_box(t, &k, &box); i++) {
    const int64_t size = ntk_kernel_box_size(facts, &box);
    NTK_TRY(ntk_kernel_read(t->file, &box, t->tile));
    NTK_TRY(check_finite(t, &box, size));
    measure(t, &box, size);
    if (i < t->kept)
      ntk_convert(NTK_F64, t->tile, facts->dtype, t->values + at, size);
    at += box_bytes(t, &box);
  }
done:
  return status;
}

static ntk_status allocate(ntk_tiles *t, int64_t room_bytes, int64_t *kept_bytes) {
  ntk_status status = NTK_SUCCESS;
  const int64_t most = ntk_kernel_most(ntk_kernel_get_facts(t->file));
  const ntk_kernel_facts *facts = ntk_kernel_get_facts(t->file);
  const int64_t side = facts->block * (facts->per_sample > 1 ? facts->part : 1);
  ntk_tile box;
  for (int64_t k = t->context->rank; next_box(t, &k, &box); t->mine++)
    if (t->kept == t->mine && *kept_bytes + box_bytes(t, &box) <= room_bytes) {
      *kept_bytes += box_bytes(t, &box);
      t->kept++;
    }
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, *kept_bytes, 1, &t->values));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, sizeof *t->tile, &t->tile));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, side * t->columns, sizeof *t->in, &t->in));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, side * t->columns, sizeof *t->out, &t->out));
done:
  return status;
}

ntk_status ntk_tiles_create(ntk_context *context, const ntk_kernel_file *file,
                            int64_t plane, int64_t columns, int64_t room_bytes,
                            ntk_tiles *out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *facts = ntk_kernel_get_facts(file);
  ntk_tiles t = {.context = context,
                 .file = file,
                 .plane = plane,
                 .size = facts->rows * facts->per_sample,
                 .columns = columns};
  double sums[2];
  int64_t bytes = 0;
  status = allocate(&t, room_bytes, &bytes);
  if (status == NTK_SUCCESS)
    status = read_tiles(&t);
  NTK_TRY(ntk_agree(context->comm, status));
  sums[0] = t.frobenius;
  sums[1] = t.trace;
  NTK_TRY(ntk_reduce(sums, 2, MPI_SUM, context->comm));
  t.frobenius = sqrt(sums[0]);
  t.trace = sums[1];
  *out = t;
  t = (ntk_tiles){0};
done:
  ntk_tiles_destroy(&t);
  return status;
}

int64_t ntk_tiles_room(const ntk_context *context) {
  const char *bound_by;
  const int64_t cap = ntk_memory_default_cap(context->sharers, &bound_by);
  const int64_t room = ntk_memory_room();
  return (room < cap ? room : cap) / 2;
}

void ntk_tiles_destroy(ntk_tiles *t) {
  ntk_free(&t->values);
  ntk_free(&t->tile);
  ntk_free(&t->in);
  ntk_free(&t->out);
}

/* ---- products -------------------------------------------------------------------------
 */

/* y[rows of a side] += op(tile) x[those of the other]: side 0 gives the box's rows. */
static void add_product(ntk_tiles *t, const ntk_kernel_view *v, int side, int64_t columns,
                        const double *x, double *y) {
  const int64_t to = side == 0 ? v->rows : v->columns;
  const int64_t from = side == 0 ? v->columns : v->rows;
  for (int64_t c = 0; c < columns; c++)
    for (int64_t j = 0; j < from; j++)
      t->in[c * from + j] = x[c * t->size + ntk_kernel_index(v, 1 - side, j)];
  ntk_gemm_f64(false, side == 0, columns, to, from, 1, t->in, from, t->tile, v->columns, 0,
               t->out, to);
  for (int64_t c = 0; c < columns; c++)
    for (int64_t i = 0; i < to; i++)
      y[c * t->size + ntk_kernel_index(v, side, i)] += t->out[c * to + i];
}

static ntk_status multiply_share(ntk_tiles *t, int64_t columns, const double *x,
                                 double *y) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *facts = ntk_kernel_get_facts(t->file);
  ntk_tile box;
  int64_t at = 0;
  for (int64_t k = t->context->rank, i = 0; next_box(t, &k, &box); i++) {
    const ntk_kernel_view v = ntk_kernel_view_of(facts, &box);
    if (i < t->kept)
      ntk_convert(facts->dtype, t->values + at, NTK_F64, t->tile,
                  ntk_kernel_box_size(facts, &box));
    else
      NTK_TRY(ntk_kernel_read(t->file, &box, t->tile));
    at += box_bytes(t, &box);
    add_product(t, &v, 0, columns, x, y);
    if (!ntk_kernel_is_diagonal(&box))
      add_product(t, &v, 1, columns, x, y);
  }
done:
  return status;
}

ntk_status ntk_tiles_multiply(ntk_tiles *t, int64_t columns, const double *x, double *y) {
  ntk_status status = NTK_SUCCESS;
  memset(y, 0, (size_t)(columns * t->size) * sizeof *y);
  NTK_TRY(ntk_agree(t->context->comm, multiply_share(t, columns, x, y)));
  NTK_TRY(ntk_reduce(y, columns * t->size, MPI_SUM, t->context->comm));
done:
  return status;
}

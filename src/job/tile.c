/* SPDX-License-Identifier: Apache-2.0 */
#include "job/tile.h"
#include "base/memory.h"
#include <string.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

ntk_tile ntk_tile_of(const ntk_job_shape *s, int64_t I, int64_t q, int64_t J, int64_t p) {
  const int64_t B = s->block, Q = s->outputs_block;
  return (ntk_tile){.row_first = I * B,
                    .row_count = least(B, s->rows - I * B),
                    .row_output = q * Q,
                    .row_outputs = least(Q, s->outputs - q * Q),
                    .column_first = J * B,
                    .column_count = least(B, s->columns - J * B),
                    .column_output = p * Q,
                    .column_outputs = least(Q, s->outputs - p * Q)};
}

static bool is_summed(const ntk_job_shape *s) {
  return s->reduction == NTK_REDUCE_TRACE && s->outputs > s->outputs_block;
}

static int64_t tile_elements(const ntk_job_shape *s, const ntk_tile *t) {
  const int64_t samples = t->row_count * t->column_count;
  if (s->reduction == NTK_REDUCE_TRACE)
    return samples;
  return samples * t->row_outputs *
         (s->reduction == NTK_REDUCE_DIAGONAL ? 1 : t->column_outputs);
}

ntk_status ntk_tile_buffers_create(const ntk_job_shape *shape, int64_t sample_blocks,
                                   ntk_tile_buffers *out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_tile first = ntk_tile_of(shape, 0, 0, 0, 0);
  const size_t bytes = ntk_dtype_bytes(shape->dtype);
  *out = (ntk_tile_buffers){.elements = tile_elements(shape, &first)};
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES,
                     out->elements * (is_summed(shape) ? sample_blocks : 1), sizeof(double),
                     &out->acc));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, out->elements, bytes, &out->values));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, out->elements, bytes, &out->transposed));
done:
  if (status != NTK_SUCCESS)
    ntk_tile_buffers_destroy(out);
  return status;
}

void ntk_tile_buffers_destroy(ntk_tile_buffers *buffers) {
  ntk_free(&buffers->acc);
  ntk_free(&buffers->values);
  ntk_free(&buffers->transposed);
}

int64_t ntk_tile_buffers_bytes(const ntk_job_shape *shape, int64_t sample_blocks) {
  const ntk_tile first = ntk_tile_of(shape, 0, 0, 0, 0);
  return tile_elements(shape, &first) *
         ((is_summed(shape) ? sample_blocks : 1) * (int64_t)sizeof(double) +
          2 * (int64_t)ntk_dtype_bytes(shape->dtype));
}

/* A tile is `count` matrices [rows, columns] one after the other (diagonal), or one. */
typedef struct matrices {
  int64_t count, rows, columns;
} matrices;

static matrices matrices_of(const ntk_job_shape *s, const ntk_tile *t) {
  switch (s->reduction) {
  case NTK_REDUCE_DIAGONAL:
    return (matrices){t->row_outputs, t->row_count, t->column_count};
  case NTK_REDUCE_TRACE:
    return (matrices){1, t->row_count, t->column_count};
  default:
    return (matrices){1, t->row_count * t->row_outputs,
                      t->column_count * t->column_outputs};
  }
}

static void mirror_lower(matrices m, double *acc) {
  for (int64_t k = 0; k < m.count; k++, acc += m.rows * m.columns)
    for (int64_t i = 0; i < m.rows; i++)
      for (int64_t j = i + 1; j < m.columns; j++)
        acc[i * m.columns + j] = acc[j * m.columns + i];
}

/* Element b of `to` is element a of `from`, of 4 or 8 bytes. */
static inline void move_element(bool wide, const void *from, int64_t a, void *to,
                                int64_t b) {
  if (wide)
    ((uint64_t *)to)[b] = ((const uint64_t *)from)[a];
  else
    ((uint32_t *)to)[b] = ((const uint32_t *)from)[a];
}

static void transpose(matrices m, bool wide, const void *from, void *to) {
  enum { BLOCK = 32 };
  for (int64_t k = 0; k < m.count; k++)
    for (int64_t i0 = 0; i0 < m.rows; i0 += BLOCK)
      for (int64_t j0 = 0; j0 < m.columns; j0 += BLOCK)
        for (int64_t i = i0; i < least(i0 + BLOCK, m.rows); i++)
          for (int64_t j = j0; j < least(j0 + BLOCK, m.columns); j++)
            move_element(wide, from, (k * m.rows + i) * m.columns + j, to,
                         (k * m.columns + j) * m.rows + i);
}

static ntk_tile exchanged(const ntk_tile *t) {
  return (ntk_tile){.row_first = t->column_first,
                    .row_count = t->column_count,
                    .row_output = t->column_output,
                    .row_outputs = t->column_outputs,
                    .column_first = t->row_first,
                    .column_count = t->row_count,
                    .column_output = t->row_output,
                    .column_outputs = t->row_outputs};
}

static ntk_status check_finite(const ntk_job_shape *s, const ntk_tile *t, matrices m,
                               const void *values) {
  const int64_t bad = ntk_find_nonfinite(s->dtype, values, m.count * m.rows * m.columns);
  if (bad < 0)
    return NTK_SUCCESS;
  const bool full = s->reduction == NTK_REDUCE_NONE;
  const int64_t row = bad / m.columns % m.rows / (full ? t->row_outputs : 1);
  const int64_t column = bad % m.columns / (full ? t->column_outputs : 1);
  return ntk_fail(NTK_ERR_NONFINITE,
                  "the kernel of samples %lld and %lld is not a finite number%s",
                  (long long)(s->row_base + t->row_first + row),
                  (long long)(s->column_base + t->column_first + column),
                  s->dtype == NTK_F32 ? "; try --dtype f64" : "");
}

ntk_status ntk_tile_finish(const ntk_job_shape *s, const ntk_tile *tile, bool same_block,
                           bool mirror, double *acc, ntk_tile_buffers *buffers,
                           const ntk_sink *sink) {
  ntk_status status = NTK_SUCCESS;
  const matrices m = matrices_of(s, tile);
  ntk_tile written = *tile;
  if (s->reduction == NTK_REDUCE_TRACE) { /* all parts are in it now */
    written.row_output = written.column_output = 0;
    written.row_outputs = written.column_outputs = s->outputs;
  }
  if (mirror)
    mirror_lower(m, acc);
  ntk_convert(NTK_F64, acc, s->dtype, buffers->values, m.count * m.rows * m.columns);
  NTK_TRY(check_finite(s, tile, m, buffers->values));
  NTK_TRY(sink->write(sink->self, &written, buffers->values));
  if (!s->symmetric || (same_block && tile->row_output == tile->column_output))
    goto done;
  transpose(m, s->dtype == NTK_F64, buffers->values, buffers->transposed);
  written = exchanged(&written);
  NTK_TRY(sink->write(sink->self, &written, buffers->transposed));
done:
  return status;
}

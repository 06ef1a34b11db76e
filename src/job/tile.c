/* SPDX-License-Identifier: Apache-2.0 */
#include "job/tile.h"
#include "base/memory.h"

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
  NTK_TRY(ntk_calloc(NTK_MEMORY_TILES,
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

/* The matrices of a tile; nothing else is filled in. */
static ntk_tile_rounding matrices_of(const ntk_job_shape *s, const ntk_tile *t) {
  switch (s->reduction) {
  case NTK_REDUCE_DIAGONAL:
    return (ntk_tile_rounding){
        .count = t->row_outputs, .rows = t->row_count, .columns = t->column_count};
  case NTK_REDUCE_TRACE:
    return (ntk_tile_rounding){
        .count = 1, .rows = t->row_count, .columns = t->column_count};
  default:
    return (ntk_tile_rounding){.count = 1,
                               .rows = t->row_count * t->row_outputs,
                               .columns = t->column_count * t->column_outputs};
  }
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

static ntk_status report_nonfinite(const ntk_job_shape *s, const ntk_tile *t,
                                   const ntk_tile_rounding *r) {
  const int64_t bad =
      ntk_find_nonfinite(s->dtype, r->values, r->count * r->rows * r->columns);
  const bool full = s->reduction == NTK_REDUCE_NONE;
  const int64_t row = bad / r->columns % r->rows / (full ? t->row_outputs : 1);
  const int64_t column = bad % r->columns / (full ? t->column_outputs : 1);
  return ntk_fail(NTK_ERR_NONFINITE,
                  "the kernel of samples %lld and %lld is not a finite number%s",
                  (long long)(s->row_base + t->row_first + row),
                  (long long)(s->column_base + t->column_first + column),
                  s->dtype == NTK_F32 ? "; try --dtype f64" : "");
}

ntk_status ntk_tile_finish(const ntk_job_shape *s, const ntk_tile *tile, bool mirror,
                           double *acc, ntk_tile_buffers *buffers) {
  const bool exchange = s->symmetric && !mirror;
  ntk_tile_rounding r = matrices_of(s, tile);
  int finite = 1;
  r.mirror = mirror;
  r.acc = acc;
  r.values = buffers->values;
  r.transposed = exchange ? buffers->transposed : NULL;
#pragma omp parallel for schedule(dynamic) reduction(& : finite)
  for (int64_t k = 0; k < r.count * ntk_tile_strips(r.rows); k++)
    finite &= (s->dtype == NTK_F64 ? ntk_tile_round_f64 : ntk_tile_round_f32)(&r, k);
  if (!finite)
    return report_nonfinite(s, tile, &r);
  buffers->finished = *tile;
  if (s->reduction == NTK_REDUCE_TRACE) { /* all parts are in it now */
    buffers->finished.row_output = buffers->finished.column_output = 0;
    buffers->finished.row_outputs = buffers->finished.column_outputs = s->outputs;
  }
  buffers->to_write = exchange ? 2 : 1;
  return NTK_SUCCESS;
}

ntk_status ntk_tile_write(ntk_tile_buffers *buffers, const ntk_sink *sink) {
  ntk_status status = NTK_SUCCESS;
  const int count = buffers->to_write;
  buffers->to_write = 0; /* what fails is not tried again */
  if (count > 0)
    NTK_TRY(sink->write(sink->self, &buffers->finished, buffers->values));
  if (count > 1) {
    const ntk_tile transposed = exchanged(&buffers->finished);
    NTK_TRY(sink->write(sink->self, &transposed, buffers->transposed));
  }
done:
  return status;
}

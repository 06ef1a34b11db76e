/* SPDX-License-Identifier: Apache-2.0 */
#include "job/tile.h"
#include "base/memory.h"
#include <string.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void ntk_tile_add(const ntk_tile *t, const double *values, int64_t outputs, int64_t columns,
                  double *matrix) {
  for (int64_t n = 0; n < t->row_count; n++)
    for (int64_t o = 0; o < t->row_outputs; o++)
      for (int64_t m = 0; m < t->column_count; m++)
        for (int64_t p = 0; p < t->column_outputs; p++)
          matrix[((t->row_first + n) * outputs + t->row_output + o) * columns +
                 (t->column_first + m) * outputs + t->column_output + p] += *values++;
}

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

static int64_t tile_elements(const ntk_job_shape *s, const ntk_tile *t) {
  const int64_t samples = t->row_count * t->column_count;
  if (s->reduction == NTK_REDUCE_TRACE)
    return samples;
  return samples * t->row_outputs *
         (s->reduction == NTK_REDUCE_DIAGONAL ? 1 : t->column_outputs);
}

/* Is any tile written a second time, as its transpose? */
static bool has_transposes(const ntk_job_shape *s) {
  return s->symmetric && (s->rows > s->block || (s->outputs > s->outputs_block &&
                                                 s->reduction == NTK_REDUCE_NONE));
}

int64_t ntk_tile_most_elements(const ntk_job_shape *shape) {
  const ntk_tile first = ntk_tile_of(shape, 0, 0, 0, 0);
  return tile_elements(shape, &first);
}

ntk_status ntk_tile_buffers_create(const ntk_job_shape *shape, int64_t sums, bool spare,
                                   ntk_tile_buffers *out) {
  ntk_status status = NTK_SUCCESS;
  const size_t bytes = ntk_dtype_bytes(shape->dtype);
  *out = (ntk_tile_buffers){.kernels = ntk_job_kernels(shape),
                            .elements = ntk_tile_most_elements(shape),
                            .sums = ntk_tile_most_sums(shape),
                            .acc_count = sums + spare};
  const int64_t size = ntk_part_size(out->sums);
  out->bytes = (size_t)out->elements * bytes;
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_TILES, out->acc_count * size, sizeof(double), &out->memory));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, out->acc_count, sizeof *out->acc, &out->acc));
  for (int64_t i = 0; i < out->acc_count; i++)
    out->acc[i] = out->memory + i * size;
  if (out->kernels > 1)
    NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, out->elements, sizeof(double), &out->sum));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, out->kernels, out->bytes, &out->values));
  if (has_transposes(shape))
    NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, out->kernels, out->bytes, &out->transposed));
done:
  if (status != NTK_SUCCESS)
    ntk_tile_buffers_destroy(out);
  return status;
}

void ntk_tile_buffers_destroy(ntk_tile_buffers *buffers) {
  ntk_free(&buffers->acc);
  ntk_free(&buffers->memory);
  ntk_free(&buffers->sum);
  ntk_free(&buffers->values);
  ntk_free(&buffers->transposed);
}

int64_t ntk_tile_buffers_bytes(const ntk_job_shape *shape, int64_t sums, bool spare) {
  const int64_t elements = ntk_tile_most_elements(shape);
  const int kernels = ntk_job_kernels(shape);
  const int64_t size = ntk_part_size(ntk_tile_most_sums(shape));
  return (sums + spare) * (int64_t)(sizeof(double *) + sizeof(double) * (size_t)size) +
         (kernels > 1 ? elements * (int64_t)sizeof(double) : 0) +
         kernels * elements * (has_transposes(shape) ? 2 : 1) *
             (int64_t)ntk_dtype_bytes(shape->dtype);
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

/* The sum over the colours of a kernel, of a tile of so many elements. */
static void add_colours(const ntk_job_shape *s, int kernel, const double *acc,
                        int64_t stride, int64_t elements, double *sum) {
  const bool *members = s->members + (int64_t)kernel * s->colours;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < elements; i++) {
    sum[i] = 0;
    for (int c = 0; c < s->colours; c++)
      if (members[c])
        sum[i] += acc[c * stride + i];
  }
}

/* False: something is not finite. acc is zero afterwards. */
static bool round_all(const ntk_job_shape *s, const ntk_tile_rounding *r) {
  int finite = 1;
#pragma omp parallel for schedule(dynamic) reduction(& : finite)
  for (int64_t k = 0; k < r->count * ntk_tile_strips(r->rows); k++)
    finite &= (s->dtype == NTK_F64 ? ntk_tile_round_f64 : ntk_tile_round_f32)(r, k);
  return finite;
}

ntk_status ntk_tile_finish(const ntk_job_shape *s, const ntk_tile *tile, bool mirror,
                           double *acc, ntk_tile_buffers *buffers) {
  const bool exchange = s->symmetric && !s->keeps_half && !mirror;
  ntk_tile_rounding r = matrices_of(s, tile);
  r.mirror = mirror;
  for (int k = 0; k < buffers->kernels; k++) {
    const size_t at = (size_t)k * buffers->bytes;
    r.acc = buffers->sum ? buffers->sum : acc;
    r.values = (char *)buffers->values + at;
    r.transposed = exchange ? (char *)buffers->transposed + at : NULL;
    if (buffers->sum)
      add_colours(s, k, acc, buffers->elements, r.count * r.rows * r.columns, r.acc);
    if (!round_all(s, &r))
      return report_nonfinite(s, tile, &r);
  }
  if (buffers->sum)
    memset(acc, 0, (size_t)buffers->sums * sizeof *acc);
  buffers->finished = *tile;
  if (s->reduction == NTK_REDUCE_TRACE) { /* all parts are in it now */
    buffers->finished.row_output = buffers->finished.column_output = 0;
    buffers->finished.row_outputs = buffers->finished.column_outputs = s->outputs;
  }
  buffers->to_write = exchange ? 2 : 1;
  return NTK_SUCCESS;
}

/* Of all kernels. */
static ntk_status write_values(const ntk_tile_buffers *buffers, const ntk_sink *sink,
                               const ntk_tile *tile, const char *values) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(sink->write(sink->self, tile, values));
  for (int k = 1; k < buffers->kernels; k++)
    NTK_TRY(sink->write_group(sink->self, k, tile, values + (size_t)k * buffers->bytes));
done:
  return status;
}

ntk_status ntk_tile_write(ntk_tile_buffers *buffers, const ntk_sink *sink) {
  ntk_status status = NTK_SUCCESS;
  const int count = buffers->to_write;
  buffers->to_write = 0; /* what fails is not tried again */
  if (count > 0)
    NTK_TRY(write_values(buffers, sink, &buffers->finished, buffers->values));
  if (count > 1) {
    const ntk_tile transposed = exchanged(&buffers->finished);
    NTK_TRY(write_values(buffers, sink, &transposed, buffers->transposed));
  }
done:
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "job/cotangents.h"
#include "base/memory.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const names[2] = {"cotangents", "cotangents2"};

/* What the options exclude among themselves. */
static ntk_status check_options(const ntk_options *options) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(ntk_options_string(options, names[0]), NTK_ERR_ARGUMENT,
              "--cotangents2 is for the columns; --cotangents, for the rows, is missing");
  NTK_REQUIRE(!ntk_options_string(options, "select-outputs"), NTK_ERR_ARGUMENT,
              "--select-outputs and --cotangents exclude each other; leave rows out of the "
              "cotangents");
done:
  return status;
}

/* [O', O] or [N, O', O] of a side, whose samples are `data`. */
static ntk_status check_side(ntk_cotangents *c, int side, const ntk_data *data) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *file = c->sides[side];
  const ntk_shape *shape = &file->shape;
  const bool each = shape->ndim == 2;
  const int64_t count = each ? shape->dim[0] : file->total;
  NTK_REQUIRE((each || shape->ndim == 1) && shape->dim[shape->ndim - 1] == c->outputs,
              NTK_ERR_SHAPE,
              "%s: --%s: the model has %" PRId64 " outputs; [O', %" PRId64 "] or [%" PRId64
              ", O', %" PRId64 "] is needed",
              file->path, names[side], c->outputs, c->outputs, data->samples, c->outputs);
  NTK_REQUIRE(!each || file->total == data->samples || file->total == data->total,
              NTK_ERR_SHAPE,
              "%s: --%s: cotangents of %" PRId64 " samples, but there are %" PRId64
              " samples (of %" PRId64 " in %s)",
              file->path, names[side], file->total, data->samples, data->total, data->path);
  NTK_REQUIRE(side == 0 || count == c->count, NTK_ERR_SHAPE,
              "%s: --%s: %" PRId64 " cotangents, those of the rows are %" PRId64,
              file->path, names[side], count, c->count);
  c->count = count;
  c->per_sample[side] = each;
  if (each) {
    file->first = file->total == data->samples ? 0 : data->first;
    file->samples = data->samples;
  } else {
    file->row = "cotangent";
  }
done:
  return status;
}

ntk_status ntk_cotangents_open(ntk_context *context, const ntk_options *options,
                               const ntk_graph *graph, const ntk_data *rows,
                               const ntk_data *columns, ntk_cotangents *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_cotangents c = {.outputs = ntk_graph_outputs(graph)};
  if (!ntk_options_string(options, names[0]) && !ntk_options_string(options, names[1]))
    return NTK_SUCCESS;
  NTK_TRY(check_options(options));
  for (int side = 0; side < 2; side++) {
    const char *path = ntk_options_string(options, names[side]);
    if (!path)
      continue;
    NTK_TRY(ntk_data_open(context, path, "/cotangents", &c.sides[side]));
    NTK_TRY(check_side(&c, side, side == 1 && columns ? columns : rows));
  }
  NTK_REQUIRE(c.sides[1] || !columns || !c.per_sample[0], NTK_ERR_ARGUMENT,
              "%s: --cotangents belong to the samples of the rows; the columns' are others "
              "and need --cotangents2",
              c.sides[0]->path);
  c.is_alike = !c.sides[1] && !c.per_sample[0];
  NTK_TRY(ntk_agree(context->comm, ntk_malloc(NTK_MEMORY_DATA, c.count * c.outputs,
                                              sizeof(double), &c.rows)));
  *out = c;
  c = (ntk_cotangents){0};
done:
  ntk_cotangents_close(&c);
  return status;
}

void ntk_cotangents_close(ntk_cotangents *c) {
  ntk_data_destroy(&c->sides[0]);
  ntk_data_destroy(&c->sides[1]);
  ntk_free(&c->rows);
}

/* out[k] = sum over rows / sqrt(their number), in f64 until the end. */
static void sum_rows(const ntk_cotangents *c, ntk_dtype dtype, void *out) {
  const double *wide = c->rows;
  const float *narrow = c->rows;
  for (int64_t k = 0; k < c->outputs; k++) {
    double sum = 0;
    for (int64_t a = 0; a < c->count; a++)
      sum +=
          dtype == NTK_F64 ? wide[a * c->outputs + k] : (double)narrow[a * c->outputs + k];
    sum /= sqrt((double)c->count);
    ntk_convert(NTK_F64, &sum, dtype, (char *)out + k * (int64_t)ntk_dtype_bytes(dtype), 1);
  }
}

ntk_status ntk_cotangents_read(const ntk_cotangents *c, int side, int64_t first, int64_t n,
                               bool summed, ntk_dtype dtype, void *out) {
  ntk_status status = NTK_SUCCESS;
  const int from = c->sides[side] ? side : 0;
  ntk_data *data = c->sides[from];
  const bool each = c->per_sample[from];
  const int64_t row =
      (summed ? 1 : c->count) * c->outputs * (int64_t)ntk_dtype_bytes(dtype);
  if (each && !summed)
    return ntk_data_slice(data, first, n, dtype, out);
  for (int64_t i = 0; i < n; i++) {
    char *to = (char *)out + i * row;
    if (i > 0 && !each) {
      memcpy(to, out, (size_t)row);
      continue;
    }
    NTK_TRY(ntk_data_slice(data, each ? first + i : 0, each ? 1 : c->count, dtype,
                           summed ? c->rows : to));
    if (summed)
      sum_rows(c, dtype, to);
  }
done:
  return status;
}

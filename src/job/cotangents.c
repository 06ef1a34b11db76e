/* SPDX-License-Identifier: Apache-2.0 */
#include "job/cotangents.h"
#include "base/memory.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const names[2] = {"cotangents", "cotangents2"};

/* What the options exclude among themselves. */
static ntk_status check_options(const char *const paths[2], const char *selected) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(paths[0], NTK_ERR_ARGUMENT,
              "--cotangents2 is for the columns; --cotangents, for the rows, is missing");
  NTK_REQUIRE(!selected, NTK_ERR_ARGUMENT,
              "--select-outputs and --cotangents exclude each other; leave rows out of the "
              "cotangents");
done:
  return status;
}

/* Those of each sample of `data`, which are some of its whole. */
static ntk_status pick_side(ntk_cotangents *c, int side, ntk_data *data) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *picked = NULL;
  NTK_TRY(ntk_data_pick_alike(c->sides[side], data, &picked));
  c->files[side] = c->sides[side];
  c->sides[side] = picked;
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

ntk_status ntk_cotangents_open(ntk_context *context, const char *const paths[2],
                               const char *selected, const ntk_graph *graph, ntk_data *rows,
                               ntk_data *columns, ntk_cotangents *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_cotangents c = {.outputs = ntk_graph_outputs(graph)};
  if (!paths[0] && !paths[1])
    return NTK_SUCCESS;
  NTK_TRY(check_options(paths, selected));
  for (int side = 0; side < 2; side++) {
    if (!paths[side])
      continue;
    ntk_data *data = side == 1 && columns ? columns : rows, *whole = ntk_data_whole(data);
    NTK_TRY(ntk_data_open(context, paths[side], "/cotangents", &c.sides[side]));
    NTK_TRY(check_side(&c, side, whole));
    if (c.per_sample[side] && whole != data)
      NTK_TRY(pick_side(&c, side, data));
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

ntk_data *ntk_cotangents_file(const ntk_cotangents *c, int side) {
  return c->files[side] ? c->files[side] : c->sides[side];
}

void ntk_cotangents_close(ntk_cotangents *c) {
  for (int side = 0; side < 2; side++) {
    ntk_data_destroy(&c->sides[side]);
    ntk_data_destroy(&c->files[side]);
  }
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

ntk_status ntk_cotangents_seeds(const ntk_cotangents *given, int64_t selected,
                                const int64_t *index, int64_t O, bool summed,
                                ntk_dtype dtype, double **seeds) {
  ntk_status status = NTK_SUCCESS;
  const bool alike = given->sides[0] != NULL;
  const int64_t count = summed ? 1 : alike ? given->count : selected;
  void *values = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count * O, sizeof **seeds, seeds));
  if (alike) {
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, count * O, ntk_dtype_bytes(dtype), &values));
    NTK_TRY(ntk_cotangents_read(given, 0, 0, 1, summed, dtype, values));
    ntk_convert(dtype, values, NTK_F64, *seeds, count * O);
    goto done;
  }
  for (int64_t i = 0; i < selected; i++) {
    if (summed)
      (*seeds)[index[i]] = 1 / sqrt((double)selected);
    else
      (*seeds)[i * O + index[i]] = 1;
  }
done:
  ntk_free(&values);
  return status;
}

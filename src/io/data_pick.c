/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/data.h"
#include "io/source.h"
#include <string.h>

typedef struct picked {
  ntk_data_source source; /* first: is what is handed out */
  ntk_data *base;
  int64_t *index;
} picked;

static ntk_status read_picked(ntk_data_source *source, int64_t first, int64_t count,
                              ntk_dtype dtype, void *out) {
  ntk_status status = NTK_SUCCESS;
  const picked *p = (const picked *)source;
  const int64_t bytes = ntk_shape_size(&source->shape) * (int64_t)ntk_dtype_bytes(dtype);
  for (int64_t i = 0; i < count; i++)
    NTK_TRY(
        ntk_data_slice(p->base, p->index[first + i], 1, dtype, (char *)out + i * bytes));
done:
  return status;
}

static void close_picked(ntk_data_source *source) {
  picked *p = (picked *)source;
  ntk_free(&p->index);
  ntk_free(&p);
}

static ntk_status make_picked(ntk_data *base, int64_t count, const int64_t *index,
                              ntk_data *data) {
  ntk_status status = NTK_SUCCESS;
  picked *p = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *p, &p));
  data->source = &p->source;
  p->source = (ntk_data_source){.format = "picked samples",
                                .dtype = base->dtype,
                                .samples = count,
                                .shape = base->shape,
                                .read = read_picked,
                                .close = close_picked};
  p->base = base;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, count, sizeof *index, &p->index));
  memcpy(p->index, index, (size_t)count * sizeof *index);
  NTK_TRY(ntk_strdup(base->path, &data->path));
  NTK_TRY(ntk_strdup(base->name, &data->name));
  data->row = base->row;
  data->total = data->samples = count;
  data->dtype = base->dtype;
  data->shape = base->shape;
  data->part_count = base->part_count;
  data->parts = base->parts;
done:
  return status;
}

ntk_status ntk_data_pick(ntk_data *base, int64_t count, const int64_t *index,
                         ntk_data **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *data = NULL;
  status = ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *data, &data);
  if (status == NTK_SUCCESS)
    status = make_picked(base, count, index, data);
  NTK_TRY(ntk_agree(base->context->comm, status));
  data->context = base->context;
  *out = data;
  data = NULL;
done:
  ntk_data_destroy(&data);
  return status;
}

/* NULL: not picked. */
static picked *picked_of(ntk_data *data) {
  return data->source && data->source->read == read_picked ? (picked *)data->source : NULL;
}

ntk_data *ntk_data_whole(ntk_data *data) {
  const picked *p = picked_of(data);
  return p ? p->base : data;
}

ntk_status ntk_data_pick_alike(ntk_data *base, ntk_data *like, ntk_data **out) {
  const picked *p = picked_of(like);
  return ntk_data_pick(base, like->total, p->index, out);
}

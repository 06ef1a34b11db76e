/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/checkpoint.h"
#include "io/h5.h"

typedef struct state {
  hid_t file;
} state;

static ntk_status add_dataset(ntk_checkpoint *c, hid_t file, const char *name) {
  ntk_status status = NTK_SUCCESS;
  hid_t dataset = 0;
  ntk_named_array *array;
  NTK_OPEN_H5(c->path, dataset, H5Dopen2(file, name, H5P_DEFAULT));
  NTK_TRY(ntk_checkpoint_add(c, name, &array));
  NTK_TRY(ntk_h5_dtype(c->path, dataset, &array->dtype));
  NTK_TRY(ntk_h5_shape(c->path, dataset, &array->shape));
done:
  ntk_h5_close(&dataset);
  return status;
}

typedef struct visit {
  ntk_checkpoint *checkpoint;
  ntk_status status;
} visit;

/* What is no data set (groups, types) is passed by. */
static herr_t visit_object(hid_t file, const char *name, const H5O_info_t *info,
                           void *user) {
  visit *v = user;
  if (info->type == H5O_TYPE_DATASET)
    v->status = add_dataset(v->checkpoint, file, name);
  return v->status == NTK_SUCCESS ? 0 : 1;
}

static ntk_status arrays_read(ntk_checkpoint *c, const ntk_named_array *a, void *out) {
  ntk_status status = NTK_SUCCESS;
  const state *s = c->state;
  hid_t dataset = 0;
  if (ntk_shape_size(&a->shape) == 0)
    goto done;
  NTK_OPEN_H5(c->path, dataset, H5Dopen2(s->file, a->name, H5P_DEFAULT));
  NTK_TRY_H5(c->path,
             H5Dread(dataset, ntk_h5_type(a->dtype), H5S_ALL, H5S_ALL, H5P_DEFAULT, out));
done:
  ntk_h5_close(&dataset);
  return status;
}

static void arrays_close(void *user) {
  state *s = user;
  ntk_h5_close(&s->file);
  ntk_free(&s);
}

ntk_status ntk_hdf5_arrays_open(ntk_checkpoint *c) {
  ntk_status status = NTK_SUCCESS;
  state *s = NULL;
  visit v = {c, NTK_SUCCESS};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *s, &s));
  c->state = s;
  c->read = arrays_read;
  c->close = arrays_close;
  NTK_OPEN_H5(c->path, s->file, H5Fopen(c->path, H5F_ACC_RDONLY, H5P_DEFAULT));
  NTK_TRY_H5(c->path, H5Ovisit(s->file, H5_INDEX_NAME, H5_ITER_INC, visit_object, &v));
  NTK_TRY(v.status);
done:
  return status;
}

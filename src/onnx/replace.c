/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/checkpoint.h"
#include "onnx/import.h"
#include "onnx/names.h"
#include "onnx/tensors.h"
#include <stdio.h>
#include <string.h>

enum { NOT_GIVEN = -1, ALIGNMENT = 64 };

typedef struct replacement {
  ntk_model *model;
  ntk_import *import;
  const char *path;
  int *types;                 /* [candidates] ntk_dtype of the new elements, or NOT_GIVEN */
  int *arrays;                /* [candidates] in the checkpoint */
  ntk_checkpoint *checkpoint; /* on rank 0 */
} replacement;

/* ---- names, on rank 0 -----------------------------------------------------------------
 */

/* PyTorch counts batches in its state_dict: no function depends on it. */
static bool is_counter(const char *name) {
  static const char counter[] = "num_batches_tracked";
  const size_t length = strlen(name), tail = sizeof counter - 1;
  return length >= tail && strcmp(name + length - tail, counter) == 0;
}

static ntk_status check_array(const replacement *r, const ntk_named_array *a,
                              const ntk_candidate *c) {
  ntk_status status = NTK_SUCCESS;
  char theirs[NTK_SHAPE_TEXT], ours[NTK_SHAPE_TEXT];
  ntk_shape shape = {0};
  NTK_TRY(ntk_onnx_shape(c->tensor, &shape));
  NTK_REQUIRE(ntk_dtype_is_real(a->dtype), NTK_ERR_ARGUMENT,
              "%s: '%s' is of type %s; real numbers are needed", r->path, a->name,
              ntk_dtype_name(a->dtype));
  NTK_REQUIRE(ntk_shape_equal(&a->shape, &shape), NTK_ERR_ARGUMENT,
              "%s: '%s' is %s, in the model %s", r->path, a->name,
              ntk_shape_text(&a->shape, theirs), ntk_shape_text(&shape, ours));
done:
  return status;
}

static ntk_status match_arrays(replacement *r) {
  ntk_status status = NTK_SUCCESS;
  const ntk_import *import = r->import;
  ntk_names names = {0};
  for (int i = 0; i < import->candidate_count; i++)
    NTK_TRY(ntk_names_set(&names, import->candidates[i].name, i));
  for (int k = 0; k < r->checkpoint->count; k++) {
    const ntk_named_array *a = &r->checkpoint->arrays[k];
    const int64_t i = ntk_names_get(&names, a->name);
    if (i < 0 && is_counter(a->name))
      continue;
    NTK_REQUIRE(i >= 0, NTK_ERR_ARGUMENT, "%s: the model has no float tensor '%s'", r->path,
                a->name);
    NTK_TRY(check_array(r, a, &import->candidates[i]));
    if (import->candidates[i].uses == 0)
      continue;
    r->types[i] = (int)a->dtype;
    r->arrays[i] = k;
  }
done:
  ntk_names_clear(&names);
  return status;
}

static bool has_many(const Onnx__TensorProto *tensor) {
  for (size_t i = 0; i < tensor->n_dims; i++)
    if (tensor->dims[i] > 1)
      return true;
  return false;
}

/* Parameters must be there, frozen ones too. Of others that are not, such as the statistics
 * of a normalisation, the user is told. */
static ntk_status check_missing(const replacement *r) {
  ntk_status status = NTK_SUCCESS;
  ntk_text kept = {0};
  for (int i = 0; i < r->import->candidate_count; i++) {
    const ntk_candidate *c = &r->import->candidates[i];
    if (r->types[i] != NOT_GIVEN || c->uses == 0)
      continue;
    NTK_REQUIRE(!c->is_trained, NTK_ERR_ARGUMENT, "%s: the parameter '%s' is missing",
                r->path, c->name);
    if (has_many(c->tensor))
      NTK_TRY(ntk_text_add(&kept, "%s%s", kept.length ? ", " : "", c->name));
  }
  if (kept.length)
    ntk_say(r->model->context, NTK_REPORT_WARNING,
            "%s: these tensors are not in it and stay those of the model: %s", r->path,
            kept.data);
done:
  ntk_text_clear(&kept);
  return status;
}

static ntk_status open_file(replacement *r) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_checkpoint_open(r->path, &r->checkpoint));
  NTK_TRY(match_arrays(r));
  NTK_TRY(check_missing(r));
done:
  return status;
}

/* ---- elements -------------------------------------------------------------------------
 */

static bool is_shared(const ntk_import *import, const ntk_candidate *c) {
  for (int i = 0; i < import->candidate_count; i++)
    if (&import->candidates[i] != c && import->candidates[i].tensor == c->tensor)
      return true;
  return false;
}

/* Bytes of a tensor's place, aligned. */
static int64_t room_of(const ntk_tensor *t) {
  const int64_t bytes = ntk_shape_size(&t->shape) * (int64_t)ntk_dtype_bytes(t->dtype);
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Tensors that take the place of the old elements: of the same type, in the block, nobody
 * else's. The same on all ranks; the others get their places afterwards, *bytes of them. */
static ntk_status place_tensors(replacement *r, int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  ntk_tensor *old = NULL;
  *bytes = 0;
  for (int i = 0; i < r->import->candidate_count; i++) {
    ntk_candidate *c = &r->import->candidates[i];
    const ntk_dtype dtype = (ntk_dtype)r->types[i];
    ntk_shape shape = {0};
    if (r->types[i] == NOT_GIVEN)
      continue;
    NTK_TRY(ntk_onnx_tensor(c->tensor, r->import->block, &old));
    shape = old->shape;
    if (old->is_borrowed && old->dtype == dtype && !is_shared(r->import, c)) {
      c->value = old;
      old = NULL;
      continue;
    }
    ntk_tensor_destroy(&old);
    NTK_TRY(ntk_tensor_borrow(dtype, &shape, NULL, &c->value));
    *bytes += room_of(c->value);
  }
done:
  ntk_tensor_destroy(&old);
  return status;
}

static void point_at(const replacement *r, char *data) {
  for (int i = 0; i < r->import->candidate_count; i++) {
    ntk_tensor *t = r->import->candidates[i].value;
    if (!t || t->data)
      continue;
    t->data = data;
    data += room_of(t);
  }
}

static ntk_status read_elements(const replacement *r) {
  ntk_status status = NTK_SUCCESS;
  for (int i = 0; i < r->import->candidate_count; i++)
    if (r->import->candidates[i].value)
      NTK_TRY(ntk_checkpoint_read(r->checkpoint, r->arrays[i],
                                  r->import->candidates[i].value->data));
done:
  return status;
}

static ntk_status share(replacement *r) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = r->model->context;
  int64_t bytes = 0;
  NTK_TRY_MPI(MPI_Bcast(r->types, r->import->candidate_count, MPI_INT, 0, context->comm));
  NTK_TRY(ntk_agree(context->comm, place_tensors(r, &bytes)));
  NTK_TRY(ntk_shared_create(context, bytes, &r->model->replaced));
  point_at(r, r->model->replaced->data);
  if (context->rank == 0)
    status = read_elements(r);
  NTK_TRY(ntk_shared_spread(r->model->replaced, status));
  NTK_TRY(ntk_shared_spread(r->model->block, NTK_SUCCESS));
done:
  return status;
}

static ntk_status allocate(replacement *r) {
  ntk_status status = NTK_SUCCESS;
  const int n = r->import->candidate_count;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof(int), &r->types));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof(int), &r->arrays));
  for (int i = 0; i < n; i++)
    r->types[i] = r->arrays[i] = NOT_GIVEN;
  NTK_TRY(ntk_strdup(r->path, &r->model->parameters_path));
done:
  return status;
}

ntk_status ntk_replace(ntk_model *model, ntk_import *import, const char *path) {
  ntk_status status = NTK_SUCCESS;
  replacement r = {.model = model, .import = import, .path = path};
  status = allocate(&r);
  if (status == NTK_SUCCESS && model->context->rank == 0)
    status = open_file(&r);
  NTK_TRY(ntk_agree(model->context->comm, status));
  NTK_TRY(share(&r));
done:
  ntk_checkpoint_close(&r.checkpoint);
  ntk_free(&r.types);
  ntk_free(&r.arrays);
  return status;
}

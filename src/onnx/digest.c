/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/import.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static void add_tensor(XXH3_state_t *state, const char *name, const ntk_shape *shape,
                       const ntk_tensor *tensor) {
  const size_t bytes = (size_t)ntk_shape_size(shape) * ntk_dtype_bytes(tensor->dtype);
  (void)XXH3_128bits_update(state, name, strlen(name));
  (void)XXH3_128bits_update(state, shape->dim, (size_t)shape->ndim * sizeof shape->dim[0]);
  (void)XXH3_128bits_update(state, tensor->data, bytes);
}

static void add_parameters(XXH3_state_t *state, const ntk_graph *graph) {
  for (int i = 0; i < graph->parameter_count; i++) {
    const ntk_value *v = &graph->values[graph->parameters[i]];
    add_tensor(state, v->name, &v->shape, v->constant);
  }
}

/* False: there are none. */
static bool add_others(XXH3_state_t *state, const ntk_import *import) {
  bool any = false;
  for (int i = 0; i < import->candidate_count; i++) {
    const ntk_candidate *c = &import->candidates[i];
    if (c->is_parameter || !c->value)
      continue;
    add_tensor(state, c->name, &c->value->shape, c->value);
    any = true;
  }
  return any;
}

/* On rank 0, of the parameters or, with import, of the others. */
static ntk_status digest(const ntk_graph *graph, const ntk_import *import, char hex[33]) {
  XXH3_state_t *state = XXH3_createState();
  bool any = true;
  if (!state)
    return ntk_fail(NTK_ERR_MEMORY, "no memory for a digest");
  (void)XXH3_128bits_reset(state);
  if (import)
    any = add_others(state, import);
  else
    add_parameters(state, graph);
  const XXH128_hash_t sum = XXH3_128bits_digest(state);
  (void)XXH3_freeState(state);
  hex[0] = '\0';
  if (any)
    (void)snprintf(hex, 33, "%016" PRIx64 "%016" PRIx64, (uint64_t)sum.high64,
                   (uint64_t)sum.low64);
  return NTK_SUCCESS;
}

static ntk_status share_digest(const ntk_model *model, const ntk_import *import,
                               char hex[33]) {
  ntk_status status = NTK_SUCCESS;
  const ntk_context *context = model->context;
  if (context->rank == 0)
    status = digest(model->graph, import, hex);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY_MPI(MPI_Bcast(hex, 33, MPI_CHAR, 0, context->comm));
done:
  return status;
}

ntk_status ntk_digest_others(const ntk_import *import, ntk_model *model) {
  return share_digest(model, import, model->others_digest);
}

ntk_status ntk_model_settle(ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  if (!model->is_settled)
    NTK_TRY(share_digest(model, NULL, model->parameter_digest));
  model->is_settled = true;
done:
  return status;
}

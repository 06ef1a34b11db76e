/* SPDX-License-Identifier: Apache-2.0 */
/* Other values for a parameter of a model that was read. */
#include "base/memory.h"
#include "dist/grid.h"
#include "graph/op.h"
#include "onnx/model.h"
#include <inttypes.h>
#include <string.h>

/* ---- what is asked for ----------------------------------------------------------------
 */

static ntk_status refuse_name(const ntk_model *model, const char *name) {
  for (int i = 0; i < model->source_count; i++)
    if (strcmp(model->sources[i].name, name) == 0)
      return ntk_fail(NTK_ERR_ARGUMENT,
                      "'%.200s' is no parameter (%s): it became part of the network when "
                      "the model was read; --parameters replaces such, too",
                      name, model->sources[i].reason);
  return ntk_fail(NTK_ERR_ARGUMENT, "the model has no parameter '%.200s'", name);
}

static ntk_status find_parameter(const ntk_model *model, const char *name, int *value) {
  const ntk_graph *graph = model->graph;
  for (int i = 0; i < graph->parameter_count; i++) {
    *value = graph->parameters[i];
    if (strcmp(graph->values[*value].name, name) == 0)
      return NTK_SUCCESS;
  }
  return refuse_name(model, name);
}

/* Some operands steer their operator, which took them when the model was read. */
static ntk_status check_users(const ntk_graph *graph, int value) {
  for (int i = 0; i < graph->node_count; i++) {
    const ntk_node *node = &graph->nodes[i];
    for (int k = 0; k < node->input_count && k < 32; k++)
      if (node->inputs[k] == value && (node->op->not_parameter >> k & 1))
        return ntk_fail(NTK_ERR_ARGUMENT,
                        "'%.200s' cannot be set: it also steers node '%s' (%s), which took "
                        "it when the model was read; --parameters replaces it there, too",
                        graph->values[value].name, node->name, node->op->name);
  }
  return NTK_SUCCESS;
}

static ntk_status check(ntk_model *model, const char *name, ntk_dtype dtype, int64_t count,
                        const void *values, int *value) {
  ntk_status status = NTK_SUCCESS;
  char shape[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_model_check_weights(model));
  NTK_REQUIRE(name, NTK_ERR_ARGUMENT, "the parameter's name is NULL");
  NTK_TRY(find_parameter(model, name, value));
  const ntk_shape *s = &model->graph->values[*value].shape;
  NTK_TRY(check_users(model->graph, *value));
  NTK_REQUIRE(dtype == NTK_F32 || dtype == NTK_F64, NTK_ERR_ARGUMENT,
              "'%.200s': its values must be f32 or f64", name);
  NTK_REQUIRE(count == ntk_shape_size(s), NTK_ERR_ARGUMENT,
              "'%.200s' is %s, not of %" PRId64 " elements", name, ntk_shape_text(s, shape),
              count);
  if (model->context->rank != 0)
    goto done;
  NTK_REQUIRE(values || count == 0, NTK_ERR_ARGUMENT, "'%.200s': the values are NULL",
              name);
  const int64_t bad = ntk_find_nonfinite(dtype, values, count);
  NTK_REQUIRE(bad < 0, NTK_ERR_NONFINITE,
              "parameter '%.200s': element %" PRId64 " is not a finite number", name, bad);
done:
  return status;
}

static ntk_status check_same(const ntk_context *context, const char *name, int value,
                             ntk_dtype dtype) {
  ntk_status status = NTK_SUCCESS;
  const int mine[2] = {value, (int)dtype};
  int theirs[2] = {value, (int)dtype};
  NTK_TRY_MPI(MPI_Bcast(theirs, 2, MPI_INT, 0, context->comm));
  if (memcmp(mine, theirs, sizeof mine) != 0)
    status = ntk_fail(NTK_ERR_ARGUMENT,
                      "'%.200s' is set here, on rank 0 another parameter or type", name);
  NTK_TRY(ntk_agree(context->comm, status));
done:
  return status;
}

/* ---- its place ------------------------------------------------------------------------
 */

static bool holds(const ntk_shared *block, const void *data) {
  const uintptr_t at = (uintptr_t)data, start = block ? (uintptr_t)block->data : 0;
  return block && at >= start && at < start + (uintptr_t)block->bytes;
}

/* The block of the model's in which elements stand; NULL: each rank has its own. */
static ntk_shared *block_of(const ntk_model *model, const void *data) {
  for (int i = 0; i < model->given_count; i++)
    if (holds(model->given[i], data))
      return model->given[i];
  return holds(model->replaced, data) ? model->replaced
         : holds(model->block, data)  ? model->block
                                      : NULL;
}

/* Sources that the exporter merged have the same elements. */
static bool is_shared(const ntk_graph *graph, int value) {
  const void *data = graph->values[value].constant->data;
  for (int v = 0; v < graph->value_count; v++)
    if (v != value && graph->values[v].constant && graph->values[v].constant->data == data)
      return true;
  return false;
}

/* A place of the parameter's own, of this type. Collective. */
static ntk_status move(ntk_model *model, int value, ntk_dtype dtype) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  ntk_value *v = &model->graph->values[value];
  const int64_t bytes = ntk_shape_size(&v->shape) * (int64_t)ntk_dtype_bytes(dtype);
  ntk_shared *block = NULL;
  ntk_tensor *tensor = NULL;
  NTK_TRY(ntk_agree(context->comm, ntk_realloc(NTK_MEMORY_GENERAL, model->given_count + 1,
                                               sizeof(ntk_shared *), &model->given)));
  NTK_TRY(ntk_shared_create(context, bytes, &block));
  NTK_TRY(
      ntk_agree(context->comm, ntk_tensor_borrow(dtype, &v->shape, block->data, &tensor)));
  model->given[model->given_count++] = block;
  block = NULL;
  ntk_tensor_destroy(&v->constant);
  v->constant = tensor;
done:
  ntk_shared_destroy(&block);
  return status;
}

/* Of rank 0, for all. */
static ntk_status write(const ntk_model *model, const ntk_tensor *to, const void *values) {
  ntk_status status = NTK_SUCCESS;
  const ntk_context *context = model->context;
  ntk_shared *block = block_of(model, to->data);
  const int64_t bytes = ntk_shape_size(&to->shape) * (int64_t)ntk_dtype_bytes(to->dtype);
  if (context->rank == 0 && bytes > 0)
    memcpy(to->data, values, (size_t)bytes);
  if (!block) {
    NTK_TRY(ntk_bcast(to->data, bytes, 0, context->comm));
    goto done;
  }
  if (block->is_writer)
    status = ntk_bcast(to->data, bytes, 0, block->writers);
  NTK_TRY(ntk_shared_publish(block, status));
done:
  return status;
}

bool ntk_model_parameter(const ntk_model *model, int index, ntk_parameter_info *out) {
  const ntk_graph *graph = model->graph;
  if (index < 0 || index >= graph->parameter_count)
    return false;
  const ntk_value *v = &graph->values[graph->parameters[index]];
  *out = (ntk_parameter_info){
      .name = v->name, .count = ntk_shape_size(&v->shape), .ndim = v->shape.ndim};
  for (int k = 0; k < v->shape.ndim; k++)
    out->shape[k] = v->shape.dim[k];
  return true;
}

ntk_status ntk_model_set_parameter(ntk_model *model, const char *name, ntk_dtype dtype,
                                   int64_t count, const void *values) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  const ntk_value *v;
  int value = -1;
  NTK_TRY(ntk_agree(context->comm, check(model, name, dtype, count, values, &value)));
  NTK_TRY(check_same(context, name, value, dtype));
  v = &model->graph->values[value];
  if (v->constant->dtype != dtype || is_shared(model->graph, value))
    NTK_TRY(move(model, value, dtype));
  model->settings++;
  model->is_settled = false;
  NTK_TRY(write(model, v->constant, values));
done:
  return status;
}

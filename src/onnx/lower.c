/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/lower.h"
#include "base/memory.h"
#include "base/text.h"
#include "ops/ops.h"
#include <stdio.h>
#include <string.h>

/* Of the standard's versions, the one that emitted nodes are written in. */
enum { EMITTED_OPSET = 17 };

static const char *domain_of(const char *domain) {
  return domain && strcmp(domain, "ai.onnx") != 0 ? domain : "";
}

const ntk_composite *ntk_composite_find(const Onnx__NodeProto *node) {
#define ROW(name) &ntk_composite_##name,
  static const ntk_composite *const rows[] = {NTK_COMPOSITES(ROW)};
  if (*domain_of(node->domain) || !node->op_type)
    return NULL;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strcmp(rows[i]->name, node->op_type) == 0)
      return rows[i];
  return NULL;
}

const Onnx__FunctionProto *ntk_function_find(const ntk_import *import,
                                             const Onnx__NodeProto *node) {
  for (size_t i = 0; node->op_type && i < import->proto->n_functions; i++) {
    const Onnx__FunctionProto *f = import->proto->functions[i];
    if (f->name && strcmp(f->name, node->op_type) == 0 &&
        strcmp(domain_of(f->domain), domain_of(node->domain)) == 0)
      return f;
  }
  return NULL;
}

/* ---- what a lowering sees -------------------------------------------------------------
 */

int ntk_lower_input(const ntk_lowering *l, int i) {
  return (size_t)i < l->node->n_input ? l->inputs[i] : -1;
}

bool ntk_lower_wants(const ntk_lowering *l, size_t k) {
  return k < l->node->n_output && l->node->output[k][0] &&
         ntk_names_get(&l->builder->scope->wanted, l->node->output[k]) >= 0;
}

const ntk_value *ntk_lower_value(const ntk_lowering *l, int value) {
  return &l->builder->graph->values[value];
}

int64_t ntk_lower_int(const ntk_lowering *l, const char *name, int64_t otherwise) {
  const Onnx__AttributeProto *attribute = ntk_proto_attribute(l->node, name);
  return attribute ? attribute->i : otherwise;
}

double ntk_lower_float(const ntk_lowering *l, const char *name, double otherwise) {
  const Onnx__AttributeProto *attribute = ntk_proto_attribute(l->node, name);
  return attribute ? (double)attribute->f : otherwise;
}

bool ntk_lower_is(const ntk_lowering *l, const char *name, const char *otherwise,
                  const char *word) {
  const Onnx__AttributeProto *given = ntk_proto_attribute(l->node, name);
  return given ? given->s.len == strlen(word) &&
                     memcmp(given->s.data, word, given->s.len) == 0
               : strcmp(otherwise, word) == 0;
}

ntk_status ntk_lower_require(const ntk_lowering *l, int count) {
  for (int i = 0; i < count; i++)
    if (ntk_lower_input(l, i) < 0)
      return ntk_fail(NTK_ERR_FORMAT, "input %d is left out", i);
  return NTK_SUCCESS;
}

ntk_status ntk_lower_numbers(const ntk_lowering *l, int value, const char *what,
                             int64_t *count, double **numbers) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *v = ntk_lower_value(l, value);
  NTK_REQUIRE(v->role == NTK_CONSTANT && v->constant, NTK_ERR_UNSUPPORTED,
              "%s is not known before the network runs", what);
  *count = ntk_shape_size(&v->shape);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, *count, sizeof **numbers, numbers));
  ntk_convert(v->dtype, v->constant->data, NTK_F64, *numbers, *count);
done:
  return status;
}

/* ---- emitting -------------------------------------------------------------------------
 */

static ntk_status emit_name(ntk_lowering *l, const char *op, ntk_text *name) {
  return ntk_text_add(name, "%s/%s_%d", ntk_proto_name(l->node), op, l->number++);
}

static ntk_status try_constant(ntk_lowering *l, ntk_dtype dtype, const ntk_shape *shape,
                               const double *elements, int *value) {
  ntk_status status = NTK_SUCCESS;
  ntk_text name = {0};
  NTK_TRY(emit_name(l, "Constant", &name));
  NTK_TRY(ntk_graph_add_value(l->builder->graph, name.data, value));
  ntk_value *v = &l->builder->graph->values[*value];
  v->dtype = dtype;
  v->shape = *shape;
  NTK_TRY(ntk_tensor_create(dtype, shape, &v->constant));
  ntk_convert(NTK_F64, elements, dtype, v->constant->data, ntk_shape_size(shape));
done:
  ntk_text_clear(&name);
  return status;
}

int ntk_emit_constant(ntk_lowering *l, ntk_dtype dtype, const ntk_shape *shape,
                      const double *elements) {
  int value = -1;
  if (l->status == NTK_SUCCESS)
    l->status = try_constant(l, dtype, shape, elements, &value);
  return value;
}

int ntk_emit_number(ntk_lowering *l, ntk_dtype dtype, double number) {
  return ntk_emit_constant(l, dtype, &(ntk_shape){0}, &number);
}

int ntk_emit_list(ntk_lowering *l, int count, const int64_t *list) {
  double numbers[2 * NTK_MAX_DIMS];
  for (int d = 0; d < count; d++)
    numbers[d] = (double)list[d];
  return ntk_emit_constant(l, NTK_I64, &(ntk_shape){1, {count}}, numbers);
}

static ntk_status try_emit(ntk_lowering *l, const char *op, int count, const int *in,
                           ntk_attribute *attribute, int *value) {
  ntk_status status = NTK_SUCCESS;
  ntk_text name = {0};
  const ntk_op *row = ntk_op_find(op);
  NTK_REQUIRE(row, NTK_ERR_UNSUPPORTED, "it takes the operator %s, which is not supported",
              op);
  NTK_TRY(emit_name(l, op, &name));
  NTK_TRY(ntk_builder_emit(l->builder, name.data, row, EMITTED_OPSET, count, in, attribute,
                           value));
done:
  ntk_text_clear(&name);
  return status;
}

/* Takes over what the attribute holds. */
static int emit(ntk_lowering *l, const char *op, int count, const int *in,
                ntk_attribute attribute) {
  int value = -1;
  if (l->status == NTK_SUCCESS)
    l->status = try_emit(l, op, count, in, &attribute, &value);
  ntk_free(&attribute.name);
  ntk_free(&attribute.ints);
  return l->status == NTK_SUCCESS ? value : -1;
}

static ntk_attribute named(ntk_lowering *l, const char *name) {
  ntk_attribute attribute = {.kind = NTK_ATTRIBUTE_INT};
  if (l->status == NTK_SUCCESS)
    l->status = ntk_strdup(name, &attribute.name);
  return attribute;
}

int ntk_emit_n(ntk_lowering *l, const char *op, int count, const int *in) {
  return emit(l, op, count, in, (ntk_attribute){0});
}

int ntk_emit(ntk_lowering *l, const char *op, int a, int b) {
  return ntk_emit_n(l, op, b < 0 ? 1 : 2, (const int[]){a, b});
}

int ntk_emit_n_with(ntk_lowering *l, const char *op, int count, const int *in,
                    const char *name, int64_t value) {
  ntk_attribute attribute = named(l, name);
  attribute.i = value;
  return emit(l, op, count, in, attribute);
}

int ntk_emit_with(ntk_lowering *l, const char *op, int a, const char *name, int64_t value) {
  return ntk_emit_n_with(l, op, 1, &a, name, value);
}

int ntk_emit_ints(ntk_lowering *l, const char *op, int a, const char *name, int count,
                  const int64_t *list) {
  ntk_attribute attribute = named(l, name);
  attribute.kind = NTK_ATTRIBUTE_INTS;
  attribute.count = count;
  if (l->status == NTK_SUCCESS)
    l->status = ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *list, &attribute.ints);
  for (int i = 0; l->status == NTK_SUCCESS && i < count; i++)
    attribute.ints[i] = list[i];
  return emit(l, op, 1, &a, attribute);
}

int ntk_emit_concat(ntk_lowering *l, int count, const int *values, int64_t axis) {
  return count == 1 ? values[0] : ntk_emit_n_with(l, "Concat", count, values, "axis", axis);
}

int ntk_emit_gather(ntk_lowering *l, int x, int64_t axis, int64_t index) {
  const int i = ntk_emit_number(l, NTK_I64, (double)index);
  return ntk_emit_n_with(l, "Gather", 2, (const int[]){x, i}, "axis", axis);
}

int ntk_emit_slice(ntk_lowering *l, int x, int64_t axis, int64_t start, int64_t end) {
  const int in[] = {x, ntk_emit_list(l, 1, &start), ntk_emit_list(l, 1, &end),
                    ntk_emit_list(l, 1, &axis)};
  return ntk_emit_n(l, "Slice", 4, in);
}

int ntk_emit_reshape(ntk_lowering *l, int x, int ndim, const int64_t *sizes) {
  return ntk_emit(l, "Reshape", x, ntk_emit_list(l, ndim, sizes));
}

/* ---- one node -------------------------------------------------------------------------
 */

static ntk_status check_counts(const ntk_lowering *l, const ntk_composite *row) {
  ntk_status status = NTK_SUCCESS;
  const int opset = l->builder->scope->opset, inputs = (int)l->node->n_input;
  NTK_REQUIRE(opset >= row->first && opset <= row->last, NTK_ERR_UNSUPPORTED,
              "opset %d is not supported (opsets %d to %d are)", opset, row->first,
              row->last);
  NTK_REQUIRE(inputs >= row->min_in && inputs <= row->max_in, NTK_ERR_FORMAT,
              "%d inputs; %d to %d are understood", inputs, row->min_in, row->max_in);
  for (size_t k = (size_t)row->max_out; k < l->node->n_output; k++)
    NTK_REQUIRE(!ntk_lower_wants(l, k), NTK_ERR_UNSUPPORTED, "output %zu is not supported",
                k);
done:
  return status;
}

/* A value that this node made takes the name of the output, as primitives do. */
static ntk_status name_output(ntk_builder *b, int value, const char *name) {
  ntk_status status = NTK_SUCCESS;
  ntk_text full = {0};
  NTK_TRY(ntk_text_add(&full, "%s%s", b->scope->prefix, name));
  ntk_free(&b->graph->values[value].name);
  NTK_TRY(ntk_strdup(full.data, &b->graph->values[value].name));
done:
  ntk_text_clear(&full);
  return status;
}

static ntk_status bind_outputs(ntk_lowering *l, int first_new) {
  ntk_status status = NTK_SUCCESS;
  for (size_t k = 0; k < l->node->n_output; k++) {
    const int v = l->outputs[k];
    if (!l->node->output[k][0] || v < 0)
      continue;
    NTK_TRY(ntk_builder_bind(l->builder, l->node->output[k], v));
    if (v >= first_new && l->builder->graph->values[v].producer >= 0)
      NTK_TRY(name_output(l->builder, v, l->node->output[k]));
  }
done:
  return status;
}

/* Says which node it was, where the message does not say so yet. */
static ntk_status name_failure(const ntk_lowering *l, ntk_status status) {
  char cause[768];
  const char *path = l->builder->import->path;
  (void)snprintf(cause, sizeof cause, "%s", ntk_fail_message());
  if (status == NTK_ERR_MEMORY || strncmp(cause, path, strlen(path)) == 0)
    return status;
  return ntk_fail(status, "%s: node '%s%s' (%s, opset %d): %s", path,
                  l->builder->scope->prefix, ntk_proto_name(l->node), l->node->op_type,
                  l->builder->scope->opset, cause);
}

/* An Identity through which no derivative passes: of the standard there is none, so that
 * our exporters write a call of a function of this name, whose body others can run. */
static bool stops_gradient(const Onnx__FunctionProto *function) {
  return strcmp(domain_of(function->domain), "scantk") == 0 &&
         strcmp(function->name, "StopGradient") == 0;
}

static ntk_status lower(ntk_lowering *l, const ntk_composite *row,
                        const Onnx__FunctionProto *function) {
  ntk_status status = NTK_SUCCESS;
  if (function && stops_gradient(function)) {
    l->outputs[0] = ntk_emit(l, "StopGradient", ntk_lower_input(l, 0), -1);
  } else if (function) {
    NTK_TRY(ntk_lower_call(l, function));
  } else {
    NTK_TRY(check_counts(l, row));
    NTK_TRY(row->lower(l));
  }
  NTK_TRY(l->status);
done:
  return status;
}

ntk_status ntk_lower_node(ntk_builder *b, const Onnx__NodeProto *node, const int *inputs,
                          bool *done) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__FunctionProto *function = ntk_function_find(b->import, node);
  const ntk_composite *row = ntk_composite_find(node);
  const int first_new = b->graph->value_count;
  ntk_lowering l = {.builder = b, .node = node, .inputs = inputs};
  *done = function || row;
  if (!*done)
    return NTK_SUCCESS;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)node->n_output, sizeof(int), &l.outputs));
  for (size_t k = 0; k < node->n_output; k++)
    l.outputs[k] = -1;
  status = lower(&l, row, function);
  if (status != NTK_SUCCESS)
    status = name_failure(&l, status);
  NTK_TRY(status);
  NTK_TRY(bind_outputs(&l, first_new));
done:
  ntk_free(&l.outputs);
  return status;
}

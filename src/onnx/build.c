/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/text.h"
#include "onnx/lower.h"
#include "onnx/tensors.h"
#include "ops/ops.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NODES = 1 << 20 };

/* Of one value for one sample; of one that every rank folds. */
static const int64_t MAX_ELEMENTS = (int64_t)1 << 31, MAX_FOLDED = 1 << 16;

/* ---- inputs and sources ---------------------------------------------------------------
 */

/* No initializer has this name. */
static ntk_status check_new(const ntk_builder *b, const char *name) {
  if (ntk_names_get(&b->initializers, name) >= 0)
    return ntk_fail(NTK_ERR_FORMAT, "%s: there are two values '%s'", b->import->path, name);
  return NTK_SUCCESS;
}

/* A value under its name in a scope; in the graph its scope's prefix stands in front. */
static ntk_status add_named_value(ntk_builder *b, ntk_scope *scope, const char *name,
                                  int *index) {
  ntk_status status = NTK_SUCCESS;
  ntk_text full = {0};
  NTK_REQUIRE(ntk_names_get(&scope->values, name) < 0, NTK_ERR_FORMAT,
              "%s: there are two values '%s'", b->import->path, name);
  NTK_TRY(ntk_text_add(&full, "%s%s", scope->prefix, name));
  NTK_TRY(ntk_graph_add_value(b->graph, full.data, index));
  NTK_TRY(ntk_names_set(&scope->values, name, *index));
done:
  ntk_text_clear(&full);
  return status;
}

ntk_status ntk_builder_bind(ntk_builder *b, const char *name, int value) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(check_new(b, name));
  NTK_REQUIRE(ntk_names_get(&b->scope->values, name) < 0, NTK_ERR_FORMAT,
              "%s: there are two values '%s'", b->import->path, name);
  NTK_TRY(ntk_names_set(&b->scope->values, name, value));
done:
  return status;
}

/* What kernels count in int64 and indices in memory: no network is near it. */
static ntk_status check_size(const ntk_builder *b, int v) {
  const ntk_value *value = &b->graph->values[v];
  char shape[NTK_SHAPE_TEXT];
  if (ntk_shape_size(&value->shape) > MAX_ELEMENTS * b->batch)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "%s: value '%s' of shape %s is too large",
                    b->import->path, value->name, ntk_shape_text(&value->shape, shape));
  return NTK_SUCCESS;
}

static ntk_status add_inputs(ntk_builder *b) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = b->import->graph;
  for (size_t i = 0; i < g->n_input; i++) {
    const Onnx__ValueInfoProto *input = g->input[i];
    int v = -1;
    if (ntk_names_get(&b->initializers, input->name) >= 0)
      continue; /* as old files list them */
    NTK_REQUIRE(input->type &&
                    input->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE,
                NTK_ERR_UNSUPPORTED, "%s: input '%s' is not a tensor", b->import->path,
                input->name);
    if (ntk_names_get(&b->root.wanted, input->name) < 0)
      continue;
    NTK_TRY(add_named_value(b, &b->root, input->name, &v));
    ntk_value *value = &b->graph->values[v];
    value->role = NTK_DATA;
    NTK_TRY(
        ntk_onnx_dtype(input->type->tensor_type->elem_type, input->name, &value->dtype));
    NTK_TRY(ntk_input_shape(b->import, input, b->batch, &value->shape));
    NTK_TRY(check_size(b, v));
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, b->graph->input_count + 1, sizeof(int),
                        &b->graph->inputs));
    b->graph->inputs[b->graph->input_count++] = v;
  }
  NTK_REQUIRE(b->graph->input_count > 0, NTK_ERR_UNSUPPORTED,
              "%s: the outputs depend on no input", b->import->path);
done:
  return status;
}

/* Its elements: those given with --parameters before those of the file. */
static ntk_status hold_elements(const ntk_builder *b, const ntk_candidate *candidate,
                                const Onnx__TensorProto *proto, ntk_tensor **out) {
  const ntk_tensor *given = candidate ? candidate->value : NULL;
  return given ? ntk_tensor_borrow(given->dtype, &given->shape, given->data, out)
               : ntk_onnx_tensor(proto, b->import->block, out);
}

/* An initializer, or a tensor that stands for one, as a constant or parameter. */
static ntk_status add_source(ntk_builder *b, const char *name,
                             const Onnx__TensorProto *proto, int *index) {
  ntk_status status = NTK_SUCCESS;
  const ntk_candidate *candidate = ntk_candidate_named(b->import, name);
  const bool is_parameter = candidate && candidate->is_parameter;
  NTK_TRY(add_named_value(b, &b->root, name, index));
  ntk_value *value = &b->graph->values[*index];
  value->role = is_parameter ? NTK_PARAMETER : NTK_CONSTANT;
  NTK_TRY(ntk_onnx_dtype(proto->data_type, name, &value->dtype));
  NTK_TRY(ntk_onnx_shape(proto, &value->shape));
  if (!b->probe || !is_parameter)
    NTK_TRY(hold_elements(b, candidate, proto, &value->constant));
  if (is_parameter) {
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, b->graph->parameter_count + 1, sizeof(int),
                        &b->graph->parameters));
    b->graph->parameters[b->graph->parameter_count++] = *index;
  }
done:
  return status;
}

/* ---- nodes ----------------------------------------------------------------------------
 */

static ntk_status copy_attribute(const ntk_builder *b, const Onnx__AttributeProto *from,
                                 ntk_attribute *to) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_strdup(from->name ? from->name : "", &to->name));
  to->i = from->i;
  to->f = (double)from->f;
  switch (from->type) {
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
    to->kind = NTK_ATTRIBUTE_INT;
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
    to->kind = NTK_ATTRIBUTE_FLOAT;
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
    to->kind = NTK_ATTRIBUTE_STRING;
    NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)from->s.len + 1, 1, &to->s));
    if (from->s.len)
      memcpy(to->s, from->s.data, from->s.len);
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
    to->kind = NTK_ATTRIBUTE_INTS;
    to->count = (int64_t)from->n_ints;
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, to->count, sizeof(int64_t), &to->ints));
    for (int64_t i = 0; i < to->count; i++)
      to->ints[i] = from->ints[i];
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
    to->kind = NTK_ATTRIBUTE_FLOATS;
    to->count = (int64_t)from->n_floats;
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, to->count, sizeof(double), &to->floats));
    for (int64_t i = 0; i < to->count; i++)
      to->floats[i] = (double)from->floats[i];
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
    to->kind = NTK_ATTRIBUTE_TENSOR;
    NTK_REQUIRE(from->t, NTK_ERR_FORMAT, "attribute '%s' has no tensor", to->name);
    NTK_TRY(ntk_onnx_tensor(from->t, b->import->block, &to->tensor));
    break;
  default:
    status =
        ntk_fail(NTK_ERR_UNSUPPORTED, "attribute '%s' is of an unsupported kind", to->name);
  }
done:
  return status;
}

static ntk_status find_operator(const ntk_builder *b, const Onnx__NodeProto *proto,
                                const ntk_op **op) {
  const char *domain = proto->domain ? proto->domain : "";
  const char *type = proto->op_type ? proto->op_type : "";
  const bool standard = !*domain || strcmp(domain, "ai.onnx") == 0;
  const int opset = b->scope->opset;
  const char *name = ntk_proto_name(proto);
  *op = standard ? ntk_op_find(type) : NULL;
  if (!*op)
    return ntk_fail(NTK_ERR_UNSUPPORTED,
                    "%s: node '%s': operator %s%s%s (opset %d) is not supported",
                    b->import->path, name, domain, *domain ? "." : "", type, opset);
  const bool same = (*op)->last == NTK_KNOWN_OPSET && opset <= NTK_NEWEST_OPSET;
  if (opset < (*op)->first || (opset > (*op)->last && !same))
    return ntk_fail(
        NTK_ERR_UNSUPPORTED,
        "%s: node '%s': operator %s of opset %d is not supported (opsets %d to %d are)",
        b->import->path, name, type, opset, (*op)->first, (*op)->last);
  const int inputs = (int)proto->n_input;
  if (inputs < (*op)->min_in || inputs > (*op)->max_in || proto->n_output < 1)
    return ntk_fail(NTK_ERR_FORMAT,
                    "%s: node '%s' (%s) has %d inputs; %d to %d are understood",
                    b->import->path, name, type, inputs, (*op)->min_in, (*op)->max_in);
  return NTK_SUCCESS;
}

ntk_status ntk_builder_find(ntk_builder *b, const char *name, int64_t *value) {
  ntk_status status = NTK_SUCCESS;
  const ntk_scope *scope = b->scope, *last = scope;
  int index;
  *value = -1;
  for (; scope && *value < 0; scope = scope->outer) {
    *value = ntk_names_get(&scope->values, name);
    last = scope;
  }
  if (*value >= 0 || last != &b->root)
    goto done;
  const int64_t source = ntk_names_get(&b->initializers, name);
  if (source >= 0) {
    NTK_TRY(add_source(b, name, b->import->initializers[source], &index));
    *value = index;
  }
done:
  return status;
}

/* Names of operands as values; sources come in as they are read. *ready: all are known. */
static ntk_status resolve_inputs(ntk_builder *b, const Onnx__NodeProto *proto, int *inputs,
                                 bool *ready) {
  ntk_status status = NTK_SUCCESS;
  *ready = true;
  for (size_t i = 0; i < proto->n_input && *ready; i++) {
    int64_t v = NTK_LEFT_OUT;
    if (proto->input[i][0])
      NTK_TRY(ntk_builder_find(b, proto->input[i], &v));
    *ready = v >= 0;
    inputs[i] = v == NTK_LEFT_OUT ? -1 : (int)v;
  }
done:
  return status;
}

static ntk_status add_output(ntk_builder *b, const char *name, int number, int k) {
  ntk_status status = NTK_SUCCESS;
  int v = -1;
  NTK_TRY(check_new(b, name));
  NTK_TRY(add_named_value(b, b->scope, name, &v));
  b->graph->values[v].producer = number;
  b->graph->nodes[number].outputs[k] = v;
done:
  return status;
}

static ntk_status add_outputs(ntk_builder *b, const Onnx__NodeProto *proto, int number) {
  ntk_status status = NTK_SUCCESS;
  const ntk_op *op = b->graph->nodes[number].op;
  for (size_t k = 0; k < proto->n_output; k++) {
    const bool used = proto->output[k][0] &&
                      (k == 0 || ntk_names_get(&b->scope->wanted, proto->output[k]) >= 0);
    if (!used)
      continue;
    NTK_REQUIRE((int)k < op->max_out, NTK_ERR_UNSUPPORTED,
                "%s: node '%s' (%s): output %zu is not supported", b->import->path,
                b->graph->nodes[number].name, op->name, k);
    NTK_TRY(add_output(b, proto->output[k], number, (int)k));
  }
  NTK_REQUIRE(b->graph->nodes[number].outputs[0] >= 0, NTK_ERR_UNSUPPORTED,
              "%s: node '%s' (%s): only output 0 is supported", b->import->path,
              b->graph->nodes[number].name, op->name);
done:
  return status;
}

/* ---- folding --------------------------------------------------------------------------
 */

static void drop_last_node(ntk_builder *b) {
  ntk_graph *graph = b->graph;
  ntk_node *node = &graph->nodes[graph->node_count - 1];
  for (int k = 0; k < node->output_count; k++)
    if (node->outputs[k] >= 0) {
      graph->values[node->outputs[k]].producer = -1;
      graph->values[node->outputs[k]].role = NTK_CONSTANT;
    }
  ntk_node_clear(node);
  graph->node_count--;
}

/* Integers are computed in f64: exact to 2^53, and larger ones only ever mean "to the end".
 */
static ntk_status fold_outputs(ntk_graph *graph, const ntk_node *node, ntk_array *arrays,
                               double **buffers) {
  ntk_status status = NTK_SUCCESS;
  void *work = NULL;
  ntk_array *out = arrays + node->input_count;
  for (int i = 0; i < node->input_count; i++) {
    if (node->inputs[i] < 0)
      continue;
    const ntk_value *x = &graph->values[node->inputs[i]];
    const int64_t n = ntk_shape_size(&x->shape);
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof(double), &buffers[i]));
    ntk_convert(x->constant->dtype, x->constant->data, NTK_F64, buffers[i], n);
    arrays[i].data = buffers[i];
  }
  ntk_value *y = &graph->values[node->outputs[0]];
  const int64_t n = ntk_shape_size(&y->shape);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof(double), &buffers[node->input_count]));
  out[0].data = buffers[node->input_count];
  const int64_t scratch = node->op->workspace ? node->op->workspace(graph, node, 1, 1) : 0;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, scratch, sizeof(double), &work));
  node->op->kernels[NTK_F64]->forward(node, 1, arrays, out, work);
  NTK_TRY(ntk_tensor_create(y->dtype, &y->shape, &y->constant));
  ntk_convert(NTK_F64, out[0].data, y->dtype, y->constant->data, n);
done:
  ntk_free(&work);
  return status;
}

static ntk_status fold(ntk_builder *b, const ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_array *arrays = NULL;
  double **buffers = NULL;
  const int count = node->input_count + node->output_count;
  NTK_REQUIRE(node->op->kernels[NTK_F64] && node->op->kernels[NTK_F64]->forward,
              NTK_ERR_UNSUPPORTED, "%s: node '%s' (%s) cannot be evaluated",
              b->import->path, node->name, node->op->name);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof *arrays, &arrays));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof *buffers, &buffers));
  NTK_TRY(fold_outputs(b->graph, node, arrays, buffers));
done:
  for (int i = 0; buffers && i < count; i++)
    ntk_free(&buffers[i]);
  ntk_free(&buffers);
  ntk_free(&arrays);
  return status;
}

static ntk_role role_of(const ntk_graph *graph, const ntk_node *node) {
  ntk_role role = NTK_CONSTANT;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] >= 0 && graph->values[node->inputs[i]].role > role)
      role = graph->values[node->inputs[i]].role;
  return role;
}

/* Large real numbers, which steer no operator, are computed where parameters are: once per
 * node of the machine; and what is computed from these, too. */
static bool is_left(const ntk_graph *graph, const ntk_node *node) {
  const ntk_value *y = &graph->values[node->outputs[0]];
  bool large = ntk_dtype_is_real(y->dtype) && ntk_shape_size(&y->shape) > MAX_FOLDED;
  bool follows = false;
  for (int i = 0; i < node->input_count; i++) {
    const ntk_value *x = node->inputs[i] < 0 ? NULL : &graph->values[node->inputs[i]];
    large = large && (!x || ntk_dtype_is_real(x->dtype));
    follows = follows || (x && !x->constant);
  }
  return (large || follows) && node->op->kernels[NTK_F32];
}

/* Infers the last node and folds it where nothing it reads can change. */
static ntk_status settle_node(ntk_builder *b) {
  ntk_status status = NTK_SUCCESS;
  ntk_graph *graph = b->graph;
  ntk_node *node = &graph->nodes[graph->node_count - 1];
  char cause[512];
  status = node->op->infer(graph, node);
  if (status != NTK_SUCCESS) {
    (void)snprintf(cause, sizeof cause, "%s", ntk_fail_message());
    status = ntk_fail(status == NTK_ERR_MEMORY ? status : NTK_ERR_UNSUPPORTED,
                      "%s: node '%s' (%s, opset %d): %s", b->import->path, node->name,
                      node->op->name, node->opset, cause);
    goto done;
  }
  NTK_TRY(check_size(b, node->outputs[0]));
  const ntk_role role = role_of(graph, node);
  for (int k = 0; k < node->output_count; k++)
    if (node->outputs[k] >= 0)
      graph->values[node->outputs[k]].role = role;
  if (graph->values[node->outputs[0]].constant) {
    drop_last_node(b);
  } else if (role == NTK_CONSTANT && !is_left(graph, node)) {
    NTK_TRY(fold(b, node));
    drop_last_node(b);
  }
done:
  return status;
}

static ntk_status new_node(ntk_builder *b, const char *name, const ntk_op *op, int opset,
                           int count, const int *inputs, int outputs, int *number) {
  ntk_status status = NTK_SUCCESS;
  ntk_text full = {0};
  NTK_TRY(ntk_text_add(&full, "%s%s", b->scope->prefix, name));
  NTK_TRY(ntk_graph_add_node(b->graph, full.data, op, count, outputs, number));
  ntk_node *node = &b->graph->nodes[*number];
  node->opset = opset;
  for (int i = 0; i < count; i++)
    node->inputs[i] = inputs[i];
done:
  ntk_text_clear(&full);
  return status;
}

/* A node without outputs, its attributes those of the file and `extra` integers. */
static ntk_status start_node(ntk_builder *b, const Onnx__NodeProto *proto, const ntk_op *op,
                             const int *inputs, int outputs, int extra, int *number) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(new_node(b, ntk_proto_name(proto), op, b->scope->opset, (int)proto->n_input,
                   inputs, outputs, number));
  ntk_node *node = &b->graph->nodes[*number];
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)proto->n_attribute + extra,
                     sizeof(ntk_attribute), &node->attributes));
  node->attribute_count = (int)proto->n_attribute + extra;
  for (size_t i = 0; i < proto->n_attribute; i++)
    NTK_TRY(copy_attribute(b, proto->attribute[i], &node->attributes[extra + (int)i]));
done:
  return status;
}

/* Unrolled loops and functions in functions end somewhere. */
ntk_status ntk_builder_count(ntk_builder *b) {
  if (++b->added > MAX_NODES)
    return ntk_fail(NTK_ERR_UNSUPPORTED,
                    "%s: more than %d nodes, functions and loops "
                    "written out",
                    b->import->path, MAX_NODES);
  return NTK_SUCCESS;
}

ntk_status ntk_builder_emit(ntk_builder *b, const char *name, const ntk_op *op, int opset,
                            int count, const int *inputs, ntk_attribute *attribute,
                            int *value) {
  ntk_status status = NTK_SUCCESS;
  ntk_text full = {0};
  int number;
  NTK_TRY(ntk_builder_count(b));
  NTK_TRY(new_node(b, name, op, opset, count, inputs, 1, &number));
  ntk_node *node = &b->graph->nodes[number];
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof(ntk_attribute), &node->attributes));
  if (attribute->name) {
    node->attributes[0] = *attribute;
    *attribute = (ntk_attribute){0};
    node->attribute_count = 1;
  }
  NTK_TRY(ntk_text_add(&full, "%s%s", b->scope->prefix, name));
  NTK_TRY(ntk_graph_add_value(b->graph, full.data, value));
  b->graph->values[*value].producer = number;
  b->graph->nodes[number].outputs[0] = *value;
  NTK_TRY(settle_node(b));
done:
  ntk_text_clear(&full);
  return status;
}

/* NTK_OP_PARTS: a node of its own for each output that something reads. */
static ntk_status add_parts(ntk_builder *b, const Onnx__NodeProto *proto, const ntk_op *op,
                            const int *inputs) {
  ntk_status status = NTK_SUCCESS;
  for (size_t k = 0; k < proto->n_output; k++) {
    const struct {
      const char *name;
      size_t number;
    } extra[] = {{"part", k}, {"parts", proto->n_output}};
    int number;
    if (!proto->output[k][0] || ntk_names_get(&b->scope->wanted, proto->output[k]) < 0)
      continue;
    NTK_TRY(start_node(b, proto, op, inputs, 1, 2, &number));
    for (int i = 0; i < 2; i++) {
      ntk_attribute *attribute = &b->graph->nodes[number].attributes[i];
      NTK_TRY(ntk_strdup(extra[i].name, &attribute->name));
      attribute->kind = NTK_ATTRIBUTE_INT;
      attribute->i = (int64_t)extra[i].number;
    }
    NTK_TRY(add_output(b, proto->output[k], number, 0));
    NTK_TRY(settle_node(b));
  }
done:
  return status;
}

static ntk_status add_node(ntk_builder *b, const Onnx__NodeProto *proto,
                           const int *inputs) {
  ntk_status status = NTK_SUCCESS;
  const ntk_op *op;
  int number;
  bool lowered;
  NTK_TRY(ntk_builder_count(b));
  NTK_TRY(ntk_lower_node(b, proto, inputs, &lowered));
  if (lowered)
    goto done;
  NTK_TRY(find_operator(b, proto, &op));
  if (op->flags & NTK_OP_PARTS)
    return add_parts(b, proto, op, inputs);
  NTK_TRY(start_node(b, proto, op, inputs, (int)proto->n_output, 0, &number));
  NTK_TRY(add_outputs(b, proto, number));
  NTK_TRY(settle_node(b));
done:
  return status;
}

/* An Identity of an initializer is a source of its own (design section 2), and so is a
 * Constant that is a parameter or was replaced. */
static ntk_status add_if_source(ntk_builder *b, const Onnx__NodeProto *proto, bool *added) {
  ntk_status status = NTK_SUCCESS;
  const bool is_file = b->scope == &b->root;
  const ntk_candidate *c =
      is_file ? ntk_candidate_named(b->import, proto->output[0]) : NULL;
  const bool is_identity = proto->op_type && strcmp(proto->op_type, "Identity") == 0;
  int v;
  *added = c && (is_identity || c->is_parameter || c->value);
  if (c)
    NTK_TRY(check_new(b, c->name));
  if (*added)
    NTK_TRY(add_source(b, c->name, c->tensor, &v));
done:
  return status;
}

/* Adds a node, unless its operands are not there yet. */
static ntk_status try_node(ntk_builder *b, const Onnx__NodeProto *proto, int *inputs,
                           bool *added) {
  ntk_status status = NTK_SUCCESS;
  ntk_references references = {0};
  bool ready;
  NTK_REQUIRE(proto->n_output > 0, NTK_ERR_FORMAT, "%s: node '%s' has no output",
              b->import->path, ntk_proto_name(proto));
  NTK_TRY(add_if_source(b, proto, added));
  if (*added)
    goto done;
  NTK_TRY(resolve_inputs(b, proto, inputs, &ready));
  if (!ready)
    goto done;
  NTK_TRY(ntk_references_resolve(b->scope, proto, &references));
  NTK_TRY(add_node(b, &references.node, inputs));
  *added = true;
done:
  ntk_references_clear(&references);
  return status;
}

ntk_status ntk_builder_add_nodes(ntk_builder *b, size_t count,
                                 Onnx__NodeProto *const *nodes, const bool *live) {
  ntk_status status = NTK_SUCCESS;
  bool *added = NULL;
  int *inputs = NULL;
  size_t most = 1, left = 0;
  for (size_t i = 0; i < count; i++) {
    if (nodes[i]->n_input > most)
      most = nodes[i]->n_input;
    left += live[i];
  }
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)count, sizeof *added, &added));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)most, sizeof *inputs, &inputs));
  for (size_t before = left + 1; left < before && left > 0;) {
    before = left;
    for (size_t i = 0; i < count; i++)
      if (live[i] && !added[i]) {
        NTK_TRY(try_node(b, nodes[i], inputs, &added[i]));
        left -= added[i];
      }
  }
  NTK_REQUIRE(left == 0, NTK_ERR_FORMAT,
              "%s: %zu nodes%s%s read each other's values, in a circle, or such as nothing "
              "produces",
              b->import->path, left, *b->scope->prefix ? " in " : "", b->scope->prefix);
done:
  ntk_free(&added);
  ntk_free(&inputs);
  return status;
}

static ntk_status add_graph_outputs(ntk_builder *b) {
  ntk_status status = NTK_SUCCESS;
  const ntk_import *import = b->import;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)import->output_count, sizeof(int),
                     &b->graph->outputs));
  for (size_t i = 0; i < import->output_count; i++) {
    const int64_t v = ntk_names_get(&b->root.values, import->outputs[i]->name);
    NTK_REQUIRE(v >= 0 && b->graph->values[v].role == NTK_DATA, NTK_ERR_UNSUPPORTED,
                "%s: output '%s' does not depend on the inputs", import->path,
                import->outputs[i]->name);
    NTK_REQUIRE(ntk_dtype_is_real(b->graph->values[v].dtype), NTK_ERR_UNSUPPORTED,
                "%s: output '%s' is not real", import->path, import->outputs[i]->name);
    NTK_REQUIRE(ntk_graph_size(b->graph, (int)v) > 0, NTK_ERR_UNSUPPORTED,
                "%s: output '%s' has no elements", import->path, import->outputs[i]->name);
    for (int k = 0; k < b->graph->output_count; k++)
      NTK_REQUIRE(b->graph->outputs[k] != v, NTK_ERR_UNSUPPORTED,
                  "%s: output '%s' is listed twice", import->path,
                  import->outputs[i]->name);
    b->graph->outputs[b->graph->output_count++] = (int)v;
  }
done:
  return status;
}

ntk_status ntk_graph_build(const ntk_import *import, int64_t batch, bool probe,
                           ntk_graph **out) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = import->graph;
  ntk_builder b = {.import = import, .batch = batch, .probe = probe};
  b.scope = &b.root;
  b.root.opset = import->opset;
  NTK_TRY(ntk_strdup("", &b.root.prefix));
  NTK_TRY(ntk_graph_create(&b.graph));
  for (int64_t i = 0; i < import->initializer_count; i++) {
    NTK_TRY(check_new(&b, import->initializers[i]->name));
    NTK_TRY(ntk_names_set(&b.initializers, import->initializers[i]->name, i));
  }
  NTK_TRY(ntk_names_copy(&import->wanted, &b.root.wanted));
  NTK_TRY(ntk_given_sizes_check(import));
  NTK_TRY(add_inputs(&b));
  NTK_TRY(ntk_builder_add_nodes(&b, g->n_node, g->node, import->live));
  NTK_TRY(add_graph_outputs(&b));
  NTK_TRY(ntk_graph_prune(b.graph));
  *out = b.graph;
  b.graph = NULL;
done:
  ntk_names_clear(&b.root.values);
  ntk_names_clear(&b.root.wanted);
  ntk_names_clear(&b.initializers);
  ntk_free(&b.root.prefix);
  ntk_graph_destroy(&b.graph);
  return status;
}

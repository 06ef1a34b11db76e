/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/import.h"
#include "onnx/names.h"
#include "onnx/tensors.h"
#include "ops/ops.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Of one value for one sample. */
static const int64_t MAX_ELEMENTS = (int64_t)1 << 31;

/* One graph under construction. */
typedef struct builder {
  const ntk_import *import;
  int64_t batch;
  bool probe;
  ntk_graph *graph;
  ntk_names values;       /* name -> value */
  ntk_names initializers; /* name -> initializer */
  ntk_names wanted;       /* names that live nodes or outputs read */
} builder;

static const char *node_name(const Onnx__NodeProto *node) {
  return node->name && *node->name ? node->name
         : node->n_output          ? node->output[0]
                                   : "(unnamed)";
}

/* ---- liveness -------------------------------------------------------------------------
 */

static ntk_status want_inputs(ntk_names *wanted, const Onnx__NodeProto *node) {
  ntk_status status = NTK_SUCCESS;
  for (size_t i = 0; i < node->n_input; i++)
    NTK_TRY(ntk_names_set(wanted, node->input[i], 1));
done:
  return status;
}

static ntk_status find_wanted(const ntk_import *import, ntk_names *wanted, bool *live) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = import->graph;
  for (size_t i = 0; i < g->n_output; i++)
    NTK_TRY(ntk_names_set(wanted, g->output[i]->name, 1));
  /* files list nodes in order, so that one pass from the end suffices; others take more */
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = g->n_node; i-- > 0;) {
      const Onnx__NodeProto *node = g->node[i];
      for (size_t k = 0; k < node->n_output && !live[i]; k++)
        if (node->output[k][0] && ntk_names_get(wanted, node->output[k]) >= 0) {
          live[i] = changed = true;
          NTK_TRY(want_inputs(wanted, node));
        }
    }
  }
done:
  return status;
}

static ntk_status list_values(const Onnx__GraphProto *g, ntk_names *values) {
  ntk_status status = NTK_SUCCESS;
  for (size_t i = 0; i < g->n_input; i++)
    NTK_TRY(ntk_names_set(values, g->input[i]->name, 1));
  for (size_t i = 0; i < g->n_initializer; i++)
    if (g->initializer[i]->name)
      NTK_TRY(ntk_names_set(values, g->initializer[i]->name, 1));
  for (size_t i = 0; i < g->n_node; i++)
    for (size_t k = 0; k < g->node[i]->n_output; k++)
      NTK_TRY(ntk_names_set(values, g->node[i]->output[k], 1));
  NTK_TRY(ntk_names_set(values, "", 1)); /* left out */
done:
  return status;
}

/* All that outputs need must be produced somewhere. */
static ntk_status check_produced(const ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = import->graph;
  ntk_names values = {0};
  NTK_TRY(list_values(g, &values));
  for (size_t i = 0; i < g->n_output; i++)
    NTK_REQUIRE(ntk_names_get(&values, g->output[i]->name) >= 0, NTK_ERR_FORMAT,
                "%s: nothing produces output '%s'", import->path, g->output[i]->name);
  for (size_t i = 0; i < g->n_node; i++)
    for (size_t k = 0; import->live[i] && k < g->node[i]->n_input; k++)
      NTK_REQUIRE(ntk_names_get(&values, g->node[i]->input[k]) >= 0, NTK_ERR_FORMAT,
                  "%s: node '%s' reads '%s', which nothing produces", import->path,
                  node_name(g->node[i]), g->node[i]->input[k]);
done:
  ntk_names_clear(&values);
  return status;
}

ntk_status ntk_graph_find_live(ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  ntk_names wanted = {0};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)import->graph->n_node, sizeof(bool),
                     &import->live));
  NTK_TRY(find_wanted(import, &wanted, import->live));
  NTK_TRY(check_produced(import));
done:
  ntk_names_clear(&wanted);
  return status;
}

/* ---- inputs and sources ---------------------------------------------------------------
 */

/* No initializer has this name. */
static ntk_status check_new(const builder *b, const char *name) {
  if (ntk_names_get(&b->initializers, name) >= 0)
    return ntk_fail(NTK_ERR_FORMAT, "%s: there are two values '%s'", b->import->path, name);
  return NTK_SUCCESS;
}

static ntk_status add_named_value(builder *b, const char *name, int *index) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(ntk_names_get(&b->values, name) < 0, NTK_ERR_FORMAT,
              "%s: there are two values '%s'", b->import->path, name);
  NTK_TRY(ntk_graph_add_value(b->graph, name, index));
  b->graph->values[*index].producer = -1;
  NTK_TRY(ntk_names_set(&b->values, name, *index));
done:
  return status;
}

/* What kernels count in int64 and indices in memory: no network is near it. */
static ntk_status check_size(const builder *b, int v) {
  const ntk_value *value = &b->graph->values[v];
  char shape[NTK_SHAPE_TEXT];
  if (ntk_shape_size(&value->shape) > MAX_ELEMENTS * b->batch)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "%s: value '%s' of shape %s is too large",
                    b->import->path, value->name, ntk_shape_text(&value->shape, shape));
  return NTK_SUCCESS;
}

static ntk_status add_inputs(builder *b) {
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
    if (ntk_names_get(&b->wanted, input->name) < 0)
      continue;
    NTK_TRY(add_named_value(b, input->name, &v));
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

/* An initializer, or a tensor that stands for one, as a constant or parameter. */
static ntk_status add_source(builder *b, const char *name, const Onnx__TensorProto *proto,
                             int *index) {
  ntk_status status = NTK_SUCCESS;
  const ntk_candidate *candidate = ntk_candidate_named(b->import, name);
  const bool is_parameter = candidate && candidate->is_parameter;
  NTK_TRY(add_named_value(b, name, index));
  ntk_value *value = &b->graph->values[*index];
  value->role = is_parameter ? NTK_PARAMETER : NTK_CONSTANT;
  NTK_TRY(ntk_onnx_dtype(proto->data_type, name, &value->dtype));
  NTK_TRY(ntk_onnx_shape(proto, &value->shape));
  if (!b->probe || !is_parameter)
    NTK_TRY(ntk_onnx_tensor(proto, b->import->folder, &value->constant));
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

static ntk_status copy_attribute(const builder *b, const Onnx__AttributeProto *from,
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
    NTK_TRY(ntk_onnx_tensor(from->t, b->import->folder, &to->tensor));
    break;
  default:
    status =
        ntk_fail(NTK_ERR_UNSUPPORTED, "attribute '%s' is of an unsupported kind", to->name);
  }
done:
  return status;
}

static ntk_status find_operator(const builder *b, const Onnx__NodeProto *proto,
                                const ntk_op **op) {
  const char *domain = proto->domain ? proto->domain : "";
  const char *type = proto->op_type ? proto->op_type : "";
  const bool standard = !*domain || strcmp(domain, "ai.onnx") == 0;
  const int opset = b->import->opset;
  const char *name = node_name(proto);
  *op = standard ? ntk_op_find(type) : NULL;
  if (!*op)
    return ntk_fail(NTK_ERR_UNSUPPORTED,
                    "%s: node '%s': operator %s%s%s (opset %d) is not supported",
                    b->import->path, name, domain, *domain ? "." : "", type, opset);
  if (opset < (*op)->first || opset > (*op)->last)
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

/* Names of operands as values; sources come in as they are read. *ready: all are known. */
static ntk_status resolve_inputs(builder *b, const Onnx__NodeProto *proto, int *inputs,
                                 bool *ready) {
  ntk_status status = NTK_SUCCESS;
  *ready = true;
  for (size_t i = 0; i < proto->n_input && *ready; i++) {
    int64_t v = -1;
    if (proto->input[i][0]) {
      v = ntk_names_get(&b->values, proto->input[i]);
      const int64_t source = ntk_names_get(&b->initializers, proto->input[i]);
      if (v < 0 && source >= 0) {
        int index = -1;
        NTK_TRY(
            add_source(b, proto->input[i], b->import->graph->initializer[source], &index));
        v = index;
      }
      *ready = v >= 0;
    }
    inputs[i] = (int)v;
  }
done:
  return status;
}

static ntk_status add_output(builder *b, const char *name, int number, int k) {
  ntk_status status = NTK_SUCCESS;
  int v = -1;
  NTK_TRY(check_new(b, name));
  NTK_TRY(add_named_value(b, name, &v));
  b->graph->values[v].producer = number;
  b->graph->nodes[number].outputs[k] = v;
done:
  return status;
}

static ntk_status add_outputs(builder *b, const Onnx__NodeProto *proto, int number) {
  ntk_status status = NTK_SUCCESS;
  const ntk_op *op = b->graph->nodes[number].op;
  for (size_t k = 0; k < proto->n_output; k++) {
    const bool used =
        proto->output[k][0] && (k == 0 || ntk_names_get(&b->wanted, proto->output[k]) >= 0);
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

static void drop_last_node(builder *b) {
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

static ntk_status fold(builder *b, const ntk_node *node) {
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

/* Infers the last node and folds it where nothing it reads can change. */
static ntk_status settle_node(builder *b) {
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
  } else if (role == NTK_CONSTANT) {
    NTK_TRY(fold(b, node));
    drop_last_node(b);
  }
done:
  return status;
}

/* A node without outputs, its attributes those of the file and `extra` integers. */
static ntk_status start_node(builder *b, const Onnx__NodeProto *proto, const ntk_op *op,
                             const int *inputs, int outputs, int extra, int *number) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_graph_add_node(b->graph, node_name(proto), op, (int)proto->n_input, outputs,
                             number));
  ntk_node *node = &b->graph->nodes[*number];
  node->opset = b->import->opset;
  for (int i = 0; i < node->input_count; i++)
    node->inputs[i] = inputs[i];
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)proto->n_attribute + extra,
                     sizeof(ntk_attribute), &node->attributes));
  node->attribute_count = (int)proto->n_attribute + extra;
  for (size_t i = 0; i < proto->n_attribute; i++)
    NTK_TRY(copy_attribute(b, proto->attribute[i], &node->attributes[extra + (int)i]));
done:
  return status;
}

/* NTK_OP_PARTS: a node of its own for each output that something reads. */
static ntk_status add_parts(builder *b, const Onnx__NodeProto *proto, const ntk_op *op,
                            const int *inputs) {
  ntk_status status = NTK_SUCCESS;
  for (size_t k = 0; k < proto->n_output; k++) {
    const struct {
      const char *name;
      size_t number;
    } extra[] = {{"part", k}, {"parts", proto->n_output}};
    int number;
    if (!proto->output[k][0] || ntk_names_get(&b->wanted, proto->output[k]) < 0)
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

static ntk_status add_node(builder *b, const Onnx__NodeProto *proto, const int *inputs) {
  ntk_status status = NTK_SUCCESS;
  const ntk_op *op;
  int number;
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
 * Constant that is a parameter. */
static ntk_status add_if_source(builder *b, const Onnx__NodeProto *proto, bool *added) {
  ntk_status status = NTK_SUCCESS;
  const ntk_candidate *c = ntk_candidate_named(b->import, proto->output[0]);
  const bool is_identity = proto->op_type && strcmp(proto->op_type, "Identity") == 0;
  int v;
  *added = c && (is_identity || c->is_parameter);
  if (c)
    NTK_TRY(check_new(b, c->name));
  if (*added)
    NTK_TRY(add_source(b, c->name, c->tensor, &v));
done:
  return status;
}

static ntk_status add_nodes(builder *b) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = b->import->graph;
  bool *added = NULL;
  int *inputs = NULL;
  size_t most = 1, left = 0;
  for (size_t i = 0; i < g->n_node; i++) {
    if (g->node[i]->n_input > most)
      most = g->node[i]->n_input;
    left += b->import->live[i];
  }
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)g->n_node, sizeof *added, &added));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)most, sizeof *inputs, &inputs));
  for (size_t before = left + 1; left < before && left > 0;) {
    before = left;
    for (size_t i = 0; i < g->n_node; i++) {
      bool ready;
      if (!b->import->live[i] || added[i])
        continue;
      NTK_TRY(add_if_source(b, g->node[i], &added[i]));
      if (!added[i]) {
        NTK_TRY(resolve_inputs(b, g->node[i], inputs, &ready));
        if (!ready)
          continue;
        NTK_TRY(add_node(b, g->node[i], inputs));
        added[i] = true;
      }
      left--;
    }
  }
  NTK_REQUIRE(left == 0, NTK_ERR_FORMAT,
              "%s: %zu nodes read each other's values, in a circle", b->import->path, left);
done:
  ntk_free(&added);
  ntk_free(&inputs);
  return status;
}

static ntk_status add_graph_outputs(builder *b) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = b->import->graph;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)g->n_output, sizeof(int),
                     &b->graph->outputs));
  for (size_t i = 0; i < g->n_output; i++) {
    const int64_t v = ntk_names_get(&b->values, g->output[i]->name);
    NTK_REQUIRE(v >= 0 && b->graph->values[v].role == NTK_DATA, NTK_ERR_UNSUPPORTED,
                "%s: output '%s' does not depend on the inputs", b->import->path,
                g->output[i]->name);
    NTK_REQUIRE(ntk_dtype_is_real(b->graph->values[v].dtype), NTK_ERR_UNSUPPORTED,
                "%s: output '%s' is not real", b->import->path, g->output[i]->name);
    for (int k = 0; k < b->graph->output_count; k++)
      NTK_REQUIRE(b->graph->outputs[k] != v, NTK_ERR_UNSUPPORTED,
                  "%s: output '%s' is listed twice", b->import->path, g->output[i]->name);
    b->graph->outputs[b->graph->output_count++] = (int)v;
  }
done:
  return status;
}

ntk_status ntk_graph_build(const ntk_import *import, int64_t batch, bool probe,
                           ntk_graph **out) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = import->graph;
  builder b = {.import = import, .batch = batch, .probe = probe};
  bool *live = NULL;
  NTK_TRY(ntk_graph_create(&b.graph));
  for (size_t i = 0; i < g->n_initializer; i++)
    if (g->initializer[i]->name) {
      NTK_TRY(check_new(&b, g->initializer[i]->name));
      NTK_TRY(ntk_names_set(&b.initializers, g->initializer[i]->name, (int64_t)i));
    }
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)g->n_node, sizeof *live, &live));
  NTK_TRY(ntk_given_sizes_check(import));
  NTK_TRY(find_wanted(import, &b.wanted, live));
  NTK_TRY(add_inputs(&b));
  NTK_TRY(add_nodes(&b));
  NTK_TRY(add_graph_outputs(&b));
  *out = b.graph;
  b.graph = NULL;
done:
  ntk_free(&live);
  ntk_names_clear(&b.values);
  ntk_names_clear(&b.initializers);
  ntk_names_clear(&b.wanted);
  ntk_graph_destroy(&b.graph);
  return status;
}

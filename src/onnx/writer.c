/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "onnx/writer.h"

#include "base/memory.h"
#include "base/text.h"
#include "onnx.pb-c.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OPSET = 17, IR_VERSION = 8 };

/* The message is a tree of small pieces that live and die together: a chain of them. */
typedef struct piece {
  struct piece *next;
  char padding[64 - sizeof(struct piece *)]; /* keeps the content aligned */
} piece;

struct ntk_writer {
  piece *pieces;
  int64_t bytes;
  char **parameters; /* names of the initializers that are parameters */
  size_t parameter_count;
  Onnx__ModelProto model;
  Onnx__GraphProto graph;
  Onnx__OperatorSetIdProto opset;
  Onnx__OperatorSetIdProto *opsets[1];
};

/* count * size bytes of zeros that live as long as the writer. */
static ntk_status keep(ntk_writer *writer, int64_t count, size_t size, void *out) {
  ntk_status status;
  NTK_REQUIRE(count >= 0 && (uint64_t)count < ((uint64_t)INT64_MAX - sizeof(piece)) / size,
              NTK_ERR_MEMORY, "a piece of an ONNX file is too large");
  piece *made = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count * (int64_t)size + (int64_t)sizeof(piece), 1,
                     &made));
  made->next = writer->pieces;
  writer->pieces = made;
  void *content = made + 1;
  memcpy(out, &content, sizeof content);
done:
  return status;
}

static ntk_status keep_text(ntk_writer *writer, const char *text, char **out) {
  ntk_status status;
  const size_t bytes = strlen(text) + 1;
  NTK_TRY(keep(writer, (int64_t)bytes, 1, out));
  memcpy(*out, text, bytes);
done:
  return status;
}

/* Appends to a list of pointers of a message; its room is a power of two. `list` and
 * `item` are addresses of pointers. */
static ntk_status append(ntk_writer *writer, size_t *count, void *list, const void *item) {
  ntk_status status = NTK_SUCCESS;
  if ((*count & (*count - 1)) == 0) { /* 0 or a power of two: full */
    void **grown = NULL, **old = NULL;
    NTK_TRY(keep(writer, *count ? 2 * (int64_t)*count : 1, sizeof(void *), &grown));
    memcpy(&old, list, sizeof old);
    if (*count)
      memcpy(grown, old, *count * sizeof(void *));
    memcpy(list, &grown, sizeof grown);
  }
  void **items = NULL;
  memcpy(&items, list, sizeof items);
  memcpy(items + *count, item, sizeof(void *));
  ++*count;
done:
  return status;
}

ntk_status ntk_writer_create(const char *graph_name, ntk_writer **out) {
  ntk_status status;
  ntk_writer *writer = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *writer, &writer));
  onnx__model_proto__init(&writer->model);
  onnx__graph_proto__init(&writer->graph);
  onnx__operator_set_id_proto__init(&writer->opset);
  NTK_TRY(keep_text(writer, graph_name, &writer->graph.name));
  NTK_TRY(keep_text(writer, "scantk", &writer->model.producer_name));
  NTK_TRY(keep_text(writer, "", &writer->opset.domain));
  writer->opset.has_version = 1;
  writer->opset.version = OPSET;
  writer->opsets[0] = &writer->opset;
  writer->model.has_ir_version = 1;
  writer->model.ir_version = IR_VERSION;
  writer->model.n_opset_import = 1;
  writer->model.opset_import = writer->opsets;
  writer->model.graph = &writer->graph;
  *out = writer;
  writer = NULL;
done:
  ntk_writer_destroy(&writer);
  return status;
}

void ntk_writer_destroy(ntk_writer **writer) {
  if (!*writer)
    return;
  for (piece *next, *at = (*writer)->pieces; at; at = next) {
    next = at->next;
    ntk_free(&at);
  }
  ntk_free(writer);
}

static ntk_status make_tensor(ntk_writer *writer, const ntk_shape *shape,
                              Onnx__TensorProto **out, float **elements) {
  ntk_status status;
  const int64_t n = ntk_shape_size(shape);
  Onnx__TensorProto *tensor = NULL;
  NTK_TRY(keep(writer, 1, sizeof *tensor, &tensor));
  onnx__tensor_proto__init(tensor);
  NTK_TRY(keep(writer, shape->ndim, sizeof *tensor->dims, &tensor->dims));
  if (shape->ndim)
    memcpy(tensor->dims, shape->dim, (size_t)shape->ndim * sizeof *tensor->dims);
  tensor->n_dims = (size_t)shape->ndim;
  NTK_TRY(keep(writer, n, sizeof **elements, elements));
  tensor->has_data_type = 1;
  tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor->has_raw_data = 1;
  tensor->raw_data.data = (uint8_t *)*elements;
  tensor->raw_data.len = (size_t)n * sizeof **elements;
  *out = tensor;
done:
  return status;
}

ntk_status ntk_writer_add_buffer(ntk_writer *writer, const char *name,
                                 const ntk_shape *shape, float **elements) {
  ntk_status status;
  Onnx__TensorProto *tensor = NULL;
  double bytes = sizeof(float);
  for (int i = 0; i < shape->ndim; ++i)
    bytes *= (double)shape->dim[i];
  NTK_REQUIRE((double)writer->bytes + bytes < 2147000000.0, NTK_ERR_ARGUMENT,
              "the parameters exceed the 2 GiB of an ONNX file at %s: make the network "
              "smaller (--width, --depth)",
              name);
  writer->bytes += (int64_t)bytes;
  NTK_TRY(make_tensor(writer, shape, &tensor, elements));
  NTK_TRY(keep_text(writer, name, &tensor->name));
  NTK_TRY(
      append(writer, &writer->graph.n_initializer, &writer->graph.initializer, &tensor));
done:
  return status;
}

ntk_status ntk_writer_add_parameter(ntk_writer *writer, const char *name,
                                    const ntk_shape *shape, float **elements) {
  ntk_status status;
  char *kept = NULL;
  NTK_TRY(ntk_writer_add_buffer(writer, name, shape, elements));
  NTK_TRY(keep_text(writer, name, &kept));
  NTK_TRY(append(writer, &writer->parameter_count, &writer->parameters, &kept));
done:
  return status;
}

ntk_status ntk_writer_add_node(ntk_writer *writer, const char *op, const char *output,
                               int input_count, const char *const inputs[]) {
  ntk_status status;
  Onnx__NodeProto *node = NULL;
  char *name = NULL;
  NTK_TRY(keep(writer, 1, sizeof *node, &node));
  onnx__node_proto__init(node);
  NTK_TRY(keep_text(writer, op, &node->op_type));
  NTK_TRY(keep_text(writer, output, &node->name));
  for (int i = 0; i < input_count; ++i) {
    NTK_TRY(keep_text(writer, inputs[i], &name));
    NTK_TRY(append(writer, &node->n_input, &node->input, &name));
  }
  NTK_TRY(append(writer, &node->n_output, &node->output, &node->name));
  NTK_TRY(append(writer, &writer->graph.n_node, &writer->graph.node, &node));
done:
  return status;
}

/* An attribute of the node added last. */
static ntk_status add_attribute(ntk_writer *writer, const char *name,
                                Onnx__AttributeProto__AttributeType type,
                                Onnx__AttributeProto **out) {
  ntk_status status;
  Onnx__AttributeProto *attribute = NULL;
  Onnx__NodeProto *node = writer->graph.node[writer->graph.n_node - 1];
  NTK_TRY(keep(writer, 1, sizeof *attribute, &attribute));
  onnx__attribute_proto__init(attribute);
  NTK_TRY(keep_text(writer, name, &attribute->name));
  attribute->has_type = 1;
  attribute->type = type;
  NTK_TRY(append(writer, &node->n_attribute, &node->attribute, &attribute));
  *out = attribute;
done:
  return status;
}

ntk_status ntk_writer_set_int(ntk_writer *writer, const char *name, int64_t value) {
  ntk_status status;
  Onnx__AttributeProto *attribute = NULL;
  NTK_TRY(
      add_attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT, &attribute));
  attribute->has_i = 1;
  attribute->i = value;
done:
  return status;
}

ntk_status ntk_writer_set_ints(ntk_writer *writer, const char *name, int64_t count,
                               const int64_t values[]) {
  ntk_status status;
  Onnx__AttributeProto *attribute = NULL;
  NTK_TRY(
      add_attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS, &attribute));
  NTK_TRY(keep(writer, count, sizeof *values, &attribute->ints));
  memcpy(attribute->ints, values, (size_t)count * sizeof *values);
  attribute->n_ints = (size_t)count;
done:
  return status;
}

ntk_status ntk_writer_set_string(ntk_writer *writer, const char *name, const char *value) {
  ntk_status status;
  Onnx__AttributeProto *attribute = NULL;
  const size_t length = strlen(value);
  NTK_TRY(add_attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING,
                        &attribute));
  NTK_TRY(keep(writer, (int64_t)length, 1, &attribute->s.data));
  memcpy(attribute->s.data, value, length);
  attribute->s.len = length;
  attribute->has_s = 1;
done:
  return status;
}

ntk_status ntk_writer_add_constant(ntk_writer *writer, const char *name, double value) {
  ntk_status status;
  Onnx__AttributeProto *attribute = NULL;
  const ntk_shape scalar = {0};
  float *element = NULL;
  NTK_TRY(ntk_writer_add_node(writer, "Constant", name, 0, NULL));
  NTK_TRY(add_attribute(writer, "value", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR,
                        &attribute));
  NTK_TRY(make_tensor(writer, &scalar, &attribute->t, &element));
  *element = (float)value;
done:
  return status;
}

/* Appends an axis: the symbol where there is one, else the size. */
static ntk_status add_axis(ntk_writer *writer, Onnx__TensorShapeProto *shape, int64_t size,
                           const char *symbol) {
  ntk_status status;
  Onnx__TensorShapeProto__Dimension *axis = NULL;
  NTK_TRY(keep(writer, 1, sizeof *axis, &axis));
  onnx__tensor_shape_proto__dimension__init(axis);
  if (symbol) {
    axis->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    NTK_TRY(keep_text(writer, symbol, &axis->dim_param));
  } else {
    axis->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    axis->dim_value = size;
  }
  NTK_TRY(append(writer, &shape->n_dim, &shape->dim, &axis));
done:
  return status;
}

static ntk_status make_value(ntk_writer *writer, const char *name, const ntk_shape *sample,
                             ntk_dtype type, Onnx__ValueInfoProto **out) {
  ntk_status status;
  Onnx__ValueInfoProto *value = NULL;
  Onnx__TypeProto__Tensor *tensor = NULL;
  NTK_TRY(keep(writer, 1, sizeof *value, &value));
  onnx__value_info_proto__init(value);
  NTK_TRY(keep_text(writer, name, &value->name));
  NTK_TRY(keep(writer, 1, sizeof *value->type, &value->type));
  onnx__type_proto__init(value->type);
  NTK_TRY(keep(writer, 1, sizeof *tensor, &tensor));
  onnx__type_proto__tensor__init(tensor);
  value->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  value->type->tensor_type = tensor;
  tensor->has_elem_type = 1;
  tensor->elem_type = type == NTK_I64 ? ONNX__TENSOR_PROTO__DATA_TYPE__INT64
                                      : ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  NTK_TRY(keep(writer, 1, sizeof *tensor->shape, &tensor->shape));
  onnx__tensor_shape_proto__init(tensor->shape);
  NTK_TRY(add_axis(writer, tensor->shape, 0, "batch"));
  for (int i = 0; i < sample->ndim; ++i)
    NTK_TRY(add_axis(writer, tensor->shape, sample->dim[i], NULL));
  *out = value;
done:
  return status;
}

ntk_status ntk_writer_add_input(ntk_writer *writer, const char *name,
                                const ntk_shape *sample, ntk_dtype type) {
  ntk_status status;
  Onnx__ValueInfoProto *value = NULL;
  NTK_TRY(make_value(writer, name, sample, type, &value));
  NTK_TRY(append(writer, &writer->graph.n_input, &writer->graph.input, &value));
done:
  return status;
}

ntk_status ntk_writer_add_output(ntk_writer *writer, const char *name,
                                 const ntk_shape *sample) {
  ntk_status status;
  Onnx__ValueInfoProto *value = NULL;
  NTK_TRY(make_value(writer, name, sample, NTK_F32, &value));
  NTK_TRY(append(writer, &writer->graph.n_output, &writer->graph.output, &value));
done:
  return status;
}

/* Metadata `scantk.parameters`: a JSON array of the parameters' names. */
static ntk_status add_metadata(ntk_writer *writer) {
  ntk_status status;
  ntk_text text = {0};
  Onnx__StringStringEntryProto *entry = NULL;
  NTK_TRY(ntk_text_add(&text, "["));
  for (size_t i = 0; i < writer->parameter_count; ++i) {
    NTK_TRY(ntk_text_add(&text, "%s", i ? ", " : ""));
    NTK_TRY(ntk_text_add_json(&text, writer->parameters[i]));
  }
  NTK_TRY(ntk_text_add(&text, "]"));
  NTK_TRY(keep(writer, 1, sizeof *entry, &entry));
  onnx__string_string_entry_proto__init(entry);
  NTK_TRY(keep_text(writer, "scantk.parameters", &entry->key));
  NTK_TRY(keep_text(writer, text.data, &entry->value));
  NTK_TRY(append(writer, &writer->model.n_metadata_props, &writer->model.metadata_props,
                 &entry));
done:
  ntk_text_clear(&text);
  return status;
}

static ntk_status write_file(const char *path, const uint8_t *bytes, size_t size) {
  ntk_status status = NTK_SUCCESS;
  FILE *file = fopen(path, "wb");
  NTK_REQUIRE(file, NTK_ERR_FILE, "%s: cannot be written: %s", path, strerror(errno));
  if (fwrite(bytes, 1, size, file) != size || fflush(file) != 0 || fsync(fileno(file)) != 0)
    status = ntk_fail(NTK_ERR_FILE, "%s: write failed: %s", path, strerror(errno));
  if (fclose(file) != 0 && status == NTK_SUCCESS)
    status = ntk_fail(NTK_ERR_FILE, "%s: write failed: %s", path, strerror(errno));
  if (status != NTK_SUCCESS)
    remove(path);
done:
  return status;
}

ntk_status ntk_writer_save(ntk_writer *writer, const char *path) {
  ntk_status status;
  uint8_t *bytes = NULL;
  ntk_text temporary = {0};
  NTK_TRY(add_metadata(writer));
  const size_t size = onnx__model_proto__get_packed_size(&writer->model);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)size, 1, &bytes));
  onnx__model_proto__pack(&writer->model, bytes);
  NTK_TRY(ntk_text_add(&temporary, "%s.new", path));
  NTK_TRY(write_file(temporary.data, bytes, size));
  if (rename(temporary.data, path) != 0) {
    status = ntk_fail(NTK_ERR_FILE, "%s: cannot be written: %s", path, strerror(errno));
    remove(temporary.data);
  }
done:
  ntk_text_clear(&temporary);
  ntk_free(&bytes);
  return status;
}

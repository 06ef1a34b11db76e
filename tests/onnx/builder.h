/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ONNX_BUILDER_H
#define TESTS_ONNX_BUILDER_H

#include "onnx.pb-c.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Small ONNX models piece by piece. All pieces come from malloc, so that
 * onnx__model_proto__free_unpacked frees a whole model. Shapes and lists are words between
 * blanks: "batch 3 8 8". */

/* Room for one more in a list of `size` bytes an item; returns its place. */
static inline void *list_grow(void *list, size_t *count, size_t size) {
  void *old, *grown;
  memcpy(&old, list, sizeof old);
  grown = realloc(old, (*count + 1) * size);
  memcpy(list, &grown, sizeof grown);
  return (char *)grown + (*count)++ * size;
}

/* Next word of a text, as a copy; NULL at its end. */
static inline char *next_word(const char **text) {
  while (**text == ' ')
    ++*text;
  const size_t length = strcspn(*text, " ");
  if (length == 0)
    return NULL;
  char *word = strndup(*text, length);
  *text += length;
  return word;
}

#define NEW_PIECE(type, init, name)                                                        \
  type *name = malloc(sizeof *name);                                                       \
  init(name)
#define APPEND(list, count, item)                                                          \
  memcpy(list_grow(&(list), &(count), sizeof *(list)), &(item), sizeof(item))

static inline Onnx__ModelProto *model_new(int64_t opset) {
  NEW_PIECE(Onnx__ModelProto, onnx__model_proto__init, model);
  NEW_PIECE(Onnx__OperatorSetIdProto, onnx__operator_set_id_proto__init, version);
  model->has_ir_version = 1;
  model->ir_version = 8;
  model->graph = malloc(sizeof *model->graph);
  onnx__graph_proto__init(model->graph);
  version->has_version = 1;
  version->version = opset;
  APPEND(model->opset_import, model->n_opset_import, version);
  return model;
}

static inline void model_free(Onnx__ModelProto *model) {
  onnx__model_proto__free_unpacked(model, NULL);
}

static inline void add_entry(Onnx__ModelProto *model, const char *key, const char *value) {
  NEW_PIECE(Onnx__StringStringEntryProto, onnx__string_string_entry_proto__init, entry);
  entry->key = strdup(key);
  entry->value = strdup(value);
  APPEND(model->metadata_props, model->n_metadata_props, entry);
}

static inline Onnx__TensorProto *tensor_new(const char *name, int type, const char *shape) {
  NEW_PIECE(Onnx__TensorProto, onnx__tensor_proto__init, tensor);
  tensor->name = strdup(name);
  tensor->has_data_type = 1;
  tensor->data_type = type;
  for (char *word; (word = next_word(&shape)); free(word)) {
    const int64_t size = strtoll(word, NULL, 10);
    APPEND(tensor->dims, tensor->n_dims, size);
  }
  return tensor;
}

static inline size_t tensor_size(const Onnx__TensorProto *tensor) {
  size_t n = 1;
  for (size_t i = 0; i < tensor->n_dims; i++)
    n *= (size_t)tensor->dims[i];
  return n;
}

/* Raw f32 elements: `value`, or different ones where it is NaN. */
static inline void fill_floats(Onnx__TensorProto *tensor, double value) {
  const size_t n = tensor_size(tensor);
  float *elements = malloc((n ? n : 1) * sizeof *elements);
  for (size_t i = 0; i < n; i++)
    elements[i] = (float)(isnan(value) ? 0.5 * sin(1 + 3.7 * (double)i) : value);
  free(tensor->raw_data.data);
  tensor->has_raw_data = 1;
  tensor->raw_data.data = (uint8_t *)elements;
  tensor->raw_data.len = n * sizeof *elements;
}

static inline Onnx__TensorProto *add_initializer(Onnx__ModelProto *model,
                                                 Onnx__TensorProto *tensor) {
  APPEND(model->graph->initializer, model->graph->n_initializer, tensor);
  return tensor;
}

/* An initializer of different f32 numbers, and one of equal ones. */
static inline Onnx__TensorProto *add_floats(Onnx__ModelProto *model, const char *name,
                                            const char *shape) {
  Onnx__TensorProto *tensor = tensor_new(name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, shape);
  fill_floats(tensor, (double)NAN);
  return add_initializer(model, tensor);
}
static inline Onnx__TensorProto *add_equal(Onnx__ModelProto *model, const char *name,
                                           const char *shape, double value) {
  Onnx__TensorProto *tensor = add_floats(model, name, shape);
  fill_floats(tensor, value);
  return tensor;
}

/* int64 numbers in a row; without axes where `scalar`. */
static inline Onnx__TensorProto *integers_new(const char *name, const char *list,
                                              bool scalar) {
  Onnx__TensorProto *tensor = tensor_new(name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, "");
  for (char *word; (word = next_word(&list)); free(word)) {
    const int64_t number = strtoll(word, NULL, 10);
    APPEND(tensor->int64_data, tensor->n_int64_data, number);
  }
  const int64_t count = (int64_t)tensor->n_int64_data;
  if (!scalar)
    APPEND(tensor->dims, tensor->n_dims, count);
  return tensor;
}
static inline void add_integers(Onnx__ModelProto *model, const char *name,
                                const char *list) {
  (void)add_initializer(model, integers_new(name, list, false));
}

/* Inputs and outputs are lists of names, "-" for one left out. */
static inline Onnx__NodeProto *add_node(Onnx__ModelProto *model, const char *op,
                                        const char *inputs, const char *outputs) {
  NEW_PIECE(Onnx__NodeProto, onnx__node_proto__init, node);
  node->op_type = strdup(op);
  for (char *word; (word = next_word(&inputs));) {
    if (strcmp(word, "-") == 0)
      *word = '\0';
    APPEND(node->input, node->n_input, word);
  }
  for (char *word; (word = next_word(&outputs));)
    APPEND(node->output, node->n_output, word);
  APPEND(model->graph->node, model->graph->n_node, node);
  return node;
}

static inline Onnx__AttributeProto *
add_attribute(Onnx__NodeProto *node, const char *name,
              Onnx__AttributeProto__AttributeType type) {
  NEW_PIECE(Onnx__AttributeProto, onnx__attribute_proto__init, attribute);
  attribute->name = strdup(name);
  attribute->has_type = 1;
  attribute->type = type;
  APPEND(node->attribute, node->n_attribute, attribute);
  return attribute;
}
static inline void set_int(Onnx__NodeProto *node, const char *name, int64_t value) {
  Onnx__AttributeProto *attribute =
      add_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  attribute->has_i = 1;
  attribute->i = value;
}
static inline void set_ints(Onnx__NodeProto *node, const char *name, const char *list) {
  Onnx__AttributeProto *attribute =
      add_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  for (char *word; (word = next_word(&list)); free(word)) {
    const int64_t number = strtoll(word, NULL, 10);
    APPEND(attribute->ints, attribute->n_ints, number);
  }
}
static inline void set_tensor(Onnx__NodeProto *node, Onnx__TensorProto *tensor) {
  add_attribute(node, "value", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t = tensor;
}

/* Axes: a number, a symbol, or "?" for one of which nothing is known. */
static inline Onnx__ValueInfoProto *value_new(const char *name, const char *shape) {
  NEW_PIECE(Onnx__ValueInfoProto, onnx__value_info_proto__init, value);
  NEW_PIECE(Onnx__TypeProto, onnx__type_proto__init, type);
  NEW_PIECE(Onnx__TypeProto__Tensor, onnx__type_proto__tensor__init, tensor);
  NEW_PIECE(Onnx__TensorShapeProto, onnx__tensor_shape_proto__init, axes);
  value->name = strdup(name);
  value->type = type;
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = tensor;
  tensor->has_elem_type = 1;
  tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor->shape = axes;
  for (char *word; (word = next_word(&shape));) {
    NEW_PIECE(Onnx__TensorShapeProto__Dimension, onnx__tensor_shape_proto__dimension__init,
              axis);
    if (isdigit((unsigned char)*word)) {
      axis->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
      axis->dim_value = strtoll(word, NULL, 10);
    } else if (*word != '?') {
      axis->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
      axis->dim_param = strdup(word);
    }
    free(word);
    APPEND(axes->dim, axes->n_dim, axis);
  }
  return value;
}
static inline Onnx__ValueInfoProto *add_input(Onnx__ModelProto *model, const char *name,
                                              const char *shape) {
  Onnx__ValueInfoProto *value = value_new(name, shape);
  APPEND(model->graph->input, model->graph->n_input, value);
  return value;
}
static inline void add_output(Onnx__ModelProto *model, const char *name) {
  Onnx__ValueInfoProto *value = value_new(name, "");
  APPEND(model->graph->output, model->graph->n_output, value);
}

/* The model as bytes, to be freed. */
static inline uint8_t *model_pack(const Onnx__ModelProto *model, size_t *size) {
  *size = onnx__model_proto__get_packed_size(model);
  uint8_t *bytes = malloc(*size ? *size : 1);
  (void)onnx__model_proto__pack(model, bytes);
  return bytes;
}

/* x [batch, 6] -> 5 -> relu -> 3: 53 parameters. */
static inline Onnx__ModelProto *mlp_new(void) {
  Onnx__ModelProto *model = model_new(17);
  add_input(model, "x", "batch 6");
  (void)add_floats(model, "w1", "6 5");
  (void)add_floats(model, "b1", "5");
  (void)add_floats(model, "w2", "3 5");
  (void)add_floats(model, "b2", "3");
  (void)add_node(model, "MatMul", "x w1", "h1");
  (void)add_node(model, "Add", "h1 b1", "h2");
  (void)add_node(model, "Relu", "h2", "h3");
  set_int(add_node(model, "Gemm", "h3 w2 b2", "y"), "transB", 1);
  add_output(model, "y");
  return model;
}

/* x [batch, 2, 6, 6] -> 3x3 convolution to 4 -> relu -> pooling -> 3: 187 parameters. */
static inline Onnx__ModelProto *cnn_new(void) {
  Onnx__ModelProto *model = model_new(17);
  add_input(model, "x", "batch 2 6 6");
  (void)add_floats(model, "conv.weight", "4 2 3 3");
  (void)add_floats(model, "conv.bias", "4");
  (void)add_floats(model, "head.weight", "3 36");
  (void)add_floats(model, "head.bias", "3");
  Onnx__NodeProto *conv = add_node(model, "Conv", "x conv.weight conv.bias", "c");
  set_ints(conv, "pads", "1 1 1 1");
  (void)add_node(model, "Relu", "c", "r");
  Onnx__NodeProto *pool = add_node(model, "MaxPool", "r", "p");
  set_ints(pool, "kernel_shape", "2 2");
  set_ints(pool, "strides", "2 2");
  (void)add_node(model, "Flatten", "p", "f");
  set_int(add_node(model, "Gemm", "f head.weight head.bias", "y"), "transB", 1);
  add_output(model, "y");
  return model;
}

#endif

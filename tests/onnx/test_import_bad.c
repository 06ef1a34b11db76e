/* SPDX-License-Identifier: Apache-2.0 */
/* timeout: 600 */
#include "onnx/checks.h"

#include <unistd.h>

/* Files that are damaged, hostile or beyond what is understood: an error with one line, or
 * a model; never a crash, never a giant allocation. */

/* Reads bytes that may be anything. */
static void try_bytes(const uint8_t *bytes, size_t size, const char *what, size_t where) {
  ntk_model *model = NULL;
  const int64_t before = ntk_memory_used_total();
  const ntk_status status = ntk_model_from_memory(context, bytes, size, NULL, &model);
  const char *message = ntk_context_error(context);
  if (status == NTK_SUCCESS) {
    assert_true(ntk_model_get_info(model).outputs > 0);
  } else {
    if (status != NTK_ERR_FORMAT && status != NTK_ERR_UNSUPPORTED &&
        status != NTK_ERR_SHAPE && status != NTK_ERR_ARGUMENT &&
        status != NTK_ERR_NO_PARAMETERS && status != NTK_ERR_MEMORY)
      fail_msg("%s at %zu: status %d: %s", what, where, (int)status, message);
    if (!*message || strpbrk(message, "\n\r\t\033"))
      fail_msg("%s at %zu: message '%s'", what, where, message);
    assert_null(model);
  }
  ntk_model_destroy(&model);
  if (ntk_memory_used_total() != before)
    fail_msg("%s at %zu: memory is lost", what, where);
}

/* A network with shape arithmetic, attributes of several kinds, an Identity and metadata.
 */
static Onnx__ModelProto *rich_new(void) {
  Onnx__ModelProto *proto = cnn_new();
  Onnx__GraphProto *g = proto->graph;
  free(g->output[0]->name);
  g->output[0]->name = strdup("out");
  proto->producer_name = strdup("pytorch");
  (void)add_equal(proto, "gain", "3", 1);
  (void)add_node(proto, "Identity", "gain", "gain2");
  (void)add_node(proto, "Mul", "y gain", "m1");
  (void)add_node(proto, "Mul", "m1 gain2", "m2");
  (void)add_node(proto, "Shape", "m2", "s");
  set_tensor(add_node(proto, "Constant", "", "zero"), integers_new("", "0", true));
  (void)add_node(proto, "Gather", "s zero", "n");
  set_tensor(add_node(proto, "Constant", "", "axes"), integers_new("", "0", false));
  (void)add_node(proto, "Unsqueeze", "n axes", "n1");
  add_integers(proto, "rest", "-1");
  set_int(add_node(proto, "Concat", "n1 rest", "to"), "axis", 0);
  (void)add_node(proto, "Reshape", "m2 to", "r2");
  set_ints(add_node(proto, "Transpose", "r2", "t1"), "perm", "1 0");
  set_ints(add_node(proto, "Transpose", "t1", "t2"), "perm", "1 0");
  set_int(add_node(proto, "Softmax", "t2", "out"), "axis", 1);
  add_entry(proto, "author", "nobody");
  return proto;
}

static void test_truncation(void **state) {
  (void)state;
  Onnx__ModelProto *const protos[] = {mlp_new(), rich_new()};
  for (int i = 0; i < 2; i++) {
    size_t size;
    uint8_t *bytes = model_pack(protos[i], &size);
    ntk_model *model = read_model(protos[i], NULL); /* valid as a whole */
    ntk_model_destroy(&model);
    for (size_t length = 0; length < size; length++) {
      /* a block of its own, so that a read past its end is seen */
      uint8_t *part = malloc(length ? length : 1);
      memcpy(part, bytes, length);
      try_bytes(part, length, "truncated", length);
      free(part);
    }
    free(bytes);
    model_free(protos[i]);
  }
}

/* One to three bytes changed at places that depend on nothing but the count. */
static void damage(Onnx__ModelProto *proto, int rounds, uint64_t seed) {
  size_t size;
  uint8_t *bytes = model_pack(proto, &size);
  uint64_t x = seed;
  for (int i = 0; i < rounds; i++) {
    size_t at[3];
    uint8_t old[3];
    const int changes = i % 3 + 1;
    for (int k = 0; k < changes; k++) {
      x = x * 6364136223846793005u + 1442695040888963407u;
      at[k] = (size_t)(x >> 33) % size;
      old[k] = bytes[at[k]];
      bytes[at[k]] ^= (uint8_t)(i % 2 ? 1u << (x >> 29 & 7) : x >> 24 | 1);
    }
    try_bytes(bytes, size, "damaged", (size_t)i);
    for (int k = changes; k-- > 0;)
      bytes[at[k]] = old[k];
  }
  free(bytes);
}

static void test_changed_bytes(void **state) {
  (void)state;
  Onnx__ModelProto *proto = rich_new();
  damage(proto, 6000, 1);
  model_free(proto);
  /* few weights, so that most bytes steer something */
  proto = mlp_new();
  for (int i = 0; i < 4; i++) {
    Onnx__TensorProto *t = proto->graph->initializer[i];
    for (size_t d = 0; d < t->n_dims; d++)
      t->dims[d] = 1;
    fill_floats(t, 0.25);
  }
  proto->graph->input[0]->type->tensor_type->shape->dim[1]->dim_value = 1;
  proto->producer_name = strdup("pytorch");
  damage(proto, 6000, 2);
  model_free(proto);
}

/* Each bit of the structure, without the weights' bytes. */
static void test_every_bit(void **state) {
  (void)state;
  Onnx__ModelProto *proto = rich_new();
  Onnx__GraphProto *g = proto->graph;
  for (size_t i = 0; i < g->n_initializer; i++)
    g->initializer[i]->doc_string = strdup("#");
  size_t size;
  uint8_t *bytes = model_pack(proto, &size);
  for (size_t at = 0; at < size; at++) {
    if (at > 200 && at + 3200 < size)
      at += 16; /* thinly through the elements */
    for (int bit = 0; bit < 8; bit++) {
      bytes[at] ^= (uint8_t)(1u << bit);
      try_bytes(bytes, size, "bit changed", at);
      bytes[at] ^= (uint8_t)(1u << bit);
    }
  }
  free(bytes);
  model_free(proto);
}

/* ---- what is no model -----------------------------------------------------------------
 */

static void bytes_refused(const void *bytes, size_t size, const char *text) {
  ntk_model *model = NULL;
  assert_int_equal(ntk_model_from_memory(context, bytes, size, NULL, &model),
                   NTK_ERR_FORMAT);
  check_message(text);
  char path[64];
  (void)snprintf(path, sizeof path, "/tmp/scantk-bad-%d.onnx", (int)getpid());
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(ntk_model_read(context, path, NULL, &model), NTK_ERR_FORMAT);
  check_message(path);
  (void)remove(path);
}

static void test_no_models(void **state) {
  (void)state;
  static const char text[] = "This is a text, and not a network.\nIt has two lines.\n";
  static const uint8_t zeros[64];
  bytes_refused("", 0, "empty");
  bytes_refused(text, sizeof text - 1, "not an ONNX model");
  bytes_refused("\x89HDF\r\n\x1a\n", 8, "not an ONNX model");
  bytes_refused(zeros, sizeof zeros, "not an ONNX model");
  bytes_refused("\x08\x08", 2, "no graph");
  ntk_model *model = NULL;
  assert_int_equal(ntk_model_read(context, "/nonexistent/m.onnx", NULL, &model),
                   NTK_ERR_FILE);
  check_message("/nonexistent/m.onnx");
  assert_int_equal(ntk_model_read(context, "/tmp", NULL, &model), NTK_ERR_FILE);
  check_message("/tmp");
}

/* Wraps bytes into a field of a message. */
static size_t wrap(uint8_t *bytes, size_t size, uint32_t field) {
  uint8_t head[16];
  size_t length = 0;
  for (uint32_t tag = field << 3 | 2; tag || !length; tag >>= 7)
    head[length++] = (uint8_t)(tag & 0x7f) | (tag >> 7 ? 0x80 : 0);
  for (size_t rest = size, first = 1; rest || first; rest >>= 7, first = 0)
    head[length++] = (uint8_t)(rest & 0x7f) | (rest >> 7 ? 0x80 : 0);
  memmove(bytes + length, bytes, size);
  memcpy(bytes, head, length);
  return size + length;
}

/* Messages in messages: graphs in attributes, types of sequences, training graphs. */
static void test_deep_nesting(void **state) {
  (void)state;
  static const struct {
    uint32_t cycle[4], top[5];       /* fields, the inner one first; 0 ends */
  } ways[] = {{{6, 5, 1}, {7}},      /* attribute.g < node < graph */
              {{1, 4}, {2, 11, 7}},  /* type < sequence */
              {{11, 5, 1}, {1, 20}}, /* the first below a training graph */
              {{6, 5, 1}, {6, 5, 7, 25}} /* and below a function */};
  uint8_t *bytes = malloc((size_t)4 << 20);
  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
    for (int depth = 200; depth <= 20000; depth *= 10) {
      size_t size = 0;
      for (int d = 0; d < depth / 3; d++)
        for (int k = 0; ways[w].cycle[k]; k++)
          size = wrap(bytes, size, ways[w].cycle[k]);
      for (int k = 0; ways[w].top[k]; k++)
        size = wrap(bytes, size, ways[w].top[k]);
      bytes_refused(bytes, size, "nested");
    }
  free(bytes);
}

/* ---- models that say what cannot be ---------------------------------------------------
 */

static void set_name(char **name, const char *value) {
  free(*name);
  *name = strdup(value);
}

static void test_unknown_operators(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  set_name(&proto->graph->node[2]->op_type, "FancyRelu");
  proto->graph->node[2]->name = strdup("layer3/act");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED,
                 "node 'layer3/act': operator FancyRelu (opset 17)");
  proto = mlp_new();
  set_name(&proto->graph->node[2]->op_type, "FancyRelu");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "node 'h3'");
  proto = mlp_new();
  proto->graph->node[2]->domain = strdup("com.microsoft");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "com.microsoft.Relu");
  proto = mlp_new();
  proto->graph->node[2]->domain = strdup("ai.onnx");
  expect_parameters(proto, NULL, 53);
  proto = mlp_new();
  proto->opset_import[0]->version = 99;
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "opset 99");
  proto = mlp_new();
  proto->opset_import[0]->version = ((int64_t)1 << 32) + 17;
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "opset");
  proto = mlp_new();
  proto->opset_import[0]->domain = strdup("com.microsoft");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "operator set");
  proto = mlp_new();
  set_name(&proto->graph->node[2]->op_type, "two\nlines\033[31m");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "two?lines?[31m");
}

static void test_wrong_nodes(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  Onnx__GraphProto *g = proto->graph;
  char *extra = strdup("b1");
  APPEND(g->node[2]->input, g->node[2]->n_input, extra);
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "2 inputs");
  proto = mlp_new();
  set_name(&proto->graph->node[0]->input[1], "");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "'h1'");
  proto = mlp_new();
  add_attribute(proto->graph->node[2], "body",
                ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "'body'");
  proto = mlp_new();
  set_tensor(proto->graph->node[2], NULL);
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "no tensor");
}

static void test_wrong_graphs(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  set_name(&proto->graph->output[0]->name, "z");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "'z'");
  proto = mlp_new();
  add_output(proto, "y");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "twice");
  proto = mlp_new();
  set_name(&proto->graph->node[1]->input[1], "y"); /* h2 = h1 + y */
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "circle");
  proto = mlp_new();
  set_name(&proto->graph->node[1]->input[0], "missing");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "'missing'");
  proto = mlp_new();
  (void)add_node(proto, "Relu", "h1", "h2");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "two values 'h2'");
  proto = mlp_new();
  (void)add_node(proto, "Relu", "h1", "b1");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "two values 'b1'");
  proto = mlp_new();
  (void)add_floats(proto, "b1", "5");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "two values 'b1'");
  proto = mlp_new();
  (void)add_node(proto, "Identity", "b1", "b2");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "two values 'b2'");
  proto = mlp_new();
  add_input(proto, "x", "batch 6");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "two values 'x'");
  proto = mlp_new();
  free(proto->graph->output[0]->name);
  proto->graph->output[0]->name = NULL;
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "no name");
  proto = mlp_new();
  onnx__value_info_proto__free_unpacked(proto->graph->output[0], NULL);
  proto->graph->n_output = 0;
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "no output");
  proto = mlp_new();
  onnx__value_info_proto__free_unpacked(proto->graph->input[0], NULL);
  proto->graph->n_input = 0;
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "'x'");
}

static void test_wrong_inputs(void **state) {
  (void)state;
  static const char *const shapes[] = {
      "batch 0",           "0 6",
      "batch 7",           "batch 99999999999",
      "1 2 3 4 5 6 7 8 6", "batch 4000000000 4000000000 6"};
  static const ntk_status expected[] = {NTK_ERR_FORMAT,      NTK_ERR_FORMAT,
                                        NTK_ERR_UNSUPPORTED, NTK_ERR_UNSUPPORTED,
                                        NTK_ERR_UNSUPPORTED, NTK_ERR_UNSUPPORTED};
  static const char *const texts[] = {"'x'", "'x'", "'h1'", "'x'", "'x'", "'x'"};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    Onnx__ModelProto *proto = mlp_new();
    onnx__value_info_proto__free_unpacked(proto->graph->input[0], NULL);
    proto->graph->input[0] = value_new("x", shapes[i]);
    expect_refused(proto, NULL, expected[i], texts[i]);
  }
  Onnx__ModelProto *proto = mlp_new();
  onnx__type_proto__free_unpacked(proto->graph->input[0]->type, NULL);
  proto->graph->input[0]->type = NULL;
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "'x' is not a tensor");
  proto = mlp_new();
  Onnx__TypeProto__Tensor *type = proto->graph->input[0]->type->tensor_type;
  onnx__tensor_shape_proto__free_unpacked(type->shape, NULL);
  type->shape = NULL;
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "'x' has no shape");
  proto = mlp_new();
  proto->graph->input[0]->type->tensor_type->elem_type = 8;
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "'x': element type string");
}

/* Element types: of a newer format by name, unknown ones by number. */
static void test_element_types(void **state) {
  (void)state;
  static const struct {
    int32_t type;
    const char *text;
  } cases[] = {{22, "'b1': element type int4 is"},
               {17, "float8e4m3fn"},
               {14, "complex64"},
               {8, "string"},
               {0, "undefined"},
               {77, "number 77"},
               {-3, "number -3"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Onnx__ModelProto *proto = mlp_new();
    proto->graph->initializer[1]->data_type = cases[i].type;
    expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, cases[i].text);
  }
}

static void test_wrong_shapes(void **state) {
  (void)state;
  static const struct {
    int tensor;
    const char *shape, *node;
  } cases[] = {{0, "7 5", "'h1' (MatMul"},
               {1, "6", "'h2' (Add"},
               {2, "3 6", "'y' (Gemm"},
               {2, "3 5 1", "'y' (Gemm"},
               {3, "4", "'y' (Gemm"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Onnx__ModelProto *proto = mlp_new();
    Onnx__TensorProto **t = &proto->graph->initializer[cases[i].tensor];
    Onnx__TensorProto *other =
        tensor_new((*t)->name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, cases[i].shape);
    fill_floats(other, (double)NAN);
    onnx__tensor_proto__free_unpacked(*t, NULL);
    *t = other;
    expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, cases[i].node);
  }
  Onnx__ModelProto *proto = cnn_new();
  set_ints(proto->graph->node[0], "strides", "0 1");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "(Conv");
  proto = cnn_new();
  set_int(proto->graph->node[0], "group", 0);
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "(Conv");
  proto = cnn_new();
  set_int(proto->graph->node[3], "axis", 17);
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "(Flatten");
}

/* The number of elements and the data must agree. */
static void test_wrong_lengths(void **state) {
  (void)state;
  for (int delta = -4; delta <= 4; delta += 8) {
    Onnx__ModelProto *proto = mlp_new();
    Onnx__TensorProto *t = proto->graph->initializer[0];
    t->raw_data.data = realloc(t->raw_data.data, t->raw_data.len + 4);
    memset(t->raw_data.data + t->raw_data.len, 0, 4);
    t->raw_data.len += (size_t)delta;
    expect_refused(proto, NULL, NTK_ERR_FORMAT, "'w1'");
  }
  Onnx__ModelProto *proto = mlp_new();
  Onnx__TensorProto *t = proto->graph->initializer[0];
  free(t->raw_data.data);
  t->raw_data.data = NULL;
  t->has_raw_data = 0;
  for (int i = 0; i < 29; i++) {
    const float value = 1;
    APPEND(t->float_data, t->n_float_data, value);
  }
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "'w1'");
  /* the data in the field of another type */
  proto = mlp_new();
  t = proto->graph->initializer[1];
  free(t->raw_data.data);
  t->raw_data.data = NULL;
  t->has_raw_data = 0;
  for (int i = 0; i < 5; i++) {
    const double value = 1;
    APPEND(t->double_data, t->n_double_data, value);
  }
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "'b1'");
}

/* Sizes that overflow, and such as only a giant machine could hold. */
static void test_huge_shapes(void **state) {
  (void)state;
  static const char *const shapes[] = {"4294967296 4294967296",
                                       "9223372036854775807 2",
                                       "9223372036854775807",
                                       "1000000000000",
                                       "-6 -5",
                                       "6 5 1 1 1 1 1 1 1"};
  const int64_t peak = ntk_memory_peak_total();
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int raw = 0; raw < 2; raw++) {
      Onnx__ModelProto *proto = mlp_new();
      Onnx__TensorProto **t = &proto->graph->initializer[0];
      onnx__tensor_proto__free_unpacked(*t, NULL);
      *t = tensor_new("w1", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, shapes[i]);
      (*t)->has_raw_data = raw;
      expect_refused(proto, NULL, i == 5 ? NTK_ERR_UNSUPPORTED : NTK_ERR_FORMAT, "'w1'");
    }
  assert_true(ntk_memory_peak_total() < peak + (1 << 20));
}

/* Small files that ask for huge constants. */
static void test_huge_constants(void **state) {
  (void)state;
  static const char *const sizes[] = {"1000000 1000000 6", "4294967296 4294967296 6",
                                      "9223372036854775807 6", "-4 6"};
  const int64_t peak = ntk_memory_peak_total();
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    Onnx__ModelProto *proto = mlp_new();
    add_integers(proto, "size", sizes[i]);
    (void)add_node(proto, "ConstantOfShape", "size", "big");
    (void)add_node(proto, "Add", "big x", "x2");
    set_name(&proto->graph->node[0]->input[0], "x2");
    ntk_model *model = NULL;
    assert_int_not_equal(try_read(proto, NULL, &model), NTK_SUCCESS);
    check_message("ConstantOfShape");
    model_free(proto);
  }
  assert_true(ntk_memory_peak_total() < peak + (1 << 20));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_no_models),         cmocka_unit_test(test_deep_nesting),
    cmocka_unit_test(test_unknown_operators), cmocka_unit_test(test_wrong_nodes),
    cmocka_unit_test(test_wrong_graphs),      cmocka_unit_test(test_wrong_inputs),
    cmocka_unit_test(test_element_types),     cmocka_unit_test(test_wrong_shapes),
    cmocka_unit_test(test_wrong_lengths),     cmocka_unit_test(test_huge_shapes),
    cmocka_unit_test(test_huge_constants),    cmocka_unit_test(test_truncation),
    cmocka_unit_test(test_changed_bytes),     cmocka_unit_test(test_every_bit),
};
RUN_TESTS(tests)

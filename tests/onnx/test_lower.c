/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/checks.h"

#include "graph/op.h"

/* Composite operators: what they become, what they refuse, and that nothing is left of a
 * reading that failed. Values are compared in test_conformance.py and test_bodies.py. */

static int count_nodes(const ntk_model *model, const char *op) {
  int count = 0;
  for (int i = 0; i < model->graph->node_count; i++)
    count += strcmp(model->graph->nodes[i].op->name, op) == 0;
  return count;
}

/* x [batch, 3, 4], an operator on it, its output and a mean over all but the batch. */
static Onnx__ModelProto *start(int64_t opset) {
  Onnx__ModelProto *model = model_new(opset);
  add_input(model, "x", "batch 3 4");
  add_output(model, "y");
  return model;
}

static Onnx__ModelProto *norm_new(const char *axes, Onnx__NodeProto **node) {
  Onnx__ModelProto *model = start(17);
  (void)add_floats(model, "gain", axes);
  (void)add_floats(model, "bias", axes);
  *node = add_node(model, "LayerNormalization", "x gain bias", "y");
  return model;
}

static void test_norm(void **state) {
  (void)state;
  Onnx__NodeProto *node;
  Onnx__ModelProto *proto = norm_new("4", &node);
  ntk_model *model = read_model(proto, NULL);
  assert_int_equal(ntk_model_get_info(model).parameters, 8);
  assert_int_equal(count_nodes(model, "ReduceMean"), 2);
  assert_int_equal(count_nodes(model, "LayerNormalization"), 0);
  const ntk_graph *g = model->graph;
  assert_string_equal(g->values[g->outputs[0]].name, "y");
  ntk_model_destroy(&model);
  model_free(proto);
}

static void test_norm_mistakes(void **state) {
  (void)state;
  Onnx__NodeProto *node;
  Onnx__ModelProto *proto = norm_new("5", &node);
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "'y/Mul_");
  proto = norm_new("4", &node);
  set_int(node, "axis", 3);
  expect_refused(proto, NULL, NTK_ERR_SHAPE,
                 "node 'y' (LayerNormalization, opset 17): axis 3");
  proto = norm_new("3 4", &node);
  set_int(node, "axis", 0);
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "batch axis");
}

/* Sequences of 3 steps; the batch axis is the first. */
static Onnx__ModelProto *lstm_new(const char *inputs, Onnx__NodeProto **node) {
  Onnx__ModelProto *model = start(14);
  (void)add_floats(model, "W", "1 20 4");
  (void)add_floats(model, "R", "1 20 5");
  (void)add_floats(model, "B", "1 40");
  (void)add_floats(model, "h", "1 1 5");
  (void)add_initializer(model, integers_new("short", "2", false));
  (void)add_initializer(model, integers_new("whole", "3", false));
  *node = add_node(model, "LSTM", inputs, "all");
  set_int(*node, "layout", 1);
  set_int(*node, "hidden_size", 5);
  (void)add_initializer(model, integers_new("axis", "1 2", false));
  (void)add_node(model, "ReduceSum", "all axis", "y");
  return model;
}

/* One row of nodes for each step, and no shape of a weight among them. */
static void test_lstm(void **state) {
  (void)state;
  Onnx__NodeProto *node;
  Onnx__ModelProto *proto = lstm_new("x W R B", &node);
  ntk_model *model = read_model(proto, NULL);
  assert_int_equal(ntk_model_get_info(model).parameters, 220);
  assert_int_equal(count_nodes(model, "MatMul"), 3 * 2 * 4 + 1);
  assert_int_equal(count_nodes(model, "Tanh"), 3 * 2);
  assert_string_equal(warnings, "");
  ntk_model_destroy(&model);
  model_free(proto);
}

/* The file may give lengths, if they say nothing. */
static void test_lengths(void **state) {
  (void)state;
  Onnx__NodeProto *node;
  expect_parameters(lstm_new("x W R B whole", &node), NULL, 220);
  expect_refused(lstm_new("x W R B short", &node), NULL, NTK_ERR_UNSUPPORTED,
                 "sequence_lens");
}

/* A first state in the file: zeros are no parameter, others are doubtful. */
static void test_first_state(void **state) {
  (void)state;
  for (int zero = 0; zero < 2; zero++) {
    Onnx__NodeProto *node;
    Onnx__ModelProto *proto = lstm_new("x W R B none h", &node);
    node->input[4][0] = '\0';
    onnx__value_info_proto__free_unpacked(proto->graph->input[0], NULL);
    proto->graph->input[0] = value_new("x", "1 3 4");
    if (zero)
      fill_floats(proto->graph->initializer[3], 0);
    expect_parameters(proto, NULL, zero ? 220 : 225);
    assert_int_equal(!*warnings, zero);
  }
}

static void test_lstm_mistakes(void **state) {
  (void)state;
  Onnx__NodeProto *node;
  Onnx__ModelProto *proto = lstm_new("x R R B", &node);
  expect_refused(proto, NULL, NTK_ERR_SHAPE, "W has the shape");
  proto = lstm_new("x W R W", &node);
  expect_refused(proto, NULL, NTK_ERR_SHAPE, "B has the shape");
  proto = lstm_new("x W R B", &node);
  set_int(node, "clip", 3);
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "clip");
  proto = lstm_new("x W", &node);
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "inputs");
  proto = lstm_new("x W R B", &node);
  (void)add_node(proto, "Relu", "x", "all");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "two values 'all'");
}

/* A body made as a model of its own. */
static void set_body(Onnx__NodeProto *node, const char *name, Onnx__ModelProto *body) {
  add_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH)->g = body->graph;
  body->graph = NULL;
  model_free(body);
}

/* if (condition) x * then else x * other: parameters of both stand in their branches. */
static Onnx__ModelProto *branches_new(const char *condition) {
  Onnx__ModelProto *model = start(17);
  Onnx__ModelProto *then = model_new(17), *other = model_new(17);
  (void)add_initializer(model, integers_new("yes", "1", true));
  (void)add_initializer(model, integers_new("no", "0", true));
  (void)add_floats(then, "mine", "4");
  (void)add_node(then, "Mul", "x mine", "z");
  add_output(then, "z");
  (void)add_floats(other, "yours", "3 4");
  (void)add_node(other, "Mul", "x yours", "z");
  add_output(other, "z");
  Onnx__NodeProto *node = add_node(model, "If", condition, "y");
  set_body(node, "then_branch", then);
  set_body(node, "else_branch", other);
  return model;
}

static void test_branches(void **state) {
  (void)state;
  const struct {
    const char *condition, *used;
  } cases[] = {{"yes", "mine"}, {"no", "yours"}};
  for (int i = 0; i < 2; i++) {
    Onnx__ModelProto *proto = branches_new(cases[i].condition);
    ntk_model *model = read_model(proto, NULL);
    assert_int_equal(model->graph->parameter_count, 1);
    assert_string_equal(model->graph->values[model->graph->parameters[0]].name,
                        cases[i].used);
    ntk_model_destroy(&model);
    model_free(proto);
  }
  expect_refused(branches_new("x"), NULL, NTK_ERR_UNSUPPORTED, "not known before");
}

/* A loop whose body uses one tensor in every turn: one source. */
static Onnx__ModelProto *loop_new(const char *inputs) {
  Onnx__ModelProto *model = start(17), *body = model_new(17);
  (void)add_initializer(model, integers_new("turns", "3", true));
  (void)add_initializer(model, integers_new("yes", "1", true));
  add_input(body, "i", "");
  add_input(body, "go", "");
  add_input(body, "h", "");
  (void)add_floats(body, "w", "4 4");
  (void)add_node(body, "MatMul", "h w", "next");
  (void)add_node(body, "Identity", "go", "on");
  add_output(body, "on");
  add_output(body, "next");
  set_body(add_node(model, "Loop", inputs, "y"), "body", body);
  return model;
}

static void test_loop(void **state) {
  (void)state;
  Onnx__ModelProto *proto = loop_new("turns yes x");
  ntk_model *model = read_model(proto, NULL);
  assert_int_equal(ntk_model_get_info(model).parameters, 16);
  assert_int_equal(count_nodes(model, "MatMul"), 3);
  ntk_model_destroy(&model);
  model_free(proto);
  expect_refused(loop_new("x yes x"), NULL, NTK_ERR_UNSUPPORTED, "trip count");
  expect_refused(loop_new("turns yes x x"), NULL, NTK_ERR_FORMAT, "its body has");
}

/* Turns that add no node end, too. */
static void test_empty_loop(void **state) {
  (void)state;
  Onnx__ModelProto *model = start(17), *body = model_new(17);
  (void)add_initializer(model, integers_new("turns", "1000000000000", true));
  (void)add_floats(model, "w", "4 4");
  add_input(body, "i", "");
  add_input(body, "go", "");
  add_input(body, "h", "");
  add_output(body, "go");
  add_output(body, "h");
  Onnx__NodeProto *node = add_node(model, "Loop", "turns none x", "z");
  node->input[1][0] = '\0';
  set_body(node, "body", body);
  (void)add_node(model, "MatMul", "z w", "y");
  expect_refused(model, NULL, NTK_ERR_UNSUPPORTED, "more than 65536 turns");
}

/* Operands that do not fit. */
static void test_mistakes(void **state) {
  (void)state;
  static const struct {
    const char *op, *inputs;
    ntk_status status;
    const char *message;
  } rows[] = {
      {"Attention", "x x x", NTK_ERR_SHAPE, "3 of whole heads"},
      {"RotaryEmbedding", "x row row", NTK_ERR_SHAPE, "3 of whole heads"},
      {"LinearAttention", "x x x", NTK_ERR_FORMAT, "do not go with the update_rule"},
      {"CausalConvWithState", "x row", NTK_ERR_SHAPE, "weights of 1 axes"},
      {"SwiGLU", "x row", NTK_ERR_SHAPE, "operands of shapes"},
      {"Swish", "x x", NTK_ERR_FORMAT, "2 inputs"},
      {"CumProd", "x five", NTK_ERR_SHAPE, "the axis is none of 3"},
      {"CumProd", "x zero", NTK_ERR_UNSUPPORTED, "depends on the batch size"},
      {"NegativeLogLikelihoodLoss", "x pair", NTK_ERR_SHAPE, "scores"},
      {"AffineGrid", "x pair", NTK_ERR_SHAPE, "2 sizes for 5 axes"},
      {"CenterCropPad", "x pair", NTK_ERR_SHAPE, "2 sizes"},
      {"DFT", "x", NTK_ERR_SHAPE, "numbers of 4 parts"},
      {"STFT", "x pair", NTK_ERR_SHAPE, "frame_step is no single number"},
      {"HannWindow", "x", NTK_ERR_UNSUPPORTED, "the size is not known"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    Onnx__ModelProto *model = start(28);
    (void)add_floats(model, "row", "4");
    add_integers(model, "pair", "5 7");
    add_integers(model, "five", "5");
    add_integers(model, "zero", "0");
    (void)add_node(model, rows[i].op, rows[i].inputs, "y");
    expect_refused(model, NULL, rows[i].status, rows[i].message);
  }
}

/* A node of constants; "-": an input that is left out. All attributes have one value. */
static Onnx__NodeProto *add_odd(Onnx__ModelProto *model, const char *op, const char *inputs,
                                const char *attributes, int64_t value) {
  static const char *const tensors[][2] = {
      {"q", "1 2 3 4"},     {"table", "3 2"},  {"angles", "1 3 1"},
      {"complex", "1 5 2"}, {"real", "1 5 1"}, {"taps", "3 1 2"},
      {"wide", "6 1 2"},    {"past", "1 3 2"}, {"scores", "1 3"}};
  static const char *const integers[][2] = {{"none", "0"},   {"one", "1"},
                                            {"four", "4"},   {"two", "1 2"},
                                            {"minus", "-1"}, {"huge", "1 3 5000000000"}};
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
    (void)add_floats(model, tensors[i][0], tensors[i][1]);
  for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
    add_integers(model, integers[i][0], integers[i][1]);
  Onnx__NodeProto *node = add_node(model, op, inputs, "z");
  (void)add_floats(model, "gain", "4");
  (void)add_node(model, "Sum", "z gain x", "y");
  for (size_t i = 0; i < node->n_input; i++)
    if (strcmp(node->input[i], "-") == 0)
      node->input[i][0] = '\0';
  for (char *word; (word = next_word(&attributes)); free(word))
    set_int(node, word, value);
  return node;
}

/* What the standard does not allow, though a meaning could be found for it. */
static void test_not_allowed(void **state) {
  (void)state;
  static const struct {
    const char *op, *inputs;
    int64_t opset;
    const char *attributes;
    int64_t value;
    ntk_status status;
    const char *message;
  } rows[] = {
      {"Attention", "q q q", 24, "qk_matmul_output_mode", 4, NTK_ERR_FORMAT, "is 4, not 0"},
      {"Attention", "q q q", 24, "softmax_precision", 7, NTK_ERR_FORMAT, "7 is not real"},
      {"Attention", "q q q", 25, "left_window_size", -2, NTK_ERR_FORMAT, "window of -2"},
      {"Attention", "q q q - q q one", 24, "", 0, NTK_ERR_FORMAT, "not go with past keys"},
      {"Attention", "q q q - - - four", 24, "", 0, NTK_ERR_SHAPE, "is 4 of 3 keys"},
      {"Attention", "q q q - - - two", 24, "", 0, NTK_ERR_SHAPE, "2 numbers for 1 samples"},
      {"RotaryEmbedding", "q table table", 23, "", 0, NTK_ERR_SHAPE, "not of 3 axes"},
      {"RotaryEmbedding", "q angles angles", 23, "", 0, NTK_ERR_SHAPE, "the last of 2"},
      {"RotaryEmbedding", "q table table one", 23, "", 0, NTK_ERR_SHAPE, "1 axes, not 2"},
      {"LinearAttention", "x x x - x x x", 27, "", 0, NTK_ERR_FORMAT, "7 inputs"},
      {"CausalConvWithState", "x taps - past", 27, "", 0, NTK_ERR_SHAPE, "end in 1 elem"},
      {"CausalConvWithState", "x wide", 27, "", 0, NTK_ERR_SHAPE, "for 3 channels"},
      {"DFT", "complex", 20, "onesided", 1, NTK_ERR_SHAPE, "not for numbers of 2 parts"},
      {"DFT", "real", 17, "onesided inverse", 1, NTK_ERR_SHAPE, "numbers of 1 parts"},
      {"DFT", "complex", 20, "axis", 1, NTK_ERR_FORMAT, "an input in this opset"},
      {"DFT", "complex - one", 17, "", 0, NTK_ERR_FORMAT, "an attribute in this opset"},
      {"DFT", "complex none", 17, "", 0, NTK_ERR_SHAPE, "dft_length is 0"},
      {"STFT", "complex one", 17, "", 0, NTK_ERR_SHAPE, "not for numbers of 2 parts"},
      {"CenterCropPad", "x huge", 18, "", 0, NTK_ERR_SHAPE, "a size of 5000000000"},
      {"NegativeLogLikelihoodLoss", "scores minus", 13, "", 0, NTK_ERR_UNSUPPORTED,
       "label -1 is negative"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    Onnx__ModelProto *model = start(rows[i].opset);
    (void)add_odd(model, rows[i].op, rows[i].inputs, rows[i].attributes, rows[i].value);
    expect_refused(model, NULL, rows[i].status, rows[i].message);
  }
  Onnx__ModelProto *model = start(24);
  Onnx__NodeProto *node = add_odd(model, "Attention", "q q q", "", 0);
  Onnx__AttributeProto *cap =
      add_attribute(node, "softcap", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
  cap->has_f = 1;
  cap->f = -2;
  expect_refused(model, NULL, NTK_ERR_FORMAT, "softcap is -2");
}

/* Windows without end, and more outputs than there are, which nothing reads. */
static void test_large_numbers(void **state) {
  (void)state;
  Onnx__ModelProto *model = start(25);
  Onnx__NodeProto *node =
      add_odd(model, "Attention", "x x x", "left_window_size right_window_size", INT64_MAX);
  set_int(node, "q_num_heads", 2);
  set_int(node, "kv_num_heads", 2);
  for (int k = 1; k < 40; k++) {
    char *name = malloc(16);
    assert_non_null(name);
    (void)snprintf(name, 16, "more%d", k);
    APPEND(node->output, node->n_output, name);
  }
  expect_parameters(model, NULL, 4);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_not_allowed), cmocka_unit_test(test_large_numbers),
    cmocka_unit_test(test_mistakes),    cmocka_unit_test(test_empty_loop),
    cmocka_unit_test(test_norm),        cmocka_unit_test(test_norm_mistakes),
    cmocka_unit_test(test_lstm),        cmocka_unit_test(test_lengths),
    cmocka_unit_test(test_first_state), cmocka_unit_test(test_lstm_mistakes),
    cmocka_unit_test(test_branches),    cmocka_unit_test(test_loop)};
RUN_TESTS(tests)

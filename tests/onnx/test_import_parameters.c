/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/checks.h"

/* Which tensors are parameters: the rule of design section 2. */

/* x [batch, 4], to be continued. */
static Onnx__ModelProto *start(void) {
  Onnx__ModelProto *proto = model_new(17);
  add_input(proto, "x", "batch 4");
  return proto;
}

static const ntk_source *source(const ntk_model *model, const char *name) {
  for (int i = 0; i < model->source_count; i++)
    if (strcmp(model->sources[i].name, name) == 0)
      return &model->sources[i];
  fail_msg("no tensor '%s'", name);
  return NULL;
}

static void expect_reason(const ntk_model *model, const char *name, bool is_parameter,
                          const char *text) {
  const ntk_source *s = source(model, name);
  if (s->is_parameter != is_parameter || !strstr(s->reason, text))
    fail_msg("%s: %d, %s", name, s->is_parameter, s->reason);
  assert_int_equal(s->value >= 0, is_parameter);
}

/* Two biases whose equal values an exporter put into one initializer. */
static Onnx__ModelProto *merged_biases(void) {
  Onnx__ModelProto *proto = start();
  (void)add_equal(proto, "b1", "4", 0);
  (void)add_floats(proto, "w", "4 4");
  (void)add_node(proto, "Identity", "b1", "b2");
  (void)add_node(proto, "Add", "x b1", "h1");
  (void)add_node(proto, "MatMul", "h1 w", "h2");
  (void)add_node(proto, "Add", "h2 b2", "y");
  add_output(proto, "y");
  return proto;
}

static void test_identity_is_a_source(void **state) {
  (void)state;
  Onnx__ModelProto *proto = merged_biases();
  ntk_model *model = read_model(proto, NULL);
  assert_int_equal(ntk_model_get_info(model).parameters, 24);
  assert_int_equal(ntk_model_get_info(model).parameter_tensors, 3);
  assert_int_equal(model->graph->node_count, 3);
  expect_reason(model, "b1", true, "used");
  expect_reason(model, "b2", true, "used");
  assert_true(source(model, "b1")->value != source(model, "b2")->value);
  ntk_model_destroy(&model);
  model_free(proto);
  expect_parameters(merged_biases(), "--freeze b2", 20);
  expect_parameters(merged_biases(), "--only b?", 8);
}

/* x -> BatchNormalization, its tensors [4]; mean also as an Identity of another. */
static Onnx__ModelProto *batchnorm(bool merged) {
  Onnx__ModelProto *proto = model_new(17);
  add_input(proto, "x", "batch 4 3");
  (void)add_equal(proto, "gain", "4", 1);
  (void)add_equal(proto, "shift", "4", 0);
  if (!merged)
    (void)add_equal(proto, "mean", "4", 0);
  (void)add_equal(proto, "variance", "4", 2);
  if (merged)
    (void)add_node(proto, "Identity", "shift", "mean");
  (void)add_node(proto, "BatchNormalization", "x gain shift mean variance", "y");
  add_output(proto, "y");
  return proto;
}

static void test_statistics_are_constants(void **state) {
  (void)state;
  for (int merged = 0; merged < 2; merged++) {
    Onnx__ModelProto *proto = batchnorm(merged);
    ntk_model *model = read_model(proto, NULL);
    assert_int_equal(ntk_model_get_info(model).parameters, 8);
    expect_reason(model, "gain", true, "used");
    expect_reason(model, "shift", true, "used");
    expect_reason(model, "mean", false, "statistics");
    expect_reason(model, "variance", false, "statistics");
    ntk_model_destroy(&model);
    model_free(proto);
  }
  Onnx__ModelProto *bad = batchnorm(false);
  add_named(bad, "[\"gain\", \"shift\", \"mean\"]"); /* even where the file says so */
  expect_parameters(bad, NULL, 8);
}

static void test_bounds_are_constants(void **state) {
  (void)state;
  Onnx__ModelProto *proto = start();
  proto->producer_name = strdup("pytorch");
  (void)add_floats(proto, "w", "4 3");
  (void)add_equal(proto, "low", "", -1);
  (void)add_equal(proto, "high", "", 6);
  (void)add_node(proto, "MatMul", "x w", "h");
  (void)add_node(proto, "Clip", "h low high", "y");
  add_output(proto, "y");
  expect_parameters(proto, NULL, 12);
}

static void test_metadata_decides(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  add_named(proto, "[\"w1\", \"b2\"]");
  ntk_model *model = read_model(proto, NULL);
  assert_int_equal(ntk_model_get_info(model).parameters, 33);
  expect_reason(model, "w1", true, "named by the file");
  expect_reason(model, "w2", false, "not named by the file");
  assert_string_equal(warnings, "");
  ntk_model_destroy(&model);
  model_free(proto);
  proto = mlp_new();
  add_named(proto, "[]");
  expect_refused(proto, NULL, NTK_ERR_NO_PARAMETERS, "not named by the file");
}

/* Names with quotes, backslashes and other letters; one that is the beginning of another.
 */
static void test_metadata_names(void **state) {
  (void)state;
  static const struct {
    const char *name, *json;
    int64_t parameters;
  } cases[] = {{"a\"b\\c", "[\"a\\\"b\\\\c\"]", 30},
               {"w", "[ \"w\" ]", 30},
               {"w", "[\"w2\",\"b1\"]", 20},
               {"[\"w2\"]", "[\"[\\\"w2\\\"]\"]", 30},
               {"gr\xc3\xb6\xc3\x9f"
                "e",
                "[\"gr\\u00f6\\u00dfe\"]", 30},
               {"\xe2\x82\xac", "[\"\\u20ac\", \"b2\"]", 33},
               {"\xe2\x82\xac", "[\"\xe2\x82\xac\"]", 30}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Onnx__ModelProto *proto = mlp_new();
    Onnx__GraphProto *g = proto->graph;
    free(g->initializer[0]->name);
    free(g->node[0]->input[1]);
    g->initializer[0]->name = strdup(cases[i].name);
    g->node[0]->input[1] = strdup(cases[i].name);
    add_named(proto, cases[i].json);
    expect_parameters(proto, NULL, cases[i].parameters);
  }
}

/* A name that the file does not hold; lists that are none. */
static void test_metadata_mistakes(void **state) {
  (void)state;
  static const struct {
    const char *json;
    ntk_status status;
    const char *text;
  } cases[] = {{"[\"w1\", \"w9\"]", NTK_ERR_FORMAT, "'w9'"},
               {"[\"w1\", \"\"]", NTK_ERR_FORMAT, "''"},
               {"[\"w1", NTK_SUCCESS, ""},
               {"[\"w1\\", NTK_ERR_FORMAT, "'w1\\'"},
               {"[\"\\u", NTK_ERR_FORMAT, "'u'"},
               {"[\"\\u1", NTK_ERR_FORMAT, "'?'"},
               {"w1, w2", NTK_ERR_NO_PARAMETERS, "not named"},
               {"", NTK_ERR_NO_PARAMETERS, "not named"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Onnx__ModelProto *proto = mlp_new();
    add_named(proto, cases[i].json);
    if (cases[i].status == NTK_SUCCESS)
      expect_parameters(proto, NULL, 30);
    else
      expect_refused(proto, NULL, cases[i].status, cases[i].text);
  }
}

/* The same bias in two places. */
static Onnx__ModelProto *shared_bias(double value) {
  Onnx__ModelProto *proto = start();
  (void)add_equal(proto, "b", "4", value);
  (void)add_floats(proto, "w", "4 4");
  (void)add_node(proto, "Add", "x b", "h1");
  (void)add_node(proto, "MatMul", "h1 w", "h2");
  (void)add_node(proto, "Add", "h2 b", "y");
  add_output(proto, "y");
  return proto;
}

static void test_merged_tensors(void **state) {
  (void)state;
  expect_refused(shared_bias(0), NULL, NTK_ERR_ARGUMENT, "--tied b");
  expect_refused(shared_bias(1), "--tied w", NTK_ERR_ARGUMENT, "'b' is used in 2 places");
  expect_refused(shared_bias(1), "--tied c", NTK_ERR_ARGUMENT, "--tied c");
  expect_parameters(shared_bias(1), "--tied b", 20);
  expect_parameters(shared_bias(1), "--freeze b", 16);
  expect_parameters(shared_bias((double)NAN), NULL, 20); /* NaN: different values */
  Onnx__ModelProto *proto = shared_bias(0);
  add_named(proto, "[\"b\", \"w\"]");
  expect_parameters(proto, NULL, 20);
}

/* y = (x w + mask) * factor. */
static Onnx__ModelProto *doubtful(const char *producer) {
  Onnx__ModelProto *proto = start();
  if (producer)
    proto->producer_name = strdup(producer);
  (void)add_floats(proto, "w", "4 3");
  (void)add_equal(proto, "mask", "3", -(double)INFINITY);
  (void)add_equal(proto, "factor", "1", 0.5);
  (void)add_node(proto, "MatMul", "x w", "h");
  (void)add_node(proto, "Add", "h mask", "m");
  (void)add_node(proto, "Mul", "m factor", "y");
  add_output(proto, "y");
  return proto;
}

static void test_doubtful_tensors(void **state) {
  (void)state;
  expect_parameters(doubtful(NULL), NULL, 12);
  expect_parameters(doubtful("pytorch"), NULL, 13);
  expect_parameters(doubtful(NULL), "--param factor", 13);
  expect_parameters(doubtful(NULL), "--param f* --param mask", 16);
  expect_parameters(doubtful(NULL), "--param f* --freeze f*", 12);
  /* --only narrows, and makes nothing a parameter */
  expect_parameters(doubtful(NULL), "--only w", 12);
  expect_parameters(doubtful(NULL), "--only *", 12);
  expect_parameters(doubtful(NULL), "--only * --param factor", 13);
  expect_refused(doubtful(NULL), "--only factor", NTK_ERR_NO_PARAMETERS,
                 "factor: a single number (--param would make it one)");
  /* a single number where weights and biases stand */
  Onnx__ModelProto *proto = start();
  (void)add_floats(proto, "w", "4 1");
  (void)add_floats(proto, "b", "1");
  (void)add_node(proto, "Gemm", "x w b", "y");
  add_output(proto, "y");
  expect_parameters(proto, NULL, 5);
}

static void test_globs(void **state) {
  (void)state;
  expect_parameters(cnn_new(), "--freeze *.bias", 180);
  expect_parameters(cnn_new(), "--freeze conv.*", 111);
  expect_parameters(cnn_new(), "--only conv.*", 76);
  expect_parameters(cnn_new(), "--only conv.* --freeze *.bias", 72);
  expect_parameters(cnn_new(), "--only conv.bias --only head.bias", 7);
  expect_refused(cnn_new(), "--freeze *", NTK_ERR_NO_PARAMETERS,
                 "--parameters-from-constants");
  /* a pattern for nothing is a mistake */
  expect_refused(cnn_new(), "--freeze conv1.*", NTK_ERR_ARGUMENT, "--freeze conv1.*");
  expect_refused(cnn_new(), "--only conv1.*", NTK_ERR_ARGUMENT, "--only conv1.*");
  expect_refused(cnn_new(), "--param scale", NTK_ERR_ARGUMENT, "--param scale");
}

/* Weights in Constant nodes. */
static Onnx__ModelProto *constant_weights(void) {
  Onnx__ModelProto *proto = start();
  Onnx__TensorProto *w = tensor_new("", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, "4 3");
  fill_floats(w, (double)NAN);
  set_tensor(add_node(proto, "Constant", "", "w"), w);
  set_tensor(add_node(proto, "Constant", "", "shape"), integers_new("", "-1 4", false));
  (void)add_node(proto, "Reshape", "x shape", "f");
  (void)add_node(proto, "MatMul", "f w", "y");
  add_output(proto, "y");
  return proto;
}

static void test_constant_nodes(void **state) {
  (void)state;
  expect_refused(constant_weights(), NULL, NTK_ERR_NO_PARAMETERS,
                 "--parameters-from-constants");
  expect_refused(constant_weights(), NULL, NTK_ERR_NO_PARAMETERS, "--param,");
  expect_refused(constant_weights(), NULL, NTK_ERR_NO_PARAMETERS, "--freeze");
  expect_parameters(constant_weights(), "--parameters-from-constants", 12);
  Onnx__ModelProto *proto = constant_weights();
  (void)add_floats(proto, "b", "3");
  (void)add_node(proto, "Add", "y b", "z");
  free(proto->graph->output[0]->name);
  proto->graph->output[0]->name = strdup("z");
  expect_parameters(proto, NULL, 3);
}

/* Unused tensors are none; tensors used by dead nodes neither. */
static void test_unused(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  (void)add_floats(proto, "old.weight", "7");
  (void)add_floats(proto, "dead.weight", "5");
  (void)add_node(proto, "Mul", "h3 dead.weight", "dead");
  ntk_model *model = read_model(proto, NULL);
  assert_int_equal(ntk_model_get_info(model).parameters, 53);
  expect_reason(model, "old.weight", false, "not used");
  expect_reason(model, "dead.weight", false, "not used");
  ntk_model_destroy(&model);
  model_free(proto);
}

/* Tables added to data look like buffers: a warning, not with metadata. */
static void test_buffer_warning(void **state) {
  (void)state;
  for (int named = 0; named < 2; named++) {
    Onnx__ModelProto *proto = model_new(17);
    add_input(proto, "x", "batch 3 4");
    (void)add_floats(proto, "positions", "3 4");
    (void)add_floats(proto, "w", "4 4");
    (void)add_floats(proto, "b", "4");
    (void)add_node(proto, "Add", "x positions", "h1");
    (void)add_node(proto, "MatMul", "h1 w", "h2");
    (void)add_node(proto, "Add", "h2 b", "y");
    add_output(proto, "y");
    if (named)
      add_named(proto, "[\"w\", \"b\", \"positions\"]");
    ntk_model *model = read_model(proto, NULL);
    assert_int_equal(ntk_model_get_info(model).parameters, 32);
    assert_int_equal(strstr(warnings, "positions") != NULL, !named);
    assert_null(strstr(warnings, "w,"));
    ntk_model_destroy(&model);
    model_free(proto);
  }
}

/* What PyTorch's exporters leave where they changed the parameters. */
static void test_torch_traces(void **state) {
  (void)state;
  Onnx__ModelProto *proto = cnn_new();
  free(proto->graph->initializer[0]->name);
  free(proto->graph->node[0]->input[1]);
  proto->graph->initializer[0]->name = strdup("onnx::Conv_33");
  proto->graph->node[0]->input[1] = strdup("onnx::Conv_33");
  expect_refused(proto, NULL, NTK_ERR_ARGUMENT, "folded BatchNorm");
  static const char list[] = "pkg.torch.export.graph p_a: PARAMETER target='conv.weight' "
                             "p_b: PARAMETER target='%s'";
  char text[256];
  for (int lost = 0; lost < 2; lost++) {
    proto = cnn_new();
    (void)snprintf(text, sizeof text, list, lost ? "norm.weight" : "conv.bias");
    proto->graph->doc_string = strdup(text);
    if (lost)
      expect_refused(proto, NULL, NTK_ERR_ARGUMENT, "'norm.weight'");
    else
      expect_parameters(proto, NULL, 187);
  }
  proto = cnn_new();
  proto->graph->doc_string = strdup("pkg.torch.export.graph without a list");
  expect_refused(proto, NULL, NTK_ERR_ARGUMENT, "export_torch.py");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_identity_is_a_source),
    cmocka_unit_test(test_statistics_are_constants),
    cmocka_unit_test(test_bounds_are_constants),
    cmocka_unit_test(test_metadata_decides),
    cmocka_unit_test(test_metadata_names),
    cmocka_unit_test(test_metadata_mistakes),
    cmocka_unit_test(test_merged_tensors),
    cmocka_unit_test(test_doubtful_tensors),
    cmocka_unit_test(test_globs),
    cmocka_unit_test(test_constant_nodes),
    cmocka_unit_test(test_unused),
    cmocka_unit_test(test_buffer_warning),
    cmocka_unit_test(test_torch_traces),
};
RUN_TESTS(tests)

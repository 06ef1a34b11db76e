/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/checks.h"

#include "base/text.h"
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reading whole models: what stands in them, what is folded, external data. */

static void test_mlp(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  ntk_model *model = read_model(proto, NULL);
  const ntk_model_info info = ntk_model_get_info(model);
  const ntk_graph *g = model->graph;
  assert_int_equal(info.parameters, 53);
  assert_int_equal(info.parameter_tensors, 4);
  assert_int_equal(info.outputs, 3);
  assert_int_equal(g->node_count, 4);
  assert_int_equal(g->input_count, 1);
  const ntk_value *x = &g->values[g->inputs[0]];
  assert_int_equal(x->shape.ndim, 2);
  assert_int_equal(x->shape.dim[0], 1);
  assert_int_equal(x->shape.dim[1], 6);
  for (int i = 0; i < g->parameter_count; i++) {
    const ntk_value *v = &g->values[g->parameters[i]];
    const Onnx__TensorProto *t = proto->graph->initializer[i];
    assert_string_equal(v->name, t->name);
    assert_memory_equal(v->constant->data, t->raw_data.data, t->raw_data.len);
  }
  assert_int_equal(strlen(model->sha256), 64);
  assert_int_equal(strlen(model->parameter_digest), 32);
  ntk_model_destroy(&model);
  model_free(proto);
}

static void test_cnn(void **state) {
  (void)state;
  Onnx__ModelProto *proto = cnn_new();
  ntk_model *model = read_model(proto, NULL);
  assert_int_equal(ntk_model_get_info(model).parameters, 187);
  assert_int_equal(ntk_model_get_info(model).outputs, 3);
  assert_int_equal(model->graph->node_count, 5);
  assert_string_equal(warnings, "");
  ntk_model_destroy(&model);
  model_free(proto);
}

/* The digest of parameters sees elements and names, not the rest of the file. */
static void test_digests(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  ntk_model *a = read_model(proto, NULL);
  add_entry(proto, "author", "someone else");
  ntk_model *b = read_model(proto, NULL);
  proto->graph->initializer[0]->raw_data.data[0] ^= 1;
  ntk_model *c = read_model(proto, NULL);
  assert_string_not_equal(a->sha256, b->sha256);
  assert_string_equal(a->parameter_digest, b->parameter_digest);
  assert_string_not_equal(b->parameter_digest, c->parameter_digest);
  ntk_model_destroy(&a);
  ntk_model_destroy(&b);
  ntk_model_destroy(&c);
  model_free(proto);
}

/* ---- files ----------------------------------------------------------------------------
 */

static Onnx__ModelProto *unpack_file(const char *path) {
  char *bytes = NULL;
  int64_t size = 0;
  assert_int_equal(ntk_file_read(path, &bytes, &size), NTK_SUCCESS);
  Onnx__ModelProto *proto =
      onnx__model_proto__unpack(NULL, (size_t)size, (const uint8_t *)bytes);
  assert_non_null(proto);
  ntk_free(&bytes);
  return proto;
}

static bool is_listed(const Onnx__ModelProto *proto, const char *name) {
  char word[256];
  (void)snprintf(word, sizeof word, "\"%s\"", name);
  for (size_t i = 0; i < proto->n_metadata_props; i++)
    if (strcmp(proto->metadata_props[i]->key, "scantk.parameters") == 0)
      return strstr(proto->metadata_props[i]->value, word) != NULL;
  fail_msg("no metadata");
  return false;
}

/* Elements of the tensors that the metadata name: initializers and Identities of them. */
static int64_t listed_parameters(const Onnx__ModelProto *proto) {
  const Onnx__GraphProto *g = proto->graph;
  int64_t total = 0;
  for (size_t i = 0; i < g->n_initializer; i++) {
    const Onnx__TensorProto *t = g->initializer[i];
    total += is_listed(proto, t->name) ? (int64_t)tensor_size(t) : 0;
    for (size_t k = 0; k < g->n_node; k++)
      if (strcmp(g->node[k]->op_type, "Identity") == 0 &&
          strcmp(g->node[k]->input[0], t->name) == 0 &&
          is_listed(proto, g->node[k]->output[0]))
        total += (int64_t)tensor_size(t);
  }
  return total;
}

/* Product of the output's fixed axes: the batch axis is symbolic, or first. */
static int64_t declared_outputs(const Onnx__ModelProto *proto) {
  const Onnx__TensorShapeProto *shape = proto->graph->output[0]->type->tensor_type->shape;
  int64_t total = 1;
  for (size_t i = 1; i < shape->n_dim; i++)
    total *= shape->dim[i]->dim_value;
  return total;
}

static void check_file(const char *path) {
  ntk_model *model = NULL;
  if (ntk_model_read(context, path, NULL, &model) != NTK_SUCCESS)
    fail_msg("%s", ntk_context_error(context));
  Onnx__ModelProto *proto = unpack_file(path);
  const ntk_model_info info = ntk_model_get_info(model);
  assert_int_equal(info.parameters, listed_parameters(proto));
  assert_int_equal(info.outputs, declared_outputs(proto));
  assert_true(info.parameters > 0 && info.outputs > 0);
  assert_string_equal(model->path, path);
  model_free(proto);
  ntk_model_destroy(&model);
}

static void test_golden_files(void **state) {
  (void)state;
  const char *root = getenv("SOURCE_DIR");
  char folder[1024], path[2048];
  int count = 0;
  (void)snprintf(folder, sizeof folder, "%s/tests/golden", root ? root : ".");
  DIR *entries = opendir(folder);
  if (!entries)
    fail_msg("%s cannot be read: set SOURCE_DIR", folder);
  for (struct dirent *e; (e = readdir(entries));) {
    const char *end = strrchr(e->d_name, '.');
    if (!end || strcmp(end, ".onnx") != 0)
      continue;
    (void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    check_file(path);
    count++;
  }
  (void)closedir(entries);
  assert_true(count >= 19);
}

static void test_generated_files(void **state) {
  (void)state;
  static const struct {
    const char *family, *options;
    int64_t parameters, outputs;
  } cases[] = {
      {"fcn", "--input 7 --width 5 --depth 2 --outputs 3", 8 * 5 + 6 * 5 + 6 * 3, 3},
      {"fcn", "--input 7 --width 5 --depth 2 --parameterization ntk", 70 + 60, 10},
      {"fcn", "--input 7 --width 5 --depth 0 --outputs 1", 8, 1},
      {"fcn", "--input 2x3 --width 5 --depth 1 --activation gelu", 35 + 60, 10},
      {"cnn", "--width 4 --depth 2 --input 1x8x8", 40 + 37 * 4 + 50, 10},
      {"lenet5", NULL, 61706, 10},
      {"resnet18", "--width 8", 175802, 10},
      {"vit", "--width 16 --depth 2", 49 * 16 + 66 * 16 + 2 * 3280 + 32 + 170, 10}};
  char path[64];
  (void)snprintf(path, sizeof path, "/tmp/scantk-import-%d.onnx", (int)getpid());
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ntk_model *model = NULL;
    assert_int_equal(ntk_model_generate(context, cases[i].family, cases[i].options, path),
                     NTK_SUCCESS);
    if (ntk_model_read(context, path, NULL, &model) != NTK_SUCCESS)
      fail_msg("%s", ntk_context_error(context));
    remove(path);
    assert_int_equal(ntk_model_get_info(model).parameters, cases[i].parameters);
    assert_int_equal(ntk_model_get_info(model).outputs, cases[i].outputs);
    ntk_model_destroy(&model);
  }
}

static void test_describe(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  ntk_model *model = read_model(proto, "--freeze b*");
  ntk_text text = {0};
  assert_int_equal(ntk_model_describe(model, false, &text), NTK_SUCCESS);
  assert_non_null(strstr(text.data, "parameters  45 in 2 tensors"));
  assert_non_null(strstr(text.data, "b1: frozen (--freeze)"));
  ntk_text_clear(&text);
  assert_int_equal(ntk_model_describe(model, true, &text), NTK_SUCCESS);
  assert_non_null(strstr(text.data, "\"parameters\": 45, \"parameter_tensors\": 2"));
  assert_non_null(strstr(text.data, "{\"name\": \"w2\", \"shape\": [3, 5], \"parameter\": "
                                    "true, \"reason\": \"a float tensor that is used\"}"));
  ntk_text_clear(&text);
  ntk_model_destroy(&model);
  model_free(proto);
}

/* ---- element types --------------------------------------------------------------------
 */

/* A bias of these elements; what the graph then holds. */
static void expect_elements(Onnx__TensorProto *bias, ntk_dtype dtype, const double *want) {
  Onnx__ModelProto *proto = model_new(17);
  add_input(proto, "x", "batch 4");
  (void)add_floats(proto, "w", "4 4");
  (void)add_initializer(proto, bias);
  (void)add_node(proto, "MatMul", "x w", "h");
  (void)add_node(proto, "Add", "h b", "y");
  add_output(proto, "y");
  ntk_model *model = read_model(proto, NULL);
  const ntk_value *v = &model->graph->values[model->graph->parameters[1]];
  assert_string_equal(v->name, "b");
  assert_int_equal(v->dtype, dtype);
  for (int64_t i = 0; i < 4; i++)
    assert_true(ntk_tensor_real(v->constant, i) == want[i]);
  ntk_model_destroy(&model);
  model_free(proto);
}

static Onnx__TensorProto *bias_new(int type) { return tensor_new("b", type, "4"); }

static void test_element_types(void **state) {
  (void)state;
  static const double values[4] = {1, -2.5, 0.09375, 65504}, small[4] = {1, -2, 0, 0};
  static const uint16_t f16[4] = {0x3c00, 0xc100, 0x2e00, 0x7bff};
  static const uint16_t bf16[4] = {0x3f80, 0xc000, 0, 0x8000};
  static const uint16_t subnormal[4] = {1, 0x8001, 0x03ff, 0x0400};
  static const double tiny[4] = {0x1p-24, -0x1p-24, 1023 * 0x1p-24, 0x1p-14};
  Onnx__TensorProto *t = bias_new(ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
  for (int i = 0; i < 4; i++) {
    const float value = (float)values[i];
    APPEND(t->float_data, t->n_float_data, value);
  }
  expect_elements(t, NTK_F32, values);
  t = bias_new(ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE);
  for (int i = 0; i < 4; i++)
    APPEND(t->double_data, t->n_double_data, values[i]);
  expect_elements(t, NTK_F64, values);
  t = bias_new(ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16);
  for (int i = 0; i < 4; i++) {
    const int32_t bits = f16[i];
    APPEND(t->int32_data, t->n_int32_data, bits);
  }
  expect_elements(t, NTK_F32, values);
  const struct {
    int type;
    const uint16_t *bits;
    const double *want;
  } raws[] = {{ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, f16, values},
              {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, subnormal, tiny},
              {ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16, bf16, small}};
  for (size_t i = 0; i < sizeof raws / sizeof *raws; i++) {
    t = bias_new(raws[i].type);
    t->has_raw_data = 1;
    t->raw_data.len = 8;
    t->raw_data.data = malloc(8);
    memcpy(t->raw_data.data, raws[i].bits, 8);
    expect_elements(t, NTK_F32, raws[i].want);
  }
}

/* ---- folding --------------------------------------------------------------------------
 */

/* The network x [batch, 3, 4] -> ... -> z [batch, 12] -> Gemm, around the chain that makes
 * z; only `nodes` nodes may be left. */
static Onnx__ModelProto *chain_start(void) {
  Onnx__ModelProto *proto = model_new(17);
  add_input(proto, "x", "batch 3 4");
  (void)add_floats(proto, "w", "12 2");
  return proto;
}
static void chain_end(Onnx__ModelProto *proto, int nodes) {
  (void)add_node(proto, "MatMul", "z w", "y");
  add_output(proto, "y");
  ntk_model *model = read_model(proto, NULL);
  assert_int_equal(ntk_model_get_info(model).parameters, 24);
  assert_int_equal(ntk_model_get_info(model).outputs, 2);
  if (model->graph->node_count != nodes)
    fail_msg("%d nodes are left, not %d", model->graph->node_count, nodes);
  for (int i = 0; i < model->graph->value_count; i++)
    if (model->graph->values[i].role == NTK_CONSTANT)
      assert_non_null(model->graph->values[i].constant);
  ntk_model_destroy(&model);
  model_free(proto);
}

/* Flattening as torch's exporter writes x.view(x.size(0), -1). */
static void test_fold_gather_concat(void **state) {
  (void)state;
  Onnx__ModelProto *proto = chain_start();
  (void)add_node(proto, "Shape", "x", "s");
  set_tensor(add_node(proto, "Constant", "", "zero"), integers_new("", "0", true));
  set_int(add_node(proto, "Gather", "s zero", "n"), "axis", 0);
  set_tensor(add_node(proto, "Constant", "", "axes"), integers_new("", "0", false));
  (void)add_node(proto, "Unsqueeze", "n axes", "n1");
  set_tensor(add_node(proto, "Constant", "", "rest"), integers_new("", "-1", false));
  set_int(add_node(proto, "Concat", "n1 rest", "shape"), "axis", 0);
  (void)add_node(proto, "Reshape", "x shape", "z");
  chain_end(proto, 2);
}

static void test_fold_slice_cast_mul(void **state) {
  (void)state;
  Onnx__ModelProto *proto = chain_start();
  add_integers(proto, "i0", "0");
  add_integers(proto, "i1", "1");
  add_integers(proto, "i2", "2");
  add_integers(proto, "end", "9223372036854775807");
  (void)add_node(proto, "Shape", "x", "s");
  (void)add_node(proto, "Slice", "s i0 i1", "n");
  (void)add_node(proto, "Slice", "s i1 i2", "channels");
  (void)add_node(proto, "Slice", "s i2 end", "length");
  set_int(add_node(proto, "Cast", "channels", "cf"), "to",
          ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
  set_int(add_node(proto, "Cast", "length", "lf"), "to",
          ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
  (void)add_node(proto, "Mul", "cf lf", "sizef");
  set_int(add_node(proto, "Cast", "sizef", "size"), "to",
          ONNX__TENSOR_PROTO__DATA_TYPE__INT64);
  set_int(add_node(proto, "Concat", "n size", "shape"), "axis", 0);
  (void)add_node(proto, "Reshape", "x shape", "z");
  chain_end(proto, 2);
}

/* Integer division rounds towards zero; an expanded constant. */
static void test_fold_division_expand(void **state) {
  (void)state;
  Onnx__ModelProto *proto = chain_start();
  add_integers(proto, "c25", "25");
  add_integers(proto, "c2", "2");
  add_integers(proto, "minus", "-1");
  (void)add_node(proto, "Div", "c25 c2", "twelve");
  set_int(add_node(proto, "Concat", "minus twelve", "shape"), "axis", 0);
  (void)add_node(proto, "Reshape", "x shape", "flat");
  (void)add_node(proto, "Shape", "flat", "s");
  (void)add_node(proto, "ConstantOfShape", "s", "zeros");
  (void)add_node(proto, "Add", "flat zeros", "z");
  chain_end(proto, 3);
}

/* A mask from the lengths, as decoders make it. */
static void test_fold_where(void **state) {
  (void)state;
  Onnx__ModelProto *proto = chain_start();
  add_integers(proto, "flat_shape", "-1 12");
  add_integers(proto, "c0", "0");
  set_tensor(add_node(proto, "Constant", "", "first"), integers_new("", "0", true));
  set_tensor(add_node(proto, "Constant", "", "last"), integers_new("", "12", true));
  set_tensor(add_node(proto, "Constant", "", "step"), integers_new("", "1", true));
  (void)add_node(proto, "Range", "first last step", "r");
  (void)add_node(proto, "Equal", "r c0", "mask");
  Onnx__TensorProto *one = add_equal(proto, "big", "", -1e9);
  (void)one;
  Onnx__TensorProto *nothing = add_equal(proto, "nothing", "", 0);
  (void)nothing;
  (void)add_node(proto, "Where", "mask big nothing", "bias");
  (void)add_node(proto, "Reshape", "x flat_shape", "flat");
  (void)add_node(proto, "Add", "flat bias", "z");
  chain_end(proto, 3);
}

/* A node for each output that is read, by data, by parameters and at import. */
static void test_split(void **state) {
  (void)state;
  Onnx__ModelProto *proto = chain_start();
  add_integers(proto, "list", "7 -1 12 3");
  (void)add_node(proto, "Split", "list", "l0 shape l2 l3");
  set_int(add_node(proto, "Concat", "shape size", "to"), "axis", 0);
  add_integers(proto, "size", "12");
  (void)add_node(proto, "Reshape", "x to", "flat");
  set_int(add_node(proto, "Split", "flat", "a b c d"), "axis", 1);
  set_int(add_node(proto, "Concat", "d a b d", "z"), "axis", 1);
  chain_end(proto, 6); /* Reshape, three parts, Concat, MatMul */
}

static void refuse_split(const char *inputs, const char *outputs, const char *message) {
  Onnx__ModelProto *proto = mlp_new();
  (void)add_node(proto, "Split", inputs, outputs);
  add_output(proto, "part");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, message);
}

static void test_bad_split(void **state) {
  (void)state;
  refuse_split("x", "part other", "an axis of 1 cannot be split into 2 equal parts");
  refuse_split("x x", "other part", "split is not known");
}

/* Nodes in any order, and those that no output needs, unsupported ones too. */
static void test_order_and_dead_nodes(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  Onnx__NodeProto *first = proto->graph->node[0];
  proto->graph->node[0] = proto->graph->node[3];
  proto->graph->node[3] = first;
  (void)add_floats(proto, "unused", "100");
  (void)add_node(proto, "SomeNewOperator", "h3 unused", "nobody");
  expect_parameters(proto, NULL, 53);
}

/* Old files list initializers among the inputs. */
static void test_initializers_as_inputs(void **state) {
  (void)state;
  Onnx__ModelProto *proto = mlp_new();
  add_input(proto, "w1", "6 5");
  add_input(proto, "b1", "5");
  size_t size;
  uint8_t *bytes = model_pack(proto, &size);
  free(bytes);
  ntk_model *model = read_model(proto, NULL);
  assert_int_equal(model->graph->input_count, 1);
  ntk_model_destroy(&model);
  model = read_model(proto, "--batch-axis batch");
  assert_int_equal(ntk_model_get_info(model).parameters, 53);
  ntk_model_destroy(&model);
  model_free(proto);
}

/* ---- external data --------------------------------------------------------------------
 */

static char folder[64], outside[64];

static void write_bytes(const char *where, const char *name, const void *bytes,
                        size_t size) {
  char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", where, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

static void remove_file(const char *where, const char *name) {
  char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", where, name);
  (void)remove(path);
}

static void set_external(Onnx__TensorProto *tensor, const char *key, const char *value) {
  NEW_PIECE(Onnx__StringStringEntryProto, onnx__string_string_entry_proto__init, entry);
  entry->key = strdup(key);
  entry->value = strdup(value);
  APPEND(tensor->external_data, tensor->n_external_data, entry);
}

/* The perceptron whose w1 (30 numbers) lies in another file. */
static Onnx__ModelProto *external_mlp(const char *location, const char *offset,
                                      const char *length) {
  Onnx__ModelProto *proto = mlp_new();
  Onnx__TensorProto *w1 = proto->graph->initializer[0];
  free(w1->raw_data.data);
  w1->raw_data.data = NULL;
  w1->has_raw_data = 0;
  w1->has_data_location = 1;
  w1->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  set_external(w1, "location", location);
  if (offset)
    set_external(w1, "offset", offset);
  if (length)
    set_external(w1, "length", length);
  return proto;
}

static ntk_status read_external(Onnx__ModelProto *proto, ntk_model **model) {
  size_t size;
  char path[256];
  uint8_t *bytes = model_pack(proto, &size);
  write_bytes(folder, "m.onnx", bytes, size);
  free(bytes);
  model_free(proto);
  (void)snprintf(path, sizeof path, "%s/m.onnx", folder);
  return ntk_model_read(context, path, NULL, model);
}

static void external_refused(Onnx__ModelProto *proto, ntk_status expected,
                             const char *text) {
  ntk_model *model = NULL;
  const ntk_status status = read_external(proto, &model);
  if (status != expected)
    fail_msg("status %d, not %d: %s", (int)status, (int)expected,
             ntk_context_error(context));
  check_message(text);
}

static void make_folders(void) {
  float numbers[40];
  for (int i = 0; i < 40; i++)
    numbers[i] = (float)(i * i);
  (void)snprintf(folder, sizeof folder, "/tmp/scantk-external-XXXXXX");
  (void)snprintf(outside, sizeof outside, "/tmp/scantk-outside-XXXXXX");
  assert_non_null(mkdtemp(folder));
  assert_non_null(mkdtemp(outside));
  write_bytes(folder, "w.bin", numbers, sizeof numbers);
  write_bytes(folder, "short.bin", numbers, 100);
  write_bytes(outside, "w.bin", numbers, sizeof numbers);
  char target[256], link[256];
  (void)snprintf(target, sizeof target, "%s/w.bin", outside);
  (void)snprintf(link, sizeof link, "%s/link.bin", folder);
  assert_int_equal(symlink(target, link), 0);
  (void)snprintf(link, sizeof link, "%s/linked", folder);
  assert_int_equal(symlink(outside, link), 0);
  (void)snprintf(link, sizeof link, "%s/sub", folder);
  assert_int_equal(mkdir(link, 0700), 0);
}

static void test_external_inside(void **state) {
  (void)state;
  char sha256[65];
  ntk_model *model = NULL;
  make_folders();
  for (int offset = 0; offset <= 40; offset += 40) {
    char text[16];
    (void)snprintf(text, sizeof text, "%d", offset);
    if (read_external(external_mlp("w.bin", text, "120"), &model) != NTK_SUCCESS)
      fail_msg("%s", ntk_context_error(context));
    const ntk_value *w1 = &model->graph->values[model->graph->parameters[0]];
    assert_string_equal(w1->name, "w1");
    for (int i = 0; i < 30; i++)
      assert_true(ntk_tensor_real(w1->constant, i) ==
                  (double)(i + offset / 4) * (i + offset / 4));
    memcpy(sha256, model->sha256, sizeof sha256);
    ntk_model_destroy(&model);
  }
  /* the digest covers the external file */
  write_bytes(folder, "w.bin", (float[40]){1, 2}, 40 * sizeof(float));
  assert_int_equal(read_external(external_mlp("w.bin", "40", "120"), &model), NTK_SUCCESS);
  assert_string_not_equal(model->sha256, sha256);
  ntk_model_destroy(&model);
}

static void test_external_outside(void **state) {
  (void)state;
  char path[256];
  (void)snprintf(path, sizeof path, "%s/w.bin", outside);
  external_refused(external_mlp(path, NULL, NULL), NTK_ERR_FORMAT, "outside");
  (void)snprintf(path, sizeof path, "../%s/w.bin", strrchr(outside, '/') + 1);
  external_refused(external_mlp(path, NULL, NULL), NTK_ERR_FORMAT, "outside");
  external_refused(external_mlp("link.bin", NULL, NULL), NTK_ERR_FORMAT, "outside");
  external_refused(external_mlp("linked/w.bin", NULL, NULL), NTK_ERR_FORMAT, "outside");
}

static void test_external_broken(void **state) {
  (void)state;
  external_refused(external_mlp("short.bin", NULL, NULL), NTK_ERR_FORMAT, "short.bin");
  external_refused(external_mlp("w.bin", "44", NULL), NTK_ERR_FORMAT, "w.bin");
  external_refused(external_mlp("w.bin", "-4", NULL), NTK_ERR_FORMAT, "'w1'");
  external_refused(external_mlp("w.bin", "four", NULL), NTK_ERR_FORMAT, "'w1'");
  external_refused(external_mlp("w.bin", NULL, "116"), NTK_ERR_FORMAT, "'w1'");
  external_refused(external_mlp("missing.bin", NULL, NULL), NTK_ERR_FILE, "missing.bin");
  external_refused(external_mlp("sub", NULL, NULL), NTK_ERR_FILE, "regular");
  external_refused(external_mlp("", NULL, NULL), NTK_ERR_FORMAT, "location");
  expect_refused(external_mlp("w.bin", NULL, NULL), NULL, NTK_ERR_UNSUPPORTED, "memory");
  static const char *const names[] = {"w.bin",  "short.bin", "link.bin",
                                      "linked", "m.onnx",    "sub"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    remove_file(folder, names[i]);
  remove_file(outside, "w.bin");
  assert_int_equal(rmdir(folder), 0);
  assert_int_equal(rmdir(outside), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_mlp),
    cmocka_unit_test(test_cnn),
    cmocka_unit_test(test_digests),
    cmocka_unit_test(test_golden_files),
    cmocka_unit_test(test_generated_files),
    cmocka_unit_test(test_describe),
    cmocka_unit_test(test_element_types),
    cmocka_unit_test(test_fold_gather_concat),
    cmocka_unit_test(test_fold_slice_cast_mul),
    cmocka_unit_test(test_fold_division_expand),
    cmocka_unit_test(test_fold_where),
    cmocka_unit_test(test_split),
    cmocka_unit_test(test_bad_split),
    cmocka_unit_test(test_order_and_dead_nodes),
    cmocka_unit_test(test_initializers_as_inputs),
    cmocka_unit_test(test_external_inside),
    cmocka_unit_test(test_external_outside),
    cmocka_unit_test(test_external_broken),
};
RUN_TESTS(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 */
#include "onnx/checks.h"

#include "autodiff/net.h"
#include <unistd.h>

/* Tensors so large that their elements are read by one rank and held once per node. */

static char folder[64];

/* Elements of the kinds in which files hold them; halves are exact in f32. */
static double element(char kind, int64_t i) {
  return kind == 'h'   ? 1 + (double)(i % 1024) / 1024
         : kind == 'b' ? 1 + (double)(i % 128) / 128
                       : (double)(i % 4093) / 16 - 100;
}
static uint16_t half_bits(char kind, int64_t i) {
  return (uint16_t)(kind == 'h' ? 0x3c00 + i % 1024 : 0x3f80 + i % 128);
}

/* kind: f32, h: f16, b: bf16; raw or in the field of its type. */
static Onnx__TensorProto *large_new(const char *name, char kind, bool raw,
                                    const char *shape) {
  const int type = kind == 'h'   ? ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16
                   : kind == 'b' ? ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16
                                 : ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  Onnx__TensorProto *tensor = tensor_new(name, type, shape);
  const size_t n = tensor_size(tensor), width = kind == 'f' ? 4 : 2;
  char *bytes = malloc(n * width);
  tensor->int32_data = raw || kind == 'f' ? NULL : malloc(n * sizeof(int32_t));
  for (size_t i = 0; i < n; i++) {
    const float wide = (float)element(kind, (int64_t)i);
    const uint16_t half = half_bits(kind, (int64_t)i);
    memcpy(bytes + i * width, kind == 'f' ? (const void *)&wide : &half, width);
    if (tensor->int32_data)
      tensor->int32_data[i] = half;
  }
  if (raw) {
    tensor->has_raw_data = 1;
    tensor->raw_data.data = (uint8_t *)bytes;
    tensor->raw_data.len = n * width;
  } else if (kind == 'f') {
    tensor->float_data = (float *)(void *)bytes;
    tensor->n_float_data = n;
  } else {
    tensor->n_int32_data = n;
    free(bytes);
  }
  return tensor;
}

static const struct {
  const char *name;
  char kind;
  bool raw;
  const char *shape;
} tensors[] = {{"a", 'f', true, "600 500"}, {"b", 'f', false, "500 40"},
               {"c", 'h', true, "40 301"},  {"d", 'h', false, "301 80"},
               {"e", 'b', true, "80 50"},   {"f", 'b', false, "50 70"}};
enum { TENSORS = sizeof tensors / sizeof *tensors };

/* A chain of products, behind each a small bias, and a large constant of a node. */
static Onnx__ModelProto *large_model(void) {
  Onnx__ModelProto *proto = model_new(17);
  char value[32] = "x", inputs[64], next[32], bias[32];
  add_input(proto, "x", "batch 600");
  for (int i = 0; i < TENSORS; i++) {
    (void)add_initializer(proto, large_new(tensors[i].name, tensors[i].kind, tensors[i].raw,
                                           tensors[i].shape));
    (void)snprintf(bias, sizeof bias, "bias%d", i);
    (void)add_floats(proto, bias, strchr(tensors[i].shape, ' ') + 1);
    (void)snprintf(inputs, sizeof inputs, "%s %s", value, tensors[i].name);
    (void)snprintf(next, sizeof next, "m%d", i);
    (void)add_node(proto, "MatMul", inputs, next);
    (void)snprintf(inputs, sizeof inputs, "%s %s", next, bias);
    (void)snprintf(value, sizeof value, "s%d", i);
    (void)add_node(proto, "Add", inputs, value);
  }
  set_tensor(add_node(proto, "Constant", "", "k"), large_new("k", 'f', true, "70 20"));
  (void)add_node(proto, "MatMul", "s5 k", "y");
  add_output(proto, "y");
  return proto;
}

static const ntk_value *value_named(const ntk_model *model, const char *name) {
  for (int v = 0; v < model->graph->value_count; v++)
    if (strcmp(model->graph->values[v].name, name) == 0)
      return &model->graph->values[v];
  fail_msg("no value '%s'", name);
  return NULL;
}

static void check_tensor(const ntk_model *model, const char *name, char kind) {
  const ntk_value *value = value_named(model, name);
  const int64_t n = ntk_shape_size(&value->shape);
  assert_true(value->constant->is_borrowed);
  assert_int_equal(value->constant->dtype, NTK_F32);
  for (int64_t i = 0; i < n; i++)
    if (ntk_tensor_real(value->constant, i) != element(kind, i))
      fail_msg("%s[%lld] is %g, not %g", name, (long long)i,
               ntk_tensor_real(value->constant, i), element(kind, i));
}

static void check_model(const ntk_model *model) {
  for (int i = 0; i < TENSORS; i++)
    check_tensor(model, tensors[i].name, tensors[i].kind);
  check_tensor(model, "k", 'f');
  const ntk_value *bias = value_named(model, "bias0");
  assert_true(!bias->constant->is_borrowed);
  assert_true(ntk_tensor_real(bias->constant, 3) == (double)(float)(0.5 * sin(12.1)));
}

/* Bytes of the elements as f32, which are what a node holds. */
static int64_t large_bytes(void) {
  const int64_t elements =
      600 * 500 + 500 * 40 + 40 * 301 + 301 * 80 + 80 * 50 + 50 * 70 + 70 * 20;
  return 4 * elements;
}

/* All kinds of fields, from memory: the elements are right on all ranks, and no rank takes
 * more than its part of them and a little. */
static void elements_are_held_once(void **state) {
  (void)state;
  Onnx__ModelProto *proto = large_model();
  ntk_model *model = NULL;
  const int64_t before = ntk_memory_used_total();
  const int64_t part = large_bytes() / ntk_context_size(context);
  size_t size;
  uint8_t *bytes = model_pack(proto, &size);
  assert_int_equal(ntk_model_from_memory(context, bytes, size, NULL, &model), NTK_SUCCESS);
  free(bytes); /* nothing points there */
  check_model(model);
  assert_int_equal(ntk_model_get_info(model).parameters,
                   large_bytes() / 4 - 1400 + 500 + 40 + 301 + 80 + 50 + 70);
  const int64_t held = ntk_memory_used(NTK_MEMORY_PARAMETERS);
  assert_true(held >= part && held < part + 1024);
  assert_true(ntk_memory_used_total() < before + part + 100000);
  /* one tensor in the field of its type is unpacked at a time, by rank 0 */
  assert_true(ntk_memory_peak_total() < before + part + 300000);
  ntk_model_destroy(&model);
  assert_int_equal(ntk_memory_used_total(), before);
  model_free(proto);
}

static void write_all(const char *name, const void *bytes, size_t size) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

static void set_external(Onnx__TensorProto *tensor, const char *key, const char *value) {
  NEW_PIECE(Onnx__StringStringEntryProto, onnx__string_string_entry_proto__init, entry);
  entry->key = strdup(key);
  entry->value = strdup(value);
  APPEND(tensor->external_data, tensor->n_external_data, entry);
}

/* Moves the raw elements of some tensors into a file, one behind the other. */
static void write_model(Onnx__ModelProto *proto) {
  char *data = calloc(1, 1 << 22);
  size_t at = 0, size;
  for (size_t i = 0; i < proto->graph->n_initializer; i++) {
    Onnx__TensorProto *t = proto->graph->initializer[i];
    char offset[32];
    if (!t->has_raw_data || i % 3 == 1)
      continue;
    memcpy(data + at, t->raw_data.data, t->raw_data.len);
    (void)snprintf(offset, sizeof offset, "%zu", at);
    set_external(t, "location", "weights.bin");
    set_external(t, "offset", offset);
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    at += t->raw_data.len;
    free(t->raw_data.data);
    t->raw_data = (ProtobufCBinaryData){0, NULL};
    t->has_raw_data = 0;
  }
  write_all("weights.bin", data, at);
  free(data);
  uint8_t *bytes = model_pack(proto, &size);
  write_all("m.onnx", bytes, size);
  free(bytes);
}

static void make_folder(void) {
  (void)snprintf(folder, sizeof folder, P_tmpdir "/scantk_large_XXXXXX");
  if (ntk_context_rank(context) == 0)
    assert_non_null(mkdtemp(folder));
  assert_int_equal(MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, context->comm),
                   MPI_SUCCESS);
}

static void remove_all(void) {
  static const char *const names[] = {"weights.bin", "m.onnx"};
  char path[128];
  assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
  for (int i = 0; i < 2 && ntk_context_rank(context) == 0; i++) {
    (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    (void)remove(path);
  }
  if (ntk_context_rank(context) == 0)
    assert_int_equal(rmdir(folder), 0);
}

/* Files, which rank 0 alone opens: they are gone for the others. */
static void files_are_read_by_one_rank(void **state) {
  (void)state;
  Onnx__ModelProto *proto = large_model();
  ntk_model *model = NULL;
  char path[128], elsewhere[] = "/nonexistent/m.onnx";
  make_folder();
  if (ntk_context_rank(context) == 0)
    write_model(proto);
  (void)snprintf(path, sizeof path, "%s/m.onnx", folder);
  if (ntk_model_read(context, ntk_context_rank(context) == 0 ? path : elsewhere, NULL,
                     &model) != NTK_SUCCESS)
    fail_msg("%s", ntk_context_error(context));
  for (int i = 0; i < TENSORS; i++)
    check_tensor(model, tensors[i].name, tensors[i].kind);
  assert_int_equal(strlen(model->sha256), 64);
  assert_int_equal(strlen(model->parameter_digest), 32);
  ntk_model_destroy(&model);
  remove_all();
  model_free(proto);
}

/* Files of weights that are not there: made up to plan with, on all ranks, else refused. */
static void weights_may_be_absent(void **state) {
  (void)state;
  Onnx__ModelProto *proto = large_model();
  ntk_model *model = NULL;
  char path[128];
  make_folder();
  if (ntk_context_rank(context) == 0)
    write_model(proto);
  (void)snprintf(path, sizeof path, "%s/weights.bin", folder);
  if (ntk_context_rank(context) == 0)
    assert_int_equal(remove(path), 0);
  (void)snprintf(path, sizeof path, "%s/m.onnx", folder);
  assert_int_equal(ntk_model_read(context, path, NULL, &model), NTK_ERR_FILE);
  assert_non_null(strstr(ntk_context_error(context), "weights.bin"));
  if (ntk_model_read_shapes(context, path, NULL, &model) != NTK_SUCCESS)
    fail_msg("%s", ntk_context_error(context));
  assert_int_equal(ntk_model_check_weights(model), NTK_ERR_FILE);
  const ntk_tensor *a = value_named(model, "a")->constant;
  assert_true(a->is_borrowed);
  for (int64_t i = 0; i < 300000; i++)
    assert_true(ntk_tensor_real(a, i) > 0 && ntk_tensor_real(a, i) < 0.01);
  assert_true(ntk_tensor_real(a, 0) != ntk_tensor_real(a, 1));
  check_tensor(model, "b", 'f'); /* in the model itself */
  ntk_model_destroy(&model);
  remove_all();
  model_free(proto);
}

/* Each way in which a large tensor may be wrong is everybody's failure. */
static void large_tensors_are_checked(void **state) {
  (void)state;
  Onnx__ModelProto *proto = large_model();
  proto->graph->initializer[0]->raw_data.len -= 4;
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "'a'");
  proto = large_model();
  proto->graph->initializer[2]->n_float_data--; /* b, behind the bias of a */
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "'b'");
  proto = large_model();
  proto->graph->initializer[2]->dims[0] = INT64_MAX / 64;
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "'b'");
  proto = large_model();
  proto->graph->initializer[1]->has_data_location = 1; /* the mark that is ours alone */
  proto->graph->initializer[1]->data_location = (Onnx__TensorProto__DataLocation)2;
  set_external(proto->graph->initializer[1], "scantk.place", "0 2000");
  expect_refused(proto, NULL, NTK_ERR_FORMAT, "unknown location");
}

/* A large constant that nodes compute is computed where parameters are held, not folded. */
static void large_constants_are_not_folded(void **state) {
  (void)state;
  for (int large = 0; large < 2; large++) {
    Onnx__ModelProto *proto = model_new(17);
    ntk_model *model = NULL;
    ntk_net *net = NULL;
    const int64_t rows = large ? 300 : 3, columns = 250;
    add_input(proto, "x", large ? "batch 300" : "batch 3");
    (void)add_initializer(proto, large_new("w", 'f', true, large ? "250 300" : "250 3"));
    (void)add_floats(proto, "v", "250 2");
    set_ints(add_node(proto, "Transpose", "w", "wt"), "perm", "1 0");
    (void)add_node(proto, "Add", "wt wt", "w2");
    (void)add_node(proto, "MatMul", "x w2", "h");
    (void)add_node(proto, "MatMul", "h v", "y");
    add_output(proto, "y");
    model = read_model(proto, "--freeze w");
    assert_int_equal(model->graph->node_count, large ? 4 : 2);
    for (int dtype = 0; dtype < 2; dtype++) {
      assert_int_equal(ntk_net_create(model->graph, (ntk_dtype)dtype, NULL, &net),
                       NTK_SUCCESS);
      const int v = (int)(value_named(model, "w2") - model->graph->values);
      for (int64_t i = 0; i < rows * columns; i++) {
        const double due = 2 * element('f', i % columns * rows + i / columns);
        const double found =
            dtype ? ((double *)net->held[v])[i] : (double)((float *)net->held[v])[i];
        assert_true(found == due);
      }
      ntk_net_destroy(&net);
    }
    ntk_model_destroy(&model);
    model_free(proto);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(elements_are_held_once), cmocka_unit_test(files_are_read_by_one_rank),
    cmocka_unit_test(weights_may_be_absent), cmocka_unit_test(large_tensors_are_checked),
    cmocka_unit_test(large_constants_are_not_folded)};
RUN_TESTS(tests)

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/text.h"
#include "onnx.pb-c.h"
#include <math.h>
#include <mpi.h>
#include <scantk/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ntk_model_generate: what stands in the files, read back by protobuf alone. */

static ntk_context *context;
static char path[256];

static Onnx__ModelProto *generate(const char *family, const char *options) {
  char *bytes = NULL;
  int64_t size = 0;
  MPI_Barrier(MPI_COMM_WORLD); /* all have read the last one */
  if (ntk_context_rank(context) == 0)
    remove(path);
  const ntk_status status = ntk_model_generate(context, family, options, path);
  if (status != NTK_SUCCESS)
    fail_msg("%s %s: %s", family, options, ntk_context_error(context));
  assert_int_equal(ntk_file_read(path, &bytes, &size), NTK_SUCCESS);
  Onnx__ModelProto *model =
      onnx__model_proto__unpack(NULL, (size_t)size, (const uint8_t *)bytes);
  assert_non_null(model);
  ntk_free(&bytes);
  return model;
}

static void release(Onnx__ModelProto *model) {
  onnx__model_proto__free_unpacked(model, NULL);
}

static int64_t size_of(const Onnx__TensorProto *tensor) {
  int64_t n = 1;
  for (size_t i = 0; i < tensor->n_dims; ++i)
    n *= tensor->dims[i];
  assert_int_equal(tensor->raw_data.len, (size_t)n * sizeof(float));
  return n;
}

/* Is it in the list of the metadata? */
static bool is_parameter(const Onnx__ModelProto *model, const Onnx__TensorProto *t) {
  char quoted[128];
  snprintf(quoted, sizeof quoted, "\"%s\"", t->name);
  return strstr(model->metadata_props[0]->value, quoted) != NULL;
}

static int64_t parameters(const char *family, const char *options) {
  Onnx__ModelProto *model = generate(family, options);
  int64_t total = 0;
  for (size_t i = 0; i < model->graph->n_initializer; ++i)
    if (is_parameter(model, model->graph->initializer[i]))
      total += size_of(model->graph->initializer[i]);
  release(model);
  return total;
}

static const Onnx__TensorProto *tensor(const Onnx__ModelProto *model, const char *name) {
  for (size_t i = 0; i < model->graph->n_initializer; ++i)
    if (strcmp(model->graph->initializer[i]->name, name) == 0)
      return model->graph->initializer[i];
  fail_msg("no tensor %s", name);
  return NULL;
}

static double element(const Onnx__TensorProto *t, int64_t i) {
  float value;
  memcpy(&value, t->raw_data.data + (size_t)i * sizeof value, sizeof value);
  return (double)value;
}

static void moments(const Onnx__TensorProto *t, double *mean, double *variance) {
  const int64_t n = size_of(t);
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += element(t, i);
  *mean = sum / (double)n;
  for (int64_t i = 0; i < n; ++i)
    squares += (element(t, i) - *mean) * (element(t, i) - *mean);
  *variance = squares / (double)n;
}

/* N(0, variance), within 6 standard errors. */
static void assert_normal(const Onnx__TensorProto *t, double variance) {
  const double n = (double)size_of(t);
  double mean, found;
  moments(t, &mean, &found);
  assert_true(fabs(mean) < 6 * sqrt(variance / n));
  assert_true(fabs(found - variance) < 6 * variance * sqrt(2 / n));
}

static const Onnx__NodeProto *node(const Onnx__ModelProto *model, const char *name) {
  for (size_t i = 0; i < model->graph->n_node; ++i)
    if (strcmp(model->graph->node[i]->name, name) == 0)
      return model->graph->node[i];
  fail_msg("no node %s", name);
  return NULL;
}

static int count_nodes(const Onnx__ModelProto *model, const char *op) {
  int count = 0;
  for (size_t i = 0; i < model->graph->n_node; ++i)
    count += strcmp(model->graph->node[i]->op_type, op) == 0;
  return count;
}

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *at, const char *name) {
  for (size_t i = 0; i < at->n_attribute; ++i)
    if (strcmp(at->attribute[i]->name, name) == 0)
      return at->attribute[i];
  fail_msg("no attribute %s of %s", name, at->name);
  return NULL;
}

static double constant(const Onnx__ModelProto *model, const char *name) {
  const Onnx__TensorProto *t = attribute(node(model, name), "value")->t;
  assert_int_equal(t->n_dims, 0);
  return element(t, 0);
}

/* Counts from the layers' shapes; LeNet-5 and ResNet-18 as published. */
static void test_parameter_counts(void **state) {
  (void)state;
  assert_int_equal(parameters("fcn", NULL),
                   785 * 512 + 2 * 513 * 512 + 513 * 10); /* defaults */
  assert_int_equal(parameters("fcn", "--input 2x3x4 --width 9 --depth 2 --outputs 3"),
                   25 * 9 + 10 * 9 + 10 * 3);
  assert_int_equal(parameters("fcn", "--input 5 --depth 0"), 6 * 10);
  assert_int_equal(parameters("cnn", NULL), 10 * 64 + 2 * 577 * 64 + 65 * 10);
  assert_int_equal(parameters("cnn", "--parameterization ntk"),
                   10 * 64 + 2 * 577 * 64 + 65 * 10);
  assert_int_equal(parameters("lenet5", NULL), 61706);
  assert_int_equal(parameters("lenet5", "--input 3x32x32"), 62006);
  assert_int_equal(parameters("resnet18", NULL), 11169162);
  assert_int_equal(parameters("resnet18", "--width 8"), 175802);
  /* patches, token, positions; per block two norms, four layers; norm, head */
  assert_int_equal(parameters("vit", NULL),
                   49 * 192 + 192 + 65 * 192 +
                       6 * (4 * 192 + 193 * 576 + 193 * 192 + 193 * 768 + 769 * 192) +
                       2 * 192 + 193 * 10);
  assert_int_equal(parameters("vit",
                              "--input 2x6x9 --patch 3 --width 8 --heads 4 --depth 1 "
                              "--outputs 5 --parameterization ntk"),
                   19 * 8 + 8 + 7 * 8 + 4 * 8 + 9 * 24 + 9 * 8 + 9 * 32 + 33 * 8 + 16 + 45);
}

/* With the stem, norm and outputs for ImageNet as torchvision counts them; the wide one is
 * the 36.5 million of its paper, mobilenet the 4.2 million of its. */
static void test_published_counts(void **state) {
  (void)state;
  const char *const imagenet = "--stem imagenet --norm batch --outputs 1000";
  assert_int_equal(parameters("resnet18", imagenet), 11689512);
  assert_int_equal(parameters("resnet34", imagenet), 21797672);
  assert_int_equal(parameters("resnet50", imagenet), 25557032);
  assert_int_equal(parameters("wideresnet", "--norm batch"), 36479194);
  assert_int_equal(parameters("mobilenet", imagenet), 4231976);
}

/* Of vgg and alexnet with `width` channels, given their convolutions' squares: those of
 * torchvision at width 64 and 224x224. */
static int64_t classifier(int64_t width, int64_t features, int64_t outputs) {
  const int64_t hidden = 64 * width;
  return (features + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * outputs;
}

static int64_t convolutions(int count, const int64_t channels[], int64_t taps) {
  int64_t total = 0;
  for (int i = 0; i < count; ++i)
    total += (channels[i] * taps + 1) * channels[i + 1];
  return total;
}

/* vgg11 and alexnet of torchvision have 132863336 and 61100840: the same sums at width 64.
 */
static void test_plain_counts(void **state) {
  (void)state;
  const int64_t full[] = {3, 64, 128, 256, 256, 512, 512, 512, 512};
  const int64_t small[] = {3, 4, 8, 16, 16, 32, 32, 32, 32};
  assert_int_equal(convolutions(8, full, 9) + classifier(64, 49 * 512, 1000), 132863336);
  assert_int_equal(parameters("vgg11", "--width 4 --input 3x224x224 --outputs 7"),
                   convolutions(8, small, 9) + classifier(4, 49 * 32, 7));
  assert_int_equal(parameters("vgg11", "--width 4 --norm batch"),
                   convolutions(8, small, 9) + classifier(4, 32, 10) + 2 * 172);
  const int64_t wide[] = {192, 384, 256, 256}, narrow[] = {6, 12, 8, 8};
  assert_int_equal(364 * 64 + (64 * 25 + 1) * 192 + convolutions(3, wide, 9) +
                       classifier(64, 36 * 256, 1000),
                   61100840);
  assert_int_equal(parameters("alexnet", "--width 2 --input 3x224x224"),
                   364 * 2 + (2 * 25 + 1) * 6 + convolutions(3, narrow, 9) +
                       classifier(2, 36 * 8, 10));
}

static void test_sequence_counts(void **state) {
  (void)state;
  const int64_t block = 4 * 8 + 9 * 24 + 9 * 8 + 9 * 32 + 33 * 8;
  assert_int_equal(parameters("gpt", "--input 6 --width 8 --depth 2 --vocabulary 11"),
                   (11 + 6) * 8 + 2 * block + 16 + 9 * 11);
  assert_int_equal(
      parameters("gpt", "--input 6 --width 8 --depth 2 --vocabulary 11 --head tied"),
      (11 + 6) * 8 + 2 * block + 16);
  assert_int_equal(parameters("lstm", "--input 5x3 --width 4 --depth 2"),
                   16 * (3 + 4 + 2) + 16 * (4 + 4 + 2) + 5 * 10);
  /* 4 tokens of 3 x 4 x 4 values, 4 and 32 hidden neurons */
  assert_int_equal(parameters("mixer", "--input 3x8x8 --width 8 --depth 1"),
                   49 * 8 + 4 * 8 + (5 * 4 + 5 * 4) + (9 * 32 + 33 * 8) + 16 + 90);
}

static void test_batch_norm(void **state) {
  (void)state;
  Onnx__ModelProto *model = generate("resnet18", "--width 2 --norm batch");
  assert_int_equal(count_nodes(model, "BatchNormalization"), 20);
  assert_int_equal(node(model, "stem")->n_input, 2); /* no bias */
  assert_true(is_parameter(model, tensor(model, "stem.norm.weight")));
  assert_false(is_parameter(model, tensor(model, "stem.norm.mean")));
  assert_false(is_parameter(model, tensor(model, "stem.norm.variance")));
  assert_true(element(tensor(model, "stem.norm.weight"), 1) == 1);
  assert_true(element(tensor(model, "stem.norm.bias"), 1) == 0);
  assert_true(element(tensor(model, "stem.norm.mean"), 1) == 0);
  assert_true(element(tensor(model, "stem.norm.variance"), 1) == 1);
  release(model);
}

static void test_gpt(void **state) {
  (void)state;
  Onnx__ModelProto *model = generate("gpt", "--width 64 --depth 1 --input 4");
  assert_int_equal(model->graph->input[0]->type->tensor_type->elem_type,
                   ONNX__TENSOR_PROTO__DATA_TYPE__INT64);
  const Onnx__TensorProto *mask = tensor(model, "mask");
  assert_false(is_parameter(model, mask));
  assert_true(element(mask, 4) == 0 && element(mask, 5) == 0);
  assert_true(element(mask, 6) < -1e29 && element(mask, 7) < -1e29);
  assert_normal(tensor(model, "embedding"), 0.02 * 0.02);
  release(model);
}

static void test_grouped(void **state) {
  (void)state;
  Onnx__ModelProto *model = generate("mobilenet", "--width 16");
  assert_int_equal(attribute(node(model, "block3.depthwise"), "group")->i, 64);
  assert_int_equal(tensor(model, "block3.depthwise.weight")->dims[1], 1);
  assert_normal(tensor(model, "block13.depthwise.weight"), 2.0 / 9);
  assert_normal(tensor(model, "block13.pointwise.weight"), 2.0 / 512);
  release(model);
}

/* Input, hidden and output layers of parametrize.c's table. */
static void test_mup(void **state) {
  (void)state;
  Onnx__ModelProto *model =
      generate("fcn", "--input 300 --width 200 --depth 2 --parameterization mup");
  assert_normal(tensor(model, "hidden0.weight"), 2.0 / 300 / 200);
  assert_normal(tensor(model, "hidden1.weight"), 2.0 / 200);
  assert_normal(tensor(model, "head.weight"), 2.0 / 200);
  assert_true(fabs(constant(model, "hidden0.scaled.constant") - sqrt(200)) < 1e-5);
  assert_string_equal(node(model, "hidden1")->input[0], "hidden1.product");
  assert_true(fabs(constant(model, "hidden1.shift.constant") - sqrt(200)) < 1e-5);
  assert_true(fabs(constant(model, "head.scaled.constant") - sqrt(1.0 / 200)) < 1e-8);
  assert_string_equal(node(model, "head")->input[1], "head.bias");
  release(model);
}

static void test_vit(void **state) {
  (void)state;
  const char *const options = "--width 64 --heads 2 --depth 2 --seed 3";
  Onnx__ModelProto *model = generate("vit", options);
  assert_int_equal(count_nodes(model, "Softmax"), 2);
  assert_int_equal(count_nodes(model, "Erf"), 2); /* gelu where no activation is named */
  assert_int_equal(attribute(node(model, "patch"), "strides")->ints[1], 4);
  assert_int_equal(tensor(model, "position")->dims[1], 65);
  assert_normal(tensor(model, "position"), 0.02 * 0.02);
  assert_normal(tensor(model, "block1.attention.qkv.weight"), 1.0 / 64);
  assert_true(element(tensor(model, "norm.weight"), 63) == 1);
  assert_true(fabs(constant(model, "block0.attention.q.scaled.constant") - sqrt(1.0 / 32)) <
              1e-8);
  release(model);
  model = generate("vit", "--width 64 --depth 1 --parameterization ntk --activation relu");
  assert_normal(tensor(model, "position"), 1);
  assert_normal(tensor(model, "block0.mlp.down.weight"), 1);
  assert_true(fabs(constant(model, "position.scaled.constant") - 0.1) < 1e-8);
  assert_true(fabs(constant(model, "block0.mlp.down.scaled.constant") - sqrt(2.0 / 256)) <
              1e-8);
  assert_int_equal(count_nodes(model, "Relu"), 1);
  release(model);
}

static void test_header(void **state) {
  (void)state;
  Onnx__ModelProto *model = generate("fcn", "--input 3x2 --width 4 --depth 1 --outputs 5");
  assert_string_equal(model->producer_name, "scantk");
  assert_int_equal(model->ir_version, 8);
  assert_int_equal(model->opset_import[0]->version, 17);
  assert_int_equal(model->n_metadata_props, 1);
  assert_string_equal(model->metadata_props[0]->key, "scantk.parameters");
  assert_string_equal(model->metadata_props[0]->value,
                      "[\"hidden0.weight\", \"hidden0.bias\", \"head.weight\", "
                      "\"head.bias\"]");
  const Onnx__TensorShapeProto *in = model->graph->input[0]->type->tensor_type->shape;
  const Onnx__TensorShapeProto *out = model->graph->output[0]->type->tensor_type->shape;
  assert_int_equal(in->n_dim, 3);
  assert_string_equal(in->dim[0]->dim_param, "batch");
  assert_int_equal(in->dim[1]->dim_value, 3);
  assert_int_equal(in->dim[2]->dim_value, 2);
  assert_int_equal(out->n_dim, 2);
  assert_string_equal(out->dim[0]->dim_param, "batch");
  assert_int_equal(out->dim[1]->dim_value, 5);
  assert_int_equal(count_nodes(model, "Flatten"), 1);
  assert_int_equal(attribute(node(model, "head"), "transB")->i, 1);
  assert_int_equal(tensor(model, "head.weight")->dims[0], 5); /* [out, in] */
  release(model);
}

static void test_standard(void **state) {
  (void)state;
  Onnx__ModelProto *model = generate("fcn", "--input 400 --width 200 --depth 1");
  assert_normal(tensor(model, "hidden0.weight"), 2.0 / 400);
  assert_normal(tensor(model, "head.weight"), 2.0 / 200);
  for (int i = 0; i < 200; ++i)
    assert_true(element(tensor(model, "hidden0.bias"), i) == 0);
  release(model);
  model = generate("fcn", "--input 400 --width 200 --depth 1 --activation tanh");
  assert_normal(tensor(model, "hidden0.weight"), 1.0 / 400);
  release(model);
  model = generate("cnn", "--input 3x8x8 --width 50 --weight-variance 0.25");
  assert_normal(tensor(model, "conv1.weight"), 0.25 / 450);
  release(model);
}

static void test_ntk(void **state) {
  (void)state;
  Onnx__ModelProto *model =
      generate("fcn", "--input 300 --width 200 --depth 1 --parameterization ntk");
  assert_normal(tensor(model, "hidden0.weight"), 1);
  assert_normal(tensor(model, "hidden0.bias"), 1);
  assert_true(fabs(constant(model, "hidden0.scaled.constant") - sqrt(2.0 / 300)) < 1e-8);
  assert_true(fabs(constant(model, "hidden0.shift.constant") - 0.1) < 1e-8);
  assert_string_equal(node(model, "hidden0")->op_type, "Add");
  assert_string_equal(node(model, "hidden0.product")->input[1], "hidden0.weight");
  assert_string_equal(node(model, "hidden0.shift")->input[0], "hidden0.bias");
  release(model);
  model =
      generate("cnn", "--input 2x6x6 --width 40 --parameterization ntk --bias-scale 0.5 "
                      "--activation erf");
  assert_normal(tensor(model, "conv1.weight"), 1);
  assert_int_equal(node(model, "conv1.product")->n_input, 2); /* no bias inside */
  assert_true(fabs(constant(model, "conv1.scaled.constant") - sqrt(1.0 / 360)) < 1e-8);
  assert_true(fabs(constant(model, "conv1.shift.constant") - 0.5) < 1e-8);
  assert_int_equal(tensor(model, "conv1.bias")->n_dims, 3); /* [C, 1, 1] */
  release(model);
}

static void test_strides(void **state) {
  (void)state;
  Onnx__ModelProto *model = generate("cnn", NULL);
  assert_int_equal(count_nodes(model, "Conv"), 3);
  assert_int_equal(attribute(node(model, "conv0"), "strides")->ints[0], 1);
  assert_int_equal(attribute(node(model, "conv1"), "strides")->ints[0], 2);
  assert_int_equal(attribute(node(model, "conv2"), "strides")->ints[1], 2);
  release(model);
  model = generate("resnet18", "--width 2");
  assert_int_equal(count_nodes(model, "Conv"), 20);
  assert_int_equal(count_nodes(model, "Add"), 8);
  assert_int_equal(count_nodes(model, "Relu"), 17);
  assert_int_equal(count_nodes(model, "MaxPool"), 0);
  assert_int_equal(attribute(node(model, "stage2.block1.shortcut"), "strides")->ints[0], 2);
  release(model);
}

static void test_activations(void **state) {
  (void)state;
  const char *const nodes[][2] = {
      {"relu", "Relu"}, {"tanh", "Tanh"}, {"erf", "Erf"}, {"gelu", "Erf"}};
  char options[128];
  for (size_t i = 0; i < sizeof nodes / sizeof *nodes; ++i) {
    snprintf(options, sizeof options, "--input 3 --width 4 --depth 2 --activation %s",
             nodes[i][0]);
    Onnx__ModelProto *model = generate("fcn", options);
    assert_int_equal(count_nodes(model, nodes[i][1]), 2);
    release(model);
  }
  Onnx__ModelProto *model = generate("fcn", "--input 3 --width 4 --activation identity");
  assert_int_equal(model->graph->n_node, 4);
  release(model);
}

/* The seed decides, and every tensor has numbers of its own. */
static void test_seed(void **state) {
  (void)state;
  Onnx__ModelProto *a = generate("fcn", "--input 6 --width 6 --seed 1");
  Onnx__ModelProto *b = generate("fcn", "--input 6 --width 6 --seed 1");
  Onnx__ModelProto *c = generate("fcn", "--input 6 --width 6 --seed 2");
  const Onnx__TensorProto *first = tensor(a, "hidden0.weight");
  const size_t bytes = first->raw_data.len;
  assert_memory_equal(first->raw_data.data, tensor(b, "hidden0.weight")->raw_data.data,
                      bytes);
  assert_memory_not_equal(first->raw_data.data, tensor(c, "hidden0.weight")->raw_data.data,
                          bytes);
  assert_memory_not_equal(first->raw_data.data, tensor(a, "hidden1.weight")->raw_data.data,
                          bytes);
  release(a);
  release(b);
  release(c);
}

static void member_path(int member, char out[300]) {
  snprintf(out, 300, "%.*s-%d.onnx", (int)(strlen(path) - strlen(".onnx")), path, member);
}

/* Members are the networks of the seeds that follow; one that exists refuses all. */
static void test_ensemble(void **state) {
  (void)state;
  char member[3][300], *bytes[2] = {NULL, NULL};
  int64_t sizes[2];
  const char *const options = "--input 6 --width 6 --seed 4 --ensemble 3";
  release(generate("fcn", "--input 6 --width 6 --seed 5"));
  for (int i = 0; i < 3; ++i)
    member_path(i, member[i]);
  assert_int_equal(ntk_model_generate(context, "fcn", options, path), NTK_SUCCESS);
  assert_int_equal(ntk_file_read(path, &bytes[0], &sizes[0]), NTK_SUCCESS);
  assert_int_equal(ntk_file_read(member[1], &bytes[1], &sizes[1]), NTK_SUCCESS);
  assert_int_equal(sizes[0], sizes[1]);
  assert_memory_equal(bytes[0], bytes[1], (size_t)sizes[0]);
  ntk_free(&bytes[0]);
  ntk_free(&bytes[1]);
  MPI_Barrier(MPI_COMM_WORLD);
  if (ntk_context_rank(context) == 0)
    remove(member[0]);
  assert_int_equal(ntk_model_generate(context, "fcn", options, path), NTK_ERR_EXISTS);
  assert_non_null(strstr(ntk_context_error(context), member[1]));
  assert_int_not_equal(access(member[0], F_OK), 0);
  MPI_Barrier(MPI_COMM_WORLD);
  for (int i = 1; i < 3; ++i)
    remove(member[i]);
}

/* One line that names the option, and no file. */
static void test_refusals(void **state) {
  (void)state;
  const char *const wrong[][3] = {
      {"mlp", "", "mlp: choose one of fcn, cnn, lenet5, alexnet, vgg11"},
      {"fcn", "--input 3x", "--input"},
      {"fcn", "--input 0x3", "--input"},
      {"fcn", "--input 2x2x2x2", "--input"},
      {"fcn", "--widht 4", "widht"},
      {"fcn", "--bias-scale 1", "--bias-scale"},
      {"fcn", "--input 3 --width 60000", "--width"},
      {"cnn", "--input 784", "--input"},
      {"lenet5", "--input 1x30x30", "--input"},
      {"lenet5", "--width 3", "--width"},
      {"resnet18", "--depth 3", "--depth"},
      {"fcn", "--patch 2", "--patch"},
      {"cnn", "--heads 2", "--heads"},
      {"vit", "--input 784", "--input"},
      {"vit", "--input 1x28x30", "--patch 4"},
      {"vit", "--width 100 --heads 3", "--heads 3"},
      {"vit", "--heads 0", "heads"},
      {"resnet18", "--activation sine", "activation"},
      {"fcn", "--norm batch", "--norm"},
      {"vgg11", "--stem imagenet", "--stem"},
      {"lenet5", "--parameterization mup", "mup"},
      {"fcn", "--parameterization mup --bias-scale 1", "--bias-scale"},
      {"wideresnet", "--depth 20", "--depth 20"},
      {"wideresnet", "--depth 4", "--depth 4"},
      {"alexnet", "--input 3x6x6", "conv1"},
      {"vgg11", "--input 3x256x256", "--input"},
      {"mixer", "--heads 2", "--heads"},
      {"mixer", "--patch 5", "--patch 5"},
      {"vit", "--vocabulary 5", "--vocabulary"},
      {"gpt", "--head tied --outputs 3", "--outputs"},
      {"gpt", "--input 3x4", "--input"},
      {"gpt", "--heads 5", "--heads 5"},
      {"lstm", "--input 784", "--input"},
      {"lstm", "--depth 0", "--depth"},
      {"lstm", "--activation relu", "--activation"},
      {"fcn", "--ensemble 0", "ensemble"},
  };
  assert_int_equal(ntk_model_generate(context, "lenet5", NULL, path), NTK_ERR_EXISTS);
  assert_non_null(strstr(ntk_context_error(context), path));
  MPI_Barrier(MPI_COMM_WORLD); /* all have read it */
  remove(path);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
    assert_int_equal(ntk_model_generate(context, wrong[i][0], wrong[i][1], path),
                     NTK_ERR_ARGUMENT);
    assert_non_null(strstr(ntk_context_error(context), wrong[i][2]));
    assert_null(strchr(ntk_context_error(context), '\n'));
    assert_int_not_equal(access(path, F_OK), 0);
  }
  assert_int_equal(ntk_model_generate(context, "lenet5", NULL, "/nonexistent/m.onnx"),
                   NTK_ERR_FILE);
  assert_non_null(strstr(ntk_context_error(context), "/nonexistent/m.onnx"));
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_parameter_counts),
      cmocka_unit_test(test_published_counts),
      cmocka_unit_test(test_plain_counts),
      cmocka_unit_test(test_sequence_counts),
      cmocka_unit_test(test_batch_norm),
      cmocka_unit_test(test_gpt),
      cmocka_unit_test(test_grouped),
      cmocka_unit_test(test_mup),
      cmocka_unit_test(test_vit),
      cmocka_unit_test(test_header),
      cmocka_unit_test(test_standard),
      cmocka_unit_test(test_ntk),
      cmocka_unit_test(test_strides),
      cmocka_unit_test(test_activations),
      cmocka_unit_test(test_seed),
      cmocka_unit_test(test_ensemble),
      cmocka_unit_test(test_refusals),
  };
  int pid = (int)getpid();
  MPI_Bcast(&pid, 1, MPI_INT, 0, MPI_COMM_WORLD);
  snprintf(path, sizeof path, "/tmp/scantk-generate-%d.onnx", pid);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove(path);
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}

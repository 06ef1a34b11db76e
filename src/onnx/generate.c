/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/generate.h"

#include "base/context.h"
#include "base/random.h"
#include <math.h>
#include <scantk/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME = 96 };

/* A network under construction: a chain of layers behind the value `at`. */
typedef struct build {
  ntk_writer *writer;
  uint64_t seed;
  uint64_t tensors; /* made so far: the random stream of the next one */
  const char *activation;
  bool ntk;                    /* parametrization: factors outside of the parameters */
  double variance, bias_scale; /* v, s */
  int64_t width, depth, outputs;
  char at[NAME];   /* the value in hand */
  ntk_shape shape; /* of one sample of it */
} build;

static ntk_status name_of(char out[NAME], const char *layer, const char *what) {
  const int length = snprintf(out, NAME, "%s%s", layer, what);
  if (length < 0 || length >= NAME)
    return ntk_fail(NTK_ERR_ARGUMENT, "the name %s%s is too long: fewer layers (--depth)",
                    layer, what);
  return NTK_SUCCESS;
}

/* A node of one or two inputs (right: NULL) whose output becomes the value in hand. */
static ntk_status put(build *b, const char *op, const char *layer, const char *what,
                      const char *right) {
  ntk_status status;
  const char *inputs[2] = {b->at, right};
  char name[NAME];
  NTK_TRY(name_of(name, layer, what));
  NTK_TRY(ntk_writer_add_node(b->writer, op, name, right ? 2 : 1, inputs));
  memcpy(b->at, name, NAME);
done:
  return status;
}

/* The same with a Constant on the right. */
static ntk_status put_constant(build *b, const char *op, const char *layer,
                               const char *what, double value) {
  ntk_status status;
  char suffix[NAME], name[NAME];
  NTK_TRY(name_of(suffix, what, ".constant"));
  NTK_TRY(name_of(name, layer, suffix));
  NTK_TRY(ntk_writer_add_constant(b->writer, name, value));
  NTK_TRY(put(b, op, layer, what, name));
done:
  return status;
}

/* A parameter tensor, N(0, deviation^2) from a random stream of its own. */
static ntk_status parameter(build *b, const char *name, const ntk_shape *shape,
                            double deviation) {
  ntk_status status;
  float *elements = NULL;
  const uint64_t stream = b->tensors++;
  NTK_TRY(ntk_writer_add_parameter(b->writer, name, shape, &elements));
  const int64_t n = ntk_shape_size(shape);
  for (int64_t i = 0; i < n && deviation > 0; ++i)
    elements[i] = (float)(deviation * ntk_random_normal(b->seed, stream, (uint64_t)i));
done:
  return status;
}

/* Weight and bias of a layer. ntk: N(0, 1), else N(0, v/fan_in) and 0. */
static ntk_status weight_and_bias(build *b, const char *layer, const ntk_shape *weight,
                                  const ntk_shape *bias, int64_t fan_in,
                                  char weight_name[NAME], char bias_name[NAME]) {
  ntk_status status;
  NTK_TRY(name_of(weight_name, layer, ".weight"));
  NTK_TRY(name_of(bias_name, layer, ".bias"));
  NTK_TRY(
      parameter(b, weight_name, weight, b->ntk ? 1 : sqrt(b->variance / (double)fan_in)));
  NTK_TRY(parameter(b, bias_name, bias, b->ntk ? 1 : 0));
done:
  return status;
}

/* ntk: y = sqrt(v/fan_in) (W x in hand) + s b */
static ntk_status scale_and_shift(build *b, const char *layer, const char *bias_name,
                                  int64_t fan_in) {
  ntk_status status;
  char product[NAME];
  NTK_TRY(put_constant(b, "Mul", layer, ".scaled", sqrt(b->variance / (double)fan_in)));
  memcpy(product, b->at, NAME);
  NTK_TRY(name_of(b->at, bias_name, ""));
  NTK_TRY(put_constant(b, "Mul", layer, ".shift", b->bias_scale));
  char shift[NAME];
  memcpy(shift, b->at, NAME);
  memcpy(b->at, product, NAME);
  NTK_TRY(put(b, "Add", layer, "", shift));
done:
  return status;
}

/* Dense layer on a vector. Standard: Gemm with W [out, in] as torch stores it; ntk: MatMul
 * with W [in, out]. */
static ntk_status dense(build *b, const char *layer, int64_t outputs) {
  ntk_status status;
  const int64_t inputs = b->shape.dim[0];
  const ntk_shape weight = {2, {b->ntk ? inputs : outputs, b->ntk ? outputs : inputs}};
  const ntk_shape bias = {1, {outputs}};
  char names[2][NAME];
  NTK_TRY(weight_and_bias(b, layer, &weight, &bias, inputs, names[0], names[1]));
  if (b->ntk) {
    NTK_TRY(put(b, "MatMul", layer, ".product", names[0]));
    NTK_TRY(scale_and_shift(b, layer, names[1], inputs));
  } else {
    const char *operands[3] = {b->at, names[0], names[1]};
    NTK_TRY(ntk_writer_add_node(b->writer, "Gemm", layer, 3, operands));
    NTK_TRY(ntk_writer_set_int(b->writer, "transB", 1));
    NTK_TRY(name_of(b->at, layer, ""));
  }
  b->shape = bias;
done:
  return status;
}

/* kernel_shape, strides and pads of a square window, on the node added last. */
static ntk_status set_window(build *b, int64_t kernel, int64_t stride, int64_t pad) {
  ntk_status status;
  NTK_TRY(ntk_writer_set_ints(b->writer, "kernel_shape", 2, (int64_t[]){kernel, kernel}));
  NTK_TRY(ntk_writer_set_ints(b->writer, "strides", 2, (int64_t[]){stride, stride}));
  NTK_TRY(ntk_writer_set_ints(b->writer, "pads", 4, (int64_t[]){pad, pad, pad, pad}));
  for (int i = 1; i < 3; ++i)
    b->shape.dim[i] = (b->shape.dim[i] + 2 * pad - kernel) / stride + 1;
done:
  return status;
}

static ntk_status convolution(build *b, const char *layer, int64_t channels, int64_t kernel,
                              int64_t stride, int64_t pad) {
  ntk_status status;
  const int64_t inputs = b->shape.dim[0], fan_in = inputs * kernel * kernel;
  const ntk_shape weight = {4, {channels, inputs, kernel, kernel}};
  const ntk_shape bias = {b->ntk ? 3 : 1, {channels, 1, 1}}; /* ntk: broadcast by Add */
  char names[2][NAME], output[NAME];
  NTK_TRY(weight_and_bias(b, layer, &weight, &bias, fan_in, names[0], names[1]));
  const char *operands[3] = {b->at, names[0], names[1]};
  NTK_TRY(name_of(output, layer, b->ntk ? ".product" : ""));
  NTK_TRY(ntk_writer_add_node(b->writer, "Conv", output, b->ntk ? 2 : 3, operands));
  NTK_TRY(set_window(b, kernel, stride, pad));
  memcpy(b->at, output, NAME);
  b->shape.dim[0] = channels;
  if (b->ntk)
    NTK_TRY(scale_and_shift(b, layer, names[1], fan_in));
done:
  return status;
}

static ntk_status max_pool(build *b, const char *layer) {
  ntk_status status;
  NTK_TRY(put(b, "MaxPool", layer, "", NULL));
  NTK_TRY(set_window(b, 2, 2, 0));
done:
  return status;
}

/* x/2 (1 + erf(x / sqrt 2)), in the nodes that exporters emit for it */
static ntk_status gelu(build *b, const char *layer) {
  ntk_status status;
  char x[NAME];
  memcpy(x, b->at, NAME);
  NTK_TRY(put_constant(b, "Div", layer, ".gelu.div", sqrt(2.0)));
  NTK_TRY(put(b, "Erf", layer, ".gelu.erf", NULL));
  NTK_TRY(put_constant(b, "Add", layer, ".gelu.add", 1));
  NTK_TRY(put(b, "Mul", layer, ".gelu.mul", x));
  NTK_TRY(put_constant(b, "Mul", layer, ".gelu", 0.5));
done:
  return status;
}

static ntk_status activate(build *b, const char *layer) {
  if (strcmp(b->activation, "identity") == 0)
    return NTK_SUCCESS;
  if (strcmp(b->activation, "gelu") == 0)
    return gelu(b, layer);
  if (strcmp(b->activation, "tanh") == 0)
    return put(b, "Tanh", layer, ".tanh", NULL);
  if (strcmp(b->activation, "erf") == 0)
    return put(b, "Erf", layer, ".erf", NULL);
  return put(b, "Relu", layer, ".relu", NULL);
}

static ntk_status flatten(build *b) {
  ntk_status status;
  NTK_TRY(put(b, "Flatten", "flatten", "", NULL));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", 1));
  b->shape = (ntk_shape){1, {ntk_shape_size(&b->shape)}};
done:
  return status;
}

/* Mean over the pixels, then the output layer. */
static ntk_status pooled_head(build *b) {
  ntk_status status;
  NTK_TRY(put(b, "GlobalAveragePool", "pool", "", NULL));
  b->shape.dim[1] = b->shape.dim[2] = 1;
  NTK_TRY(flatten(b));
  NTK_TRY(dense(b, "head", b->outputs));
done:
  return status;
}

static ntk_status require_image(const build *b, const char *family) {
  char text[NTK_SHAPE_TEXT];
  if (b->shape.ndim == 3)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT, "%s needs --input CHANNELSxHEIGHTxWIDTH, not %s",
                  family, ntk_shape_text(&b->shape, text));
}

static ntk_status build_fcn(build *b) {
  ntk_status status = NTK_SUCCESS;
  char layer[NAME];
  if (b->shape.ndim != 1)
    NTK_TRY(flatten(b));
  for (int64_t i = 0; i < b->depth; ++i) {
    snprintf(layer, sizeof layer, "hidden%lld", (long long)i);
    NTK_TRY(dense(b, layer, b->width));
    NTK_TRY(activate(b, layer));
  }
  NTK_TRY(dense(b, "head", b->outputs));
done:
  return status;
}

static ntk_status build_cnn(build *b) {
  ntk_status status;
  char layer[NAME];
  NTK_TRY(require_image(b, "cnn"));
  for (int64_t i = 0; i < b->depth; ++i) {
    snprintf(layer, sizeof layer, "conv%lld", (long long)i);
    NTK_TRY(convolution(b, layer, b->width, 3, i == 0 ? 1 : 2, 1));
    NTK_TRY(activate(b, layer));
  }
  NTK_TRY(pooled_head(b));
done:
  return status;
}

/* LeCun et al. 1998 with max-pools: 6 and 16 channels, 120, 84. */
static ntk_status build_lenet5(build *b) {
  ntk_status status;
  NTK_TRY(require_image(b, "lenet5"));
  const int64_t *dim = b->shape.dim;
  NTK_REQUIRE((dim[0] == 1 || dim[0] == 3) && dim[1] == dim[2] &&
                  (dim[1] == 28 || dim[1] == 32),
              NTK_ERR_ARGUMENT,
              "lenet5 takes --input 1x28x28, 3x28x28, 1x32x32 or 3x32x32, not "
              "%lldx%lldx%lld",
              (long long)dim[0], (long long)dim[1], (long long)dim[2]);
  NTK_TRY(convolution(b, "conv1", 6, 5, 1, dim[1] == 28 ? 2 : 0));
  NTK_TRY(activate(b, "conv1"));
  NTK_TRY(max_pool(b, "pool1"));
  NTK_TRY(convolution(b, "conv2", 16, 5, 1, 0));
  NTK_TRY(activate(b, "conv2"));
  NTK_TRY(max_pool(b, "pool2"));
  NTK_TRY(flatten(b));
  NTK_TRY(dense(b, "dense1", 120));
  NTK_TRY(activate(b, "dense1"));
  NTK_TRY(dense(b, "dense2", 84));
  NTK_TRY(activate(b, "dense2"));
  NTK_TRY(dense(b, "head", b->outputs));
done:
  return status;
}

/* Two 3x3 convolutions beside the identity or, where the shape changes, a 1x1 one. */
static ntk_status basic_block(build *b, const char *block, int64_t channels,
                              int64_t stride) {
  ntk_status status;
  char input[NAME], layer[NAME], branch[NAME];
  const ntk_shape shape = b->shape;
  memcpy(input, b->at, NAME);
  NTK_TRY(name_of(layer, block, ".conv1"));
  NTK_TRY(convolution(b, layer, channels, 3, stride, 1));
  NTK_TRY(activate(b, layer));
  NTK_TRY(name_of(layer, block, ".conv2"));
  NTK_TRY(convolution(b, layer, channels, 3, 1, 1));
  memcpy(branch, b->at, NAME);
  memcpy(b->at, input, NAME);
  if (stride != 1 || shape.dim[0] != channels) {
    b->shape = shape;
    NTK_TRY(name_of(layer, block, ".shortcut"));
    NTK_TRY(convolution(b, layer, channels, 1, stride, 0));
  }
  NTK_TRY(put(b, "Add", block, "", branch));
  NTK_TRY(activate(b, block));
done:
  return status;
}

/* He et al. 2015 for small images: no normalisation, stem 3x3 with stride 1, no max-pool;
 * four stages of two basic blocks. */
static ntk_status build_resnet18(build *b) {
  ntk_status status;
  char block[NAME];
  NTK_TRY(require_image(b, "resnet18"));
  NTK_TRY(convolution(b, "stem", b->width, 3, 1, 1));
  NTK_TRY(activate(b, "stem"));
  for (int stage = 0; stage < 4; ++stage)
    for (int i = 0; i < 2; ++i) {
      snprintf(block, sizeof block, "stage%d.block%d", stage + 1, i + 1);
      NTK_TRY(basic_block(b, block, b->width << stage, stage > 0 && i == 0 ? 2 : 1));
    }
  NTK_TRY(pooled_head(b));
done:
  return status;
}

/* "3x32x32" */
static ntk_status parse_shape(const char *text, ntk_shape *out) {
  ntk_shape shape = {0};
  const char *at = text;
  for (;;) {
    char *end = NULL;
    const long long size = strtoll(at, &end, 10);
    if (*at < '0' || *at > '9' || size < 1 || size > 1 << 30 || shape.ndim == 3 ||
        (*end != 'x' && *end != '\0'))
      return ntk_fail(NTK_ERR_ARGUMENT,
                      "--input %s: expected one to three sizes, as in 784 or 3x32x32",
                      text);
    shape.dim[shape.ndim++] = size;
    if (*end == '\0')
      break;
    at = end + 1;
  }
  *out = shape;
  return NTK_SUCCESS;
}

typedef struct family {
  const char *name;
  ntk_status (*make)(build *b);
  bool has_width, has_depth;
  const char *input; /* where --input is not given */
  int64_t width, depth;
} family;

static const family families[] = {
    {"fcn", build_fcn, true, true, "784", 512, 3},
    {"cnn", build_cnn, true, true, "1x28x28", 64, 3},
    {"lenet5", build_lenet5, false, false, "1x28x28", 0, 0},
    {"resnet18", build_resnet18, true, false, "3x32x32", 64, 0},
};

static const family *find_family(const char *name) {
  for (size_t i = 0; i < sizeof families / sizeof *families; ++i)
    if (strcmp(families[i].name, name) == 0)
      return &families[i];
  return NULL;
}

/* An integer option of the families that have it; refused for the others. */
static ntk_status size_option(const ntk_options *options, const family *kind,
                              const char *name, bool has, int64_t otherwise, int64_t *out) {
  const bool given = ntk_options_given(options, name);
  if (given && !has)
    return ntk_fail(NTK_ERR_ARGUMENT, "--%s: %s has a fixed %s", name, kind->name, name);
  *out = given ? ntk_options_int(options, name) : otherwise;
  return NTK_SUCCESS;
}

static ntk_status read_options(const ntk_options *options, const family *kind, build *b) {
  ntk_status status;
  b->ntk = strcmp(ntk_options_string(options, "parameterization"), "ntk") == 0;
  b->activation = ntk_options_string(options, "activation");
  b->seed = (uint64_t)ntk_options_int(options, "seed");
  b->outputs = ntk_options_int(options, "outputs");
  NTK_TRY(size_option(options, kind, "width", kind->has_width, kind->width, &b->width));
  NTK_TRY(size_option(options, kind, "depth", kind->has_depth, kind->depth, &b->depth));
  b->variance = strcmp(b->activation, "relu") == 0 ? 2 : 1;
  if (ntk_options_given(options, "weight-variance"))
    b->variance = ntk_options_real(options, "weight-variance");
  NTK_REQUIRE(b->ntk || !ntk_options_given(options, "bias-scale"), NTK_ERR_ARGUMENT,
              "--bias-scale needs --parameterization ntk: standard biases are 0");
  b->bias_scale = ntk_options_real(options, "bias-scale");
  const bool given = ntk_options_given(options, "input");
  NTK_TRY(
      parse_shape(given ? ntk_options_string(options, "input") : kind->input, &b->shape));
done:
  return status;
}

ntk_status ntk_family_build(const char *family_name, const ntk_options *options,
                            ntk_writer *writer) {
  ntk_status status = NTK_SUCCESS;
  const family *kind = find_family(family_name);
  NTK_REQUIRE(kind, NTK_ERR_ARGUMENT,
              "unknown family %s: choose fcn, cnn, lenet5 or resnet18", family_name);
  build b = {.writer = writer, .at = "input"};
  NTK_TRY(read_options(options, kind, &b));
  NTK_TRY(ntk_writer_add_input(writer, b.at, &b.shape));
  NTK_TRY(kind->make(&b));
  NTK_TRY(ntk_writer_add_output(writer, b.at, &b.shape));
done:
  return status;
}

static ntk_status build_and_save(const char *family_name, const ntk_options *options,
                                 const char *path) {
  ntk_status status;
  ntk_writer *writer = NULL;
  NTK_REQUIRE(access(path, F_OK) != 0, NTK_ERR_EXISTS,
              "%s exists; remove it or choose another --output", path);
  NTK_TRY(ntk_writer_create(family_name, &writer));
  NTK_TRY(ntk_family_build(family_name, options, writer));
  NTK_TRY(ntk_writer_save(writer, path));
done:
  ntk_writer_destroy(&writer);
  return status;
}

ntk_status ntk_model_generate(ntk_context *context, const char *family_name,
                              const char *options, const char *path) {
  ntk_status status;
  ntk_options *parsed = NULL;
  NTK_TRY(ntk_agree(context->comm,
                    ntk_options_parse_text(ntk_option_table("family"), options, &parsed)));
  const bool writes = context->rank == 0;
  NTK_TRY(ntk_agree(context->comm,
                    writes ? build_and_save(family_name, parsed, path) : NTK_SUCCESS));
done:
  ntk_options_destroy(&parsed);
  return status;
}

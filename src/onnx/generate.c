/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/generate.h"

#include "base/context.h"
#include "onnx/layers.h"
#include <scantk/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Mean over the pixels, then the output layer. */
static ntk_status pooled_head(ntk_build *b) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, "GlobalAveragePool", "pool", "", NULL));
  b->shape.dim[1] = b->shape.dim[2] = 1;
  NTK_TRY(ntk_build_flatten(b));
  NTK_TRY(ntk_build_dense(b, "head", b->outputs));
done:
  return status;
}

static ntk_status require_image(const ntk_build *b, const char *family) {
  char text[NTK_SHAPE_TEXT];
  if (b->shape.ndim == 3)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT, "%s needs --input CHANNELSxHEIGHTxWIDTH, not %s",
                  family, ntk_shape_text(&b->shape, text));
}

static ntk_status build_fcn(ntk_build *b) {
  ntk_status status = NTK_SUCCESS;
  char layer[NTK_BUILD_NAME];
  if (b->shape.ndim != 1)
    NTK_TRY(ntk_build_flatten(b));
  for (int64_t i = 0; i < b->depth; ++i) {
    snprintf(layer, sizeof layer, "hidden%lld", (long long)i);
    NTK_TRY(ntk_build_dense(b, layer, b->width));
    NTK_TRY(ntk_build_activation(b, layer));
  }
  NTK_TRY(ntk_build_dense(b, "head", b->outputs));
done:
  return status;
}

static ntk_status build_cnn(ntk_build *b) {
  ntk_status status;
  char layer[NTK_BUILD_NAME];
  NTK_TRY(require_image(b, "cnn"));
  for (int64_t i = 0; i < b->depth; ++i) {
    snprintf(layer, sizeof layer, "conv%lld", (long long)i);
    NTK_TRY(ntk_build_convolution(b, layer, b->width, 3, i == 0 ? 1 : 2, 1));
    NTK_TRY(ntk_build_activation(b, layer));
  }
  NTK_TRY(pooled_head(b));
done:
  return status;
}

/* LeCun et al. 1998 with max-pools: 6 and 16 channels, 120, 84. */
static ntk_status build_lenet5(ntk_build *b) {
  ntk_status status;
  NTK_TRY(require_image(b, "lenet5"));
  const int64_t *dim = b->shape.dim;
  NTK_REQUIRE((dim[0] == 1 || dim[0] == 3) && dim[1] == dim[2] &&
                  (dim[1] == 28 || dim[1] == 32),
              NTK_ERR_ARGUMENT,
              "lenet5 takes --input 1x28x28, 3x28x28, 1x32x32 or 3x32x32, not "
              "%lldx%lldx%lld",
              (long long)dim[0], (long long)dim[1], (long long)dim[2]);
  NTK_TRY(ntk_build_convolution(b, "conv1", 6, 5, 1, dim[1] == 28 ? 2 : 0));
  NTK_TRY(ntk_build_activation(b, "conv1"));
  NTK_TRY(ntk_build_max_pool(b, "pool1"));
  NTK_TRY(ntk_build_convolution(b, "conv2", 16, 5, 1, 0));
  NTK_TRY(ntk_build_activation(b, "conv2"));
  NTK_TRY(ntk_build_max_pool(b, "pool2"));
  NTK_TRY(ntk_build_flatten(b));
  NTK_TRY(ntk_build_dense(b, "dense1", 120));
  NTK_TRY(ntk_build_activation(b, "dense1"));
  NTK_TRY(ntk_build_dense(b, "dense2", 84));
  NTK_TRY(ntk_build_activation(b, "dense2"));
  NTK_TRY(ntk_build_dense(b, "head", b->outputs));
done:
  return status;
}

/* Two 3x3 convolutions beside the identity or, where the shape changes, a 1x1 one. */
static ntk_status basic_block(ntk_build *b, const char *block, int64_t channels,
                              int64_t stride) {
  ntk_status status;
  char input[NTK_BUILD_NAME], layer[NTK_BUILD_NAME], branch[NTK_BUILD_NAME];
  const ntk_shape shape = b->shape;
  memcpy(input, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_name(layer, block, ".conv1"));
  NTK_TRY(ntk_build_convolution(b, layer, channels, 3, stride, 1));
  NTK_TRY(ntk_build_activation(b, layer));
  NTK_TRY(ntk_build_name(layer, block, ".conv2"));
  NTK_TRY(ntk_build_convolution(b, layer, channels, 3, 1, 1));
  memcpy(branch, b->at, NTK_BUILD_NAME);
  memcpy(b->at, input, NTK_BUILD_NAME);
  if (stride != 1 || shape.dim[0] != channels) {
    b->shape = shape;
    NTK_TRY(ntk_build_name(layer, block, ".shortcut"));
    NTK_TRY(ntk_build_convolution(b, layer, channels, 1, stride, 0));
  }
  NTK_TRY(ntk_build_node(b, "Add", block, "", branch));
  NTK_TRY(ntk_build_activation(b, block));
done:
  return status;
}

/* He et al. 2015 for small images: no normalisation, stem 3x3 with stride 1, no max-pool;
 * four stages of two basic blocks. */
static ntk_status build_resnet18(ntk_build *b) {
  ntk_status status;
  char block[NTK_BUILD_NAME];
  NTK_TRY(require_image(b, "resnet18"));
  NTK_TRY(ntk_build_convolution(b, "stem", b->width, 3, 1, 1));
  NTK_TRY(ntk_build_activation(b, "stem"));
  for (int stage = 0; stage < 4; ++stage)
    for (int i = 0; i < 2; ++i) {
      snprintf(block, sizeof block, "stage%d.block%d", stage + 1, i + 1);
      NTK_TRY(basic_block(b, block, b->width << stage, stage > 0 && i == 0 ? 2 : 1));
    }
  NTK_TRY(pooled_head(b));
done:
  return status;
}

static ntk_status build_vit(ntk_build *b) {
  ntk_status status;
  NTK_TRY(require_image(b, "vit"));
  NTK_TRY(ntk_build_vit(b));
  NTK_TRY(ntk_build_dense(b, "head", b->outputs));
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
  ntk_status (*make)(ntk_build *b);
  bool has_width, has_depth, has_tokens;
  const char *input, *activation; /* where they are not given */
  int64_t width, depth;
} family;

static const family families[] = {
    {"fcn", build_fcn, true, true, false, "784", "relu", 512, 3},
    {"cnn", build_cnn, true, true, false, "1x28x28", "relu", 64, 3},
    {"lenet5", build_lenet5, false, false, false, "1x28x28", "relu", 0, 0},
    {"resnet18", build_resnet18, true, false, false, "3x32x32", "relu", 64, 0},
    {"vit", build_vit, true, true, true, "3x32x32", "gelu", 192, 6},
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
    return ntk_fail(NTK_ERR_ARGUMENT, "--%s: %s has no such option", name, kind->name);
  *out = given ? ntk_options_int(options, name) : otherwise;
  return NTK_SUCCESS;
}

static ntk_status read_options(const ntk_options *options, const family *kind,
                               ntk_build *b) {
  ntk_status status;
  b->ntk = strcmp(ntk_options_string(options, "parameterization"), "ntk") == 0;
  b->activation = ntk_options_string(options, "activation");
  if (!ntk_options_given(options, "activation"))
    b->activation = kind->activation;
  b->seed = (uint64_t)ntk_options_int(options, "seed");
  b->outputs = ntk_options_int(options, "outputs");
  NTK_TRY(size_option(options, kind, "width", kind->has_width, kind->width, &b->width));
  NTK_TRY(size_option(options, kind, "depth", kind->has_depth, kind->depth, &b->depth));
  NTK_TRY(size_option(options, kind, "patch", kind->has_tokens, 4, &b->patch));
  NTK_TRY(size_option(options, kind, "heads", kind->has_tokens,
                      b->width < 64 ? 1 : b->width / 64, &b->heads));
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
              "unknown family %s: choose fcn, cnn, lenet5, resnet18 or vit", family_name);
  ntk_build b = {.writer = writer, .at = "input"};
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/layers.h"

#include "base/random.h"
#include "onnx/families.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

ntk_status ntk_build_name(char out[NTK_BUILD_NAME], const char *layer, const char *what) {
  const int length = snprintf(out, NTK_BUILD_NAME, "%s%s", layer, what);
  if (length < 0 || length >= NTK_BUILD_NAME)
    return ntk_fail(NTK_ERR_ARGUMENT, "the name %s%s is too long: fewer layers (--depth)",
                    layer, what);
  return NTK_SUCCESS;
}

void ntk_build_take(ntk_build *b, const char *name) {
  memmove(b->at, name, strlen(name) + 1);
}

ntk_status ntk_build_node(ntk_build *b, const char *op, const char *layer, const char *what,
                          const char *right) {
  ntk_status status;
  const char *inputs[2] = {b->at, right};
  char name[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_name(name, layer, what));
  NTK_TRY(ntk_writer_add_node(b->writer, op, name, right ? 2 : 1, inputs));
  memcpy(b->at, name, NTK_BUILD_NAME);
done:
  return status;
}

ntk_status ntk_build_scalar(ntk_build *b, const char *op, const char *layer,
                            const char *what, double value) {
  ntk_status status;
  char suffix[NTK_BUILD_NAME], name[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_name(suffix, what, ".constant"));
  NTK_TRY(ntk_build_name(name, layer, suffix));
  NTK_TRY(ntk_writer_add_constant(b->writer, name, value));
  NTK_TRY(ntk_build_node(b, op, layer, what, name));
done:
  return status;
}

ntk_status ntk_build_ints(ntk_build *b, const char *op, const char *layer, const char *what,
                          int64_t count, const int64_t values[]) {
  ntk_status status;
  char suffix[NTK_BUILD_NAME], name[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_name(suffix, what, ".constant"));
  NTK_TRY(ntk_build_name(name, layer, suffix));
  NTK_TRY(ntk_writer_add_node(b->writer, "Constant", name, 0, NULL));
  NTK_TRY(ntk_writer_set_ints(b->writer, "value_ints", count, values));
  NTK_TRY(ntk_build_node(b, op, layer, what, name));
done:
  return status;
}

ntk_status ntk_build_parameter(ntk_build *b, const char *name, const ntk_shape *shape,
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

static void fill(float *elements, const ntk_shape *shape, double value) {
  const int64_t n = ntk_shape_size(shape);
  for (int64_t i = 0; i < n; ++i)
    elements[i] = (float)value;
}

ntk_status ntk_build_gain(ntk_build *b, const char *name, const ntk_shape *shape,
                          double value) {
  ntk_status status;
  float *elements = NULL;
  NTK_TRY(ntk_writer_add_parameter(b->writer, name, shape, &elements));
  fill(elements, shape, value);
done:
  return status;
}

ntk_status ntk_build_buffer(ntk_build *b, const char *name, const ntk_shape *shape,
                            double value) {
  ntk_status status;
  float *elements = NULL;
  NTK_TRY(ntk_writer_add_buffer(b->writer, name, shape, &elements));
  fill(elements, shape, value);
done:
  return status;
}

ntk_status ntk_build_scaled(ntk_build *b, const char *name, const char *layer,
                            const char *what, double factor, char out[NTK_BUILD_NAME]) {
  ntk_status status;
  char at[NTK_BUILD_NAME];
  memcpy(at, b->at, NTK_BUILD_NAME);
  ntk_build_take(b, name);
  if (factor != 1)
    NTK_TRY(ntk_build_scalar(b, "Mul", layer, what, factor));
  else
    status = NTK_SUCCESS;
  memcpy(out, b->at, NTK_BUILD_NAME);
  memcpy(b->at, at, NTK_BUILD_NAME);
done:
  return status;
}

ntk_status ntk_build_transpose(ntk_build *b, const char *layer, const char *what, int axes,
                               const int64_t perm[]) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, "Transpose", layer, what, NULL));
  NTK_TRY(ntk_writer_set_ints(b->writer, "perm", axes, perm));
done:
  return status;
}

ntk_status ntk_build_pick(ntk_build *b, const char *layer, const char *what, int64_t axis,
                          int64_t index) {
  ntk_status status;
  char suffix[NTK_BUILD_NAME], name[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_name(suffix, what, ".index"));
  NTK_TRY(ntk_build_name(name, layer, suffix));
  NTK_TRY(ntk_writer_add_node(b->writer, "Constant", name, 0, NULL));
  NTK_TRY(ntk_writer_set_int(b->writer, "value_int", index));
  NTK_TRY(ntk_build_node(b, "Gather", layer, what, name));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", axis));
done:
  return status;
}

ntk_status ntk_build_mean(ntk_build *b, const char *layer, const char *what, int64_t axis,
                          bool keep) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, "ReduceMean", layer, what, NULL));
  NTK_TRY(ntk_writer_set_ints(b->writer, "axes", 1, &axis));
  if (!keep)
    NTK_TRY(ntk_writer_set_int(b->writer, "keepdims", 0));
done:
  return status;
}

/* Weight and bias of a layer (bias NULL: none), with the factors to be put beside them. */
typedef struct pair {
  char weight[NTK_BUILD_NAME], bias[NTK_BUILD_NAME];
  double weight_factor, bias_factor;
} pair;

static ntk_status make_pair(ntk_build *b, const char *layer, const ntk_shape *weight,
                            const ntk_shape *bias, int64_t fan_in, int64_t fan_out,
                            pair *out) {
  ntk_status status;
  const ntk_scale w = ntk_weight_scale(b, fan_in, fan_out);
  const ntk_scale shift = ntk_bias_scale(b, fan_out, 0);
  NTK_TRY(ntk_build_name(out->weight, layer, ".weight"));
  NTK_TRY(ntk_build_name(out->bias, layer, ".bias"));
  NTK_TRY(ntk_build_parameter(b, out->weight, weight, w.deviation));
  if (bias)
    NTK_TRY(ntk_build_parameter(b, out->bias, bias, shift.deviation));
  out->weight_factor = w.factor;
  out->bias_factor = shift.factor;
  b->role = NTK_ROLE_HIDDEN;
done:
  return status;
}

/* The product in hand becomes LAYER: factor * product + factor * bias. */
static ntk_status scale_and_shift(ntk_build *b, const char *layer, const pair *p,
                                  bool with_bias) {
  ntk_status status = NTK_SUCCESS;
  char shift[NTK_BUILD_NAME];
  if (p->weight_factor != 1)
    NTK_TRY(ntk_build_scalar(b, "Mul", layer, ".scaled", p->weight_factor));
  if (with_bias) {
    NTK_TRY(ntk_build_scaled(b, p->bias, layer, ".shift", p->bias_factor, shift));
    NTK_TRY(ntk_build_node(b, "Add", layer, "", shift));
  }
done:
  return status;
}

ntk_status ntk_build_linear(ntk_build *b, const char *layer, int64_t outputs) {
  ntk_status status;
  int64_t *last = &b->shape.dim[b->shape.ndim - 1];
  const ntk_shape weight = {2, {*last, outputs}}, bias = {1, {outputs}};
  pair p;
  NTK_TRY(make_pair(b, layer, &weight, &bias, *last, outputs, &p));
  NTK_TRY(ntk_build_node(b, "MatMul", layer, ".product", p.weight));
  NTK_TRY(scale_and_shift(b, layer, &p, true));
  *last = outputs;
done:
  return status;
}

ntk_status ntk_build_dense(ntk_build *b, const char *layer, int64_t outputs) {
  ntk_status status;
  const int64_t inputs = b->shape.dim[0];
  const ntk_shape weight = {2, {outputs, inputs}}, bias = {1, {outputs}};
  pair p;
  if (b->scheme != NTK_STANDARD)
    return ntk_build_linear(b, layer, outputs);
  NTK_TRY(make_pair(b, layer, &weight, &bias, inputs, outputs, &p));
  const char *operands[3] = {b->at, p.weight, p.bias};
  NTK_TRY(ntk_writer_add_node(b->writer, "Gemm", layer, 3, operands));
  NTK_TRY(ntk_writer_set_int(b->writer, "transB", 1));
  NTK_TRY(ntk_build_name(b->at, layer, ""));
  b->shape = bias;
done:
  return status;
}

ntk_status ntk_build_head(ntk_build *b) {
  b->role = NTK_ROLE_OUTPUT;
  return ntk_build_dense(b, "head", b->outputs);
}

ntk_status ntk_build_pooled_head(ntk_build *b) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, "GlobalAveragePool", "pool", "", NULL));
  b->shape.dim[1] = b->shape.dim[2] = 1;
  NTK_TRY(ntk_build_flatten(b));
  NTK_TRY(ntk_build_head(b));
done:
  return status;
}

/* kernel_shape, strides and pads of a square window, on the node added last. */
static ntk_status set_window(ntk_build *b, const char *layer, int64_t kernel,
                             int64_t stride, int64_t pad) {
  ntk_status status;
  for (int i = 1; i < 3; ++i) {
    NTK_REQUIRE(b->shape.dim[i] + 2 * pad >= kernel, NTK_ERR_ARGUMENT,
                "--input: the image is too small for %s, whose window of %lldx%lld finds "
                "%lldx%lld there",
                layer, (long long)kernel, (long long)kernel, (long long)b->shape.dim[1],
                (long long)b->shape.dim[2]);
  }
  NTK_TRY(ntk_writer_set_ints(b->writer, "kernel_shape", 2, (int64_t[]){kernel, kernel}));
  NTK_TRY(ntk_writer_set_ints(b->writer, "strides", 2, (int64_t[]){stride, stride}));
  NTK_TRY(ntk_writer_set_ints(b->writer, "pads", 4, (int64_t[]){pad, pad, pad, pad}));
  for (int i = 1; i < 3; ++i)
    b->shape.dim[i] = (b->shape.dim[i] + 2 * pad - kernel) / stride + 1;
done:
  return status;
}

/* Weight and bias of a convolution. In groups that see one channel each the fan-in does not
 * grow with the width: an input layer. */
static ntk_status convolution_pair(ntk_build *b, const char *layer, const ntk_filter *f,
                                   int64_t groups, pair *out) {
  const int64_t inputs = b->shape.dim[0] / groups;
  const ntk_shape weight = {4, {f->channels, inputs, f->kernel, f->kernel}};
  const ntk_shape bias = {b->scheme == NTK_STANDARD ? 1 : 3, {f->channels, 1, 1}};
  if (groups > 1 && inputs == 1)
    b->role = NTK_ROLE_INPUT;
  return make_pair(b, layer, &weight, f->without_bias ? NULL : &bias,
                   inputs * f->kernel * f->kernel, f->channels, out);
}

ntk_status ntk_build_convolution(ntk_build *b, const char *layer, ntk_filter f) {
  ntk_status status;
  const bool with_bias = !f.without_bias, fused = b->scheme == NTK_STANDARD;
  const int64_t groups = f.groups > 0 ? f.groups : 1;
  char output[NTK_BUILD_NAME];
  pair p;
  NTK_TRY(convolution_pair(b, layer, &f, groups, &p));
  const char *operands[3] = {b->at, p.weight, p.bias};
  NTK_TRY(ntk_build_name(output, layer, fused ? "" : ".product"));
  NTK_TRY(
      ntk_writer_add_node(b->writer, "Conv", output, fused && with_bias ? 3 : 2, operands));
  if (groups > 1)
    NTK_TRY(ntk_writer_set_int(b->writer, "group", groups));
  NTK_TRY(set_window(b, layer, f.kernel, f.stride, f.pad));
  memcpy(b->at, output, NTK_BUILD_NAME);
  b->shape.dim[0] = f.channels;
  if (!fused)
    NTK_TRY(scale_and_shift(b, layer, &p, with_bias));
done:
  return status;
}

ntk_status ntk_build_batch_norm(ntk_build *b, const char *layer) {
  ntk_status status = NTK_SUCCESS;
  static const char *const ends[] = {".norm.weight", ".norm.bias", ".norm.mean",
                                     ".norm.variance"};
  const ntk_shape channels = {1, {b->shape.dim[0]}};
  const ntk_scale scale = ntk_gain_scale(b, b->shape.dim[0]);
  char names[4][NTK_BUILD_NAME], output[NTK_BUILD_NAME];
  if (!b->batch_norm)
    goto done;
  for (int i = 0; i < 4; ++i)
    NTK_TRY(ntk_build_name(names[i], layer, ends[i]));
  NTK_TRY(ntk_build_gain(b, names[0], &channels, scale.deviation));
  NTK_TRY(ntk_build_gain(b, names[1], &channels, 0));
  NTK_TRY(ntk_build_buffer(b, names[2], &channels, 0));
  NTK_TRY(ntk_build_buffer(b, names[3], &channels, 1));
  for (int i = 0; i < 2; ++i)
    NTK_TRY(ntk_build_scaled(b, names[i], names[i], ".scaled", scale.factor, names[i]));
  NTK_TRY(ntk_build_name(output, layer, ".norm"));
  NTK_TRY(
      ntk_writer_add_node(b->writer, "BatchNormalization", output, 5,
                          (const char *[]){b->at, names[0], names[1], names[2], names[3]}));
  memcpy(b->at, output, NTK_BUILD_NAME);
done:
  return status;
}

ntk_status ntk_build_normal_convolution(ntk_build *b, const char *layer, ntk_filter f) {
  ntk_status status;
  f.without_bias = b->batch_norm;
  NTK_TRY(ntk_build_convolution(b, layer, f));
  NTK_TRY(ntk_build_batch_norm(b, layer));
done:
  return status;
}

ntk_status ntk_build_active_convolution(ntk_build *b, const char *layer, ntk_filter f) {
  ntk_status status;
  NTK_TRY(ntk_build_normal_convolution(b, layer, f));
  NTK_TRY(ntk_build_activation(b, layer));
done:
  return status;
}

ntk_status ntk_build_pool(ntk_build *b, const char *op, const char *layer, int64_t kernel,
                          int64_t stride, int64_t pad) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, op, layer, "", NULL));
  NTK_TRY(set_window(b, layer, kernel, stride, pad));
done:
  return status;
}

/* x/2 (1 + erf(x / sqrt 2)), in the nodes that exporters emit for it */
static ntk_status gelu(ntk_build *b, const char *layer) {
  ntk_status status;
  char x[NTK_BUILD_NAME];
  memcpy(x, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_scalar(b, "Div", layer, ".gelu.div", sqrt(2.0)));
  NTK_TRY(ntk_build_node(b, "Erf", layer, ".gelu.erf", NULL));
  NTK_TRY(ntk_build_scalar(b, "Add", layer, ".gelu.add", 1));
  NTK_TRY(ntk_build_node(b, "Mul", layer, ".gelu.mul", x));
  NTK_TRY(ntk_build_scalar(b, "Mul", layer, ".gelu", 0.5));
done:
  return status;
}

ntk_status ntk_build_activation(ntk_build *b, const char *layer) {
  if (strcmp(b->activation, "identity") == 0)
    return NTK_SUCCESS;
  if (strcmp(b->activation, "gelu") == 0)
    return gelu(b, layer);
  if (strcmp(b->activation, "tanh") == 0)
    return ntk_build_node(b, "Tanh", layer, ".tanh", NULL);
  if (strcmp(b->activation, "erf") == 0)
    return ntk_build_node(b, "Erf", layer, ".erf", NULL);
  return ntk_build_node(b, "Relu", layer, ".relu", NULL);
}

ntk_status ntk_build_require_image(const ntk_build *b) {
  char text[NTK_SHAPE_TEXT];
  if (b->shape.ndim == 3)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT, "%s needs --input CHANNELSxHEIGHTxWIDTH, not %s",
                  b->family->name, ntk_shape_text(&b->shape, text));
}

ntk_status ntk_build_flatten(ntk_build *b) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, "Flatten", "flatten", "", NULL));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", 1));
  b->shape = (ntk_shape){1, {ntk_shape_size(&b->shape)}};
done:
  return status;
}

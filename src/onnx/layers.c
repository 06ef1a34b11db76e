/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/layers.h"

#include "base/random.h"
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

/* Weight and bias of a layer. ntk: N(0, 1), else N(0, v/fan_in) and 0. */
static ntk_status weight_and_bias(ntk_build *b, const char *layer, const ntk_shape *weight,
                                  const ntk_shape *bias, int64_t fan_in,
                                  char weight_name[NTK_BUILD_NAME],
                                  char bias_name[NTK_BUILD_NAME]) {
  ntk_status status;
  NTK_TRY(ntk_build_name(weight_name, layer, ".weight"));
  NTK_TRY(ntk_build_name(bias_name, layer, ".bias"));
  NTK_TRY(ntk_build_parameter(b, weight_name, weight,
                              b->ntk ? 1 : sqrt(b->variance / (double)fan_in)));
  NTK_TRY(ntk_build_parameter(b, bias_name, bias, b->ntk ? 1 : 0));
done:
  return status;
}

/* ntk: y = sqrt(v/fan_in) (W x in hand) + s b */
static ntk_status scale_and_shift(ntk_build *b, const char *layer, const char *bias_name,
                                  int64_t fan_in) {
  ntk_status status;
  char product[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_scalar(b, "Mul", layer, ".scaled", sqrt(b->variance / (double)fan_in)));
  memcpy(product, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_name(b->at, bias_name, ""));
  NTK_TRY(ntk_build_scalar(b, "Mul", layer, ".shift", b->bias_scale));
  char shift[NTK_BUILD_NAME];
  memcpy(shift, b->at, NTK_BUILD_NAME);
  memcpy(b->at, product, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_node(b, "Add", layer, "", shift));
done:
  return status;
}

ntk_status ntk_build_linear(ntk_build *b, const char *layer, int64_t outputs) {
  ntk_status status;
  int64_t *last = &b->shape.dim[b->shape.ndim - 1];
  const ntk_shape weight = {2, {*last, outputs}}, bias = {1, {outputs}};
  char names[2][NTK_BUILD_NAME];
  NTK_TRY(weight_and_bias(b, layer, &weight, &bias, *last, names[0], names[1]));
  NTK_TRY(ntk_build_node(b, "MatMul", layer, ".product", names[0]));
  if (b->ntk)
    NTK_TRY(scale_and_shift(b, layer, names[1], *last));
  else
    NTK_TRY(ntk_build_node(b, "Add", layer, "", names[1]));
  *last = outputs;
done:
  return status;
}

ntk_status ntk_build_dense(ntk_build *b, const char *layer, int64_t outputs) {
  ntk_status status;
  const int64_t inputs = b->shape.dim[0];
  const ntk_shape weight = {2, {outputs, inputs}}, bias = {1, {outputs}};
  char names[2][NTK_BUILD_NAME];
  if (b->ntk)
    return ntk_build_linear(b, layer, outputs);
  NTK_TRY(weight_and_bias(b, layer, &weight, &bias, inputs, names[0], names[1]));
  const char *operands[3] = {b->at, names[0], names[1]};
  NTK_TRY(ntk_writer_add_node(b->writer, "Gemm", layer, 3, operands));
  NTK_TRY(ntk_writer_set_int(b->writer, "transB", 1));
  NTK_TRY(ntk_build_name(b->at, layer, ""));
  b->shape = bias;
done:
  return status;
}

/* kernel_shape, strides and pads of a square window, on the node added last. */
static ntk_status set_window(ntk_build *b, int64_t kernel, int64_t stride, int64_t pad) {
  ntk_status status;
  NTK_TRY(ntk_writer_set_ints(b->writer, "kernel_shape", 2, (int64_t[]){kernel, kernel}));
  NTK_TRY(ntk_writer_set_ints(b->writer, "strides", 2, (int64_t[]){stride, stride}));
  NTK_TRY(ntk_writer_set_ints(b->writer, "pads", 4, (int64_t[]){pad, pad, pad, pad}));
  for (int i = 1; i < 3; ++i)
    b->shape.dim[i] = (b->shape.dim[i] + 2 * pad - kernel) / stride + 1;
done:
  return status;
}

ntk_status ntk_build_convolution(ntk_build *b, const char *layer, int64_t channels,
                                 int64_t kernel, int64_t stride, int64_t pad) {
  ntk_status status;
  const int64_t inputs = b->shape.dim[0], fan_in = inputs * kernel * kernel;
  const ntk_shape weight = {4, {channels, inputs, kernel, kernel}};
  const ntk_shape bias = {b->ntk ? 3 : 1, {channels, 1, 1}}; /* ntk: broadcast by Add */
  char names[2][NTK_BUILD_NAME], output[NTK_BUILD_NAME];
  NTK_TRY(weight_and_bias(b, layer, &weight, &bias, fan_in, names[0], names[1]));
  const char *operands[3] = {b->at, names[0], names[1]};
  NTK_TRY(ntk_build_name(output, layer, b->ntk ? ".product" : ""));
  NTK_TRY(ntk_writer_add_node(b->writer, "Conv", output, b->ntk ? 2 : 3, operands));
  NTK_TRY(set_window(b, kernel, stride, pad));
  memcpy(b->at, output, NTK_BUILD_NAME);
  b->shape.dim[0] = channels;
  if (b->ntk)
    NTK_TRY(scale_and_shift(b, layer, names[1], fan_in));
done:
  return status;
}

ntk_status ntk_build_max_pool(ntk_build *b, const char *layer) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, "MaxPool", layer, "", NULL));
  NTK_TRY(set_window(b, 2, 2, 0));
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

ntk_status ntk_build_flatten(ntk_build *b) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, "Flatten", "flatten", "", NULL));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", 1));
  b->shape = (ntk_shape){1, {ntk_shape_size(&b->shape)}};
done:
  return status;
}

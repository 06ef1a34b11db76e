/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/layers.h"

#include "base/status.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A Vision Transformer (Dosovitskiy et al. 2021): patches by a convolution, class token and
 * learned positions, blocks with the norm in front, head on the class token; in the nodes
 * that torch's exporter makes of it. */

static void take_in_hand(ntk_build *b, const char *name) {
  memmove(b->at, name, strlen(name) + 1);
}

/* Entry `index` of an axis of the file's value, which has the batch in front. */
static ntk_status pick(ntk_build *b, const char *layer, const char *what, int64_t axis,
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

static ntk_status transpose(ntk_build *b, const char *layer, const char *what, int axes,
                            const int64_t perm[]) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, "Transpose", layer, what, NULL));
  NTK_TRY(ntk_writer_set_ints(b->writer, "perm", axes, perm));
done:
  return status;
}

static ntk_status mean_of_channels(ntk_build *b, const char *layer, const char *what) {
  ntk_status status;
  NTK_TRY(ntk_build_node(b, "ReduceMean", layer, what, NULL));
  NTK_TRY(ntk_writer_set_ints(b->writer, "axes", 1, (int64_t[]){-1}));
done:
  return status;
}

/* gain * (x - mean) / sqrt(variance + 1e-5) + bias, over the channels */
static ntk_status layer_norm(ntk_build *b, const char *layer) {
  ntk_status status;
  char x[NTK_BUILD_NAME], centred[NTK_BUILD_NAME], other[NTK_BUILD_NAME];
  const ntk_shape channels = {1, {b->width}};
  float *gain;
  memcpy(x, b->at, NTK_BUILD_NAME);
  NTK_TRY(mean_of_channels(b, layer, ".mean"));
  memcpy(other, b->at, NTK_BUILD_NAME);
  take_in_hand(b, x);
  NTK_TRY(ntk_build_node(b, "Sub", layer, ".centred", other));
  memcpy(centred, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_scalar(b, "Pow", layer, ".square", 2));
  NTK_TRY(mean_of_channels(b, layer, ".variance"));
  NTK_TRY(ntk_build_scalar(b, "Add", layer, ".above0", 1e-5));
  NTK_TRY(ntk_build_node(b, "Sqrt", layer, ".deviation", NULL));
  memcpy(other, b->at, NTK_BUILD_NAME);
  take_in_hand(b, centred);
  NTK_TRY(ntk_build_node(b, "Div", layer, ".normal", other));
  NTK_TRY(ntk_build_name(other, layer, ".weight"));
  NTK_TRY(ntk_writer_add_parameter(b->writer, other, &channels, &gain));
  for (int64_t i = 0; i < b->width; i++)
    gain[i] = 1;
  NTK_TRY(ntk_build_node(b, "Mul", layer, ".scaled", other));
  NTK_TRY(ntk_build_name(other, layer, ".bias"));
  NTK_TRY(ntk_build_parameter(b, other, &channels, 0));
  NTK_TRY(ntk_build_node(b, "Add", layer, "", other));
done:
  return status;
}

/* What is added: standard N(0, 0.02^2), ntk s N(0, 1) as a bias; it is the value in hand.
 */
static ntk_status additive(ntk_build *b, const char *name, int64_t rows) {
  ntk_status status;
  const ntk_shape shape = {3, {1, rows, b->width}};
  NTK_TRY(ntk_build_parameter(b, name, &shape, b->ntk ? 1 : 0.02));
  NTK_TRY(ntk_build_name(b->at, name, ""));
  if (b->ntk)
    NTK_TRY(ntk_build_scalar(b, "Mul", name, ".scaled", b->bias_scale));
done:
  return status;
}

/* Image to tokens [T, width], the class token in front of the patches. */
static ntk_status embed(ntk_build *b) {
  ntk_status status;
  char tokens[NTK_BUILD_NAME], token[NTK_BUILD_NAME];
  const int64_t patch = b->patch;
  NTK_REQUIRE(b->shape.dim[1] % patch == 0 && b->shape.dim[2] % patch == 0,
              NTK_ERR_ARGUMENT, "--patch %lld does not divide the image of %lldx%lld",
              (long long)patch, (long long)b->shape.dim[1], (long long)b->shape.dim[2]);
  NTK_TRY(ntk_build_convolution(b, "patch", b->width, patch, patch, 0));
  const int64_t count = b->shape.dim[1] * b->shape.dim[2] + 1;
  NTK_TRY(ntk_build_ints(b, "Reshape", "patch", ".flat", 3,
                         (int64_t[]){0, b->width, count - 1}));
  NTK_TRY(transpose(b, "patch", ".tokens", 3, (int64_t[]){0, 2, 1}));
  memcpy(tokens, b->at, NTK_BUILD_NAME);
  NTK_TRY(additive(b, "token", 1));
  memcpy(token, b->at, NTK_BUILD_NAME);
  take_in_hand(b, tokens);
  NTK_TRY(ntk_build_node(b, "Shape", "token", ".batch", NULL));
  NTK_TRY(ntk_writer_set_int(b->writer, "end", 1));
  NTK_TRY(ntk_build_ints(b, "Concat", "token", ".shape", 2, (int64_t[]){1, b->width}));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", 0));
  take_in_hand(b, token);
  NTK_TRY(ntk_build_node(b, "Expand", "token", ".expanded", "token.shape"));
  NTK_TRY(ntk_build_node(b, "Concat", "tokens", "", tokens));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", 1));
  NTK_TRY(additive(b, "position", count));
  NTK_TRY(ntk_build_node(b, "Add", "embedding", "", "tokens"));
  b->shape = (ntk_shape){2, {count, b->width}};
done:
  return status;
}

/* One of q, k and v as [heads, T, width / heads]; `all`: the three. */
static ntk_status part_of(ntk_build *b, const char *layer, const char *all, int index,
                          char name[NTK_BUILD_NAME]) {
  ntk_status status;
  static const char *const what[] = {".q", ".k", ".v"};
  take_in_hand(b, all);
  NTK_TRY(pick(b, layer, what[index], 0, index));
  if (index == 0)
    NTK_TRY(ntk_build_scalar(b, "Mul", layer, ".q.scaled",
                             1 / sqrt((double)b->width / (double)b->heads)));
  if (index == 1)
    NTK_TRY(transpose(b, layer, ".k.transposed", 4, (int64_t[]){0, 1, 3, 2}));
  memcpy(name, b->at, NTK_BUILD_NAME);
done:
  return status;
}

static ntk_status attention(ntk_build *b, const char *layer) {
  ntk_status status;
  char part[3][NTK_BUILD_NAME], all[NTK_BUILD_NAME], name[NTK_BUILD_NAME];
  const int64_t width = b->width, heads = b->heads;
  NTK_TRY(ntk_build_name(name, layer, ".qkv"));
  NTK_TRY(ntk_build_linear(b, name, 3 * width));
  NTK_TRY(ntk_build_ints(b, "Reshape", layer, ".cut", 5,
                         (int64_t[]){0, 0, 3, heads, width / heads}));
  NTK_TRY(transpose(b, layer, ".heads", 5, (int64_t[]){2, 0, 3, 1, 4}));
  memcpy(all, b->at, NTK_BUILD_NAME);
  for (int i = 0; i < 3; i++)
    NTK_TRY(part_of(b, layer, all, i, part[i]));
  take_in_hand(b, part[0]);
  NTK_TRY(ntk_build_node(b, "MatMul", layer, ".scores", part[1]));
  NTK_TRY(ntk_build_node(b, "Softmax", layer, ".weights", NULL));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", -1));
  NTK_TRY(ntk_build_node(b, "MatMul", layer, ".mixed", part[2]));
  NTK_TRY(transpose(b, layer, ".tokens", 4, (int64_t[]){0, 2, 1, 3}));
  NTK_TRY(ntk_build_ints(b, "Reshape", layer, ".joined", 3, (int64_t[]){0, 0, width}));
  b->shape.dim[1] = width;
  NTK_TRY(ntk_build_name(name, layer, ".out"));
  NTK_TRY(ntk_build_linear(b, name, width));
done:
  return status;
}

static ntk_status perceptron(ntk_build *b, const char *layer) {
  ntk_status status;
  char name[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_name(name, layer, ".up"));
  NTK_TRY(ntk_build_linear(b, name, 4 * b->width));
  NTK_TRY(ntk_build_activation(b, name));
  NTK_TRY(ntk_build_name(name, layer, ".down"));
  NTK_TRY(ntk_build_linear(b, name, b->width));
done:
  return status;
}

/* x + branch(norm(x)) */
static ntk_status residual(ntk_build *b, const char *block, const char *what,
                           const char *norm,
                           ntk_status (*branch)(ntk_build *b, const char *layer)) {
  ntk_status status;
  char x[NTK_BUILD_NAME], name[NTK_BUILD_NAME];
  memcpy(x, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_name(name, block, norm));
  NTK_TRY(layer_norm(b, name));
  NTK_TRY(ntk_build_name(name, block, what));
  NTK_TRY(branch(b, name));
  NTK_TRY(ntk_build_node(b, "Add", name, "", x));
done:
  return status;
}

ntk_status ntk_build_vit(ntk_build *b) {
  ntk_status status;
  char block[NTK_BUILD_NAME];
  NTK_REQUIRE(b->width % b->heads == 0, NTK_ERR_ARGUMENT,
              "--heads %lld does not divide --width %lld", (long long)b->heads,
              (long long)b->width);
  NTK_TRY(embed(b));
  for (int64_t i = 0; i < b->depth; i++) {
    snprintf(block, sizeof block, "block%lld", (long long)i);
    NTK_TRY(residual(b, block, ".attention", ".norm1", attention));
    NTK_TRY(residual(b, block, ".mlp", ".norm2", perceptron));
  }
  NTK_TRY(pick(b, "class", "", 1, 0));
  NTK_TRY(layer_norm(b, "norm"));
  b->shape = (ntk_shape){1, {b->width}};
done:
  return status;
}

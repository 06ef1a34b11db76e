/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/transformer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static ntk_status gain_and_bias(ntk_build *b, const char *layer) {
  ntk_status status;
  const ntk_shape channels = {1, {b->shape.dim[b->shape.ndim - 1]}};
  const ntk_scale scale = ntk_gain_scale(b, channels.dim[0]);
  char name[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_name(name, layer, ".weight"));
  NTK_TRY(ntk_build_gain(b, name, &channels, scale.deviation));
  NTK_TRY(ntk_build_scaled(b, name, name, ".scaled", scale.factor, name));
  NTK_TRY(ntk_build_node(b, "Mul", layer, ".scaled", name));
  NTK_TRY(ntk_build_name(name, layer, ".bias"));
  NTK_TRY(ntk_build_parameter(b, name, &channels, 0));
  NTK_TRY(ntk_build_scaled(b, name, name, ".scaled", scale.factor, name));
  NTK_TRY(ntk_build_node(b, "Add", layer, "", name));
done:
  return status;
}

ntk_status ntk_build_layer_norm(ntk_build *b, const char *layer) {
  ntk_status status;
  char x[NTK_BUILD_NAME], centred[NTK_BUILD_NAME], other[NTK_BUILD_NAME];
  memcpy(x, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_mean(b, layer, ".mean", -1, true));
  memcpy(other, b->at, NTK_BUILD_NAME);
  ntk_build_take(b, x);
  NTK_TRY(ntk_build_node(b, "Sub", layer, ".centred", other));
  memcpy(centred, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_scalar(b, "Pow", layer, ".square", 2));
  NTK_TRY(ntk_build_mean(b, layer, ".variance", -1, true));
  NTK_TRY(ntk_build_scalar(b, "Add", layer, ".above0", 1e-5));
  NTK_TRY(ntk_build_node(b, "Sqrt", layer, ".deviation", NULL));
  memcpy(other, b->at, NTK_BUILD_NAME);
  ntk_build_take(b, centred);
  NTK_TRY(ntk_build_node(b, "Div", layer, ".normal", other));
  NTK_TRY(gain_and_bias(b, layer));
done:
  return status;
}

/* Standard: N(0, 0.02^2), as in Dosovitskiy et al. 2021 and Radford et al. 2019. */
ntk_status ntk_build_additive(ntk_build *b, const char *name, const ntk_shape *shape) {
  ntk_status status;
  const ntk_scale scale = ntk_bias_scale(b, b->width, 0.02);
  char scaled[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_parameter(b, name, shape, scale.deviation));
  NTK_TRY(ntk_build_scaled(b, name, name, ".scaled", scale.factor, scaled));
  ntk_build_take(b, scaled);
done:
  return status;
}

ntk_status ntk_build_patches(ntk_build *b) {
  ntk_status status;
  const int64_t patch = b->patch;
  NTK_TRY(ntk_build_require_image(b));
  NTK_REQUIRE(b->shape.dim[1] % patch == 0 && b->shape.dim[2] % patch == 0,
              NTK_ERR_ARGUMENT, "--patch %lld does not divide the image of %lldx%lld",
              (long long)patch, (long long)b->shape.dim[1], (long long)b->shape.dim[2]);
  NTK_TRY(ntk_build_convolution(
      b, "patch", (ntk_filter){.channels = b->width, .kernel = patch, .stride = patch}));
  const int64_t count = b->shape.dim[1] * b->shape.dim[2];
  NTK_TRY(
      ntk_build_ints(b, "Reshape", "patch", ".flat", 3, (int64_t[]){0, b->width, count}));
  NTK_TRY(ntk_build_transpose(b, "patch", ".tokens", 3, (int64_t[]){0, 2, 1}));
  b->shape = (ntk_shape){2, {count, b->width}};
done:
  return status;
}

/* One of q, k and v as [heads, T, width / heads]; `all`: the three. mup: scores are divided
 * by the size of a head, not by its root (Tensor Programs V). */
static ntk_status part_of(ntk_build *b, const char *layer, const char *all, int index,
                          char name[NTK_BUILD_NAME]) {
  ntk_status status;
  static const char *const what[] = {".q", ".k", ".v"};
  const double size = (double)b->width / (double)b->heads;
  ntk_build_take(b, all);
  NTK_TRY(ntk_build_pick(b, layer, what[index], 0, index));
  if (index == 0)
    NTK_TRY(ntk_build_scalar(b, "Mul", layer, ".q.scaled",
                             1 / (b->scheme == NTK_MAXIMAL_UPDATE ? size : sqrt(size))));
  if (index == 1)
    NTK_TRY(ntk_build_transpose(b, layer, ".k.transposed", 4, (int64_t[]){0, 1, 3, 2}));
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
  NTK_TRY(ntk_build_transpose(b, layer, ".heads", 5, (int64_t[]){2, 0, 3, 1, 4}));
  memcpy(all, b->at, NTK_BUILD_NAME);
  for (int i = 0; i < 3; i++)
    NTK_TRY(part_of(b, layer, all, i, part[i]));
  ntk_build_take(b, part[0]);
  NTK_TRY(ntk_build_node(b, "MatMul", layer, ".scores", part[1]));
  if (b->mask)
    NTK_TRY(ntk_build_node(b, "Add", layer, ".masked", b->mask));
  NTK_TRY(ntk_build_node(b, "Softmax", layer, ".weights", NULL));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", -1));
  NTK_TRY(ntk_build_node(b, "MatMul", layer, ".mixed", part[2]));
  NTK_TRY(ntk_build_transpose(b, layer, ".tokens", 4, (int64_t[]){0, 2, 1, 3}));
  NTK_TRY(ntk_build_ints(b, "Reshape", layer, ".joined", 3, (int64_t[]){0, 0, width}));
  b->shape.dim[1] = width;
  NTK_TRY(ntk_build_name(name, layer, ".out"));
  NTK_TRY(ntk_build_linear(b, name, width));
done:
  return status;
}

ntk_status ntk_build_perceptron(ntk_build *b, const char *layer, int64_t hidden,
                                ntk_role up, ntk_role down) {
  ntk_status status;
  char name[NTK_BUILD_NAME];
  const int64_t size = b->shape.dim[b->shape.ndim - 1];
  NTK_TRY(ntk_build_name(name, layer, ".up"));
  b->role = up;
  NTK_TRY(ntk_build_linear(b, name, hidden));
  NTK_TRY(ntk_build_activation(b, name));
  NTK_TRY(ntk_build_name(name, layer, ".down"));
  b->role = down;
  NTK_TRY(ntk_build_linear(b, name, size));
done:
  return status;
}

ntk_status ntk_build_mlp(ntk_build *b, const char *layer) {
  return ntk_build_perceptron(b, layer, 4 * b->width, NTK_ROLE_HIDDEN, NTK_ROLE_HIDDEN);
}

ntk_status ntk_build_residual(ntk_build *b, const char *block, const char *what,
                              const char *norm,
                              ntk_status (*branch)(ntk_build *b, const char *layer)) {
  ntk_status status;
  char x[NTK_BUILD_NAME], name[NTK_BUILD_NAME];
  memcpy(x, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_name(name, block, norm));
  NTK_TRY(ntk_build_layer_norm(b, name));
  NTK_TRY(ntk_build_name(name, block, what));
  NTK_TRY(branch(b, name));
  NTK_TRY(ntk_build_node(b, "Add", name, "", x));
done:
  return status;
}

ntk_status ntk_build_require_heads(const ntk_build *b) {
  if (b->width % b->heads == 0)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT, "--heads %lld does not divide --width %lld",
                  (long long)b->heads, (long long)b->width);
}

ntk_status ntk_build_transformer(ntk_build *b) {
  ntk_status status = NTK_SUCCESS;
  char block[NTK_BUILD_NAME];
  for (int64_t i = 0; i < b->depth; i++) {
    snprintf(block, sizeof block, "block%lld", (long long)i);
    NTK_TRY(ntk_build_residual(b, block, ".attention", ".norm1", attention));
    NTK_TRY(ntk_build_residual(b, block, ".mlp", ".norm2", ntk_build_mlp));
  }
done:
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/families.h"
#include "onnx/transformer.h"

#include <stdio.h>

/* An MLP-Mixer (Tolstikhin et al. 2021): patches by a convolution, blocks that mix tokens
 * (width/2 hidden neurons) and channels (4 width), the mean over the tokens. */

static ntk_status turn(ntk_build *b, const char *layer, const char *what) {
  const int64_t rows = b->shape.dim[0];
  b->shape.dim[0] = b->shape.dim[1];
  b->shape.dim[1] = rows;
  return ntk_build_transpose(b, layer, what, 3, (int64_t[]){0, 2, 1});
}

/* Tokens do not grow with the width: the layers are as an input and an output layer. */
static ntk_status mix_tokens(ntk_build *b, const char *layer) {
  ntk_status status;
  const int64_t hidden = b->width < 2 ? 1 : b->width / 2;
  NTK_TRY(turn(b, layer, ".turned"));
  NTK_TRY(ntk_build_perceptron(b, layer, hidden, NTK_ROLE_INPUT, NTK_ROLE_OUTPUT));
  NTK_TRY(turn(b, layer, ".back"));
done:
  return status;
}

ntk_status ntk_build_mixer(ntk_build *b) {
  ntk_status status;
  char block[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_patches(b));
  for (int64_t i = 0; i < b->depth; i++) {
    snprintf(block, sizeof block, "block%lld", (long long)i);
    NTK_TRY(ntk_build_residual(b, block, ".tokens", ".norm1", mix_tokens));
    NTK_TRY(ntk_build_residual(b, block, ".mlp", ".norm2", ntk_build_mlp));
  }
  NTK_TRY(ntk_build_layer_norm(b, "norm"));
  NTK_TRY(ntk_build_mean(b, "pool", "", 1, false));
  b->shape = (ntk_shape){1, {b->width}};
  NTK_TRY(ntk_build_head(b));
done:
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/families.h"
#include "onnx/transformer.h"

#include <string.h>

/* A Vision Transformer (Dosovitskiy et al. 2021): patches by a convolution, class token and
 * learned positions, blocks with the norm in front, head on the class token. */

/* The class token in front of the tokens in hand, and positions. */
static ntk_status embed(ntk_build *b) {
  ntk_status status;
  char tokens[NTK_BUILD_NAME], token[NTK_BUILD_NAME];
  const int64_t count = b->shape.dim[0] + 1;
  const ntk_shape one = {3, {1, 1, b->width}}, all = {3, {1, count, b->width}};
  memcpy(tokens, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_additive(b, "token", &one));
  memcpy(token, b->at, NTK_BUILD_NAME);
  ntk_build_take(b, tokens);
  NTK_TRY(ntk_build_node(b, "Shape", "token", ".batch", NULL));
  NTK_TRY(ntk_writer_set_int(b->writer, "end", 1));
  NTK_TRY(ntk_build_ints(b, "Concat", "token", ".shape", 2, (int64_t[]){1, b->width}));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", 0));
  ntk_build_take(b, token);
  NTK_TRY(ntk_build_node(b, "Expand", "token", ".expanded", "token.shape"));
  NTK_TRY(ntk_build_node(b, "Concat", "tokens", "", tokens));
  NTK_TRY(ntk_writer_set_int(b->writer, "axis", 1));
  NTK_TRY(ntk_build_additive(b, "position", &all));
  NTK_TRY(ntk_build_node(b, "Add", "embedding", "", "tokens"));
  b->shape.dim[0] = count;
done:
  return status;
}

ntk_status ntk_build_vit(ntk_build *b) {
  ntk_status status;
  NTK_TRY(ntk_build_require_heads(b));
  NTK_TRY(ntk_build_patches(b));
  NTK_TRY(embed(b));
  NTK_TRY(ntk_build_transformer(b));
  NTK_TRY(ntk_build_pick(b, "class", "", 1, 0));
  b->shape = (ntk_shape){1, {b->width}};
  NTK_TRY(ntk_build_layer_norm(b, "norm"));
  NTK_TRY(ntk_build_head(b));
done:
  return status;
}

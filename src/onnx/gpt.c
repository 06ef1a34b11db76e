/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/families.h"
#include "onnx/transformer.h"

#include <string.h>

/* A decoder on tokens (Radford et al. 2019): embedding, learned positions, masked blocks
 * with the norm in front; the output is that at the last token. */

/* Tokens [T] to [T, width]. `embedding`: the name of the tensor. */
static ntk_status embed(ntk_build *b, const char *embedding) {
  ntk_status status;
  char input[NTK_BUILD_NAME], table[NTK_BUILD_NAME];
  const int64_t count = b->shape.dim[0];
  const ntk_shape words = {2, {b->vocabulary, b->width}};
  const ntk_shape places = {3, {1, count, b->width}};
  memcpy(input, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_additive(b, embedding, &words));
  memcpy(table, b->at, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_additive(b, "position", &places));
  const char *operands[] = {table, input};
  NTK_TRY(ntk_writer_add_node(b->writer, "Gather", "tokens", 2, operands));
  NTK_TRY(ntk_build_node(b, "Add", "embedded", "", "tokens"));
  b->shape = (ntk_shape){2, {count, b->width}};
  b->role = NTK_ROLE_HIDDEN;
done:
  return status;
}

/* [T, T]: 0 for a token and those before it; else what makes their weight exactly 0. */
static ntk_status make_mask(ntk_build *b, const char *name) {
  ntk_status status;
  float *elements = NULL;
  const int64_t count = b->shape.dim[0];
  const ntk_shape shape = {2, {count, count}};
  NTK_TRY(ntk_writer_add_buffer(b->writer, name, &shape, &elements));
  for (int64_t row = 0; row < count; row++)
    for (int64_t i = row + 1; i < count; i++)
      elements[row * count + i] = -1e30f;
  b->mask = name;
done:
  return status;
}

/* The embedding once more, as the weight of an output layer without biases. */
static ntk_status tied_head(ntk_build *b, const char *embedding) {
  ntk_status status;
  char x[NTK_BUILD_NAME], weight[NTK_BUILD_NAME];
  b->role = NTK_ROLE_OUTPUT;
  const ntk_scale scale = ntk_weight_scale(b, b->width, b->vocabulary);
  memcpy(x, b->at, NTK_BUILD_NAME);
  ntk_build_take(b, embedding);
  NTK_TRY(ntk_build_transpose(b, "head", ".weight", 2, (int64_t[]){1, 0}));
  memcpy(weight, b->at, NTK_BUILD_NAME);
  ntk_build_take(b, x);
  NTK_TRY(ntk_build_node(b, "MatMul", "head", ".product", weight));
  if (scale.factor != 1)
    NTK_TRY(ntk_build_scalar(b, "Mul", "head", "", scale.factor));
  b->shape = (ntk_shape){1, {b->vocabulary}};
done:
  return status;
}

ntk_status ntk_build_gpt(ntk_build *b) {
  ntk_status status;
  static const char *const embedding = "embedding";
  NTK_REQUIRE(b->shape.ndim == 1, NTK_ERR_ARGUMENT,
              "gpt needs --input TOKENS, as in --input 32");
  const int64_t count = b->shape.dim[0];
  NTK_TRY(ntk_build_require_heads(b));
  NTK_TRY(embed(b, embedding));
  NTK_TRY(make_mask(b, "mask"));
  NTK_TRY(ntk_build_transformer(b));
  NTK_TRY(ntk_build_pick(b, "last", "", 1, count - 1));
  b->shape = (ntk_shape){1, {b->width}};
  NTK_TRY(ntk_build_layer_norm(b, "norm"));
  NTK_TRY(b->tied_head ? tied_head(b, embedding) : ntk_build_head(b));
done:
  return status;
}

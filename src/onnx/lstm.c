/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/families.h"

#include <stdio.h>
#include <string.h>

/* LSTM layers (Hochreiter and Schmidhuber 1997) over a sequence [T, F], in the tensors of
 * ONNX's operator: gates i, o, f, c one below the other; the output is made of the last
 * layer's state behind the last step. */

/* A tensor of the layer, scaled, as an operand. */
static ntk_status operand(ntk_build *b, const char *layer, const char *what,
                          const ntk_shape *shape, ntk_scale scale,
                          char out[NTK_BUILD_NAME]) {
  ntk_status status;
  char name[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_name(name, layer, what));
  NTK_TRY(ntk_build_parameter(b, name, shape, scale.deviation));
  NTK_TRY(ntk_build_scaled(b, name, name, ".scaled", scale.factor, out));
done:
  return status;
}

/* In hand: [T, batch, inputs], afterwards [T, batch, width]. */
static ntk_status lstm_layer(ntk_build *b, const char *layer) {
  ntk_status status;
  const int64_t inputs = b->shape.dim[1], width = b->width;
  const ntk_shape weight = {3, {1, 4 * width, inputs}};
  const ntk_shape recurrence = {3, {1, 4 * width, width}}, bias = {2, {1, 8 * width}};
  char names[3][NTK_BUILD_NAME], output[NTK_BUILD_NAME];
  NTK_TRY(
      operand(b, layer, ".weight", &weight, ntk_weight_scale(b, inputs, width), names[0]));
  b->role = NTK_ROLE_HIDDEN;
  NTK_TRY(operand(b, layer, ".recurrence", &recurrence, ntk_weight_scale(b, width, width),
                  names[1]));
  NTK_TRY(operand(b, layer, ".bias", &bias, ntk_bias_scale(b, width, 0), names[2]));
  NTK_TRY(ntk_build_name(output, layer, ""));
  NTK_TRY(ntk_writer_add_node(b->writer, "LSTM", output, 4,
                              (const char *[]){b->at, names[0], names[1], names[2]}));
  NTK_TRY(ntk_writer_set_int(b->writer, "hidden_size", width));
  memcpy(b->at, output, NTK_BUILD_NAME);
  NTK_TRY(ntk_build_ints(b, "Squeeze", layer, ".states", 1, (int64_t[]){1}));
  b->shape.dim[1] = width;
done:
  return status;
}

ntk_status ntk_build_lstm(ntk_build *b) {
  ntk_status status;
  char layer[NTK_BUILD_NAME];
  NTK_REQUIRE(b->shape.ndim == 2 && b->depth > 0, NTK_ERR_ARGUMENT,
              "lstm needs --input STEPSxFEATURES, as in --input 28x28, and a layer "
              "(--depth)");
  NTK_TRY(ntk_build_transpose(b, "steps", "", 3, (int64_t[]){1, 0, 2}));
  for (int64_t i = 0; i < b->depth; i++) {
    snprintf(layer, sizeof layer, "lstm%lld", (long long)i);
    NTK_TRY(lstm_layer(b, layer));
  }
  NTK_TRY(ntk_build_pick(b, "last", "", 0, b->shape.dim[0] - 1));
  b->shape = (ntk_shape){1, {b->width}};
  NTK_TRY(ntk_build_head(b));
done:
  return status;
}

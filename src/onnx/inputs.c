/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/import.h"
#include <stdlib.h>
#include <string.h>

/* Shapes of the graph's inputs: fixed axes, the batch axis, sizes given with --shape. */

/* "" of an axis of fixed size, "?" where nothing is known. */
static const char *axis_symbol(const Onnx__TensorShapeProto__Dimension *dim) {
  switch (dim->value_case) {
  case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE:
    return "";
  case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM:
    return dim->dim_param;
  default:
    return "?";
  }
}

/* Size of a symbolic axis given with --shape NAME=n, -1 where it is not. */
static int64_t given_size(const ntk_import *import, const char *symbol) {
  const char *text;
  for (int i = 0; (text = ntk_options_repeated(import->options, "shape", i)); i++) {
    const char *equals = strrchr(text, '=');
    if (strlen(symbol) == (size_t)(equals - text) &&
        strncmp(symbol, text, (size_t)(equals - text)) == 0)
      return strtoll(equals + 1, NULL, 10);
  }
  return -1;
}

static bool is_free_axis(const ntk_import *import, const char *symbol, size_t length) {
  for (size_t i = 0; i < import->graph->n_input; i++) {
    const Onnx__TypeProto *type = import->graph->input[i]->type;
    int batch;
    bool follow;
    if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
        !type->tensor_type->shape ||
        ntk_batch_axis(import, import->graph->input[i], &batch, &follow) != NTK_SUCCESS)
      continue;
    for (int d = 0; d < (int)type->tensor_type->shape->n_dim; d++) {
      const char *name = axis_symbol(type->tensor_type->shape->dim[d]);
      if (d != batch && strlen(name) == length && strncmp(name, symbol, length) == 0)
        return true;
    }
  }
  return false;
}

ntk_status ntk_given_sizes_check(const ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  const char *text;
  for (int i = 0; (text = ntk_options_repeated(import->options, "shape", i)); i++) {
    const char *equals = strrchr(text, '=');
    char *end = NULL;
    const long long size = equals ? strtoll(equals + 1, &end, 10) : 0;
    NTK_REQUIRE(equals > text && size > 0 && !*end, NTK_ERR_ARGUMENT,
                "--shape %s: give NAME=n with n at least 1", text);
    NTK_REQUIRE(is_free_axis(import, text, (size_t)(equals - text)), NTK_ERR_ARGUMENT,
                "%s: --shape %s: no axis of the inputs has this name and no other size",
                import->path, text);
  }
done:
  return status;
}

ntk_status ntk_input_shape(const ntk_import *import, const Onnx__ValueInfoProto *input,
                           int64_t batch, ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__TypeProto__Tensor *type = input->type->tensor_type;
  int axis;
  bool follow;
  NTK_REQUIRE(type->shape && type->shape->n_dim <= NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED,
              "%s: input '%s' has no shape, or more than %d axes", import->path,
              input->name, NTK_MAX_DIMS);
  NTK_TRY(ntk_batch_axis(import, input, &axis, &follow));
  shape->ndim = (int)type->shape->n_dim;
  for (int i = 0; i < shape->ndim; i++) {
    const Onnx__TensorShapeProto__Dimension *dim = type->shape->dim[i];
    const bool fixed =
        dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    const char *symbol = axis_symbol(dim);
    NTK_REQUIRE(!fixed || dim->dim_value > 0, NTK_ERR_FORMAT,
                "%s: input '%s': axis %d has the size %lld", import->path, input->name, i,
                (long long)dim->dim_value);
    if (i == axis)
      shape->dim[i] = fixed && !follow ? 1 : batch;
    else
      shape->dim[i] = fixed ? dim->dim_value : given_size(import, symbol);
    NTK_REQUIRE(shape->dim[i] > 0, NTK_ERR_ARGUMENT,
                "%s: input '%s': axis %d has no size; give --shape %s=n", import->path,
                input->name, i, symbol);
  }
done:
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/lower.h"

/* Activations of one and of two operands, and products along an axis. */

/* ---- Swish, SwiGLU --------------------------------------------------------------------
 */

/* x sigmoid(alpha x). */
static int emit_swish(ntk_lowering *l, int x) {
  const double alpha = ntk_lower_float(l, "alpha", 1);
  const ntk_dtype dtype = ntk_lower_value(l, x)->dtype;
  const int scaled =
      alpha == 1 ? x : ntk_emit(l, "Mul", x, ntk_emit_number(l, dtype, alpha));
  return ntk_emit(l, "Mul", x, ntk_emit(l, "Sigmoid", scaled, -1));
}

static ntk_status lower_swish(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_lower_require(l, 1));
  l->outputs[0] = emit_swish(l, l->inputs[0]);
done:
  return status;
}

static ntk_status require_same_shapes(const ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  char first[NTK_SHAPE_TEXT], second[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_lower_require(l, 2));
  const ntk_shape *a = &ntk_lower_value(l, l->inputs[0])->shape;
  const ntk_shape *b = &ntk_lower_value(l, l->inputs[1])->shape;
  NTK_REQUIRE(ntk_shape_equal(a, b), NTK_ERR_SHAPE, "operands of shapes %s and %s",
              ntk_shape_text(a, first), ntk_shape_text(b, second));
done:
  return status;
}

static ntk_status lower_swiglu(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(require_same_shapes(l));
  l->outputs[0] = ntk_emit(l, "Mul", emit_swish(l, l->inputs[0]), l->inputs[1]);
done:
  return status;
}

/* ---- CumProd --------------------------------------------------------------------------
 */

enum { MOST_FACTORS = 1 << 12 };

/* Products of the slices along an axis, one after the other; `exclusive`: without the
 * slice itself. */
static ntk_status emit_products(ntk_lowering *l, int axis, bool exclusive, bool reverse) {
  ntk_status status = NTK_SUCCESS;
  const int x = l->inputs[0];
  const ntk_shape shape = ntk_lower_value(l, x)->shape;
  const int64_t count = shape.dim[axis];
  int made[MOST_FACTORS];
  NTK_REQUIRE(count > 0 && count <= MOST_FACTORS, NTK_ERR_UNSUPPORTED,
              "products of %lld factors; 1 to %d are supported", (long long)count,
              MOST_FACTORS);
  int product = -1;
  for (int64_t i = 0; i < count; i++) {
    const int64_t at = reverse ? count - 1 - i : i;
    const int64_t from = !exclusive ? at : reverse ? at + 1 : at - 1;
    if (!exclusive || i > 0) {
      const int factor = ntk_emit_slice(l, x, axis, from, from + 1);
      product = product < 0 ? factor : ntk_emit(l, "Mul", product, factor);
    }
    made[at] = product;
  }
  if (exclusive) { /* ones, with the axes that the batch may be on */
    const int64_t first = reverse ? count - 1 : 0;
    const int slice = ntk_emit_slice(l, x, axis, first, first + 1);
    NTK_TRY(l->status);
    const ntk_dtype dtype = ntk_lower_value(l, x)->dtype;
    const int zero = ntk_emit(l, "Mul", slice, ntk_emit_number(l, dtype, 0));
    made[first] = ntk_emit(l, "Add", zero, ntk_emit_number(l, dtype, 1));
  }
  l->outputs[0] = ntk_emit_concat(l, (int)count, made, axis);
done:
  return status;
}

static ntk_status lower_cumprod(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  double *axis = NULL;
  int64_t count;
  NTK_TRY(ntk_lower_require(l, 2));
  const int ndim = ntk_lower_value(l, l->inputs[0])->shape.ndim;
  NTK_TRY(ntk_lower_numbers(l, l->inputs[1], "the axis", &count, &axis));
  NTK_REQUIRE(count == 1 && axis[0] >= -ndim && axis[0] < ndim, NTK_ERR_SHAPE,
              "the axis is none of %d", ndim);
  NTK_TRY(emit_products(l, (int)axis[0] + (axis[0] < 0 ? ndim : 0),
                        ntk_lower_int(l, "exclusive", 0) != 0,
                        ntk_lower_int(l, "reverse", 0) != 0));
done:
  ntk_free(&axis);
  return status;
}

#define ROW(row, onnx, since, inputs, ...)                                                 \
  const ntk_composite ntk_composite_##row = {.name = onnx,                                 \
                                             .first = since,                               \
                                             .last = NTK_NEWEST_OPSET,                     \
                                             .min_in = inputs,                             \
                                             .max_in = inputs,                             \
                                             .max_out = 1,                                 \
                                             .lower = lower_##row,                         \
                                             __VA_ARGS__};
ROW(swish, "Swish", 24, 1, .not_parameter = 0)
ROW(swiglu, "SwiGLU", 28, 2, .not_parameter = 0)
ROW(cumprod, "CumProd", 26, 2, .not_parameter = 2)

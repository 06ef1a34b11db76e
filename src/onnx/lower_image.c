/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/lower.h"

/* AffineGrid and CenterCropPad. */

/* ---- AffineGrid: theta [N, d, d + 1] times (x, y, [z,] 1) at each pixel ---------------
 */

/* Middle of pixel i of n; align: the outermost have their middles at -1 and 1. */
static double middle_of(int64_t i, int64_t n, bool align) {
  if (align)
    return n > 1 ? 2 * (double)i / (double)(n - 1) - 1 : -1;
  return (2 * (double)i + 1) / (double)n - 1;
}

/* The pixels' places [pixels, d + 1], last axis first, and a one. */
static ntk_status emit_pixels(ntk_lowering *l, ntk_dtype dtype, int axes,
                              const int64_t *sizes, int *value) {
  ntk_status status = NTK_SUCCESS;
  double *places = NULL;
  const bool align = ntk_lower_int(l, "align_corners", 0) != 0;
  ntk_shape shape = {2, {1, axes + 1}};
  for (int a = 0; a < axes; a++)
    shape.dim[0] *= sizes[a];
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, ntk_shape_size(&shape), sizeof *places, &places));
  for (int64_t pixel = 0; pixel < shape.dim[0]; pixel++) {
    double *place = places + pixel * (axes + 1);
    for (int64_t a = axes - 1, rest = pixel; a >= 0; rest /= sizes[a--])
      place[axes - 1 - a] = middle_of(rest % sizes[a], sizes[a], align);
    place[axes] = 1;
  }
  *value = ntk_emit_constant(l, dtype, &shape, places);
done:
  ntk_free(&places);
  return status;
}

/* Sizes [N, C, ...] of the images, as a constant gives them. */
static ntk_status read_sizes(const ntk_lowering *l, int axes, int64_t *sizes) {
  ntk_status status = NTK_SUCCESS;
  double *list = NULL;
  int64_t count, pixels = 1;
  NTK_TRY(ntk_lower_numbers(l, l->inputs[1], "the size", &count, &list));
  NTK_REQUIRE(count == axes + 2, NTK_ERR_SHAPE, "%lld sizes for %d axes", (long long)count,
              axes + 2);
  for (int a = 0; a < axes; a++) {
    sizes[a] = (int64_t)list[2 + a];
    NTK_REQUIRE(sizes[a] > 0 && sizes[a] < INT32_MAX / pixels, NTK_ERR_UNSUPPORTED,
                "a size of %lld", (long long)sizes[a]);
    pixels *= sizes[a];
  }
done:
  ntk_free(&list);
  return status;
}

static ntk_status lower_affinegrid(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  static const int64_t swap[] = {0, 2, 1};
  int64_t sizes[5] = {0};
  int pixels;
  NTK_TRY(ntk_lower_require(l, 2));
  const ntk_value *theta = ntk_lower_value(l, l->inputs[0]);
  const int axes = theta->shape.ndim == 3 ? (int)theta->shape.dim[1] : 0;
  NTK_REQUIRE((axes == 2 || axes == 3) && theta->shape.dim[2] == axes + 1, NTK_ERR_SHAPE,
              "theta must be [N, 2, 3] or [N, 3, 4]");
  NTK_TRY(read_sizes(l, axes, sizes + 1)); /* sizes[0] = 0: the batch as it is */
  sizes[axes + 1] = axes;
  NTK_TRY(emit_pixels(l, theta->dtype, axes, sizes + 1, &pixels));
  const int maps = ntk_emit_ints(l, "Transpose", l->inputs[0], "perm", 3, swap);
  l->outputs[0] = ntk_emit_reshape(l, ntk_emit(l, "MatMul", pixels, maps), axes + 2, sizes);
done:
  return status;
}

const ntk_composite ntk_composite_affinegrid = {.name = "AffineGrid",
                                                .first = 20,
                                                .last = NTK_NEWEST_OPSET,
                                                .min_in = 2,
                                                .max_in = 2,
                                                .max_out = 1,
                                                .not_parameter = 2,
                                                .lower = lower_affinegrid};

/* ---- CenterCropPad --------------------------------------------------------------------
 */

/* What is cut off, or added, at both ends: half of it in front, rounded towards none. */
static ntk_status lower_centercroppad(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__AttributeProto *axes = ntk_proto_attribute(l->node, "axes");
  int64_t pads[2 * NTK_MAX_DIMS] = {0}, count;
  double *sizes = NULL;
  NTK_TRY(ntk_lower_require(l, 2));
  const ntk_shape shape = ntk_lower_value(l, l->inputs[0])->shape;
  NTK_TRY(ntk_lower_numbers(l, l->inputs[1], "the shape", &count, &sizes));
  NTK_REQUIRE(count == (axes ? (int64_t)axes->n_ints : shape.ndim), NTK_ERR_SHAPE,
              "%lld sizes", (long long)count);
  for (int64_t k = 0; k < count; k++) {
    int64_t axis = axes ? axes->ints[k] : k;
    if (axis < 0)
      axis += shape.ndim;
    NTK_REQUIRE(axis >= 0 && axis < shape.ndim, NTK_ERR_SHAPE, "axis %lld of %d",
                (long long)axis, shape.ndim);
    NTK_REQUIRE(sizes[k] >= 0 && sizes[k] < 0x1p31, NTK_ERR_SHAPE, "a size of %.15g",
                sizes[k]);
    const int64_t more = (int64_t)sizes[k] - shape.dim[axis];
    pads[axis] = more / 2;
    pads[axis + shape.ndim] = more - more / 2;
  }
  l->outputs[0] = ntk_emit(l, "Pad", l->inputs[0], ntk_emit_list(l, 2 * shape.ndim, pads));
done:
  ntk_free(&sizes);
  return status;
}

const ntk_composite ntk_composite_centercroppad = {.name = "CenterCropPad",
                                                   .first = 18,
                                                   .last = NTK_NEWEST_OPSET,
                                                   .min_in = 2,
                                                   .max_in = 2,
                                                   .max_out = 1,
                                                   .not_parameter = 2,
                                                   .lower = lower_centercroppad};

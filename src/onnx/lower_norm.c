/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/lower.h"
#include "tensor/tensor.h"
#include <string.h>

/* Normalisations: statistics over some axes, then gain and bias by Mul and Add. */

/* A rank that operands need. */
static ntk_status require_real(const ntk_lowering *l, int least) {
  ntk_status status = NTK_SUCCESS;
  for (size_t i = 0; i < l->node->n_input; i++) {
    NTK_REQUIRE(l->inputs[i] >= 0 || i > 1, NTK_ERR_FORMAT, "input %zu is left out", i);
    NTK_REQUIRE(l->inputs[i] < 0 ||
                    ntk_dtype_is_real(ntk_lower_value(l, l->inputs[i])->dtype),
                NTK_ERR_UNSUPPORTED, "input %zu is not real", i);
  }
  const int ndim = ntk_lower_value(l, l->inputs[0])->shape.ndim;
  NTK_REQUIRE(ndim >= least, NTK_ERR_SHAPE, "an input of %d axes; %d are needed", ndim,
              least);
done:
  return status;
}

/* The axes from `first` on; returns their number. */
static int axes_from(int first, int ndim, int64_t axes[NTK_MAX_DIMS]) {
  int count = 0;
  for (int d = first; d < ndim; d++)
    axes[count++] = d;
  return count;
}

typedef struct moments {
  int mean, centred, inverse; /* 1 / sqrt(mean of squares + epsilon) */
} moments;

static moments emit_moments(ntk_lowering *l, int x, bool centre, int count,
                            const int64_t *axes, double epsilon) {
  moments m = {.centred = x};
  if (l->status != NTK_SUCCESS)
    return m;
  const ntk_dtype dtype = ntk_lower_value(l, x)->dtype;
  if (centre) {
    m.mean = ntk_emit_ints(l, "ReduceMean", x, "axes", count, axes);
    m.centred = ntk_emit(l, "Sub", x, m.mean);
  }
  const int square = ntk_emit(l, "Mul", m.centred, m.centred);
  const int variance = ntk_emit_ints(l, "ReduceMean", square, "axes", count, axes);
  const int safe = ntk_emit(l, "Add", variance, ntk_emit_number(l, dtype, epsilon));
  m.inverse = ntk_emit(l, "Reciprocal", ntk_emit(l, "Sqrt", safe, -1), -1);
  return m;
}

/* x * gain + bias, either left out where -1. */
static int emit_affine(ntk_lowering *l, int x, int gain, int bias) {
  if (gain >= 0)
    x = ntk_emit(l, "Mul", x, gain);
  return bias >= 0 ? ntk_emit(l, "Add", x, bias) : x;
}

/* ---- over the last axes ---------------------------------------------------------------
 */

/* centre: LayerNormalization, else RMSNormalization. */
static ntk_status lower_last(ntk_lowering *l, bool centre) {
  ntk_status status = NTK_SUCCESS;
  int64_t axes[NTK_MAX_DIMS], axis = ntk_lower_int(l, "axis", -1);
  NTK_TRY(require_real(l, 1));
  const int x = l->inputs[0], ndim = ntk_lower_value(l, x)->shape.ndim;
  if (axis < 0)
    axis += ndim;
  NTK_REQUIRE(axis >= 0 && axis < ndim, NTK_ERR_SHAPE, "axis %lld of %d axes",
              (long long)axis, ndim);
  const int count = axes_from((int)axis, ndim, axes);
  const moments m =
      emit_moments(l, x, centre, count, axes, ntk_lower_float(l, "epsilon", 1e-5));
  const int normal = ntk_emit(l, "Mul", m.centred, m.inverse);
  l->outputs[0] = emit_affine(l, normal, l->inputs[1], centre ? ntk_lower_input(l, 2) : -1);
  if (l->node->n_output > 1)
    l->outputs[1] = m.mean;
  if (l->node->n_output > 2)
    l->outputs[2] = m.inverse;
done:
  return status;
}

static ntk_status lower_layernormalization(ntk_lowering *l) { return lower_last(l, true); }
static ntk_status lower_rmsnormalization(ntk_lowering *l) { return lower_last(l, false); }

const ntk_composite ntk_composite_layernormalization = {.name = "LayerNormalization",
                                                        .first = 1,
                                                        .last = NTK_NEWEST_OPSET,
                                                        .min_in = 2,
                                                        .max_in = 3,
                                                        .max_out = 3,
                                                        .parameter_slot = 6,
                                                        .lower = lower_layernormalization};
const ntk_composite ntk_composite_rmsnormalization = {.name = "RMSNormalization",
                                                      .first = 23,
                                                      .last = NTK_NEWEST_OPSET,
                                                      .min_in = 2,
                                                      .max_in = 2,
                                                      .max_out = 1,
                                                      .parameter_slot = 2,
                                                      .lower = lower_rmsnormalization};

/* ---- over images ----------------------------------------------------------------------
 */

/* A value per channel [C] as [C, 1, ..., 1] of `ndim` axes, the batch axis left out. */
static int emit_per_channel(ntk_lowering *l, int value, int64_t channels, int ndim) {
  int64_t sizes[NTK_MAX_DIMS] = {channels};
  for (int d = 1; d < ndim - 1; d++)
    sizes[d] = 1;
  return ntk_emit_reshape(l, value, ndim - 1, sizes);
}

static ntk_status check_channels(const ntk_lowering *l, int value, int64_t size) {
  const ntk_shape *shape = &ntk_lower_value(l, value)->shape;
  if (shape->ndim != 1 || shape->dim[0] != size)
    return ntk_fail(NTK_ERR_SHAPE, "scale and bias must be of shape [%lld]",
                    (long long)size);
  return NTK_SUCCESS;
}

/* Statistics over each of `groups` groups of channels; gain and bias of each channel, or
 * of each group. */
static ntk_status lower_groups(ntk_lowering *l, int64_t groups, bool per_group) {
  ntk_status status = NTK_SUCCESS;
  int64_t axes[NTK_MAX_DIMS], split[NTK_MAX_DIMS], whole[NTK_MAX_DIMS];
  const int x = l->inputs[0], gain = l->inputs[1], bias = l->inputs[2];
  const ntk_shape shape = ntk_lower_value(l, x)->shape;
  const int64_t channels = shape.dim[1];
  const int ndim = shape.ndim;
  NTK_REQUIRE(groups > 0 && channels % groups == 0, NTK_ERR_SHAPE,
              "%lld groups of %lld channels", (long long)groups, (long long)channels);
  NTK_REQUIRE(ndim < NTK_MAX_DIMS && bias >= 0, NTK_ERR_UNSUPPORTED, "%d axes, or no bias",
              ndim);
  NTK_TRY(check_channels(l, gain, per_group ? groups : channels));
  NTK_TRY(check_channels(l, bias, per_group ? groups : channels));
  split[0] = whole[0] = 0; /* as it is */
  split[1] = groups;
  split[2] = channels / groups;
  for (int d = 1; d < ndim; d++) {
    whole[d] = shape.dim[d];
    if (d > 1)
      split[d + 1] = shape.dim[d];
  }
  const int parts = ntk_emit_reshape(l, x, ndim + 1, split);
  const int count = axes_from(2, ndim + 1, axes);
  const moments m =
      emit_moments(l, parts, true, count, axes, ntk_lower_float(l, "epsilon", 1e-5));
  int y = ntk_emit(l, "Mul", m.centred, m.inverse);
  if (per_group)
    y = emit_affine(l, y, emit_per_channel(l, gain, groups, ndim + 1),
                    emit_per_channel(l, bias, groups, ndim + 1));
  y = ntk_emit_reshape(l, y, ndim, whole);
  if (!per_group)
    y = emit_affine(l, y, emit_per_channel(l, gain, channels, ndim),
                    emit_per_channel(l, bias, channels, ndim));
  l->outputs[0] = y;
done:
  return status;
}

static ntk_status lower_groupnormalization(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(require_real(l, 3));
  NTK_TRY(
      lower_groups(l, ntk_lower_int(l, "num_groups", 0), l->builder->scope->opset < 21));
done:
  return status;
}

static ntk_status lower_instancenormalization(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(require_real(l, 3));
  NTK_TRY(lower_groups(l, ntk_lower_value(l, l->inputs[0])->shape.dim[1], false));
done:
  return status;
}

const ntk_composite ntk_composite_groupnormalization = {.name = "GroupNormalization",
                                                        .first = 18,
                                                        .last = NTK_NEWEST_OPSET,
                                                        .min_in = 3,
                                                        .max_in = 3,
                                                        .max_out = 1,
                                                        .parameter_slot = 6,
                                                        .lower = lower_groupnormalization};
const ntk_composite ntk_composite_instancenormalization = {.name = "InstanceNormalization",
                                                           .first = 6,
                                                           .last = NTK_NEWEST_OPSET,
                                                           .min_in = 3,
                                                           .max_in = 3,
                                                           .max_out = 1,
                                                           .parameter_slot = 6,
                                                           .lower =
                                                               lower_instancenormalization};

/* (x - mean) / (standard deviation + 1e-9), as the standard writes it. */
static ntk_status lower_meanvariancenormalization(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  static const int64_t usual[] = {0, 2, 3};
  const Onnx__AttributeProto *given = ntk_proto_attribute(l->node, "axes");
  const int count = given ? (int)given->n_ints : 3;
  const int64_t *axes = given ? given->ints : usual;
  NTK_TRY(require_real(l, 1));
  NTK_REQUIRE(count > 0 && count <= NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED, "%d axes", count);
  const int x = l->inputs[0];
  const ntk_dtype dtype = ntk_lower_value(l, x)->dtype;
  const int mean = ntk_emit_ints(l, "ReduceMean", x, "axes", count, axes);
  const int centred = ntk_emit(l, "Sub", x, mean);
  const int square = ntk_emit(l, "Mul", centred, centred);
  const int deviation =
      ntk_emit(l, "Sqrt", ntk_emit_ints(l, "ReduceMean", square, "axes", count, axes), -1);
  l->outputs[0] = ntk_emit(l, "Div", centred,
                           ntk_emit(l, "Add", deviation, ntk_emit_number(l, dtype, 1e-9)));
done:
  return status;
}

const ntk_composite ntk_composite_meanvariancenormalization = {
    .name = "MeanVarianceNormalization",
    .first = 9,
    .last = NTK_NEWEST_OPSET,
    .min_in = 1,
    .max_in = 1,
    .max_out = 1,
    .lower = lower_meanvariancenormalization};

/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/lower.h"

/* Losses of classifiers: minus the logarithm of the probability of the label. Of a mean
 * over the batch there is no function of one sample; of one sample there is. */

enum { SCORES, LABELS, WEIGHTS };

typedef struct loss {
  ntk_lowering *l;
  ntk_dtype dtype;
  int labels; /* inside the classes */
  int weight; /* of each label, -1: one */
} loss;

static ntk_status check_shapes(const ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  char first[NTK_SHAPE_TEXT], second[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_lower_require(l, 2));
  const ntk_shape *x = &ntk_lower_value(l, l->inputs[SCORES])->shape;
  const ntk_shape *t = &ntk_lower_value(l, l->inputs[LABELS])->shape;
  bool fits = x->ndim >= 2 && t->ndim == x->ndim - 1 && x->dim[0] == t->dim[0];
  for (int d = 2; d < x->ndim; d++)
    fits = fits && x->dim[d] == t->dim[d - 1];
  NTK_REQUIRE(fits, NTK_ERR_SHAPE, "scores %s and labels %s", ntk_shape_text(x, first),
              ntk_shape_text(t, second));
done:
  return status;
}

/* Weights of the labels; those to be ignored are replaced by class 0, of weight 0. */
static ntk_status weigh_labels(loss *s) {
  ntk_lowering *l = s->l;
  const int classes = ntk_lower_input(l, WEIGHTS);
  s->labels = l->inputs[LABELS];
  s->weight = -1;
  int used = -1;
  if (ntk_proto_attribute(l->node, "ignore_index")) {
    const ntk_dtype dtype = ntk_lower_value(l, s->labels)->dtype;
    const int64_t ignored = ntk_lower_int(l, "ignore_index", 0);
    const int is_ignored =
        ntk_emit(l, "Equal", s->labels, ntk_emit_number(l, dtype, (double)ignored));
    used = ntk_emit(l, "Not", is_ignored, -1);
    const int in[] = {used, s->labels, ntk_emit_number(l, dtype, 0)};
    s->labels = ntk_emit_n(l, "Where", 3, in);
    s->weight = used = ntk_emit_with(l, "Cast", used, "to", s->dtype == NTK_F64 ? 11 : 1);
  }
  if (classes >= 0) {
    s->weight =
        ntk_emit_n_with(l, "Gather", 2, (const int[]){classes, s->labels}, "axis", 0);
    if (used >= 0)
      s->weight = ntk_emit(l, "Mul", s->weight, used);
  }
  return l->status;
}

/* The loss from logarithms of probabilities [N, C, ...]. */
static ntk_status emit_loss(ntk_lowering *l, int logarithms, int *y) {
  ntk_status status = NTK_SUCCESS;
  static const int64_t one = 1;
  loss s = {.l = l, .dtype = ntk_lower_value(l, logarithms)->dtype};
  NTK_TRY(weigh_labels(&s));
  const int places = ntk_emit_ints(l, "Unsqueeze", s.labels, "axes", 1, &one);
  const int found =
      ntk_emit_n_with(l, "GatherLabels", 2, (const int[]){logarithms, places}, "axis", 1);
  int each = ntk_emit(l, "Neg", ntk_emit_ints(l, "Squeeze", found, "axes", 1, &one), -1);
  if (s.weight >= 0)
    each = ntk_emit(l, "Mul", each, s.weight);
  const bool mean = ntk_lower_is(l, "reduction", "mean", "mean");
  const bool sum = ntk_lower_is(l, "reduction", "mean", "sum");
  NTK_REQUIRE(mean || sum || ntk_lower_is(l, "reduction", "mean", "none"),
              NTK_ERR_UNSUPPORTED, "an unknown reduction");
  if (sum || (mean && s.weight >= 0))
    each = ntk_emit_with(l, "ReduceSum", each, "keepdims", 0);
  else if (mean)
    each = ntk_emit_with(l, "ReduceMean", each, "keepdims", 0);
  if (mean && s.weight >= 0)
    each = ntk_emit(l, "Div", each, ntk_emit_with(l, "ReduceSum", s.weight, "keepdims", 0));
  *y = each;
done:
  return status;
}

static ntk_status lower_negativeloglikelihoodloss(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(check_shapes(l));
  NTK_TRY(emit_loss(l, l->inputs[SCORES], &l->outputs[0]));
done:
  return status;
}

static ntk_status lower_softmaxcrossentropyloss(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(check_shapes(l));
  const int logarithms = ntk_emit_with(l, "LogSoftmax", l->inputs[SCORES], "axis", 1);
  NTK_TRY(l->status);
  NTK_TRY(emit_loss(l, logarithms, &l->outputs[0]));
  if (l->node->n_output > 1)
    l->outputs[1] = logarithms;
done:
  return status;
}

/* Weights of classes are no parameters. */
#define ROW(row, onnx, outputs)                                                            \
  const ntk_composite ntk_composite_##row = {.name = onnx,                                 \
                                             .first = 12,                                  \
                                             .last = NTK_NEWEST_OPSET,                     \
                                             .min_in = 2,                                  \
                                             .max_in = 3,                                  \
                                             .max_out = outputs,                           \
                                             .not_parameter = 6,                           \
                                             .lower = lower_##row};
ROW(negativeloglikelihoodloss, "NegativeLogLikelihoodLoss", 1)
ROW(softmaxcrossentropyloss, "SoftmaxCrossEntropyLoss", 2)

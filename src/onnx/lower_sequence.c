/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/lower.h"
#include <math.h>

/* Layers of networks for sequences that carry a state: written out over time. */

/* ---- LinearAttention ------------------------------------------------------------------
 */

enum { QUERY, KEY, VALUE, PAST, DECAY, BETA, INPUTS };

/* Operands as [B, heads, T, size]; -1: left out. */
typedef struct recurrence {
  ntk_lowering *l;
  int64_t heads, kv_heads, T;
  int operand[INPUTS]; /* the past: [B, kv heads, size of K, size of V] */
} recurrence;

static const int64_t turned[] = {0, 1, 3, 2};

/* Which operands a rule takes: they must be there, and no others. */
static ntk_status check_rule(const ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  const char *name = "update_rule", *usual = "gated_delta";
  const bool both = ntk_lower_is(l, name, usual, "gated_delta");
  const bool gated = both || ntk_lower_is(l, name, usual, "gated");
  const bool delta = both || ntk_lower_is(l, name, usual, "delta");
  NTK_REQUIRE(gated || delta || ntk_lower_is(l, name, usual, "linear"), NTK_ERR_UNSUPPORTED,
              "an unknown update_rule");
  NTK_REQUIRE(gated == (ntk_lower_input(l, DECAY) >= 0) &&
                  delta == (ntk_lower_input(l, BETA) >= 0),
              NTK_ERR_FORMAT, "decay or beta do not go with the update_rule");
done:
  return status;
}

static ntk_status check_shapes(const recurrence *r) {
  ntk_status status = NTK_SUCCESS;
  const ntk_lowering *l = r->l;
  NTK_REQUIRE(r->kv_heads > 0 && r->heads > 0 && r->heads % r->kv_heads == 0, NTK_ERR_SHAPE,
              "%lld heads of Q for %lld", (long long)r->heads, (long long)r->kv_heads);
  for (int i = 0; i < INPUTS; i++) {
    const int v = ntk_lower_input(l, i);
    if (v < 0)
      continue;
    const ntk_shape *s = &ntk_lower_value(l, v)->shape;
    const int64_t heads = i == QUERY ? r->heads : i == BETA ? 1 : r->kv_heads;
    NTK_REQUIRE(i == PAST ? s->ndim == 4
                          : s->ndim == 3 && s->dim[1] == r->T && s->dim[2] % heads == 0,
                NTK_ERR_SHAPE, "input %d has not the axes of %lld heads", i,
                (long long)heads);
  }
done:
  return status;
}

static ntk_status read_operands(recurrence *r) {
  ntk_status status = NTK_SUCCESS;
  ntk_lowering *l = r->l;
  NTK_TRY(ntk_lower_require(l, 3));
  const ntk_value *query = ntk_lower_value(l, l->inputs[QUERY]);
  const ntk_dtype dtype = query->dtype;
  r->T = query->shape.ndim == 3 ? query->shape.dim[1] : 0;
  NTK_TRY(check_rule(l));
  NTK_TRY(check_shapes(r));
  const double size = (double)query->shape.dim[2] / (double)r->heads;
  const double scale = ntk_lower_float(l, "scale", 0);
  for (int i = 0; i < INPUTS; i++) {
    const int v = ntk_lower_input(l, i);
    const int64_t own =
        v < 0 || i != BETA ? r->kv_heads : ntk_lower_value(l, v)->shape.dim[2];
    r->operand[i] = v < 0 ? -1 : ntk_emit_split_heads(l, v, i == QUERY ? r->heads : own);
  }
  r->operand[QUERY] =
      ntk_emit(l, "Mul", r->operand[QUERY],
               ntk_emit_number(l, dtype, scale == 0 ? 1 / sqrt(size) : scale));
  if (r->operand[DECAY] >= 0)
    r->operand[DECAY] = ntk_emit(l, "Exp", r->operand[DECAY], -1);
  NTK_TRY(l->status);
done:
  return status;
}

/* The state after step t, [B, kv heads, size of K, size of V]; -1 stands for zeros. */
static int emit_state(const recurrence *r, int64_t t, int state) {
  ntk_lowering *l = r->l;
  const int key = ntk_emit_slice(l, r->operand[KEY], 2, t, t + 1);
  int value = ntk_emit_slice(l, r->operand[VALUE], 2, t, t + 1);
  if (r->operand[DECAY] >= 0 && state >= 0) {
    const int decay = ntk_emit_slice(l, r->operand[DECAY], 2, t, t + 1);
    state =
        ntk_emit(l, "Mul", state, ntk_emit_ints(l, "Transpose", decay, "perm", 4, turned));
  }
  if (r->operand[BETA] >= 0) {
    if (state >= 0)
      value = ntk_emit(l, "Sub", value, ntk_emit(l, "MatMul", key, state));
    value = ntk_emit(l, "Mul", value, ntk_emit_slice(l, r->operand[BETA], 2, t, t + 1));
  }
  const int written =
      ntk_emit(l, "MatMul", ntk_emit_ints(l, "Transpose", key, "perm", 4, turned), value);
  return state < 0 ? written : ntk_emit(l, "Add", state, written);
}

static ntk_status lower_linearattention(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  enum { MOST_STEPS = 1 << 12 };
  int read[MOST_STEPS];
  recurrence r = {.l = l,
                  .heads = ntk_lower_int(l, "q_num_heads", 0),
                  .kv_heads = ntk_lower_int(l, "kv_num_heads", 0)};
  NTK_TRY(read_operands(&r));
  NTK_REQUIRE(r.T > 0 && r.T <= MOST_STEPS, NTK_ERR_UNSUPPORTED,
              "%lld steps; 1 to %d are supported", (long long)r.T, MOST_STEPS);
  int state = r.operand[PAST];
  for (int64_t t = 0; t < r.T; t++) {
    state = emit_state(&r, t, state);
    read[t] = ntk_emit(l, "MatMul", ntk_emit_slice(l, r.operand[QUERY], 2, t, t + 1),
                       ntk_emit_repeat_heads(l, state, r.heads / r.kv_heads));
    NTK_TRY(l->status);
  }
  l->outputs[0] = ntk_emit_join_heads(l, ntk_emit_concat(l, (int)r.T, read, 2));
  if (l->node->n_output > 1)
    l->outputs[1] = state;
done:
  return status;
}

const ntk_composite ntk_composite_linearattention = {.name = "LinearAttention",
                                                     .first = 27,
                                                     .last = NTK_NEWEST_OPSET,
                                                     .min_in = 3,
                                                     .max_in = INPUTS,
                                                     .max_out = 2,
                                                     .lower = lower_linearattention};

/* ---- CausalConvWithState --------------------------------------------------------------
 */

/* Its state before the first step, [B, C, length], if there is one. */
static ntk_status check_past(const ntk_lowering *l, int64_t length) {
  ntk_status status = NTK_SUCCESS;
  char text[NTK_SHAPE_TEXT];
  const int past = ntk_lower_input(l, 3);
  if (past < 0)
    return NTK_SUCCESS;
  const ntk_shape *s = &ntk_lower_value(l, past)->shape;
  NTK_REQUIRE(s->ndim == 3 && s->dim[2] == length, NTK_ERR_SHAPE,
              "past_state %s does not end in %lld elements", ntk_shape_text(s, text),
              (long long)length);
done:
  return status;
}

/* x [B, C, L] behind a past [B, C, k - 1], or zeros, in a convolution of each channel. */
static ntk_status lower_causalconvwithstate(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_lower_require(l, 2));
  const ntk_shape x = ntk_lower_value(l, l->inputs[0])->shape;
  const ntk_shape w = ntk_lower_value(l, l->inputs[1])->shape;
  const int past = ntk_lower_input(l, 3);
  char text[NTK_SHAPE_TEXT];
  const bool swish = ntk_lower_is(l, "activation", "none", "silu") ||
                     ntk_lower_is(l, "activation", "none", "swish");
  NTK_REQUIRE(x.ndim == 3 && w.ndim == 3 && w.dim[2] > 0, NTK_ERR_SHAPE,
              "data of %d and weights of %d axes, not 3", x.ndim, w.ndim);
  NTK_REQUIRE(w.dim[0] == x.dim[1] && w.dim[1] == 1, NTK_ERR_SHAPE,
              "weights %s for %lld channels", ntk_shape_text(&w, text),
              (long long)x.dim[1]);
  NTK_TRY(check_past(l, w.dim[2] - 1));
  NTK_REQUIRE(swish || ntk_lower_is(l, "activation", "none", "none"), NTK_ERR_UNSUPPORTED,
              "an unknown activation");
  const int64_t front = w.dim[2] - 1, pads[] = {0, 0, front, 0, 0, 0};
  const int whole = past < 0 ? ntk_emit(l, "Pad", l->inputs[0], ntk_emit_list(l, 6, pads))
                             : ntk_emit_concat(l, 2, (const int[]){past, l->inputs[0]}, 2);
  const int in[] = {whole, l->inputs[1], ntk_lower_input(l, 2)};
  const int y = ntk_emit_n_with(l, "Conv", 3, in, "group", x.dim[1]);
  l->outputs[0] = swish ? ntk_emit(l, "Mul", y, ntk_emit(l, "Sigmoid", y, -1)) : y;
  NTK_TRY(l->status);
  const int64_t length = ntk_lower_value(l, whole)->shape.dim[2];
  if (ntk_lower_wants(l, 1))
    l->outputs[1] = ntk_emit_slice(l, whole, 2, length - front, length);
done:
  return status;
}

const ntk_composite ntk_composite_causalconvwithstate = {.name = "CausalConvWithState",
                                                         .first = 27,
                                                         .last = NTK_NEWEST_OPSET,
                                                         .min_in = 2,
                                                         .max_in = 4,
                                                         .max_out = 2,
                                                         .parameter_slot = 6,
                                                         .lower =
                                                             lower_causalconvwithstate};

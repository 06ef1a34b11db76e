/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/lower.h"
#include <float.h>
#include <math.h>

/* Attention (opset 23): softmax(scale Q K^T + mask) V, and what goes with it. */

/* Added where attention must not look: exp of it is 0, also beside the least that a mask
 * adds where it may. Two of them are finite in f32. */
static const double never = -1.5e38, least = -0.7e38;

/* From this opset on a mask may be shorter than the keys. */
enum { SHORT_MASKS = 24 };
enum { MASK = 3, PAST_KEY, PAST_VALUE, LENGTHS, INPUTS };
enum { RAW, CAPPED, BIASED, SOFTMAX, STAGES }; /* of the scores */

typedef struct attention {
  ntk_lowering *l;
  ntk_dtype dtype;
  int64_t heads, kv_heads; /* of operands of 3 axes */
  int64_t past;            /* keys in front of the first query */
  int q, k, v;             /* [B, heads, L, D] */
  int stage[STAGES];       /* [B, heads, L of Q, L of K] */
} attention;

static ntk_shape shape_of(const ntk_lowering *l, int value) {
  return l->status == NTK_SUCCESS ? ntk_lower_value(l, value)->shape : (ntk_shape){0};
}

int ntk_emit_split_heads(ntk_lowering *l, int x, int64_t heads) {
  static const int64_t swap[] = {0, 2, 1, 3};
  const ntk_shape shape = shape_of(l, x);
  if (shape.ndim != 3)
    return x;
  const int64_t sizes[] = {0, shape.dim[1], heads, shape.dim[2] / heads};
  return ntk_emit_ints(l, "Transpose", ntk_emit_reshape(l, x, 4, sizes), "perm", 4, swap);
}

int ntk_emit_join_heads(ntk_lowering *l, int x) {
  static const int64_t swap[] = {0, 2, 1, 3};
  const ntk_shape shape = shape_of(l, x);
  const int64_t sizes[] = {0, shape.dim[2], shape.dim[1] * shape.dim[3]};
  return ntk_emit_reshape(l, ntk_emit_ints(l, "Transpose", x, "perm", 4, swap), 3, sizes);
}

int ntk_emit_repeat_heads(ntk_lowering *l, int x, int64_t times) {
  const ntk_shape s = shape_of(l, x);
  if (times == 1 || s.ndim != 4)
    return x;
  const int64_t apart[] = {0, s.dim[1], 1, s.dim[2], s.dim[3]};
  const int64_t often[] = {1, 1, times, 1, 1};
  const int64_t whole[] = {0, s.dim[1] * times, s.dim[2], s.dim[3]};
  const int each =
      ntk_emit(l, "Expand", ntk_emit_reshape(l, x, 5, apart), ntk_emit_list(l, 5, often));
  return ntk_emit_reshape(l, each, 4, whole);
}

/* ---- operands -------------------------------------------------------------------------
 */

static ntk_status check_one(const attention *a, int i) {
  ntk_status status = NTK_SUCCESS;
  const ntk_lowering *l = a->l;
  const int64_t heads = i == 0 ? a->heads : a->kv_heads;
  const ntk_shape *s = &ntk_lower_value(l, l->inputs[i])->shape;
  NTK_REQUIRE(s->ndim == 4 || (s->ndim == 3 && heads > 0 && s->dim[2] % heads == 0),
              NTK_ERR_SHAPE, "Q, K and V must have 4 axes, or 3 of whole heads");
done:
  return status;
}

/* softmax_precision asks for a rounding in between: all is computed in the plan's type. */
static ntk_status check_attributes(const ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  const int64_t stage = ntk_lower_int(l, "qk_matmul_output_mode", RAW);
  const int64_t type = ntk_lower_int(l, "softmax_precision", 1);
  const int64_t left = ntk_lower_int(l, "left_window_size", -1);
  const int64_t right = ntk_lower_int(l, "right_window_size", -1);
  const double cap = ntk_lower_float(l, "softcap", 0);
  NTK_REQUIRE(stage >= 0 && stage < STAGES, NTK_ERR_FORMAT,
              "qk_matmul_output_mode is %lld, not 0 to %d", (long long)stage, STAGES - 1);
  NTK_REQUIRE(type == 1 || type == 10 || type == 11 || type == 16, NTK_ERR_FORMAT,
              "softmax_precision %lld is not real", (long long)type);
  NTK_REQUIRE(left >= -1 && right >= -1, NTK_ERR_FORMAT,
              "a window of %lld to the left and %lld to the right; -1 is without end",
              (long long)left, (long long)right);
  NTK_REQUIRE(cap >= 0, NTK_ERR_FORMAT, "softcap is %g, and must not be negative", cap);
done:
  return status;
}

static ntk_status check(const attention *a) {
  ntk_status status = NTK_SUCCESS;
  const ntk_lowering *l = a->l;
  NTK_TRY(ntk_lower_require(l, 3));
  NTK_TRY(check_attributes(l));
  for (int i = 0; i < 3; i++)
    NTK_TRY(check_one(a, i));
  const int key = ntk_lower_input(l, PAST_KEY), value = ntk_lower_input(l, PAST_VALUE);
  NTK_REQUIRE((key < 0) == (value < 0), NTK_ERR_FORMAT,
              "past keys without past values, or the other way round");
  NTK_REQUIRE(key < 0 || (ntk_lower_value(l, key)->shape.ndim == 4 &&
                          ntk_lower_value(l, value)->shape.ndim == 4),
              NTK_ERR_SHAPE, "past keys and values must have 4 axes");
  NTK_REQUIRE(key < 0 || ntk_lower_input(l, LENGTHS) < 0, NTK_ERR_FORMAT,
              "nonpad_kv_seqlen does not go with past keys");
done:
  return status;
}

/* Q, and K and V behind those of the past, heads apart. */
static ntk_status read_operands(attention *a) {
  ntk_status status = NTK_SUCCESS;
  ntk_lowering *l = a->l;
  const int past = ntk_lower_input(l, PAST_KEY);
  a->dtype = ntk_lower_value(l, l->inputs[0])->dtype;
  a->q = ntk_emit_split_heads(l, l->inputs[0], a->heads);
  a->k = ntk_emit_split_heads(l, l->inputs[1], a->kv_heads);
  a->v = ntk_emit_split_heads(l, l->inputs[2], a->kv_heads);
  if (past >= 0) {
    a->past = ntk_lower_value(l, past)->shape.dim[2];
    a->k = ntk_emit_concat(l, 2, (const int[]){past, a->k}, 2);
    a->v = ntk_emit_concat(l, 2, (const int[]){l->inputs[PAST_VALUE], a->v}, 2);
  }
  NTK_TRY(l->status);
  const int64_t q = shape_of(l, a->q).dim[1], k = shape_of(l, a->k).dim[1];
  NTK_REQUIRE(k > 0 && q % k == 0 && shape_of(l, a->v).dim[1] == k, NTK_ERR_SHAPE,
              "%lld heads of Q for %lld of K and %lld of V", (long long)q, (long long)k,
              (long long)shape_of(l, a->v).dim[1]);
done:
  return status;
}

/* ---- masks ----------------------------------------------------------------------------
 */

/* Where a mask is -infinity, in its own type: the network may be computed in another. */
static int emit_hidden(const attention *a, int mask) {
  ntk_lowering *l = a->l;
  return a->dtype == NTK_F64
             ? ntk_emit_with(l, "IsInf", mask, "detect_positive", 0)
             : ntk_emit(l, "Less", mask, ntk_emit_number(l, a->dtype, -(double)FLT_MAX));
}

/* The mask as numbers to be added, which are all finite. */
static int emit_numbers(const attention *a, int mask) {
  ntk_lowering *l = a->l;
  const int hidden = ntk_emit_number(l, a->dtype, never);
  if (ntk_lower_value(l, mask)->dtype == NTK_BOOL) {
    const int in[] = {mask, ntk_emit_number(l, a->dtype, 0), hidden};
    return ntk_emit_n(l, "Where", 3, in);
  }
  const int finite = ntk_emit(l, "Max", mask, ntk_emit_number(l, a->dtype, least));
  return ntk_emit_n(l, "Where", 3, (const int[]){emit_hidden(a, mask), hidden, finite});
}

/* As long as the keys are, where the opset lets masks be shorter: else one of a single
 * element is for all keys. */
static int emit_mask(const attention *a, int mask, int64_t keys) {
  ntk_lowering *l = a->l;
  const int numbers = emit_numbers(a, mask);
  const ntk_shape s = shape_of(l, numbers);
  int64_t pads[2 * NTK_MAX_DIMS] = {0};
  if (l->builder->scope->opset < SHORT_MASKS || s.ndim < 1 || s.dim[s.ndim - 1] >= keys)
    return numbers;
  pads[2 * s.ndim - 1] = keys - s.dim[s.ndim - 1];
  const int in[] = {numbers, ntk_emit_list(l, 2 * s.ndim, pads),
                    ntk_emit_number(l, a->dtype, never)};
  return ntk_emit_n(l, "Pad", 3, in);
}

/* Which keys a query may see: those of all samples are counted from the first. */
typedef struct limits {
  bool causal;
  int64_t left, right; /* so many beside its own place; -1: all */
  int64_t count;       /* samples with a number of keys of their own, or 1 */
  double *lengths;     /* or NULL */
} limits;

static bool sees(const attention *a, const limits *m, int64_t sample, int64_t query,
                 int64_t queries, int64_t keys, int64_t key) {
  const int64_t length = m->lengths ? (int64_t)m->lengths[sample] : keys;
  const int64_t front = m->lengths && a->past == 0 ? length - queries : a->past;
  const int64_t place = query + front;
  return key < length && !(m->causal && key > place) &&
         !(m->left >= 0 && key < place - m->left) &&
         !(m->right >= 0 && key > place + m->right);
}

/* A mask [samples, 1, L of Q, L of K] to be added. */
static ntk_status emit_limits(const attention *a, const limits *m, const ntk_shape *scores,
                              int *mask) {
  ntk_status status = NTK_SUCCESS;
  double *elements = NULL;
  const int64_t queries = scores->dim[2], keys = scores->dim[3];
  const ntk_shape shape = {4, {m->count, 1, queries, keys}};
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, ntk_shape_size(&shape), sizeof *elements, &elements));
  for (int64_t e = 0; e < ntk_shape_size(&shape); e++)
    if (!sees(a, m, e / keys / queries, e / keys % queries, queries, keys, e % keys))
      elements[e] = never;
  *mask = ntk_emit_constant(a->l, a->dtype, &shape, elements);
done:
  ntk_free(&elements);
  return status;
}

static ntk_status read_lengths(const attention *a, const ntk_shape *scores, limits *m) {
  ntk_status status = NTK_SUCCESS;
  const int64_t samples = scores->dim[0], keys = scores->dim[3];
  const int given = ntk_lower_input(a->l, LENGTHS);
  if (given < 0)
    return NTK_SUCCESS;
  NTK_TRY(ntk_lower_numbers(a->l, given, "nonpad_kv_seqlen", &m->count, &m->lengths));
  NTK_REQUIRE(m->count == 1 || m->count == samples, NTK_ERR_SHAPE,
              "nonpad_kv_seqlen has %lld numbers for %lld samples", (long long)m->count,
              (long long)samples);
  for (int64_t i = 0; i < m->count; i++)
    NTK_REQUIRE(m->lengths[i] >= 0 && m->lengths[i] <= (double)keys, NTK_ERR_SHAPE,
                "nonpad_kv_seqlen is %.15g of %lld keys", m->lengths[i], (long long)keys);
done:
  return status;
}

static ntk_status read_limits(const attention *a, const ntk_shape *scores, limits *m) {
  ntk_status status = NTK_SUCCESS;
  const int64_t all = scores->dim[2] + scores->dim[3]; /* a window that leaves out none */
  const int64_t left = ntk_lower_int(a->l, "left_window_size", -1);
  const int64_t right = ntk_lower_int(a->l, "right_window_size", -1);
  *m = (limits){.causal = ntk_lower_int(a->l, "is_causal", 0) != 0,
                .left = left < all ? left : all,
                .right = right < all ? right : all,
                .count = 1};
  NTK_TRY(read_lengths(a, scores, m));
done:
  return status;
}

/* What is added to scores of this shape, -1: nothing. */
static ntk_status emit_bias(const attention *a, const ntk_shape *scores, int *bias) {
  ntk_status status = NTK_SUCCESS;
  limits m = {0};
  const int given = ntk_lower_input(a->l, MASK);
  *bias = -1;
  NTK_TRY(read_limits(a, scores, &m));
  if (m.causal || m.left >= 0 || m.right >= 0 || m.lengths)
    NTK_TRY(emit_limits(a, &m, scores, bias));
  if (given >= 0) {
    const int mask = emit_mask(a, given, scores->dim[3]);
    *bias = *bias < 0 ? mask : ntk_emit(a->l, "Add", *bias, mask);
  }
  NTK_TRY(a->l->status);
done:
  ntk_free(&m.lengths);
  return status;
}

/* Above all sums of what is added in which is `never`, and below all others. */
static const double blind = -1.1e38;

/* May a query see nothing? */
static bool has_blind(const ntk_value *bias) {
  const ntk_shape *s = &bias->shape;
  if (bias->role != NTK_CONSTANT || !bias->constant || s->ndim < 1)
    return true;
  const int64_t keys = s->dim[s->ndim - 1];
  int64_t seen = 0;
  for (int64_t e = 0; e < ntk_shape_size(s); e++) {
    seen = e % keys == 0 ? 0 : seen;
    seen += ntk_tensor_real(bias->constant, e) > blind;
    if (e % keys == keys - 1 && seen == 0)
      return true;
  }
  return false;
}

/* Weights of the keys; a query that sees none has zeros. */
static int emit_weights(const attention *a, int scores, int bias) {
  ntk_lowering *l = a->l;
  const int weights = ntk_emit_with(l, "Softmax", scores, "axis", -1);
  if (l->status != NTK_SUCCESS || bias < 0 || !has_blind(ntk_lower_value(l, bias)))
    return weights;
  const int seen = ntk_emit(l, "Greater", bias, ntk_emit_number(l, a->dtype, blind));
  return ntk_emit(l, "Mul", weights,
                  ntk_emit_with(l, "Cast", seen, "to", a->dtype == NTK_F64 ? 11 : 1));
}

/* ---- the whole ------------------------------------------------------------------------
 */

static int emit_cap(const attention *a, int scores, double cap) {
  ntk_lowering *l = a->l;
  if (!(cap > 0))
    return scores;
  const int small = ntk_emit(l, "Mul", scores, ntk_emit_number(l, a->dtype, 1 / cap));
  return ntk_emit(l, "Mul", ntk_emit(l, "Tanh", small, -1),
                  ntk_emit_number(l, a->dtype, cap));
}

static ntk_status emit_stages(attention *a, int64_t times) {
  ntk_status status = NTK_SUCCESS;
  static const int64_t swap[] = {0, 1, 3, 2};
  ntk_lowering *l = a->l;
  int bias;
  const double size = (double)shape_of(l, a->q).dim[3];
  const double scale = ntk_lower_float(l, "scale", 1 / sqrt(size));
  const int keys =
      ntk_emit_ints(l, "Transpose", ntk_emit_repeat_heads(l, a->k, times), "perm", 4, swap);
  a->stage[RAW] = ntk_emit(l, "Mul", ntk_emit(l, "MatMul", a->q, keys),
                           ntk_emit_number(l, a->dtype, scale));
  a->stage[CAPPED] = emit_cap(a, a->stage[RAW], ntk_lower_float(l, "softcap", 0));
  NTK_TRY(l->status);
  const ntk_shape shape = ntk_lower_value(l, a->stage[CAPPED])->shape;
  NTK_TRY(emit_bias(a, &shape, &bias));
  a->stage[BIASED] =
      bias < 0 ? a->stage[CAPPED] : ntk_emit(l, "Add", a->stage[CAPPED], bias);
  a->stage[SOFTMAX] = emit_weights(a, a->stage[BIASED], bias);
done:
  return status;
}

static ntk_status lower_attention(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  const int64_t heads = ntk_lower_int(l, "q_num_heads", 0);
  const int64_t stage = ntk_lower_int(l, "qk_matmul_output_mode", RAW);
  attention a = {
      .l = l, .heads = heads, .kv_heads = ntk_lower_int(l, "kv_num_heads", heads)};
  NTK_TRY(check(&a));
  NTK_TRY(read_operands(&a));
  const int64_t times = shape_of(l, a.q).dim[1] / shape_of(l, a.k).dim[1];
  NTK_TRY(emit_stages(&a, times));
  const int y =
      ntk_emit(l, "MatMul", a.stage[SOFTMAX], ntk_emit_repeat_heads(l, a.v, times));
  const int made[] = {
      ntk_lower_value(l, l->inputs[0])->shape.ndim == 3 ? ntk_emit_join_heads(l, y) : y,
      a.k, a.v, a.stage[stage]};
  for (size_t k = 0; k < l->node->n_output && k < sizeof made / sizeof *made; k++)
    l->outputs[k] = made[k];
done:
  return status;
}

const ntk_composite ntk_composite_attention = {.name = "Attention",
                                               .first = 23,
                                               .last = NTK_NEWEST_OPSET,
                                               .min_in = 3,
                                               .max_in = INPUTS,
                                               .max_out = 4,
                                               .not_parameter = 1u << LENGTHS,
                                               .buffer_slot = 1u << MASK,
                                               .lower = lower_attention};

/* ---- RotaryEmbedding ------------------------------------------------------------------
 */

/* Cosines and sines are [positions, half] where there are places [B, L], else [B, L, half].
 */
static ntk_status check_angles(const ntk_lowering *l, int64_t half) {
  ntk_status status = NTK_SUCCESS;
  const int places = ntk_lower_input(l, 3), axes = places < 0 ? 3 : 2;
  NTK_REQUIRE(places < 0 || ntk_lower_value(l, places)->shape.ndim == 2, NTK_ERR_SHAPE,
              "position_ids of %d axes, not 2", ntk_lower_value(l, places)->shape.ndim);
  for (int i = 1; i <= 2; i++) {
    char shape[NTK_SHAPE_TEXT];
    const ntk_shape *s = &ntk_lower_value(l, l->inputs[i])->shape;
    NTK_REQUIRE(s->ndim == axes && s->dim[axes - 1] == half, NTK_ERR_SHAPE,
                "cosines or sines %s, not of %d axes, the last of %lld",
                ntk_shape_text(s, shape), axes, (long long)half);
  }
done:
  return status;
}

/* [B, L, half], with an axis for the heads. */
static int emit_angles(ntk_lowering *l, int cache, int64_t heads_axis) {
  const int places = ntk_lower_input(l, 3);
  if (places >= 0)
    cache = ntk_emit_n_with(l, "Gather", 2, (const int[]){cache, places}, "axis", 0);
  return ntk_emit_ints(l, "Unsqueeze", cache, "axes", 1, &heads_axis);
}

/* Pairs of x [B, a, b, size], of neighbours or of halves, turned; the axis that a pair is
 * on stands last, or last but one. */
static int emit_turned(ntk_lowering *l, int x, int64_t size, bool neighbours, int cos,
                       int sin) {
  const ntk_shape s = shape_of(l, x);
  const int64_t axis = neighbours ? 4 : 3;
  const int64_t pairs[] = {0, s.dim[1], s.dim[2], neighbours ? size / 2 : 2,
                           neighbours ? 2 : size / 2};
  const int64_t whole[] = {0, s.dim[1], s.dim[2], size};
  const int paired = ntk_emit_reshape(l, x, 5, pairs);
  const int a = ntk_emit_gather(l, paired, axis, 0),
            b = ntk_emit_gather(l, paired, axis, 1);
  const int real =
      ntk_emit(l, "Sub", ntk_emit(l, "Mul", a, cos), ntk_emit(l, "Mul", b, sin));
  const int imaginary =
      ntk_emit(l, "Add", ntk_emit(l, "Mul", a, sin), ntk_emit(l, "Mul", b, cos));
  const int parts[] = {ntk_emit_ints(l, "Unsqueeze", real, "axes", 1, &axis),
                       ntk_emit_ints(l, "Unsqueeze", imaginary, "axes", 1, &axis)};
  return ntk_emit_reshape(l, ntk_emit_concat(l, 2, parts, axis), 4, whole);
}

/* x [B, a, b, D], heads on axis heads_axis: the first `size` of D are turned. */
static ntk_status emit_rotary(ntk_lowering *l, int x, int64_t heads_axis, int *y) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(l->status);
  const int64_t whole = ntk_lower_value(l, x)->shape.dim[3];
  int64_t size = ntk_lower_int(l, "rotary_embedding_dim", 0);
  if (size == 0)
    size = whole;
  NTK_REQUIRE(size > 0 && size % 2 == 0 && size <= whole, NTK_ERR_SHAPE,
              "%lld of %lld numbers cannot be turned in pairs", (long long)size,
              (long long)whole);
  NTK_TRY(check_angles(l, size / 2));
  const int turned = emit_turned(l, size < whole ? ntk_emit_slice(l, x, 3, 0, size) : x,
                                 size, ntk_lower_int(l, "interleaved", 0) != 0,
                                 emit_angles(l, l->inputs[1], heads_axis),
                                 emit_angles(l, l->inputs[2], heads_axis));
  *y = size < whole
           ? ntk_emit_concat(l, 2,
                             (const int[]){turned, ntk_emit_slice(l, x, 3, size, whole)}, 3)
           : turned;
done:
  return status;
}

/* Of [B, heads, L, D], or of [B, L, heads * D]. */
static ntk_status lower_rotaryembedding(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  const int64_t heads = ntk_lower_int(l, "num_heads", 0);
  int y = -1;
  NTK_TRY(ntk_lower_require(l, 3));
  const ntk_shape s = ntk_lower_value(l, l->inputs[0])->shape;
  NTK_REQUIRE(s.ndim == 4 || (s.ndim == 3 && heads > 0 && s.dim[2] % heads == 0),
              NTK_ERR_SHAPE, "the input must have 4 axes, or 3 of whole heads");
  if (s.ndim == 4) {
    NTK_TRY(emit_rotary(l, l->inputs[0], 1, &y));
  } else {
    const int64_t apart[] = {0, s.dim[1], heads, s.dim[2] / heads};
    const int64_t joined[] = {0, s.dim[1], s.dim[2]};
    NTK_TRY(emit_rotary(l, ntk_emit_reshape(l, l->inputs[0], 4, apart), 2, &y));
    y = ntk_emit_reshape(l, y, 3, joined);
  }
  l->outputs[0] = y;
done:
  return status;
}

const ntk_composite ntk_composite_rotaryembedding = {.name = "RotaryEmbedding",
                                                     .first = 23,
                                                     .last = NTK_NEWEST_OPSET,
                                                     .min_in = 3,
                                                     .max_in = 4,
                                                     .max_out = 1,
                                                     .not_parameter = 8,
                                                     .buffer_slot = 6,
                                                     .lower = lower_rotaryembedding};

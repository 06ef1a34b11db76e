/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/lower.h"
#include "ops/ops.h"
#include <string.h>
#include <strings.h>

/* LSTM, GRU and RNN, written out over time. Every gate of every step is x W + h R + b with
 * products of its own, so that what the parameters multiply at one step shares its
 * cotangent, and the steps are the positions of one use (design section 4). */

enum { GATES = 4, STATES = 2 };

typedef struct cell cell;

/* What LSTM, GRU and RNN differ in. */
typedef struct cell_kind {
  int gates, functions;
  const char *defaults[3]; /* activations */
  /* Gates of x [B, I] and states [B, H]; replaces the states. */
  void (*step)(const cell *c, int x, int state[STATES]);
} cell_kind;

/* One direction of one node. */
struct cell {
  ntk_lowering *l;
  const cell_kind *kind;
  int64_t T, B, I, H;
  int directions, layout;
  bool reverse, linear_before_reset, input_forget;
  ntk_dtype dtype;
  int w[GATES], r[GATES], wb[GATES], rb[GATES], p[3]; /* values, -1: none */
  const char *activation[3];
};

/* ---- parts of weights -----------------------------------------------------------------
 */

/* `count` elements from `at` on of a value, as a tensor of this shape. Exporters put
 * weights together from parts of parameters: where the elements stand in a row in one of
 * those they are taken from there, as only such parts have factors. */
static int take(ntk_lowering *l, int v, int64_t at, int64_t count, const ntk_shape *shape) {
  const ntk_graph *graph = l->builder->graph;
  if (l->status != NTK_SUCCESS)
    return -1;
  while (graph->values[v].role == NTK_PARAMETER && graph->values[v].producer >= 0 &&
         ntk_move_origin(graph, graph->values[v].producer, at, count, &v, &at))
    ;
  ntk_shape from = graph->values[v].shape;
  const int64_t size = ntk_shape_size(&from);
  int64_t row = from.ndim > 0 && from.dim[0] > 0 ? size / from.dim[0] : 0;
  if (count < size) {
    if (row == 0 || at % row != 0 || count % row != 0) {
      v = ntk_emit_reshape(l, v, 1, (const int64_t[]){size});
      from = (ntk_shape){1, {size}};
      row = 1;
    }
    v = ntk_emit_slice(l, v, 0, at / row, (at + count) / row);
    from.dim[0] = count / row;
  }
  const bool same =
      from.ndim == shape->ndim &&
      memcmp(from.dim, shape->dim, (size_t)from.ndim * sizeof from.dim[0]) == 0;
  return same ? v : ntk_emit_reshape(l, v, shape->ndim, shape->dim);
}

/* [rows of all gates, columns] of one direction to [columns, H] for each gate. */
static void take_matrices(const cell *c, int v, int64_t first, int64_t columns,
                          int out[GATES]) {
  static const int64_t swap[] = {1, 0};
  const ntk_shape shape = {2, {c->H, columns}};
  const int64_t size = c->H * columns;
  for (int g = 0; g < c->kind->gates; g++)
    out[g] = ntk_emit_ints(c->l, "Transpose",
                           take(c->l, v, (first * c->kind->gates + g) * size, size, &shape),
                           "perm", 2, swap);
}

static void take_vectors(const cell *c, int v, int64_t first, int count, int *out) {
  const ntk_shape shape = {1, {c->H}};
  for (int g = 0; g < count; g++)
    out[g] = v < 0 ? -1 : take(c->l, v, (first + g) * c->H, c->H, &shape);
}

static void take_weights(cell *c, int d) {
  const int gates = c->kind->gates, biases = ntk_lower_input(c->l, 3);
  take_matrices(c, c->l->inputs[1], d, c->I, c->w);
  take_matrices(c, c->l->inputs[2], d, c->H, c->r);
  take_vectors(c, biases, (int64_t)2 * gates * d, gates, c->wb);
  take_vectors(c, biases, (int64_t)2 * gates * d + gates, gates, c->rb);
  take_vectors(c, ntk_lower_input(c->l, 7), (int64_t)3 * d, 3, c->p);
}

/* ---- steps ----------------------------------------------------------------------------
 */

static int add(const cell *c, int a, int b) {
  return b < 0 ? a : ntk_emit(c->l, "Add", a, b);
}

static int activate(const cell *c, int f, int x) {
  return ntk_emit(c->l, c->activation[f], x, -1);
}

/* x W + h R + b of gate g. */
static int gate(const cell *c, int g, int x, int h) {
  const int sum = ntk_emit(c->l, "Add", ntk_emit(c->l, "MatMul", x, c->w[g]),
                           ntk_emit(c->l, "MatMul", h, c->r[g]));
  return add(c, add(c, sum, c->wb[g]), c->rb[g]);
}

/* The same with peephole i on the cell's state. */
static int peeping_gate(const cell *c, int g, int i, int x, int h, int state) {
  const int sum = gate(c, g, x, h);
  return c->p[i] < 0 ? sum : add(c, sum, ntk_emit(c->l, "Mul", state, c->p[i]));
}

/* Gates i, o, f, c; peepholes i, o, f. */
static void lstm_step(const cell *c, int x, int state[STATES]) {
  const int h = state[0], old = state[1];
  const int in = activate(c, 0, peeping_gate(c, 0, 0, x, h, old));
  const int forget = c->input_forget
                         ? ntk_emit(c->l, "Sub", ntk_emit_number(c->l, c->dtype, 1), in)
                         : activate(c, 0, peeping_gate(c, 2, 2, x, h, old));
  const int candidate = activate(c, 1, gate(c, 3, x, h));
  state[1] = ntk_emit(c->l, "Add", ntk_emit(c->l, "Mul", forget, old),
                      ntk_emit(c->l, "Mul", in, candidate));
  const int out = activate(c, 0, peeping_gate(c, 1, 1, x, h, state[1]));
  state[0] = ntk_emit(c->l, "Mul", out, activate(c, 2, state[1]));
}

/* Gates z, r, h. */
static void gru_step(const cell *c, int x, int state[STATES]) {
  const int h = state[0];
  const int update = activate(c, 0, gate(c, 0, x, h));
  const int reset = activate(c, 0, gate(c, 1, x, h));
  int sum;
  if (c->linear_before_reset) {
    const int inner = add(c, ntk_emit(c->l, "MatMul", h, c->r[2]), c->rb[2]);
    const int outer = add(c, ntk_emit(c->l, "MatMul", x, c->w[2]), c->wb[2]);
    sum = ntk_emit(c->l, "Add", outer, ntk_emit(c->l, "Mul", reset, inner));
  } else {
    sum = gate(c, 2, x, ntk_emit(c->l, "Mul", reset, h));
  }
  const int candidate = activate(c, 1, sum);
  const int change = ntk_emit(c->l, "Mul", update, ntk_emit(c->l, "Sub", h, candidate));
  state[0] = ntk_emit(c->l, "Add", candidate, change);
}

static void rnn_step(const cell *c, int x, int state[STATES]) {
  state[0] = activate(c, 0, gate(c, 0, x, state[0]));
}

/* ---- attributes and shapes ------------------------------------------------------------
 */

static ntk_status read_activations(cell *c, int d) {
  ntk_status status = NTK_SUCCESS;
  static const char *const known[] = {"Sigmoid", "Tanh", "Relu", "Softplus"};
  const Onnx__AttributeProto *given = ntk_proto_attribute(c->l->node, "activations");
  const size_t n = (size_t)c->kind->functions;
  NTK_REQUIRE(!given || given->n_strings == n * (size_t)c->directions, NTK_ERR_FORMAT,
              "%zu activations", given->n_strings);
  for (size_t f = 0; f < n; f++) {
    c->activation[f] = given ? NULL : c->kind->defaults[f];
    const ProtobufCBinaryData *word = given ? &given->strings[(size_t)d * n + f] : NULL;
    for (size_t i = 0; word && i < sizeof known / sizeof *known; i++)
      if (word->len == strlen(known[i]) &&
          strncasecmp((const char *)word->data, known[i], word->len) == 0)
        c->activation[f] = known[i];
    NTK_REQUIRE(c->activation[f], NTK_ERR_UNSUPPORTED,
                "the activation %.*s is not supported", (int)word->len,
                (const char *)word->data);
  }
done:
  return status;
}

static bool is_direction(const ntk_lowering *l, const char *word) {
  return ntk_lower_is(l, "direction", "forward", word);
}

static ntk_status read_attributes(cell *c) {
  ntk_status status = NTK_SUCCESS;
  const ntk_lowering *l = c->l;
  c->directions = is_direction(l, "bidirectional") ? 2 : 1;
  c->reverse = is_direction(l, "reverse");
  NTK_REQUIRE(c->directions == 2 || c->reverse || is_direction(l, "forward"),
              NTK_ERR_FORMAT, "an unknown direction");
  c->layout = ntk_lower_int(l, "layout", 0) != 0;
  c->linear_before_reset = ntk_lower_int(l, "linear_before_reset", 0) != 0;
  c->input_forget = ntk_lower_int(l, "input_forget", 0) != 0;
  NTK_REQUIRE(!ntk_proto_attribute(l->node, "clip"), NTK_ERR_UNSUPPORTED,
              "clip is not supported");
done:
  return status;
}

static ntk_status check_shape(const cell *c, int i, const char *what, const ntk_shape *is) {
  ntk_status status = NTK_SUCCESS;
  const int v = ntk_lower_input(c->l, i);
  char text[NTK_SHAPE_TEXT], expected[NTK_SHAPE_TEXT];
  if (v < 0)
    goto done;
  const ntk_shape *shape = &ntk_lower_value(c->l, v)->shape;
  NTK_REQUIRE(shape->ndim == is->ndim &&
                  memcmp(shape->dim, is->dim, (size_t)is->ndim * sizeof is->dim[0]) == 0,
              NTK_ERR_SHAPE, "%s has the shape %s, not %s", what,
              ntk_shape_text(shape, text), ntk_shape_text(is, expected));
done:
  return status;
}

static ntk_status read_shapes(cell *c) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(c->l->inputs[0] >= 0 && c->l->inputs[1] >= 0 && c->l->inputs[2] >= 0,
              NTK_ERR_FORMAT, "X, W or R is left out");
  const ntk_value *x = ntk_lower_value(c->l, c->l->inputs[0]);
  const ntk_value *r = ntk_lower_value(c->l, c->l->inputs[2]);
  NTK_REQUIRE(x->shape.ndim == 3 && r->shape.ndim == 3, NTK_ERR_SHAPE,
              "X and R must have 3 axes");
  NTK_REQUIRE(ntk_dtype_is_real(x->dtype), NTK_ERR_UNSUPPORTED, "X is not real");
  c->dtype = x->dtype;
  c->T = x->shape.dim[c->layout];
  c->B = x->shape.dim[1 - c->layout];
  c->I = x->shape.dim[2];
  c->H = r->shape.dim[2];
  NTK_REQUIRE(ntk_lower_int(c->l, "hidden_size", c->H) == c->H && c->T > 0 &&
                  c->T < 1 << 20,
              NTK_ERR_SHAPE, "hidden_size is not that of R, or no steps");
  const int64_t D = c->directions, G = c->kind->gates;
  const ntk_shape state = {3, {c->layout ? c->B : D, c->layout ? D : c->B, c->H}};
  NTK_TRY(check_shape(c, 1, "W", &(ntk_shape){3, {D, G * c->H, c->I}}));
  NTK_TRY(check_shape(c, 2, "R", &(ntk_shape){3, {D, G * c->H, c->H}}));
  NTK_TRY(check_shape(c, 3, "B", &(ntk_shape){2, {D, 2 * G * c->H}}));
  NTK_TRY(check_shape(c, 5, "initial_h", &state));
  NTK_TRY(check_shape(c, 6, "initial_c", &state));
  NTK_TRY(check_shape(c, 7, "P", &(ntk_shape){2, {D, 3 * c->H}}));
done:
  return status;
}

/* Sequences of full length alone. */
static ntk_status check_lengths(const cell *c) {
  ntk_status status = NTK_SUCCESS;
  const int v = ntk_lower_input(c->l, 4);
  double *lengths = NULL;
  int64_t count;
  if (v < 0)
    goto done;
  NTK_TRY(ntk_lower_numbers(c->l, v, "sequence_lens", &count, &lengths));
  for (int64_t i = 0; i < count; i++)
    NTK_REQUIRE(lengths[i] == (double)c->T, NTK_ERR_UNSUPPORTED,
                "sequence_lens other than the %lld steps are not supported",
                (long long)c->T);
done:
  ntk_free(&lengths);
  return status;
}

/* ---- states ---------------------------------------------------------------------------
 */

/* Zeros [B, H] that carry the batch: x W = 0 with W = 0. */
static ntk_status emit_zeros(const cell *c, int x, int *out) {
  ntk_status status = NTK_SUCCESS;
  double *zeros = NULL;
  const ntk_shape shape = {2, {c->I, c->H}};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, c->I * c->H, sizeof *zeros, &zeros));
  const int w = ntk_emit_constant(c->l, c->dtype, &shape, zeros);
  *out = ntk_emit(c->l, "MatMul", x, w);
done:
  ntk_free(&zeros);
  return status;
}

static bool is_zero(const ntk_value *v) {
  if (v->role != NTK_CONSTANT || !v->constant)
    return false;
  for (int64_t i = 0; i < ntk_shape_size(&v->shape); i++)
    if (ntk_tensor_real(v->constant, i) != 0)
      return false;
  return true;
}

/* The state of direction d before the first step, from input i: always a data value, so
 * that R is used at every step, as W is. */
static void start_state(const cell *c, int i, int d, int zeros, int *out) {
  const int given = ntk_lower_input(c->l, i);
  *out = zeros;
  if (given < 0 || c->l->status != NTK_SUCCESS || is_zero(ntk_lower_value(c->l, given)))
    return;
  const bool is_data = ntk_lower_value(c->l, given)->role == NTK_DATA;
  const int own = ntk_emit_gather(c->l, given, c->layout, d);
  *out = is_data ? own : ntk_emit(c->l, "Add", zeros, own);
}

/* ---- a node ---------------------------------------------------------------------------
 */

/* Outputs in the making: of all steps, and the last states, one part for each direction. */
typedef struct sequences {
  int *steps;   /* [T] of x */
  int *outputs; /* [T] of the direction at hand */
  int all[2], last[STATES][2];
} sequences;

static ntk_status run_direction(cell *c, int d, sequences *made) {
  ntk_status status = NTK_SUCCESS;
  const bool backwards = c->reverse || d == 1;
  const int64_t t_axis = c->layout, d_axis = c->layout;
  const int64_t step_axes[] = {c->layout, c->layout + 1}, state_axes[] = {d_axis};
  int state[STATES] = {-1, -1}, zeros = -1;
  NTK_TRY(read_activations(c, d));
  take_weights(c, d);
  NTK_TRY(emit_zeros(c, made->steps[backwards ? c->T - 1 : 0], &zeros));
  start_state(c, 5, d, zeros, &state[0]);
  start_state(c, 6, d, zeros, &state[1]);
  for (int64_t i = 0; i < c->T; i++) {
    const int64_t t = backwards ? c->T - 1 - i : i;
    c->kind->step(c, made->steps[t], state);
    made->outputs[t] = state[0];
  }
  for (int s = 0; s < STATES; s++)
    made->last[s][d] = ntk_emit_ints(c->l, "Unsqueeze", state[s], "axes", 1, state_axes);
  for (int64_t t = 0; t < c->T && ntk_lower_wants(c->l, 0); t++)
    made->outputs[t] =
        ntk_emit_ints(c->l, "Unsqueeze", made->outputs[t], "axes", 2, step_axes);
  if (ntk_lower_wants(c->l, 0))
    made->all[d] = ntk_emit_concat(c->l, (int)c->T, made->outputs, t_axis);
  NTK_TRY(c->l->status);
done:
  return status;
}

static ntk_status lower_recurrent(ntk_lowering *l, const cell_kind *kind) {
  ntk_status status = NTK_SUCCESS;
  cell c = {.l = l, .kind = kind};
  sequences made = {0};
  NTK_TRY(read_attributes(&c));
  NTK_TRY(read_shapes(&c));
  NTK_TRY(check_lengths(&c));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, c.T, sizeof(int), &made.steps));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, c.T, sizeof(int), &made.outputs));
  for (int64_t t = 0; t < c.T; t++)
    made.steps[t] = ntk_emit_gather(l, l->inputs[0], c.layout, t);
  for (int d = 0; d < c.directions; d++)
    NTK_TRY(run_direction(&c, d, &made));
  if (ntk_lower_wants(l, 0))
    l->outputs[0] = ntk_emit_concat(l, c.directions, made.all, c.layout + 1);
  for (int s = 0; s < STATES; s++)
    if (ntk_lower_wants(l, (size_t)s + 1))
      l->outputs[1 + s] = ntk_emit_concat(l, c.directions, made.last[s], c.layout);
done:
  ntk_free(&made.steps);
  ntk_free(&made.outputs);
  return status;
}

#define RECURRENT_ROW(row, onnx, inputs, outputs, slots, buffers, ...)                     \
  static ntk_status lower_##row(ntk_lowering *l) {                                         \
    static const cell_kind kind = {__VA_ARGS__};                                           \
    return lower_recurrent(l, &kind);                                                      \
  }                                                                                        \
  const ntk_composite ntk_composite_##row = {.name = onnx,                                 \
                                             .first = 7,                                   \
                                             .last = NTK_NEWEST_OPSET,                     \
                                             .min_in = 3,                                  \
                                             .max_in = inputs,                             \
                                             .max_out = outputs,                           \
                                             .parameter_slot = slots,                      \
                                             .buffer_slot = buffers,                       \
                                             .lower = lower_##row};
RECURRENT_ROW(lstm, "LSTM", 8, 3, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 7, 1u << 5 | 1u << 6,
              .gates = 4, .functions = 3, .defaults = {"Sigmoid", "Tanh", "Tanh"},
              .step = lstm_step)
RECURRENT_ROW(gru, "GRU", 6, 2, 1u << 1 | 1u << 2 | 1u << 3, 1u << 5, .gates = 3,
              .functions = 2, .defaults = {"Sigmoid", "Tanh"}, .step = gru_step)
RECURRENT_ROW(rnn, "RNN", 6, 2, 1u << 1 | 1u << 2 | 1u << 3, 1u << 5, .gates = 1,
              .functions = 1, .defaults = {"Tanh"}, .step = rnn_step)

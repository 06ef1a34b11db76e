/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/text.h"
#include "onnx/lower.h"
#include <limits.h>
#include <string.h>

/* Bodies in place of the nodes that hold them: functions, If, Loop, Scan. What decides how
 * often a body runs must be constant. */

enum { MAX_DEPTH = 64, MAX_TURNS = 1 << 16 };

/* ---- scopes ---------------------------------------------------------------------------
 */

/* A new scope in the lowering's builder; `turn`: of a loop, else -1. */
static ntk_status enter(ntk_lowering *l, int64_t turn, ntk_scope *scope) {
  ntk_status status = NTK_SUCCESS;
  ntk_scope *outer = l->builder->scope;
  ntk_text prefix = {0};
  NTK_REQUIRE(outer->depth < MAX_DEPTH, NTK_ERR_UNSUPPORTED,
              "bodies nested more than %d deep", MAX_DEPTH);
  NTK_TRY(ntk_text_add(&prefix, "%s%s", outer->prefix, ntk_proto_name(l->node)));
  if (turn >= 0)
    NTK_TRY(ntk_text_add(&prefix, ".%lld", (long long)turn));
  NTK_TRY(ntk_text_add(&prefix, "/"));
  *scope = (ntk_scope){.outer = outer,
                       .opset = outer->opset,
                       .depth = outer->depth + 1,
                       .function = outer->function,
                       .call = outer->call};
  NTK_TRY(ntk_strdup(prefix.data, &scope->prefix));
  l->builder->scope = scope;
done:
  ntk_text_clear(&prefix);
  return status;
}

static void leave(ntk_builder *b, ntk_scope *outer, ntk_scope *scope) {
  b->scope = outer;
  ntk_names_clear(&scope->values);
  ntk_names_clear(&scope->wanted);
  ntk_free(&scope->prefix);
}

/* Adds what the wanted outputs of a body need to the scope, and finds the values of these
 * outputs; those of others stay as they are. */
static ntk_status add_body(ntk_builder *b, size_t count, Onnx__NodeProto *const *nodes,
                           size_t outputs, const char *const *names, const bool *wanted,
                           int *values) {
  ntk_status status = NTK_SUCCESS;
  bool *live = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)count, sizeof *live, &live));
  for (size_t k = 0; k < outputs; k++)
    if (wanted[k])
      NTK_TRY(ntk_names_set(&b->scope->wanted, names[k], 1));
  NTK_TRY(ntk_live_find(count, nodes, &b->scope->wanted, live));
  NTK_TRY(ntk_builder_add_nodes(b, count, nodes, live));
  for (size_t k = 0; k < outputs; k++) {
    int64_t v = -1;
    if (!wanted[k])
      continue;
    NTK_TRY(ntk_builder_find(b, names[k], &v));
    NTK_REQUIRE(v >= 0 && v != NTK_LEFT_OUT, NTK_ERR_FORMAT,
                "nothing produces output '%s' of its body", names[k]);
    values[k] = (int)v;
  }
done:
  ntk_free(&live);
  return status;
}

/* ---- functions ------------------------------------------------------------------------
 */

static int opset_of(const Onnx__FunctionProto *f, int otherwise) {
  for (size_t i = 0; i < f->n_opset_import; i++) {
    const char *domain = f->opset_import[i]->domain;
    if (!domain || !*domain || strcmp(domain, "ai.onnx") == 0)
      return (int)(f->opset_import[i]->version > 0 && f->opset_import[i]->version < INT_MAX
                       ? f->opset_import[i]->version
                       : INT_MAX);
  }
  return otherwise;
}

ntk_status ntk_lower_call(ntk_lowering *l, const Onnx__FunctionProto *f) {
  ntk_status status = NTK_SUCCESS;
  ntk_builder *b = l->builder;
  ntk_scope *outer = b->scope, scope = {0};
  bool *wanted = NULL;
  NTK_REQUIRE(l->node->n_input <= f->n_input && l->node->n_output <= f->n_output,
              NTK_ERR_FORMAT, "the function has %zu inputs and %zu outputs", f->n_input,
              f->n_output);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)f->n_output, sizeof *wanted, &wanted));
  for (size_t k = 0; k < l->node->n_output; k++)
    wanted[k] = ntk_lower_wants(l, k);
  NTK_TRY(enter(l, -1, &scope));
  scope.outer = NULL; /* a function sees its inputs alone */
  scope.function = f;
  scope.call = l->node;
  scope.opset = opset_of(f, outer->opset);
  for (size_t i = 0; i < f->n_input; i++) {
    const int v = ntk_lower_input(l, (int)i);
    NTK_TRY(ntk_names_set(&scope.values, f->input[i], v < 0 ? NTK_LEFT_OUT : v));
  }
  NTK_TRY(add_body(b, f->n_node, f->node, l->node->n_output, (const char *const *)f->output,
                   wanted, l->outputs));
done:
  leave(b, outer, &scope);
  ntk_free(&wanted);
  return status;
}

/* ---- bodies of If, Loop and Scan ------------------------------------------------------
 */

static ntk_status find_body(const ntk_lowering *l, const char *name,
                            const Onnx__GraphProto **body) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__AttributeProto *attribute = ntk_proto_attribute(l->node, name);
  NTK_REQUIRE(attribute && attribute->g, NTK_ERR_FORMAT, "it has no graph '%s'", name);
  *body = attribute->g;
  for (size_t i = 0; i < (*body)->n_input; i++)
    NTK_REQUIRE((*body)->input[i]->name, NTK_ERR_FORMAT,
                "an input of its body has no name");
  for (size_t i = 0; i < (*body)->n_output; i++)
    NTK_REQUIRE((*body)->output[i]->name, NTK_ERR_FORMAT,
                "an output of its body has no name");
done:
  return status;
}

/* Runs a body once: inputs [n_input] to outputs [n_output], both values. */
static ntk_status run_body(ntk_lowering *l, const Onnx__GraphProto *body, int64_t turn,
                           const int *inputs, const bool *wanted, int *outputs) {
  ntk_status status = NTK_SUCCESS;
  ntk_builder *b = l->builder;
  ntk_scope *outer = b->scope, scope = {0};
  const char **names = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)body->n_output, sizeof *names, &names));
  for (size_t k = 0; k < body->n_output; k++)
    names[k] = body->output[k]->name;
  NTK_TRY(ntk_builder_count(b));
  NTK_TRY(enter(l, turn, &scope));
  for (size_t i = 0; i < body->n_input; i++)
    NTK_TRY(ntk_names_set(&scope.values, body->input[i]->name,
                          inputs[i] < 0 ? NTK_LEFT_OUT : inputs[i]));
  NTK_TRY(add_body(b, body->n_node, body->node, body->n_output, names, wanted, outputs));
done:
  leave(b, outer, &scope);
  ntk_free(&names);
  return status;
}

/* A condition that must be known now. */
static ntk_status truth(const ntk_lowering *l, int value, const char *what, bool *out) {
  ntk_status status = NTK_SUCCESS;
  double *numbers = NULL;
  int64_t count;
  NTK_TRY(ntk_lower_numbers(l, value, what, &count, &numbers));
  NTK_REQUIRE(count == 1, NTK_ERR_SHAPE, "%s has %lld elements", what, (long long)count);
  *out = numbers[0] != 0;
done:
  ntk_free(&numbers);
  return status;
}

static ntk_status lower_if(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *body;
  bool condition, *wanted = NULL;
  NTK_REQUIRE(l->inputs[0] >= 0, NTK_ERR_FORMAT, "it has no condition");
  NTK_TRY(truth(l, l->inputs[0], "the condition", &condition));
  NTK_TRY(find_body(l, condition ? "then_branch" : "else_branch", &body));
  NTK_REQUIRE(body->n_input == 0 && body->n_output == l->node->n_output, NTK_ERR_FORMAT,
              "its branch has %zu inputs and %zu outputs", body->n_input, body->n_output);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)body->n_output, sizeof *wanted, &wanted));
  for (size_t k = 0; k < body->n_output; k++)
    wanted[k] = ntk_lower_wants(l, k);
  NTK_TRY(run_body(l, body, -1, NULL, wanted, l->outputs));
done:
  ntk_free(&wanted);
  return status;
}

const ntk_composite ntk_composite_if = {.name = "If",
                                        .first = 1,
                                        .last = NTK_NEWEST_OPSET,
                                        .min_in = 1,
                                        .max_in = 1,
                                        .max_out = INT_MAX,
                                        .lower = lower_if};

/* ---- loops ----------------------------------------------------------------------------
 */

/* The turns of Loop or Scan. Outputs of the body: `first` of its own, the states, what is
 * collected. */
typedef struct turns {
  const Onnx__GraphProto *body;
  size_t first, states, collected;
  bool *wanted;             /* [first + states + collected] */
  int *inputs, *outputs;    /* of the body */
  int *pieces, piece_count; /* [turn][collected] */
} turns;

static ntk_status loop_start(ntk_lowering *l, size_t first, size_t states, turns *loop) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(find_body(l, "body", &loop->body));
  loop->first = first;
  loop->states = states;
  NTK_REQUIRE(loop->body->n_output >= first + states &&
                  l->node->n_output <= loop->body->n_output - first,
              NTK_ERR_FORMAT, "its body has %zu outputs", loop->body->n_output);
  loop->collected = loop->body->n_output - first - states;
  const int64_t in = (int64_t)loop->body->n_input, out = (int64_t)loop->body->n_output;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, out, sizeof(bool), &loop->wanted));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, in, sizeof(int), &loop->inputs));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, out, sizeof(int), &loop->outputs));
  for (size_t k = 0; k < loop->body->n_output; k++)
    loop->wanted[k] = k < first + states || ntk_lower_wants(l, k - first);
done:
  return status;
}

static void loop_clear(turns *loop) {
  ntk_free(&loop->wanted);
  ntk_free(&loop->inputs);
  ntk_free(&loop->outputs);
  ntk_free(&loop->pieces);
}

/* One turn; state: [states] values, replaced. */
static ntk_status loop_turn(ntk_lowering *l, turns *loop, int64_t turn, int *state) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(turn < MAX_TURNS, NTK_ERR_UNSUPPORTED, "a loop of more than %d turns",
              MAX_TURNS);
  NTK_TRY(run_body(l, loop->body, turn, loop->inputs, loop->wanted, loop->outputs));
  for (size_t k = 0; k < loop->states; k++)
    state[k] = loop->outputs[loop->first + k];
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL,
                      (loop->piece_count + 1) * (int64_t)loop->collected + 1, sizeof(int),
                      &loop->pieces));
  for (size_t k = 0; k < loop->collected; k++)
    loop->pieces[(size_t)loop->piece_count * loop->collected + k] =
        loop->outputs[loop->first + loop->states + k];
  loop->piece_count++;
done:
  return status;
}

/* What output k of the body gave in all turns, along a new axis. */
static ntk_status collect(ntk_lowering *l, const turns *loop, size_t k, int64_t axis,
                          bool reverse, int *out) {
  ntk_status status = NTK_SUCCESS;
  const int n = loop->piece_count;
  int *list = NULL;
  NTK_REQUIRE(n > 0, NTK_ERR_UNSUPPORTED, "a loop of no turns has no output to collect");
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof *list, &list));
  for (int i = 0; i < n; i++) {
    const int piece = loop->pieces[(size_t)i * loop->collected + k];
    list[reverse ? n - 1 - i : i] = ntk_emit_ints(l, "Unsqueeze", piece, "axes", 1, &axis);
  }
  *out = ntk_emit_concat(l, n, list, axis);
done:
  ntk_free(&list);
  return status;
}

/* The number of turns; INT64_MAX: none is given. */
static ntk_status trip_count(const ntk_lowering *l, int64_t *trips) {
  ntk_status status = NTK_SUCCESS;
  double *numbers = NULL;
  int64_t count;
  *trips = INT64_MAX;
  if (l->inputs[0] < 0)
    goto done;
  NTK_TRY(ntk_lower_numbers(l, l->inputs[0], "the trip count", &count, &numbers));
  NTK_REQUIRE(count == 1, NTK_ERR_SHAPE, "a trip count of %lld elements", (long long)count);
  if (numbers[0] < 9e18)
    *trips = (int64_t)numbers[0];
done:
  ntk_free(&numbers);
  return status;
}

static ntk_status loop_turns(ntk_lowering *l, turns *loop, int *state) {
  ntk_status status = NTK_SUCCESS;
  bool goes_on = true;
  int64_t trips;
  NTK_TRY(trip_count(l, &trips));
  if (l->inputs[1] >= 0)
    NTK_TRY(truth(l, l->inputs[1], "the condition", &goes_on));
  for (int64_t i = 0; i < trips && goes_on; i++) {
    loop->inputs[0] = ntk_emit_number(l, NTK_I64, (double)i);
    loop->inputs[1] = ntk_emit_number(l, NTK_BOOL, 1);
    for (size_t k = 0; k < loop->states; k++)
      loop->inputs[2 + k] = state[k];
    NTK_TRY(l->status);
    NTK_TRY(loop_turn(l, loop, i, state));
    NTK_TRY(truth(l, loop->outputs[0], "the body's condition", &goes_on));
  }
done:
  return status;
}

static ntk_status lower_loop(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  const size_t states = l->node->n_input - 2;
  turns loop = {0};
  int *state = NULL;
  NTK_TRY(loop_start(l, 1, states, &loop));
  NTK_REQUIRE(loop.body->n_input == 2 + states, NTK_ERR_FORMAT, "its body has %zu inputs",
              loop.body->n_input);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)states, sizeof *state, &state));
  for (size_t k = 0; k < states; k++)
    state[k] = l->inputs[2 + k];
  NTK_TRY(loop_turns(l, &loop, state));
  for (size_t k = 0; k < l->node->n_output; k++)
    if (k < states)
      l->outputs[k] = state[k];
    else if (ntk_lower_wants(l, k))
      NTK_TRY(collect(l, &loop, k - states, 0, false, &l->outputs[k]));
done:
  loop_clear(&loop);
  ntk_free(&state);
  return status;
}

const ntk_composite ntk_composite_loop = {.name = "Loop",
                                          .first = 1,
                                          .last = NTK_NEWEST_OPSET,
                                          .min_in = 2,
                                          .max_in = INT_MAX,
                                          .max_out = INT_MAX,
                                          .lower = lower_loop};

/* ---- Scan -----------------------------------------------------------------------------
 */

/* Entry i of a list of integers among the attributes. */
static int64_t entry(const ntk_lowering *l, const char *name, size_t i) {
  const Onnx__AttributeProto *attribute = ntk_proto_attribute(l->node, name);
  return attribute && i < attribute->n_ints ? attribute->ints[i] : 0;
}

/* Axis of scanned input i, counted from 0, and its length. */
static ntk_status scan_axis(const ntk_lowering *l, size_t i, int value, int64_t *axis,
                            int64_t *length) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(value >= 0, NTK_ERR_FORMAT, "a scanned input is left out");
  const ntk_shape *shape = &ntk_lower_value(l, value)->shape;
  *axis = entry(l, "scan_input_axes", i);
  if (*axis < 0)
    *axis += shape->ndim;
  NTK_REQUIRE(*axis >= 0 && *axis < shape->ndim, NTK_ERR_SHAPE,
              "scan_input_axes: %lld of %d axes", (long long)*axis, shape->ndim);
  NTK_REQUIRE(*length < 0 || *length == shape->dim[*axis], NTK_ERR_SHAPE,
              "scanned inputs of different lengths");
  *length = shape->dim[*axis];
done:
  return status;
}

static ntk_status scan_turns(ntk_lowering *l, turns *loop, size_t scanned, int *state) {
  ntk_status status = NTK_SUCCESS;
  int64_t axis, length = -1;
  for (size_t i = 0; i < scanned; i++)
    NTK_TRY(scan_axis(l, i, l->inputs[loop->states + i], &axis, &length));
  for (int64_t t = 0; t < length; t++) {
    for (size_t k = 0; k < loop->states; k++)
      loop->inputs[k] = state[k];
    for (size_t i = 0; i < scanned; i++) {
      const int x = l->inputs[loop->states + i];
      NTK_TRY(scan_axis(l, i, x, &axis, &length));
      loop->inputs[loop->states + i] = ntk_emit_gather(
          l, x, axis, entry(l, "scan_input_directions", i) ? length - 1 - t : t);
    }
    NTK_TRY(l->status);
    NTK_TRY(loop_turn(l, loop, t, state));
  }
done:
  return status;
}

static ntk_status lower_scan(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  const int64_t scanned = ntk_lower_int(l, "num_scan_inputs", 0);
  turns loop = {0};
  int *state = NULL;
  NTK_REQUIRE(scanned > 0 && scanned <= (int64_t)l->node->n_input, NTK_ERR_FORMAT,
              "num_scan_inputs is %lld of %zu inputs", (long long)scanned,
              l->node->n_input);
  const size_t states = l->node->n_input - (size_t)scanned;
  NTK_TRY(loop_start(l, 0, states, &loop));
  NTK_REQUIRE(loop.body->n_input == l->node->n_input, NTK_ERR_FORMAT,
              "its body has %zu inputs", loop.body->n_input);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)states, sizeof *state, &state));
  for (size_t k = 0; k < states; k++)
    state[k] = l->inputs[k];
  NTK_TRY(scan_turns(l, &loop, (size_t)scanned, state));
  for (size_t k = 0; k < l->node->n_output; k++)
    if (k < states)
      l->outputs[k] = state[k];
    else if (ntk_lower_wants(l, k))
      NTK_TRY(collect(l, &loop, k - states, entry(l, "scan_output_axes", k - states),
                      entry(l, "scan_output_directions", k - states) != 0, &l->outputs[k]));
done:
  loop_clear(&loop);
  ntk_free(&state);
  return status;
}

const ntk_composite ntk_composite_scan = {.name = "Scan",
                                          .first = 9, /* before, with a batch axis */
                                          .last = NTK_NEWEST_OPSET,
                                          .min_in = 1,
                                          .max_in = INT_MAX,
                                          .max_out = INT_MAX,
                                          .lower = lower_scan};

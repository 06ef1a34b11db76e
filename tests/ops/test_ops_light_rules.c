/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/light_cases.h"

#include "ops/light.h"
#include "ops/ops.h"
#include <strings.h>

/* What is known without running a network: shapes, results that are known at import,
 * batch axes, flags. */

enum { SAMPLES = 2 };

/* ---- what the flags promise ---- */

static void spoil(ntk_array *a, int64_t size) {
  for (int64_t n = 0; n < SAMPLES; n++)
    for (int64_t e = 0; e < size; e++)
      at(*a, n, 0)[e] = NAN;
}

/* Additive: no vjp reads a value; multilinear: none that of its own operand. */
static void check_flags(const op_test *h, int operand) {
  const bool additive = h->node->op->flags & NTK_OP_ADDITIVE;
  ntk_array in[OPERANDS], y = block_make(SAMPLES, 0, h->y_size, 0, 1).a;
  ntk_array dy = block_make(SAMPLES, 2, h->y_size, 0, 2).a;
  ntk_array dx = block_make(SAMPLES, 2, h->size[operand], 0, 3).a;
  ntk_array again = block_make(SAMPLES, 2, h->size[operand], 0, 4).a;
  operands_make(h, SAMPLES, 0, 0, in);
  op_forward(h, SAMPLES, in, y);
  if (h->node->op->flags & NTK_OP_ALIAS)
    assert_memory_equal(y.data, in[0].data, (size_t)(SAMPLES * h->y_size) * sizeof(double));
  op_vjp(h, operand, SAMPLES, 2, in, y, dy, dx, false);
  spoil(&y, h->y_size);
  for (int i = 0; i < h->operands; i++)
    if (op_varies(h, i) && (additive || i == operand))
      spoil(&in[i], h->size[i]);
  op_vjp(h, operand, SAMPLES, 2, in, y, dy, again, false);
  for (int64_t e = 0; e < SAMPLES * 2 * h->size[operand]; e++)
    near(((double *)dx.data)[e], ((double *)again.data)[e], 0);
  arrays_free(h->operands, in);
  arrays_free(4, (ntk_array[]){y, dy, dx, again});
}

static void flags_are_kept(void **state) {
  (void)state;
  int checked = 0;
  for (int i = 0; i < CASES; i++) {
    op_test h = op_make(&cases[i]);
    if (h.node->op->flags & (NTK_OP_ADDITIVE | NTK_OP_MULTILINEAR))
      for (int operand = 0; operand < h.operands; operand++)
        if (op_varies(&h, operand)) {
          check_flags(&h, operand);
          checked++;
        }
    op_free(&h);
  }
  assert_true(checked > 80);
}

/* ---- shapes ---- */

static void outputs_have_the_right_shapes(void **state) {
  (void)state;
  static const struct {
    op_case c;
    ntk_shape y;
  } rows[] = {
      {{&ntk_op_add, "", {S(2, 1, 5), S(3, 1)}, 2}, S(2, 3, 5)},
      {{&ntk_op_add, "", {SCALAR, SCALAR}, 2}, SCALAR},
      {{&ntk_op_where, "", {S(3, 1), S(5), S(2, 1, 1)}, 3, {"1"}}, S(2, 3, 5)},
      {{&ntk_op_flatten, "", {S(1, 2, 3, 4)}, 1}, S(1, 24)},
      {{&ntk_op_flatten, "axis=-2", {S(1, 2, 3, 4)}, 1}, S(2, 12)},
      {{&ntk_op_flatten, "axis=3", {S(2, 3, 4)}, 1}, S(24, 1)},
      {{&ntk_op_flatten, "axis=0", {SCALAR}, 1}, S(1, 1)},
      {{&ntk_op_reshape, "", {S(2, 3, 4), S(3)}, 2, {[1] = "0,-1,2"}}, S(2, 6, 2)},
      {{&ntk_op_reshape, "", {S(1, 1), S(0)}, 2, {[1] = ""}}, SCALAR},
      {{&ntk_op_squeeze, "", {S(1, 3, 1)}, 1}, S(3)},
      {{&ntk_op_squeeze, "", {S(1, 3, 1), S(1)}, 2, {[1] = "-1"}}, S(1, 3)},
      {{&ntk_op_unsqueeze, "", {S(3, 4), S(2)}, 2, {[1] = "-1,1"}}, S(3, 1, 4, 1)},
      {{&ntk_op_unsqueeze, "", {SCALAR, S(1)}, 2, {[1] = "0"}}, S(1)},
      {{&ntk_op_reducesum, "", {S(2, 3, 5)}, 1}, S(1, 1, 1)},
      {{&ntk_op_reducesum, "keepdims=0", {S(2, 3, 5)}, 1}, SCALAR},
      {{&ntk_op_reducemean, "axes=-2, keepdims=0", {S(2, 3, 5)}, 1}, S(2, 5)},
      {{&ntk_op_reducemean, "axes=0,2", {S(2, 3, 5)}, 1}, S(1, 3, 1)},
      {{&ntk_op_reducesum, "noop_with_empty_axes=1", {S(2, 3)}, 1}, S(2, 3)},
      {{&ntk_op_transpose, "perm=1,2,0", {S(2, 3, 5)}, 1}, S(3, 5, 2)},
      {{&ntk_op_transpose, "", {S(2, 3, 5)}, 1}, S(5, 3, 2)},
      {{&ntk_op_expand, "", {S(3, 1), S(3)}, 2, {[1] = "2,1,5"}}, S(2, 3, 5)},
      {{&ntk_op_pad, "", {S(2, 3), S(4)}, 2, {[1] = "1,0,0,2"}}, S(3, 5)},
      {{&ntk_op_gather, "", {S(5, 3), SCALAR}, 2, {[1] = "1"}}, S(3)},
      {{&ntk_op_gather, "axis=1", {S(2, 5, 3), S(2, 2)}, 2, {[1] = "1"}}, S(2, 2, 2, 3)},
      {{&ntk_op_concat, "axis=-1", {S(2, 3), S(2, 1)}, 2}, S(2, 4)},
      {{&ntk_op_slice, "starts=1, ends=-1,", {S(5, 3)}, 1, .opset = 9}, S(3, 3)},
      {{&ntk_op_slice, "starts=4, ends=2,", {S(5, 3)}, 1, .opset = 9}, S(0, 3)},
      {{&ntk_op_split, "part=1 parts=3 axis=-1 split=1,4,2", {S(3, 7)}, 1, .opset = 2},
       S(3, 4)},
      {{&ntk_op_split, "part=1 parts=2", {S(3, 7), S(2)}, 2, {[1] = "3,0"}}, S(0, 7)},
      {{&ntk_op_split, "part=2 parts=3 num_outputs=3", {S(7, 5)}, 1, .opset = 18}, S(1, 5)},
      {{&ntk_op_split, "part=2 parts=3", {S(4, 5)}, 1, .opset = 18}, S(0, 5)},
      {{&ntk_op_softmax, "", {S(2, 3)}, 1}, S(2, 3)},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    op_test h = op_open(&rows[i].c);
    const ntk_value *y = &h.graph->values[h.node->outputs[0]];
    assert_int_equal(h.node->op->infer(h.graph, h.node), NTK_SUCCESS);
    if (!ntk_shape_equal(&y->shape, &rows[i].y))
      fail_msg("%s %s: wrong shape", rows[i].c.op->name, rows[i].c.attributes);
    assert_int_equal(y->dtype, NTK_F64);
    op_free(&h);
  }
}

/* Moves go by runs: as few as there are straight lines from output to input. */
static void moves_are_long_runs(void **state) {
  (void)state;
  static const struct {
    op_case c;
    int64_t runs;
  } rows[] = {
      {{&ntk_op_transpose, "perm=0,1,2", {S(3, 5, 7)}, 1}, 1},
      {{&ntk_op_transpose, "perm=1,0", {S(1, 7)}, 1}, 1},
      {{&ntk_op_transpose, "perm=1,0", {S(5, 7)}, 1}, 7},
      {{&ntk_op_transpose, "perm=0,2,1,3", {S(2, 3, 5, 7)}, 1}, 29}, /* two meet */
      {{&ntk_op_slice, "starts=1, ends=4, axes=0,", {S(5, 7)}, 1, .opset = 9}, 1},
      {{&ntk_op_slice, "starts=2, ends=3, axes=1,", {S(5, 7)}, 1, .opset = 9}, 1},
      {{&ntk_op_split, "part=1 parts=2 axis=1", {S(5, 6)}, 1}, 5},
      {{&ntk_op_gather, "", {S(5, 7), S(3)}, 2, {[1] = "1,2,3"}}, 1},
      {{&ntk_op_gather, "", {S(5, 7), S(3)}, 2, {[1] = "1,3,2"}}, 3},
      {{&ntk_op_expand, "", {S(3, 1), S(2)}, 2, {[1] = "3,5"}}, 3},
      {{&ntk_op_expand, "", {SCALAR, S(2)}, 2, {[1] = "3,5"}}, 1},
      {{&ntk_op_pad, "", {S(2, 3), S(4)}, 2, {[1] = "1,1,0,0"}}, 4},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    op_test h = op_make(&rows[i].c);
    const ntk_moves *moves = h.node->detail;
    if (moves->count != rows[i].runs)
      fail_msg("%s (row %zu): %d runs", rows[i].c.op->name, i, (int)moves->count);
    op_free(&h);
  }
}

/* A node is inferred again with other shapes (to follow the batch axis). */
static void light_infers_again_for_other_shapes(void **state) {
  (void)state;
  const int64_t before = ntk_memory_used_total();
  for (int i = 0; i < CASES; i++) {
    op_test h = op_make(&cases[i]);
    const ntk_shape first = h.graph->values[h.node->outputs[0]].shape;
    assert_int_equal(h.node->op->infer(h.graph, h.node), NTK_SUCCESS);
    assert_true(ntk_shape_equal(&first, &h.graph->values[h.node->outputs[0]].shape));
    op_free(&h);
  }
  const op_case c = {&ntk_op_transpose, "", {S(2, 3)}, 1};
  op_test h = op_make(&c);
  h.graph->values[h.node->inputs[0]].shape.dim[0] = 7;
  assert_int_equal(h.node->op->infer(h.graph, h.node), NTK_SUCCESS);
  assert_int_equal(h.graph->values[h.node->outputs[0]].shape.dim[1], 7);
  op_free(&h);
  assert_int_equal(ntk_memory_used_total(), before);
}

/* ---- what is known at import ---- */

/* The result as the importer computes it: in f64, then converted. */
static ntk_tensor *folded(const op_test *h) {
  ntk_value *y = &h->graph->values[h->node->outputs[0]];
  if (y->constant)
    return y->constant;
  ntk_array in[OPERANDS] = {{0}}, out = block_make(0, 0, h->y_size, 0, 1).a;
  for (int i = 0; i < h->operands; i++)
    if (h->node->inputs[i] >= 0)
      in[i] = op_held(h, i);
  op_forward(h, 1, in, out);
  assert_int_equal(ntk_tensor_create(y->dtype, &y->shape, &y->constant), NTK_SUCCESS);
  ntk_convert(NTK_F64, out.data, y->dtype, y->constant->data, h->y_size);
  arrays_free(h->operands, in);
  free(out.data);
  return y->constant;
}

static const struct {
  op_case c;
  ntk_dtype dtype;
  ntk_shape y;
  const char *elements;
} computed[] = {
    {{&ntk_op_shape, "", {S(2, 3, 4)}, 1}, NTK_I64, S(3), "2,3,4"},
    {{&ntk_op_shape, "start=-2", {S(2, 3, 4)}, 1}, NTK_I64, S(2), "3,4"},
    {{&ntk_op_shape, "start=1 end=-1", {S(2, 3, 4)}, 1}, NTK_I64, S(1), "3"},
    {{&ntk_op_shape, "start=-9 end=9", {S(2, 3)}, 1}, NTK_I64, S(2), "2,3"},
    {{&ntk_op_gather, "", {S(3), SCALAR}, 2, {"2,3,4", "-1"}}, NTK_I64, SCALAR, "4"},
    {{&ntk_op_gather, "", {S(3), S(2)}, 2, {"2,3,4", "1,0"}}, NTK_I64, S(2), "3,2"},
    {{&ntk_op_concat, "axis=0", {S(1), S(2)}, 2, {"2", "-1,9223372036854775807"}},
     NTK_I64,
     S(3),
     "2,-1,9223372036854775807"},
    {{&ntk_op_slice, "", {S(4), S(1), S(1)}, 3, {"5,6,7,8", "-2", "9223372036854775807"}},
     NTK_I64,
     S(2),
     "7,8"},
    {{&ntk_op_slice,
      "",
      {S(4), S(1), S(1), S(1), S(1)},
      5,
      {"5,6,7,8", "0", "4", "0", "9223372036854775807"}},
     NTK_I64,
     S(1),
     "5"},
    {{&ntk_op_slice,
      "",
      {S(4), S(1), S(1), S(1), S(1)},
      5,
      {"5,6,7,8", "9223372036854775807", "-9223372036854775807", "0", "-1"}},
     NTK_I64,
     S(4),
     "8,7,6,5"},
    {{&ntk_op_unsqueeze, "", {SCALAR, S(1)}, 2, {"7", "0"}}, NTK_I64, S(1), "7"},
    {{&ntk_op_squeeze, "", {S(1)}, 1, {"7"}}, NTK_I64, SCALAR, "7"},
    {{&ntk_op_reshape, "", {S(4), S(2)}, 2, {"1,2,3,4", "2,-1"}},
     NTK_I64,
     S(2, 2),
     "1,2,3,4"},
    {{&ntk_op_transpose, "", {S(2, 2)}, 1, {"1,2,3,4"}}, NTK_I64, S(2, 2), "1,3,2,4"},
    {{&ntk_op_expand, "", {S(1), S(1)}, 2, {"3", "2"}}, NTK_I64, S(2), "3,3"},
    {{&ntk_op_add, "", {S(2), SCALAR}, 2, {"3,-4", "2"}}, NTK_I64, S(2), "5,-2"},
    {{&ntk_op_sub, "", {S(2), SCALAR}, 2, {"3,-4", "2"}}, NTK_I64, S(2), "1,-6"},
    {{&ntk_op_mul, "", {S(2), SCALAR}, 2, {"3,-4", "2"}}, NTK_I64, S(2), "6,-8"},
    {{&ntk_op_div, "", {S(4), SCALAR}, 2, {"7,-7,6,-1", "2"}}, NTK_I64, S(4), "3,-3,3,0"},
    {{&ntk_op_pow, "", {S(2), SCALAR}, 2, {"3,-2", "3"}}, NTK_I64, S(2), "27,-8"},
    {{&ntk_op_min, "", {S(2), SCALAR}, 2, {"3,-4", "2"}}, NTK_I64, S(2), "2,-4"},
    {{&ntk_op_max, "", {S(2), SCALAR}, 2, {"3,-4", "2"}}, NTK_I64, S(2), "3,2"},
    {{&ntk_op_neg, "", {S(2)}, 1, {"3,-4"}}, NTK_I64, S(2), "-3,4"},
    {{&ntk_op_abs, "", {S(2)}, 1, {"3,-4"}}, NTK_I64, S(2), "3,4"},
    {{&ntk_op_clip, "", {S(3), SCALAR, SCALAR}, 3, {"3,-4,1", "0", "2"}},
     NTK_I64,
     S(3),
     "2,0,1"},
    {{&ntk_op_floor, "", {S(3)}, 1, {"1.5,-1.5,2."}}, NTK_F64, S(3), "1.,-2.,2."},
    {{&ntk_op_ceil, "", {S(3)}, 1, {"1.5,-1.5,2."}}, NTK_F64, S(3), "2.,-1.,2."},
    {{&ntk_op_round, "", {S(5)}, 1, {"0.5,1.5,-2.5,-1.75,2."}},
     NTK_F64,
     S(5),
     "0.,2.,-2.,-2.,2."},
    {{&ntk_op_sign, "", {S(3)}, 1, {"3,-4,0"}}, NTK_I64, S(3), "1,-1,0"},
    {{&ntk_op_stopgradient, "", {S(2)}, 1, {"1.5,-2."}}, NTK_F64, S(2), "1.5,-2."},
    {{&ntk_op_not, "", {S(3)}, 1, {"1,0,1"}}, NTK_BOOL, S(3), "0,1,0"},
    {{&ntk_op_isnan, "", {S(3)}, 1, {"1.,nan,-inf"}}, NTK_BOOL, S(3), "0,1,0"},
    {{&ntk_op_isinf, "", {S(4)}, 1, {"1.,nan,-inf,inf"}}, NTK_BOOL, S(4), "0,0,1,1"},
    {{&ntk_op_isinf, "detect_negative=0", {S(3)}, 1, {"1.,-inf,inf"}},
     NTK_BOOL,
     S(3),
     "0,0,1"},
    {{&ntk_op_isinf, "detect_positive=0", {S(3)}, 1, {"1.,-inf,inf"}},
     NTK_BOOL,
     S(3),
     "0,1,0"},
    {{&ntk_op_reducesum, "keepdims=0", {S(3)}, 1, {"3,-4,9"}}, NTK_I64, SCALAR, "8"},
    {{&ntk_op_cumsum, "", {S(3), SCALAR}, 2, {"3,-4,9", "0"}}, NTK_I64, S(3), "3,-1,8"},
    {{&ntk_op_hardmax, "", {S(2, 3)}, 1, {"3.,9.,9.,1.,0.,-1."}},
     NTK_F64,
     S(2, 3),
     "0.,1.,0.,1.,0.,0."},
    {{&ntk_op_hardmax, "axis=0", {S(2, 3)}, 1, {"3.,9.,9.,1.,0.,-1."}, .opset = 11},
     NTK_F64,
     S(2, 3),
     "0.,1.,0.,0.,0.,0."},
    {{&ntk_op_argmax, "", {S(2, 3)}, 1, {"3,9,2,4,9,-1"}}, NTK_I64, S(1, 3), "1,0,0"},
    {{&ntk_op_argmax, "axis=-1 keepdims=0", {S(2, 3)}, 1, {"3.,9.,9.,4.,0.,-1."}},
     NTK_I64,
     S(2),
     "1,0"},
    {{&ntk_op_argmax,
      "axis=-1 keepdims=0 select_last_index=1",
      {S(2, 3)},
      1,
      {"3.,9.,9.,4.,0.,-1."}},
     NTK_I64,
     S(2),
     "2,0"},
    {{&ntk_op_argmin, "axis=1", {S(2, 3)}, 1, {"3,9,2,4,9,-1"}}, NTK_I64, S(2, 1), "2,2"},
    {{&ntk_op_topk, "part=1 parts=2", {S(2, 3), S(1)}, 2, {"3.,9.,9.,4.,0.,-1.", "2"}},
     NTK_I64,
     S(2, 2),
     "1,2,0,1"},
    {{&ntk_op_topk, "part=0 parts=2", {S(2, 3), S(1)}, 2, {"3,9,9,4,0,-1", "2"}},
     NTK_I64,
     S(2, 2),
     "9,9,4,0"},
    {{&ntk_op_topk,
      "part=1 parts=2 largest=0 axis=0",
      {S(3, 2), S(1)},
      2,
      {"3,1,3,9,4,0", "2"}},
     NTK_I64,
     S(2, 2),
     "0,2,1,0"},
    {{&ntk_op_reducemax, "keepdims=0", {S(3)}, 1, {"3,-4,9"}}, NTK_I64, SCALAR, "9"},
    {{&ntk_op_reduceprod, "axes=1,", {S(2, 2)}, 1, {"3,-4,5,2"}},
     NTK_I64,
     S(2, 1),
     "-12,10"},
    {{&ntk_op_equal, "", {S(3), SCALAR}, 2, {"3,-1,0", "-1"}}, NTK_BOOL, S(3), "0,1,0"},
    {{&ntk_op_pow, "", {S(2), S(2)}, 2, {"4,3", "0.5,2."}}, NTK_I64, S(2), "2,9"},
    {{&ntk_op_pow, "", {S(2), S(2)}, 2, {"4.,0.5", "-1,3"}}, NTK_F64, S(2), "0.25,0.125"},
    {{&ntk_op_sum, "", {S(2), SCALAR, S(2)}, 3, {"3,-4", "2", "1,1"}},
     NTK_I64,
     S(2),
     "6,-1"},
    {{&ntk_op_mod, "", {S(5), S(5)}, 2, {"7,-7,7,-7,6", "3,3,-3,-3,-3"}},
     NTK_I64,
     S(5),
     "1,2,-2,-1,0"},
    {{&ntk_op_mod, "fmod=1", {S(5), S(5)}, 2, {"7,-7,7,-7,6", "3,3,-3,-3,-3"}},
     NTK_I64,
     S(5),
     "1,-1,1,-1,0"},
    {{&ntk_op_greater, "", {S(3), SCALAR}, 2, {"3,-1,0", "0"}}, NTK_BOOL, S(3), "1,0,0"},
    {{&ntk_op_less, "", {S(3), SCALAR}, 2, {"3,-1,0", "0"}}, NTK_BOOL, S(3), "0,1,0"},
    {{&ntk_op_greaterorequal, "", {S(3), SCALAR}, 2, {"3,-1,0", "0"}},
     NTK_BOOL,
     S(3),
     "1,0,1"},
    {{&ntk_op_lessorequal, "", {S(3), SCALAR}, 2, {"3,-1,0", "0"}},
     NTK_BOOL,
     S(3),
     "0,1,1"},
    {{&ntk_op_and, "", {S(4), S(4)}, 2, {"0,0,1,1", "0,1,0,1"}}, NTK_BOOL, S(4), "0,0,0,1"},
    {{&ntk_op_or, "", {S(4), S(4)}, 2, {"0,0,1,1", "0,1,0,1"}}, NTK_BOOL, S(4), "0,1,1,1"},
    {{&ntk_op_xor, "", {S(4), S(4)}, 2, {"0,0,1,1", "0,1,0,1"}}, NTK_BOOL, S(4), "0,1,1,0"},
    {{&ntk_op_where, "", {S(3), SCALAR, S(3)}, 3, {"0,1,0", "1", "3,-1,2"}},
     NTK_I64,
     S(3),
     "3,1,2"},
    {{&ntk_op_cast, "to=7", {S(3)}, 1, {"2.75,-2.75,0.5"}}, NTK_I64, S(3), "2,-2,0"},
    {{&ntk_op_cast, "to=9", {S(3)}, 1, {"2.75,0.,0.5"}}, NTK_BOOL, S(3), "1,0,1"},
    {{&ntk_op_cast, "to=2", {S(3)}, 1, {"300,-1,7"}}, NTK_U8, S(3), "255,0,7"},
    {{&ntk_op_cast, "to=1", {S(2)}, 1, {"3,-4"}}, NTK_F32, S(2), "3.,-4."},
    {{&ntk_op_cast, "to=10", {S(2)}, 1, {"3,-4"}}, NTK_F32, S(2), "3.,-4."},
    {{&ntk_op_range, "", {SCALAR, SCALAR, SCALAR}, 3, {"0", "5", "2"}},
     NTK_I64,
     S(3),
     "0,2,4"},
    {{&ntk_op_range, "", {SCALAR, SCALAR, SCALAR}, 3, {"5", "-1", "-2"}},
     NTK_I64,
     S(3),
     "5,3,1"},
    {{&ntk_op_range, "", {SCALAR, SCALAR, SCALAR}, 3, {"0.", "1.", "0.25"}},
     NTK_F64,
     S(4),
     "0.,0.25,0.5,0.75"},
    {{&ntk_op_range, "", {SCALAR, SCALAR, SCALAR}, 3, {"3", "3", "1"}}, NTK_I64, S(0), ""},
    {{&ntk_op_size, "", {S(2, 3)}, 1}, NTK_I64, SCALAR, "6"},
    {{&ntk_op_eyelike, "k=1", {S(2, 3)}, 1}, NTK_F64, S(2, 3), "0.,1.,0.,0.,0.,1."},
    {{&ntk_op_eyelike, "k=-1 dtype=7", {S(3, 2)}, 1}, NTK_I64, S(3, 2), "0,0,1,0,0,1"},
    {{&ntk_op_eyelike, "dtype=1 k=9223372036854775807", {S(1, 2)}, 1},
     NTK_F32,
     S(1, 2),
     "0.,0."},
    {{&ntk_op_nonzero, "", {S(2, 3)}, 1, {"0,7,0,-1,0,2"}},
     NTK_I64,
     S(2, 3),
     "0,1,1,1,0,2"},
    {{&ntk_op_nonzero, "", {S(2)}, 1, {"0,0"}}, NTK_I64, S(1, 0), ""},
    {{&ntk_op_nonzero, "", {SCALAR}, 1, {"0.5"}}, NTK_I64, S(1, 1), "0"},
    {{&ntk_op_onehot, "", {S(3), SCALAR, S(2)}, 3, {"0,-1,5", "3", "2,7"}},
     NTK_I64,
     S(3, 3),
     "7,2,2,2,2,7,2,2,2"},
    {{&ntk_op_onehot, "axis=0", {S(2), S(1), S(2)}, 3, {"1,0", "2", "0.,1."}},
     NTK_F64,
     S(2, 2),
     "0.,1.,1.,0."},
    {{&ntk_op_castlike, "", {S(2), SCALAR}, 2, {"2.75,-2.75", "0"}}, NTK_I64, S(2), "2,-2"},
    {{&ntk_op_gathernd, "", {S(2, 2), S(1, 2)}, 2, {"1,2,3,4", "1,0"}}, NTK_I64, S(1), "3"},
    {{&ntk_op_scatternd, "", {S(3), S(1, 1), S(1)}, 3, {"1,2,3", "1", "9"}},
     NTK_I64,
     S(3),
     "1,9,3"},
    {{&ntk_op_tile, "", {S(2), S(1)}, 2, {"1,2", "2"}}, NTK_I64, S(4), "1,2,1,2"},
    {{&ntk_op_constantofshape, "value=[7]", {S(2)}, 1, {"2,1"}}, NTK_I64, S(2, 1), "7,7"},
    {{&ntk_op_constantofshape, "value=[0.5]", {S(0)}, 1, {""}}, NTK_F64, SCALAR, "0.5"},
    {{&ntk_op_constantofshape, "", {S(1)}, 1, {"3"}}, NTK_F32, S(3), "0.,0.,0."},
    {{&ntk_op_constant, "value=[9223372036854775807]", {SCALAR}, 0},
     NTK_I64,
     S(1),
     "9223372036854775807"},
    {{&ntk_op_constant, "value_int=-3", {SCALAR}, 0}, NTK_I64, SCALAR, "-3"},
    {{&ntk_op_constant, "value_int=9223372036854775807", {SCALAR}, 0},
     NTK_I64,
     SCALAR,
     "9223372036854775807"},
    {{&ntk_op_constant, "value_ints=1,2", {SCALAR}, 0}, NTK_I64, S(2), "1,2"},
    {{&ntk_op_constant, "value_float=0.25", {SCALAR}, 0}, NTK_F32, SCALAR, "0.25"},
    {{&ntk_op_constant, "value_floats=0.25,-1.5", {SCALAR}, 0}, NTK_F32, S(2), "0.25,-1.5"},
};

static void constants_are_computed(void **state) {
  (void)state;
  const int64_t before = ntk_memory_used_total();
  for (size_t i = 0; i < sizeof computed / sizeof *computed; i++) {
    op_test h = op_open(&computed[i].c);
    const char *name = computed[i].c.op->name;
    if (h.node->op->infer(h.graph, h.node) != NTK_SUCCESS)
      fail_msg("%s: %s", name, ntk_fail_message());
    h.y_size = ntk_graph_size(h.graph, h.node->outputs[0]);
    const ntk_tensor *got = folded(&h);
    ntk_tensor *expected = op_constant(computed[i].elements, &computed[i].y);
    if (got->dtype != computed[i].dtype || !ntk_shape_equal(&got->shape, &computed[i].y))
      fail_msg("%s (row %zu): wrong type or shape", name, i);
    for (int64_t e = 0; e < h.y_size; e++)
      if (ntk_tensor_real(got, e) != ntk_tensor_real(expected, e) ||
          ntk_tensor_int(got, e) != ntk_tensor_int(expected, e))
        fail_msg("%s (row %zu): element %d is %g", name, i, (int)e,
                 ntk_tensor_real(got, e));
    ntk_tensor_destroy(&expected);
    op_free(&h);
  }
  assert_int_equal(ntk_memory_used_total(), before);
}

/* ---- batch axes, parameters, the table ---- */

static const batch_rule batch_rules[] = {
    {{&ntk_op_softmax, "", {S(1, 3)}, 1}, {0}, 0, true},
    {{&ntk_op_softmax, "axis=0", {S(1, 3)}, 1}, {0}, 0, false},
    {{&ntk_op_softmax, "axis=0", {S(3, 1)}, 1}, {1}, 1, true},
    {{&ntk_op_softmax, "axis=0", {S(3, 1)}, 1, .opset = 11}, {1}, 1, false},
    {{&ntk_op_lpnormalization, "", {S(1, 3)}, 1}, {0}, 0, true},
    {{&ntk_op_lpnormalization, "axis=0", {S(1, 3)}, 1}, {0}, 0, false},
    {{&ntk_op_cumsum, "", {S(1, 3), SCALAR}, 2, {[1] = "1"}}, {0, -1}, 0, true},
    {{&ntk_op_cumsum, "", {S(1, 3), SCALAR}, 2, {[1] = "-2"}}, {0, -1}, 0, false},
    {{&ntk_op_topk, "part=0 parts=2", {S(1, 3), S(1)}, 2, {[1] = "2"}}, {0, -1}, 0, true},
    {{&ntk_op_topk, "part=0 parts=2 axis=0", {S(3, 2), S(1)}, 2, {[1] = "1"}},
     {0, -1},
     0,
     false},
    {{&ntk_op_argmax, "axis=1", {S(1, 3)}, 1}, {0}, 0, true},
    {{&ntk_op_argmax, "axis=0", {S(1, 3)}, 1}, {0}, 0, false},
    {{&ntk_op_argmax, "axis=0 keepdims=0", {S(3, 1)}, 1}, {1}, 0, true},
    {{&ntk_op_argmax, "axis=1 keepdims=0", {S(1, 3, 2)}, 1}, {0}, 0, true},
    {{&ntk_op_argmax, "axis=0 keepdims=0", {S(1, 3, 2)}, 1}, {0}, 0, false},
    {{&ntk_op_reducesum, "axes=1,", {S(1, 3), NONE}, 2}, {0, -1}, 0, true},
    {{&ntk_op_reducesum, "axes=-2,", {S(1, 3), NONE}, 2}, {0, -1}, 0, false},
    {{&ntk_op_reducesum, "", {S(1, 3), NONE}, 2}, {0, -1}, 0, false},
    {{&ntk_op_reducemean, "axes=0, keepdims=0", {S(3, 1, 2)}, 1}, {1}, 0, true},
    {{&ntk_op_reducemax, "axes=0,", {S(1, 3)}, 1}, {0}, 0, false},
    {{&ntk_op_reducemax, "axes=1,", {S(1, 3)}, 1}, {0}, 0, true},
    {{&ntk_op_reducemean, "axes=0, keepdims=0", {S(3, 1, 2)}, 1}, {1}, 1, false},
    {{&ntk_op_transpose, "perm=1,0", {S(1, 3)}, 1}, {0}, 1, true},
    {{&ntk_op_transpose, "perm=1,0", {S(1, 3)}, 1}, {0}, 0, false},
    {{&ntk_op_expand, "", {S(1, 3), S(3)}, 2, {[1] = "2,1,3"}}, {0, -1}, 1, true},
    {{&ntk_op_expand, "", {S(1, 3), S(3)}, 2, {[1] = "2,1,3"}}, {0, -1}, 0, false},
    {{&ntk_op_slice, "starts=0, ends=2, axes=1,", {S(1, 3)}, 1}, {0}, 0, true},
    {{&ntk_op_slice,
      "",
      {S(1, 3), S(1), S(1), S(1), S(1)},
      5,
      {[1] = "0", "-9", "-2", "-1"}},
     {0, -1, -1, -1, -1},
     0,
     false},
    {{&ntk_op_slice,
      "",
      {S(1, 3), S(1), S(1), S(1), S(1)},
      5,
      {[1] = "2", "-9", "1", "-1"}},
     {0, -1, -1, -1, -1},
     0,
     true},
    {{&ntk_op_pad, "", {S(1, 3), S(4)}, 2, {[1] = "0,1,0,1"}}, {0, -1}, 0, true},
    {{&ntk_op_gather, "axis=1", {S(1, 3), S(2)}, 2, {[1] = "0,1"}}, {0, -1}, 0, true},
    {{&ntk_op_gather, "axis=0", {S(1, 3), S(1)}, 2, {[1] = "0"}}, {0, -1}, 0, false},
    {{&ntk_op_gather, "", {S(3, 1), S(2, 2)}, 2, {[1] = "0,1"}}, {1, -1}, 2, true},
    {{&ntk_op_gather, "", {S(3, 1), SCALAR}, 2, {[1] = "0"}}, {1, -1}, 0, true},
    {{&ntk_op_gather, "", {S(3, 2), S(1, 4)}, 2}, {-1, 0}, 0, true},
    {{&ntk_op_gather, "axis=1", {S(3, 2), S(4, 1)}, 2}, {-1, 1}, 2, true},
    {{&ntk_op_gather, "", {S(1, 2), S(1, 4)}, 2}, {0, 0}, 0, false},
    {{&ntk_op_gather, "axis=1", {S(1, 2), S(4)}, 2}, {0, -1}, 0, false},
    {{&ntk_op_gatherelements, "axis=1", {S(1, 3), S(1, 1)}, 2, {[1] = "0"}},
     {0, -1},
     0,
     true},
    {{&ntk_op_gatherelements, "", {S(1, 3), S(1, 1)}, 2, {[1] = "0"}}, {0, -1}, 0, false},
    {{&ntk_op_gatherelements, "axis=1", {S(1, 3), S(1, 1)}, 2}, {0, 0}, 0, true},
    {{&ntk_op_gatherelements, "axis=0", {S(1, 3), S(1, 3)}, 2}, {0, 0}, 0, false},
    {{&ntk_op_gathernd, "", {S(3, 1), S(2, 1)}, 2, {[1] = "0,1"}}, {1, -1}, 1, true},
    {{&ntk_op_gathernd, "", {S(1, 3), S(2, 1)}, 2, {[1] = "0,0"}}, {0, -1}, 0, false},
    {{&ntk_op_gathernd, "batch_dims=1", {S(1, 3), S(1, 1)}, 2, {[1] = "2"}},
     {0, -1},
     0,
     true},
    {{&ntk_op_scatternd, "", {S(3, 1), S(2, 1), S(2, 1)}, 3, {[1] = "0,1"}},
     {1, -1, 1},
     1,
     true},
    {{&ntk_op_scatternd, "", {S(1, 3), S(1, 1), S(1, 3)}, 3, {[1] = "0"}},
     {0, -1, 0},
     0,
     false},
    {{&ntk_op_scatterelements, "axis=1", {S(1, 3), S(1, 1), S(1, 1)}, 3, {[1] = "0"}},
     {0, -1, 0},
     0,
     true},
    {{&ntk_op_tile, "", {S(1, 3), S(2)}, 2, {[1] = "1,2"}}, {0, -1}, 0, true},
    {{&ntk_op_tile, "", {S(1, 3), S(2)}, 2, {[1] = "2,1"}}, {0, -1}, 0, false},
    {{&ntk_op_depthtospace, "blocksize=2", {S(1, 4, 1, 1)}, 1}, {0}, 0, true},
    {{&ntk_op_depthtospace, "blocksize=2", {S(1, 4, 1, 1)}, 1}, {2}, 2, false},
    {{&ntk_op_trilu, "", {S(1, 3, 3)}, 1}, {0}, 0, true},
    {{&ntk_op_trilu, "", {S(1, 3)}, 1}, {0}, 0, false},
    {{&ntk_op_reversesequence, "", {S(3, 2, 1), S(2)}, 2, {[1] = "1,2"}}, {2, -1}, 2, true},
    {{&ntk_op_reversesequence, "", {S(3, 1), S(1)}, 2, {[1] = "1"}}, {1, -1}, 1, false},
    {{&ntk_op_compress, "axis=1", {S(1, 3), S(2)}, 2, {[1] = "1"}}, {0, -1}, 0, true},
    {{&ntk_op_compress, "", {S(1, 3), S(2)}, 2, {[1] = "1"}}, {0, -1}, 0, false},
    {{&ntk_op_onehot, "", {S(1, 2), SCALAR, S(2)}, 3, {[1] = "3", "0.,1."}},
     {0, -1, -1},
     0,
     true},
    {{&ntk_op_onehot, "axis=0", {S(1, 2), SCALAR, S(2)}, 3, {[1] = "3", "0.,1."}},
     {0, -1, -1},
     1,
     true},
    {{&ntk_op_concat, "axis=1", {S(1, 3), S(1, 2)}, 2}, {0, 0}, 0, true},
    {{&ntk_op_concat, "axis=0", {S(1, 3), S(1, 3)}, 2}, {0, 0}, 0, false},
    {{&ntk_op_split, "part=1 parts=2 axis=1", {S(1, 4), NONE}, 2}, {0, -1}, 0, true},
    {{&ntk_op_split, "part=0 parts=1 axis=0", {S(1, 4), NONE}, 2}, {0, -1}, 0, false},
    {{&ntk_op_split, "part=0 parts=2 axis=-2", {S(4, 1), NONE}, 2}, {1, -1}, 1, true},
};

static void light_knows_where_samples_mix(void **state) {
  (void)state;
  check_batch_rules(sizeof batch_rules / sizeof *batch_rules, batch_rules);
}

/* Data that are no real numbers become some, or questions; real ones are not cut. */
static void casts_of_data_lose_nothing(void **state) {
  (void)state;
  static const struct {
    ntk_dtype from;
    const char *attributes;
    ntk_status status;
  } rows[] = {
      {NTK_BOOL, "to=1", NTK_SUCCESS},        {NTK_BOOL, "to=7", NTK_SUCCESS},
      {NTK_I64, "to=1", NTK_SUCCESS},         {NTK_I64, "to=9", NTK_SUCCESS},
      {NTK_I64, "to=2", NTK_ERR_UNSUPPORTED}, {NTK_F32, "to=11", NTK_SUCCESS},
      {NTK_F32, "to=9", NTK_ERR_UNSUPPORTED}, {NTK_F32, "to=7", NTK_ERR_UNSUPPORTED},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const op_case c = {&ntk_op_cast, rows[i].attributes, {S(2)}, 1};
    op_test h = op_open(&c);
    h.graph->values[h.node->inputs[0]].dtype = rows[i].from;
    assert_int_equal(h.node->op->infer(h.graph, h.node), rows[i].status);
    op_free(&h);
  }
}

/* Where questions end: no derivative, and an answer of type bool. */
static void questions_are_discrete(void **state) {
  (void)state;
  static const ntk_op *const rows[] = {
      &ntk_op_equal,       &ntk_op_greater, &ntk_op_less, &ntk_op_greaterorequal,
      &ntk_op_lessorequal, &ntk_op_and,     &ntk_op_or,   &ntk_op_xor,
      &ntk_op_not,         &ntk_op_isnan,   &ntk_op_isinf};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const op_case c = {rows[i], "", {S(2), S(2)}, rows[i]->max_in};
    op_test h = op_make(&c);
    assert_true(rows[i]->flags & NTK_OP_DISCRETE);
    assert_int_equal(h.graph->values[h.node->outputs[0]].dtype, NTK_BOOL);
    op_free(&h);
  }
}

/* A scalar that is a parameter may change: nothing passes through its multiples. */
static void parameters_are_no_scale(void **state) {
  (void)state;
  static const op_case rows[] = {
      {&ntk_op_mul, "", {S(3), S(1)}, 2, {[1] = "2."}},
      {&ntk_op_div, "", {S(3), S(1)}, 2, {[1] = "2."}},
  };
  for (int i = 0; i < 2; i++) {
    double s;
    op_test h = op_make(&rows[i]);
    assert_true(h.node->op->passes(h.graph, h.node, 0, &s));
    near(s, i == 0 ? 2 : 0.5, 0);
    assert_false(h.node->op->passes(h.graph, h.node, 1, &s));
    h.graph->values[h.node->inputs[1]].role = NTK_PARAMETER;
    assert_false(h.node->op->passes(h.graph, h.node, 0, &s));
    op_free(&h);
  }
}

static void the_table_is_sorted_and_searched(void **state) {
  (void)state;
  int count = 0;
  for (; ntk_op_at(count); count++) {
    const ntk_op *op = ntk_op_at(count);
    assert_ptr_equal(ntk_op_find(op->name), op);
    assert_true(op->infer && op->first >= 1 && op->first <= op->last);
    assert_true(op->min_in <= op->max_in && op->max_out >= 1);
    if (count > 0)
      assert_true(strcasecmp(ntk_op_at(count - 1)->name, op->name) < 0);
  }
  assert_true(count > 50);
  assert_null(ntk_op_at(-1));
  assert_null(ntk_op_find("relu"));
  assert_null(ntk_op_find(""));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(flags_are_kept),
      cmocka_unit_test(outputs_have_the_right_shapes),
      cmocka_unit_test(moves_are_long_runs),
      cmocka_unit_test(light_infers_again_for_other_shapes),
      cmocka_unit_test(constants_are_computed),
      cmocka_unit_test(light_knows_where_samples_mix),
      cmocka_unit_test(casts_of_data_lose_nothing),
      cmocka_unit_test(questions_are_discrete),
      cmocka_unit_test(parameters_are_no_scale),
      cmocka_unit_test(the_table_is_sorted_and_searched),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

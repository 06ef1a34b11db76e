/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/checks.h"

/* The batch axis: found, bound, followed; what mixes samples is refused. */

/* Input x of this shape and a weight [4, 3] for its last axis of 4; the test puts nodes in
 * between, from x to h, the network ends as y = h w. */
static Onnx__ModelProto *start(const char *shape) {
  Onnx__ModelProto *proto = model_new(17);
  add_input(proto, "x", shape);
  (void)add_floats(proto, "w", "4 3");
  return proto;
}
static Onnx__ModelProto *end(Onnx__ModelProto *proto) {
  (void)add_node(proto, "MatMul", "h w", "y");
  add_output(proto, "y");
  return proto;
}

static void expect_outputs(Onnx__ModelProto *proto, const char *options, int64_t outputs) {
  ntk_model *model = read_model(proto, options);
  assert_int_equal(ntk_model_get_info(model).outputs, outputs);
  assert_int_equal(ntk_model_get_info(model).parameters, 12);
  ntk_model_destroy(&model);
  model_free(proto);
}

static Onnx__ModelProto *plain(const char *shape) {
  Onnx__ModelProto *proto = start(shape);
  (void)add_node(proto, "Relu", "x", "h");
  return end(proto);
}

static void test_kinds_of_axes(void **state) {
  (void)state;
  expect_outputs(plain("batch 4"), NULL, 3);
  expect_outputs(plain("? 4"), NULL, 3);
  expect_outputs(plain("1 4"), NULL, 3);
  expect_outputs(plain("7 4"), NULL, 3);
  expect_outputs(plain("13 4"), NULL, 3); /* the size that the probe has */
  expect_outputs(plain("batch 5 4"), NULL, 15);
  expect_outputs(plain("1 5 4"), NULL, 15);
  expect_outputs(plain("5 4"), "--batch-axis none", 15);
  expect_outputs(plain("4"), "--batch-axis none", 3);
}

static void test_batch_axis_option(void **state) {
  (void)state;
  expect_outputs(plain("5 batch 4"), "--batch-axis 1", 15);
  expect_outputs(plain("5 batch 4"), "--batch-axis batch", 15);
  expect_outputs(plain("5 6 4"), "--batch-axis 1", 15);
  expect_refused(plain("5 batch 4"), "--batch-axis 3", NTK_ERR_ARGUMENT, "--batch-axis 3");
  expect_refused(plain("5 batch 4"), "--batch-axis -1", NTK_ERR_ARGUMENT,
                 "--batch-axis -1");
  expect_refused(plain("5 batch 4"), "--batch-axis bat", NTK_ERR_ARGUMENT,
                 "--batch-axis bat");
  expect_refused(plain("batch 4"), "--batch-axis none", NTK_ERR_ARGUMENT,
                 "--shape batch=n");
  expect_outputs(plain("batch 4"), "--batch-axis none --shape batch=2", 6);
}

static void test_shape_option(void **state) {
  (void)state;
  expect_refused(plain("batch tokens 4"), NULL, NTK_ERR_ARGUMENT, "--shape tokens=n");
  expect_outputs(plain("batch tokens 4"), "--shape tokens=5", 15);
  expect_outputs(plain("batch a b 4"), "--shape a=2 --shape b=3", 18);
  expect_refused(plain("batch tokens 4"), "--shape tokens=0", NTK_ERR_ARGUMENT, "tokens=0");
  expect_refused(plain("batch tokens 4"), "--shape tokens=5x", NTK_ERR_ARGUMENT,
                 "tokens=5x");
  expect_refused(plain("batch tokens 4"), "--shape tokens", NTK_ERR_ARGUMENT, "tokens");
  expect_refused(plain("batch tokens 4"), "--shape tokens=5 --shape token=5",
                 NTK_ERR_ARGUMENT, "token=5");
  expect_refused(plain("batch tokens 4"), "--shape =5", NTK_ERR_ARGUMENT, "=5");
  expect_refused(plain("batch 4"), "--shape batch=5", NTK_ERR_ARGUMENT, "batch=5");
}

/* ---- Reshape --------------------------------------------------------------------------
 */

static Onnx__ModelProto *reshaped(const char *shape, const char *to) {
  Onnx__ModelProto *proto = start(shape);
  add_integers(proto, "to", to);
  (void)add_node(proto, "Reshape", "x to", "h");
  return end(proto);
}

static void test_reshape(void **state) {
  (void)state;
  expect_outputs(reshaped("batch 2 6", "-1 3 4"), NULL, 9);
  expect_outputs(reshaped("batch 2 6", "0 3 4"), NULL, 9);
  expect_outputs(reshaped("batch 3 4", "-1 4"), NULL, 9); /* batch and positions merged */
  expect_outputs(reshaped("1 2 6", "1 3 4"), NULL, 9);
  /* written for its own batch size */
  expect_refused(reshaped("batch 2 6", "1 3 4"), NULL, NTK_ERR_UNSUPPORTED,
                 "re-export with a dynamic batch");
  expect_refused(reshaped("8 2 6", "8 3 4"), NULL, NTK_ERR_UNSUPPORTED,
                 "re-export with a dynamic batch");
  /* the samples inside another axis */
  expect_refused(reshaped("batch 4 6", "2 -1 4"), NULL, NTK_ERR_UNSUPPORTED, "Reshape");
  expect_refused(reshaped("8 4 6", "2 -1 4"), NULL, NTK_ERR_UNSUPPORTED, "Reshape");
}

/* Positions merged with samples, mapped, and taken apart again. */
static void test_merged_axis(void **state) {
  (void)state;
  Onnx__ModelProto *proto = start("batch 3 4");
  add_integers(proto, "rows", "-1 4");
  add_integers(proto, "back", "-1 3 4");
  (void)add_node(proto, "Reshape", "x rows", "r");
  (void)add_node(proto, "Tanh", "r", "t");
  (void)add_node(proto, "Reshape", "t back", "h");
  expect_outputs(end(proto), NULL, 9);
  /* a softmax over the merged axis sees all samples */
  proto = start("batch 3 4");
  add_integers(proto, "rows", "-1 4");
  (void)add_node(proto, "Reshape", "x rows", "r");
  set_int(add_node(proto, "Softmax", "r", "h"), "axis", 0);
  expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "Softmax");
}

/* Samples behind the positions, as in torch's attention: [3, batch, 4] to [3 batch, 4]. */
static Onnx__ModelProto *inner_start(void) {
  Onnx__ModelProto *proto = start("batch 3 4");
  add_integers(proto, "rows", "-1 4");
  add_integers(proto, "back", "3 -1 4");
  add_integers(proto, "wrong", "-1 3 4");
  set_ints(add_node(proto, "Transpose", "x", "t"), "perm", "1 0 2");
  (void)add_node(proto, "Reshape", "t rows", "r");
  return proto;
}

static void test_merged_axis_inside(void **state) {
  (void)state;
  Onnx__ModelProto *proto = inner_start();
  (void)add_node(proto, "Tanh", "r", "a");
  (void)add_node(proto, "Reshape", "a back", "b");
  set_ints(add_node(proto, "Transpose", "b", "h"), "perm", "1 0 2");
  expect_outputs(end(proto), NULL, 9);
  /* taken apart as if the samples came first */
  proto = inner_start();
  (void)add_node(proto, "Tanh", "r", "a");
  (void)add_node(proto, "Reshape", "a wrong", "h");
  expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "Reshape");
  /* both orders in one sum */
  proto = inner_start();
  (void)add_node(proto, "Reshape", "x rows", "r2");
  (void)add_node(proto, "Add", "r r2", "h");
  expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "Add");
  /* a piece of the merged axis */
  proto = inner_start();
  set_int(add_node(proto, "Split", "r", "a b c"), "axis", 0);
  (void)add_node(proto, "Relu", "b", "h");
  expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "Split");
}

static void test_split(void **state) {
  (void)state;
  Onnx__ModelProto *proto = start("batch 12");
  set_int(add_node(proto, "Split", "x", "a b c"), "axis", 1);
  (void)add_node(proto, "Mul", "a c", "h");
  expect_outputs(end(proto), NULL, 3);
  proto = start("6 4");
  add_integers(proto, "sizes", "2 4");
  (void)add_node(proto, "Split", "x sizes", "a h");
  expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "re-export with a dynamic batch");
}

static void test_transpose(void **state) {
  (void)state;
  Onnx__ModelProto *proto = start("batch 4 5");
  set_ints(add_node(proto, "Transpose", "x", "t"), "perm", "2 0 1");
  (void)add_node(proto, "Relu", "t", "h");
  expect_outputs(end(proto), NULL, 15);
  /* after the exchange the first axis is not the samples' */
  proto = start("batch 5 4");
  set_ints(add_node(proto, "Transpose", "x", "t"), "perm", "1 0 2");
  set_int(add_node(proto, "Softmax", "t", "h"), "axis", 0);
  expect_outputs(end(proto), NULL, 15);
  proto = start("batch 5 4");
  set_ints(add_node(proto, "Transpose", "x", "t"), "perm", "1 0 2");
  set_int(add_node(proto, "Softmax", "t", "h"), "axis", 1);
  expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "mixes samples");
}

/* ---- what mixes samples ---------------------------------------------------------------
 */

static Onnx__ModelProto *reduced(const char *shape, const char *op, const char *axes,
                                 int64_t keep) {
  Onnx__ModelProto *proto = start(shape);
  add_integers(proto, "axes", axes);
  Onnx__NodeProto *node;
  if (strcmp(op, "ReduceSum") == 0) {
    node = add_node(proto, op, "x axes", "r");
  } else {
    node = add_node(proto, op, "x", "r");
    set_ints(node, "axes", axes);
  }
  set_int(node, "keepdims", keep);
  (void)add_node(proto, "Sub", "x r", "h");
  return end(proto);
}

static void test_reduce(void **state) {
  (void)state;
  expect_outputs(reduced("batch 5 4", "ReduceMean", "-1", 1), NULL, 15);
  expect_outputs(reduced("batch 5 4", "ReduceSum", "1", 1), NULL, 15);
  expect_refused(reduced("batch 5 4", "ReduceMean", "0", 1), NULL, NTK_ERR_UNSUPPORTED,
                 "ReduceMean");
  expect_refused(reduced("6 5 4", "ReduceMean", "0", 1), NULL, NTK_ERR_UNSUPPORTED,
                 "ReduceMean");
  expect_refused(reduced("batch 5 4", "ReduceSum", "0 1", 1), NULL, NTK_ERR_UNSUPPORTED,
                 "batch axis");
  expect_refused(reduced("batch 5 4", "ReduceMean", "0", 0), NULL, NTK_ERR_UNSUPPORTED,
                 "ReduceMean");
  /* one sample only: nothing to mix */
  expect_outputs(reduced("1 5 4", "ReduceMean", "0", 1), NULL, 15);
  expect_outputs(reduced("5 4", "ReduceMean", "0", 1), "--batch-axis none", 15);
}

static void test_softmax_and_concat(void **state) {
  (void)state;
  for (int axis = 0; axis < 3; axis++) {
    Onnx__ModelProto *proto = start("batch 5 4");
    set_int(add_node(proto, "Softmax", "x", "h"), "axis", axis);
    if (axis)
      expect_outputs(end(proto), NULL, 15);
    else
      expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "Softmax");
  }
  for (int axis = 0; axis < 2; axis++) {
    Onnx__ModelProto *proto = start("batch 5 4");
    set_int(add_node(proto, "Concat", "x x", "h"), "axis", axis);
    if (axis)
      expect_outputs(end(proto), NULL, 30);
    else
      expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "Concat");
  }
}

/* Samples against samples: x x^T, and the same by broadcasting. */
static void test_pairs_of_samples(void **state) {
  (void)state;
  Onnx__ModelProto *proto = start("batch 4");
  set_ints(add_node(proto, "Transpose", "x", "t"), "perm", "1 0");
  (void)add_node(proto, "MatMul", "x t", "g");
  (void)add_node(proto, "MatMul", "g x", "h");
  expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "MatMul");
  proto = start("batch 4");
  add_integers(proto, "first", "0");
  (void)add_node(proto, "Unsqueeze", "x first", "u"); /* [1, batch, 4] */
  add_integers(proto, "middle", "1");
  (void)add_node(proto, "Unsqueeze", "x middle", "v"); /* [batch, 1, 4] */
  (void)add_node(proto, "Sub", "u v", "h");
  expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "Sub");
}

/* The first sample alone. */
static void test_cuts_of_the_axis(void **state) {
  (void)state;
  Onnx__ModelProto *proto = start("batch 4");
  add_integers(proto, "from", "0");
  add_integers(proto, "to", "1");
  add_integers(proto, "axis", "0");
  (void)add_node(proto, "Slice", "x from to axis", "h");
  expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "Slice");
  proto = start("batch 6");
  add_integers(proto, "from", "1");
  add_integers(proto, "to", "5");
  add_integers(proto, "axis", "-1");
  (void)add_node(proto, "Slice", "x from to axis", "h");
  expect_outputs(end(proto), NULL, 3);
}

/* ---- constants of the batch size ------------------------------------------------------
 */

static void test_constant_of_batch_size(void **state) {
  (void)state;
  static const char *const shapes[] = {"8 4", "13 4"}; /* 13: the size of the probe */
  for (int i = 0; i < 2; i++) {
    Onnx__ModelProto *proto = start(shapes[i]);
    (void)add_floats(proto, "noise", shapes[i]);
    add_named(proto, "[\"w\"]");
    (void)add_node(proto, "Add", "x noise", "h");
    expect_refused(end(proto), NULL, NTK_ERR_UNSUPPORTED, "");
  }
}

/* A state made for the batch at hand is as good for one sample. */
static void test_state_of_batch_size(void **state) {
  (void)state;
  Onnx__ModelProto *proto = start("batch 4");
  (void)add_node(proto, "Shape", "x", "s");
  (void)add_node(proto, "ConstantOfShape", "s", "zeros");
  (void)add_node(proto, "Add", "x zeros", "h");
  expect_outputs(end(proto), NULL, 3);
}

/* A class token, expanded to the batch, in front of the positions. */
static void test_expanded_parameter(void **state) {
  (void)state;
  Onnx__ModelProto *proto = start("batch 2 4");
  (void)add_floats(proto, "token", "1 1 4");
  add_integers(proto, "i0", "0");
  add_integers(proto, "i1", "1");
  add_integers(proto, "rest", "1 4");
  (void)add_node(proto, "Shape", "x", "s");
  (void)add_node(proto, "Slice", "s i0 i1", "n");
  set_int(add_node(proto, "Concat", "n rest", "to"), "axis", 0);
  (void)add_node(proto, "Expand", "token to", "t");
  set_int(add_node(proto, "Concat", "t x", "h"), "axis", 1);
  ntk_model *model = read_model(end(proto), NULL);
  assert_int_equal(ntk_model_get_info(model).parameters, 16);
  assert_int_equal(ntk_model_get_info(model).outputs, 9);
  ntk_model_destroy(&model);
  model_free(proto);
}

/* An output that counts no samples; one that is an input. */
static void test_outputs(void **state) {
  (void)state;
  Onnx__ModelProto *proto = plain("batch 4");
  add_output(proto, "x");
  expect_outputs(proto, NULL, 7);
  proto = plain("batch 4");
  (void)add_node(proto, "Relu", "w", "p");
  add_output(proto, "p");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "output 'p'");
  proto = plain("batch 4");
  add_output(proto, "w");
  expect_refused(proto, NULL, NTK_ERR_UNSUPPORTED, "output 'w'");
}

/* Two inputs that both count samples. */
static void test_two_inputs(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    Onnx__ModelProto *proto = start("batch 4");
    add_input(proto, "x2", i ? "batch 1" : "batch 4");
    (void)add_node(proto, "Mul", "x x2", "h");
    expect_outputs(end(proto), NULL, 3);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_kinds_of_axes),
    cmocka_unit_test(test_batch_axis_option),
    cmocka_unit_test(test_shape_option),
    cmocka_unit_test(test_reshape),
    cmocka_unit_test(test_merged_axis),
    cmocka_unit_test(test_merged_axis_inside),
    cmocka_unit_test(test_split),
    cmocka_unit_test(test_transpose),
    cmocka_unit_test(test_reduce),
    cmocka_unit_test(test_softmax_and_concat),
    cmocka_unit_test(test_pairs_of_samples),
    cmocka_unit_test(test_cuts_of_the_axis),
    cmocka_unit_test(test_constant_of_batch_size),
    cmocka_unit_test(test_state_of_batch_size),
    cmocka_unit_test(test_expanded_parameter),
    cmocka_unit_test(test_outputs),
    cmocka_unit_test(test_two_inputs),
};
RUN_TESTS(tests)

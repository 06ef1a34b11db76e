/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"
#include "ops/light.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* Functions of one number (derivatives at kinks: design section 3). */

static ntk_status infer_function(ntk_graph *graph, ntk_node *node,
                                 ntk_unary_function function, double a, double b) {
  ntk_status status = NTK_SUCCESS;
  ntk_unary *u;
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_value *x = ntk_operand(graph, node, 0);
  NTK_TRY(ntk_new_detail(node, sizeof *u, &u));
  *u = (ntk_unary){.function = function, .size = ntk_shape_size(&x->shape), .a = a, .b = b};
  ntk_set_output(graph, node, x->dtype, &x->shape);
done:
  return status;
}

#define UNARY_ROW(row, onnx, since, infer_, flags_, ...)                                   \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = since,                                                                      \
      .last = 22,                                                                          \
      .min_in = 1,                                                                         \
      .max_in = 1,                                                                         \
      .max_out = 1,                                                                        \
      .flags = (flags_) | NTK_OP_ELEMENTWISE,                                              \
      .infer = infer_,                                                                     \
      .kernels = {&ntk_unary_kernels_f32, &ntk_unary_kernels_f64},                         \
      __VA_ARGS__};

/* Of one operand without attributes; of one whose attributes are the arguments a, b. */
#define PLAIN(row, onnx, since, function, flags_)                                          \
  WITH_NUMBERS(row, onnx, since, function, flags_, 0, 0)
#define WITH_NUMBERS(row, onnx, since, function, flags_, a, b)                             \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    return infer_function(graph, node, function, a, b);                                    \
  }                                                                                        \
  UNARY_ROW(row, onnx, since, infer_##row, flags_, .flops = NULL)
#define NUMBER(name, otherwise) ntk_node_float(node, name, otherwise)

PLAIN(relu, "Relu", 1, NTK_UNARY_RELU, 0)
PLAIN(sigmoid, "Sigmoid", 1, NTK_UNARY_SIGMOID, 0)
PLAIN(tanh, "Tanh", 1, NTK_UNARY_TANH, 0)
PLAIN(erf, "Erf", 9, NTK_UNARY_ERF, 0)
PLAIN(softplus, "Softplus", 1, NTK_UNARY_SOFTPLUS, 0)
PLAIN(softsign, "Softsign", 1, NTK_UNARY_SOFTSIGN, 0)
PLAIN(hardswish, "HardSwish", 14, NTK_UNARY_HARDSWISH, 0)
PLAIN(mish, "Mish", 18, NTK_UNARY_MISH, 0)
PLAIN(exp, "Exp", 1, NTK_UNARY_EXP, 0)
PLAIN(log, "Log", 1, NTK_UNARY_LOG, 0)
PLAIN(sqrt, "Sqrt", 1, NTK_UNARY_SQRT, 0)
PLAIN(abs, "Abs", 1, NTK_UNARY_ABS, 0)
PLAIN(reciprocal, "Reciprocal", 1, NTK_UNARY_RECIPROCAL, 0)
PLAIN(sin, "Sin", 7, NTK_UNARY_SIN, 0)
PLAIN(cos, "Cos", 7, NTK_UNARY_COS, 0)
PLAIN(tan, "Tan", 7, NTK_UNARY_TAN, 0)
PLAIN(asin, "Asin", 7, NTK_UNARY_ASIN, 0)
PLAIN(acos, "Acos", 7, NTK_UNARY_ACOS, 0)
PLAIN(atan, "Atan", 7, NTK_UNARY_ATAN, 0)
PLAIN(sinh, "Sinh", 9, NTK_UNARY_SINH, 0)
PLAIN(cosh, "Cosh", 9, NTK_UNARY_COSH, 0)
PLAIN(asinh, "Asinh", 9, NTK_UNARY_ASINH, 0)
PLAIN(acosh, "Acosh", 9, NTK_UNARY_ACOSH, 0)
PLAIN(atanh, "Atanh", 9, NTK_UNARY_ATANH, 0)
PLAIN(floor, "Floor", 1, NTK_UNARY_FLOOR, NTK_OP_DISCRETE)
PLAIN(ceil, "Ceil", 1, NTK_UNARY_CEIL, NTK_OP_DISCRETE)
PLAIN(round, "Round", 11, NTK_UNARY_ROUND, NTK_OP_DISCRETE)
PLAIN(sign, "Sign", 9, NTK_UNARY_SIGN, NTK_OP_DISCRETE)
/* Not of ONNX: what calls of scantk.StopGradient become (onnx/lower.c). */
PLAIN(stopgradient, "StopGradient", 1, NTK_UNARY_COPY, NTK_OP_DISCRETE)

WITH_NUMBERS(leakyrelu, "LeakyRelu", 1, NTK_UNARY_LEAKYRELU, 0, NUMBER("alpha", 0.01), 0)
WITH_NUMBERS(elu, "Elu", 1, NTK_UNARY_ELU, 0, NUMBER("alpha", 1), 0)
WITH_NUMBERS(celu, "Celu", 12, NTK_UNARY_CELU, 0, NUMBER("alpha", 1), 0)
WITH_NUMBERS(selu, "Selu", 6, NTK_UNARY_SELU, 0, NUMBER("alpha", 1.67326319217681884765625),
             NUMBER("gamma", 1.05070102214813232421875))
WITH_NUMBERS(hardsigmoid, "HardSigmoid", 1, NTK_UNARY_HARDSIGMOID, 0, NUMBER("alpha", 0.2),
             NUMBER("beta", 0.5))
WITH_NUMBERS(thresholdedrelu, "ThresholdedRelu", 10, NTK_UNARY_THRESHOLDEDRELU, 0,
             NUMBER("alpha", 1), 0)
WITH_NUMBERS(shrink, "Shrink", 9, NTK_UNARY_SHRINK, 0, NUMBER("lambd", 0.5),
             NUMBER("bias", 0))

static ntk_status infer_gelu(ntk_graph *graph, ntk_node *node) {
  const char *way = ntk_node_string(node, "approximate", "none");
  const bool approximate = strcmp(way, "tanh") == 0;
  if (!approximate && strcmp(way, "none") != 0)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "the approximation '%s'", way);
  return infer_function(graph, node, approximate ? NTK_UNARY_GELU_TANH : NTK_UNARY_GELU, 0,
                        0);
}
UNARY_ROW(gelu, "Gelu", 20, infer_gelu, 0, .flops = NULL)

/* Questions: the answer is a bool. */
static ntk_status infer_question(ntk_graph *graph, ntk_node *node,
                                 ntk_unary_function function, double a, double b) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(infer_function(graph, node, function, a, b));
  graph->values[node->outputs[0]].dtype = NTK_BOOL;
done:
  return status;
}
#define QUESTION(row, onnx, since, function, a, b)                                         \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    return infer_question(graph, node, function, a, b);                                    \
  }                                                                                        \
  UNARY_ROW(row, onnx, since, infer_##row, NTK_OP_DISCRETE, .flops = NULL)
QUESTION(not, "Not", 1, NTK_UNARY_NOT, 0, 0)
QUESTION(isnan, "IsNaN", 9, NTK_UNARY_ISNAN, 0, 0)
QUESTION(isinf, "IsInf", 10, NTK_UNARY_ISINF,
         (double)ntk_node_int(node, "detect_negative", 1),
         (double)ntk_node_int(node, "detect_positive", 1))

static ntk_status infer_neg(ntk_graph *graph, ntk_node *node) {
  return infer_function(graph, node, NTK_UNARY_NEG, 0, 0);
}
static bool passes_neg(const ntk_graph *graph, const ntk_node *node, int operand,
                       double *s) {
  (void)graph;
  (void)node;
  *s = -1;
  return operand == 0;
}
UNARY_ROW(neg, "Neg", 1, infer_neg, NTK_OP_ADDITIVE, .passes = passes_neg)

/* ---- Clip -----------------------------------------------------------------------------
 */

/* A bound: an attribute before opset 11, then a constant operand. */
static ntk_status bound(const ntk_graph *graph, const ntk_node *node, const char *name,
                        int i, double *value) {
  const ntk_value *operand = ntk_operand(graph, node, i);
  *value = ntk_node_float(node, name, *value);
  if (!operand)
    return NTK_SUCCESS;
  if (!operand->constant || ntk_shape_size(&operand->shape) != 1)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "bound %s is not a constant number", name);
  *value = ntk_tensor_real(operand->constant, 0);
  return NTK_SUCCESS;
}

static ntk_status infer_clip(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  double low = -INFINITY, high = INFINITY;
  NTK_TRY(bound(graph, node, "min", 1, &low));
  NTK_TRY(bound(graph, node, "max", 2, &high));
  NTK_TRY(infer_function(graph, node, NTK_UNARY_CLIP, low, high));
done:
  return status;
}
const ntk_op ntk_op_clip = {.name = "Clip",
                            .first = 6,
                            .last = 22,
                            .min_in = 1,
                            .max_in = 3,
                            .max_out = 1,
                            .infer = infer_clip,
                            .not_parameter = 1u << 1 | 1u << 2,
                            .kernels = {&ntk_unary_kernels_f32, &ntk_unary_kernels_f64}};

/* ---- copies ---------------------------------------------------------------------------
 */

static bool passes_copy(const ntk_graph *graph, const ntk_node *node, int operand,
                        double *s) {
  (void)graph;
  (void)node;
  *s = 1;
  return operand == 0;
}

static ntk_status infer_identity(ntk_graph *graph, ntk_node *node) {
  return infer_function(graph, node, NTK_UNARY_COPY, 0, 0);
}
UNARY_ROW(identity, "Identity", 1, infer_identity,
          NTK_OP_ALIAS | NTK_OP_MOVE | NTK_OP_ADDITIVE, .passes = passes_copy)

static ntk_status infer_dropout(ntk_graph *graph, ntk_node *node) {
  const ntk_value *ratio = ntk_operand(graph, node, 1),
                  *training = ntk_operand(graph, node, 2);
  const bool drops =
      training && (!training->constant || ntk_tensor_int(training->constant, 0));
  const bool none = ratio && ratio->constant && ntk_tensor_real(ratio->constant, 0) == 0;
  if (drops && !none)
    return ntk_fail(NTK_ERR_UNSUPPORTED,
                    "dropout in training mode; export in evaluation mode");
  return infer_function(graph, node, NTK_UNARY_COPY, 0, 0);
}
const ntk_op ntk_op_dropout = {.name = "Dropout",
                               .first = 7,
                               .last = 22,
                               .min_in = 1,
                               .max_in = 3,
                               .max_out = 1,
                               .flags = NTK_OP_ALIAS | NTK_OP_MOVE | NTK_OP_ADDITIVE,
                               .infer = infer_dropout,
                               .passes = passes_copy,
                               .not_parameter = 1u << 1 | 1u << 2,
                               .kernels = {&ntk_unary_kernels_f32, &ntk_unary_kernels_f64}};

/* Casts of data: what is no real number depends on no parameter (sweeps stop at questions),
 * so that these are copies, or again questions. Real numbers are not cut to integers. */
static bool is_exact(ntk_dtype from, ntk_dtype to) {
  return ntk_dtype_is_real(to) || from == NTK_BOOL ||
         (!ntk_dtype_is_real(from) &&
          (to == NTK_BOOL || ntk_dtype_bytes(to) >= ntk_dtype_bytes(from)));
}

/* Of operand 0. Data stay real, or integers: nothing is cut off while the network runs. */
static ntk_status cast_to(ntk_graph *graph, ntk_node *node, ntk_dtype dtype) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *x = ntk_operand(graph, node, 0);
  NTK_REQUIRE(x->role == NTK_CONSTANT || is_exact(x->dtype, dtype), NTK_ERR_UNSUPPORTED,
              "a cast of data from %s to %s is not supported", ntk_dtype_name(x->dtype),
              ntk_dtype_name(dtype));
  NTK_TRY(infer_function(graph, node, dtype == NTK_BOOL ? NTK_UNARY_TRUTH : NTK_UNARY_COPY,
                         0, 0));
  graph->values[node->outputs[0]].dtype = dtype;
done:
  return status;
}

/* Types by number as in TensorProto. */
static ntk_status infer_cast(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  static const int types[] = {-1,      NTK_F32, NTK_U8, NTK_I8,   NTK_U16, NTK_I16,
                              NTK_I32, NTK_I64, -1,     NTK_BOOL, NTK_F32, NTK_F64,
                              NTK_U32, NTK_U64, -1,     -1,       NTK_F32};
  const int64_t to = ntk_node_int(node, "to", 0);
  NTK_REQUIRE(to > 0 && to < (int64_t)(sizeof types / sizeof *types) && types[to] >= 0,
              NTK_ERR_UNSUPPORTED, "a cast to element type %lld is not supported",
              (long long)to);
  NTK_TRY(ntk_require_operands(graph, node, 1));
  NTK_TRY(cast_to(graph, node, (ntk_dtype)types[to]));
done:
  return status;
}
UNARY_ROW(cast, "Cast", 6, infer_cast, NTK_OP_MOVE | NTK_OP_ADDITIVE, .passes = passes_copy)

/* Of the second operand the type alone counts: the node is taken off it, lest it depend on
 * what that depends on. Inferred again it has the type it had. */
static ntk_status infer_castlike(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  const ntk_value *like = ntk_operand(graph, node, 1);
  NTK_TRY(ntk_require_operands(graph, node, 1));
  NTK_TRY(cast_to(graph, node, like ? like->dtype : graph->values[node->outputs[0]].dtype));
  node->inputs[1] = -1;
done:
  return status;
}
const ntk_op ntk_op_castlike = {
    .name = "CastLike",
    .first = 15,
    .last = 22,
    .min_in = 2,
    .max_in = 2,
    .max_out = 1,
    .flags = NTK_OP_MOVE | NTK_OP_ADDITIVE | NTK_OP_ELEMENTWISE,
    .infer = infer_castlike,
    .passes = passes_copy,
    .not_parameter = 2,
    .kernels = {&ntk_unary_kernels_f32, &ntk_unary_kernels_f64}};

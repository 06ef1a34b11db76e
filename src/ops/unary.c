/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"
#include "ops/light.h"
#include <float.h>
#include <math.h>

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

#define PLAIN(row, onnx, since, function)                                                  \
  static ntk_status infer_##row(ntk_graph *graph, ntk_node *node) {                        \
    return infer_function(graph, node, function, 0, 0);                                    \
  }                                                                                        \
  UNARY_ROW(row, onnx, since, infer_##row, 0, .flops = NULL)

PLAIN(relu, "Relu", 1, NTK_UNARY_RELU)
PLAIN(sigmoid, "Sigmoid", 1, NTK_UNARY_SIGMOID)
PLAIN(tanh, "Tanh", 1, NTK_UNARY_TANH)
PLAIN(erf, "Erf", 9, NTK_UNARY_ERF)
PLAIN(softplus, "Softplus", 1, NTK_UNARY_SOFTPLUS)
PLAIN(exp, "Exp", 1, NTK_UNARY_EXP)
PLAIN(log, "Log", 1, NTK_UNARY_LOG)
PLAIN(sqrt, "Sqrt", 1, NTK_UNARY_SQRT)
PLAIN(abs, "Abs", 1, NTK_UNARY_ABS)
PLAIN(reciprocal, "Reciprocal", 1, NTK_UNARY_RECIPROCAL)

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

static ntk_status infer_floor(ntk_graph *graph, ntk_node *node) {
  return infer_function(graph, node, NTK_UNARY_FLOOR, 0, 0);
}
UNARY_ROW(floor, "Floor", 1, infer_floor, NTK_OP_DISCRETE, .flops = NULL)

static ntk_status infer_leakyrelu(ntk_graph *graph, ntk_node *node) {
  return infer_function(graph, node, NTK_UNARY_LEAKYRELU,
                        ntk_node_float(node, "alpha", 0.01), 0);
}
UNARY_ROW(leakyrelu, "LeakyRelu", 1, infer_leakyrelu, 0, .flops = NULL)

static ntk_status infer_elu(ntk_graph *graph, ntk_node *node) {
  return infer_function(graph, node, NTK_UNARY_ELU, ntk_node_float(node, "alpha", 1), 0);
}
UNARY_ROW(elu, "Elu", 1, infer_elu, 0, .flops = NULL)

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
  const ntk_value *training = ntk_operand(graph, node, 2);
  if (training && (!training->constant || ntk_tensor_int(training->constant, 0) != 0))
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
  const ntk_value *x = ntk_operand(graph, node, 0);
  const ntk_dtype dtype = (ntk_dtype)types[to];
  NTK_REQUIRE(x->role == NTK_CONSTANT ||
                  (ntk_dtype_is_real(dtype) && ntk_dtype_is_real(x->dtype)),
              NTK_ERR_UNSUPPORTED, "a cast of data between %s and %s is not supported",
              ntk_dtype_name(x->dtype), ntk_dtype_name(dtype));
  NTK_TRY(infer_function(graph, node, dtype == NTK_BOOL ? NTK_UNARY_TRUTH : NTK_UNARY_COPY,
                         0, 0));
  graph->values[node->outputs[0]].dtype = dtype;
done:
  return status;
}
UNARY_ROW(cast, "Cast", 6, infer_cast, NTK_OP_MOVE | NTK_OP_ADDITIVE, .passes = passes_copy)

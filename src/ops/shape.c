/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/status.h"
#include "ops/light.h"
#include <math.h>

/* Operators whose result is known at import: infer leaves it in the value. */

static ntk_status set_constant(ntk_graph *graph, const ntk_node *node, ntk_dtype dtype,
                               const ntk_shape *shape, const double *elements) {
  ntk_status status = NTK_SUCCESS;
  ntk_value *y = &graph->values[node->outputs[0]];
  ntk_tensor_destroy(&y->constant);
  NTK_TRY(ntk_tensor_create(dtype, shape, &y->constant));
  if (elements)
    ntk_convert(NTK_F64, elements, dtype, y->constant->data, ntk_shape_size(shape));
  ntk_set_output(graph, node, dtype, shape);
done:
  return status;
}

/* What stands elsewhere is left there. */
static ntk_status set_tensor(ntk_graph *graph, const ntk_node *node,
                             const ntk_tensor *tensor) {
  ntk_status status = NTK_SUCCESS;
  ntk_value *y = &graph->values[node->outputs[0]];
  if (!tensor->is_borrowed) {
    NTK_TRY(set_constant(graph, node, tensor->dtype, &tensor->shape, NULL));
    ntk_convert(tensor->dtype, tensor->data, tensor->dtype, y->constant->data,
                ntk_shape_size(&tensor->shape));
    goto done;
  }
  ntk_tensor_destroy(&y->constant);
  NTK_TRY(ntk_tensor_borrow(tensor->dtype, &tensor->shape, tensor->data, &y->constant));
  ntk_set_output(graph, node, tensor->dtype, &tensor->shape);
done:
  return status;
}

static ntk_status infer_shape(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  double sizes[NTK_MAX_DIMS];
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  int64_t start = ntk_node_int(node, "start", 0), end = ntk_node_int(node, "end", x->ndim);
  if (start < 0)
    start += x->ndim;
  if (end < 0)
    end += x->ndim;
  if (start < 0)
    start = 0;
  if (end > x->ndim)
    end = x->ndim;
  const ntk_shape y = {.ndim = 1, .dim = {end > start ? end - start : 0}};
  for (int64_t d = start; d < end; d++)
    sizes[d - start] = (double)x->dim[d];
  NTK_TRY(set_constant(graph, node, NTK_I64, &y, sizes));
done:
  return status;
}

static ntk_status infer_constant(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape scalar = {0};
  double *list = NULL;
  NTK_REQUIRE(node->attribute_count == 1, NTK_ERR_UNSUPPORTED,
              "a constant without a value");
  const ntk_attribute *a = &node->attributes[0];
  const ntk_shape row = {.ndim = 1, .dim = {a->count}};
  switch (a->kind) {
  case NTK_ATTRIBUTE_TENSOR:
    NTK_TRY(set_tensor(graph, node, a->tensor));
    break;
  case NTK_ATTRIBUTE_FLOAT:
    NTK_TRY(set_constant(graph, node, NTK_F32, &scalar, &a->f));
    break;
  case NTK_ATTRIBUTE_INT:
    NTK_TRY(set_constant(graph, node, NTK_I64, &scalar, &(double){(double)a->i}));
    break;
  case NTK_ATTRIBUTE_FLOATS:
    NTK_TRY(set_constant(graph, node, NTK_F32, &row, a->floats));
    break;
  case NTK_ATTRIBUTE_INTS:
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, a->count, sizeof *list, &list));
    for (int64_t i = 0; i < a->count; i++)
      list[i] = (double)a->ints[i];
    NTK_TRY(set_constant(graph, node, NTK_I64, &row, list));
    break;
  default:
    status = ntk_fail(NTK_ERR_UNSUPPORTED,
                      "a constant of this kind ('%s') is not supported", a->name);
  }
done:
  ntk_free(&list);
  return status;
}

static ntk_status infer_constantofshape(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *sizes = NULL, count;
  double *fill = NULL;
  ntk_shape y = {0};
  const ntk_attribute *value = ntk_node_attribute(node, "value");
  NTK_TRY(ntk_constant_ints(graph, node, 0, "the shape", &sizes, &count));
  NTK_REQUIRE(count <= NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED, "more than %d axes",
              NTK_MAX_DIMS);
  for (int64_t d = 0; d < count; d++) {
    NTK_REQUIRE(sizes[d] >= 0, NTK_ERR_SHAPE, "a negative size");
    y.dim[y.ndim++] = sizes[d];
  }
  NTK_TRY(ntk_check_size(&y));
  const int64_t n = ntk_shape_size(&y);
  const bool given = value && value->tensor && ntk_shape_size(&value->tensor->shape) == 1;
  const double number = given ? ntk_tensor_real(value->tensor, 0) : 0;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof *fill, &fill));
  for (int64_t i = 0; i < n; i++)
    fill[i] = number;
  NTK_TRY(set_constant(graph, node, given ? value->tensor->dtype : NTK_F32, &y, fill));
done:
  ntk_free(&sizes);
  ntk_free(&fill);
  return status;
}

static ntk_status infer_range(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  double bound[3], *list = NULL;
  NTK_TRY(ntk_require_operands(graph, node, 3));
  for (int i = 0; i < 3; i++) {
    const ntk_value *v = ntk_operand(graph, node, i);
    NTK_REQUIRE(v->constant && ntk_shape_size(&v->shape) == 1, NTK_ERR_UNSUPPORTED,
                "bounds are not known before the network runs");
    bound[i] = ntk_tensor_real(v->constant, 0);
  }
  const double count = ceil((bound[1] - bound[0]) / bound[2]);
  NTK_REQUIRE(bound[2] != 0 && count < 1e9, NTK_ERR_SHAPE, "a range without end");
  const ntk_shape y = {.ndim = 1, .dim = {count > 0 ? (int64_t)count : 0}};
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, y.dim[0], sizeof *list, &list));
  for (int64_t i = 0; i < y.dim[0]; i++)
    list[i] = bound[0] + (double)i * bound[2];
  NTK_TRY(set_constant(graph, node, ntk_operand(graph, node, 0)->dtype, &y, list));
done:
  ntk_free(&list);
  return status;
}

static ntk_status infer_size(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape scalar = {0};
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const double size = (double)ntk_shape_size(&ntk_operand(graph, node, 0)->shape);
  NTK_TRY(set_constant(graph, node, NTK_I64, &scalar, &size));
done:
  return status;
}

/* Types as TensorProto numbers them; 0: as the operand's. */
static ntk_status eye_dtype(const ntk_node *node, ntk_dtype own, ntk_dtype *dtype) {
  switch (ntk_node_int(node, "dtype", 0)) {
  case 0:
    *dtype = own;
    return NTK_SUCCESS;
  case 1:
    *dtype = NTK_F32;
    return NTK_SUCCESS;
  case 6:
    *dtype = NTK_I32;
    return NTK_SUCCESS;
  case 7:
    *dtype = NTK_I64;
    return NTK_SUCCESS;
  case 11:
    *dtype = NTK_F64;
    return NTK_SUCCESS;
  default:
    return ntk_fail(NTK_ERR_UNSUPPORTED, "element type %lld is not supported",
                    (long long)ntk_node_int(node, "dtype", 0));
  }
}

static ntk_status infer_eyelike(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  double *eye = NULL;
  ntk_dtype dtype;
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_shape y = ntk_operand(graph, node, 0)->shape;
  NTK_TRY(eye_dtype(node, ntk_operand(graph, node, 0)->dtype, &dtype));
  NTK_REQUIRE(y.ndim == 2, NTK_ERR_SHAPE, "%d axes, not 2", y.ndim);
  NTK_TRY(ntk_check_size(&y));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, ntk_shape_size(&y), sizeof *eye, &eye));
  const int64_t k = ntk_node_int(node, "k", 0);
  for (int64_t i = 0; i < y.dim[0]; i++)
    if (k > -y.dim[0] && k < y.dim[1] && i + k >= 0 && i + k < y.dim[1])
      eye[i * y.dim[1] + i + k] = 1;
  NTK_TRY(set_constant(graph, node, dtype, &y, eye));
done:
  ntk_free(&eye);
  return status;
}

static ntk_status infer_nonzero(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  double *list = NULL;
  int64_t index[NTK_MAX_DIMS], found = 0, i = 0;
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_value *x = ntk_operand(graph, node, 0);
  NTK_REQUIRE(x->constant && x->role == NTK_CONSTANT, NTK_ERR_UNSUPPORTED,
              "the operand is not known before the network runs");
  const int64_t size = ntk_shape_size(&x->shape);
  const int axes = x->shape.ndim > 0 ? x->shape.ndim : 1; /* a scalar counts as a list */
  const ntk_shape shape = x->shape.ndim > 0 ? x->shape : (ntk_shape){1, {1}};
  for (int64_t e = 0; e < size; e++)
    found += ntk_tensor_real(x->constant, e) != 0;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, axes * found, sizeof *list, &list));
  for (int64_t e = 0; e < size; e++) {
    if (ntk_tensor_real(x->constant, e) == 0)
      continue;
    ntk_shape_index(&shape, e, index);
    for (int d = 0; d < axes; d++)
      list[d * found + i] = (double)index[d];
    i++;
  }
  const ntk_shape y = {2, {axes, found}};
  NTK_TRY(set_constant(graph, node, NTK_I64, &y, list));
done:
  ntk_free(&list);
  return status;
}

#define KNOWN_ROW(row, onnx, since, least, most)                                           \
  const ntk_op ntk_op_##row = {.name = onnx,                                               \
                               .first = since,                                             \
                               .last = 22,                                                 \
                               .min_in = least,                                            \
                               .max_in = most,                                             \
                               .max_out = 1,                                               \
                               .flags = NTK_OP_DISCRETE,                                   \
                               .infer = infer_##row};
KNOWN_ROW(shape, "Shape", 1, 1, 1)
KNOWN_ROW(constant, "Constant", 1, 0, 0)
KNOWN_ROW(constantofshape, "ConstantOfShape", 9, 1, 1)
KNOWN_ROW(range, "Range", 11, 3, 3)
KNOWN_ROW(size, "Size", 1, 1, 1)
KNOWN_ROW(eyelike, "EyeLike", 9, 1, 1)
KNOWN_ROW(nonzero, "NonZero", 9, 1, 1)

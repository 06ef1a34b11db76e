/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"

static double linear_flops(const ntk_graph *graph, const ntk_node *node) {
  const ntk_linear *l = node->detail;
  (void)graph;
  return 2.0 * (double)l->y_size * (double)l->k;
}

/* Description of the factor pair with w = operand 1 (B) or operand 0 (A) of a product over
 * batch axes: axes where w has elements are the groups, the others are positions. At most
 * one of each kind is described. */
static bool linear_use(const ntk_linear *l, int operand, ntk_use *use) {
  const bool to_b = operand == 1;
  const int64_t *w = to_b ? l->b : l->a, *x = to_b ? l->a : l->b;
  const int64_t a_row = l->transpose_a ? 1 : l->k, a_inner = l->transpose_a ? l->m : 1;
  const int64_t b_inner = l->transpose_b ? 1 : l->n, b_column = l->transpose_b ? l->k : 1;
  *use = (ntk_use){.G = 1, .T1 = 1, .T2 = to_b ? l->m : l->n, .K = l->k};
  use->x_operand = 1 - operand;
  use->scale = l->alpha;
  use->C = to_b ? l->n : l->m;
  use->dt2 = to_b ? l->n : 1;
  use->dc = to_b ? 1 : l->n;
  use->xt2 = to_b ? a_row : b_column;
  use->xk = to_b ? a_inner : b_inner;
  use->wk = to_b ? b_inner : a_inner;
  use->wc = to_b ? b_column : a_row;
  for (int i = 0; i < l->axes; i++) {
    if ((w[i] != 0 ? use->G : use->T1) != 1)
      return false;
    if (w[i] != 0) {
      use->G = l->extent[i];
      use->dg = l->y[i];
      use->xg = x[i];
      use->wg = w[i];
    } else {
      use->T1 = l->extent[i];
      use->dt1 = l->y[i];
      use->xt1 = x[i];
    }
  }
  return true;
}

/* ---- Gemm ---- */

static ntk_status gemm_bias(const ntk_graph *graph, const ntk_node *node, ntk_linear *l) {
  ntk_status status = NTK_SUCCESS;
  char text[NTK_SHAPE_TEXT];
  if (node->input_count < 3 || node->inputs[2] < 0)
    return NTK_SUCCESS;
  const ntk_shape *c = ntk_dense_shape(graph, node, 2);
  const int64_t columns = c->ndim > 0 ? c->dim[c->ndim - 1] : 1;
  const int64_t rows = c->ndim > 1 ? c->dim[c->ndim - 2] : 1;
  NTK_REQUIRE(c->ndim <= 2 && (columns == 1 || columns == l->n) &&
                  (rows == 1 || rows == l->m),
              NTK_ERR_SHAPE, "operand C %s does not broadcast to [%lld, %lld]",
              ntk_shape_text(c, text), (long long)l->m, (long long)l->n);
  l->c_size = rows * columns;
  l->c_column = columns > 1;
  l->c_row = rows > 1 ? columns : 0;
done:
  return status;
}

static ntk_status gemm_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_linear *l;
  char text_a[NTK_SHAPE_TEXT], text_b[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_dense_begin(graph, node, 2, sizeof *l, &l));
  const ntk_shape *a = ntk_dense_shape(graph, node, 0);
  const ntk_shape *b = ntk_dense_shape(graph, node, 1);
  l->transpose_a = ntk_node_int(node, "transA", 0) != 0;
  l->transpose_b = ntk_node_int(node, "transB", 0) != 0;
  NTK_REQUIRE(a->ndim == 2 && b->ndim == 2 &&
                  a->dim[!l->transpose_a] == b->dim[l->transpose_b],
              NTK_ERR_SHAPE, "operands A %s%s and B %s%s cannot be multiplied",
              ntk_shape_text(a, text_a), l->transpose_a ? " (transposed)" : "",
              ntk_shape_text(b, text_b), l->transpose_b ? " (transposed)" : "");
  l->m = a->dim[l->transpose_a];
  l->k = a->dim[!l->transpose_a];
  l->n = b->dim[!l->transpose_b];
  l->alpha = ntk_node_float(node, "alpha", 1);
  l->beta = ntk_node_float(node, "beta", 1);
  l->a_size = l->m * l->k;
  l->b_size = l->k * l->n;
  l->y_size = l->m * l->n;
  NTK_TRY(gemm_bias(graph, node, l));
  ntk_dense_output(graph, node, &(ntk_shape){2, {l->m, l->n}});
done:
  return status;
}

static bool gemm_keeps_batch(const ntk_graph *graph, const ntk_node *node, const int *axis,
                             int output_axis) {
  const ntk_linear *l = node->detail;
  const int a = axis[0], b = axis[1];
  const int c = node->input_count > 2 ? axis[2] : NTK_BATCH_NONE;
  if (a != NTK_BATCH_NONE &&
      (b != NTK_BATCH_NONE || a != l->transpose_a || output_axis != 0))
    return false; /* contracted, or rows that meet columns of other samples */
  if (b != NTK_BATCH_NONE && (b != !l->transpose_b || output_axis != 1))
    return false;
  return c == NTK_BATCH_NONE ||
         c + 2 - ntk_dense_shape(graph, node, 2)->ndim == output_axis;
}

static bool gemm_passes(const ntk_graph *graph, const ntk_node *node, int operand,
                        double *s) {
  const ntk_linear *l = node->detail;
  (void)graph;
  *s = l->beta;
  return operand == 2 && l->c_size == l->y_size;
}

static bool gemm_use(const ntk_graph *graph, const ntk_node *node, int operand,
                     ntk_use *use) {
  const ntk_linear *l = node->detail;
  (void)graph;
  if (operand < 2)
    return linear_use(l, operand, use);
  const bool columns = l->c_column != 0 || l->n == 1;
  if (!columns) /* one number for a whole row: the row would have to be summed first */
    return false;
  const bool rows = l->c_row != 0; /* each row has its own: all are channels */
  *use = (ntk_use){.G = 1, .T1 = 1, .T2 = rows ? 1 : l->m, .K = 1, .x_operand = -1};
  use->C = l->c_size;
  use->scale = l->beta;
  use->dt2 = l->n;
  use->dc = 1;
  use->wc = 1;
  return true;
}

const ntk_op ntk_op_gemm = {
    .name = "Gemm",
    .first = 1,
    .last = 22,
    .min_in = 2,
    .max_in = 3,
    .max_out = 1,
    .flags = NTK_OP_MULTILINEAR | NTK_OP_SUMS,
    .infer = gemm_infer,
    .keeps_batch = gemm_keeps_batch,
    .passes = gemm_passes,
    .use = gemm_use,
    .flops = linear_flops,
    .parameter_slot = 1u << 1 | 1u << 2,
    .kernels = {&ntk_linear_kernels_f32, &ntk_linear_kernels_f64},
};

/* ---- MatMul ---- */

/* Appends a batch axis, or widens the one outside of it where all strides agree. */
static void add_axis(ntk_linear *l, int64_t extent, int64_t a, int64_t b, int64_t y) {
  const int last = l->axes - 1;
  if (extent == 1)
    return;
  if (last >= 0 && l->a[last] == a * extent && l->b[last] == b * extent) {
    l->extent[last] *= extent; /* y is dense: it always agrees */
    l->a[last] = a;
    l->b[last] = b;
    l->y[last] = y;
    return;
  }
  l->extent[l->axes] = extent;
  l->a[l->axes] = a;
  l->b[l->axes] = b;
  l->y[l->axes++] = y;
}

/* Stride of an operand along axis i of the output's batch axes, counted from the right
 * (0: the innermost); 0 where the operand is broadcast. */
static int64_t batch_stride(const ntk_shape *s, int i) {
  int64_t stride[NTK_MAX_DIMS];
  const int axis = s->ndim - 3 - i;
  if (axis < 0 || s->dim[axis] == 1)
    return 0;
  ntk_shape_strides(s, stride);
  return stride[axis];
}

/* Batch axes of the product, and the innermost ones that only A has moved into m. */
static void matmul_axes(ntk_linear *l, const ntk_shape *a, const ntk_shape *b,
                        const ntk_shape *batch) {
  int64_t y = l->y_size;
  for (int i = 0; i < batch->ndim; i++) {
    const int right = batch->ndim - 1 - i;
    y /= batch->dim[i];
    add_axis(l, batch->dim[i], batch_stride(a, right), batch_stride(b, right), y);
  }
  for (int last = l->axes - 1; last >= 0 && l->b[last] == 0 && l->a[last] == l->m * l->k;
       last--) {
    l->m *= l->extent[last];
    l->axes = last;
  }
}

/* As NumPy: a missing axis of A stands in front, one of B behind. */
static ntk_shape at_least_matrix(const ntk_shape *s, bool front) {
  if (s->ndim != 1)
    return *s;
  return front ? (ntk_shape){2, {1, s->dim[0]}} : (ntk_shape){2, {s->dim[0], 1}};
}

static ntk_status matmul_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_linear *l;
  char text_a[NTK_SHAPE_TEXT], text_b[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_dense_begin(graph, node, 2, sizeof *l, &l));
  const ntk_shape *in_a = ntk_dense_shape(graph, node, 0);
  const ntk_shape *in_b = ntk_dense_shape(graph, node, 1);
  const ntk_shape a = at_least_matrix(in_a, true), b = at_least_matrix(in_b, false);
  NTK_REQUIRE(a.ndim >= 2 && b.ndim >= 2 && a.dim[a.ndim - 1] == b.dim[b.ndim - 2],
              NTK_ERR_SHAPE, "operands %s and %s cannot be multiplied",
              ntk_shape_text(in_a, text_a), ntk_shape_text(in_b, text_b));
  ntk_shape batch_a = a, batch_b = b, batch, y;
  batch_a.ndim -= 2;
  batch_b.ndim -= 2;
  NTK_TRY(ntk_shape_broadcast(&batch_a, &batch_b, &batch));
  y = batch;
  l->m = a.dim[a.ndim - 2];
  l->k = a.dim[a.ndim - 1];
  l->n = b.dim[b.ndim - 1];
  if (in_a->ndim > 1)
    y.dim[y.ndim++] = l->m;
  if (in_b->ndim > 1)
    y.dim[y.ndim++] = l->n;
  l->alpha = 1;
  l->a_size = ntk_shape_size(&a);
  l->b_size = ntk_shape_size(&b);
  l->y_size = ntk_shape_size(&y);
  NTK_REQUIRE(l->y_size > 0 && l->k > 0, NTK_ERR_UNSUPPORTED,
              "the product of %s and %s is empty", ntk_shape_text(in_a, text_a),
              ntk_shape_text(in_b, text_b));
  matmul_axes(l, &a, &b, &batch);
  ntk_dense_output(graph, node, &y);
done:
  return status;
}

/* Where an axis of an operand stands in the output, counted from the right; -1 where it is
 * contracted. `other` is the other operand: if it is a vector, an axis is missing. */
static int matmul_output_axis(const ntk_shape *s, const ntk_shape *other, int operand,
                              int axis) {
  const int right = s->ndim - 1 - axis;
  if (s->ndim == 1 || right == operand) /* the last axis of A, the last but one of B */
    return -1;
  return right > operand && other->ndim == 1 ? right - 1 : right;
}

static bool matmul_keeps_batch(const ntk_graph *graph, const ntk_node *node,
                               const int *axis, int output_axis) {
  const int outputs = graph->values[node->outputs[0]].shape.ndim;
  const int target = outputs - 1 - output_axis;
  for (int i = 0; i < 2; i++) {
    const ntk_shape *s = ntk_dense_shape(graph, node, i);
    const ntk_shape *other = ntk_dense_shape(graph, node, 1 - i);
    if (axis[i] == NTK_BATCH_NONE)
      continue;
    if (matmul_output_axis(s, other, i, axis[i]) != target)
      return false;
    /* rows or columns of one operand meet all of the other */
    if (s->ndim - 1 - axis[i] < 2 && axis[1 - i] != NTK_BATCH_NONE)
      return false;
  }
  return true;
}

static bool matmul_use(const ntk_graph *graph, const ntk_node *node, int operand,
                       ntk_use *use) {
  (void)graph;
  return linear_use(node->detail, operand, use);
}

const ntk_op ntk_op_matmul = {
    .name = "MatMul",
    .first = 1,
    .last = 22,
    .min_in = 2,
    .max_in = 2,
    .max_out = 1,
    .flags = NTK_OP_MULTILINEAR | NTK_OP_SUMS,
    .infer = matmul_infer,
    .keeps_batch = matmul_keeps_batch,
    .use = matmul_use,
    .flops = linear_flops,
    .parameter_slot = 1u << 0 | 1u << 1,
    .kernels = {&ntk_linear_kernels_f32, &ntk_linear_kernels_f64},
};

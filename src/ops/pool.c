/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"

static void finish(ntk_graph *graph, ntk_node *node, ntk_pool *p) {
  const ntk_shape *x = ntk_dense_shape(graph, node, 0);
  ntk_shape y = *x;
  p->planes = x->dim[0] * x->dim[1];
  p->plane = ntk_window_plane(&p->window);
  p->pixels = ntk_window_pixels(&p->window);
  for (int i = 2; i < x->ndim; i++)
    y.dim[i] = p->window.output[i - 2 + 5 - x->ndim];
  ntk_dense_output(graph, node, &y);
}

static ntk_status read_power(const ntk_node *node, ntk_pool *p) {
  p->p = (double)ntk_node_int(node, "p", 2);
  if (p->p < 1)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "the norm's p is %g; it must be at least 1", p->p);
  return NTK_SUCCESS;
}

static ntk_status pool_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_pool *p;
  char text[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_dense_begin(graph, node, 1, sizeof *p, &p));
  const ntk_shape *x = ntk_dense_shape(graph, node, 0);
  const ntk_attribute *kernel = ntk_node_attribute(node, "kernel_shape");
  NTK_REQUIRE(x->ndim >= 3 && kernel && kernel->kind == NTK_ATTRIBUTE_INTS &&
                  kernel->count == x->ndim - 2,
              NTK_ERR_SHAPE, "data %s needs a kernel_shape with as many spatial axes",
              ntk_shape_text(x, text));
  /* storage_order steers Indices alone */
  NTK_REQUIRE(node->output_count < 2 || node->outputs[1] < 0, NTK_ERR_UNSUPPORTED,
              "the output Indices is used; only the pooled values are supported");
  NTK_TRY(ntk_window_infer(node, x, kernel->ints, true, &p->window));
  p->count_pad = ntk_node_int(node, "count_include_pad", 0) != 0;
  NTK_TRY(read_power(node, p));
  finish(graph, node, p);
done:
  return status;
}

/* One window over the whole plane, whatever its number of axes. */
static ntk_status global_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_pool *p;
  char text[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_dense_begin(graph, node, 1, sizeof *p, &p));
  const ntk_shape *x = ntk_dense_shape(graph, node, 0);
  NTK_REQUIRE(x->ndim >= 3 && ntk_shape_size(x) > 0, NTK_ERR_SHAPE,
              "data %s has nothing to pool over", ntk_shape_text(x, text));
  ntk_shape y = *x;
  for (int i = 2; i < x->ndim; i++)
    y.dim[i] = 1;
  NTK_TRY(read_power(node, p));
  p->planes = x->dim[0] * x->dim[1];
  p->plane = ntk_shape_size(x) / p->planes;
  p->pixels = 1;
  p->window = (ntk_window){
      {1, 1, p->plane}, {1, 1, p->plane}, {1, 1, 1}, {1, 1, 1}, {0}, {0}, {1, 1, 1}};
  ntk_dense_output(graph, node, &y);
done:
  return status;
}

/* Planes are pooled one by one: images and channels stay apart. */
static bool pool_keeps_batch(const ntk_graph *graph, const ntk_node *node, const int *axis,
                             int output_axis) {
  (void)graph;
  return ntk_dense_keeps_leading(node, axis, output_axis, 2);
}

static double pool_flops(const ntk_graph *graph, const ntk_node *node) {
  const ntk_pool *p = node->detail;
  (void)graph;
  return (double)p->planes * (double)p->pixels * (double)ntk_window_taps(&p->window);
}

#define POOL_ROW(row, onnx, since, more, infers, kernel)                                   \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = since,                                                                      \
      .last = 22,                                                                          \
      .min_in = 1,                                                                         \
      .max_in = 1,                                                                         \
      .max_out = 1,                                                                        \
      .flags = more,                                                                       \
      .infer = infers,                                                                     \
      .keeps_batch = pool_keeps_batch,                                                     \
      .flops = pool_flops,                                                                 \
      .kernels = {&ntk_##kernel##_kernels_f32, &ntk_##kernel##_kernels_f64}};
POOL_ROW(maxpool, "MaxPool", 1, 0, pool_infer, maxpool)
POOL_ROW(averagepool, "AveragePool", 1, NTK_OP_ADDITIVE, pool_infer, averagepool)
POOL_ROW(lppool, "LpPool", 2, 0, pool_infer, lppool)
POOL_ROW(globalmaxpool, "GlobalMaxPool", 1, 0, global_infer, maxpool)
POOL_ROW(globalaveragepool, "GlobalAveragePool", 1, NTK_OP_ADDITIVE, global_infer,
         averagepool)
POOL_ROW(globallppool, "GlobalLpPool", 2, 0, global_infer, lppool)

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"

static ntk_status lrn_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_lrn *l;
  char text[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_dense_begin(graph, node, 1, sizeof *l, &l));
  const ntk_shape *x = ntk_dense_shape(graph, node, 0);
  const int64_t size = ntk_node_int(node, "size", 0);
  NTK_REQUIRE(x->ndim >= 2 && ntk_shape_size(x) > 0, NTK_ERR_SHAPE, "data %s",
              ntk_shape_text(x, text));
  NTK_REQUIRE(size >= 1, NTK_ERR_SHAPE, "attribute size is %lld", (long long)size);
  l->images = x->dim[0];
  l->channels = x->dim[1];
  l->plane = ntk_shape_size(x) / (l->images * l->channels);
  l->before = (size - 1) / 2;
  l->behind = size - 1 - l->before;
  l->alpha = ntk_node_float(node, "alpha", 1e-4) / (double)size;
  l->beta = ntk_node_float(node, "beta", 0.75);
  l->bias = ntk_node_float(node, "bias", 1);
  NTK_REQUIRE(l->bias > 0 && l->alpha >= 0, NTK_ERR_UNSUPPORTED,
              "bias %g and alpha %g: sums must be positive", l->bias, l->alpha);
  ntk_dense_output(graph, node, x);
done:
  return status;
}

static bool lrn_keeps_batch(const ntk_graph *graph, const ntk_node *node, const int *axis,
                            int output_axis) {
  (void)graph;
  return axis[0] == output_axis && output_axis != 1 && node->input_count == 1;
}

static double lrn_flops(const ntk_graph *graph, const ntk_node *node) {
  const ntk_lrn *l = node->detail;
  return (double)ntk_graph_size(graph, node->inputs[0]) *
         (double)(2 * (l->before + l->behind + 1) + 20);
}

const ntk_op ntk_op_lrn = {
    .name = "LRN",
    .first = 1,
    .last = 22,
    .min_in = 1,
    .max_in = 1,
    .max_out = 1,
    .infer = lrn_infer,
    .keeps_batch = lrn_keeps_batch,
    .flops = lrn_flops,
    .kernels = {&ntk_lrn_kernels_f32, &ntk_lrn_kernels_f64},
};

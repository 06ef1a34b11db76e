/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"

static ntk_status batchnorm_mode(const ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(ntk_node_int(node, "training_mode", 0) == 0, NTK_ERR_UNSUPPORTED,
              "training_mode is 1, which mixes samples; export in evaluation mode");
  NTK_REQUIRE(node->opset >= 9 || ntk_node_int(node, "spatial", 1) != 0,
              NTK_ERR_UNSUPPORTED,
              "spatial is 0; only statistics per channel are supported");
done:
  return status;
}

static ntk_status batchnorm_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_batchnorm *b;
  char text[NTK_SHAPE_TEXT], text_x[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_dense_begin(graph, node, 5, sizeof *b, &b));
  NTK_TRY(batchnorm_mode(node));
  const ntk_shape *x = ntk_dense_shape(graph, node, 0);
  NTK_REQUIRE(x->ndim >= 2 && ntk_shape_size(x) > 0, NTK_ERR_SHAPE,
              "data %s has no channels", ntk_shape_text(x, text_x));
  for (int i = 1; i < 5; i++) {
    const ntk_shape *s = ntk_dense_shape(graph, node, i);
    NTK_REQUIRE(s->ndim == 1 && s->dim[0] == x->dim[1], NTK_ERR_SHAPE,
                "operand %d %s for data %s", i, ntk_shape_text(s, text),
                ntk_shape_text(x, text_x));
  }
  b->images = x->dim[0];
  b->channels = x->dim[1];
  b->plane = ntk_shape_size(x) / (b->images * b->channels);
  b->epsilon = ntk_node_float(node, "epsilon", 1e-5);
  ntk_dense_output(graph, node, x);
done:
  return status;
}

/* Elementwise but for the channel axis. */
static bool batchnorm_keeps_batch(const ntk_graph *graph, const ntk_node *node,
                                  const int *axis, int output_axis) {
  (void)graph;
  return output_axis != 1 && ntk_dense_keeps_leading(node, axis, output_axis, NTK_MAX_DIMS);
}

static bool batchnorm_use(const ntk_graph *graph, const ntk_node *node, int operand,
                          ntk_use *use) {
  const ntk_batchnorm *b = node->detail;
  (void)graph;
  if (operand != 2) /* a scale has no pair of factors: its Jacobian is direct */
    return false;
  *use = (ntk_use){.G = 1, .T1 = b->images, .T2 = b->plane, .K = 1, .C = b->channels};
  use->x_operand = -1;
  use->scale = 1;
  use->dt1 = b->channels * b->plane;
  use->dt2 = 1;
  use->dc = b->plane;
  use->wc = 1;
  return true;
}

static double batchnorm_flops(const ntk_graph *graph, const ntk_node *node) {
  const ntk_batchnorm *b = node->detail;
  (void)graph;
  return 2.0 * (double)b->images * (double)b->channels * (double)b->plane;
}

const ntk_op ntk_op_batchnormalization = {
    .name = "BatchNormalization",
    .first = 7, /* before, the training mode was the default */
    .last = 22,
    .min_in = 5,
    .max_in = 5,
    .max_out = 1,
    .flags = NTK_OP_MULTILINEAR,
    .infer = batchnorm_infer,
    .keeps_batch = batchnorm_keeps_batch,
    .use = batchnorm_use,
    .flops = batchnorm_flops,
    .not_parameter = 1u << 3 | 1u << 4,
    .parameter_slot = 1u << 1 | 1u << 2,
    .kernels = {&ntk_batchnorm_kernels_f32, &ntk_batchnorm_kernels_f64},
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"

#include <string.h>

static ntk_status grid_taps(const ntk_node *node, int axes, int *taps) {
  const char *mode = ntk_node_string(node, "mode", "linear");
  if (strcmp(mode, "nearest") == 0)
    *taps = 1;
  else if (strcmp(mode, "linear") == 0 || strcmp(mode, "bilinear") == 0)
    *taps = 2;
  else if ((strcmp(mode, "cubic") == 0 || strcmp(mode, "bicubic") == 0) && axes == 2)
    *taps = 4;
  else
    return ntk_fail(NTK_ERR_UNSUPPORTED, "mode '%s' of %d axes is not supported", mode,
                    axes);
  return NTK_SUCCESS;
}

static ntk_status grid_padding(const ntk_node *node, ntk_grid_padding *padding) {
  static const char *const names[] = {"zeros", "border", "reflection"};
  const char *word = ntk_node_string(node, "padding_mode", "zeros");
  for (int i = 0; i < 3; i++)
    if (strcmp(word, names[i]) == 0) {
      *padding = (ntk_grid_padding)i;
      return NTK_SUCCESS;
    }
  return ntk_fail(NTK_ERR_UNSUPPORTED, "padding_mode '%s' is not supported", word);
}

/* x [N, C, ...], grid [N, points ..., axes]. */
static ntk_status check_shapes(const ntk_shape *x, const ntk_shape *grid) {
  char first[NTK_SHAPE_TEXT], second[NTK_SHAPE_TEXT];
  if (x->ndim < 3 || x->ndim > 5 || grid->ndim != x->ndim || grid->dim[0] != x->dim[0] ||
      grid->dim[grid->ndim - 1] != x->ndim - 2 || ntk_shape_size(x) == 0)
    return ntk_fail(NTK_ERR_SHAPE, "data %s and grid %s", ntk_shape_text(x, first),
                    ntk_shape_text(grid, second));
  return NTK_SUCCESS;
}

static ntk_status grid_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  ntk_grid *g;
  NTK_TRY(ntk_dense_begin(graph, node, 2, sizeof *g, &g));
  const ntk_shape *x = ntk_dense_shape(graph, node, 0);
  const ntk_shape *grid = ntk_dense_shape(graph, node, 1);
  ntk_shape y = {.ndim = x->ndim};
  NTK_TRY(check_shapes(x, grid));
  g->axes = x->ndim - 2;
  NTK_TRY(grid_taps(node, g->axes, &g->taps));
  NTK_TRY(grid_padding(node, &g->padding));
  g->align_corners = ntk_node_int(node, "align_corners", 0) != 0;
  g->images = y.dim[0] = x->dim[0];
  g->channels = y.dim[1] = x->dim[1];
  g->plane = g->points = 1;
  for (int a = 0; a < g->axes; a++) {
    g->plane *= g->size[a] = x->dim[2 + a];
    g->points *= y.dim[2 + a] = grid->dim[1 + a];
  }
  ntk_dense_output(graph, node, &y);
done:
  return status;
}

static bool grid_keeps_batch(const ntk_graph *graph, const ntk_node *node,
                             const int *operand_axis, int output_axis) {
  (void)graph;
  (void)node;
  return output_axis == 0 && operand_axis[0] == 0 && operand_axis[1] == 0;
}

static double grid_flops(const ntk_graph *graph, const ntk_node *node) {
  const ntk_grid *g = node->detail;
  double corners = 1;
  (void)graph;
  for (int a = 0; a < g->axes; a++)
    corners *= g->taps;
  return (double)(g->images * g->points) * corners * (2 * (double)g->channels + 4);
}

const ntk_op ntk_op_gridsample = {
    .name = "GridSample",
    .first = 16,
    .last = 22,
    .min_in = 2,
    .max_in = 2,
    .max_out = 1,
    .infer = grid_infer,
    .keeps_batch = grid_keeps_batch,
    .flops = grid_flops,
    .kernels = {&ntk_grid_kernels_f32, &ntk_grid_kernels_f64},
};

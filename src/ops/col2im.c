/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "ops/dense.h"
#include "ops/light.h"

/* Col2Im: patches [N, (channel, tap), place] added where they were taken from. */

/* Pixel that a tap of a window at place t has; -1: in the padding. */
static int64_t pixel_of(const ntk_window *w, int64_t tap, int64_t t) {
  int64_t pixel = 0, step = 1;
  for (int a = 2; a >= 0; a--) {
    const int64_t at = t % w->output[a] * w->stride[a] - w->pad_begin[a] +
                       tap % w->kernel[a] * w->dilation[a];
    if (at < 0 || at >= w->input[a])
      return -1;
    pixel += at * step;
    step *= w->input[a];
    t /= w->output[a];
    tap /= w->kernel[a];
  }
  return pixel;
}

/* Each column (tap, place) is added to a pixel, or to none: counted first, then listed. */
static ntk_status make_map(ntk_node *node, const ntk_window *w, int64_t planes) {
  ntk_status status = NTK_SUCCESS;
  const int64_t places = ntk_window_pixels(w), taps = ntk_window_taps(w);
  ntk_sparse *m;
  NTK_REQUIRE(taps <= NTK_MOST_ENTRIES / places, NTK_ERR_UNSUPPORTED,
              "%lld places of %lld taps", (long long)places, (long long)taps);
  const ntk_sparse sizes = {
      .outer = planes, .rows = ntk_window_plane(w), .columns = taps * places, .inner = 1};
  NTK_TRY(ntk_sparse_create(node, sizes, taps * places, &m));
  for (int pass = 0; pass < 2; pass++) {
    for (int64_t c = 0; c < m->columns; c++) {
      const int64_t pixel = pixel_of(w, c / places, c % places);
      if (pixel < 0)
        continue;
      if (pass == 1) {
        m->column[m->start[pixel]] = c;
        m->weight[m->start[pixel]] = 1;
      }
      m->start[pixel]++;
    }
    for (int64_t r = 0, at = 0; r <= m->rows; r++) { /* counts, or ends, become starts */
      const int64_t count = m->start[r];
      m->start[r] = at;
      at = pass == 0 ? at + count : count;
    }
  }
done:
  return status;
}

/* Sizes of the image and of the patches, each a list of as many axes. */
static ntk_status read_sizes(const ntk_graph *graph, const ntk_node *node, int64_t **image,
                             int64_t **block, int64_t *axes) {
  ntk_status status = NTK_SUCCESS;
  int64_t count;
  NTK_TRY(ntk_constant_ints(graph, node, 1, "the image's shape", image, axes));
  NTK_TRY(ntk_constant_ints(graph, node, 2, "the block's shape", block, &count));
  NTK_REQUIRE(count == *axes && count >= 1 && count <= 3, NTK_ERR_SHAPE,
              "an image of %lld and a block of %lld axes", (long long)*axes,
              (long long)count);
done:
  return status;
}

static ntk_status col2im_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *image = NULL, *block = NULL, axes;
  ntk_window window;
  char text[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_require_operands(graph, node, 3));
  const ntk_value *x = ntk_operand(graph, node, 0);
  const ntk_shape s = x->shape;
  NTK_REQUIRE(ntk_dtype_is_real(x->dtype), NTK_ERR_UNSUPPORTED, "the data are %s",
              ntk_dtype_name(x->dtype));
  NTK_TRY(read_sizes(graph, node, &image, &block, &axes));
  ntk_shape y = {.ndim = (int)axes + 2, .dim = {s.dim[0], 1}};
  for (int64_t a = 0; a < axes; a++)
    y.dim[2 + a] = image[a];
  NTK_TRY(ntk_window_infer(node, &y, block, false, &window));
  const int64_t taps = ntk_window_taps(&window);
  NTK_REQUIRE(s.ndim == 3 && s.dim[0] > 0 && s.dim[1] > 0 && s.dim[1] % taps == 0 &&
                  s.dim[2] == ntk_window_pixels(&window),
              NTK_ERR_SHAPE, "data %s, where [N, C * %lld, %lld] are needed",
              ntk_shape_text(&s, text), (long long)taps,
              (long long)ntk_window_pixels(&window));
  y.dim[1] = s.dim[1] / taps;
  NTK_TRY(ntk_check_size(&y));
  NTK_TRY(make_map(node, &window, y.dim[0] * y.dim[1]));
  ntk_set_output(graph, node, ntk_operand(graph, node, 0)->dtype, &y);
done:
  ntk_free(&image);
  ntk_free(&block);
  return status;
}

static bool col2im_keeps_batch(const ntk_graph *graph, const ntk_node *node,
                               const int *operand_axis, int output_axis) {
  (void)graph;
  return ntk_dense_keeps_leading(node, operand_axis, output_axis, 1);
}

static double col2im_flops(const ntk_graph *graph, const ntk_node *node) {
  return (double)ntk_graph_size(graph, node->inputs[0]);
}

const ntk_op ntk_op_col2im = {
    .name = "Col2Im",
    .first = 18,
    .last = 22,
    .min_in = 3,
    .max_in = 3,
    .max_out = 1,
    .flags = NTK_OP_ADDITIVE,
    .infer = col2im_infer,
    .keeps_batch = col2im_keeps_batch,
    .flops = col2im_flops,
    .not_parameter = 6,
    .kernels = {&ntk_sparse_kernels_f32, &ntk_sparse_kernels_f64}};

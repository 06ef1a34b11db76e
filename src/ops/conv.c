/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv_pass.h"

#include <omp.h>

/* Elements of a block of patches, about what a core's second-level cache holds, and its
 * greatest number of rows. */
enum { CHUNK_ELEMENTS = 1 << 19, CHUNK_ROWS = 1024, CHUNK_LEAST = 64 };

void ntk_conv_chunk(const ntk_conv *conv, int64_t *images, int64_t *pixels) {
  int64_t rows = CHUNK_ELEMENTS / conv->K;
  rows = rows > CHUNK_ROWS ? CHUNK_ROWS : rows < CHUNK_LEAST ? CHUNK_LEAST : rows;
  *pixels = conv->pixels < rows ? conv->pixels : rows;
  *images = conv->pixels < rows ? rows / conv->pixels : 1;
}

int64_t ntk_conv_scratch(const ntk_conv *conv) {
  int64_t images, pixels;
  ntk_conv_chunk(conv, &images, &pixels);
  return images * pixels * (conv->K + conv->filters); /* patches, and what they meet */
}

static ntk_status kernel_shape(const ntk_node *node, const ntk_shape *w) {
  const ntk_attribute *kernel = ntk_node_attribute(node, "kernel_shape");
  bool same =
      !kernel || (kernel->kind == NTK_ATTRIBUTE_INTS && kernel->count == w->ndim - 2);
  for (int i = 2; same && kernel && i < w->ndim; i++)
    same = kernel->ints[i - 2] == w->dim[i];
  char text[NTK_SHAPE_TEXT];
  return same ? NTK_SUCCESS
              : ntk_fail(NTK_ERR_SHAPE, "kernel_shape differs from that of the weight, %s",
                         ntk_shape_text(w, text));
}

static ntk_status check_bias(const ntk_graph *graph, const ntk_node *node,
                             int64_t channels) {
  ntk_status status = NTK_SUCCESS;
  if (node->input_count < 3 || node->inputs[2] < 0)
    return NTK_SUCCESS;
  const ntk_shape *b = ntk_dense_shape(graph, node, 2);
  char text[NTK_SHAPE_TEXT];
  NTK_REQUIRE(b->ndim == 1 && b->dim[0] == channels, NTK_ERR_SHAPE,
              "bias %s for %lld channels", ntk_shape_text(b, text), (long long)channels);
done:
  return status;
}

/* What groups share out: the weight is [filters of all groups, channels of one, kernel],
 * where ConvTranspose's filters are the channels that it reads. */
static ntk_status check_groups(const ntk_conv *c, const ntk_shape *x, const ntk_shape *w) {
  ntk_status status = NTK_SUCCESS;
  char text_x[NTK_SHAPE_TEXT], text_w[NTK_SHAPE_TEXT];
  NTK_REQUIRE(x->ndim >= 3 && x->ndim <= 5 && w->ndim == x->ndim, NTK_ERR_UNSUPPORTED,
              "data %s with weight %s; 1 to 3 spatial axes are supported",
              ntk_shape_text(x, text_x), ntk_shape_text(w, text_w));
  NTK_REQUIRE(c->groups >= 1 && w->dim[0] > 0 && w->dim[1] > 0 &&
                  w->dim[0] % c->groups == 0 && x->dim[0] > 0 &&
                  x->dim[1] == (c->transposed ? w->dim[0] : w->dim[1] * c->groups),
              NTK_ERR_SHAPE, "data %s and weight %s do not fit %lld groups",
              ntk_shape_text(x, text_x), ntk_shape_text(w, text_w), (long long)c->groups);
done:
  return status;
}

/* Counts that follow from window and weight. */
static void set_counts(ntk_conv *c, const ntk_shape *x, const ntk_shape *w) {
  c->images = x->dim[0];
  c->channels = w->dim[1];
  c->filters = w->dim[0] / c->groups;
  c->plane = ntk_window_plane(&c->window);
  c->pixels = ntk_window_pixels(&c->window);
  c->K = c->channels * ntk_window_taps(&c->window);
  /* one tap at the same place: stride 1 and no pad, unless pixels are lost */
  c->pointwise = c->K == c->channels && c->pixels == c->plane;
  for (int a = 0; a < 3; a++)
    c->pointwise = c->pointwise && c->window.stride[a] == 1 && c->window.pad_begin[a] == 0;
}

static ntk_status infer(ntk_graph *graph, ntk_node *node, bool transposed) {
  ntk_status status = NTK_SUCCESS;
  ntk_conv *c;
  NTK_TRY(ntk_dense_begin(graph, node, 2, sizeof *c, &c));
  const ntk_shape *x = ntk_dense_shape(graph, node, 0);
  const ntk_shape *w = ntk_dense_shape(graph, node, 1);
  c->transposed = transposed;
  c->groups = ntk_node_int(node, "group", 1);
  NTK_TRY(check_groups(c, x, w));
  const int64_t written = transposed ? w->dim[1] * c->groups : w->dim[0];
  NTK_TRY(kernel_shape(node, w));
  NTK_TRY(check_bias(graph, node, written));
  if (transposed)
    NTK_TRY(ntk_window_infer_transposed(node, x, w->dim + 2, &c->window));
  else
    NTK_TRY(ntk_window_infer(node, x, w->dim + 2, false, &c->window));
  set_counts(c, x, w);
  const int64_t *extent = transposed ? c->window.input : c->window.output;
  ntk_shape y = {x->ndim, {x->dim[0], written}};
  for (int i = 2; i < x->ndim; i++)
    y.dim[i] = extent[i - 2 + 5 - x->ndim];
  ntk_dense_output(graph, node, &y);
done:
  return status;
}

static ntk_status conv_infer(ntk_graph *graph, ntk_node *node) {
  return infer(graph, node, false);
}
static ntk_status convtranspose_infer(ntk_graph *graph, ntk_node *node) {
  return infer(graph, node, true);
}

static bool conv_keeps_batch(const ntk_graph *graph, const ntk_node *node, const int *axis,
                             int output_axis) {
  (void)graph;
  return ntk_dense_keeps_leading(node, axis, output_axis, 1);
}

/* FNV-1a over the numbers that the patches depend on. */
static uint64_t geometry_key(const ntk_conv *c) {
  const int64_t counts[] = {c->images, c->groups, c->channels};
  const int64_t *window = (const int64_t *)&c->window;
  uint64_t key = 0xcbf29ce484222325u;
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    key = (key ^ (uint64_t)counts[i]) * 0x100000001b3u;
  for (size_t i = 0; i < sizeof c->window / sizeof *window; i++)
    key = (key ^ (uint64_t)window[i]) * 0x100000001b3u;
  return key;
}

static bool conv_use(const ntk_graph *graph, const ntk_node *node, int operand,
                     ntk_use *use) {
  const ntk_conv *c = node->detail;
  const int64_t filters = c->groups * c->filters;
  (void)graph;
  if (operand == 0) /* a learned image */
    return false;
  *use = (ntk_use){.G = 1, .T1 = c->images, .T2 = c->pixels, .scale = 1};
  use->dt1 = filters * c->pixels;
  use->dt2 = 1;
  use->dc = c->pixels;
  if (operand == 2) {
    use->K = 1;
    use->C = filters;
    use->x_operand = -1;
    use->wc = 1;
    return true;
  }
  use->G = c->groups;
  use->K = c->K;
  use->C = c->filters;
  use->dg = c->filters * c->pixels;
  use->wg = c->filters * c->K;
  use->wk = 1;
  use->wc = c->K;
  use->xg = c->channels * c->plane;
  use->x_custom = !c->pointwise;
  if (use->x_custom) {
    use->x_key = geometry_key(c);
    use->window = c->images == 1 ? &c->window : NULL;
    use->channels = c->channels;
  } else {
    use->xt1 = c->groups * use->xg;
    use->xt2 = 1;
    use->xk = c->plane;
  }
  return true;
}

/* T are the pixels that it reads, D the patches of the cotangent. */
static bool convtranspose_use(const ntk_graph *graph, const ntk_node *node, int operand,
                              ntk_use *use) {
  const ntk_conv *c = node->detail;
  (void)graph;
  if (operand == 0)
    return false;
  *use = (ntk_use){.G = 1, .T1 = c->images, .T2 = c->plane, .scale = 1};
  if (operand == 2) {
    use->K = 1;
    use->C = c->groups * c->channels;
    use->x_operand = -1;
    use->dt1 = use->C * c->plane;
    use->dt2 = 1;
    use->dc = c->plane;
    use->wc = 1;
    return true;
  }
  use->T2 = c->pixels;
  use->G = c->groups;
  use->K = c->filters;
  use->C = c->K;
  use->xg = c->filters * c->pixels;
  use->xt1 = c->groups * use->xg;
  use->xt2 = 1;
  use->xk = c->pixels;
  use->wg = c->filters * c->K;
  use->wk = c->K;
  use->wc = 1;
  use->dg = c->channels * c->plane;
  use->dt1 = c->groups * use->dg;
  use->dt2 = c->pointwise;
  use->dc = c->pointwise ? c->plane : 0;
  use->d_window = c->pointwise ? NULL : &c->window;
  return true;
}

static int64_t conv_workspace(const ntk_graph *graph, const ntk_node *node, int64_t n,
                              int64_t o) {
  (void)graph;
  (void)n;
  (void)o;
  const int64_t weights = ntk_conv_scratch(node->detail) * omp_get_max_threads();
  const int64_t passes = ntk_conv_pass_scratch(node->detail);
  return weights > passes ? weights : passes;
}

static double conv_flops(const ntk_graph *graph, const ntk_node *node) {
  const ntk_conv *c = node->detail;
  (void)graph;
  return 2.0 * (double)(c->images * c->groups * c->filters) * (double)c->pixels *
         (double)c->K;
}

#define CONV_ROW(row, onnx, infer_, use_)                                                  \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = 1,                                                                          \
      .last = 22,                                                                          \
      .min_in = 2,                                                                         \
      .max_in = 3,                                                                         \
      .max_out = 1,                                                                        \
      .flags = NTK_OP_MULTILINEAR,                                                         \
      .infer = infer_,                                                                     \
      .keeps_batch = conv_keeps_batch,                                                     \
      .use = use_,                                                                         \
      .workspace = conv_workspace,                                                         \
      .flops = conv_flops,                                                                 \
      .parameter_slot = 1u << 1 | 1u << 2,                                                 \
      .kernels = {&ntk_conv_kernels_f32, &ntk_conv_kernels_f64},                           \
  }

CONV_ROW(conv, "Conv", conv_infer, conv_use);
CONV_ROW(convtranspose, "ConvTranspose", convtranspose_infer, convtranspose_use);

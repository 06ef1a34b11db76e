/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_OPS_DENSE_H
#define NTK_OPS_DENSE_H

#include "graph/op.h"
#include "tensor/window.h"

/* What the operators that do the heavy work share between their rules and their kernels:
 * the details that infer leaves in node->detail. */

/* Starts an infer: all operands must be there up to `required` and real; the node's detail
 * is replaced by `bytes` zeros, *detail. NTK_ERR_UNSUPPORTED, NTK_ERR_MEMORY. */
NTK_CHECKED ntk_status ntk_dense_begin(ntk_graph *graph, ntk_node *node, int required,
                                       size_t bytes, void *detail /* address of pointer */);
/* Shape of operand i. */
const ntk_shape *ntk_dense_shape(const ntk_graph *graph, const ntk_node *node, int operand);
/* Ends an infer: output 0 has this shape and the type of operand 0. */
void ntk_dense_output(ntk_graph *graph, ntk_node *node, const ntk_shape *shape);

/* Gemm and MatMul: Y[b] = alpha op(A[b]) op(B[b]) + beta C over batch axes b, with the
 * element strides a, b, y of each axis (0: broadcast). Leading axes of A that B lacks are
 * part of m already. */
typedef struct ntk_linear {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  double alpha, beta;
  int axes;
  int64_t extent[NTK_MAX_DIMS], a[NTK_MAX_DIMS], b[NTK_MAX_DIMS], y[NTK_MAX_DIMS];
  int64_t a_size, b_size, y_size;  /* elements of one sample */
  int64_t c_size, c_row, c_column; /* C [m, n] by strides, 0 where it is broadcast */
} ntk_linear;

/* Conv: images [groups, channels, plane] to [groups, filters, pixels], with weights
 * [groups, filters, K = channels * taps]. ConvTranspose is the adjoint: from [groups,
 * filters, pixels] to images. */
typedef struct ntk_conv {
  ntk_window window;
  bool transposed;
  int64_t images, groups, channels, filters; /* channels and filters of one group */
  int64_t plane, pixels, K;
  bool pointwise; /* one tap, stride 1, no pad: the image is its own patches */
} ntk_conv;
/* Patches of how many images, or of how many pixels of one image, are multiplied at once.
 */
void ntk_conv_chunk(const ntk_conv *conv, int64_t *images, int64_t *pixels);
/* Scratch elements of one thread. */
int64_t ntk_conv_scratch(const ntk_conv *conv);

/* Pooling of planes, one by one. */
typedef struct ntk_pool {
  ntk_window window;
  int64_t planes, plane, pixels; /* planes of a sample; elements of one, before and after */
  bool count_pad;                /* of averages */
  double p;                      /* of norms */
} ntk_pool;

/* LRN: x [images, channels, plane]; sums go over channels c - before .. c + behind. */
typedef struct ntk_lrn {
  int64_t images, channels, plane, before, behind;
  double alpha, beta, bias; /* alpha divided by the number of channels */
} ntk_lrn;

/* Resize, Col2Im: y[outer, row, inner] = sum over the row's entries of weight * x[outer,
 * column, inner]; rows without entries have the value `fill`. */
typedef struct ntk_sparse {
  int64_t outer, rows, columns, inner;
  double fill;
  int64_t *start; /* [rows + 1] entries of a row */
  int64_t *column;
  double *weight; /* [entries]; all behind the structure, in its memory */
} ntk_sparse;

enum { NTK_MOST_ENTRIES = 1 << 28 };
/* The node's detail: a map of these sizes and so many entries, which are zeros. */
NTK_CHECKED ntk_status ntk_sparse_create(ntk_node *node, ntk_sparse sizes, int64_t entries,
                                         ntk_sparse **map);

/* GridSample: y[image, channel, point] is x[image, channel] at the place that the grid
 * [image, point, axes] says, in halves of the image's edges, its last axis first. */
typedef enum ntk_grid_padding {
  NTK_GRID_ZEROS,
  NTK_GRID_BORDER,
  NTK_GRID_REFLECTION
} ntk_grid_padding;
typedef struct ntk_grid {
  int axes;
  int64_t images, channels, size[3], plane, points;
  int taps; /* along an axis: 1 nearest, 2 linear, 4 cubic */
  ntk_grid_padding padding;
  bool
      align_corners; /* -1 and 1 are the middles of the outermost pixels, not their edges */
} ntk_grid;

/* Einsum: y = sum over all labels that it lacks of the product of up to three operands,
 * each label being a loop with a stride in each of them (0: it lacks the label or is
 * broadcast; a label that stands twice has the sum of both strides). */
enum { NTK_EINSUM_OPERANDS = 3, NTK_EINSUM_LABELS = 24 };
typedef struct ntk_einsum {
  int operands, labels;
  int64_t extent[NTK_EINSUM_LABELS];
  int64_t stride[NTK_EINSUM_OPERANDS + 1][NTK_EINSUM_LABELS]; /* the last: y */
  int64_t size[NTK_EINSUM_OPERANDS + 1];
  /* label of each axis as the equation names it */
  int ndim[NTK_EINSUM_OPERANDS + 1];
  char name[NTK_EINSUM_OPERANDS + 1][NTK_MAX_DIMS];
} ntk_einsum;

/* BatchNormalization: x [images, channels, plane]. */
typedef struct ntk_batchnorm {
  int64_t images, channels, plane;
  double epsilon;
} ntk_batchnorm;

/* The window of a node over the spatial axes of x [N, C, ...] from its attributes
 * (strides, pads, dilations, auto_pad, ceil_mode); `kernel` has one entry for each spatial
 * axis. Refuses windows that lie in the padding altogether if `pooling`. */
NTK_CHECKED ntk_status ntk_window_infer(const ntk_node *node, const ntk_shape *x,
                                        const int64_t *kernel, bool pooling,
                                        ntk_window *window);

/* The same for ConvTranspose, x being what its window's convolution gives: the window's
 * output is x's, its input the operator's result (output_padding, output_shape). */
NTK_CHECKED ntk_status ntk_window_infer_transposed(const ntk_node *node, const ntk_shape *x,
                                                   const int64_t *kernel,
                                                   ntk_window *window);

/* Rule of batch axes for operators on [N, C, ...] that keep the axes below `limit` apart:
 * only operand 0 may carry the batch. */
bool ntk_dense_keeps_leading(const ntk_node *node, const int *operand_axis, int output_axis,
                             int limit);

extern const ntk_kernels ntk_linear_kernels_f32, ntk_linear_kernels_f64;
extern const ntk_kernels ntk_conv_kernels_f32, ntk_conv_kernels_f64;
extern const ntk_kernels ntk_maxpool_kernels_f32, ntk_maxpool_kernels_f64;
extern const ntk_kernels ntk_averagepool_kernels_f32, ntk_averagepool_kernels_f64;
extern const ntk_kernels ntk_lppool_kernels_f32, ntk_lppool_kernels_f64;
extern const ntk_kernels ntk_lrn_kernels_f32, ntk_lrn_kernels_f64;
extern const ntk_kernels ntk_sparse_kernels_f32, ntk_sparse_kernels_f64;
extern const ntk_kernels ntk_grid_kernels_f32, ntk_grid_kernels_f64;
extern const ntk_kernels ntk_einsum_kernels_f32, ntk_einsum_kernels_f64;
extern const ntk_kernels ntk_batchnorm_kernels_f32, ntk_batchnorm_kernels_f64;

#endif

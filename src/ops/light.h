/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_OPS_LIGHT_H
#define NTK_OPS_LIGHT_H

#include "graph/op.h"

/* What the operators that move and map elements share between rules and kernels. */

/* ---- operands ---- */

/* Operand i as a value; NULL where it is left out. */
const ntk_value *ntk_operand(const ntk_graph *graph, const ntk_node *node, int i);
/* All operands there and real, or all there (folding evaluates integers too). */
NTK_CHECKED ntk_status ntk_require_operands(const ntk_graph *graph, const ntk_node *node,
                                            int required);
/* Operand i as a list of integers known at import; *list to be freed. */
NTK_CHECKED ntk_status ntk_constant_ints(const ntk_graph *graph, const ntk_node *node,
                                         int i, const char *what, int64_t **list,
                                         int64_t *count);
/* Attribute `name`, or operand i where the operator takes it as an input; *count = -1 where
 * neither is there. */
NTK_CHECKED ntk_status ntk_ints_of(const ntk_graph *graph, const ntk_node *node,
                                   const char *name, int i, int64_t **list, int64_t *count);
/* axis in [-ndim, ndim) to [0, ndim). */
NTK_CHECKED ntk_status ntk_normalize_axis(int64_t axis, int ndim, int *out);
/* The same for one of a list of axes, each named once; marks it in taken[ndim]. */
NTK_CHECKED ntk_status ntk_take_axis(int64_t axis, int ndim, bool *taken, int *out);
/* NTK_ERR_UNSUPPORTED above 2^31 elements: no sample is that large, a damaged file may say
 * so.
 */
NTK_CHECKED ntk_status ntk_check_size(const ntk_shape *shape);
void ntk_set_output(ntk_graph *graph, const ntk_node *node, ntk_dtype dtype,
                    const ntk_shape *shape);
/* Frees the detail and makes one of `bytes` zeros. */
NTK_CHECKED ntk_status ntk_new_detail(ntk_node *node, size_t bytes, void *detail);

/* ---- moves: output elements that are single elements of inputs ---- */

/* length elements from `at` on come from operand's from, from + stride, ... */
typedef struct ntk_run {
  int operand; /* -1: filled */
  int64_t at, from, stride, length;
} ntk_run;
/* Detail of Transpose, Slice, Gather, Pad, Expand, Concat; of reductions the runs lead from
 * the result (operand 0) to the input. */
typedef struct ntk_moves {
  double fill, scale;
  int64_t from_size, to_size;
  int64_t count;
  ntk_run runs[];
} ntk_moves;

/* Where the elements of each output axis come from: offset[d][i], -1 fills. */
typedef struct ntk_view {
  ntk_shape shape;
  int64_t *offset[NTK_MAX_DIMS];
} ntk_view;
NTK_CHECKED ntk_status ntk_view_create(const ntk_shape *shape, ntk_view *view);
void ntk_view_clear(ntk_view *view);
/* Leaves the moves of a view of operand 0 in node->detail. */
NTK_CHECKED ntk_status ntk_view_to_moves(ntk_node *node, const ntk_view *view,
                                         int64_t from_size);

extern const ntk_kernels ntk_move_kernels_f32, ntk_move_kernels_f64;
extern const ntk_kernels ntk_reduce_kernels_f32, ntk_reduce_kernels_f64;

/* ---- broadcasting ---- */

/* Loops over the output with the strides of each operand (0: broadcast); axes that are
 * contiguous for all are merged; the last is the innermost. */
enum { NTK_BROADCAST = 3 };
typedef struct ntk_broadcast {
  int function; /* what is computed */
  int ndim;
  int64_t extent[NTK_MAX_DIMS], stride[NTK_BROADCAST][NTK_MAX_DIMS];
  int64_t size, operand_size[NTK_BROADCAST];
} ntk_broadcast;
NTK_CHECKED ntk_status ntk_broadcast_infer(ntk_graph *graph, ntk_node *node, int operands,
                                           int function, ntk_dtype dtype);

/* ---- functions of one and of two numbers ---- */

typedef enum ntk_unary_function {
  NTK_UNARY_NEG,
  NTK_UNARY_RELU,
  NTK_UNARY_LEAKYRELU,
  NTK_UNARY_SIGMOID,
  NTK_UNARY_TANH,
  NTK_UNARY_ERF,
  NTK_UNARY_SOFTPLUS,
  NTK_UNARY_ELU,
  NTK_UNARY_EXP,
  NTK_UNARY_LOG,
  NTK_UNARY_SQRT,
  NTK_UNARY_CLIP,
  NTK_UNARY_ABS,
  NTK_UNARY_FLOOR,
  NTK_UNARY_RECIPROCAL,
  NTK_UNARY_COPY,
  NTK_UNARY_TRUTH
} ntk_unary_function;
typedef struct ntk_unary {
  ntk_unary_function function;
  int64_t size;
  double a, b; /* alpha; bounds of Clip */
} ntk_unary;
extern const ntk_kernels ntk_unary_kernels_f32, ntk_unary_kernels_f64;

typedef enum ntk_binary_function {
  NTK_BINARY_ADD,
  NTK_BINARY_SUB,
  NTK_BINARY_MUL,
  NTK_BINARY_DIV,
  NTK_BINARY_POW,
  NTK_BINARY_MIN,
  NTK_BINARY_MAX,
  NTK_BINARY_EQUAL
} ntk_binary_function;
extern const ntk_kernels ntk_binary_kernels_f32, ntk_binary_kernels_f64;
extern const ntk_kernels ntk_where_kernels_f32, ntk_where_kernels_f64;

/* ---- softmax: rows [outer, length, inner] ---- */

typedef struct ntk_softmax {
  int64_t outer, length, inner;
  bool logarithm;
} ntk_softmax;
extern const ntk_kernels ntk_softmax_kernels_f32, ntk_softmax_kernels_f64;

#endif

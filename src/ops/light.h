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
/* Axis and result of a Gather (indexed by an operand of any shape). */
NTK_CHECKED ntk_status ntk_gather_shape(const ntk_graph *graph, const ntk_node *node,
                                        int *axis, ntk_shape *shape);
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
  bool add;    /* to what runs in front have put there */
  int64_t at, from, stride, length;
} ntk_run;
/* Detail of Transpose, Slice, Gather, Pad, Expand, Concat; of reductions the runs lead from
 * the result (operand 0) to the input. */
typedef struct ntk_moves {
  double fill, scale;
  int function; /* of reductions */
  int64_t from_size, to_size;
  int64_t third_size; /* of operand 2, where the runs may leave some of it out */
  int64_t count;
  ntk_run runs[];
} ntk_moves;
#define NTK_MOVE_ROW(row, onnx, since, inputs, keeps, flags_, ...)                         \
  const ntk_op ntk_op_##row = {.name = onnx,                                               \
                               .first = since,                                             \
                               .last = 22,                                                 \
                               .min_in = 1,                                                \
                               .max_in = inputs,                                           \
                               .max_out = 1,                                               \
                               .flags = NTK_OP_ADDITIVE | (flags_),                        \
                               .infer = infer_##row,                                       \
                               .keeps_batch = keeps,                                       \
                               .kernels = {&ntk_move_kernels_f32, &ntk_move_kernels_f64},  \
                               __VA_ARGS__};

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

/* The same of a list: element i of the result is element from[i] of operand 0, and beyond
 * its size of operand 2; -1 fills. */
NTK_CHECKED ntk_status ntk_list_to_moves(const ntk_graph *graph, ntk_node *node,
                                         const ntk_shape *shape, const int64_t *from);

/* Index of element e in a row-major shape, and back. */
void ntk_shape_index(const ntk_shape *shape, int64_t e, int64_t index[NTK_MAX_DIMS]);
int64_t ntk_shape_place(const ntk_shape *shape, const int64_t *index);
/* index in [-n, n) to [0, n); NTK_ERR_SHAPE outside. */
NTK_CHECKED ntk_status ntk_normalize_index(int64_t index, int64_t n, int64_t *out);
/* Only operand 0 carries the batch, on the output's axis. */
bool ntk_keeps_axis(const ntk_graph *graph, const ntk_node *node, const int *operand_axis,
                    int output_axis);

/* All operands that carry the batch have it where the output does, beside `axis`. */
bool ntk_elements_keep(const ntk_graph *graph, const ntk_node *node,
                       const int *operand_axis, int output_axis);

extern const ntk_kernels ntk_move_kernels_f32, ntk_move_kernels_f64;

/* ---- reductions ---- */

typedef enum ntk_reduction {
  NTK_REDUCE_SUM, /* times the scale of the moves */
  NTK_REDUCE_MAX,
  NTK_REDUCE_MIN,
  NTK_REDUCE_PROD,
  NTK_REDUCE_L1,
  NTK_REDUCE_L2,
  NTK_REDUCE_SUMSQUARE,
  NTK_REDUCE_LOGSUM,
  NTK_REDUCE_LOGSUMEXP
} ntk_reduction;
extern const ntk_kernels ntk_reduce_kernels_f32, ntk_reduce_kernels_f64; /* of sums */
extern const ntk_kernels ntk_fold_kernels_f32, ntk_fold_kernels_f64;     /* of the others */

/* ---- broadcasting ---- */

/* Loops over the output with the strides of each operand (0: broadcast); axes that are
 * contiguous for all are merged; the last is the innermost. */
enum { NTK_BROADCAST = 64 }; /* operands at most */
typedef struct ntk_broadcast {
  int function; /* what is computed */
  int operands, ndim;
  int64_t size, extent[NTK_MAX_DIMS];
  struct {
    int64_t size, stride[NTK_MAX_DIMS];
  } operand[];
} ntk_broadcast;
NTK_CHECKED ntk_status ntk_broadcast_infer(ntk_graph *graph, ntk_node *node, int function,
                                           ntk_dtype dtype);

/* ---- functions of one number, of two, of many ---- */

/* value and slope of each: unary_real.c */
#define NTK_UNARY_FUNCTIONS(X)                                                             \
  X(NTK_UNARY_NEG)                                                                         \
  X(NTK_UNARY_RELU)                                                                        \
  X(NTK_UNARY_LEAKYRELU)                                                                   \
  X(NTK_UNARY_SIGMOID)                                                                     \
  X(NTK_UNARY_TANH)                                                                        \
  X(NTK_UNARY_ERF)                                                                         \
  X(NTK_UNARY_SOFTPLUS)                                                                    \
  X(NTK_UNARY_ELU)                                                                         \
  X(NTK_UNARY_SELU)                                                                        \
  X(NTK_UNARY_CELU)                                                                        \
  X(NTK_UNARY_GELU)                                                                        \
  X(NTK_UNARY_GELU_TANH)                                                                   \
  X(NTK_UNARY_MISH)                                                                        \
  X(NTK_UNARY_SOFTSIGN)                                                                    \
  X(NTK_UNARY_HARDSIGMOID)                                                                 \
  X(NTK_UNARY_HARDSWISH)                                                                   \
  X(NTK_UNARY_THRESHOLDEDRELU)                                                             \
  X(NTK_UNARY_SHRINK)                                                                      \
  X(NTK_UNARY_EXP)                                                                         \
  X(NTK_UNARY_LOG)                                                                         \
  X(NTK_UNARY_SQRT)                                                                        \
  X(NTK_UNARY_RECIPROCAL)                                                                  \
  X(NTK_UNARY_SIN)                                                                         \
  X(NTK_UNARY_COS)                                                                         \
  X(NTK_UNARY_TAN)                                                                         \
  X(NTK_UNARY_ASIN)                                                                        \
  X(NTK_UNARY_ACOS)                                                                        \
  X(NTK_UNARY_ATAN)                                                                        \
  X(NTK_UNARY_SINH)                                                                        \
  X(NTK_UNARY_COSH)                                                                        \
  X(NTK_UNARY_ASINH)                                                                       \
  X(NTK_UNARY_ACOSH)                                                                       \
  X(NTK_UNARY_ATANH)                                                                       \
  X(NTK_UNARY_CLIP)                                                                        \
  X(NTK_UNARY_ABS)                                                                         \
  X(NTK_UNARY_SIGN)                                                                        \
  X(NTK_UNARY_FLOOR)                                                                       \
  X(NTK_UNARY_CEIL)                                                                        \
  X(NTK_UNARY_ROUND)                                                                       \
  X(NTK_UNARY_NOT)                                                                         \
  X(NTK_UNARY_ISNAN)                                                                       \
  X(NTK_UNARY_ISINF)                                                                       \
  X(NTK_UNARY_COPY)                                                                        \
  X(NTK_UNARY_TRUTH)
typedef enum ntk_unary_function {
#define NTK_UNARY_NAME(name) name,
  NTK_UNARY_FUNCTIONS(NTK_UNARY_NAME)
#undef NTK_UNARY_NAME
} ntk_unary_function;
typedef struct ntk_unary {
  ntk_unary_function function;
  int64_t size;
  double a, b; /* alpha and the like; bounds of Clip */
} ntk_unary;
extern const ntk_kernels ntk_unary_kernels_f32, ntk_unary_kernels_f64;

/* value and slopes of each: binary_real.c */
#define NTK_BINARY_FUNCTIONS(X)                                                            \
  X(NTK_BINARY_ADD)                                                                        \
  X(NTK_BINARY_SUB)                                                                        \
  X(NTK_BINARY_MUL)                                                                        \
  X(NTK_BINARY_DIV)                                                                        \
  X(NTK_BINARY_POW)                                                                        \
  X(NTK_BINARY_MOD)                                                                        \
  X(NTK_BINARY_FMOD)                                                                       \
  X(NTK_BINARY_PRELU)                                                                      \
  X(NTK_BINARY_EQUAL)                                                                      \
  X(NTK_BINARY_GREATER)                                                                    \
  X(NTK_BINARY_LESS)                                                                       \
  X(NTK_BINARY_GREATEROREQUAL)                                                             \
  X(NTK_BINARY_LESSOREQUAL)                                                                \
  X(NTK_BINARY_AND)                                                                        \
  X(NTK_BINARY_OR)                                                                         \
  X(NTK_BINARY_XOR)
typedef enum ntk_binary_function {
#define NTK_BINARY_NAME(name) name,
  NTK_BINARY_FUNCTIONS(NTK_BINARY_NAME)
#undef NTK_BINARY_NAME
  /* of any number of operands */
  NTK_BROADCAST_WHERE,
  NTK_BROADCAST_SUM,
  NTK_BROADCAST_MEAN,
  NTK_BROADCAST_MIN,
  NTK_BROADCAST_MAX
} ntk_binary_function;
extern const ntk_kernels ntk_binary_kernels_f32, ntk_binary_kernels_f64;

/* ---- functions of rows: [outer, length, inner] ---- */

typedef enum ntk_row_function {
  NTK_ROW_SOFTMAX,
  NTK_ROW_LOGSOFTMAX,
  NTK_ROW_HARDMAX,
  NTK_ROW_CUMSUM,
  NTK_ROW_L1, /* divided by the norm */
  NTK_ROW_L2,
  NTK_ROW_ARGMAX,
  NTK_ROW_ARGMIN,
  NTK_ROW_TOP,
  NTK_ROW_TOP_PLACES
} ntk_row_function;
typedef struct ntk_rows {
  ntk_row_function function;
  int first, end; /* axes that are a row */
  int64_t outer, length, inner;
  bool reverse, exclusive; /* CumSum */
  bool last;               /* ArgMax: of equal ones the last */
  int64_t count;           /* TopK: so many of a row, */
  bool smallest;           /* from the smallest on */
} ntk_rows;
extern const ntk_kernels ntk_rows_kernels_f32, ntk_rows_kernels_f64;
extern const ntk_kernels ntk_arg_kernels_f32, ntk_arg_kernels_f64;
extern const ntk_kernels ntk_top_kernels_f32, ntk_top_kernels_f64;
/* The row that TopK's own gives to a node that makes the places. */
extern const ntk_op ntk_op_top_places;

#endif

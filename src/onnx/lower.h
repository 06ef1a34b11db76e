/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_LOWER_H
#define NTK_ONNX_LOWER_H

#include "onnx/build.h"

/* Composite operators become primitive nodes while the graph is built, when the shapes of
 * their operands, and what of them is constant, are known. Private to src/onnx. */

/* A composite node on its way. The first failure of ntk_emit* stays in `status`, after
 * which they do nothing and return -1: to be checked at the end, or before what they
 * returned is looked at. */
typedef struct ntk_lowering {
  ntk_builder *builder;
  const Onnx__NodeProto *node;
  const int *inputs; /* [n_input] values; -1: left out */
  int *outputs;      /* [n_output] values, to be set; -1: not made */
  int number;        /* of nodes and constants made so far */
  ntk_status status;
} ntk_lowering;

/* A row: slots as in ntk_op. Functions of the model are found by name instead. */
typedef struct ntk_composite {
  const char *name;
  int first, last;
  int min_in, max_in, max_out;
  unsigned not_parameter, parameter_slot;
  unsigned buffer_slot; /* where a tensor may well be no parameter: the user is told */
  ntk_status (*lower)(ntk_lowering *l);
} ntk_composite;

/* NULL: there is none. */
const ntk_composite *ntk_composite_find(const Onnx__NodeProto *node);
const Onnx__FunctionProto *ntk_function_find(const ntk_import *import,
                                             const Onnx__NodeProto *node);

/* Lowers a node whose operands are known, if it is a composite or calls a function. */
NTK_CHECKED ntk_status ntk_lower_node(ntk_builder *b, const Onnx__NodeProto *node,
                                      const int *inputs, bool *done);

/* ---- for lower_*.c ---- */

/* Value of an input, -1: left out. Is an output read by anything? */
int ntk_lower_input(const ntk_lowering *l, int i);
bool ntk_lower_wants(const ntk_lowering *l, size_t k);
const ntk_value *ntk_lower_value(const ntk_lowering *l, int value);
int64_t ntk_lower_int(const ntk_lowering *l, const char *name, int64_t otherwise);
double ntk_lower_float(const ntk_lowering *l, const char *name, double otherwise);
/* Is an attribute, or what stands for it where it is not there, this word? */
bool ntk_lower_is(const ntk_lowering *l, const char *name, const char *otherwise,
                  const char *word);
/* Inputs 0 to count - 1 are there. */
NTK_CHECKED ntk_status ntk_lower_require(const ntk_lowering *l, int count);
/* Elements of a constant as numbers, to be freed; NTK_ERR_UNSUPPORTED: it is none. */
NTK_CHECKED ntk_status ntk_lower_numbers(const ntk_lowering *l, int value, const char *what,
                                         int64_t *count, double **numbers);

/* A constant. */
int ntk_emit_constant(ntk_lowering *l, ntk_dtype dtype, const ntk_shape *shape,
                      const double *elements);
int ntk_emit_number(ntk_lowering *l, ntk_dtype dtype, double number);
/* A constant list of integers. */
int ntk_emit_list(ntk_lowering *l, int count, const int64_t *list);
/* A node of up to two operands (b = -1: one); of any number of them (-1: left out). */
int ntk_emit(ntk_lowering *l, const char *op, int a, int b);
int ntk_emit_n(ntk_lowering *l, const char *op, int count, const int *in);
/* With an attribute: one integer, or a list. */
int ntk_emit_n_with(ntk_lowering *l, const char *op, int count, const int *in,
                    const char *name, int64_t value);
int ntk_emit_with(ntk_lowering *l, const char *op, int a, const char *name, int64_t value);
int ntk_emit_ints(ntk_lowering *l, const char *op, int a, const char *name, int count,
                  const int64_t *list);
int ntk_emit_concat(ntk_lowering *l, int count, const int *values, int64_t axis);
int ntk_emit_gather(ntk_lowering *l, int x, int64_t axis, int64_t index);
int ntk_emit_slice(ntk_lowering *l, int x, int64_t axis, int64_t start, int64_t end);
int ntk_emit_reshape(ntk_lowering *l, int x, int ndim, const int64_t *sizes);

/* lower_attention.c: [B, L, heads * D] to [B, heads, L, D], where what has 4 axes stays,
 * and back; and each of the heads of the latter `times` in a row. */
int ntk_emit_split_heads(ntk_lowering *l, int x, int64_t heads);
int ntk_emit_join_heads(ntk_lowering *l, int x);
int ntk_emit_repeat_heads(ntk_lowering *l, int x, int64_t times);

/* lower_*.c */
#define NTK_COMPOSITES(X)                                                                  \
  X(layernormalization)                                                                    \
  X(rmsnormalization)                                                                      \
  X(groupnormalization)                                                                    \
  X(instancenormalization)                                                                 \
  X(meanvariancenormalization)                                                             \
  X(lstm)                                                                                  \
  X(gru)                                                                                   \
  X(rnn)                                                                                   \
  X(attention)                                                                             \
  X(rotaryembedding)                                                                       \
  X(linearattention)                                                                       \
  X(causalconvwithstate)                                                                   \
  X(swish)                                                                                 \
  X(swiglu)                                                                                \
  X(cumprod)                                                                               \
  X(negativeloglikelihoodloss)                                                             \
  X(softmaxcrossentropyloss)                                                               \
  X(affinegrid)                                                                            \
  X(centercroppad)                                                                         \
  X(hannwindow)                                                                            \
  X(hammingwindow)                                                                         \
  X(blackmanwindow)                                                                        \
  X(melweightmatrix)                                                                       \
  X(dft)                                                                                   \
  X(stft)                                                                                  \
  X(if)                                                                                    \
  X(loop)                                                                                  \
  X(scan)
#define NTK_COMPOSITE_ROW(name) extern const ntk_composite ntk_composite_##name;
NTK_COMPOSITES(NTK_COMPOSITE_ROW)

/* lower_control.c: the body of a function in place of its call. */
NTK_CHECKED ntk_status ntk_lower_call(ntk_lowering *l, const Onnx__FunctionProto *function);

#endif

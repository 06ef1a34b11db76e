/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_GRAPH_OP_H
#define NTK_GRAPH_OP_H

#include "graph/graph.h"
#include "tensor/window.h"

/* An operator: what the sweeps, the importer and the factor description need to know. One
 * table row each (src/ops). Kernels see operands of ONE sample's shape and an array of
 * samples; they never see the file's batch axis. */

/* An array of samples. Element e of index (i, j) is at data + i * outer + j * inner + e, in
 * elements. Values [n, ...]: outer is the sample's stride, inner unused. Cotangents [n, o,
 * ...]: outer over samples, inner over outputs. Tangents [d, n, ...]: outer over
 * directions, inner over samples. A stride of 0 shares. data is NULL for an operand left
 * out, and for tangents that are zero. */
typedef struct ntk_array {
  void *data; /* of the kernel's real type */
  int64_t outer, inner;
} ntk_array;

/* Arithmetic in one type. All functions are local, thread-safe, allocate nothing, may use
 * OpenMP, and cannot fail: what can is checked by infer. `in` has node->input_count
 * entries, `out` node->output_count. All real operands (also constants) come in the
 * kernel's type; integer operands that steer an operator (shapes, axes) were read by infer.
 * `work` is scratch of at least op->workspace elements. Outputs never overlap inputs. */
typedef struct ntk_kernels {
  /* y[n] = f(x[n]); operands with outer = 0 are shared by all samples. */
  void (*forward)(const ntk_node *node, int64_t n, const ntk_array *in,
                  const ntk_array *out, void *work);
  /* dx[n,o] = (dy/dx_operand)^T dy[n,o], added to what is there if `add`. dy is the
   * cotangent of output 0. dx is dense in its sample: [n, o, size of the operand]. */
  void (*vjp)(const ntk_node *node, int operand, int64_t n, int64_t o, const ntk_array *in,
              const ntk_array *out, ntk_array dy, ntk_array dx, bool add, void *work);
  /* dy[d,n] = sum over operands with dx[i].data != NULL of (dy/dx_i) dx_i[d,n]. At least
   * one is given. Written, not added. */
  void (*jvp)(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
              const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work);
  /* X [n, g, t, k] of the use of `operand` with columns k0.. in rows of `ld` elements
   * (design section 4), for uses with x_custom; NULL elsewhere. x: the data operand. */
  void (*factor_x)(const ntk_node *node, int operand, int64_t n, ntk_array x, void *out,
                   int64_t ld, void *work);
  /* Before forward, where data may be what the operator cannot take (indices); NULL: they
   * cannot. NTK_ERR_NUMERICAL names first_sample + the sample's number, and the value. */
  ntk_status (*check)(const ntk_node *node, int64_t n, const ntk_array *in,
                      int64_t first_sample);
} ntk_kernels;

/* The factor pair of a parameter operand (design section 4): the node's output 0 gets, from
 * this operand w, sum over k of X[g,t,k] w[g,k,c] at the place of (g,t,c). T = T1 * T2 (two
 * levels, so that positions on both sides of the channels are regular strides). Any
 * bijection between (g,k,c) and the operand's elements will do: it is fixed by `wg, wk,
 * wc`. */
typedef struct ntk_use {
  int64_t G, T1, T2, K, C;
  int x_operand;            /* operand X is made of; -1: X = 1, K = 1 */
  double scale;             /* factor in front (Gemm's alpha) */
  int64_t dg, dt1, dt2, dc; /* D[g,t1,t2,c] within the output's elements */
  /* D[g,t1,t2,(c,tap)] are patches of the planes at g * dg + t1 * dt1 + c * plane of the
   * output's cotangent, T2 = pixels, dt2 and dc unused; NULL: not. Belongs to the node. */
  const ntk_window *d_window;
  bool x_custom;  /* X is made by kernels->factor_x (patches) */
  uint64_t x_key; /* custom: same operand value and key mean same X */
  /* custom: X[g,t,(c,tap)] are patches of the planes [g, c < channels] of x_operand; NULL:
   * they are not, or of several images. Belongs to the node. */
  const ntk_window *window;
  int64_t channels;
  /* X[g,t1,t2,k] within x_operand's elements; custom: planes of g, where there is a window
   */
  int64_t xg, xt1, xt2, xk;
  /* X[g,t1,t2,k] = 1 where x_operand's element at (g,t1,t2) is k or k - K, else 0: rows of
   * a table, looked up; not custom. */
  bool one_hot;
  int64_t wg, wk, wc; /* w[g,k,c] within the operand's elements */
} ntk_use;

enum {
  NTK_OP_ALIAS =
      1, /* output 0 has input 0's elements in the same order (Reshape, Identity) */
  NTK_OP_MOVE =
      2, /* linear; each output element is one element of an input, or a constant */
  NTK_OP_ADDITIVE =
      4, /* no vjp depends on any value (Add, Concat, ReduceSum, AveragePool) */
  NTK_OP_MULTILINEAR = 8, /* linear in each operand, the others held (Mul, MatMul, Conv) */
  NTK_OP_DISCRETE = 16,   /* no derivative (Shape, Floor, comparisons): output is never data
                             or parameter with a cotangent; sweeps stop here */
  NTK_OP_PARTS = 32, /* each output is a function of its own (Split): the importer makes
                        a node per output that is used, whose output 0 it is, with the
                        attributes "part", its number in the file, and "parts", how
                        many there are */
  NTK_OP_ELEMENTWISE = 64, /* one operand, element by element: vjp may write dx over dy */
  NTK_OP_SUMS =
      256, /* vjp takes dx with outer = 0 for several samples: it adds theirs up */
  NTK_OP_BIJECTIVE = 128 /* a move that has each element of input 0 once, and no other */
};

enum { NTK_BATCH_NONE = -1 }; /* this operand or output does not carry the batch axis */

typedef struct ntk_op {
  const char *name;   /* ONNX operator, domain "" */
  int first, last;    /* opset versions whose meaning is ours: first <= opset <= last */
  int min_in, max_in; /* inputs */
  int max_out;        /* outputs understood (others must be unused) */
  unsigned flags;     /* NTK_OP_* */

  /* Checks attributes and operand shapes, sets shapes and dtypes of the outputs and
   * node->detail. Constant operands have their elements in graph->values[..].constant. May
   * be called again on the same node with other input shapes (replaces detail). It may give
   * the node another row, node->op, where what its operands are makes another operator of
   * it (Gather by data). Errors: NTK_ERR_SHAPE, NTK_ERR_UNSUPPORTED; the message need not
   * name the node. */
  ntk_status (*infer)(ntk_graph *graph, ntk_node *node);

  /* Does the output at batch axis mix samples? Given the axis of each operand that carries
   * the batch (NTK_BATCH_NONE: none), and of output 0 as the shapes say, returns false
   * where values of different samples would meet. NULL: elementwise rule (all carrying
   * operands, aligned at the right as in broadcasting, carry it at the output's axis), for
   * aliases none: the importer follows the batch's place in memory. */
  bool (*keeps_batch)(const ntk_graph *graph, const ntk_node *node, const int *operand_axis,
                      int output_axis);

  /* NULL: no cotangent passes unchanged. True where output 0 = s * operand + (what does not
   * depend on it), elementwise, in the same memory order and size; *s is set. */
  bool (*passes)(const ntk_graph *graph, const ntk_node *node, int operand, double *s);

  /* NULL or false: no factor pair for this operand (its Jacobian is formed by vjp). */
  bool (*use)(const ntk_graph *graph, const ntk_node *node, int operand, ntk_use *use);

  /* Scratch elements for n samples and o cotangents or directions; NULL: none. */
  int64_t (*workspace)(const ntk_graph *graph, const ntk_node *node, int64_t n, int64_t o);

  /* Floating-point operations of forward for one sample (2 per multiply-add); NULL: one per
   * output element. */
  double (*flops)(const ntk_graph *graph, const ntk_node *node);

  /* Slots that are never parameters: bit i set for Clip bounds, BatchNormalization's mean
   * and variance (design section 2, rule (a), (b)). */
  unsigned not_parameter;
  /* Slots where a single element may be a parameter: weight, bias, scale, slope (rule (d)).
   */
  unsigned parameter_slot;

  const ntk_kernels *kernels[2]; /* by ntk_dtype: NTK_F32, NTK_F64 */
} ntk_op;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"
#include "tensor/real.h"

#include <string.h>

#define gemm NTK_REAL(ntk_gemm)

/* Forward, vjps and jvps are one thing: a sum of products of arrays, the sources, into
 * another, the target, with operands and result in different roles. */

enum { MOST = NTK_EINSUM_OPERANDS, RESULT = NTK_EINSUM_OPERANDS };

/* Loops that are one matrix product, -1: none. rows: of target and source 0, columns: of
 * target and source 1, inner: of both sources. */
typedef struct matrix_loops {
  int rows, columns, inner;
  double size;
} matrix_loops;

typedef struct product {
  const ntk_einsum *e;
  int sources, target, source[MOST]; /* roles: operand numbers, or RESULT */
  matrix_loops loops;                /* size 1: there are none */
} product;

static int64_t stride(const product *p, int role, int label) {
  return label < 0 ? 1 : p->e->stride[role][label];
}
static int64_t extent(const product *p, int label) {
  return label < 0 ? 1 : p->e->extent[label];
}

/* Is the label's loop one over just these two? */
static bool joins(const product *p, int label, int a, int b, int without) {
  return label < 0 ||
         (stride(p, a, label) && stride(p, b, label) && !stride(p, without, label));
}

/* Can a matrix of these loops be handed to gemm? */
static bool is_matrix(const product *p, int role, int a, int b) {
  return stride(p, role, a) == 1 || stride(p, role, b) == 1;
}

/* The largest product of matrices in which the target's rows are contiguous. */
static void find_matrices(product *p) {
  const int labels = p->e->labels, t = p->target, a = p->source[0], b = p->source[1];
  p->loops = (matrix_loops){-1, -1, -1, 1};
  for (int r = -1; r < labels; r++)
    for (int c = -1; c < labels; c++)
      for (int k = -1; k < labels; k++) {
        const matrix_loops m = {
            r, c, k, (double)extent(p, r) * (double)extent(p, c) * (double)extent(p, k)};
        if (m.size > p->loops.size && joins(p, r, t, a, b) && joins(p, c, t, b, a) &&
            joins(p, k, a, b, t) && stride(p, t, c) == 1 && is_matrix(p, a, r, k) &&
            is_matrix(p, b, k, c))
          p->loops = m;
      }
}

static product plan(const ntk_einsum *e, int target, int sources, const int *source) {
  product p = {.e = e, .sources = sources, .target = target};
  for (int i = 0; i < sources && i < MOST; i++)
    p.source[i] = source[i];
  p.loops = (matrix_loops){-1, -1, -1, 1};
  if (sources != 2)
    return p;
  find_matrices(&p);
  product swapped = p;
  swapped.source[0] = p.source[1];
  swapped.source[1] = p.source[0];
  find_matrices(&swapped);
  return swapped.loops.size > p.loops.size ? swapped : p;
}

/* Leading dimension of a matrix with rows along label a and columns along b; its transpose
 * is stored where only a is contiguous. */
static int64_t leading(const product *p, int role, int a, int b, bool *transposed) {
  *transposed = stride(p, role, b) != 1;
  const int64_t ld = stride(p, role, *transposed ? b : a);
  const int64_t least = extent(p, *transposed ? a : b);
  return ld > least ? ld : least; /* a single row has none */
}

static void multiply(const product *p, const real *const from[MOST], real *to) {
  const matrix_loops *m = &p->loops;
  bool first, second, result;
  const int64_t lda = leading(p, p->source[0], m->rows, m->inner, &first);
  const int64_t ldb = leading(p, p->source[1], m->inner, m->columns, &second);
  const int64_t ldc = leading(p, p->target, m->rows, m->columns, &result);
  gemm(first, second, extent(p, m->rows), extent(p, m->columns), extent(p, m->inner), 1,
       from[0], lda, from[1], ldb, 1, to, ldc);
}

/* One loop without matrices. */
static void run(const product *p, int label, const real *const from[MOST], real *to) {
  const int64_t into = stride(p, p->target, label);
  double sum = 0;
  for (int64_t i = 0; i < extent(p, label); i++) {
    double term = 1;
    for (int s = 0; s < p->sources; s++)
      term *= (double)from[s][label < 0 ? 0 : i * stride(p, p->source[s], label)];
    if (into == 0 || label < 0)
      sum += term;
    else
      to[i * into] += (real)term;
  }
  if (into == 0 || label < 0)
    to[0] += (real)sum;
}

/* Is the loop inside of a step? */
static bool inside(const matrix_loops *m, int label) {
  return label == m->rows || label == m->columns || label == m->inner;
}

/* Target += product of the sources, of one sample. */
static void add_product(const product *p, const real *const from[MOST], real *to) {
  const ntk_einsum *e = p->e;
  const bool matrices = p->loops.size > 8;
  const matrix_loops in_step =
      matrices ? p->loops : (matrix_loops){e->labels - 1, -1, -1, 1};
  int64_t steps = 1;
  for (int k = 0; k < e->labels; k++)
    steps *= inside(&in_step, k) ? 1 : e->extent[k];
  for (int64_t step = 0; step < steps; step++) {
    const real *at[MOST] = {from[0], from[1], from[2]};
    real *into = to;
    int64_t rest = step;
    for (int k = e->labels - 1; k >= 0; k--) {
      if (inside(&in_step, k))
        continue;
      const int64_t i = rest % e->extent[k];
      rest /= e->extent[k];
      into += i * stride(p, p->target, k);
      for (int s = 0; s < p->sources; s++)
        at[s] += i * stride(p, p->source[s], k);
    }
    if (matrices)
      multiply(p, at, into);
    else
      run(p, e->labels - 1, at, into);
  }
}

/* Target [i, j] (+)= product of the sources [i, j], i < a, j < b. */
static void add_products(const product *p, int64_t a, int64_t b,
                         const ntk_array sources[MOST], ntk_array target, bool add) {
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < a * b; item++) {
    const int64_t i = item / b, j = item % b;
    const real *from[MOST] = {NULL};
    real *to = (real *)target.data + i * target.outer + j * target.inner;
    for (int s = 0; s < p->sources; s++)
      from[s] = (const real *)sources[s].data + i * sources[s].outer + j * sources[s].inner;
    if (!add)
      memset(to, 0, (size_t)p->e->size[p->target] * sizeof *to);
    add_product(p, from, to);
  }
}

/* Arrays in the order of the product's sources, by role. */
static void in_order(const product *p, const ntk_array *by_role, ntk_array out[MOST]) {
  for (int s = 0; s < p->sources; s++)
    out[s] = by_role[p->source[s]];
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_einsum *e = node->detail;
  const product p = plan(e, RESULT, e->operands, (const int[]){0, 1, 2});
  ntk_array sources[MOST];
  (void)work;
  in_order(&p, in, sources);
  add_products(&p, n, 1, sources, out[0], false);
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_einsum *e = node->detail;
  ntk_array by_role[RESULT + 1] = {{0}}, sources[MOST];
  int source[MOST] = {RESULT}, count = 1;
  (void)out;
  (void)work;
  by_role[RESULT] = dy;
  for (int i = 0; i < e->operands; i++) {
    by_role[i] = (ntk_array){in[i].data, in[i].outer, 0};
    if (i != operand)
      source[count++] = i;
  }
  const product p = plan(e, operand, count, source);
  in_order(&p, by_role, sources);
  add_products(&p, n, o, sources, dx, add);
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_einsum *e = node->detail;
  const product p = plan(e, RESULT, e->operands, (const int[]){0, 1, 2});
  bool written = false;
  (void)out;
  (void)work;
  for (int moving = 0; moving < e->operands; moving++) {
    ntk_array by_role[RESULT] = {{0}}, sources[MOST];
    if (!dx[moving].data)
      continue;
    for (int i = 0; i < e->operands; i++)
      by_role[i] = i == moving ? dx[i] : (ntk_array){in[i].data, 0, in[i].outer};
    in_order(&p, by_role, sources);
    add_products(&p, d, n, sources, dy, written);
    written = true;
  }
}

const ntk_kernels NTK_REAL(ntk_einsum_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp};

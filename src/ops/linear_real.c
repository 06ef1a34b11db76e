/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"
#include "tensor/real.h"

#include <omp.h>
#include <string.h>

/* Short names of the typed functions. */
#define gemm NTK_REAL(ntk_gemm)

/* Forward, both vjps and both jvps are one thing: a product of two arrays of matrices into
 * a third, with operand, other operand and output in different roles. */
typedef struct matrix {
  int64_t size; /* of one sample, all batch axes */
  bool transposed;
  int64_t ld;
  const int64_t *step; /* for each batch axis */
} matrix;
typedef struct product {
  int64_t m, n, k;
  matrix first, second, result; /* result[b] = op(first[b]) op(second[b]) */
  int axes;
  const int64_t *extent;
} product;

static matrix matrix_a(const ntk_linear *l) {
  return (matrix){l->a_size, l->transpose_a, l->transpose_a ? l->m : l->k, l->a};
}
static matrix matrix_b(const ntk_linear *l) {
  return (matrix){l->b_size, l->transpose_b, l->transpose_b ? l->k : l->n, l->b};
}
static matrix matrix_y(const ntk_linear *l) {
  return (matrix){l->y_size, false, l->n, l->y};
}
static matrix flip(matrix a) {
  a.transposed = !a.transposed;
  return a;
}

/* A transposed vector is a plain one; then rows can be merged. */
static product simplified(product p) {
  if (p.first.transposed && (p.m == 1 || p.k == 1)) {
    p.first.transposed = false;
    p.first.ld = p.k;
  }
  return p;
}

static product to_y(const ntk_linear *l) {
  return simplified((product){l->m, l->n, l->k, matrix_a(l), matrix_b(l), matrix_y(l),
                              l->axes, l->extent});
}

static product to_a(const ntk_linear *l) {
  const matrix a = matrix_a(l), b = matrix_b(l), y = matrix_y(l);
  if (l->transpose_a)
    return simplified((product){l->k, l->m, l->n, b, flip(y), a, l->axes, l->extent});
  return simplified((product){l->m, l->k, l->n, y, flip(b), a, l->axes, l->extent});
}

static product to_b(const ntk_linear *l) {
  const matrix a = matrix_a(l), b = matrix_b(l), y = matrix_y(l);
  if (l->transpose_b)
    return simplified((product){l->n, l->k, l->m, flip(y), a, b, l->axes, l->extent});
  return simplified((product){l->k, l->n, l->m, flip(a), y, b, l->axes, l->extent});
}

/* Batch axes along which products are summed, because the result lacks them. */
static bool sums(const product *p) {
  for (int i = 0; i < p->axes; i++)
    if (p->result.step[i] == 0)
      return true;
  return false;
}

/* One sample: all batch axes. */
static void multiply_one(const product *p, double alpha, const real *first,
                         const real *second, double beta, real *result) {
  int64_t count = 1;
  for (int i = 0; i < p->axes; i++)
    count *= p->extent[i];
  if (beta == 0 && sums(p)) {
    memset(result, 0, (size_t)p->result.size * sizeof *result);
    beta = 1;
  }
  for (int64_t b = 0; b < count; b++) {
    int64_t rest = b, at_first = 0, at_second = 0, at_result = 0;
    for (int i = p->axes - 1; i >= 0; i--) {
      const int64_t index = rest % p->extent[i];
      rest /= p->extent[i];
      at_first += index * p->first.step[i];
      at_second += index * p->second.step[i];
      at_result += index * p->result.step[i];
    }
    gemm(p->first.transposed, p->second.transposed, p->m, p->n, p->k, alpha,
         first + at_first, p->first.ld, second + at_second, p->second.ld, beta,
         result + at_result, p->result.ld);
  }
}

/* Makes the samples i (p of them), j (q) rows of one product where all lie one after the
 * other and the second matrix is the same for them. */
static void merge_rows(product *x, int64_t *p, int64_t *q, const ntk_array *first,
                       const ntk_array *second, const ntk_array *result) {
  if (x->axes > 0 || x->first.transposed || x->first.ld != x->k || x->result.ld != x->n)
    return;
  const int64_t a = x->m * x->k, y = x->m * x->n;
  if (*q > 1 && (second->inner != 0 || first->inner != a || result->inner != y))
    return;
  x->m *= *q;
  if (*p > 1 && second->outer == 0 && first->outer == a * *q && result->outer == y * *q) {
    x->m *= *p;
    *p = 1;
  }
  *q = 1;
}

/* result[i, j] = alpha first[i, j] second[i, j] + beta result[i, j], i < p, j < q. */
typedef struct items {
  product x;
  int64_t q;
  double alpha, beta;
  ntk_array first, second, result;
} items;

static void multiply_item(const items *a, int64_t item) {
  const int64_t i = item / a->q, j = item % a->q;
  multiply_one(&a->x, a->alpha,
               (const real *)a->first.data + i * a->first.outer + j * a->first.inner,
               (const real *)a->second.data + i * a->second.outer + j * a->second.inner,
               a->beta, (real *)a->result.data + i * a->result.outer + j * a->result.inner);
}

/* Few products are cut inside. They must not stand in a parallel region, even one of a
 * single thread: the threads of a nested region are made anew each time. */
static void multiply(product x, int64_t p, int64_t q, double alpha, ntk_array first,
                     ntk_array second, double beta, ntk_array result) {
  merge_rows(&x, &p, &q, &first, &second, &result);
  const items a = {x, q, alpha, beta, first, second, result};
  if (p * q < omp_get_max_threads()) {
    for (int64_t item = 0; item < p * q; item++)
      multiply_item(&a, item);
    return;
  }
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < p * q; item++)
    multiply_item(&a, item);
}

/* y[i, j] = beta c[i, j], broadcast. */
static void put_c(const ntk_linear *l, int64_t p, int64_t q, ntk_array c, ntk_array y) {
  const real beta = (real)l->beta;
#pragma omp parallel for schedule(static) if (p * q * l->y_size > 65536)
  for (int64_t item = 0; item < p * q; item++) {
    const real *from = (const real *)c.data + item / q * c.outer + item % q * c.inner;
    real *to = (real *)y.data + item / q * y.outer + item % q * y.inner;
    for (int64_t i = 0; i < l->m; i++)
      for (int64_t j = 0; j < l->n; j++)
        to[i * l->n + j] = beta * from[i * l->c_row + j * l->c_column];
  }
}

/* dc[i, j] (+)= beta times the sum of dy[i, j] over what C is broadcast along. */
static void vjp_c(const ntk_linear *l, int64_t p, int64_t q, ntk_array dy, ntk_array dc,
                  bool add) {
  const real beta = (real)l->beta;
#pragma omp parallel for schedule(static) if (p * q * l->y_size > 65536)
  for (int64_t item = 0; item < p * q; item++) {
    const real *from = (const real *)dy.data + item / q * dy.outer + item % q * dy.inner;
    real *to = (real *)dc.data + item / q * dc.outer + item % q * dc.inner;
    if (!add)
      memset(to, 0, (size_t)l->c_size * sizeof *to);
    for (int64_t i = 0; i < l->m; i++)
      for (int64_t j = 0; j < l->n; j++)
        to[i * l->c_row + j * l->c_column] += beta * from[i * l->n + j];
  }
}

/* The sum over samples of dB[i, j] = A[i]^T dy[i, j]: where their rows lie at one distance,
 * one product. False: they do not, or the operand is another. */
static bool vjp_b_sum(const ntk_linear *l, int64_t n, int64_t o, ntk_array a, ntk_array dy,
                      ntk_array db, bool add) {
  int64_t lda = l->k, ldy = l->n;
  if (l->axes > 0 || l->transpose_a || a.outer < l->k)
    return false;
  if (l->m == 1) {
    lda = a.outer;
    ldy = dy.outer;
  } else if (a.outer != l->m * lda || dy.outer != l->m * ldy) {
    return false;
  }
  for (int64_t j = 0; j < o; j++) {
    const real *y = (const real *)dy.data + j * dy.inner;
    real *to = (real *)db.data + j * db.inner;
    if (l->transpose_b)
      gemm(true, false, l->n, l->k, n * l->m, l->alpha, y, ldy, a.data, lda, add, to, l->k);
    else
      gemm(true, false, l->k, l->n, n * l->m, l->alpha, a.data, lda, y, ldy, add, to, l->n);
  }
  return true;
}

static bool has(const ntk_node *node, const ntk_array *arrays, int operand) {
  return node->input_count > operand && arrays[operand].data;
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_linear *l = node->detail;
  const ntk_array a = {in[0].data, 0, in[0].outer}, b = {in[1].data, 0, in[1].outer};
  const ntk_array y = {out[0].data, 0, out[0].outer};
  const bool bias = has(node, in, 2);
  (void)work;
  if (bias)
    put_c(l, 1, n, (ntk_array){in[2].data, 0, in[2].outer}, y);
  multiply(to_y(l), 1, n, l->alpha, a, b, bias, y);
}

static ntk_array sample(ntk_array a, int64_t i) {
  a.data = (real *)a.data + i * a.outer;
  return a;
}

static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_linear *l = node->detail;
  (void)out;
  (void)work;
  if (dx.outer == 0 && n > 1) { /* the sum over samples */
    if (operand == 1 && vjp_b_sum(l, n, o, in[0], dy, dx, add))
      return;
    for (int64_t i = 0; i < n; i++) {
      const ntk_array own[3] = {sample(in[0], i), sample(in[1], i)};
      vjp(node, operand, 1, o, own, out, sample(dy, i), dx, i > 0 || add, work);
    }
    return;
  }
  if (operand == 2) {
    vjp_c(l, n, o, dy, dx, add);
    return;
  }
  /* The product's order says which side the cotangent stands on. */
  const ntk_array other = {in[1 - operand].data, in[1 - operand].outer, 0};
  const bool dy_first = operand == 0 ? !l->transpose_a : l->transpose_b;
  multiply(operand == 0 ? to_a(l) : to_b(l), n, o, l->alpha, dy_first ? dy : other,
           dy_first ? other : dy, add, dx);
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_linear *l = node->detail;
  const ntk_array a = {in[0].data, 0, in[0].outer}, b = {in[1].data, 0, in[1].outer};
  bool written = false;
  (void)out;
  (void)work;
  if (has(node, dx, 2)) {
    put_c(l, d, n, dx[2], dy);
    written = true;
  }
  if (dx[0].data) {
    multiply(to_y(l), d, n, l->alpha, dx[0], b, written, dy);
    written = true;
  }
  if (dx[1].data)
    multiply(to_y(l), d, n, l->alpha, a, dx[1], written, dy);
}

const ntk_kernels NTK_REAL(ntk_linear_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp};

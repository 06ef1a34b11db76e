/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/light.h"
#include "tensor/real.h"
#include <omp.h>
#include <string.h>

/* A NaN stays one, for the report at the outputs. */
static inline real value(ntk_binary_function f, real a, real b) {
  switch (f) {
  case NTK_BINARY_ADD:
    return a + b;
  case NTK_BINARY_SUB:
    return a - b;
  case NTK_BINARY_MUL:
    return a * b;
  case NTK_BINARY_DIV:
    return a / b;
  case NTK_BINARY_POW:
    return b == 2 ? a * a : NTK_MATH(pow)(a, b);
  case NTK_BINARY_MIN:
    return a < b || a != a ? a : b;
  case NTK_BINARY_MAX:
    return a > b || a != a ? a : b;
  default:
    return a == b;
  }
}

/* Derivatives with respect to a and b; ties of Min and Max share equally. */
static inline real slope_a(ntk_binary_function f, real a, real b) {
  switch (f) {
  case NTK_BINARY_MUL:
    return b;
  case NTK_BINARY_DIV:
    return 1 / b;
  case NTK_BINARY_POW:
    return b == 2 ? 2 * a : b == 0 ? 0 : b * NTK_MATH(pow)(a, b - 1);
  case NTK_BINARY_MIN:
    return a < b ? 1 : a > b ? 0 : (real)0.5;
  case NTK_BINARY_MAX:
    return a > b ? 1 : a < b ? 0 : (real)0.5;
  case NTK_BINARY_EQUAL:
    return 0;
  default:
    return 1;
  }
}
static inline real slope_b(ntk_binary_function f, real a, real b) {
  switch (f) {
  case NTK_BINARY_SUB:
    return -1;
  case NTK_BINARY_MUL:
    return a;
  case NTK_BINARY_DIV:
    return -a / (b * b);
  case NTK_BINARY_POW:
    return a == 0 ? 0 : NTK_MATH(pow)(a, b) * NTK_MATH(log)(a);
  case NTK_BINARY_MIN:
  case NTK_BINARY_MAX:
  case NTK_BINARY_ADD:
    return 1 - (f == NTK_BINARY_ADD ? 0 : slope_a(f, a, b));
  default:
    return 0;
  }
}

/* One innermost row of the loops; NULL where a vjp or jvp needs no values. */
typedef struct row {
  int64_t length;
  const real *a, *b;
  int64_t sa, sb; /* strides */
} row;

#define EACH_FUNCTION(X)                                                                   \
  X(NTK_BINARY_ADD)                                                                        \
  X(NTK_BINARY_SUB)                                                                        \
  X(NTK_BINARY_MUL)                                                                        \
  X(NTK_BINARY_DIV)                                                                        \
  X(NTK_BINARY_POW)                                                                        \
  X(NTK_BINARY_MIN)                                                                        \
  X(NTK_BINARY_MAX)                                                                        \
  X(NTK_BINARY_EQUAL)

static void values(ntk_binary_function function, row r, real *y) {
  switch (function) {
#define VALUES(f)                                                                          \
  case f:                                                                                  \
    for (int64_t i = 0; i < r.length; i++)                                                 \
      y[i] = value(f, r.a[i * r.sa], r.b[i * r.sb]);                                       \
    break;
    EACH_FUNCTION(VALUES)
#undef VALUES
  }
}

/* d[i] = dy/d(operand); a sum needs no values. */
static void slopes(ntk_binary_function function, int operand, row r, real *d) {
  switch (function) {
  case NTK_BINARY_ADD:
  case NTK_BINARY_SUB:
    for (int64_t i = 0; i < r.length; i++)
      d[i] = operand == 1 && function == NTK_BINARY_SUB ? -1 : 1;
    break;
  case NTK_BINARY_MUL:
    for (int64_t i = 0; i < r.length; i++)
      d[i] = operand ? r.a[i * r.sa] : r.b[i * r.sb];
    break;
#define SLOPES(f)                                                                          \
  case f:                                                                                  \
    for (int64_t i = 0; i < r.length; i++)                                                 \
      d[i] = operand ? slope_b(f, r.a[i * r.sa], r.b[i * r.sb])                            \
                     : slope_a(f, r.a[i * r.sa], r.b[i * r.sb]);                           \
    break;
    SLOPES(NTK_BINARY_DIV)
    SLOPES(NTK_BINARY_POW)
    SLOPES(NTK_BINARY_MIN)
    SLOPES(NTK_BINARY_MAX)
    SLOPES(NTK_BINARY_EQUAL)
#undef SLOPES
  }
}

/* ---- loops ----------------------------------------------------------------------------
 */

enum { BLOCK = 512 };

/* Rows of at most BLOCK elements of one sample. */
static int64_t count_rows(const ntk_broadcast *b) {
  const int64_t inner = b->extent[b->ndim - 1];
  return inner == 0 ? 0 : b->size / inner * ((inner + BLOCK - 1) / BLOCK);
}

/* Row number r: its first element in the output and in each operand, and its length. */
static int64_t row_at(const ntk_broadcast *b, int64_t r, int64_t *at,
                      int64_t from[NTK_BROADCAST]) {
  const int last = b->ndim - 1;
  const int64_t inner = b->extent[last], pieces = (inner + BLOCK - 1) / BLOCK;
  const int64_t start = r % pieces * BLOCK;
  int64_t rest = r / pieces;
  *at = rest * inner + start;
  for (int i = 0; i < NTK_BROADCAST; i++)
    from[i] = start * b->stride[i][last];
  for (int d = last - 1; d >= 0; d--) {
    for (int i = 0; i < NTK_BROADCAST; i++)
      from[i] += rest % b->extent[d] * b->stride[i][d];
    rest /= b->extent[d];
  }
  return inner - start < BLOCK ? inner - start : BLOCK;
}

static const real *sample(ntk_array array, int64_t i, int64_t from) {
  return array.data ? (const real *)array.data + i * array.outer + from : NULL;
}

static row row_of(const ntk_broadcast *b, const ntk_array *in, int64_t i,
                  const int64_t *from, int64_t length) {
  return (row){length, sample(in[0], i, from[0]), sample(in[1], i, from[1]),
               b->stride[0][b->ndim - 1], b->stride[1][b->ndim - 1]};
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_broadcast *b = node->detail;
  const int64_t rows = count_rows(b);
  (void)work;
#pragma omp parallel for schedule(static) if (n * b->size > 1 << 15)
  for (int64_t p = 0; p < n * rows; p++) {
    int64_t at, from[NTK_BROADCAST];
    const int64_t i = p / rows, length = row_at(b, p % rows, &at, from);
    values((ntk_binary_function)b->function, row_of(b, in, i, from, length),
           (real *)out[0].data + i * out[0].outer + at);
  }
}

/* to[i * stride] += d[i] dy[i]; stride 0 sums. */
static void add_row(int64_t length, const real *d, const real *dy, real *to,
                    int64_t stride) {
  if (stride == 1) {
    for (int64_t k = 0; k < length; k++)
      to[k] += d[k] * dy[k];
  } else if (stride == 0) {
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < length; k++)
      sum += d[k] * dy[k];
    *to += sum;
  } else {
    for (int64_t k = 0; k < length; k++)
      to[k * stride] += d[k] * dy[k];
  }
}

/* Rows of an operand that is not broadcast are written once each: threads share them. */
static void vjp_whole(const ntk_broadcast *b, int operand, int64_t n, int64_t o,
                      const ntk_array *in, ntk_array dy, ntk_array dx, bool add) {
  const int64_t rows = count_rows(b);
#pragma omp parallel for schedule(static) if (n * o * b->size > 1 << 15)
  for (int64_t p = 0; p < n * rows; p++) {
    int64_t at, from[NTK_BROADCAST];
    real d[BLOCK];
    const int64_t i = p / rows, length = row_at(b, p % rows, &at, from);
    slopes((ntk_binary_function)b->function, operand, row_of(b, in, i, from, length), d);
    for (int64_t j = 0; j < o; j++) {
      const real *y = (const real *)dy.data + i * dy.outer + j * dy.inner + at;
      real *x = (real *)dx.data + i * dx.outer + j * dx.inner + at;
      if (add)
        for (int64_t k = 0; k < length; k++)
          x[k] += d[k] * y[k];
      else
        for (int64_t k = 0; k < length; k++)
          x[k] = d[k] * y[k];
    }
  }
}

/* Sums over what the operand is broadcast along. Threads share samples, or where these are
 * few, outputs as well. */
static void vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                bool add, void *work) {
  const ntk_broadcast *b = node->detail;
  const int64_t rows = count_rows(b), size = b->operand_size[operand];
  const int64_t part = n < omp_get_max_threads() ? 1 : o, parts = o / part;
  (void)out;
  (void)work;
  if (size == b->size) {
    vjp_whole(b, operand, n, o, in, dy, dx, add);
    return;
  }
#pragma omp parallel for schedule(static) if (n * o * b->size > 1 << 15)
  for (int64_t p = 0; p < n * parts; p++) {
    const int64_t i = p / parts, first = p % parts * part;
    real d[BLOCK];
    for (int64_t j = first; j < first + part && !add; j++)
      memset((real *)dx.data + i * dx.outer + j * dx.inner, 0, (size_t)size * sizeof(real));
    for (int64_t r = 0; r < rows; r++) {
      int64_t at, from[NTK_BROADCAST];
      const int64_t length = row_at(b, r, &at, from);
      slopes((ntk_binary_function)b->function, operand, row_of(b, in, i, from, length), d);
      for (int64_t j = first; j < first + part; j++)
        add_row(length, d, (const real *)dy.data + i * dy.outer + j * dy.inner + at,
                (real *)dx.data + i * dx.outer + j * dx.inner + from[operand],
                b->stride[operand][b->ndim - 1]);
    }
  }
}

static void jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_broadcast *b = node->detail;
  const int64_t rows = count_rows(b);
  (void)out;
  (void)work;
#pragma omp parallel for schedule(static) if (d * n * b->size > 1 << 15)
  for (int64_t p = 0; p < n * rows; p++) {
    int64_t at, from[NTK_BROADCAST];
    real slope[BLOCK];
    const int64_t i = p / rows, length = row_at(b, p % rows, &at, from);
    for (int64_t j = 0; j < d; j++)
      memset((real *)dy.data + j * dy.outer + i * dy.inner + at, 0,
             (size_t)length * sizeof(real));
    for (int k = 0; k < 2; k++) {
      if (!dx[k].data)
        continue;
      const int64_t stride = b->stride[k][b->ndim - 1];
      slopes((ntk_binary_function)b->function, k, row_of(b, in, i, from, length), slope);
      for (int64_t j = 0; j < d; j++) {
        const real *x =
            (const real *)dx[k].data + j * dx[k].outer + i * dx[k].inner + from[k];
        real *y = (real *)dy.data + j * dy.outer + i * dy.inner + at;
        for (int64_t e = 0; e < length; e++)
          y[e] += slope[e] * x[e * stride];
      }
    }
  }
}

const ntk_kernels NTK_REAL(ntk_binary_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp};

/* ---- Where: the condition is a constant -----------------------------------------------
 */

/* d[i]: does the condition choose `operand` there? */
static void chosen(const ntk_broadcast *b, const ntk_array *in, const int64_t *from,
                   int64_t length, int operand, real *d) {
  const real *c = (const real *)in[0].data + from[0];
  const int64_t stride = b->stride[0][b->ndim - 1];
  for (int64_t k = 0; k < length; k++)
    d[k] = (c[k * stride] != 0) == (operand == 1) ? 1 : 0;
}

static void where_forward(const ntk_node *node, int64_t n, const ntk_array *in,
                          const ntk_array *out, void *work) {
  const ntk_broadcast *b = node->detail;
  const int last = b->ndim - 1;
  (void)work;
#pragma omp parallel for schedule(static) if (n * b->size > 1 << 15)
  for (int64_t i = 0; i < n; i++)
    for (int64_t r = 0; r < count_rows(b); r++) {
      int64_t at, from[NTK_BROADCAST];
      const int64_t length = row_at(b, r, &at, from);
      const real *c = sample(in[0], i, from[0]);
      const real *x[2] = {sample(in[2], i, from[2]), sample(in[1], i, from[1])};
      const int64_t stride[2] = {b->stride[2][last], b->stride[1][last]};
      real *y = (real *)out[0].data + i * out[0].outer + at;
      for (int64_t k = 0; k < length; k++) {
        const int first = c[k * b->stride[0][last]] != 0;
        y[k] = x[first][k * stride[first]];
      }
    }
}

static void where_vjp(const ntk_node *node, int operand, int64_t n, int64_t o,
                      const ntk_array *in, const ntk_array *out, ntk_array dy, ntk_array dx,
                      bool add, void *work) {
  const ntk_broadcast *b = node->detail;
  const size_t bytes = (size_t)b->operand_size[operand] * sizeof(real);
  (void)out;
  (void)work;
#pragma omp parallel for collapse(2) schedule(static) if (n * o * b->size > 1 << 15)
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < o; j++) {
      real *to = (real *)dx.data + i * dx.outer + j * dx.inner, d[BLOCK];
      if (!add)
        memset(to, 0, bytes);
      for (int64_t r = 0; r < count_rows(b) && operand > 0; r++) {
        int64_t at, from[NTK_BROADCAST];
        const int64_t length = row_at(b, r, &at, from);
        chosen(b, in, from, length, operand, d);
        add_row(length, d, (const real *)dy.data + i * dy.outer + j * dy.inner + at,
                to + from[operand], b->stride[operand][b->ndim - 1]);
      }
    }
}

static void where_jvp(const ntk_node *node, int64_t d, int64_t n, const ntk_array *in,
                      const ntk_array *out, const ntk_array *dx, ntk_array dy, void *work) {
  const ntk_broadcast *b = node->detail;
  (void)out;
  (void)work;
#pragma omp parallel for collapse(2) schedule(static) if (d * n * b->size > 1 << 15)
  for (int64_t j = 0; j < d; j++)
    for (int64_t i = 0; i < n; i++)
      for (int64_t r = 0; r < count_rows(b); r++) {
        int64_t at, from[NTK_BROADCAST];
        const int64_t length = row_at(b, r, &at, from);
        real *y = (real *)dy.data + j * dy.outer + i * dy.inner + at, pick[BLOCK];
        memset(y, 0, (size_t)length * sizeof(real));
        for (int k = 1; k < 3; k++) {
          if (!dx[k].data)
            continue;
          const real *x =
              (const real *)dx[k].data + j * dx[k].outer + i * dx[k].inner + from[k];
          chosen(b, in, from, length, k, pick);
          for (int64_t e = 0; e < length; e++)
            y[e] += pick[e] * x[e * b->stride[k][b->ndim - 1]];
        }
      }
}

const ntk_kernels NTK_REAL(ntk_where_kernels) = {
    .forward = where_forward, .vjp = where_vjp, .jvp = where_jvp};

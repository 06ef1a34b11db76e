/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/light.h"
#include "tensor/real.h"
#include <omp.h>
#include <string.h>

/* ---- functions of two numbers ---------------------------------------------------------
 */

/* With the sign of b, or that of a. */
static inline real remainder_of(real a, real b, bool truncated) {
  const real m = NTK_MATH(fmod)(a, b);
  return !truncated && m != 0 && (m < 0) != (b < 0) ? m + b : m;
}

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
  case NTK_BINARY_MOD:
  case NTK_BINARY_FMOD:
    return remainder_of(a, b, f == NTK_BINARY_FMOD);
  case NTK_BINARY_PRELU:
    return a > 0 ? a : a * b;
  case NTK_BINARY_GREATER:
    return a > b;
  case NTK_BINARY_LESS:
    return a < b;
  case NTK_BINARY_GREATEROREQUAL:
    return a >= b;
  case NTK_BINARY_LESSOREQUAL:
    return a <= b;
  case NTK_BINARY_AND:
    return a != 0 && b != 0;
  case NTK_BINARY_OR:
    return a != 0 || b != 0;
  case NTK_BINARY_XOR:
    return (a != 0) != (b != 0);
  default:
    return a == b;
  }
}

/* Derivatives with respect to a and b. */
static inline real slope_a(ntk_binary_function f, real a, real b) {
  switch (f) {
  case NTK_BINARY_MUL:
    return b;
  case NTK_BINARY_DIV:
    return 1 / b;
  case NTK_BINARY_POW:
    return b == 2 ? 2 * a : b == 0 ? 0 : b * NTK_MATH(pow)(a, b - 1);
  case NTK_BINARY_PRELU:
    return a > 0 ? 1 : b;
  case NTK_BINARY_ADD:
  case NTK_BINARY_SUB:
  case NTK_BINARY_MOD:
  case NTK_BINARY_FMOD:
    return 1;
  default:
    return 0;
  }
}
static inline real slope_b(ntk_binary_function f, real a, real b) {
  switch (f) {
  case NTK_BINARY_ADD:
    return 1;
  case NTK_BINARY_SUB:
    return -1;
  case NTK_BINARY_MUL:
    return a;
  case NTK_BINARY_DIV:
    return -a / (b * b);
  case NTK_BINARY_POW:
    return a == 0 ? 0 : NTK_MATH(pow)(a, b) * NTK_MATH(log)(a);
  case NTK_BINARY_MOD:
  case NTK_BINARY_FMOD: /* how often b is taken away */
    return NTK_MATH(rint)((value(f, a, b) - a) / b);
  case NTK_BINARY_PRELU:
    return a > 0 ? 0 : a;
  default:
    return 0;
  }
}

/* ---- rows: the innermost loop ---------------------------------------------------------
 */

enum { BLOCK = 512 };

/* At most BLOCK elements of one sample; from: where they start in each operand. */
typedef struct row {
  const ntk_broadcast *b;
  const ntk_array *in;
  int64_t sample, length, at, from[NTK_BROADCAST];
} row;

/* Elements of operand k, `step` apart; NULL where a vjp or jvp needs no values. */
static const real *operand_at(const row *r, int k) {
  const ntk_array x = r->in[k];
  return x.data ? (const real *)x.data + r->sample * x.outer + r->from[k] : NULL;
}
static int64_t step_of(const row *r, int k) {
  return r->b->operand[k].stride[r->b->ndim - 1];
}

static void fill(const row *r, real number, real *d) {
  for (int64_t i = 0; i < r->length; i++)
    d[i] = number;
}

static void copy(const row *r, int k, real *d) {
  const real *x = operand_at(r, k);
  const int64_t step = step_of(r, k);
  for (int64_t i = 0; i < r->length; i++)
    d[i] = x[i * step];
}

static void choose(const row *r, real *y) {
  const real *condition = operand_at(r, 0);
  const real *x[2] = {operand_at(r, 2), operand_at(r, 1)};
  const int64_t step[2] = {step_of(r, 2), step_of(r, 1)};
  for (int64_t i = 0; i < r->length; i++) {
    const int first = condition[i * step_of(r, 0)] != 0;
    y[i] = x[first][i * step[first]];
  }
}

/* Does the condition choose `operand`? */
static void chosen(const row *r, int operand, real *d) {
  const real *condition = operand_at(r, 0);
  for (int64_t i = 0; i < r->length; i++) {
    const int one = condition[i * step_of(r, 0)] != 0 ? 1 : 2;
    d[i] = one == operand;
  }
}

static void sum_up(const row *r, real *y) {
  fill(r, 0, y);
  for (int k = 0; k < r->b->operands; k++) {
    const real *x = operand_at(r, k);
    const int64_t step = step_of(r, k);
    for (int64_t i = 0; i < r->length; i++)
      y[i] += x[i * step];
  }
}

static void extremes(const row *r, real sign, real *y) {
  fill(r, -sign * (real)INFINITY, y);
  for (int k = 0; k < r->b->operands; k++) {
    const real *x = operand_at(r, k);
    const int64_t step = step_of(r, k);
    for (int64_t i = 0; i < r->length; i++)
      y[i] = sign * x[i * step] > sign * y[i] || x[i * step] != x[i * step] ? x[i * step]
                                                                            : y[i];
  }
}

/* Equal ones share. */
static void shares(const row *r, real sign, int operand, real *d) {
  real y[BLOCK];
  extremes(r, sign, y);
  fill(r, 0, d);
  for (int k = 0; k < r->b->operands; k++) {
    const real *x = operand_at(r, k);
    const int64_t step = step_of(r, k);
    for (int64_t i = 0; i < r->length; i++)
      d[i] += x[i * step] == y[i];
  }
  const real *x = operand_at(r, operand);
  for (int64_t i = 0; i < r->length; i++)
    d[i] = x[i * step_of(r, operand)] == y[i] ? 1 / d[i] : 0;
}

static real sign_of(const ntk_broadcast *b) {
  return b->function == NTK_BROADCAST_MIN ? -1 : 1;
}

static void values_of_two(const row *r, real *y) {
  const real *a = operand_at(r, 0), *b = operand_at(r, 1);
  const int64_t sa = step_of(r, 0), sb = step_of(r, 1);
  switch (r->b->function) {
#define VALUES(f)                                                                          \
  case f:                                                                                  \
    for (int64_t i = 0; i < r->length; i++)                                                \
      y[i] = value(f, a[i * sa], b[i * sb]);                                               \
    break;
    NTK_BINARY_FUNCTIONS(VALUES)
#undef VALUES
  }
}

static void values(const row *r, real *y) {
  switch (r->b->function) {
  case NTK_BROADCAST_WHERE:
    choose(r, y);
    break;
  case NTK_BROADCAST_SUM:
  case NTK_BROADCAST_MEAN:
    sum_up(r, y);
    for (int64_t i = 0; i < r->length && r->b->function == NTK_BROADCAST_MEAN; i++)
      y[i] /= (real)r->b->operands;
    break;
  case NTK_BROADCAST_MIN:
  case NTK_BROADCAST_MAX:
    extremes(r, sign_of(r->b), y);
    break;
  default:
    values_of_two(r, y);
  }
}

static void slopes_of_two(const row *r, int operand, real *d) {
  const real *a = operand_at(r, 0), *b = operand_at(r, 1);
  const int64_t sa = step_of(r, 0), sb = step_of(r, 1);
  switch (r->b->function) {
#define SLOPES(f)                                                                          \
  case f:                                                                                  \
    for (int64_t i = 0; i < r->length; i++)                                                \
      d[i] =                                                                               \
          operand ? slope_b(f, a[i * sa], b[i * sb]) : slope_a(f, a[i * sa], b[i * sb]);   \
    break;
    NTK_BINARY_FUNCTIONS(SLOPES)
#undef SLOPES
  }
}

/* d[i] = dy/d(operand); a sum needs no values, a product not those of the operand. */
static void slopes(const row *r, int operand, real *d) {
  switch (r->b->function) {
  case NTK_BINARY_ADD:
  case NTK_BINARY_SUB:
  case NTK_BROADCAST_SUM:
    fill(r, operand == 1 && r->b->function == NTK_BINARY_SUB ? -1 : 1, d);
    break;
  case NTK_BROADCAST_MEAN:
    fill(r, 1 / (real)r->b->operands, d);
    break;
  case NTK_BINARY_MUL:
    copy(r, 1 - operand, d);
    break;
  case NTK_BROADCAST_WHERE:
    chosen(r, operand, d);
    break;
  case NTK_BROADCAST_MIN:
  case NTK_BROADCAST_MAX:
    shares(r, sign_of(r->b), operand, d);
    break;
  default:
    slopes_of_two(r, operand, d);
  }
}

/* ---- loops ----------------------------------------------------------------------------
 */

/* Rows of at most BLOCK elements of one sample. */
static int64_t count_rows(const ntk_broadcast *b) {
  const int64_t inner = b->extent[b->ndim - 1];
  return inner == 0 ? 0 : b->size / inner * ((inner + BLOCK - 1) / BLOCK);
}

/* Row number r of a sample. */
static row row_at(const ntk_broadcast *b, const ntk_array *in, int64_t sample, int64_t r) {
  const int last = b->ndim - 1;
  const int64_t inner = b->extent[last], pieces = (inner + BLOCK - 1) / BLOCK;
  const int64_t start = r % pieces * BLOCK;
  int64_t rest = r / pieces;
  row out;
  out.b = b;
  out.in = in;
  out.sample = sample;
  out.length = inner - start < BLOCK ? inner - start : BLOCK;
  out.at = rest * inner + start;
  for (int i = 0; i < b->operands; i++)
    out.from[i] = start * b->operand[i].stride[last];
  for (int d = last - 1; d >= 0; d--) {
    for (int i = 0; i < b->operands; i++)
      out.from[i] += rest % b->extent[d] * b->operand[i].stride[d];
    rest /= b->extent[d];
  }
  return out;
}

static void forward(const ntk_node *node, int64_t n, const ntk_array *in,
                    const ntk_array *out, void *work) {
  const ntk_broadcast *b = node->detail;
  const int64_t rows = count_rows(b);
  (void)work;
#pragma omp parallel for schedule(static) if (n * b->size > 1 << 15)
  for (int64_t p = 0; p < n * rows; p++) {
    const row r = row_at(b, in, p / rows, p % rows);
    values(&r, (real *)out[0].data + r.sample * out[0].outer + r.at);
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
    const row r = row_at(b, in, p / rows, p % rows);
    real d[BLOCK];
    slopes(&r, operand, d);
    for (int64_t j = 0; j < o; j++) {
      const real *y = (const real *)dy.data + r.sample * dy.outer + j * dy.inner + r.at;
      real *x = (real *)dx.data + r.sample * dx.outer + j * dx.inner + r.at;
      if (add)
        for (int64_t k = 0; k < r.length; k++)
          x[k] += d[k] * y[k];
      else
        for (int64_t k = 0; k < r.length; k++)
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
  const int64_t rows = count_rows(b), size = b->operand[operand].size;
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
    for (int64_t k = 0; k < rows; k++) {
      const row r = row_at(b, in, i, k);
      slopes(&r, operand, d);
      for (int64_t j = first; j < first + part; j++)
        add_row(r.length, d, (const real *)dy.data + i * dy.outer + j * dy.inner + r.at,
                (real *)dx.data + i * dx.outer + j * dx.inner + r.from[operand],
                step_of(&r, operand));
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
    const row r = row_at(b, in, p / rows, p % rows);
    real slope[BLOCK];
    for (int64_t j = 0; j < d; j++)
      memset((real *)dy.data + j * dy.outer + r.sample * dy.inner + r.at, 0,
             (size_t)r.length * sizeof(real));
    for (int k = 0; k < b->operands; k++) {
      if (!dx[k].data)
        continue;
      const int64_t step = step_of(&r, k);
      slopes(&r, k, slope);
      for (int64_t j = 0; j < d; j++) {
        const real *x =
            (const real *)dx[k].data + j * dx[k].outer + r.sample * dx[k].inner + r.from[k];
        real *y = (real *)dy.data + j * dy.outer + r.sample * dy.inner + r.at;
        for (int64_t e = 0; e < r.length; e++)
          y[e] += slope[e] * x[e * step];
      }
    }
  }
}

const ntk_kernels NTK_REAL(ntk_binary_kernels) = {
    .forward = forward, .vjp = vjp, .jvp = jvp};

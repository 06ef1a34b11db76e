/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/cholesky.h"
#include "tensor/blas.h"
#include <math.h>

enum { BLOCK = 64 };

static int64_t width(int64_t m, int64_t k) { return m - k < BLOCK ? m - k : BLOCK; }

/* The block at the diagonal, by its rows. */
static bool factor_block(int64_t w, double *a, int64_t ld) {
  for (int64_t j = 0; j < w; j++) {
    double *row = a + j * ld;
    double square = row[j];
    for (int64_t k = 0; k < j; k++)
      square -= row[k] * row[k];
    if (!(square > 0) || !isfinite(square))
      return false;
    row[j] = sqrt(square);
    for (int64_t i = j + 1; i < w; i++) {
      double sum = a[i * ld + j];
      for (int64_t k = 0; k < j; k++)
        sum -= a[i * ld + k] * row[k];
      a[i * ld + j] = sum / row[j];
    }
  }
  return true;
}

/* w columns of n rows: x L^T = x. */
static void forward_block(int64_t n, int64_t w, const double *l, int64_t ld, double *x,
                          int64_t ldx) {
  for (int64_t i = 0; i < n; i++, x += ldx)
    for (int64_t j = 0; j < w; j++) {
      double sum = x[j];
      for (int64_t k = 0; k < j; k++)
        sum -= x[k] * l[j * ld + k];
      x[j] = sum / l[j * ld + j];
    }
}

/* The same: x L = x. */
static void backward_block(int64_t n, int64_t w, const double *l, int64_t ld, double *x,
                           int64_t ldx) {
  for (int64_t i = 0; i < n; i++, x += ldx)
    for (int64_t j = w - 1; j >= 0; j--) {
      x[j] /= l[j * ld + j];
      for (int64_t k = 0; k < j; k++)
        x[k] -= x[j] * l[j * ld + k];
    }
}

bool ntk_cholesky(int64_t m, double *a) {
  for (int64_t k = 0; k < m; k += BLOCK) {
    const int64_t w = width(m, k), rest = m - k - w;
    double *corner = a + k * m + k, *below = corner + w * m;
    if (!factor_block(w, corner, m))
      return false;
    if (rest == 0)
      break;
    forward_block(rest, w, corner, m, below, m);
    ntk_gemm_f64(false, true, rest, rest, w, -1, below, m, below, m, 1, below + w, m);
  }
  return true;
}

void ntk_cholesky_forward(int64_t n, int64_t m, const double *l, double *x) {
  for (int64_t k = 0; n > 0 && k < m; k += BLOCK) {
    const int64_t w = width(m, k);
    if (k > 0)
      ntk_gemm_f64(false, true, n, w, k, -1, x, m, l + k * m, m, 1, x + k, m);
    forward_block(n, w, l + k * m + k, m, x + k, m);
  }
}

void ntk_cholesky_backward(int64_t n, int64_t m, const double *l, double *x) {
  for (int64_t k = (m - 1) / BLOCK * BLOCK; n > 0 && k >= 0; k -= BLOCK) {
    const int64_t w = width(m, k);
    backward_block(n, w, l + k * m + k, m, x + k, m);
    if (k > 0)
      ntk_gemm_f64(false, false, n, k, w, -1, x + k, m, l + k * m, m, 1, x, m);
  }
}

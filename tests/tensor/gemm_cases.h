/* SPDX-License-Identifier: Apache-2.0 */
/* Included once for each type: `real`, NAME(function), TOLERANCE. No include guard. */

void NAME(ntk_gemm)(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                    double alpha, const real *a, int64_t lda, const real *b, int64_t ldb,
                    double beta, real *c, int64_t ldc);

static real *NAME(numbers)(int64_t count, int seed) {
  real *x = malloc((size_t)count * sizeof *x);
  assert_non_null(x);
  for (int64_t i = 0; i < count; i++)
    x[i] = (real)((double)((i + seed) * 7919 % 2003) / 1001.0 - 1);
  return x;
}

/* Compares with a naive product; what lies between the rows of C must stay. */
static void NAME(check_product)(bool ta, bool tb, int64_t m, int64_t n, int64_t k,
                                double alpha, double beta) {
  const int64_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 1, ldc = n + 2;
  real *a = NAME(numbers)((ta ? k : m) * lda + 1, 1);
  real *b = NAME(numbers)((tb ? n : k) * ldb + 1, 2);
  real *c = NAME(numbers)(m * ldc + 1, 3), *old = NAME(numbers)(m * ldc + 1, 3);
  if (beta == 0)
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++)
        c[i * ldc + j] = (real)NAN; /* must not be read */
  NAME(ntk_gemm)(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t l = 0; l < k; l++)
        sum += (double)a[ta ? l * lda + i : i * lda + l] *
               (double)b[tb ? j * ldb + l : l * ldb + j];
      const double expected = alpha * sum + beta * (double)old[i * ldc + j];
      const double difference = fabs(expected - (double)c[i * ldc + j]);
      assert_true(difference <= TOLERANCE * ((double)k + 1)); /* false for NaN */
    }
    for (int64_t j = n; j < ldc; j++)
      assert_true(c[i * ldc + j] == old[i * ldc + j]);
  }
  free(a);
  free(b);
  free(c);
  free(old);
}

static void NAME(check_products)(void) {
  static const int64_t shapes[][3] = {{1, 1, 1},  {1, 17, 5},     {23, 1, 9},    {7, 5, 3},
                                      {65, 3, 1}, {130, 67, 33},  {5, 4, 0},     {1, 1, 70},
                                      {0, 3, 2},  {301, 90, 101}, {90, 301, 101}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int transposed = 0; transposed < 4; transposed++) {
      const int64_t *d = shapes[s];
      const bool ta = transposed & 1, tb = transposed & 2;
      NAME(check_product)(ta, tb, d[0], d[1], d[2], 1, 0);
      NAME(check_product)(ta, tb, d[0], d[1], d[2], -0.5, 1);
      NAME(check_product)(ta, tb, d[0], d[1], d[2], 2, 0.25);
    }
}

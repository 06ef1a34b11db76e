/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tensor/blas.h"
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define real float
#define NAME(function) function##_f32
#define TOLERANCE 1e-6
#include "tensor/gemm_cases.h"
#undef real
#undef NAME
#undef TOLERANCE
#define real double
#define NAME(function) function##_f64
#define TOLERANCE 1e-15
#include "tensor/gemm_cases.h"

static void gemm_is_the_product(void **state) {
  (void)state;
  ntk_blas_set_threads(1);
  omp_set_num_threads(1);
  check_products_f32();
  check_products_f64();
}

/* Rows or columns are shared by threads: 301 x 90 x 101 is past the threshold, and its
 * strips are ragged or empty. */
static void gemm_is_the_product_on_threads(void **state) {
  (void)state;
  ntk_blas_set_threads(1);
  for (int threads = 2; threads <= 7; threads += 5) {
    omp_set_num_threads(threads);
    check_products_f32();
    check_products_f64();
  }
}

static void gemm_works_inside_a_parallel_region(void **state) {
  (void)state;
  ntk_blas_set_threads(1);
  omp_set_num_threads(3);
  double c[3] = {0};
#pragma omp parallel for
  for (int i = 0; i < 3; i++) {
    const double a[2] = {i, 2}, b[2] = {3, 5};
    ntk_gemm_f64(false, false, 1, 1, 2, 1, a, 2, b, 1, 0, c + i, 1);
  }
  for (int i = 0; i < 3; i++)
    assert_true(c[i] == 3 * i + 10);
}

/* A leading dimension past 32 bits: only its first row exists. */
static void gemm_takes_wide_strides(void **state) {
  (void)state;
  const int64_t wide = (int64_t)1 << 33;
  const double a[3] = {1, 2, 3}, b[3] = {4, 5, 6};
  double c = 0;
  ntk_gemm_f64(false, true, 1, 1, 3, 1, a, wide, b, wide, 0, &c, wide);
  assert_true(c == 32);
}

static void blas_threads_are_set_and_told(void **state) {
  (void)state;
  const int old = ntk_blas_set_threads(1);
  if (old == 0) /* another BLAS, which does not tell */
    return;
  assert_int_equal(ntk_blas_set_threads(2), 1);
  assert_int_equal(ntk_blas_set_threads(old), 2);
  assert_non_null(ntk_blas_name());
}

#if defined(__x86_64__)
/* Kernels without AVX2 on a processor that has it would cost a factor of 5. */
static void blas_uses_the_processor(void **state) {
  (void)state;
  if (getenv("OPENBLAS_CORETYPE") && !strstr(getenv("OPENBLAS_CORETYPE"), "SkylakeX"))
    return; /* the user's choice */
  if (__builtin_cpu_supports("avx2"))
    assert_null(strstr(ntk_blas_name(), "Prescott"));
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(gemm_is_the_product),
    cmocka_unit_test(gemm_is_the_product_on_threads),
    cmocka_unit_test(gemm_works_inside_a_parallel_region),
    cmocka_unit_test(gemm_takes_wide_strides),
    cmocka_unit_test(blas_threads_are_set_and_told),
#if defined(__x86_64__)
    cmocka_unit_test(blas_uses_the_processor),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

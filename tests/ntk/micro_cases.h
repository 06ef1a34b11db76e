/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_NTK_MICRO_CASES_H
#define TESTS_NTK_MICRO_CASES_H

/* The kernels of micro.h in one type, at every width that the processor has, against their
 * definitions. All numbers are small integers, so that sums are exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ntk/micro.h"
#include <stdlib.h>

typedef NTK_REAL(ntk_micro) kernels;
extern const kernels NTK_MICRO(portable);
#ifdef __x86_64__
extern const kernels NTK_MICRO(avx2), NTK_MICRO(avx512);
#endif

/* A table and the elements of its vectors. */
typedef struct width {
  const kernels *micro;
  int64_t lanes;
} width;

static int widths_of(width *w) {
  int count = 0;
  w[count++] = (width){&NTK_MICRO(portable), 16 / sizeof(real)};
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    w[count++] = (width){&NTK_MICRO(avx2), 32 / sizeof(real)};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    w[count++] = (width){&NTK_MICRO(avx512), 64 / sizeof(real)};
#endif
  return count;
}

enum { UNTOUCHED = 77 };

static real *reals(int64_t count) {
  real *p = malloc((size_t)(count + 1) * sizeof *p);
  assert_non_null(p);
  for (int64_t i = 0; i < count; i++)
    p[i] = UNTOUCHED;
  return p;
}

/* -3 .. 3 without a short period. */
static real *numbers(int64_t count) {
  real *p = reals(count);
  uint32_t state = 1;
  for (int64_t i = 0; i < count; i++) {
    state = state * 1664525u + 1013904223u;
    p[i] = (real)((int)(state >> 16) % 7 - 3);
  }
  return p;
}

static void check_equal(int64_t count, const real *found, const real *expected) {
  for (int64_t i = 0; i < count; i++)
    if (found[i] != expected[i])
      fail_msg("element %d: %g, not %g", (int)i, (double)found[i], (double)expected[i]);
}

/* The packed layout, from its description in micro.h: vectors in rows ld apart. */
static real *packed_by_definition(const width *w, int64_t count, int64_t k, const real *x,
                                  int64_t ld) {
  const int64_t panel = 3 * w->lanes;
  real *to = reals(ntk_packed(count, k));
  for (int64_t k0 = 0; k0 < k; k0 += NTK_SLICE)
    for (int64_t i0 = 0; i0 < count; i0 += panel) {
      const int64_t kc = k - k0 < NTK_SLICE ? k - k0 : NTK_SLICE;
      const int64_t columns = count - i0 < panel ? count - i0 : panel;
      const int64_t padded = (columns + w->lanes - 1) / w->lanes * w->lanes;
      real *out = to + ntk_packed(count, k0) + i0 * kc;
      for (int64_t j = 0; j < kc; j++)
        for (int64_t i = 0; i < padded; i++)
          out[j * padded + i] = i < columns ? x[(i0 + i) * ld + k0 + j] : 0;
    }
  return to;
}

static const int64_t counts[] = {1, 5, 24, 25, 49, 97, 144};
static const int64_t lengths[] = {1, 7, 16, 65, 512, 519};
enum {
  COUNTS = sizeof counts / sizeof *counts,
  LENGTHS = sizeof lengths / sizeof *lengths
};

static void check_packing(const width *w, int64_t count, int64_t k) {
  const int64_t ld = k + 3, ld_columns = count + 5;
  real *x = numbers(count * ld), *columns = reals(k * ld_columns);
  real *expected = packed_by_definition(w, count, k, x, ld);
  real *packed = reals(ntk_packed(count, k)), *again = reals(ntk_packed(count, k));
  w->micro->pack(count, k, x, ld, count, 0, packed);
  check_equal(ntk_packed(count, k), packed, expected);
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j < k; j++)
      columns[j * ld_columns + i] = x[i * ld + j];
  w->micro->pack_columns(count, k, columns, ld_columns, again);
  check_equal(ntk_packed(count, k), again, expected);
  free(x);
  free(columns);
  free(expected);
  free(packed);
  free(again);
}

static void vectors_are_packed(void **state) {
  width w[3];
  (void)state;
  for (int i = widths_of(w) - 1; i >= 0; i--)
    for (int c = 0; c < COUNTS; c++)
      for (int l = 0; l < LENGTHS; l++)
        check_packing(&w[i], counts[c], lengths[l]);
}

/* 3 blocks of 7 vectors each. */
static void vectors_in_blocks_are_packed(void **state) {
  enum { BLOCKS = 3, BLOCK = 7, K = 21, LD = 22, STRIDE = BLOCK * LD + 9 };
  width w[3];
  (void)state;
  for (int i = widths_of(w) - 1; i >= 0; i--) {
    real *x = numbers(BLOCKS * STRIDE), *rows = reals(BLOCKS * BLOCK * K);
    real *packed = reals(ntk_packed(BLOCKS * BLOCK, K));
    for (int r = 0; r < BLOCKS * BLOCK; r++)
      for (int k = 0; k < K; k++)
        rows[r * K + k] = x[r / BLOCK * STRIDE + r % BLOCK * LD + k];
    real *expected = packed_by_definition(&w[i], BLOCKS * BLOCK, K, rows, K);
    w[i].micro->pack(BLOCKS * BLOCK, K, x, LD, BLOCK, STRIDE, packed);
    check_equal(ntk_packed(BLOCKS * BLOCK, K), packed, expected);
    free(x);
    free(rows);
    free(packed);
    free(expected);
  }
}

static void check_product(const width *w, int64_t rows, int64_t columns, int64_t k,
                          bool add) {
  const int64_t lda = k + 2, ldc = columns + 3;
  real *a = numbers(rows * lda), *b = numbers(columns * k), *c = reals(rows * ldc);
  real *packed = reals(ntk_packed(columns, k)), *expected = reals(rows * ldc);
  const NTK_REAL(ntk_product) product = {.rows = rows,
                                         .columns = columns,
                                         .k = k,
                                         .a = a,
                                         .b = packed,
                                         .c = c,
                                         .lda = lda,
                                         .ldc = ldc,
                                         .add = add};
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < columns; i++) {
      real *sum = &expected[r * ldc + i];
      *sum = add ? UNTOUCHED : 0;
      for (int64_t j = 0; j < k; j++)
        *sum += a[r * lda + j] * b[i * k + j];
    }
  w->micro->pack(columns, k, b, k, columns, 0, packed);
  w->micro->multiply(&product);
  check_equal(rows * ldc, c, expected);
  free(a);
  free(b);
  free(c);
  free(packed);
  free(expected);
}

static void products_are_stored_or_added(void **state) {
  static const int64_t rows[] = {1, 4, 11, 16};
  width w[3];
  (void)state;
  for (int i = widths_of(w) - 1; i >= 0; i--)
    for (int r = 0; r < 4; r++)
      for (int c = 0; c < COUNTS; c++)
        for (int l = 0; l < LENGTHS; l++)
          for (int add = 0; add < 2; add++)
            check_product(&w[i], rows[r], counts[c], lengths[l], add);
}

static void check_transposition(const width *w, int64_t rows, int64_t columns) {
  const int64_t ld = columns + 1, ld_to = rows + 2;
  real *x = numbers(rows * ld), *to = reals(columns * ld_to);
  real *expected = reals(columns * ld_to);
  for (int64_t c = 0; c < columns; c++)
    for (int64_t r = 0; r < rows; r++)
      expected[c * ld_to + r] = x[r * ld + c];
  w->micro->transpose(rows, columns, x, ld, to, ld_to);
  check_equal(columns * ld_to, to, expected);
  free(x);
  free(to);
  free(expected);
}

static void matrices_are_transposed(void **state) {
  width w[3];
  (void)state;
  for (int i = widths_of(w) - 1; i >= 0; i--)
    for (int c = 0; c < COUNTS; c++)
      for (int l = 0; l < LENGTHS; l++)
        check_transposition(&w[i], counts[c], lengths[l]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_are_packed),
                                     cmocka_unit_test(vectors_in_blocks_are_packed),
                                     cmocka_unit_test(products_are_stored_or_added),
                                     cmocka_unit_test(matrices_are_transposed)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif

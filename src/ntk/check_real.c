/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/check_real.h"
#include "base/random.h"
#include "ntk/micro.h"

/* Sizes that divide nothing; sums longer than a slice of the kernel. */
enum { ROWS = 67, COLUMNS = 131, LENGTH = 549 };
enum { LEFT = ROWS * LENGTH, RIGHT = COLUMNS * LENGTH };

static void fill(uint64_t stream, int64_t count, real *values) {
  for (int64_t i = 0; i < count; i++)
    values[i] = (real)ntk_random_normal(0, stream, (uint64_t)i);
}

static double error_of(const real *a, const real *b, const real *c) {
  double most = 0, largest = 0;
  for (int64_t i = 0; i < ROWS; i++)
    for (int64_t j = 0; j < COLUMNS; j++) {
      double sum = 0;
      for (int64_t k = 0; k < LENGTH; k++)
        sum += (double)a[i * LENGTH + k] * (double)b[j * LENGTH + k];
      const double difference = fabs(sum - (double)c[i * COLUMNS + j]);
      most = difference <= most ? most : difference; /* NaN is most */
      largest = fabs(sum) > largest ? fabs(sum) : largest;
    }
  return most / largest;
}

const char *NTK_REAL(ntk_check_product)(int way, void *buffers, double *error) {
  const NTK_REAL(ntk_micro) *micro = way > 0 ? NTK_REAL(ntk_micro_at)(way - 1) : NULL;
  real *packed = buffers, *a = packed + ntk_packed(COLUMNS, LENGTH);
  real *b = a + LEFT, *c = b + RIGHT;
  const NTK_REAL(ntk_product) product = {.rows = ROWS,
                                         .columns = COLUMNS,
                                         .k = LENGTH,
                                         .a = a,
                                         .b = packed,
                                         .c = c,
                                         .lda = LENGTH,
                                         .ldc = COLUMNS};
  if (way > 0 && !micro)
    return NULL;
  fill(0, LEFT, a);
  fill(1, RIGHT, b);
  if (micro) {
    micro->pack(COLUMNS, LENGTH, b, LENGTH, COLUMNS, 0, packed);
    micro->multiply(&product);
  } else {
    const int64_t k = LENGTH;
    NTK_REAL(ntk_gemm)(false, true, ROWS, COLUMNS, k, 1, a, k, b, k, 0, c, COLUMNS);
  }
  *error = error_of(a, b, c);
  return micro ? micro->name : "BLAS";
}

#if !NTK_DOUBLE
const char *ntk_micro_name_f32(void) { return ntk_micro_get_f32()->name; }
#endif

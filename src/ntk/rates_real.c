/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/rates_real.h"
#include "base/context.h"
#include "tensor/real.h"

double NTK_REAL(ntk_time_gemm)(void *buffers, int64_t size) {
  real *a = buffers, *b = a + size * size, *c = b + size * size;
  const int repeats = size < 128 ? 64 : 1;
  const double start = ntk_seconds();
  for (int i = 0; i < repeats; i++)
    NTK_REAL(ntk_gemm)(false, true, size, size, size, 1, a, size, b, size, 0, c, size);
  return (ntk_seconds() - start) / repeats;
}

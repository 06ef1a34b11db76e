/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/check.h"
#include "base/memory.h"
#include "ntk/check_real.h"

const char *ntk_simd_name(void) { return ntk_micro_name_f32(); }

ntk_status ntk_check_products(ntk_dtype dtype, ntk_text *found) {
  ntk_status status = NTK_SUCCESS;
  const double most = dtype == NTK_F64 ? 1e-14 : 1e-5;
  void *buffers = NULL;
  double error;
  const char *name;
  NTK_TRY(
      ntk_malloc(NTK_MEMORY_GENERAL, NTK_CHECK_ELEMENTS, ntk_dtype_bytes(dtype), &buffers));
  for (int way = 0;; way++) {
    name = dtype == NTK_F64 ? ntk_check_product_f64(way, buffers, &error)
                            : ntk_check_product_f32(way, buffers, &error);
    if (!name)
      break;
    NTK_TRY(ntk_text_add(found, "%s%s %.1e", way ? ", " : "", name, error));
    NTK_REQUIRE(error <= most, NTK_ERR_NUMERICAL, "%s is off by %.1e", name, error);
  }
done:
  ntk_free(&buffers);
  return status;
}

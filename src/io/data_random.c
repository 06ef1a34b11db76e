/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/random.h"
#include "io/source.h"

static ntk_status read_random(ntk_data_source *source, int64_t first, int64_t count,
                              ntk_dtype dtype, void *out) {
  const int64_t size = ntk_shape_size(&source->shape);
  for (int64_t i = 0; i < count * size; i++) {
    const double x = ntk_random_normal(0, 0, (uint64_t)(first * size + i));
    if (dtype == NTK_F64)
      ((double *)out)[i] = x;
    else
      ((float *)out)[i] = (float)x;
  }
  return NTK_SUCCESS;
}

static void close_random(ntk_data_source *source) { ntk_free(&source); }

ntk_status ntk_data_random(ntk_context *context, int64_t samples, const ntk_shape *shape,
                           ntk_data **out) {
  ntk_data_source *source = NULL;
  const ntk_status status = ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *source, &source);
  if (status == NTK_SUCCESS)
    *source = (ntk_data_source){.format = "random numbers",
                                .dtype = NTK_F64,
                                .samples = samples,
                                .shape = *shape,
                                .read = read_random,
                                .close = close_random};
  return ntk_data_of(context, source, status, "random numbers", out);
}

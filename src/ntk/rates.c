/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/rates.h"
#include "base/context.h"
#include "base/memory.h"
#include "ntk/rates_real.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The best of a few repetitions: interference only ever slows. */
static double least_seconds(double (*run)(void *buffers, int64_t size), void *buffers,
                            int64_t size) {
  double least = run(buffers, size);
  for (int i = 0; i < 4; i++) {
    const double seconds = run(buffers, size);
    if (seconds < least)
      least = seconds;
  }
  return least;
}

static double time_copy(void *buffer, int64_t bytes) {
  const double start = ntk_seconds();
  memcpy(buffer, (char *)buffer + bytes, (size_t)bytes);
  return ntk_seconds() - start;
}

ntk_status ntk_rates_measure(ntk_rates *rates) {
  ntk_status status = NTK_SUCCESS;
  enum { LARGE = 768, SMALL = 48 };
  const int64_t bytes = 32 << 20;
  double (*const gemm[2])(void *, int64_t) = {ntk_time_gemm_f32, ntk_time_gemm_f64};
  void *buffers = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 2 * bytes, 1, &buffers));
  for (int type = 0; type < 2; type++) {
    const double flops = 2.0 * LARGE * LARGE * LARGE;
    const double few = 2.0 * SMALL * SMALL * SMALL;
    rates->gemm_flops[type] = flops / least_seconds(gemm[type], buffers, LARGE);
    /* t = flops / rate * (1 + knee / size)^3 */
    const double slowdown =
        least_seconds(gemm[type], buffers, SMALL) * rates->gemm_flops[type] / few;
    rates->gemm_knee[type] = slowdown > 1 ? SMALL * (cbrt(slowdown) - 1) : 0;
  }
  rates->copy_bytes = 2.0 * (double)bytes / least_seconds(time_copy, buffers, bytes);
done:
  ntk_free(&buffers);
  return status;
}

double ntk_rates_gemm(const ntk_rates *rates, ntk_dtype dtype, double m, double n,
                      double k) {
  const double knee = rates->gemm_knee[dtype];
  return 2 * (m + knee) * (n + knee) * (k + knee) / rates->gemm_flops[dtype];
}

ntk_status ntk_rates_write(const ntk_rates *rates, ntk_text *text) {
  return ntk_text_add(text,
                      "scantk-rates 1\nsgemm %.6g\ndgemm %.6g\nsgemm_knee %.6g\ndgemm_knee "
                      "%.6g\ncopy %.6g\n",
                      rates->gemm_flops[0], rates->gemm_flops[1], rates->gemm_knee[0],
                      rates->gemm_knee[1], rates->copy_bytes);
}

static bool read_number(const char *text, const char *name, double *value) {
  const size_t length = strlen(name);
  for (const char *line = text; line; line = strchr(line, '\n')) {
    if (*line == '\n')
      line++;
    if (strncmp(line, name, length) != 0 || line[length] != ' ')
      continue;
    char *end;
    *value = strtod(line + length, &end);
    return end != line + length && isfinite(*value) && *value >= 0;
  }
  return false;
}

ntk_status ntk_rates_parse(const char *text, const char *path, ntk_rates *rates) {
  if (strncmp(text, "scantk-rates 1\n", 15) == 0 &&
      read_number(text, "sgemm", &rates->gemm_flops[0]) &&
      read_number(text, "dgemm", &rates->gemm_flops[1]) &&
      read_number(text, "sgemm_knee", &rates->gemm_knee[0]) &&
      read_number(text, "dgemm_knee", &rates->gemm_knee[1]) &&
      read_number(text, "copy", &rates->copy_bytes) && rates->gemm_flops[0] > 0 &&
      rates->gemm_flops[1] > 0 && rates->copy_bytes > 0)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_FORMAT, "%s: not a file of rates (scantk-rates 1)", path);
}

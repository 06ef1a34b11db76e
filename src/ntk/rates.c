/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/rates.h"
#include "base/context.h"
#include "base/memory.h"
#include "ntk/rates_real.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE = 768, SMALL = 48 }; /* sizes of products */
enum { BUFFER_BYTES = 64 << 20, NAME_LENGTH = 1024 };

/* The best of repetitions over some time: interference only ever slows, and threads that
 * have just begun may share a core for some time slices. */
static double least_seconds(double (*run)(void *buffers, int64_t size), void *buffers,
                            int64_t size, double over_seconds) {
  const double start = ntk_seconds();
  double least = run(buffers, size);
  for (int i = 0; i < 4 || ntk_seconds() - start < over_seconds; i++) {
    const double seconds = run(buffers, size);
    if (seconds < least)
      least = seconds;
  }
  return least;
}

static double (*const time_gemm[2])(void *, int64_t) = {ntk_time_gemm_f32,
                                                        ntk_time_gemm_f64};

static double large_gemm(ntk_dtype dtype, void *buffers) {
  return 2.0 * LARGE * LARGE * LARGE / least_seconds(time_gemm[dtype], buffers, LARGE, 0.1);
}

ntk_status ntk_rates_gemm_now(ntk_dtype dtype, double *flops) {
  ntk_status status = NTK_SUCCESS;
  void *buffers = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)3 * LARGE * LARGE, ntk_dtype_bytes(dtype),
                     &buffers));
  *flops = large_gemm(dtype, buffers);
done:
  ntk_free(&buffers);
  return status;
}

static double time_copy(void *buffer, int64_t bytes) {
  const double start = ntk_seconds();
  memcpy(buffer, (char *)buffer + bytes, (size_t)bytes);
  return ntk_seconds() - start;
}

ntk_status ntk_rates_measure(ntk_rates *rates) {
  ntk_status status = NTK_SUCCESS;
  void *buffers = NULL;
  *rates = (ntk_rates){0};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, BUFFER_BYTES, 1, &buffers));
  for (int type = 0; type < 2; type++) {
    const double few = 2.0 * SMALL * SMALL * SMALL;
    rates->gemm_flops[type] = large_gemm((ntk_dtype)type, buffers);
    /* t = flops / rate * (1 + knee / size)^3 */
    const double slowdown =
        least_seconds(time_gemm[type], buffers, SMALL, 0) * rates->gemm_flops[type] / few;
    rates->gemm_knee[type] = slowdown > 1 ? SMALL * (cbrt(slowdown) - 1) : 0;
  }
  rates->copy_bytes =
      (double)BUFFER_BYTES / least_seconds(time_copy, buffers, BUFFER_BYTES / 2, 0);
done:
  ntk_free(&buffers);
  return status;
}

double ntk_rates_gemm(const ntk_rates *rates, ntk_dtype dtype, double m, double n,
                      double k) {
  const double knee = rates->gemm_knee[dtype];
  return 2 * (m + knee) * (n + knee) * (k + knee) / rates->gemm_flops[dtype];
}

/* ---- timings --------------------------------------------------------------------------
 */

void ntk_rates_clear(ntk_rates *rates) {
  for (int i = 0; i < rates->timing_count; i++)
    ntk_free(&rates->timings[i].name);
  ntk_free(&rates->timings);
  rates->timing_count = 0;
}

ntk_rates ntk_rates_untimed(const ntk_rates *rates) {
  ntk_rates plain = *rates;
  plain.timing_count = 0;
  plain.timings = NULL;
  return plain;
}

static ntk_timing *find(const ntk_rates *rates, const char *name) {
  for (int i = 0; i < rates->timing_count; i++)
    if (strcmp(rates->timings[i].name, name) == 0)
      return &rates->timings[i];
  return NULL;
}

const ntk_timing *ntk_rates_find(const ntk_rates *rates, const char *name) {
  return find(rates, name);
}

ntk_status ntk_rates_add(ntk_rates *rates, const char *name, const double seconds[2]) {
  ntk_status status = NTK_SUCCESS;
  ntk_timing *timing = find(rates, name);
  if (!timing) {
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, rates->timing_count + 1, sizeof *timing,
                        &rates->timings));
    timing = &rates->timings[rates->timing_count];
    NTK_TRY(ntk_strdup(name, &timing->name));
    rates->timing_count++;
  }
  timing->seconds[0] = seconds[0];
  timing->seconds[1] = seconds[1];
done:
  return status;
}

/* ---- text -----------------------------------------------------------------------------
 */

ntk_status ntk_rates_write(const ntk_rates *rates, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text,
                       "scantk-rates 1\nsgemm %.6g\ndgemm %.6g\nsgemm_knee %.6g\n"
                       "dgemm_knee %.6g\ncopy %.6g\n",
                       rates->gemm_flops[0], rates->gemm_flops[1], rates->gemm_knee[0],
                       rates->gemm_knee[1], rates->copy_bytes));
  for (int i = 0; i < rates->timing_count; i++) {
    const ntk_timing *t = &rates->timings[i];
    NTK_TRY(
        ntk_text_add(text, "timing %.6g %.6g %s\n", t->seconds[0], t->seconds[1], t->name));
  }
done:
  return status;
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

static bool read_rates(const char *text, ntk_rates *rates) {
  return strncmp(text, "scantk-rates 1\n", 15) == 0 &&
         read_number(text, "sgemm", &rates->gemm_flops[0]) &&
         read_number(text, "dgemm", &rates->gemm_flops[1]) &&
         read_number(text, "sgemm_knee", &rates->gemm_knee[0]) &&
         read_number(text, "dgemm_knee", &rates->gemm_knee[1]) &&
         read_number(text, "copy", &rates->copy_bytes) && rates->gemm_flops[0] > 0 &&
         rates->gemm_flops[1] > 0 && rates->copy_bytes > 0;
}

/* A line of a timing; *good: it is one. */
static ntk_status read_timing(const char *line, ntk_rates *rates, bool *good) {
  char name[NAME_LENGTH];
  double seconds[2];
  *good = sscanf(line, "timing %lf %lf %1023[^\n]", &seconds[0], &seconds[1], name) == 3 &&
          isfinite(seconds[0]) && isfinite(seconds[1]) && seconds[0] >= 0 &&
          seconds[1] >= 0;
  return *good ? ntk_rates_add(rates, name, seconds) : NTK_SUCCESS;
}

ntk_status ntk_rates_parse(const char *text, const char *path, ntk_rates *rates) {
  ntk_status status = NTK_SUCCESS;
  ntk_rates read = {0};
  bool good = read_rates(text, &read);
  for (const char *line = text; good && (line = strstr(line, "\ntiming ")); line++)
    NTK_TRY(read_timing(line + 1, &read, &good));
  NTK_REQUIRE(good, NTK_ERR_FORMAT, "%s: not a file of rates (scantk-rates 1)", path);
  *rates = read;
  read = (ntk_rates){0};
done:
  ntk_rates_clear(&read);
  return status;
}

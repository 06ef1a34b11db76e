/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_RATES_H
#define NTK_NTK_RATES_H

#include "base/text.h"
#include "tensor/tensor.h"

/* Seconds that something took at its shape, by name (trial.h). */
typedef struct ntk_timing {
  char *name;
  double seconds[2];
} ntk_timing;

/* What this machine does per second on one rank's threads; [2] by ntk_dtype. */
typedef struct ntk_rates {
  double gemm_flops[2]; /* large products */
  double gemm_knee[2]; /* size at which each dimension of a product costs twice its flops */
  double copy_bytes;   /* streaming, read plus write */
  int timing_count;
  ntk_timing *timings; /* owned */
} ntk_rates;
void ntk_rates_clear(ntk_rates *rates);

/* The timing of a name, NULL where there is none; adding one, which replaces. */
const ntk_timing *ntk_rates_find(const ntk_rates *rates, const char *name);
NTK_CHECKED ntk_status ntk_rates_add(ntk_rates *rates, const char *name,
                                     const double seconds[2]);
/* The same without timings: owns nothing. */
ntk_rates ntk_rates_untimed(const ntk_rates *rates);

/* Operations per second of large products just now: the yardstick of a run. Takes a tenth
 * of a second; every rank of a node at once. Local. */
NTK_CHECKED ntk_status ntk_rates_gemm_now(ntk_dtype dtype, double *flops);

/* Measures them, but no timings; below half a second. Local. */
NTK_CHECKED ntk_status ntk_rates_measure(ntk_rates *rates);

/* Text form, one "name value" or "timing seconds seconds name" a line, as kept in a cache
 * or given with --rates. What parse makes is to be cleared. */
NTK_CHECKED ntk_status ntk_rates_write(const ntk_rates *rates, ntk_text *text);
NTK_CHECKED ntk_status ntk_rates_parse(const char *text, const char *path,
                                       ntk_rates *rates);

/* Seconds of a product of m x k by k x n. */
double ntk_rates_gemm(const ntk_rates *rates, ntk_dtype dtype, double m, double n,
                      double k);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_RATES_H
#define NTK_NTK_RATES_H

#include "base/text.h"
#include "tensor/tensor.h"

/* What this machine does per second on one rank's threads; [2] by ntk_dtype. */
typedef struct ntk_rates {
  double gemm_flops[2]; /* large products */
  double gemm_knee[2]; /* size at which each dimension of a product costs twice its flops */
  double copy_bytes;   /* streaming, read plus write */
} ntk_rates;

/* Operations per second of large products just now: the yardstick of a run. Takes a tenth
 * of a second; every rank of a node at once. Local. */
NTK_CHECKED ntk_status ntk_rates_gemm_now(ntk_dtype dtype, double *flops);

/* Measures them; below half a second. Local. */
NTK_CHECKED ntk_status ntk_rates_measure(ntk_rates *rates);

/* Text form, one "name value" a line, as kept in a cache or given with --rates. */
NTK_CHECKED ntk_status ntk_rates_write(const ntk_rates *rates, ntk_text *text);
NTK_CHECKED ntk_status ntk_rates_parse(const char *text, const char *path,
                                       ntk_rates *rates);

/* Seconds of a product of m x k by k x n. */
double ntk_rates_gemm(const ntk_rates *rates, ntk_dtype dtype, double m, double n,
                      double k);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_RATES_REAL_H
#define NTK_NTK_RATES_REAL_H

#include <stdint.h>

/* Seconds of one product of size^3 on the caller's threads; buffers hold 3 size^2 reals. */
double ntk_time_gemm_f32(void *buffers, int64_t size);
double ntk_time_gemm_f64(void *buffers, int64_t size);

#endif

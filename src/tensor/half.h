/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TENSOR_HALF_H
#define NTK_TENSOR_HALF_H

#include <stdint.h>

/* Floating-point numbers of 16 bits: read, widened to f32, never computed with. */
typedef enum ntk_half { NTK_NO_HALF, NTK_F16, NTK_BF16 } ntk_half;

float ntk_half_value(ntk_half half, uint16_t bits);
/* n of them, little-endian, to f32; `out` may begin 2 n bytes before `raw`. */
void ntk_half_widen(ntk_half half, const char *raw, void *out, int64_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/half.h"
#include <string.h>

static float widen_f16(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
  int exponent = h >> 10 & 31;
  uint32_t fraction = h & 1023, bits;
  float value;
  if (exponent == 31) {
    bits = sign | 0x7f800000 | fraction << 13;
  } else if (exponent == 0 && fraction == 0) {
    bits = sign;
  } else {
    if (exponent == 0) { /* subnormal: shift until the leading one is implicit */
      exponent = 1;
      while (!(fraction & 1024)) {
        fraction <<= 1;
        exponent--;
      }
      fraction &= 1023;
    }
    bits = sign | (uint32_t)(exponent + 112) << 23 | fraction << 13;
  }
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float widen_bf16(uint16_t h) {
  const uint32_t bits = (uint32_t)h << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

float ntk_half_value(ntk_half half, uint16_t bits) {
  return half == NTK_F16 ? widen_f16(bits) : widen_bf16(bits);
}

void ntk_half_widen(ntk_half half, const char *raw, void *out, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    uint16_t bits;
    memcpy(&bits, raw + 2 * i, sizeof bits);
    const float value = ntk_half_value(half, bits);
    memcpy((char *)out + 4 * i, &value, sizeof value);
  }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"
#include <Random123/philox.h>
#include <math.h>

static philox4x64_ctr_t draw(uint64_t seed, uint64_t domain, uint64_t stream,
                             uint64_t index) {
  const philox4x64_ctr_t counter = {{index, stream, domain, 0}};
  const philox4x64_key_t key = {{seed, 0x5ca47c}}; /* a key of our own */
  return philox4x64(counter, key);
}

/* (0, 1): the middle of one of 2^52 equal pieces; of 2^53 the last would round to 1. */
static double unit(uint64_t bits) { return ((double)(bits >> 12) + 0.5) * 0x1p-52; }

uint64_t ntk_random_bits(uint64_t seed, uint64_t stream, uint64_t index) {
  return draw(seed, 0, stream, index).v[0];
}

double ntk_random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
  return unit(draw(seed, 0, stream, index).v[0]);
}

/* Box and Muller 1958. */
double ntk_random_normal(uint64_t seed, uint64_t stream, uint64_t index) {
  const philox4x64_ctr_t r = draw(seed, 0, stream, index);
  return sqrt(-2 * log(unit(r.v[0]))) * cos(6.283185307179586 * unit(r.v[1]));
}

void ntk_random_block(uint64_t seed, uint64_t domain, uint64_t stream, uint64_t index,
                      uint64_t out[4]) {
  const philox4x64_ctr_t r = draw(seed, domain, stream, index);
  for (int i = 0; i < 4; i++)
    out[i] = r.v[i];
}

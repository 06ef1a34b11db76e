/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_BASE_RANDOM_H
#define NTK_BASE_RANDOM_H

#include <stdint.h>

/* Counter-based random numbers (Philox4x64-10 of Random123): a value depends on (seed,
 * stream, index) alone, never on rank, thread or order. All calls are local and pure. */
uint64_t ntk_random_bits(uint64_t seed, uint64_t stream, uint64_t index);
double ntk_random_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* (0, 1) */
double ntk_random_normal(uint64_t seed, uint64_t stream, uint64_t index);  /* N(0, 1) */

/* All 256 bits of one draw. Domains above 0 have nothing in common with one another, nor
 * with the numbers above. */
void ntk_random_block(uint64_t seed, uint64_t domain, uint64_t stream, uint64_t index,
                      uint64_t out[4]);

#endif

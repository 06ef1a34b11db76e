/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_AUTODIFF_SLOTS_H
#define NTK_AUTODIFF_SLOTS_H

#include <scantk/status.h>
#include <stdint.h>

/* Plans offsets in one buffer for pieces with lifetimes: take, give back, and in the end
 * `bytes` is what the buffer must hold. First fit. {0} is empty. Local. */
typedef struct ntk_slot {
  int64_t at, bytes;
} ntk_slot;
typedef struct ntk_slots {
  int64_t bytes;
  int count, capacity;
  ntk_slot *taken; /* by offset */
} ntk_slots;

/* Rounded up to whole cache lines. */
int64_t ntk_slots_round(int64_t bytes);
NTK_CHECKED ntk_status ntk_slots_take(ntk_slots *slots, int64_t bytes, int64_t *at);
void ntk_slots_give(ntk_slots *slots, int64_t at);
void ntk_slots_clear(ntk_slots *slots);

#endif

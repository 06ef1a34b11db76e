/* SPDX-License-Identifier: Apache-2.0 */
#include "autodiff/slots.h"
#include "base/memory.h"
#include "base/status.h"
#include <string.h>

int64_t ntk_slots_round(int64_t bytes) { return (bytes + 63) / 64 * 64; }

ntk_status ntk_slots_take(ntk_slots *slots, int64_t bytes, int64_t *at) {
  ntk_status status = NTK_SUCCESS;
  /* an empty piece still gets a place of its own, so that offsets name pieces */
  const int64_t size = bytes > 0 ? ntk_slots_round(bytes) : 64;
  int64_t end = 0;
  int i = 0;
  if (slots->count == slots->capacity) {
    const int capacity = 2 * slots->capacity + 16;
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, capacity, sizeof(ntk_slot), &slots->taken));
    slots->capacity = capacity;
  }
  for (; i < slots->count && slots->taken[i].at - end < size; i++)
    end = slots->taken[i].at + slots->taken[i].bytes;
  memmove(&slots->taken[i + 1], &slots->taken[i],
          (size_t)(slots->count - i) * sizeof(ntk_slot));
  slots->taken[i] = (ntk_slot){end, size};
  slots->count++;
  if (end + size > slots->bytes)
    slots->bytes = end + size;
  *at = end;
done:
  return status;
}

void ntk_slots_give(ntk_slots *slots, int64_t at) {
  for (int i = 0; i < slots->count; i++)
    if (slots->taken[i].at == at) {
      memmove(&slots->taken[i], &slots->taken[i + 1],
              (size_t)(slots->count - i - 1) * sizeof(ntk_slot));
      slots->count--;
      return;
    }
}

void ntk_slots_clear(ntk_slots *slots) {
  ntk_free(&slots->taken);
  slots->count = slots->capacity = 0;
}

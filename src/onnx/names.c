/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/names.h"
#include "base/memory.h"
#include "base/status.h"
#include <string.h>

/* FNV-1a. */
static uint64_t hash(const char *key) {
  uint64_t h = 14695981039346656037u;
  for (; *key; key++)
    h = (h ^ (uint8_t)*key) * 1099511628211u;
  return h;
}

/* Where a key is, or would go. */
static int64_t find(const ntk_names *names, const char *key) {
  int64_t i = (int64_t)(hash(key) & (uint64_t)(names->capacity - 1));
  while (names->keys[i] && strcmp(names->keys[i], key) != 0)
    i = (i + 1) & (names->capacity - 1);
  return i;
}

static ntk_status grow(ntk_names *names) {
  ntk_status status = NTK_SUCCESS;
  ntk_names larger = {.capacity = names->capacity ? 2 * names->capacity : 64};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, larger.capacity, sizeof(char *), &larger.keys));
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, larger.capacity, sizeof(int64_t), &larger.numbers));
  for (int64_t i = 0; i < names->capacity; i++) {
    if (!names->keys[i])
      continue;
    const int64_t at = find(&larger, names->keys[i]);
    larger.keys[at] = names->keys[i];
    larger.numbers[at] = names->numbers[i];
  }
  larger.count = names->count;
  ntk_names_clear(names);
  *names = larger;
  larger = (ntk_names){0};
done:
  ntk_names_clear(&larger);
  return status;
}

ntk_status ntk_names_set(ntk_names *names, const char *key, int64_t number) {
  ntk_status status = NTK_SUCCESS;
  if (2 * (names->count + 1) > names->capacity)
    NTK_TRY(grow(names));
  const int64_t at = find(names, key);
  if (!names->keys[at])
    names->count++;
  names->keys[at] = key;
  names->numbers[at] = number;
done:
  return status;
}

int64_t ntk_names_get(const ntk_names *names, const char *key) {
  if (names->capacity == 0)
    return -1;
  const int64_t at = find(names, key);
  return names->keys[at] ? names->numbers[at] : -1;
}

ntk_status ntk_names_copy(const ntk_names *from, ntk_names *to) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t i = 0; i < from->capacity; i++)
    if (from->keys[i])
      NTK_TRY(ntk_names_set(to, from->keys[i], from->numbers[i]));
done:
  return status;
}

void ntk_names_clear(ntk_names *names) {
  ntk_free(&names->keys);
  ntk_free(&names->numbers);
  names->count = names->capacity = 0;
}

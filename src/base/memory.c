/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE
#include "base/memory.h"
#include "base/memory_limit.h"
#include "base/status.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A line in front of each block remembers what it is counted as. */
enum { ALIGNMENT = 64 };
typedef struct header {
  int64_t bytes;
  ntk_memory_purpose purpose;
} header;

static _Atomic int64_t used[NTK_MEMORY_PURPOSES];
static _Atomic int64_t used_total, peak_total, cap;
/* Memory shared with other processes: all of it and our part; see peak_alone. */
static _Atomic int64_t shared_bytes, shared_part, alone_before;

/* Counts bytes as used, unless that were more than the cap. */
static ntk_status take(ntk_memory_purpose purpose, int64_t bytes, int64_t *now) {
  static const char *const names[NTK_MEMORY_PURPOSES] = {
      "general use", "parameters", "factors", "sweeps", "tiles", "data"};
  const int64_t most = atomic_load(&cap), before = atomic_fetch_add(&used_total, bytes);
  *now = before + bytes;
  if (most > 0 && *now > most) {
    (void)atomic_fetch_sub(&used_total, bytes);
    return ntk_fail(NTK_ERR_MEMORY,
                    "%.1f MiB for %s, with %.1f MiB in use, are more than the cap of %.1f "
                    "MiB; use a larger --memory or a smaller --block",
                    (double)bytes / 1048576, names[purpose], (double)before / 1048576,
                    (double)most / 1048576);
  }
  (void)atomic_fetch_add(&used[purpose], bytes);
  return NTK_SUCCESS;
}

static void raise_peak(int64_t now) {
  int64_t peak = atomic_load(&peak_total);
  while (now > peak && !atomic_compare_exchange_weak(&peak_total, &peak, now)) {
  }
}

static void give_back(ntk_memory_purpose purpose, int64_t bytes) {
  (void)atomic_fetch_sub(&used[purpose], bytes);
  (void)atomic_fetch_sub(&used_total, bytes);
}

static header *header_of(void *block) {
  return (header *)(void *)((char *)block - ALIGNMENT);
}

/* Large blocks stand in huge pages where the system has them: fewer faults, and rows far
 * apart are found without walking page tables. No page reaches beyond the block. */
static void *allocate(size_t bytes) {
  const size_t huge = (size_t)2 << 20, large = 4 * huge;
  void *start;
  if (posix_memalign(&start, bytes < large ? ALIGNMENT : huge, bytes) != 0)
    return NULL;
#ifdef MADV_HUGEPAGE
  if (bytes >= large)
    (void)madvise(start, bytes / huge * huge, MADV_HUGEPAGE);
#endif
  return start;
}

ntk_status ntk_malloc(ntk_memory_purpose purpose, int64_t n, size_t size, void *out) {
  const size_t limit = (size_t)INT64_MAX / 2;
  if (n < 0 || (size > 0 && (size_t)n > limit / size))
    return ntk_fail(NTK_ERR_MEMORY, "an array of %lld elements of %zu bytes is too large",
                    (long long)n, size);
  const size_t bytes = (size_t)n * size;
  const size_t total = (bytes + 2 * (size_t)ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  int64_t now;
  const ntk_status status = take(purpose, (int64_t)bytes, &now);
  if (status != NTK_SUCCESS)
    return status;
  char *start = allocate(total);
  if (!start) {
    give_back(purpose, (int64_t)bytes);
    return ntk_fail(
        NTK_ERR_MEMORY,
        "the system has no %.1f MiB of memory left; use more ranks or a smaller "
        "--block",
        (double)bytes / 1048576);
  }
  void *block = start + ALIGNMENT;
  *header_of(block) = (header){(int64_t)bytes, purpose};
  raise_peak(now);
  memcpy(out, &block, sizeof block);
  return NTK_SUCCESS;
}

ntk_status ntk_calloc(ntk_memory_purpose purpose, int64_t n, size_t size, void *out) {
  const ntk_status status = ntk_malloc(purpose, n, size, out);
  if (status == NTK_SUCCESS) {
    void *block;
    memcpy(&block, out, sizeof block);
    memset(block, 0, (size_t)n * size);
  }
  return status;
}

ntk_status ntk_realloc(ntk_memory_purpose purpose, int64_t n, size_t size, void *inout) {
  void *old, *block = NULL;
  memcpy(&old, inout, sizeof old);
  const ntk_status status = ntk_malloc(purpose, n, size, &block);
  if (status != NTK_SUCCESS)
    return status;
  if (old) {
    const int64_t have = header_of(old)->bytes, want = header_of(block)->bytes;
    memcpy(block, old, (size_t)(have < want ? have : want));
    ntk_free(&old);
  }
  memcpy(inout, &block, sizeof block);
  return NTK_SUCCESS;
}

ntk_status ntk_strdup(const char *text, char **out) {
  const size_t bytes = strlen(text) + 1;
  char *copy = NULL;
  const ntk_status status = ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)bytes, 1, &copy);
  if (status != NTK_SUCCESS)
    return status;
  memcpy(copy, text, bytes);
  *out = copy;
  return NTK_SUCCESS;
}

void ntk_free(void *pointer) {
  void *block;
  memcpy(&block, pointer, sizeof block);
  if (!block)
    return;
  header *h = header_of(block);
  give_back(h->purpose, h->bytes);
  free(h);
  block = NULL;
  memcpy(pointer, &block, sizeof block);
}

int64_t ntk_memory_used(ntk_memory_purpose purpose) { return atomic_load(&used[purpose]); }
int64_t ntk_memory_used_total(void) { return atomic_load(&used_total); }
int64_t ntk_memory_peak_total(void) { return atomic_load(&peak_total); }
int64_t ntk_memory_set_cap(int64_t bytes) { return atomic_exchange(&cap, bytes); }
int64_t ntk_memory_room(void) {
  const int64_t most = atomic_load(&cap), now = atomic_load(&used_total);
  return most <= 0 ? INT64_MAX : most > now ? most - now : 0;
}

/* ---- memory of the system -------------------------------------------------------------
 */

/* The system counts a shared page in full for each process that has touched it. What was
 * had alone before there was anything to share is kept: pages touched later must not hide
 * it. */
static int64_t peak_alone(void) {
  const int64_t peak = ntk_proc_bytes("/proc/self/status", "VmHWM");
  const int64_t touched = ntk_proc_bytes("/proc/self/status", "RssShmem");
  const int64_t shared = atomic_load(&shared_bytes);
  const int64_t alone = peak - (touched < shared ? touched : shared);
  const int64_t before = atomic_load(&alone_before);
  return alone > before ? alone : before;
}

int64_t ntk_memory_resident(void) {
  const int64_t bytes = ntk_proc_bytes("/proc/self/status", "VmRSS");
  return bytes > 0 ? bytes : 0;
}

int64_t ntk_memory_resident_peak(void) {
  const int64_t bytes = peak_alone() + atomic_load(&shared_part);
  return bytes > 0 ? bytes : 0;
}

ntk_status ntk_memory_share(ntk_memory_purpose purpose, int64_t bytes, int ranks) {
  int64_t now;
  const ntk_status status = take(purpose, bytes / ranks, &now);
  if (status != NTK_SUCCESS)
    return status;
  raise_peak(now);
  atomic_store(&alone_before, peak_alone());
  (void)atomic_fetch_add(&shared_bytes, bytes);
  (void)atomic_fetch_add(&shared_part, bytes / ranks);
  return NTK_SUCCESS;
}

void ntk_memory_unshare(ntk_memory_purpose purpose, int64_t bytes, int ranks) {
  give_back(purpose, bytes / ranks);
  (void)atomic_fetch_sub(&shared_bytes, bytes);
  (void)atomic_fetch_sub(&shared_part, bytes / ranks);
}

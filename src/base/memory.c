/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE
#include "base/memory.h"
#include "base/status.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A line in front of each block remembers what it is counted as. */
enum { ALIGNMENT = 64 };
typedef struct header {
  int64_t bytes;
  ntk_memory_purpose purpose;
} header;

static _Atomic int64_t used[NTK_MEMORY_PURPOSES];
static _Atomic int64_t used_total, peak_total, cap;

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

/* ---- the default cap ------------------------------------------------------------------
 */

/* First number of a one-line file, -1 where there is none ("max"). */
static int64_t number_in(const char *path) {
  long long value = -1;
  FILE *file = fopen(path, "r");
  if (!file)
    return -1;
  if (fscanf(file, "%lld", &value) != 1)
    value = -1;
  (void)fclose(file);
  return value;
}

/* The number behind a name in a file of lines "name: number kB", in bytes; -1: none. */
static int64_t bytes_in(const char *path, const char *name) {
  char line[128];
  const size_t length = strlen(name);
  long long kib = -1;
  FILE *file = fopen(path, "r");
  if (!file)
    return -1;
  while (kib < 0 && fgets(line, sizeof line, file))
    if (strncmp(line, name, length) == 0 && line[length] == ':' &&
        sscanf(line + length + 1, "%lld", &kib) != 1)
      kib = -1;
  (void)fclose(file);
  return kib < 0 ? -1 : kib * 1024;
}

int64_t ntk_memory_resident_peak(void) {
  const int64_t bytes = bytes_in("/proc/self/status", "VmHWM");
  return bytes > 0 ? bytes : 0;
}

/* The least limit of a control group and those above it: batch systems limit the job, not
 * the step; in a container the group's own folder may not be visible. Shortens `group`. */
static int64_t least_limit(const char *folder, char *group, const char *name) {
  char path[1024];
  int64_t least = -1;
  for (;;) {
    (void)snprintf(path, sizeof path, "%s%s/%s", folder, group, name);
    const int64_t bytes = number_in(path);
    if (bytes > 0 && (least < 0 || bytes < least))
      least = bytes;
    char *slash = strrchr(group, '/');
    if (!slash)
      return least;
    *slash = '\0';
  }
}

/* The limit on this process by control groups, of version 2 or 1. */
static int64_t cgroup_bytes(void) {
  char line[512];
  int64_t least = -1;
  FILE *file = fopen("/proc/self/cgroup", "r");
  if (!file)
    return -1;
  while (fgets(line, sizeof line, file)) {
    char *group = strchr(line, ':');
    group = group ? strchr(group + 1, ':') : NULL;
    if (!group)
      continue;
    group[strcspn(group, "\n")] = '\0';
    int64_t bytes = -1;
    if (strncmp(line, "0::", 3) == 0)
      bytes = least_limit("/sys/fs/cgroup", group + 1, "memory.max");
    else if (strstr(line, ":memory:"))
      bytes = least_limit("/sys/fs/cgroup/memory", group + 1, "memory.limit_in_bytes");
    if (bytes > 0 && (least < 0 || bytes < least))
      least = bytes;
  }
  (void)fclose(file);
  return least;
}

static int64_t environment_bytes(const char *name, double factor) {
  const char *text = getenv(name);
  const double mib = text ? strtod(text, NULL) : 0;
  return mib > 0 ? (int64_t)(mib * factor * 1048576) : -1;
}

int64_t ntk_memory_default_cap(int ranks_on_node, const char **bound_by) {
  const char *cpus = getenv("SLURM_CPUS_ON_NODE");
  const struct {
    const char *name;
    int64_t bytes;
  } limits[] = {
      {"available memory", bytes_in("/proc/meminfo", "MemAvailable")},
      {"cgroup limit", cgroup_bytes()},
      {"SLURM_MEM_PER_NODE", environment_bytes("SLURM_MEM_PER_NODE", 1)},
      {"SLURM_MEM_PER_CPU",
       environment_bytes("SLURM_MEM_PER_CPU", cpus ? strtod(cpus, NULL) : 1)},
  };
  int64_t least = -1;
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
    if (limits[i].bytes > 0 && (least < 0 || limits[i].bytes < least)) {
      least = limits[i].bytes;
      *bound_by = limits[i].name;
    }
  if (least < 0) {
    least = (int64_t)1 << 30;
    *bound_by = "no limit found";
  }
  return least / 10 * 8 / (ranks_on_node > 0 ? ranks_on_node : 1);
}

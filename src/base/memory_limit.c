/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory_limit.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 1024, LINE_BYTES = 4096 };

static int64_t least_of(int64_t a, int64_t b) { return a < 0 || (b >= 0 && b < a) ? b : a; }

/* First number of a one-line file, -1 where there is none ("max"). */
static int64_t number_in(const char *path) {
  long long value = -1;
  FILE *file = fopen(path, "r");
  if (!file)
    return -1;
  if (fscanf(file, "%lld", &value) != 1 || value <= 0)
    value = -1;
  (void)fclose(file);
  return value;
}

int64_t ntk_proc_bytes(const char *path, const char *name) {
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

/* ---- control groups -------------------------------------------------------------------
 */

/* Where the groups that limit memory are to be seen: which of them stands at which folder.
 */
typedef struct mount {
  char group[PATH_BYTES / 4], folder[PATH_BYTES / 4];
} mount;

/* Is `word` among the words between commas? */
static bool has_word(const char *list, const char *word) {
  const size_t length = strlen(word);
  for (; list; list = strchr(list, ','), list = list ? list + 1 : NULL)
    if (strncmp(list, word, length) == 0 && (list[length] == ',' || !list[length]))
      return true;
  return false;
}

/* From a line of /proc/self/mountinfo (proc(5)). */
static bool is_mount(const char *line, bool version2, mount *out) {
  char type[32] = "", options[256] = "";
  const char *rest = strstr(line, " - ");
  if (sscanf(line, "%*s %*s %*s %255s %255s", out->group, out->folder) != 2 || !rest ||
      sscanf(rest, " - %31s %*s %255s", type, options) != 2)
    return false;
  return version2 ? strcmp(type, "cgroup2") == 0
                  : strcmp(type, "cgroup") == 0 && has_word(options, "memory");
}

static bool find_mount(const char *root, bool version2, mount *out) {
  char line[LINE_BYTES];
  bool found = false;
  (void)snprintf(line, sizeof line, "%s/proc/self/mountinfo", root);
  FILE *file = fopen(line, "r");
  while (file && !found && fgets(line, sizeof line, file))
    found = is_mount(line, version2, out);
  if (file)
    (void)fclose(file);
  return found;
}

/* The least limit of a group and those above it, as far as they are to be seen: batch
 * systems limit the job, not the step. Shortens `group`, which is seen at `folder`. */
static int64_t least_above(const char *folder, char *group, const char *name) {
  char path[2 * PATH_BYTES];
  int64_t least = -1;
  for (;;) {
    (void)snprintf(path, sizeof path, "%s%s/%s", folder, group, name);
    least = least_of(least, number_in(path));
    char *slash = strrchr(group, '/');
    if (!slash)
      return least;
    *slash = '\0';
  }
}

static int64_t limit_of(const char *root, const char *group, bool version2,
                        const char *name) {
  char folder[PATH_BYTES], below[PATH_BYTES];
  mount m;
  if (!find_mount(root, version2, &m))
    return -1;
  const size_t length = strcmp(m.group, "/") == 0 ? 0 : strlen(m.group);
  const bool seen = strncmp(group, m.group, length) == 0;
  (void)snprintf(folder, sizeof folder, "%s%s", root, m.folder);
  (void)snprintf(below, sizeof below, "%s", seen ? group + length : "");
  return least_above(folder, below, name);
}

/* A line of /proc/self/cgroup: number:controllers:group, of version 2 "0::group". */
static int64_t limit_by_line(const char *root, char *line) {
  char *controllers = strchr(line, ':');
  char *group = controllers ? strchr(++controllers, ':') : NULL;
  if (!group)
    return -1;
  *group++ = '\0';
  group[strcspn(group, "\n")] = '\0';
  if (!*controllers)
    return least_of(limit_of(root, group, true, "memory.max"),
                    limit_of(root, group, true, "memory.high"));
  return has_word(controllers, "memory")
             ? limit_of(root, group, false, "memory.limit_in_bytes")
             : -1;
}

int64_t ntk_cgroup_limit(const char *root) {
  char line[LINE_BYTES];
  int64_t least = -1;
  (void)snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
  FILE *file = fopen(line, "r");
  while (file && fgets(line, sizeof line, file))
    least = least_of(least, limit_by_line(root, line));
  if (file)
    (void)fclose(file);
  return least;
}

/* ---- the cap --------------------------------------------------------------------------
 */

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
      {"available memory", ntk_proc_bytes("/proc/meminfo", "MemAvailable")},
      {"cgroup limit", ntk_cgroup_limit("")},
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

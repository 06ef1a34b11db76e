/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_BASE_MEMORY_LIMIT_H
#define NTK_BASE_MEMORY_LIMIT_H

#include <stdint.h>

/* What the system grants in memory. All of this is local. */

/* Default cap of a rank in bytes: 80 % of min(cgroup limit, SLURM_MEM_PER_NODE,
 * SLURM_MEM_PER_CPU x cpus, MemAvailable) / ranks_on_node; *bound_by names the least. */
int64_t ntk_memory_default_cap(int ranks_on_node, const char **bound_by);

/* The least limit on this process's memory by its control group and those above it, of
 * version 2 or 1; -1: none. root: in front of all paths, "" but for tests. */
int64_t ntk_cgroup_limit(const char *root);

/* The number of a line "name: number kB" of a file, in bytes; -1: none. */
int64_t ntk_proc_bytes(const char *path, const char *name);

#endif

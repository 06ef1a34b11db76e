/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_BASE_MEMORY_H
#define NTK_BASE_MEMORY_H

#include <scantk/status.h>
#include <stddef.h>
#include <stdint.h>

/* The one allocator: overflow-checked, 64-byte aligned, counted by purpose and capped over
 * the process. All calls are local and thread-safe. */
typedef enum ntk_memory_purpose {
  NTK_MEMORY_GENERAL,
  NTK_MEMORY_PARAMETERS,
  NTK_MEMORY_FACTORS, /* panels and column blocks */
  NTK_MEMORY_SWEEP,   /* values, cotangents, tangents of a sweep */
  NTK_MEMORY_TILES,   /* accumulators and buffers of tiles */
  NTK_MEMORY_DATA,    /* samples and labels */
  NTK_MEMORY_PURPOSES
} ntk_memory_purpose;

/* *out = count * size bytes, not initialised (ntk_calloc: zeros); never NULL on success,
 * also for 0 bytes. NTK_ERR_MEMORY: overflow, beyond the cap, or the system's. */
NTK_CHECKED ntk_status ntk_malloc(ntk_memory_purpose purpose, int64_t count, size_t size,
                                  void *out /* address of a pointer */);
NTK_CHECKED ntk_status ntk_calloc(ntk_memory_purpose purpose, int64_t count, size_t size,
                                  void *out);
/* Grows or shrinks *inout (NULL: allocates), keeping what fits; for small lists. */
NTK_CHECKED ntk_status ntk_realloc(ntk_memory_purpose purpose, int64_t count, size_t size,
                                   void *inout);
/* Copy of a string. */
NTK_CHECKED ntk_status ntk_strdup(const char *text, char **out);
/* Frees *pointer and nulls it; NULL-safe. Takes the address of a pointer. */
void ntk_free(void *pointer);

int64_t ntk_memory_used(ntk_memory_purpose purpose); /* bytes now */
int64_t ntk_memory_used_total(void);
int64_t ntk_memory_peak_total(void);

/* The most that the process has had in memory so far, libraries and shared pages included
 * (VmHWM of proc(5)); 0 where the system does not tell. */
int64_t ntk_memory_resident_peak(void);

/* Sets the cap on the bytes of all purposes together (0: none) and returns the old one.
 * What is in use already stays, even if it is more. */
int64_t ntk_memory_set_cap(int64_t bytes);

/* Default cap of a rank in bytes: 80 % of min(cgroup limit, SLURM_MEM_PER_NODE,
 * SLURM_MEM_PER_CPU x cpus, MemAvailable) / ranks_on_node; *bound_by names the least. */
int64_t ntk_memory_default_cap(int ranks_on_node, const char **bound_by);

#endif

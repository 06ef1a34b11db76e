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

/* Counts memory that several processes share, `ranks` of them on a node, by this one's part
 * of it: from its making (NTK_ERR_MEMORY: beyond the cap) to its end. */
NTK_CHECKED ntk_status ntk_memory_share(ntk_memory_purpose purpose, int64_t bytes,
                                        int ranks);
void ntk_memory_unshare(ntk_memory_purpose purpose, int64_t bytes, int ranks);

/* What the process has in memory now, libraries and shared pages included (VmRSS of
 * proc(5)); 0 where the system does not tell. */
int64_t ntk_memory_resident(void);
/* The most that the process has had in memory so far, libraries included (VmHWM of
 * proc(5)), of what it shares its part alone; 0 where the system does not tell. */
int64_t ntk_memory_resident_peak(void);

/* Sets the cap on the bytes of all purposes together (0: none) and returns the old one.
 * What is in use already stays, even if it is more. */
int64_t ntk_memory_set_cap(int64_t bytes);
/* Bytes that are left under the cap; INT64_MAX where there is none. */
int64_t ntk_memory_room(void);

#endif

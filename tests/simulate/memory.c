/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/status.h"
#include "simulate.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The allocator of base/memory.h under the simulator: it counts per rank, and all large
 * blocks of all ranks lie on one another, in memory that SMPI takes for shared and does not
 * copy. Nobody may rely on what stands there; every byte is 1 at first, so that factors are
 * "right" wherever the loop keeps a flag for that. */

enum { LARGE = 1 << 20, ALIGNMENT = 64, MOST_BLOCKS = 1 << 18 };

static int64_t used[SIMULATE_RANKS], peak[SIMULATE_RANKS];
static char *shared, *shared_end;
static int64_t large_bytes[MOST_BLOCKS]; /* of the block that starts at ALIGNMENT * i */
static int large_count;

void simulate_memory_create(int64_t bytes) {
  const size_t all = (size_t)bytes + (size_t)ALIGNMENT * MOST_BLOCKS;
  if (shared)
    return;
  shared = SMPI_SHARED_MALLOC(all);
  shared_end = shared + all;
  memset(shared, 1, all);
}

int64_t simulate_memory_peak(int rank) { return peak[rank]; }

static void count(int64_t bytes) {
  int rank = 0;
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  used[rank] += bytes;
  if (used[rank] > peak[rank])
    peak[rank] = used[rank];
}

static bool is_large(const char *block) { return block >= shared && block < shared_end; }

static char *take_large(int64_t bytes) {
  char *block = shared + (int64_t)ALIGNMENT * large_count;
  if (large_count == MOST_BLOCKS || bytes > shared_end - block)
    return NULL;
  large_bytes[large_count++] = bytes;
  return block;
}

/* Its bytes stand in the line before. */
static char *take_small(int64_t bytes) {
  const size_t lines = ((size_t)bytes + 2 * (size_t)ALIGNMENT - 1) / ALIGNMENT;
  int64_t *start = aligned_alloc(ALIGNMENT, lines * ALIGNMENT);
  if (!start)
    return NULL;
  *start = bytes;
  return (char *)start + ALIGNMENT;
}

ntk_status ntk_malloc(ntk_memory_purpose purpose, int64_t n, size_t size, void *out) {
  const int64_t bytes = n * (int64_t)size;
  char *block = bytes < LARGE ? take_small(bytes) : take_large(bytes);
  (void)purpose;
  if (!block)
    return ntk_fail(NTK_ERR_MEMORY, "no %lld bytes for a simulated rank", (long long)bytes);
  count(bytes);
  memcpy(out, &block, sizeof block);
  return NTK_SUCCESS;
}

/* A large block is of no use to anybody. */
ntk_status ntk_calloc(ntk_memory_purpose purpose, int64_t n, size_t size, void *out) {
  const ntk_status status = ntk_malloc(purpose, n, size, out);
  char *block;
  if (status != NTK_SUCCESS)
    return status;
  memcpy(&block, out, sizeof block);
  if (!is_large(block))
    memset(block, 0, (size_t)n * size);
  return NTK_SUCCESS;
}

static int64_t bytes_of(const char *block) {
  int64_t bytes;
  if (is_large(block))
    return large_bytes[(block - shared) / ALIGNMENT];
  memcpy(&bytes, block - ALIGNMENT, sizeof bytes);
  return bytes;
}

ntk_status ntk_realloc(ntk_memory_purpose purpose, int64_t n, size_t size, void *inout) {
  char *old, *block;
  ntk_status status;
  memcpy(&old, inout, sizeof old);
  status = ntk_malloc(purpose, n, size, &block);
  if (status != NTK_SUCCESS)
    return status;
  if (old) {
    const int64_t have = bytes_of(old), want = bytes_of(block);
    memcpy(block, old, (size_t)(have < want ? have : want));
    ntk_free(&old);
  }
  memcpy(inout, &block, sizeof block);
  return NTK_SUCCESS;
}

ntk_status ntk_strdup(const char *text, char **out) {
  const size_t bytes = strlen(text) + 1;
  const ntk_status status = ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)bytes, 1, out);
  if (status == NTK_SUCCESS)
    memcpy(*out, text, bytes);
  return status;
}

void ntk_free(void *pointer) {
  char *block;
  memcpy(&block, pointer, sizeof block);
  if (!block)
    return;
  count(-bytes_of(block));
  if (!is_large(block))
    free(block - ALIGNMENT);
  block = NULL;
  memcpy(pointer, &block, sizeof block);
}

int64_t ntk_memory_used_total(void) {
  int rank = 0;
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return used[rank];
}

/* All ranks are one process. */
int64_t ntk_memory_resident(void) { return 0; }

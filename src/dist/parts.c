/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/parts.h"
#include "base/memory.h"
#include <limits.h>

enum { TAG = 32767 }; /* spreads use smaller ones */

ntk_status ntk_parts_create(const ntk_grid *grid, int64_t elements, ntk_parts *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t others = grid->depth - 1;
  *out = (ntk_parts){.grid = grid, .elements = elements};
  NTK_REQUIRE(others == 0 || ntk_part_size(elements) <= INT_MAX, NTK_ERR_ARGUMENT,
              "a tile of %lld elements; with depth use a smaller --block",
              (long long)elements);
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, others * ntk_part_size(elements), sizeof(double),
                     &out->received));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, others, sizeof(MPI_Request), &out->requests));
done:
  return status;
}

void ntk_parts_destroy(ntk_parts *parts) {
  ntk_free(&parts->received);
  ntk_free(&parts->requests);
}

static bool is_mine(const ntk_parts *p) {
  return p->number % p->grid->depth == p->grid->my_depth;
}

/* The part of depth d, on the owner. */
static double *part_of(const ntk_parts *p, int d) {
  const int mine = p->grid->my_depth;
  return d == mine ? p->part : p->received + (d - (d > mine)) * ntk_part_size(p->elements);
}

/* From each other depth, or to the owner's. */
ntk_status ntk_parts_begin(ntk_parts *p, int64_t number, double *part, bool is_right) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = p->grid;
  const int count = (int)ntk_part_size(p->elements), owner = (int)(number % g->depth);
  p->number = number;
  p->part = part;
  p->request_count = 0;
  part[count - 1] = is_right;
  if (!is_mine(p)) {
    NTK_TRY_MPI(MPI_Isend(part, count, MPI_DOUBLE,
                          ntk_grid_rank(g, g->my_row, g->my_column, owner), TAG, g->comm,
                          &p->requests[p->request_count]));
    p->request_count++;
    p->sent += 8.0 * count;
    goto done;
  }
  for (int d = 0; d < g->depth; d++) {
    if (d == g->my_depth)
      continue;
    NTK_TRY_MPI(MPI_Irecv(part_of(p, d), count, MPI_DOUBLE,
                          ntk_grid_rank(g, g->my_row, g->my_column, d), TAG, g->comm,
                          &p->requests[p->request_count]));
    p->request_count++;
  }
done:
  return status;
}

static void add(const ntk_parts *p) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < p->elements; i++) {
    double sum = part_of(p, 0)[i];
    for (int d = 1; d < p->grid->depth; d++)
      sum += part_of(p, d)[i];
    p->part[i] = sum;
  }
}

ntk_status ntk_parts_advance(ntk_parts *p) {
  ntk_status status = NTK_SUCCESS;
  int flag;
  if (p->part)
    NTK_TRY_MPI(MPI_Testall(p->request_count, p->requests, &flag, MPI_STATUSES_IGNORE));
done:
  return status;
}

ntk_status ntk_parts_end(ntk_parts *p, bool *mine, bool *is_right) {
  ntk_status status = NTK_SUCCESS;
  const int64_t flag = ntk_part_size(p->elements) - 1;
  NTK_TRY_MPI(MPI_Waitall(p->request_count, p->requests, MPI_STATUSES_IGNORE));
  *mine = is_mine(p);
  *is_right = p->part[flag] != 0;
  for (int d = 0; *mine && d < p->grid->depth; d++)
    *is_right = *is_right && part_of(p, d)[flag] != 0;
  if (*mine && *is_right)
    add(p);
  p->part = NULL;
done:
  return status;
}

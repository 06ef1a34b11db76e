/* SPDX-License-Identifier: Apache-2.0 */
/* Where factors come from: of the ranks of a grid row (column) and its depth each sweeps a
 * row block in turn; shares then travel to the depth that contracts with them, and there
 * along the row (column). Where that would take longer than sweeping, each rank sweeps its
 * columns for itself. */
#include "base/memory.h"
#include "job/loop_parts.h"
#include <string.h>

/* A slot ends in a line whose first byte tells whether its factors are right: a rank that
 * could not sweep still sends, and nobody may use what it sends. */
enum { LINE = NTK_SPREAD_UNIT, TAGS = 16000 };

static int64_t slot_bytes(int64_t factors) {
  return (factors + LINE - 1) / LINE * LINE + LINE;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t mine_of(const ntk_loop *j, int side) {
  return j->slot_bytes[side][j->grid.my_depth];
}

/* Of all shares. */
static int64_t whole_of(const ntk_loop *j, int side) {
  int64_t bytes = 0;
  for (int d = 0; d < j->grid.depth; d++)
    bytes += j->slot_bytes[side][d];
  return bytes;
}

/* ---- memory ---------------------------------------------------------------------------
 */

static ntk_status create_slots(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  for (int side = 0; side < 2; side++)
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, j->grid.depth, sizeof(int64_t),
                       &j->slot_bytes[side]));
done:
  return status;
}

/* The worker goes over to the pass, and slots are as large as it takes. */
static void begin_pass(ntk_loop *j, int pass) {
  const ntk_job_shape *s = j->shape;
  const ntk_worker *w = j->worker;
  if (w->begin_pass)
    w->begin_pass(w->self, pass);
  for (int side = 0; side < 2; side++) {
    const int64_t n = least(s->block, side == 0 ? s->rows : s->columns);
    for (int d = 0; d < j->grid.depth; d++)
      j->slot_bytes[side][d] =
          slot_bytes(w->block_bytes(w->self, d, n, least(s->outputs_block, s->outputs)));
  }
}

static bool is_sent_to(const ntk_loop *j) {
  return !j->recompute && (j->grid.rows > 1 || j->grid.depth > 1);
}

/* Shares of a block that is swept for others too, or that others sweep likewise. */
static int64_t own_bytes(const ntk_loop *j) {
  const bool holds_all =
      ntk_walk_has_all_columns(j) && (!j->recompute || j->grid.rows == 1);
  const int64_t rows = j->grid.depth > 1 ? whole_of(j, 0) : 0;
  const int64_t columns = holds_all ? 0 : whole_of(j, 1);
  return rows > columns ? rows : columns;
}

/* Bytes of the rank at depth d, each the most over all passes: of a slot of either side, of
 * own and of packed. */
typedef struct sizes {
  int64_t slot[2], own, packed;
} sizes;

static void enlarge(int64_t *to, int64_t bytes) { *to = bytes > *to ? bytes : *to; }

/* *out [Pd], to be freed. */
static ntk_status sizes_of(ntk_loop *j, sizes **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_job_shape *s = j->shape;
  const ntk_worker *w = j->worker;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, j->grid.depth, sizeof **out, out));
  for (int pass = 0; pass < j->passes; pass++) {
    begin_pass(j, pass);
    const int64_t own = own_bytes(j);
    for (int d = 0; d < j->grid.depth; d++) {
      for (int side = 0; side < 2; side++)
        enlarge(&(*out)[d].slot[side], j->slot_bytes[side][d]);
      enlarge(&(*out)[d].own, own);
      enlarge(&(*out)[d].packed, w->packed_bytes(w->self, d, least(s->block, s->columns),
                                                 least(s->outputs_block, s->outputs)));
    }
  }
done:
  return status;
}

ntk_status ntk_factors_create(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  const int64_t depth = j->grid.depth;
  sizes *all = NULL;
  NTK_TRY(create_slots(j));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, depth, sizeof(void *), &j->buffers));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, depth, sizeof(MPI_Request), &j->feeds));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, j->panel, sizeof(ntk_spread), &j->row_spreads));
  if (j->grid.my_row < 0)
    goto done;
  NTK_TRY(sizes_of(j, &all));
  const sizes most = all[j->grid.my_depth];
  NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, j->panel, (size_t)most.slot[0], &j->rows));
  for (int i = 0; i < 2 && is_sent_to(j); i++)
    NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, most.slot[1], 1, &j->columns[i]));
  NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, most.own, 1, &j->own));
  NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, most.packed, 1, &j->packed));
done:
  ntk_free(&all);
  return status;
}

void ntk_factors_destroy(ntk_loop *j) {
  ntk_free(&j->slot_bytes[0]);
  ntk_free(&j->slot_bytes[1]);
  ntk_free(&j->buffers);
  ntk_free(&j->feeds);
  ntk_free(&j->row_spreads);
  ntk_free(&j->rows);
  ntk_free(&j->columns[0]);
  ntk_free(&j->columns[1]);
  ntk_free(&j->own);
  ntk_free(&j->packed);
}

static int64_t books_bytes(const ntk_loop *j) {
  return j->grid.depth *
             (int64_t)(2 * sizeof(int64_t) + sizeof(void *) + sizeof(MPI_Request)) +
         j->panel * (int64_t)sizeof(ntk_spread);
}

/* Of the depth that takes most. */
ntk_status ntk_factors_bytes(ntk_loop *j, ntk_job_memory *memory) {
  ntk_status status = NTK_SUCCESS;
  sizes *all = NULL;
  NTK_TRY(create_slots(j));
  NTK_TRY(sizes_of(j, &all));
  memory->books = books_bytes(j);
  for (int d = 0; d < j->grid.depth; d++) {
    const sizes most = all[d];
    const int64_t rows = j->panel * most.slot[0];
    const int64_t columns = (is_sent_to(j) ? 2 : 0) * most.slot[1] + most.own + most.packed;
    if (rows + columns < memory->panel + memory->columns)
      continue;
    memory->panel = rows;
    memory->columns = columns;
  }
done:
  ntk_free(&all);
  ntk_free(&j->slot_bytes[0]);
  ntk_free(&j->slot_bytes[1]);
  return status;
}

/* ---- sweeping -------------------------------------------------------------------------
 */

static char *flag_of(const ntk_loop *j, int side, int depth, char *slot) {
  return slot + j->slot_bytes[side][depth] - LINE;
}

/* Sweeps block (I, q) of a side into j->buffers, unless halted. */
static void sweep(ntk_loop *j, int side, int64_t I, int64_t q) {
  const ntk_tile t = ntk_tile_of(j->shape, I, q, I, q);
  const int64_t first = side == 0 ? t.row_first : t.column_first;
  const int64_t count = side == 0 ? t.row_count : t.column_count;
  const double start = ntk_seconds();
  j->halted = j->halted || j->context->stop;
  if (!j->halted)
    j->status = j->worker->sweep(j->worker->self, side, first, count, t.row_output,
                                 t.row_outputs, j->buffers);
  j->halted = j->halted || j->status != NTK_SUCCESS || j->context->stop == NTK_STOP_DROP;
  for (int d = 0; d < j->grid.depth; d++)
    memset(flag_of(j, side, d, j->buffers[d]), !j->halted, LINE);
  (void)ntk_phase_add(j->context, NTK_PHASE_SWEEP, start);
}

/* The shares go one after the other into own. */
static void sweep_into_own(ntk_loop *j, int side) {
  int64_t at = 0;
  for (int d = 0; d < j->grid.depth; d++) {
    j->buffers[d] = j->own + at;
    at += j->slot_bytes[side][d];
  }
}

/* ---- travelling -----------------------------------------------------------------------
 */

/* One share of a row block on its way along a grid row or column of my depth. */
typedef struct path {
  ntk_line line;
  int root;         /* position in the line where it enters */
  int source_depth; /* of the rank there that has swept it */
  int tag;
} path;

static ntk_line line_of(const ntk_grid *g, bool along_row, int depth) {
  return along_row ? (ntk_line){.comm = g->comm,
                                .first = ntk_grid_rank(g, g->my_row, 0, depth),
                                .stride = g->depth,
                                .count = g->columns,
                                .mine = g->my_column}
                   : (ntk_line){.comm = g->comm,
                                .first = ntk_grid_rank(g, 0, g->my_column, depth),
                                .stride = g->columns * g->depth,
                                .count = g->rows,
                                .mine = g->my_row};
}

/* The rank that has swept sends the other depths their shares. */
static ntk_status feed(ntk_loop *j, const path *p, int side) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = &j->grid;
  if (p->line.mine != p->root || g->my_depth != p->source_depth)
    return NTK_SUCCESS;
  for (int d = 0; d < g->depth; d++) {
    if (d == g->my_depth)
      continue;
    NTK_TRY(ntk_spread_feed(g->comm, ntk_grid_rank(g, g->my_row, g->my_column, d), p->tag,
                            j->buffers[d], j->slot_bytes[side][d],
                            &j->feeds[j->feed_count]));
    j->feed_count++;
    j->traffic->bytes += (double)j->slot_bytes[side][d];
  }
done:
  return status;
}

static ntk_status send_on_its_way(ntk_loop *j, const path *p, int side, char *slot,
                                  ntk_spread *spread) {
  const ntk_line *l = &p->line;
  const int source = l->first + p->root * l->stride + p->source_depth - j->grid.my_depth;
  return ntk_spread_begin(spread, l, p->root, source, p->tag, slot, mine_of(j, side));
}

static ntk_status end_feeds(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  const double start = ntk_seconds();
  NTK_TRY_MPI(MPI_Waitall(j->feed_count, j->feeds, MPI_STATUSES_IGNORE));
  j->feed_count = 0;
done:
  (void)ntk_phase_add(j->context, NTK_PHASE_EXCHANGE, start);
  return status;
}

/* Waits for what arrives; nobody uses what is not right. */
static ntk_status wait_for(ntk_loop *j, ntk_spread *spread, int side, const char *slot) {
  ntk_status status = NTK_SUCCESS;
  const double start = ntk_seconds();
  NTK_TRY(ntk_spread_wait(spread));
  if (!slot[mine_of(j, side) - LINE])
    j->halted = true;
done:
  (void)ntk_phase_add(j->context, NTK_PHASE_EXCHANGE, start);
  return status;
}

static ntk_status end(ntk_loop *j, ntk_spread *spread) {
  ntk_status status = NTK_SUCCESS;
  const double start = ntk_seconds();
  const bool counts = spread->buffer != NULL;
  const double bytes = (double)spread->units * LINE;
  j->traffic->bytes += counts ? bytes * spread->to_count : 0;
  NTK_TRY(ntk_spread_end(spread));
  j->traffic->travelled += counts ? spread->travelled : 0;
  j->traffic->waited += counts ? spread->waited : 0;
done:
  (void)ntk_phase_add(j->context, NTK_PHASE_EXCHANGE, start);
  return status;
}

/* ---- rows -----------------------------------------------------------------------------
 */

static char *row_slot(const ntk_loop *j, int64_t k) {
  return j->rows + (k - j->panel_at) * mine_of(j, 0);
}

const char *ntk_factors_row(const ntk_loop *j, int64_t k) { return row_slot(j, k); }

/* Of the row blocks k .. the one whose turn is mine. */
static ntk_status sweep_row(ntk_loop *j, int64_t k) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = &j->grid;
  const int64_t turns = (int64_t)g->columns * g->depth,
                turn = (int64_t)g->my_depth * g->columns + g->my_column;
  const int64_t mine = k + ((turn - k) % turns + turns) % turns;
  if (mine >= ntk_walk_panel_end(j, g->my_row) || !ntk_walk_is_row_used(j, mine))
    return NTK_SUCCESS;
  NTK_TRY(end_feeds(j));
  if (g->depth > 1)
    sweep_into_own(j, 0);
  j->buffers[g->my_depth] = row_slot(j, mine);
  sweep(j, 0, ntk_walk_block(j, mine, g->my_row, g->rows), mine % j->parts);
done:
  return status;
}

static ntk_status send_row(ntk_loop *j, int64_t k) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = &j->grid;
  const path p = {.line = line_of(g, true, g->my_depth),
                  .root = (int)(k % g->columns),
                  .source_depth = (int)(k / g->columns % g->depth),
                  .tag = (int)(k % TAGS)};
  if (!ntk_walk_is_row_used(j, k))
    return NTK_SUCCESS;
  NTK_TRY(feed(j, &p, 0));
  NTK_TRY(send_on_its_way(j, &p, 0, row_slot(j, k), &j->row_spreads[k - j->panel_at]));
done:
  return status;
}

static ntk_status take_row(ntk_loop *j, int64_t k) {
  ntk_status status = NTK_SUCCESS;
  ntk_spread *spread = &j->row_spreads[k - j->panel_at];
  if (!ntk_walk_is_row_used(j, k))
    return NTK_SUCCESS;
  NTK_TRY(wait_for(j, spread, 0, row_slot(j, k)));
  NTK_TRY(end(j, spread));
done:
  return status;
}

/* Each round of as many row blocks as ranks share them is swept while the one before is on
 * its way. */
ntk_status ntk_factors_load_panel(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = &j->grid;
  const int64_t end_of_panel = ntk_walk_panel_end(j, g->my_row);
  const int64_t turns = (int64_t)g->columns * g->depth;
  NTK_TRY(ntk_factors_settle(j)); /* the slots are free */
  begin_pass(j, j->pass);
  j->row_taken = j->row_sent = j->panel_at;
  for (int64_t k = j->panel_at; k < end_of_panel; k += turns) {
    NTK_TRY(sweep_row(j, k));
    for (; j->row_sent < least(k + turns, end_of_panel); j->row_sent++)
      NTK_TRY(send_row(j, j->row_sent));
    for (; j->row_taken < k; j->row_taken++)
      NTK_TRY(take_row(j, j->row_taken));
    ntk_walk_report(j);
  }
  for (; j->row_taken < end_of_panel; j->row_taken++)
    NTK_TRY(take_row(j, j->row_taken));
  NTK_TRY(end_feeds(j));
  j->begun = 0;
done:
  return status;
}

/* ---- columns --------------------------------------------------------------------------
 */

/* Of each round of as many column blocks as ranks share them, every rank sweeps the one
 * that it will send, all at work at once. */
static ntk_status sweep_column(ntk_loop *j, int64_t k) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = &j->grid;
  const int64_t round = (int64_t)g->rows * g->depth;
  const int64_t mine = k + (int64_t)g->my_depth * g->rows + g->my_row;
  if (k % round != 0 || mine >= ntk_walk_owned(j, j->n2, g->my_column, g->columns) ||
      ntk_walk_in_panel(j, mine) >= 0 || !ntk_walk_is_needed(j, mine))
    return NTK_SUCCESS;
  NTK_TRY(ntk_factors_settle(j)); /* own is free */
  sweep_into_own(j, 1);
  sweep(j, 1, ntk_walk_column(j, mine), mine % j->parts);
done:
  return status;
}

ntk_status ntk_factors_begin_column(ntk_loop *j, int64_t k) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = &j->grid;
  if (k < j->begun || j->recompute)
    return NTK_SUCCESS;
  j->begun = k + 1;
  NTK_TRY(sweep_column(j, k));
  if (k >= ntk_walk_owned(j, j->n2, g->my_column, g->columns) || !ntk_walk_is_needed(j, k))
    goto done;
  const int64_t there = ntk_walk_in_panel(j, k);
  const int64_t J = ntk_walk_column(j, k);
  const path p = {.line = line_of(g, false, g->my_depth),
                  .root = (int)((there >= 0 ? J : k) % g->rows),
                  .source_depth = there >= 0 ? g->my_depth : (int)(k / g->rows % g->depth),
                  .tag = (int)(TAGS + k % TAGS)};
  const bool is_root = g->my_row == p.root && g->my_depth == p.source_depth;
  ntk_spread *spread = &j->coming[k % 2];
  NTK_TRY(end(j, spread));
  char *slot = !is_root     ? j->columns[j->received++ % 2]
               : there >= 0 ? row_slot(j, there)
                            : j->buffers[g->my_depth];
  j->factors[k % 2] = slot;
  if (there < 0)
    NTK_TRY(feed(j, &p, 1));
  NTK_TRY(send_on_its_way(j, &p, 1, slot, spread));
done:
  return status;
}

/* The block is in my panel, or is swept at once. */
static void recompute_column(ntk_loop *j, int64_t k) {
  const ntk_grid *g = &j->grid;
  const int64_t J = ntk_walk_column(j, k), there = ntk_walk_in_panel(j, k);
  if (!ntk_walk_is_mine(j, k))
    return;
  if (there >= 0 && J % g->rows == g->my_row) {
    j->factors[k % 2] = row_slot(j, there);
    return;
  }
  sweep_into_own(j, 1);
  sweep(j, 1, J, k % j->parts);
  j->factors[k % 2] = j->buffers[g->my_depth];
}

static void pack(ntk_loop *j, int64_t k) {
  const double start = ntk_seconds();
  if (j->halted || !ntk_walk_is_mine(j, k))
    return;
  const ntk_tile t = ntk_tile_of(j->shape, 0, 0, ntk_walk_column(j, k), k % j->parts);
  j->worker->pack(j->worker->self, t.column_count, t.column_outputs, j->factors[k % 2],
                  j->packed);
  (void)ntk_phase_add(j->context, NTK_PHASE_CONTRACT, start);
}

ntk_status ntk_factors_take_column(ntk_loop *j, int64_t k) {
  ntk_status status = NTK_SUCCESS;
  if (j->recompute)
    recompute_column(j, k);
  else
    NTK_TRY(wait_for(j, &j->coming[k % 2], 1, j->factors[k % 2]));
  pack(j, k);
done:
  return status;
}

ntk_status ntk_factors_advance(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  int flag;
  for (int64_t k = j->row_taken; k < j->row_sent; k++)
    NTK_TRY(ntk_spread_advance(&j->row_spreads[k - j->panel_at]));
  NTK_TRY(ntk_spread_advance(&j->coming[0]));
  NTK_TRY(ntk_spread_advance(&j->coming[1]));
  if (j->feed_count > 0)
    NTK_TRY_MPI(MPI_Testall(j->feed_count, j->feeds, &flag, MPI_STATUSES_IGNORE));
done:
  return status;
}

ntk_status ntk_factors_settle(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(end(j, &j->coming[0]));
  NTK_TRY(end(j, &j->coming[1]));
  NTK_TRY(end_feeds(j));
done:
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "job/loop_parts.h"
#include <omp.h>
#include <string.h>

/* ---- tiles ----------------------------------------------------------------------------
 */

/* Often enough for messages that need both ranks' hands, rarely enough to cost nothing. */
static const double seconds_between = 50e-6;

/* Between pieces of work: a library of messages may have nobody else to move them. */
static void move_on(void *self) {
  ntk_loop *j = self;
  const double now = ntk_seconds();
  if (now - j->moved < seconds_between || j->moving != NTK_SUCCESS)
    return;
  j->moving = ntk_factors_advance(j);
  if (j->moving == NTK_SUCCESS)
    j->moving = ntk_parts_advance(&j->sums);
  j->moved = ntk_seconds();
}

/* What goes on beside a contraction: the finished tile is written, and messages move. That
 * takes one of the threads, and this share of the time is what it costs. */
static ntk_status write_finished(void *self) {
  ntk_loop *j = self;
  const double start = ntk_seconds();
  ntk_status status = ntk_tile_write(&j->tiles, j->sink);
  j->context->phase_seconds[NTK_PHASE_WRITE] +=
      (ntk_seconds() - start) / omp_get_num_threads();
  move_on(j);
  return status;
}

/* Whatever has happened since, a tile that was finished is written. */
static void write_last(ntk_loop *j) {
  const ntk_status status = write_finished(j);
  if (status != NTK_SUCCESS)
    j->status = status;
}

/* The worker's call, during which the tile before is written. */
static ntk_status add_product(ntk_loop *j, const ntk_tile *tile, int64_t row, bool mirror,
                              double *acc) {
  const double start = ntk_seconds();
  const double *written = &j->context->phase_seconds[NTK_PHASE_WRITE], before = *written;
  const ntk_status status =
      j->worker->contract(j->worker->self, tile, ntk_factors_row(j, row), j->packed, mirror,
                          acc, (ntk_meanwhile){write_finished, j});
  (void)ntk_phase_add(j->context, NTK_PHASE_CONTRACT, start + *written - before);
  return status;
}

static void finish(ntk_loop *j, const ntk_tile *tile, bool mirror, double *acc) {
  const double start = ntk_seconds();
  if (!j->halted)
    j->status = ntk_tile_finish(j->shape, tile, mirror, acc, &j->tiles);
  j->halted = j->halted || j->status != NTK_SUCCESS;
  (void)ntk_phase_add(j->context, NTK_PHASE_WRITE, start);
}

/* The tile whose parts are on their way becomes whole on its owner; its accumulator is the
 * spare one again. */
static ntk_status end_parts(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  const double start = ntk_seconds();
  double *part = j->sums.part;
  bool is_mine, is_right;
  if (!part)
    return NTK_SUCCESS;
  NTK_TRY(ntk_parts_end(&j->sums, &is_mine, &is_right));
  (void)ntk_phase_add(j->context, NTK_PHASE_EXCHANGE, start);
  j->halted = j->halted || !is_right;
  if (is_mine)
    finish(j, &j->tile, j->tile_mirror, part);
  else
    memset(part, 0, (size_t)j->tiles.sums * sizeof *part);
  j->spare = part;
done:
  return status;
}

/* All that this depth has of a tile is in *acc. */
static ntk_status complete(ntk_loop *j, const ntk_tile *tile, bool mirror, double **acc) {
  ntk_status status = NTK_SUCCESS;
  if (j->grid.depth == 1) {
    finish(j, tile, mirror, *acc);
    return NTK_SUCCESS;
  }
  NTK_TRY(end_parts(j));
  NTK_TRY(ntk_parts_begin(&j->sums, j->tile_number++, *acc, !j->halted));
  j->tile = *tile;
  j->tile_mirror = mirror;
  *acc = j->spare;
done:
  return status;
}

static bool is_last_pass(const ntk_loop *j) { return j->pass == j->passes - 1; }

/* Accumulators of a tile before those of the next begin: none where it is finished by then,
 * one for each part of a sum where it stays for another pass. */
static int64_t accumulators_of_tile(const ntk_loop *j) {
  if (j->passes == 1)
    return ntk_walk_sums_parts(j);
  return ntk_walk_sums_parts(j) ? j->parts : 1;
}

/* Where the q-th part of a sum is contracted to, beside the sum itself, which is the first:
 * parts are added whole, so that passes do not change the order of any addition. */
static double *part_acc(const ntk_loop *j, int64_t sum, int64_t q) {
  if (!ntk_walk_sums_parts(j) || q == 0)
    return j->tiles.acc[sum];
  return j->tiles.acc[j->passes > 1 ? sum + q : ntk_walk_accumulators(j) - 1];
}

static void add_part(const ntk_loop *j, double *part, double *sum) {
  const int64_t count = j->tiles.sums;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) {
    sum[i] += part[i];
    part[i] = 0;
  }
}

/* The tiles of the column in hand begin: where they began with the part before, behind
 * those of the columns before where these stay, else in their place. */
static void place_column(ntk_loop *j, int64_t k) {
  const bool goes_on = ntk_walk_sums_parts(j) && k % j->parts > 0;
  if (!goes_on)
    j->column_acc = j->passes > 1 ? j->next_acc : 0;
  j->next_acc = j->column_acc;
}

static ntk_status contract(ntk_loop *j, int64_t row, int64_t J, int64_t p) {
  ntk_status status = NTK_SUCCESS;
  const ntk_job_shape *s = j->shape;
  const int64_t q = row % j->parts;
  const int64_t I = ntk_walk_block(j, row, j->grid.my_row, j->grid.rows);
  if (!ntk_walk_is_contracted(j, I, q, J, p))
    return NTK_SUCCESS;
  double **sum = &j->tiles.acc[j->next_acc], *acc = part_acc(j, j->next_acc, q);
  j->next_acc += accumulators_of_tile(j);
  const bool mirror = s->symmetric && I == J && q == p;
  const ntk_tile tile = ntk_tile_of(s, I, q, J, p);
  j->halted = j->halted || j->context->stop;
  if (!j->halted) {
    j->status = add_product(j, &tile, row, mirror, acc);
    j->halted = j->status != NTK_SUCCESS || j->context->stop == NTK_STOP_DROP;
    j->done += !j->halted;
    j->kept += !j->halted && is_last_pass(j);
  }
  ntk_walk_report(j);
  if (is_last_pass(j) && acc != *sum)
    add_part(j, acc, *sum);
  if (is_last_pass(j) && (!ntk_walk_sums_parts(j) || q == j->parts - 1))
    NTK_TRY(complete(j, &tile, mirror, sum));
done:
  return status;
}

/* One step of the column side: the k-th column block with all of the panel, while the next
 * one is on its way. */
static ntk_status column_step(ntk_loop *j, int64_t k) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = &j->grid;
  const int64_t columns = ntk_walk_owned(j, j->n2, g->my_column, g->columns);
  NTK_TRY(j->moving);
  const bool is_needed = k < columns && ntk_walk_is_needed(j, k);
  if (g->my_row < 0)
    return NTK_SUCCESS;
  NTK_TRY(ntk_factors_begin_column(j, k));
  if (is_needed)
    NTK_TRY(ntk_factors_take_column(j, k));
  NTK_TRY(ntk_factors_begin_column(j, k + 1));
  if (!is_needed)
    goto done;
  const int64_t J = ntk_walk_column(j, k);
  place_column(j, k);
  for (int64_t row = j->panel_at; row < ntk_walk_panel_end(j, g->my_row); row++)
    NTK_TRY(contract(j, row, J, k % j->parts));
done:
  return status;
}

/* ---- the loop -------------------------------------------------------------------------
 */

/* 0: goes on, 1: stops, 2: failed. */
static ntk_status vote(ntk_loop *j, ntk_vote *v, int *decided) {
  const double start = ntk_seconds();
  const int flag = j->status != NTK_SUCCESS ? 2 : j->halted || j->context->stop;
  const ntk_status status = ntk_vote_next(v, flag, decided);
  (void)ntk_phase_add(j->context, NTK_PHASE_WAIT, start);
  return status;
}

static ntk_status stopped(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  int64_t tiles[2] = {j->kept, j->total / j->passes};
  NTK_TRY(ntk_stop_obeyed(j->context));
  if (j->grid.my_depth > 0) /* who has parts of them counts nothing */
    tiles[0] = tiles[1] = 0;
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, tiles, 2, MPI_INT64_T, MPI_SUM, j->context->comm));
  status = ntk_fail(NTK_STOPPED, "stopped (%s) at %lld of %lld tiles",
                    j->context->stopped_for, (long long)tiles[0], (long long)tiles[1]);
done:
  return status;
}

/* The panel in hand, in the pass in hand. */
static ntk_status run_pass(ntk_loop *j, ntk_vote *v, int *decided) {
  ntk_status status = NTK_SUCCESS;
  const int64_t steps = ntk_walk_owned(j, j->n2, 0, j->grid.columns);
  NTK_TRY(ntk_factors_load_panel(j));
  j->next_acc = 0;
  for (int64_t k = 0; k < steps; k++) {
    NTK_TRY(vote(j, v, decided));
    if (*decided)
      break;
    NTK_TRY(column_step(j, k));
  }
done:
  return status;
}

/* All ranks of the context take the same number of steps, so that the vote is in step. */
static ntk_status run_panels(ntk_loop *j, ntk_vote *v, int *decided) {
  ntk_status status = NTK_SUCCESS;
  const int64_t most_rows = ntk_walk_owned(j, j->n1, 0, j->grid.rows);
  for (j->panel_at = 0; j->panel_at < most_rows && !*decided; j->panel_at += j->panel)
    for (j->pass = 0; j->pass < j->passes && !*decided; j->pass++)
      NTK_TRY(run_pass(j, v, decided));
  NTK_TRY(ntk_factors_settle(j));
done:
  return status;
}

/* The tiles whose sums are complete, whatever has happened. */
static ntk_status finish_last(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  write_last(j);
  NTK_TRY(end_parts(j));
  write_last(j);
  j->traffic->bytes += j->sums.sent;
done:
  return status;
}

/* The last vote comes after the last tile is written, and tells of that too; a wish to stop
 * that comes when all is done is none. */
static ntk_status run_to_the_end(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  int decided = 0, last = 0;
  ntk_vote v;
  ntk_vote_begin(&v, j->context->comm);
  status = run_panels(j, &v, &decided);
  if (status != NTK_SUCCESS)
    write_last(j);
  NTK_TRY(status);
  NTK_TRY(finish_last(j));
  NTK_TRY(ntk_vote_finish(&v, j->status != NTK_SUCCESS ? 2 : j->halted, &last));
  if (last == 2)
    status = ntk_agree(j->context->comm, j->status);
  else if (last == 1 || decided == 1)
    status = stopped(j);
done:
  return status;
}

static ntk_status allocate(ntk_loop *j) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_factors_create(j));
  if (j->grid.my_row < 0)
    goto done;
  NTK_TRY(ntk_tile_buffers_create(j->shape, ntk_walk_accumulators(j), j->grid.depth > 1,
                                  &j->tiles));
  j->spare = j->tiles.acc[j->tiles.acc_count - 1];
  NTK_TRY(ntk_parts_create(&j->grid, j->tiles.sums, &j->sums));
done:
  return status;
}

ntk_status ntk_job_run(ntk_context *context, const ntk_job_shape *shape,
                       const ntk_layout *layout, const ntk_worker *worker,
                       const ntk_sink *sink, ntk_job_traffic *traffic) {
  ntk_status status = NTK_SUCCESS;
  ntk_job_traffic ignored = {0};
  ntk_loop j = {.context = context,
                .worker = worker,
                .sink = sink,
                .traffic = traffic ? traffic : &ignored,
                .start = ntk_seconds()};
  ntk_walk_set(&j, shape, layout);
  j.grid.comm = MPI_COMM_NULL;
  context->between = (ntk_between){move_on, &j};
  *j.traffic = (ntk_job_traffic){0};
  NTK_TRY(ntk_grid_create(context->comm, layout->grid_rows, layout->grid_columns,
                          layout->grid_depth, &j.grid));
  NTK_TRY(ntk_agree(context->comm, allocate(&j)));
  j.total = ntk_walk_pairs(&j) * j.passes;
  NTK_TRY(run_to_the_end(&j));
done:
  context->between = (ntk_between){0};
  ntk_grid_destroy(&j.grid);
  ntk_factors_destroy(&j);
  ntk_parts_destroy(&j.sums);
  ntk_tile_buffers_destroy(&j.tiles);
  return status;
}

int64_t ntk_job_tiles(const ntk_job_shape *s) {
  const int64_t n1 = ntk_job_blocks(s->rows, s->block),
                n2 = ntk_job_blocks(s->columns, s->block);
  const int64_t parts = ntk_job_blocks(s->outputs, s->outputs_block);
  const bool equal_parts =
      s->reduction == NTK_REDUCE_TRACE || s->reduction == NTK_REDUCE_DIAGONAL;
  const int64_t each = equal_parts ? parts : parts * parts;
  if (!s->symmetric)
    return n1 * n2 * each;
  const int64_t own = equal_parts ? parts : parts * (parts + 1) / 2;
  return n1 * (n1 - 1) / 2 * each + n1 * own;
}

ntk_status ntk_job_bytes(const ntk_job_shape *shape, const ntk_layout *layout,
                         const ntk_worker *worker, ntk_job_memory *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_loop j = {.worker = worker};
  const bool deep = layout->grid_depth > 1;
  ntk_walk_set(&j, shape, layout);
  *out = (ntk_job_memory){
      .tiles = ntk_tile_buffers_bytes(shape, ntk_walk_accumulators(&j), deep),
      .parts = ntk_parts_bytes(layout->grid_depth, ntk_tile_most_sums(shape))};
  NTK_TRY(ntk_factors_bytes(&j, out));
done:
  return status;
}

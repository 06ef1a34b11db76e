/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "job/job.h"
#include "job/tile.h"
#include <omp.h>
#include <string.h>

/* One run of the loop on one rank. Row block r = I * parts + q; the row blocks of a grid
 * row are numbered k = 0, 1, ... in the order of r, those of a grid column likewise. */
typedef struct job {
  ntk_context *context;
  const ntk_job_shape *shape;
  const ntk_worker *worker;
  const ntk_sink *sink;
  ntk_grid grid;
  int64_t n1, n2, parts;           /* sample blocks of the sides, parts of each */
  int64_t panel, panel_at;         /* row blocks held at a time; first of those in hand */
  bool has_all_columns;            /* in the panels: no column block is swept */
  int64_t row_bytes, column_bytes; /* of a slot: factors and a flag */
  int64_t packed_bytes;
  char *rows;         /* [panel][row_bytes] */
  char *column, *own; /* [column_bytes] the one in hand; the next of mine */
  char *packed;       /* the one in hand, as it is contracted */
  ntk_tile_buffers tiles;
  ntk_status status;   /* of this rank */
  bool halted;         /* this rank failed or heard of it: it only keeps in step */
  int64_t done, total; /* pairs of row blocks of this rank */
  double start;
} job;

/* How many of n blocks a grid row or column (`mine` of `count`) has, in row blocks. */
static int64_t owned(int64_t n, int mine, int count, int64_t parts) {
  return ntk_grid_dealt(n, mine, count) * parts;
}

/* Are (I, q) and (J, p) contracted? Of two symmetric sample blocks one half suffices; sums
 * over outputs take only equal parts; of a sample block with itself one half suffices. */
static bool is_contracted(const job *j, int64_t I, int64_t q, int64_t J, int64_t p) {
  const ntk_job_shape *s = j->shape;
  if (s->symmetric && !ntk_pair_is_computed(I, J, j->n1))
    return false;
  if (s->reduction == NTK_REDUCE_TRACE || s->reduction == NTK_REDUCE_DIAGONAL)
    return q == p;
  return !s->symmetric || I != J || q <= p;
}

static int64_t block_of(const job *j, int64_t k, int mine, int count) {
  return mine + k / j->parts * count;
}

/* ---- factors --------------------------------------------------------------------------
 */

/* A slot ends in a line whose first byte tells whether its factors are right: a rank that
 * could not sweep still takes part in the broadcast, and nobody may use what it sends. */
enum { LINE = 64 };
static int64_t slot_bytes(int64_t factors) {
  return (factors + LINE - 1) / LINE * LINE + LINE;
}
static char *flag_of(char *slot, int64_t bytes) { return slot + bytes - LINE; }

/* Sweeps block (I, q) of a side into the slot, unless halted. */
static void sweep(job *j, int side, int64_t I, int64_t q, char *slot) {
  const ntk_tile t = ntk_tile_of(j->shape, I, q, I, q);
  const int64_t first = side == 0 ? t.row_first : t.column_first;
  const int64_t count = side == 0 ? t.row_count : t.column_count;
  const double start = ntk_seconds();
  if (!j->halted)
    j->status = j->worker->sweep(j->worker->self, side, first, count, t.row_output,
                                 t.row_outputs, slot);
  j->halted = j->halted || j->status != NTK_SUCCESS;
  memset(flag_of(slot, side == 0 ? j->row_bytes : j->column_bytes), !j->halted, LINE);
  (void)ntk_phase_add(j->context, NTK_PHASE_SWEEP, start);
}

static ntk_status share(job *j, char *slot, int64_t bytes, int root, MPI_Comm comm) {
  const double start = ntk_seconds();
  const ntk_status status = ntk_bcast(slot, bytes, root, comm);
  if (status == NTK_SUCCESS && !*flag_of(slot, bytes))
    j->halted = true;
  (void)ntk_phase_add(j->context, NTK_PHASE_EXCHANGE, start);
  return status;
}

static char *row_slot(const job *j, int64_t k) {
  return j->rows + (k - j->panel_at) * j->row_bytes;
}

static int64_t panel_end(const job *j, int grid_row) {
  const int64_t end = j->panel_at + j->panel,
                all = owned(j->n1, grid_row, j->grid.rows, j->parts);
  return end < all ? end : all;
}

/* The row blocks of the panel are swept by the ranks of the grid row in turn, all at work
 * at once, and then shared. */
static ntk_status load_panel(job *j) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = &j->grid;
  for (int64_t k = j->panel_at; k < panel_end(j, g->my_row); k++)
    if (k % g->columns == g->my_column)
      sweep(j, 0, block_of(j, k, g->my_row, g->rows), k % j->parts, row_slot(j, k));
  for (int64_t k = j->panel_at; k < panel_end(j, g->my_row); k++)
    NTK_TRY(share(j, row_slot(j, k), j->row_bytes, (int)(k % g->columns), g->row));
done:
  return status;
}

/* Does any rank of my grid column contract a row block of its panel with (J, p)? */
static bool is_needed(const job *j, int64_t J, int64_t p) {
  for (int r = 0; r < j->grid.rows; r++)
    for (int64_t k = j->panel_at; k < panel_end(j, r); k++)
      if (is_contracted(j, block_of(j, k, r, j->grid.rows), k % j->parts, J, p))
        return true;
  return false;
}

/* The number of a column block in the panel of the grid row that holds it, -1: none does.
 */
static int64_t in_panel(const job *j, int64_t J, int64_t p) {
  const int64_t there = J / j->grid.rows * j->parts + p;
  const bool held = there >= j->panel_at && there < panel_end(j, (int)(J % j->grid.rows));
  return j->shape->symmetric && held ? there : -1;
}

/* Of each round of as many column blocks as the grid column has ranks, every rank sweeps
 * the one that it will send, all at work at once. */
static void sweep_round(job *j, int64_t k) {
  const ntk_grid *g = &j->grid;
  const int64_t mine = k + g->my_row, p = mine % j->parts;
  const int64_t J = block_of(j, mine, g->my_column, g->columns);
  if (k % g->rows == 0 && mine < owned(j->n2, g->my_column, g->columns, j->parts) &&
      in_panel(j, J, p) < 0 && is_needed(j, J, p))
    sweep(j, 1, J, p, j->own);
}

/* The k-th column block comes from the panel of the rank that holds it, else from the one
 * that has swept it. */
static ntk_status load_column(job *j, int64_t k, const char **factors) {
  const ntk_grid *g = &j->grid;
  const int64_t J = block_of(j, k, g->my_column, g->columns), p = k % j->parts;
  const int64_t there = in_panel(j, J, p);
  const int root = (int)((there >= 0 ? J : k) % g->rows);
  char *buffer = g->my_row != root ? j->column : there >= 0 ? row_slot(j, there) : j->own;
  *factors = buffer;
  return share(j, buffer, j->column_bytes, root, g->column);
}

/* ---- tiles ----------------------------------------------------------------------------
 */

/* The column block in the form for contraction, unless nothing here needs it. */
static void pack(job *j, int64_t J, int64_t p, const char *column) {
  const ntk_tile t = ntk_tile_of(j->shape, 0, 0, J, p);
  const double start = ntk_seconds();
  bool is_mine = false;
  for (int64_t row = j->panel_at; row < panel_end(j, j->grid.my_row); row++)
    is_mine = is_mine || is_contracted(j, block_of(j, row, j->grid.my_row, j->grid.rows),
                                       row % j->parts, J, p);
  if (j->halted || !is_mine)
    return;
  j->worker->pack(j->worker->self, t.column_count, t.column_outputs, column, j->packed);
  (void)ntk_phase_add(j->context, NTK_PHASE_CONTRACT, start);
}

/* Writes the finished tile, if there is one. Beside a contraction that takes one of its
 * threads, and this share of the time is what it costs. */
static ntk_status write_finished(void *self) {
  job *j = self;
  const double start = ntk_seconds();
  const ntk_status status = ntk_tile_write(&j->tiles, j->sink);
  j->context->phase_seconds[NTK_PHASE_WRITE] +=
      (ntk_seconds() - start) / omp_get_num_threads();
  return status;
}

/* Whatever has happened since, a tile that was finished is written. */
static void write_last(job *j) {
  const ntk_status status = write_finished(j);
  if (status != NTK_SUCCESS)
    j->status = status;
}

/* The worker's call, during which the tile before is written. */
static ntk_status add_product(job *j, const ntk_tile *tile, int64_t row, bool mirror,
                              double *acc) {
  const double start = ntk_seconds();
  const double *written = &j->context->phase_seconds[NTK_PHASE_WRITE], before = *written;
  const ntk_status status =
      j->worker->contract(j->worker->self, tile, row_slot(j, row), j->packed, mirror, acc,
                          (ntk_meanwhile){write_finished, j});
  (void)ntk_phase_add(j->context, NTK_PHASE_CONTRACT, start + *written - before);
  return status;
}

static void contract(job *j, int64_t row, int64_t J, int64_t p) {
  const ntk_job_shape *s = j->shape;
  const int64_t I = block_of(j, row, j->grid.my_row, j->grid.rows), q = row % j->parts;
  if (j->halted || !is_contracted(j, I, q, J, p))
    return;
  const bool sums = s->reduction == NTK_REDUCE_TRACE && j->parts > 1;
  double *acc =
      j->tiles.acc + (sums ? (row - j->panel_at) / j->parts : 0) * j->tiles.elements;
  const bool mirror = s->symmetric && I == J && q == p;
  const ntk_tile tile = ntk_tile_of(s, I, q, J, p);
  j->status = add_product(j, &tile, row, mirror, acc);
  const double start = ntk_seconds();
  if (j->status == NTK_SUCCESS && (!sums || q == j->parts - 1))
    j->status = ntk_tile_finish(s, &tile, mirror, acc, &j->tiles);
  (void)ntk_phase_add(j->context, NTK_PHASE_WRITE, start);
  j->halted = j->status != NTK_SUCCESS;
  j->done++;
}

static void report_progress(const job *j) {
  const double fraction = j->total > 0 ? (double)j->done / (double)j->total : 1;
  const double left =
      fraction > 0 ? (ntk_seconds() - j->start) * (1 - fraction) / fraction : 0;
  ntk_say_progress(j->context, fraction, left);
}

/* One step of the column side: the k-th column block with all of the panel. */
static ntk_status column_step(job *j, int64_t k) {
  ntk_status status = NTK_SUCCESS;
  const ntk_grid *g = &j->grid;
  const int64_t J = block_of(j, k, g->my_column, g->columns);
  const char *factors;
  if (g->my_row >= 0)
    sweep_round(j, k);
  if (k >= owned(j->n2, g->my_column, g->columns, j->parts) ||
      !is_needed(j, J, k % j->parts))
    goto done;
  NTK_TRY(load_column(j, k, &factors));
  pack(j, J, k % j->parts, factors);
  for (int64_t row = j->panel_at; row < panel_end(j, g->my_row); row++)
    contract(j, row, J, k % j->parts);
  report_progress(j);
done:
  return status;
}

/* ---- the loop -------------------------------------------------------------------------
 */

static ntk_status vote(job *j, ntk_vote *v, int *decided) {
  const double start = ntk_seconds();
  const int flag = j->status != NTK_SUCCESS ? 2 : j->context->stop ? 1 : 0;
  const ntk_status status = ntk_vote_next(v, flag, decided);
  (void)ntk_phase_add(j->context, NTK_PHASE_WAIT, start);
  return status;
}

/* The request is obeyed: the next run is not meant. */
static ntk_status stopped(job *j) {
  ntk_status status = NTK_SUCCESS;
  int64_t tiles[2] = {j->done, j->total};
  j->context->stop = 0;
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, tiles, 2, MPI_INT64_T, MPI_SUM, j->context->comm));
  status = ntk_fail(NTK_STOPPED, "stopped on request at %lld of %lld tiles",
                    (long long)tiles[0], (long long)tiles[1]);
done:
  return status;
}

/* All ranks of the context take the same number of steps, so that the vote is in step. */
static ntk_status run_panels(job *j, ntk_vote *v, int *decided) {
  ntk_status status = NTK_SUCCESS;
  const int64_t most_rows = owned(j->n1, 0, j->grid.rows, j->parts);
  const int64_t steps = owned(j->n2, 0, j->grid.columns, j->parts);
  for (j->panel_at = 0; j->panel_at < most_rows && !*decided; j->panel_at += j->panel) {
    NTK_TRY(load_panel(j));
    for (int64_t k = 0; k < steps; k++) {
      NTK_TRY(vote(j, v, decided));
      if (*decided)
        break;
      NTK_TRY(column_step(j, k));
    }
  }
done:
  return status;
}

/* The last vote comes after the last tile is written, and tells of that too. */
static ntk_status run_to_the_end(job *j) {
  ntk_status status = NTK_SUCCESS;
  int decided = 0, last = 0;
  ntk_vote v;
  ntk_vote_begin(&v, j->context->comm);
  status = run_panels(j, &v, &decided);
  write_last(j);
  NTK_TRY(status);
  NTK_TRY(ntk_vote_finish(&v, j->status != NTK_SUCCESS ? 2 : 0, &last));
  if (last == 2)
    status = ntk_agree(j->context->comm, j->status);
  else if (decided == 1)
    status = stopped(j);
done:
  return status;
}

static int64_t count_own_pairs(const job *j) {
  int64_t pairs = 0;
  const ntk_grid *g = &j->grid;
  for (int64_t row = 0; row < owned(j->n1, g->my_row, g->rows, j->parts); row++)
    for (int64_t k = 0; k < owned(j->n2, g->my_column, g->columns, j->parts); k++) {
      const int64_t I = block_of(j, row, g->my_row, g->rows);
      const int64_t J = block_of(j, k, g->my_column, g->columns);
      pairs += is_contracted(j, I, row % j->parts, J, k % j->parts);
    }
  return pairs;
}

static void set_sizes(job *j, const ntk_job_shape *s, const ntk_layout *layout,
                      const ntk_worker *worker) {
  const int64_t Q = s->outputs_block < s->outputs ? s->outputs_block : s->outputs;
  j->shape = s;
  j->worker = worker;
  j->n1 = ntk_job_blocks(s->rows, s->block);
  j->n2 = ntk_job_blocks(s->columns, s->block);
  j->parts = ntk_job_blocks(s->outputs, s->outputs_block);
  const int64_t all = owned(j->n1, 0, layout->grid_rows, j->parts);
  j->panel = layout->panel < all ? layout->panel : all;
  j->grid.rows = layout->grid_rows;
  j->has_all_columns = s->symmetric && j->panel == all;
  j->row_bytes = slot_bytes(
      worker->block_bytes(worker->self, s->block < s->rows ? s->block : s->rows, Q));
  j->column_bytes = slot_bytes(
      worker->block_bytes(worker->self, s->block < s->columns ? s->block : s->columns, Q));
  j->packed_bytes =
      worker->packed_bytes(worker->self, s->block < s->columns ? s->block : s->columns, Q);
}

static ntk_status allocate(job *j) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, j->panel, (size_t)j->row_bytes, &j->rows));
  if (j->grid.rows > 1)
    NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, j->column_bytes, 1, &j->column));
  if (!j->has_all_columns)
    NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, j->column_bytes, 1, &j->own));
  NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, j->packed_bytes, 1, &j->packed));
  NTK_TRY(ntk_tile_buffers_create(j->shape, j->panel / j->parts, &j->tiles));
done:
  return status;
}

ntk_status ntk_job_run(ntk_context *context, const ntk_job_shape *shape,
                       const ntk_layout *layout, const ntk_worker *worker,
                       const ntk_sink *sink) {
  ntk_status status = NTK_SUCCESS;
  job j = {.context = context, .sink = sink, .start = ntk_seconds()};
  j.grid.row = j.grid.column = MPI_COMM_NULL;
  set_sizes(&j, shape, layout, worker);
  NTK_TRY(ntk_grid_create(context->comm, layout->grid_rows, layout->grid_columns, &j.grid));
  NTK_TRY(ntk_agree(context->comm, allocate(&j)));
  j.total = count_own_pairs(&j);
  NTK_TRY(run_to_the_end(&j));
done:
  ntk_grid_destroy(&j.grid);
  ntk_free(&j.rows);
  ntk_free(&j.column);
  ntk_free(&j.own);
  ntk_free(&j.packed);
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

ntk_job_memory ntk_job_bytes(const ntk_job_shape *shape, const ntk_layout *layout,
                             const ntk_worker *worker) {
  job j = {0};
  set_sizes(&j, shape, layout, worker);
  const int columns = (layout->grid_rows > 1) + !j.has_all_columns;
  return (ntk_job_memory){.panel = j.panel * j.row_bytes,
                          .columns = columns * j.column_bytes + j.packed_bytes,
                          .tiles = ntk_tile_buffers_bytes(shape, j.panel / j.parts)};
}

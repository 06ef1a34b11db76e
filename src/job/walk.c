/* SPDX-License-Identifier: Apache-2.0 */
#include "job/loop_parts.h"

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t ntk_walk_owned(const ntk_loop *j, int64_t n, int mine, int count) {
  return ntk_grid_dealt(n, mine, count) * j->parts;
}

void ntk_walk_set(ntk_loop *j, const ntk_job_shape *s, const ntk_layout *layout) {
  j->shape = s;
  j->n1 = ntk_job_blocks(s->rows, s->block);
  j->n2 = ntk_job_blocks(s->columns, s->block);
  j->parts = ntk_job_blocks(s->outputs, s->outputs_block);
  j->grid.rows = layout->grid_rows;
  j->grid.columns = layout->grid_columns;
  j->grid.depth = layout->grid_depth;
  j->recompute = layout->recompute;
  j->passes = ntk_layout_passes(layout);
  j->panel = least(layout->panel, ntk_walk_owned(j, j->n1, 0, j->grid.rows));
}

/* Of two symmetric sample blocks one half suffices; sums over outputs take only equal
 * parts; of a sample block with itself one half suffices. */
static bool is_wanted(const ntk_loop *j, int64_t I, int64_t q, int64_t J, int64_t p) {
  const ntk_job_shape *s = j->shape;
  if (s->symmetric && !ntk_pair_is_computed(I, J, j->n1))
    return false;
  if (s->reduction == NTK_REDUCE_TRACE || s->reduction == NTK_REDUCE_DIAGONAL)
    return q == p;
  return !s->symmetric || I != J || q <= p;
}

/* All parts of a sum are contracted, or none. */
bool ntk_walk_is_contracted(const ntk_loop *j, int64_t I, int64_t q, int64_t J, int64_t p) {
  if (!is_wanted(j, I, q, J, p))
    return false;
  if (!j->sink->is_done)
    return true;
  const ntk_tile tile = ntk_tile_of(j->shape, I, q, J, p);
  return !j->sink->is_done(j->sink->self, &tile);
}

bool ntk_walk_is_row_used(const ntk_loop *j, int64_t k) {
  const int64_t I = ntk_walk_block(j, k, j->grid.my_row, j->grid.rows), q = k % j->parts;
  for (int64_t J = 0; J < j->n2; J++)
    for (int64_t p = 0; p < j->parts; p++)
      if (ntk_walk_is_contracted(j, I, q, J, p) ||
          (j->shape->symmetric && ntk_walk_is_contracted(j, J, p, I, q)))
        return true;
  return false;
}

int64_t ntk_walk_panel_end(const ntk_loop *j, int grid_row) {
  return least(j->panel_at + j->panel, ntk_walk_owned(j, j->n1, grid_row, j->grid.rows));
}

int64_t ntk_walk_column(const ntk_loop *j, int64_t k) {
  const ntk_grid *g = &j->grid;
  const int64_t number = k / j->parts;
  const int64_t half = (ntk_grid_dealt(j->n2, g->my_column, g->columns) + 1) / 2;
  const int64_t place = !j->shape->symmetric ? number
                        : number % 2         ? half + number / 2
                                             : number / 2;
  return g->my_column + place * g->columns;
}

static bool row_needs(const ntk_loop *j, int grid_row, int64_t k) {
  const int64_t J = ntk_walk_column(j, k);
  for (int64_t row = j->panel_at; row < ntk_walk_panel_end(j, grid_row); row++)
    if (ntk_walk_is_contracted(j, ntk_walk_block(j, row, grid_row, j->grid.rows),
                               row % j->parts, J, k % j->parts))
      return true;
  return false;
}

bool ntk_walk_is_mine(const ntk_loop *j, int64_t k) {
  return row_needs(j, j->grid.my_row, k);
}

bool ntk_walk_is_needed(const ntk_loop *j, int64_t k) {
  for (int r = 0; r < j->grid.rows; r++)
    if (row_needs(j, r, k))
      return true;
  return false;
}

int64_t ntk_walk_in_panel(const ntk_loop *j, int64_t k) {
  const int64_t J = ntk_walk_column(j, k);
  const int64_t there = J / j->grid.rows * j->parts + k % j->parts;
  const bool held =
      there >= j->panel_at && there < ntk_walk_panel_end(j, (int)(J % j->grid.rows));
  return j->shape->symmetric && held ? there : -1;
}

bool ntk_walk_has_all_columns(const ntk_loop *j) {
  return j->shape->symmetric && j->panel == ntk_walk_owned(j, j->n1, 0, j->grid.rows);
}

int64_t ntk_walk_pairs(const ntk_loop *j) {
  int64_t pairs = 0;
  const ntk_grid *g = &j->grid;
  for (int64_t row = 0; row < ntk_walk_owned(j, j->n1, g->my_row, g->rows); row++)
    for (int64_t k = 0; k < ntk_walk_owned(j, j->n2, g->my_column, g->columns); k++)
      pairs += ntk_walk_is_contracted(j, ntk_walk_block(j, row, g->my_row, g->rows),
                                      row % j->parts, ntk_walk_column(j, k), k % j->parts);
  return pairs;
}

/* Sample blocks of my grid column that one of my row blocks is contracted with, at most: of
 * x2 = x1 those half way round, which begin anywhere among the columns. */
static int64_t most_partners(const ntk_loop *j) {
  const int64_t columns = j->grid.columns, all = ntk_grid_dealt(j->n2, 0, columns);
  const int64_t half = ntk_job_blocks(j->n2 / 2 + 1, columns) + (columns > 1);
  return j->shape->symmetric ? least(half, all) : all;
}

int64_t ntk_walk_accumulators(const ntk_loop *j) {
  if (j->passes == 1)
    return ntk_walk_sums_parts(j) ? j->panel / j->parts + 1 : 1;
  return j->panel * most_partners(j) *
         (j->shape->reduction == NTK_REDUCE_NONE ? j->parts : 1);
}

void ntk_walk_report(const ntk_loop *j) {
  const double fraction = j->total > 0 ? (double)j->done / (double)j->total : 1;
  const double left =
      fraction > 0 ? (ntk_seconds() - j->start) * (1 - fraction) / fraction : 0;
  ntk_say_progress(j->context, fraction, left);
}

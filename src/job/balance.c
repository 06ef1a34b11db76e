/* SPDX-License-Identifier: Apache-2.0 */
/* How evenly the pairs of blocks fall on the ranks. */
#include "job/plan_parts.h"

static double balance_of(const ntk_plan *plan, int64_t n1, int64_t n2, int rows,
                         int columns) {
  const bool symmetric = plan->shape.symmetric;
  const double total =
      symmetric ? 0.5 * (double)n1 * (double)(n1 + 1) : (double)n1 * (double)n2;
  const int64_t most = ntk_grid_max_pairs(rows, columns, n1, n2, symmetric);
  return total * plan->layout.grid_depth / ((double)most * plan->machine.ranks);
}

double ntk_plan_balance(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  return balance_of(plan, ntk_job_blocks(s->rows, s->block),
                    ntk_job_blocks(s->columns, s->block), plan->layout.grid_rows,
                    plan->layout.grid_columns);
}

/* Blocks of the grid row or column that has fewest. */
static int64_t fewest(int64_t n1, int64_t n2, int rows, int columns) {
  const int64_t a = n1 / rows, b = n2 / columns;
  return a < b ? a : b;
}

/* As the defaults are: half as large, a multiple of 16 where it is larger. */
static int64_t halved(int64_t block) {
  const int64_t half = block / 2;
  return half > 16 ? half / 16 * 16 : half;
}

int64_t ntk_plan_mending_block(const ntk_plan *plan, double *balance) {
  const ntk_job_shape *s = &plan->shape;
  const double now = ntk_plan_balance(plan);
  int64_t n1 = ntk_job_blocks(s->rows, s->block), best = 0;
  int64_t n2 = ntk_job_blocks(s->columns, s->block);
  int rows = plan->layout.grid_rows, columns = plan->layout.grid_columns;
  *balance = now;
  for (int64_t block = halved(s->block);
       plan->machine.ranks > 1 && block > 0 && fewest(n1, n2, rows, columns) < 10;
       block = halved(block)) {
    n1 = ntk_job_blocks(s->rows, block);
    n2 = ntk_job_blocks(s->columns, block);
    if (!ntk_options_given(plan->options, "grid"))
      ntk_grid_choose(plan->machine.ranks / plan->layout.grid_depth, n1, n2, s->symmetric,
                      &rows, &columns);
    const double mended = balance_of(plan, n1, n2, rows, columns);
    if (mended > *balance + 0.01) {
      *balance = mended;
      best = block;
    }
  }
  return best;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "job/predict.h"
#include "job/plan_parts.h"
#include "job/tile.h"
#include "ntk/trial.h"
#include <omp.h>

/* A byte of the kernel costs as much as copying so many: rounded from f64, transposed,
 * summed up for its checksum, copied into the file. All threads share this: while one
 * writes, the others contract. A byte of a sample, as it is read, likewise: converted,
 * checked. One that is sent is copied into shared memory and out of it. */
static const double copies_of_a_byte = 25, copies_of_a_sample = 8, copies_of_a_message = 2;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static double larger(double a, double b) { return a > b ? a : b; }

/* ---- row and column blocks ------------------------------------------------------------
 */

/* Blocks of one rank: those that it sweeps, those of which it receives its share; and what
 * is sent in all, in whole blocks. */
typedef struct traffic {
  double swept, received, sent;
} traffic;

/* How often all column blocks come by: once for each panel. Of x2 = x1 a panel needs half
 * of the columns, and its own. */
static double column_rounds(const ntk_plan *plan, double panels) {
  return !plan->shape.symmetric ? panels : panels > 1 ? 1 + panels / 2 : 1;
}

static traffic traffic_of(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  const int64_t Pr = plan->layout.grid_rows, Pc = plan->layout.grid_columns,
                Pd = plan->layout.grid_depth;
  const int64_t parts = ntk_job_blocks(s->outputs, s->outputs_block);
  const int64_t n1 = ntk_job_blocks(s->rows, s->block),
                n2 = ntk_job_blocks(s->columns, s->block);
  const int64_t rows = ntk_grid_dealt(n1, 0, Pr) * parts,
                columns = ntk_grid_dealt(n2, 0, Pc) * parts;
  const int64_t panels = ntk_job_blocks(rows, plan->layout.panel);
  const int64_t last = rows - (panels - 1) * plan->layout.panel;
  const double own = (double)((panels - 1) * ntk_job_blocks(plan->layout.panel, Pc * Pd) +
                              ntk_job_blocks(last, Pc * Pd));
  const double rounds = column_rounds(plan, (double)panels);
  const double beyond = s->symmetric ? rounds - 1 : rounds; /* those not in a panel */
  const double fed = (double)(Pd - 1) / (double)Pd; /* of a swept block, to other depths */
  const double rows_of_grid = (double)Pr, columns_of_grid = (double)Pc;
  if (plan->layout.recompute) {
    const double swept =
        own + (double)columns * (rounds - (s->symmetric ? 1 / rows_of_grid : 0));
    return (traffic){.swept = swept,
                     .received = Pc * Pd > 1 ? (double)rows - own : 0,
                     .sent = (double)(n1 * parts) * (columns_of_grid - 1 + fed)};
  }
  return (traffic){
      .swept = own + beyond * (double)ntk_job_blocks(columns, Pr * Pd),
      .received = (Pc * Pd > 1 ? (double)rows - own : 0) +
                  rounds * (double)columns * (rows_of_grid - 1) / rows_of_grid +
                  beyond * (double)columns * fed,
      .sent = (double)(n1 * parts) * (columns_of_grid - 1 + fed) +
              (double)(n2 * parts) * (rounds * (rows_of_grid - 1) + beyond * fed)};
}

/* Bytes of parts of tiles that one rank sends, and receives, over the depth. */
static double part_bytes(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  const ntk_layout *l = &plan->layout;
  const double parts = (double)ntk_job_blocks(s->outputs, s->outputs_block);
  const double pairs = (double)ntk_grid_max_pairs(
      l->grid_rows, l->grid_columns, ntk_job_blocks(s->rows, s->block),
      ntk_job_blocks(s->columns, s->block), s->symmetric);
  const double tiles = s->reduction == NTK_REDUCE_NONE       ? pairs * parts * parts
                       : s->reduction == NTK_REDUCE_DIAGONAL ? pairs * parts
                                                             : pairs;
  return 8 * tiles * (double)ntk_tile_most_sums(s) * (l->grid_depth - 1) / l->grid_depth;
}

/* ---- phases ---------------------------------------------------------------------------
 */

/* Of the factors of a row block, in all passes. */
static double factor_bytes(const ntk_plan *plan, int64_t n, int64_t o) {
  ntk_engine_spec spec = plan->spec;
  double bytes = 0;
  for (spec.pass = 0; spec.pass < ntk_layout_passes(&plan->layout); spec.pass++)
    bytes += (double)ntk_block_bytes(&spec, n, o);
  return bytes;
}

/* Of sweeping one sample for Q outputs, in all passes, and copying its factors. */
static double sample_seconds(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  const int64_t Q = s->outputs_block;
  const double samples = ntk_job_samples(s);
  const double parts = (double)s->outputs / (double)Q;
  const ntk_timing *timing = NULL;
  ntk_text name = {0};
  if (ntk_trial_sweep_name(&plan->network, Q, &name) == NTK_SUCCESS)
    timing = ntk_rates_find(&plan->rates, name.data);
  ntk_text_clear(&name);
  return timing ? plan->pass_sweeps * timing->seconds[0] +
                      factor_bytes(plan, 1, Q) / plan->rates.copy_bytes
                : plan->pass_sweeps * plan->sweep_flops / (samples * parts) /
                      (NTK_SWEEP_SHARE * plan->rates.gemm_flops[s->dtype]);
}

/* Samples of a block on the average: the last ones are smaller. */
static double samples_of_block(const ntk_job_shape *s) {
  return (double)s->rows / (double)ntk_job_blocks(s->rows, s->block);
}

static double kernel_bytes(const ntk_job_shape *s, int64_t outputs) {
  const double O = (double)outputs;
  const double entries = s->reduction == NTK_REDUCE_NONE       ? O * O
                         : s->reduction == NTK_REDUCE_DIAGONAL ? O
                                                               : 1;
  return (double)s->rows * (double)s->columns * entries * (double)ntk_dtype_bytes(s->dtype);
}

/* Per second, by a rank of the machine. */
static double copied_bytes(const ntk_plan *plan) {
  return plan->rates.copy_bytes * plan->machine.speed;
}

/* Of forming the Jacobians of one sample for Q outputs. */
static double forming_seconds(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  return plan->forming / ntk_job_samples(s) * (double)s->outputs_block / (double)s->outputs;
}

/* Every sample is read once for its digest, and whenever it is swept. */
static double reading_seconds(const ntk_plan *plan, double swept_samples) {
  const ntk_job_shape *s = &plan->shape;
  const ntk_machine *m = &plan->machine;
  const double all = ntk_job_samples(s);
  const double size = (double)ntk_shape_size(&plan->rows->shape);
  const double values = size * (double)ntk_dtype_bytes(s->dtype);
  const double converting =
      (all / m->ranks + swept_samples) * values * copies_of_a_sample / copied_bytes(plan);
  const double stored = size * (double)ntk_dtype_bytes(plan->rows->dtype);
  const double transfer =
      m->disk_bytes > 0 ? (all + swept_samples * m->ranks) * stored / m->disk_bytes : 0;
  return larger(converting, transfer);
}

static double writing_seconds(const ntk_plan *plan) {
  const ntk_machine *m = &plan->machine;
  const double bytes =
      kernel_bytes(&plan->shape, plan->kernel_outputs) * ntk_job_kernels(&plan->shape);
  const double rounding =
      bytes * copies_of_a_byte / (copied_bytes(plan) * m->ranks * omp_get_max_threads());
  const double transfer = m->disk_bytes > 0 ? bytes / m->disk_bytes : 0;
  return larger(rounding / ntk_plan_balance(plan), transfer);
}

/* What one rank receives, by its share of the way into its node or by memory. */
static double exchange_seconds(const ntk_plan *plan, double bytes) {
  const ntk_machine *m = &plan->machine;
  const double shared = (double)least(m->ranks, m->ranks_per_node);
  return m->network_bytes > 0 ? bytes * shared / m->network_bytes
                              : bytes * copies_of_a_message * 2 / copied_bytes(plan);
}

void ntk_predict(const ntk_plan *plan, ntk_prediction *out) {
  const ntk_job_shape *s = &plan->shape;
  const ntk_machine *m = &plan->machine;
  const traffic t = traffic_of(plan);
  const int64_t block = least(s->block, s->rows), Q = s->outputs_block;
  const double block_bytes = factor_bytes(plan, block, Q);
  const double swept_samples = t.swept * samples_of_block(s),
               depth = plan->layout.grid_depth;
  const double shares = plan->machine.ranks * ntk_plan_balance(plan) / depth;
  const double parts = part_bytes(plan);
  double contraction = -plan->forming; /* which is done where samples are swept */
  for (int i = 0; i < plan->network.groups->count; i++)
    contraction += plan->predicted[i];
  *out = (ntk_prediction){
      .reading = reading_seconds(plan, swept_samples * ntk_layout_passes(&plan->layout)),
      .sweeps = swept_samples * sample_seconds(plan) / m->speed,
      .exchange = exchange_seconds(plan, t.received * block_bytes / depth + parts),
      .contraction = (contraction * plan->split.largest / shares +
                      swept_samples * forming_seconds(plan)) /
                     m->speed,
      .writing = writing_seconds(plan),
      .sent_bytes = t.sent * block_bytes + parts * plan->machine.ranks};
}

double ntk_prediction_seconds(const ntk_prediction *p) {
  return p->reading + p->sweeps + p->exchange + p->contraction + p->writing;
}

double ntk_prediction_overlapped(const ntk_prediction *p) {
  const double hidden = p->exchange < p->contraction ? p->exchange : p->contraction;
  return ntk_prediction_seconds(p) - hidden;
}

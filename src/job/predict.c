/* SPDX-License-Identifier: Apache-2.0 */
#include "job/predict.h"
#include "ntk/trial.h"

/* A byte of the kernel costs as much as copying so many: rounded from f64, transposed,
 * summed up for its checksum, copied into the file. All threads share this: while one
 * writes, the others contract. */
static const double copies_of_a_byte = 25;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

double ntk_predict_sweep_flops(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  const int64_t n = plan->spec.sweep_samples, Q = least(s->outputs_block, s->outputs);
  const int64_t samples = s->rows + (s->symmetric ? 0 : s->columns);
  return ntk_engine_sweep_flops(plan->engine, n, Q) / (double)n * (double)samples *
         (double)s->outputs / (double)Q;
}

/* How often the samples are swept, because one panel after the other meets all columns. */
static double repetitions(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  const int64_t parts = ntk_job_blocks(s->outputs, s->outputs_block);
  const int64_t all =
      parts * ntk_grid_dealt(ntk_job_blocks(s->rows, s->block), 0, plan->layout.grid_rows);
  const double panels = (double)ntk_job_blocks(all, plan->layout.panel);
  const double n1 = (double)s->rows, n2 = (double)s->columns;
  if (s->symmetric)
    return panels > 1 ? 1 + panels / 2 : 1;
  return (n1 + panels * n2) / (n1 + n2);
}

static double kernel_bytes(const ntk_job_shape *s) {
  const double O = (double)s->outputs;
  const double entries = s->reduction == NTK_REDUCE_NONE       ? O * O
                         : s->reduction == NTK_REDUCE_DIAGONAL ? O
                                                               : 1;
  return (double)s->rows * (double)s->columns * entries * (double)ntk_dtype_bytes(s->dtype);
}

/* Of sweeping every sample once and copying its factors, on one rank. */
static double sweep_seconds(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  const int64_t Q = least(s->outputs_block, s->outputs);
  const double samples = (double)s->rows + (s->symmetric ? 0 : (double)s->columns);
  const double parts = (double)s->outputs / (double)Q;
  const ntk_timing *timing = NULL;
  ntk_text name = {0};
  if (ntk_trial_sweep_name(&plan->network, Q, &name) == NTK_SUCCESS)
    timing = ntk_rates_find(&plan->rates, name.data);
  ntk_text_clear(&name);
  return timing ? samples * parts *
                      (timing->seconds[0] +
                       (double)ntk_block_bytes(&plan->spec, 1, Q) / plan->rates.copy_bytes)
                : ntk_predict_sweep_flops(plan) /
                      (NTK_SWEEP_SHARE * plan->rates.gemm_flops[s->dtype]);
}

void ntk_predict(const ntk_plan *plan, ntk_prediction *out) {
  const double ranks = (double)plan->layout.grid_rows * plan->layout.grid_columns;
  const ntk_rates *rates = &plan->rates;
  double contraction = 0;
  for (int i = 0; i < plan->network.groups->count; i++)
    contraction += plan->predicted[i];
  out->sweeps = sweep_seconds(plan) * repetitions(plan) / ranks;
  out->contraction = contraction / ranks;
  out->writing = kernel_bytes(&plan->shape) * copies_of_a_byte / rates->copy_bytes /
                 (ranks * plan->threads);
}

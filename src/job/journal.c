/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "job/journal.h"
#include "job/predict.h"
#include "job/provenance.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <omp.h>
#include <scantk/version.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

static void say_threads(const ntk_context *context, const char *hosts) {
  cpu_set_t set;
  const int threads = omp_get_max_threads();
  const int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
  ntk_say(context, NTK_REPORT_INFO,
          "ranks   %d on %s, %d thread%s each, %d core%s allowed, %s", context->size, hosts,
          threads, threads > 1 ? "s" : "", cores, cores > 1 ? "s" : "", ntk_blas_name());
  if (cores > 0 && threads > cores)
    ntk_say(context, NTK_REPORT_WARNING,
            "%d threads on %d allowed cores: set OMP_NUM_THREADS=%d or bind fewer ranks",
            threads, cores, cores);
}

static void say_plan(const ntk_plan *plan) {
  const ntk_context *c = plan->context;
  const ntk_job_shape *s = &plan->shape;
  const ntk_memory_terms *m = &plan->memory;
  const ntk_model_info info = ntk_model_get_info(plan->model);
  ntk_say(c, NTK_REPORT_INFO,
          "model   %s: %" PRId64 " parameters in %" PRId64 " tensors, %" PRId64 " outputs",
          plan->model->path, info.parameters, info.parameter_tensors, info.outputs);
  ntk_say(c, NTK_REPORT_INFO,
          "kernel  %" PRId64 " x %" PRId64 " samples%s, %" PRId64
          " %s, reduction %s, %s, algorithm %s",
          s->rows, s->columns, s->symmetric ? " (x2 = x1)" : "", plan->kernel_outputs,
          plan->cotangents.sides[0] ? "cotangents" : "outputs",
          ntk_reduction_name(s->reduction), ntk_dtype_name(s->dtype),
          ntk_algorithm_name(plan->numeric.algorithm));
  ntk_say(c, NTK_REPORT_INFO,
          "plan    grid %d x %d, blocks of %" PRId64 " samples x %" PRId64
          " outputs, panels of %" PRId64 ", %" PRId64 " tiles",
          plan->layout.grid_rows, plan->layout.grid_columns, s->block, s->outputs_block,
          plan->layout.panel, ntk_job_tiles(s));
  ntk_say(c, NTK_REPORT_INFO,
          "memory  %" PRId64 "M of %" PRId64 "M a rank (%s): parameters %" PRId64
          "M, panel %" PRId64 "M, column %" PRId64 "M, sweeps %" PRId64 "M, tiles %" PRId64
          "M, libraries %" PRId64 "M",
          ntk_memory_terms_total(m) >> 20, plan->cap >> 20, plan->cap_bound_by,
          m->parameters >> 20, m->panel >> 20, m->column >> 20, m->sweeps >> 20,
          m->tiles >> 20, m->libraries >> 20);
}

void ntk_journal_open(const ntk_plan *plan, const char *path, const char *hosts,
                      const char *command_line) {
  const ntk_context *c = plan->context;
  char date[32];
  const char *job = getenv("SLURM_JOB_ID");
  ntk_say(c, NTK_REPORT_INFO, "scantk  %s, %s%s%s", ntk_version(), ntk_utc_now(date),
          job ? ", job " : "", job ? job : "");
  if (command_line && *command_line)
    ntk_say(c, NTK_REPORT_INFO, "command %s", command_line);
  say_threads(c, hosts);
  say_plan(plan);
  if (path)
    ntk_say(c, NTK_REPORT_INFO, "output  %s", path);
}

static void say_phases(const ntk_context *c, const ntk_prediction *predicted,
                       const ntk_journal_end *end) {
  const double known[NTK_PHASES] = {[NTK_PHASE_SWEEP] = predicted->sweeps,
                                    [NTK_PHASE_CONTRACT] = predicted->contraction,
                                    [NTK_PHASE_WRITE] = predicted->writing};
  ntk_say(c, NTK_REPORT_INFO, "%-16s %10s %10s %10s %10s   seconds", "phase", "min", "mean",
          "max", "predicted");
  for (int i = 0; i < NTK_PHASES; i++) {
    const ntk_phase_row *row = &end->phases[i];
    char text[32] = "-";
    if (known[i] > 0)
      (void)snprintf(text, sizeof text, "%.4g", known[i]);
    ntk_say(c, NTK_REPORT_INFO, "%-16s %10.3f %10.3f %10.3f %10s",
            ntk_phase_name((ntk_phase)i), row->min, row->mean, row->max, text);
  }
  ntk_say(c, NTK_REPORT_INFO, "%-16s %10s %10s %10.4g %10.4g", "whole", "", "",
          end->seconds, predicted->sweeps + predicted->contraction + predicted->writing);
}

static void say_rate(const ntk_context *c, const char *what, double flops, double seconds,
                     double gemm_gflops) {
  const double gflops = seconds > 0 ? 1e-9 * flops / seconds : 0;
  ntk_say(c, NTK_REPORT_INFO, "%-16s %10.4g Gflop %10.4g GFLOP/s, %.0f %% of GEMM", what,
          1e-9 * flops, gflops, 100 * gflops / gemm_gflops);
}

/* The contraction counts its minimal flops, and the whole these and each sample's sweep
 * once, whatever was done. */
void ntk_journal_close(const ntk_plan *plan, const ntk_journal_end *end) {
  const ntk_context *c = plan->context;
  ntk_prediction predicted;
  ntk_predict(plan, &predicted);
  say_phases(c, &predicted, end);
  say_rate(c, "sweeps", end->swept_flops, end->phases[NTK_PHASE_SWEEP].max,
           end->gemm_gflops);
  say_rate(c, "contraction", plan->minimal_flops, end->phases[NTK_PHASE_CONTRACT].max,
           end->gemm_gflops);
  say_rate(c, "whole", plan->minimal_flops + ntk_predict_sweep_flops(plan), end->seconds,
           end->gemm_gflops);
  ntk_say(c, NTK_REPORT_INFO, "%-16s %27.4g GFLOP/s on these ranks, just now", "GEMM",
          end->gemm_gflops);
  ntk_say(c, NTK_REPORT_INFO,
          "memory: peak %" PRId64 "M of %" PRId64 "M per rank (max over ranks; min %" PRId64
          "M)",
          (end->peak_bytes + (1 << 20) - 1) >> 20, plan->cap >> 20,
          (end->least_peak_bytes + (1 << 20) - 1) >> 20);
}

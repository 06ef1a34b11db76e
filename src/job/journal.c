/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "job/journal.h"
#include "job/plan_parts.h"
#include "job/predict.h"
#include "job/provenance.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <scantk/limit.h>
#include <scantk/version.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

const char *ntk_job_id(void) {
  static const char *const names[] = {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (getenv(names[i]))
      return getenv(names[i]);
  return NULL;
}

/* Where OpenMP binds its threads (OMP_PROC_BIND) this one may use its own place alone, and
 * all the places are what counts. */
static bool find_cores(cpu_set_t *set) {
  int cores[CPU_SETSIZE];
  CPU_ZERO(set);
  for (int i = 0; i < omp_get_num_places(); i++) {
    const int count = omp_get_place_num_procs(i);
    if (count > CPU_SETSIZE)
      continue;
    omp_get_place_proc_ids(i, cores);
    for (int k = 0; k < count; k++)
      CPU_SET(cores[k], set);
  }
  return CPU_COUNT(set) > 0 || sched_getaffinity(0, sizeof *set, set) == 0;
}

int ntk_cores(char text[NTK_CORES_TEXT]) {
  cpu_set_t set;
  int used = 0;
  text[0] = '\0';
  if (!find_cores(&set))
    return 0;
  for (int i = 0, end; i < CPU_SETSIZE && used < NTK_CORES_TEXT - 1; i = end + 1) {
    for (end = i; end < CPU_SETSIZE && CPU_ISSET(end, &set); end++)
      ;
    if (end > i)
      used += snprintf(text + used, (size_t)(NTK_CORES_TEXT - used),
                       end > i + 1 ? "%s%d-%d" : "%s%d", used ? "," : "", i, end - 1);
  }
  return CPU_COUNT(&set);
}

/* srun without the right --mpi starts many runs of one rank, which all do the same. */
static void warn_of_many_runs(const ntk_context *context) {
  const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
  if (context->size == 1 && tasks && strtol(tasks, NULL, 10) > 1)
    ntk_say(
        context, NTK_REPORT_WARNING,
        "this is a run of one rank, but srun started %s: if they are to be the ranks of "
        "one run, try srun --mpi=pmix (srun --mpi=list) or mpirun",
        tasks);
}

static void say_threads(const ntk_context *context, const char *hosts) {
  char text[NTK_CORES_TEXT];
  const int threads = omp_get_max_threads(), cores = ntk_cores(text);
  ntk_say(context, NTK_REPORT_INFO,
          "ranks   %d on %s, %d thread%s each, %d core%s allowed (%s), %s", context->size,
          hosts, threads, threads > 1 ? "s" : "", cores, cores > 1 ? "s" : "", text,
          ntk_blas_name());
  if (cores > 0 && threads > cores)
    ntk_say(context, NTK_REPORT_WARNING,
            "%d threads on %d allowed cores: set OMP_NUM_THREADS=%d or bind fewer ranks",
            threads, cores, cores);
  warn_of_many_runs(context);
}

/* How parameters are counted that several ranks have. */
static void say_shared(const ntk_plan *plan) {
  const ntk_shared *const blocks[] = {plan->model->block, plan->weights.block};
  int64_t bytes = 0;
  int ranks = 1;
  for (int i = 0; i < 2; i++)
    if (blocks[i]->ranks > 1) {
      bytes += blocks[i]->bytes;
      ranks = blocks[i]->ranks;
    }
  if (bytes > 0)
    ntk_say(plan->context, NTK_REPORT_INFO,
            "shared  %" PRId64 "M of parameters, once for the %d ranks of a node, of which "
            "each counts its part",
            bytes >> 20, ranks);
}

static void say_plan(const ntk_plan *plan) {
  const ntk_context *c = plan->context;
  const ntk_job_shape *s = &plan->shape;
  const ntk_memory_terms *m = &plan->memory;
  const ntk_model_info info = ntk_model_get_info(plan->model);
  char passes[NTK_PASSES_TEXT];
  ntk_layout_passes_text(&plan->layout, passes);
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
          "plan    grid %d x %d x %d, blocks of %" PRId64 " samples x %" PRId64
          " outputs, panels of %" PRId64 ", %" PRId64 " tiles%s%s",
          plan->layout.grid_rows, plan->layout.grid_columns, plan->layout.grid_depth,
          s->block, s->outputs_block, plan->layout.panel, ntk_job_tiles(s), passes,
          plan->layout.recompute ? ", columns recomputed" : "");
  ntk_say(c, NTK_REPORT_INFO,
          "memory  %" PRId64 "M of %" PRId64 "M a rank (%s): parameters %" PRId64
          "M, panel %" PRId64 "M, columns %" PRId64 "M, sweeps %" PRId64 "M, tiles %" PRId64
          "M, exchange %" PRId64 "M, libraries %" PRId64 "M",
          ntk_plan_peak_bytes(plan) >> 20, plan->cap >> 20, plan->cap_bound_by,
          m->parameters >> 20, m->panel >> 20, m->column >> 20, m->sweeps >> 20,
          m->tiles >> 20, m->exchange >> 20, m->libraries >> 20);
  say_shared(plan);
}

/* Less is no reason for other blocks. */
static const double worth_telling = 0.9, seconds_worth_it = 10;

void ntk_journal_warn(const ntk_plan *plan, double seconds) {
  const ntk_context *c = plan->context;
  const double balance = ntk_plan_balance(plan);
  double mended, left;
  const int64_t block = c->rank == 0 ? ntk_plan_mending_block(plan, &mended) : 0;
  if (block > 0 && balance < worth_telling && seconds > seconds_worth_it)
    ntk_say(c, NTK_REPORT_WARNING,
            "balance %.0f %%: a grid row has few blocks; --block %" PRId64
            " would give %.0f %%",
            100 * balance, block, 100 * mended);
  left = c->rank == 0 ? ntk_limit_seconds_left() : INFINITY;
  if (seconds > left)
    ntk_say(c, NTK_REPORT_WARNING,
            "the job ends in %.0f s, this is predicted to take %.0f s", left, seconds);
}

static void say_output(const ntk_context *c, const ntk_journal_start *start) {
  const double gib = 1073741824.0;
  char space[48] = "";
  if (isfinite(start->free_bytes))
    (void)snprintf(space, sizeof space, " with %.4g GiB free", start->free_bytes / gib);
  ntk_say(c, NTK_REPORT_INFO, "output  %s, %.4g GiB%s on %s%s", start->path,
          (double)start->file_bytes / gib, start->half ? " (half)" : "", start->file_system,
          space);
}

void ntk_journal_open(const ntk_plan *plan, const ntk_journal_start *start) {
  const ntk_context *c = plan->context;
  ntk_prediction predicted;
  char date[32];
  const char *job = ntk_job_id(), *command = start->command_line;
  ntk_say(c, NTK_REPORT_INFO, "scantk  %s, %s%s%s", ntk_version(), ntk_utc_now(date),
          job ? ", job " : "", job ? job : "");
  if (command && *command)
    ntk_say(c, NTK_REPORT_INFO, "command %s", command);
  say_threads(c, start->hosts);
  say_plan(plan);
  ntk_predict(plan, &predicted);
  ntk_journal_warn(plan, ntk_prediction_seconds(&predicted));
  say_output(c, start);
}

static void say_phases(const ntk_context *c, const ntk_prediction *predicted,
                       const ntk_journal_end *end) {
  const double known[NTK_PHASES] = {[NTK_PHASE_READ] = predicted->reading,
                                    [NTK_PHASE_SWEEP] = predicted->sweeps,
                                    [NTK_PHASE_EXCHANGE] = predicted->exchange,
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
          end->seconds, ntk_prediction_seconds(predicted));
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
  if (end->sent_bytes > 0)
    ntk_say(c, NTK_REPORT_INFO,
            "exchange         %10.4g GB between ranks; factors travelled beside other work "
            "%.0f "
            "%% of the time",
            1e-9 * end->sent_bytes, 100 * end->hidden);
  say_rate(c, "sweeps", end->swept_flops, end->phases[NTK_PHASE_SWEEP].max,
           end->gemm_gflops);
  say_rate(c, "contraction", end->share * plan->minimal_flops,
           end->phases[NTK_PHASE_CONTRACT].max, end->gemm_gflops);
  say_rate(c, "whole", end->share * plan->minimal_flops + plan->sweep_flops, end->seconds,
           end->gemm_gflops);
  ntk_say(c, NTK_REPORT_INFO, "%-16s %27.4g GFLOP/s on these ranks", "GEMM",
          end->gemm_gflops);
  ntk_say(c, NTK_REPORT_INFO,
          "memory: peak %" PRId64 "M of %" PRId64 "M per rank (max over ranks; min %" PRId64
          "M)",
          (end->peak_bytes + (1 << 20) - 1) >> 20, plan->cap >> 20,
          (end->least_peak_bytes + (1 << 20) - 1) >> 20);
}

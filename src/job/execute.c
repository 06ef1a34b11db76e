/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/store.h"
#include "job/journal.h"
#include "job/provenance.h"
#include "tensor/blas.h"
#include <omp.h>

/* One execution of a plan. */
typedef struct run {
  ntk_plan *plan;
  ntk_store *store;
  double *selected;                   /* [samples of a sweep, selected outputs] */
  double formed_before, swept_before; /* seconds and flops of the engine at the start */
  ntk_tile_fn fn;
  void *user;
} run;

static ntk_worker worker_of(const ntk_plan *plan) {
  return (ntk_worker){.self = plan->engine,
                      .block_bytes = ntk_engine_block_bytes,
                      .sweep = ntk_engine_sweep,
                      .packed_bytes = ntk_engine_packed_bytes,
                      .pack = ntk_engine_pack,
                      .contract = ntk_engine_contract};
}

/* Our loops are the parallel ones, on the threads that were planned with: BLAS runs on one
 * meanwhile. */
static ntk_status run_job(ntk_plan *plan, const ntk_sink *sink) {
  const ntk_worker worker = worker_of(plan);
  const int threads = omp_get_max_threads(), blas_threads = ntk_blas_set_threads(1);
  omp_set_num_threads(plan->threads);
  const ntk_status status =
      ntk_job_run(plan->context, &plan->shape, &plan->layout, &worker, sink);
  omp_set_num_threads(threads);
  (void)ntk_blas_set_threads(blas_threads);
  return status;
}

/* ---- what was reached -----------------------------------------------------------------
 */

/* The forming of J happens inside sweeps but is contraction, as the minimal flops have it.
 */
static ntk_status measure(const run *r, double seconds, ntk_journal_end *end) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = r->plan;
  double *const phases = plan->context->phase_seconds;
  const double forming = ntk_engine_forming_seconds(plan->engine) - r->formed_before;
  double gemm_flops;
  const int threads = ntk_blas_set_threads(1);
  status = ntk_rates_gemm_now(plan->shape.dtype, &gemm_flops);
  (void)ntk_blas_set_threads(threads);
  NTK_TRY(ntk_agree(plan->context->comm, status));
  phases[NTK_PHASE_SWEEP] -= forming;
  phases[NTK_PHASE_CONTRACT] += forming;
  NTK_TRY(ntk_phase_reduce(plan->context, end->phases));
  NTK_TRY_MPI(MPI_Allreduce(&gemm_flops, &end->gemm_gflops, 1, MPI_DOUBLE, MPI_SUM,
                            plan->context->comm));
  end->gemm_gflops *= 1e-9;
  NTK_TRY_MPI(
      MPI_Allreduce(&seconds, &end->seconds, 1, MPI_DOUBLE, MPI_MAX, plan->context->comm));
  const int64_t peak = ntk_memory_resident_peak();
  int64_t extremes[2] = {peak, -peak};
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, extremes, 2, MPI_INT64_T, MPI_MAX, plan->context->comm));
  end->peak_bytes = extremes[0];
  end->least_peak_bytes = -extremes[1];
  const double swept = ntk_engine_swept_flops(plan->engine) - r->swept_before;
  NTK_TRY_MPI(MPI_Allreduce(&swept, &end->swept_flops, 1, MPI_DOUBLE, MPI_SUM,
                            plan->context->comm));
  end->gflops = plan->minimal_flops * 1e-9 / end->phases[NTK_PHASE_CONTRACT].max;
done:
  return status;
}

static ntk_status explain(const ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const int groups = plan->network.groups->count;
  double *sum = NULL;
  if (!ntk_options_flag(plan->options, "explain"))
    return NTK_SUCCESS;
  NTK_TRY(ntk_agree(plan->context->comm,
                    ntk_malloc(NTK_MEMORY_GENERAL, groups, sizeof *sum, &sum)));
  NTK_TRY_MPI(MPI_Allreduce(ntk_engine_group_seconds(plan->engine), sum, groups, MPI_DOUBLE,
                            MPI_SUM, plan->context->comm));
  NTK_TRY(ntk_plan_explain(plan, sum));
done:
  ntk_free(&sum);
  return status;
}

/* ---- into a file ----------------------------------------------------------------------
 */

static ntk_status write_tile(void *self, const ntk_tile *tile, const void *values) {
  return ntk_store_write(((run *)self)->store, tile, values);
}

/* Outputs of swept samples, those selected; x2 = x1 fills both sides. */
static ntk_status write_outputs(void *user, int side, int64_t first, int64_t n,
                                const double *values) {
  ntk_status status = NTK_SUCCESS;
  run *r = user;
  const ntk_plan *plan = r->plan;
  const int64_t O = ntk_graph_outputs(plan->model->graph);
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < plan->selected; k++)
      r->selected[i * plan->selected + k] = values[i * O + plan->output_index[k]];
  NTK_TRY(ntk_store_write_outputs(r->store, side, first, n, r->selected));
  if (plan->shape.symmetric)
    NTK_TRY(ntk_store_write_outputs(r->store, 1, first, n, r->selected));
done:
  return status;
}

static ntk_store_spec spec_of(const ntk_plan *plan, const char *path) {
  const ntk_job_shape *s = &plan->shape;
  return (ntk_store_spec){.path = path,
                          .dtype = s->dtype,
                          .reduction = s->reduction,
                          .symmetric = s->symmetric,
                          .rows = s->rows,
                          .columns = s->columns,
                          .outputs = plan->kernel_outputs,
                          .network_outputs = plan->selected,
                          .of_cotangents = plan->cotangents.sides[0] != NULL,
                          .block = s->block,
                          .outputs_block = s->outputs_block,
                          .output_index =
                              plan->cotangents.sides[0] ? NULL : plan->output_index,
                          .row_data = plan->rows,
                          .column_data = plan->columns,
                          .plan = plan->text};
}

/* Digests, provenance and the file itself. */
static ntk_status prepare(run *r, const char *path, const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  ntk_plan *plan = r->plan;
  ntk_context *context = plan->context;
  ntk_digests digests[2] = {{0}}, cotangent_digests[2] = {{0}};
  ntk_text hosts = {0}, provenance = {0};
  ntk_store_spec spec = spec_of(plan, path);
  NTK_TRY(ntk_store_check(context, path, ntk_store_file_bytes(&spec)));
  NTK_TRY(ntk_hosts(context, &hosts));
  ntk_journal_open(plan, path, hosts.data, command_line);
  NTK_TRY(ntk_digests_create(context, plan->rows, plan->shape.dtype, &digests[0]));
  if (plan->columns)
    NTK_TRY(ntk_digests_create(context, plan->columns, plan->shape.dtype, &digests[1]));
  for (int side = 0; side < 2; side++)
    if (plan->cotangents.sides[side])
      NTK_TRY(ntk_digests_create(context, plan->cotangents.sides[side], plan->shape.dtype,
                                 &cotangent_digests[side]));
  const ntk_origin origin = {.context = context,
                             .model = plan->model,
                             .rows = plan->rows,
                             .columns = plan->columns,
                             .digests = digests,
                             .cotangent_digests = cotangent_digests,
                             .plan = plan,
                             .hosts = hosts.data,
                             .command_line = command_line};
  if (context->rank == 0)
    status = ntk_provenance_write(&origin, &provenance);
  NTK_TRY(ntk_agree(context->comm, status));
  spec.provenance = provenance.data;
  spec.row_digest = (const uint64_t(*)[2])digests[0].each;
  spec.column_digest = (const uint64_t(*)[2])digests[1].each;
  NTK_TRY(ntk_store_create(context, &spec, &r->store));
done:
  ntk_text_clear(&hosts);
  ntk_text_clear(&provenance);
  ntk_digests_clear(&digests[0]);
  ntk_digests_clear(&digests[1]);
  ntk_digests_clear(&cotangent_digests[0]);
  ntk_digests_clear(&cotangent_digests[1]);
  return status;
}

static ntk_status compute(run *r, double start, ntk_journal_end *end) {
  ntk_status status = NTK_SUCCESS;
  ntk_plan *plan = r->plan;
  const ntk_sink sink = {.self = r, .write = write_tile};
  NTK_TRY(
      ntk_agree(plan->context->comm,
                ntk_malloc(NTK_MEMORY_GENERAL, plan->spec.sweep_samples * plan->selected,
                           sizeof *r->selected, &r->selected)));
  r->formed_before = ntk_engine_forming_seconds(plan->engine);
  r->swept_before = ntk_engine_swept_flops(plan->engine);
  plan->outputs = write_outputs;
  plan->user = r;
  NTK_TRY(run_job(plan, &sink));
  NTK_TRY(measure(r, ntk_seconds() - start, end));
done:
  plan->outputs = NULL;
  ntk_free(&r->selected);
  return status;
}

ntk_status ntk_plan_to_file(ntk_plan *plan, const char *path, const char *options,
                            const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  run r = {.plan = plan};
  ntk_journal_end end = {0};
  ntk_options *parsed = NULL;
  const double start = ntk_seconds();
  NTK_TRY(ntk_options_parse_text(ntk_option_table("output"), options, &parsed));
  ntk_phase_reset(plan->context);
  NTK_TRY(prepare(&r, path, command_line));
  status = compute(&r, start, &end);
  const ntk_store_facts facts = {end.seconds, end.gflops, end.gemm_gflops};
  if (status != NTK_SUCCESS)
    status = ntk_store_abandon(&r.store, status);
  NTK_TRY(status);
  NTK_TRY(ntk_store_close(&r.store, true, &facts));
  ntk_journal_close(plan, &end);
  NTK_TRY(explain(plan));
done:
  ntk_options_destroy(&parsed);
  return status;
}

/* ---- into the caller's hands ----------------------------------------------------------
 */

static ntk_status hand_over(void *self, const ntk_tile *tile, const void *values) {
  run *r = self;
  const ntk_status status = r->fn(tile, values, r->user);
  if (status != NTK_SUCCESS)
    return ntk_fail(status, "the caller's function for tiles returned: %s",
                    ntk_status_text(status));
  return NTK_SUCCESS;
}

ntk_status ntk_plan_to_tiles(ntk_plan *plan, ntk_tile_fn fn, void *user) {
  run r = {.plan = plan, .fn = fn, .user = user};
  const ntk_sink sink = {.self = &r, .write = hand_over};
  ntk_phase_reset(plan->context);
  return run_job(plan, &sink);
}

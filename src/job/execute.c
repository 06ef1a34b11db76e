/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/space.h"
#include "io/store.h"
#include "job/identity.h"
#include "job/journal.h"
#include "job/plan_parts.h"
#include "job/provenance.h"
#include "tensor/blas.h"
#include <omp.h>
#include <string.h>

/* One execution of a plan. */
typedef struct run {
  ntk_plan *plan;
  ntk_options *options; /* of the output */
  bool keeps_half;      /* --store half */
  const char **hints;   /* --io-hint, NULL-terminated */
  ntk_store *store;
  bool resumes;                       /* an earlier run's file */
  double share;                       /* of the tiles, to be computed by this run */
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
                      .contract = ntk_engine_contract,
                      .begin_pass = ntk_engine_begin_pass};
}

/* The outputs of all samples, shared out by sample blocks: no checksum vouches for those in
 * the file. */
static ntk_status rewrite_outputs(const run *r) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = r->plan;
  const ntk_job_shape *s = &plan->shape;
  ntk_context *context = plan->context;
  const double start = ntk_seconds();
  for (int side = 0; side < (plan->columns ? 2 : 1); side++) {
    const int64_t samples = side == 0 ? s->rows : s->columns;
    for (int64_t I = context->rank; I < ntk_job_blocks(samples, s->block) && !context->stop;
         I += context->size) {
      const int64_t first = I * s->block, rest = samples - first;
      NTK_TRY(
          ntk_engine_forward(plan->engine, side, first, rest < s->block ? rest : s->block));
    }
  }
done:
  (void)ntk_phase_add(context, NTK_PHASE_SWEEP, start);
  return status;
}

/* Our loops are the parallel ones, on the threads that were planned with: BLAS runs on one
 * meanwhile. */
static ntk_status run_job(const run *r, const ntk_sink *sink) {
  ntk_status status = NTK_SUCCESS;
  ntk_plan *plan = r->plan;
  const ntk_worker worker = worker_of(plan);
  ntk_job_shape shape = plan->shape;
  const int threads = omp_get_max_threads(), blas_threads = ntk_blas_set_threads(1);
  omp_set_num_threads(plan->threads);
  shape.keeps_half = r->keeps_half;
  if (r->resumes)
    status = ntk_agree(plan->context->comm, rewrite_outputs(r));
  if (status == NTK_SUCCESS)
    status =
        ntk_job_run(plan->context, &shape, &plan->layout, &worker, sink, &plan->traffic);
  omp_set_num_threads(threads);
  (void)ntk_blas_set_threads(blas_threads);
  return status;
}

/* ---- what was reached -----------------------------------------------------------------
 */

/* Products of this rank a second. Looking takes a tenth of a second: what a run that took
 * less was planned with is good enough, and many small kernels wait for nothing. */
static ntk_status yardstick(const ntk_plan *plan, double seconds, double *flops) {
  *flops = plan->rates.gemm_flops[plan->shape.dtype];
  if (seconds < 0.1)
    return NTK_SUCCESS;
  const int threads = ntk_blas_set_threads(1);
  const ntk_status status = ntk_rates_gemm_now(plan->shape.dtype, flops);
  (void)ntk_blas_set_threads(threads);
  return status;
}

/* The forming of J happens inside sweeps but is contraction, as the minimal flops have it.
 */
static ntk_status measure(const run *r, double seconds, ntk_journal_end *end) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = r->plan;
  double *const phases = plan->context->phase_seconds;
  const double forming = ntk_engine_forming_seconds(plan->engine) - r->formed_before;
  double gemm_flops;
  NTK_TRY(ntk_agree(plan->context->comm, yardstick(plan, seconds, &gemm_flops)));
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
  const double contraction = end->phases[NTK_PHASE_CONTRACT].max;
  end->share = r->share;
  const ntk_job_traffic *t = &plan->traffic;
  double traffic[3] = {t->bytes, t->travelled, t->waited};
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, traffic, 3, MPI_DOUBLE, MPI_SUM, plan->context->comm));
  end->sent_bytes = traffic[0];
  end->hidden = traffic[1] > 0 ? 1 - traffic[2] / traffic[1] : 1;
  end->gflops = contraction > 0 ? r->share * plan->minimal_flops * 1e-9 / contraction : 0;
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

static bool is_done(void *self, const ntk_tile *tile) {
  const run *r = self;
  const ntk_tile transposed = {
      tile->column_first, tile->column_count, tile->column_output, tile->column_outputs,
      tile->row_first,    tile->row_count,    tile->row_output,    tile->row_outputs};
  return ntk_store_is_done(r->store, tile) &&
         (!r->plan->shape.symmetric || ntk_store_is_done(r->store, &transposed));
}

static ntk_status write_tile(void *self, const ntk_tile *tile, const void *values) {
  return ntk_store_write(((run *)self)->store, tile, values);
}

static ntk_status write_group(void *self, int kernel, const ntk_tile *tile,
                              const void *values) {
  return ntk_store_write_group(((run *)self)->store, kernel - 1, tile, values);
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

ntk_store_spec ntk_plan_store_spec(const ntk_plan *plan, const char *path) {
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
                          .groups = plan->groups.count,
                          .group_names = plan->groups.names,
                          .row_data = plan->rows,
                          .column_data = plan->columns,
                          .plan = plan->text};
}

/* Rank 0 opens the log. */
static void open_log(const run *r, const ntk_store_spec *spec, const char *hosts,
                     const char *command_line) {
  char file_system[NTK_FILE_SYSTEM_NAME];
  if (r->plan->context->rank != 0)
    return;
  const ntk_journal_start start = {.path = spec->path,
                                   .hosts = hosts,
                                   .command_line = command_line,
                                   .file_bytes = ntk_store_file_bytes(spec),
                                   .half = spec->half,
                                   .file_system = ntk_file_system(spec->path, file_system),
                                   .free_bytes = ntk_free_bytes(spec->path)};
  ntk_record_open(r->plan, &start);
  ntk_journal_open(r->plan, &start);
}

/* What the file tells of its origin. */
typedef struct papers {
  ntk_digests digests[2], cotangent_digests[2];
  ntk_text hosts, provenance, identity;
} papers;

static void clear_papers(papers *p) {
  ntk_text_clear(&p->hosts);
  ntk_text_clear(&p->provenance);
  ntk_text_clear(&p->identity);
  for (int side = 0; side < 2; side++) {
    ntk_digests_clear(&p->digests[side]);
    ntk_digests_clear(&p->cotangent_digests[side]);
  }
}

static ntk_status read_digests(const ntk_plan *plan, papers *p) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = plan->context;
  NTK_TRY(ntk_digests_create(context, plan->rows, plan->shape.dtype, &p->digests[0]));
  if (plan->columns)
    NTK_TRY(ntk_digests_create(context, plan->columns, plan->shape.dtype, &p->digests[1]));
  for (int side = 0; side < 2; side++)
    if (plan->cotangents.sides[side])
      NTK_TRY(ntk_digests_create(context, plan->cotangents.sides[side], plan->shape.dtype,
                                 &p->cotangent_digests[side]));
done:
  return status;
}

/* On rank 0. */
static ntk_status write_papers(const run *r, const char *command_line, papers *p) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = r->plan;
  const ntk_origin origin = {.context = plan->context,
                             .model = plan->model,
                             .rows = plan->rows,
                             .columns = plan->columns,
                             .digests = p->digests,
                             .cotangent_digests = p->cotangent_digests,
                             .plan = plan,
                             .hosts = p->hosts.data,
                             .command_line = command_line};
  NTK_TRY(ntk_provenance_write(&origin, &p->provenance));
  NTK_TRY(ntk_identity_write(plan, p->digests, p->cotangent_digests, &p->identity));
  NTK_TRY(ntk_text_add(&p->identity, "store: %s\n", r->keeps_half ? "half" : "full"));
done:
  return status;
}

/* On rank 0: is the file of these samples and this plan? */
static ntk_status compare(const ntk_plan *plan, const char *path, const papers *p) {
  ntk_status status = NTK_SUCCESS;
  char *identity = NULL, *text = NULL;
  NTK_TRY(ntk_store_read_text(path, "/identity", &identity));
  NTK_TRY(ntk_identity_compare(plan->context, path, identity, p->identity.data,
                               "cannot be resumed"));
  NTK_TRY(ntk_store_read_plan(path, &text));
  NTK_REQUIRE(strcmp(text, plan->text) == 0, NTK_ERR_ARGUMENT,
              "%s cannot be resumed: the plan is not that of the file", path);
done:
  ntk_free(&identity);
  ntk_free(&text);
  return status;
}

static ntk_status go_on(run *r, const ntk_store_spec *spec, const papers *p) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = r->plan->context;
  ntk_store_state state;
  if (context->rank == 0)
    status = compare(r->plan, spec->path, p);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(ntk_store_resume(context, spec, &state, &r->store));
  r->share = 1 - (double)state.done / (double)state.tiles;
done:
  return status;
}

/* Digests, provenance and the file itself; no store where the file is complete. */
static ntk_status prepare(run *r, const char *path, const char *command_line, bool resume) {
  ntk_status status = NTK_SUCCESS;
  ntk_plan *plan = r->plan;
  ntk_context *context = plan->context;
  papers p = {.hosts = {0}};
  ntk_store_spec spec = ntk_plan_store_spec(plan, path);
  spec.half = r->keeps_half;
  spec.reserve = ntk_options_flag(r->options, "reserve");
  spec.hints = r->hints;
  if (resume)
    NTK_TRY(ntk_store_is_there(context, path, &r->resumes));
  if (!r->resumes)
    NTK_TRY(ntk_store_check(context, path, ntk_store_file_bytes(&spec)));
  NTK_TRY(ntk_hosts(context, &p.hosts));
  open_log(r, &spec, p.hosts.data, command_line);
  NTK_TRY(read_digests(plan, &p));
  if (context->rank == 0)
    status = write_papers(r, command_line, &p);
  NTK_TRY(ntk_agree(context->comm, status));
  if (r->resumes) {
    NTK_TRY(go_on(r, &spec, &p));
    goto done;
  }
  spec.provenance = p.provenance.data;
  spec.provenance_room = ntk_provenance_room(plan->model, p.provenance.length);
  spec.identity = p.identity.data;
  for (int side = 0; side < 2; side++)
    spec.digests[side] = p.digests[side].mine;
  NTK_TRY(ntk_store_create(context, &spec, &r->store));
done:
  clear_papers(&p);
  return status;
}

static ntk_status compute(run *r, double start, ntk_journal_end *end) {
  ntk_status status = NTK_SUCCESS;
  ntk_plan *plan = r->plan;
  const ntk_sink sink = {.self = r,
                         .write = write_tile,
                         .write_group = write_group,
                         .is_done = r->resumes ? is_done : NULL};
  NTK_TRY(
      ntk_agree(plan->context->comm,
                ntk_malloc(NTK_MEMORY_GENERAL, plan->spec.sweep_samples * plan->selected,
                           sizeof *r->selected, &r->selected)));
  r->formed_before = ntk_engine_forming_seconds(plan->engine);
  r->swept_before = ntk_engine_swept_flops(plan->engine);
  plan->outputs = write_outputs;
  plan->user = r;
  NTK_TRY(run_job(r, &sink));
  NTK_TRY(measure(r, ntk_seconds() - start, end));
done:
  plan->outputs = NULL;
  ntk_free(&r->selected);
  return status;
}

ntk_status ntk_plan_takes_half(const ntk_plan *plan, const ntk_options *options,
                               bool *half) {
  *half = strcmp(ntk_options_string(options, "store"), "half") == 0;
  if (!*half || plan->shape.symmetric)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT,
                  "--store half is for a kernel of samples with themselves, which is "
                  "symmetric; this one has other columns");
}

static ntk_status read_hints(run *r) {
  ntk_status status = NTK_SUCCESS;
  const char *hint;
  int count = 0;
  while ((hint = ntk_options_repeated(r->options, "io-hint", count))) {
    const size_t name = strcspn(hint, "=");
    NTK_REQUIRE(name > 0 && name < MPI_MAX_INFO_KEY && strlen(hint) > name + 1 &&
                    strlen(hint) - name <= MPI_MAX_INFO_VAL,
                NTK_ERR_ARGUMENT, "--io-hint: '%s' is not NAME=VALUE", hint);
    count++;
  }
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count + 1, sizeof *r->hints, &r->hints));
  for (int i = 0; i < count; i++)
    r->hints[i] = ntk_options_repeated(r->options, "io-hint", i);
done:
  return status;
}

static ntk_status read_options(run *r, const char *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("output"), text, &r->options));
  NTK_TRY(ntk_plan_takes_half(r->plan, r->options, &r->keeps_half));
  NTK_TRY(read_hints(r));
done:
  return status;
}

ntk_status ntk_plan_to_file(ntk_plan *plan, const char *path, const char *options,
                            const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  run r = {.plan = plan, .share = 1};
  ntk_journal_end end = {0};
  const double start = ntk_seconds();
  NTK_TRY(ntk_agree(plan->context->comm, read_options(&r, options)));
  ntk_phase_reset(plan->context);
  NTK_TRY(ntk_plan_refresh(plan));
  NTK_TRY(prepare(&r, path, command_line, ntk_options_flag(r.options, "resume")));
  if (!r.store)
    goto done;
  status = compute(&r, start, &end);
  if (status != NTK_SUCCESS)
    status = ntk_store_abandon(&r.store, status);
  NTK_TRY(status);
  const ntk_store_facts facts = {end.seconds, end.gflops, end.gemm_gflops};
  NTK_TRY(ntk_store_close(&r.store, true, &facts));
  ntk_journal_close(plan, &end);
  ntk_record_close(plan, &end);
  NTK_TRY(explain(plan));
done:
  ntk_options_destroy(&r.options);
  ntk_free(&r.hints);
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

ntk_status ntk_plan_run(ntk_plan *plan, const ntk_sink *sink) {
  ntk_status status = NTK_SUCCESS;
  const run r = {.plan = plan};
  NTK_REQUIRE(plan->groups.count == 0 || sink->write_group, NTK_ERR_ARGUMENT,
              "--group: kernels of groups go into files only");
  ntk_phase_reset(plan->context);
  NTK_TRY(ntk_plan_refresh(plan));
  NTK_TRY(run_job(&r, sink));
done:
  return status;
}

ntk_status ntk_plan_to_tiles(ntk_plan *plan, ntk_tile_fn fn, void *user) {
  run r = {.plan = plan, .fn = fn, .user = user};
  const ntk_sink sink = {.self = &r, .write = hand_over};
  return ntk_plan_run(plan, &sink);
}

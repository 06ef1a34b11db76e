/* SPDX-License-Identifier: Apache-2.0 */
#include <scantk/features.h>

#include "base/memory.h"
#include "base/memory_limit.h"
#include "dist/grid.h"
#include "io/features_store.h"
#include "job/identity.h"
#include "job/plan.h"
#include "job/provenance.h"
#include "ntk/project.h"
#include "ntk/rates.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <string.h>

/* Samples go in blocks, taken by the ranks in turn; a block's outputs in parts. */
typedef struct job {
  ntk_context *context;
  ntk_model *model;
  ntk_data *data;
  ntk_options *options;
  ntk_dtype dtype;
  bool is_pseudo;
  int64_t O;                /* of the network */
  int64_t *index, selected; /* outputs that are taken */
  ntk_cotangents cotangents;
  int64_t outputs; /* of the features */
  ntk_weights weights;
  ntk_paths paths;
  ntk_projector_spec spec; /* samples: of a block; outputs: of a part */
  ntk_projector *projector;
  void *inputs;   /* [block, size of a sample] */
  void *seeds;    /* [block, outputs, O], where all samples have the same [outputs, O] */
  double *values; /* [block, O] */
  double *phi;    /* [block, part, dim] */
  float *rounded; /* the same in f32, where the file is */
  int64_t cap;
  const char *cap_bound_by;
  bool is_capping;
  ntk_features_spec file;
  ntk_digests sample_digests, cotangent_digests;
  ntk_text identity, run; /* of the file */
  bool resumes;           /* an earlier run's file */
  ntk_store *store;
  int64_t computed; /* samples that this run has to do */
  bool halted;      /* something was left undone on this rank, for a wish to stop */
} job;

/* Rows of a product that are worth a panel of R, and the fewest that samples are shared out
 * for; the most that a block takes, unless that were less than some samples' largest J. */
enum { ROWS = 2048, LEAST_ROWS = 128, LEAST_BLOCKS = 64 };
static const int64_t block_bytes = (int64_t)1 << 30;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- what is asked for ----------------------------------------------------------------
 */

static bool has_own_seeds(const job *j) {
  return j->cotangents.sides[0] && !j->cotangents.is_alike;
}

static ntk_status read_options(job *j, const char *options) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("features"), options, &j->options));
  const ntk_options *o = j->options;
  NTK_REQUIRE(ntk_options_given(o, "dim"), NTK_ERR_ARGUMENT,
              "--dim is missing: to how many numbers are gradients projected?");
  j->dtype = ntk_options_string(o, "dtype")[1] == '6' ? NTK_F64 : NTK_F32;
  j->is_pseudo = strcmp(ntk_options_string(o, "reduce"), "pseudo") == 0;
  j->spec.sketch =
      (ntk_sketch){.kind = strcmp(ntk_options_string(o, "kind"), "gaussian") == 0
                               ? NTK_SKETCH_GAUSSIAN
                               : NTK_SKETCH_RADEMACHER,
                   .seed = (uint64_t)ntk_options_int(o, "seed"),
                   .dim = ntk_options_int(o, "dim")};
done:
  return status;
}

/* Which outputs, or which cotangents. */
static ntk_status choose_outputs(job *j) {
  ntk_status status = NTK_SUCCESS;
  const char *selected = ntk_options_string(j->options, "select-outputs");
  const char *const paths[2] = {ntk_options_string(j->options, "cotangents"), NULL};
  j->O = ntk_graph_outputs(j->model->graph);
  NTK_TRY(ntk_agree(j->context->comm,
                    ntk_outputs_select(selected, j->O, &j->index, &j->selected)));
  NTK_TRY(ntk_cotangents_open(j->context, paths, selected, j->model->graph, j->data, NULL,
                              &j->cotangents));
  j->outputs = j->is_pseudo             ? 1
               : j->cotangents.sides[0] ? j->cotangents.count
                                        : j->selected;
  j->spec.own_seeds = has_own_seeds(j);
  j->spec.stop = &j->context->stop;
done:
  return status;
}

static ntk_status make_seeds(job *j) {
  ntk_status status = NTK_SUCCESS;
  const int64_t count = j->outputs * j->O;
  double *seeds = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, has_own_seeds(j) ? j->spec.samples * count : count,
                     ntk_dtype_bytes(j->dtype), &j->seeds));
  if (has_own_seeds(j))
    goto done;
  NTK_TRY(ntk_cotangents_seeds(&j->cotangents, j->selected, j->index, j->O, j->is_pseudo,
                               j->dtype, &seeds));
  ntk_convert(NTK_F64, seeds, j->dtype, j->seeds, count);
done:
  ntk_free(&seeds);
  return status;
}

/* ---- blocks ---------------------------------------------------------------------------
 */

static ntk_status count_bytes(const job *j, int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n = j->spec.samples, element = (int64_t)ntk_dtype_bytes(j->dtype);
  NTK_TRY(ntk_projector_bytes(&j->spec, bytes));
  *bytes += n * ntk_graph_inputs(j->model->graph) * element + n * j->O * 8;
  *bytes += n * j->spec.outputs * j->spec.sketch.dim * (j->dtype == NTK_F64 ? 8 : 12);
  *bytes += (has_own_seeds(j) ? n : 1) * j->outputs * j->O * element;
done:
  return status;
}

/* Halves the block, then the part, until they fit; *bytes: what they take. */
static ntk_status shrink(job *j, int64_t limit, int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  for (;;) {
    NTK_TRY(count_bytes(j, bytes));
    int64_t *size = j->spec.samples > 1 ? &j->spec.samples : &j->spec.outputs;
    if (*bytes <= limit || *size == 1)
      break;
    *size = (*size + 1) / 2;
  }
done:
  return status;
}

/* By sizes alone, so that no number of ranks changes them. A sample has a row for each
 * output, or position, whichever its parameters go by. */
static ntk_status choose_block(job *j) {
  const int64_t N = ntk_data_samples(j->data);
  const double rows = j->paths.flops / (2 * (double)j->paths.parameters);
  int64_t n = N, bytes;
  while (n > 1 && (double)n * rows > ROWS)
    n = (n + 1) / 2;
  while (n > 1 && N / n < LEAST_BLOCKS && (double)n * rows >= 2 * LEAST_ROWS)
    n = (n + 1) / 2;
  j->spec.samples = n;
  j->spec.outputs = j->outputs;
  int64_t limit = 16 * j->outputs * j->paths.largest * (int64_t)ntk_dtype_bytes(j->dtype);
  return shrink(j, limit > block_bytes ? limit : block_bytes, &bytes);
}

/* What the cap of the rank that has least leaves for a block. */
static ntk_status find_cap(job *j, int64_t *left) {
  ntk_status status = NTK_SUCCESS;
  j->cap = ntk_memory_default_cap(j->context->sharers, &j->cap_bound_by);
  if (ntk_options_given(j->options, "memory")) {
    j->cap = ntk_options_bytes(j->options, "memory");
    j->cap_bound_by = "--memory";
  }
  *left = j->cap - ntk_memory_used_total() - j->context->resident_bytes -
          ntk_data_held_bytes(j->data);
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, left, 1, MPI_INT64_T, MPI_MIN, j->context->comm));
done:
  return status;
}

static ntk_status check_cap(const job *j, int64_t bytes, int64_t left) {
  const int64_t needed = ((bytes + j->cap - left) >> 20) + 1;
  if (bytes <= left)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_MEMORY,
                  "a rank needs at least %" PRId64 "M of memory, the cap is %" PRId64
                  "M (%s); use --memory %" PRId64 "M or a smaller --dim",
                  needed, j->cap >> 20, j->cap_bound_by, needed);
}

/* That of the file, which nothing may change. */
static ntk_status take_block(job *j) {
  ntk_status status = NTK_SUCCESS;
  int64_t size[2] = {0}, left, bytes = 0;
  if (j->context->rank == 0)
    status = ntk_features_read_tile(j->file.path, &size[0], &size[1]);
  NTK_TRY(ntk_agree(j->context->comm, status));
  NTK_TRY_MPI(MPI_Bcast(size, 2, MPI_INT64_T, 0, j->context->comm));
  j->spec.samples = least(size[0], ntk_data_samples(j->data));
  j->spec.outputs = least(size[1], j->outputs);
  NTK_TRY(find_cap(j, &left));
  status = count_bytes(j, &bytes);
  if (status == NTK_SUCCESS)
    status = check_cap(j, bytes, left);
  NTK_TRY(ntk_agree(j->context->comm, status));
done:
  return status;
}

/* A block that also fits the memory of every rank. */
static ntk_status fit_block(job *j) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = j->context->comm;
  int64_t left, bytes = 0;
  NTK_TRY(ntk_agree(comm, choose_block(j)));
  NTK_TRY(find_cap(j, &left));
  const int64_t samples = j->spec.samples, outputs = j->spec.outputs;
  status = shrink(j, left, &bytes);
  if (status == NTK_SUCCESS)
    status = check_cap(j, bytes, left);
  NTK_TRY(ntk_agree(comm, status));
  int64_t size[2] = {j->spec.samples, j->spec.outputs};
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, size, 2, MPI_INT64_T, MPI_MIN, comm));
  j->spec.samples = size[0];
  j->spec.outputs = size[1];
  if (size[0] < samples || size[1] < outputs)
    ntk_say(j->context, NTK_REPORT_WARNING,
            "memory is short: blocks of %" PRId64 " samples x %" PRId64
            " outputs, not %" PRId64 " x %" PRId64
            ": that is slower, and may round otherwise",
            size[0], size[1], samples, outputs);
done:
  return status;
}

static ntk_status allocate(job *j) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n = j->spec.samples;
  NTK_TRY(ntk_projector_create(&j->spec, &j->projector));
  NTK_TRY(make_seeds(j));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, n * ntk_graph_inputs(j->model->graph),
                     ntk_dtype_bytes(j->dtype), &j->inputs));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, n * j->O, sizeof(double), &j->values));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, n * j->spec.outputs * j->spec.sketch.dim,
                     sizeof(double), &j->phi));
  if (j->dtype == NTK_F32)
    NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, n * j->spec.outputs * j->spec.sketch.dim,
                       sizeof(float), &j->rounded));
done:
  return status;
}

/* ---- the file -------------------------------------------------------------------------
 */

/* What features of other samples must have in common with these. */
static ntk_status write_identity(const job *j, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_options *o = j->options;
  const bool given = j->cotangents.sides[0];
  NTK_TRY(ntk_identity_of_model(j->model, text));
  NTK_TRY(ntk_identity_of_outputs(j->selected, j->index, text));
  NTK_TRY(ntk_text_add(text, "cotangents: %" PRId64 "\n", given ? j->outputs : 0));
  NTK_TRY(ntk_text_add(text, "reduction: %s\n", ntk_options_string(o, "reduce")));
  NTK_TRY(ntk_text_add(text, "kind: %s\nseed: %" PRIu64 "\ndim: %" PRId64 "\n",
                       ntk_options_string(o, "kind"), j->spec.sketch.seed,
                       j->spec.sketch.dim));
done:
  return status;
}

static void describe_file(job *j, const char *path) {
  j->file = (ntk_features_spec){.path = path,
                                .dtype = j->dtype,
                                .data = j->data,
                                .is_pseudo = j->is_pseudo,
                                .outputs = j->outputs,
                                .dim = j->spec.sketch.dim,
                                .network_outputs = j->O,
                                .of_cotangents = j->cotangents.sides[0],
                                .output_index = j->index,
                                .kind = ntk_options_string(j->options, "kind"),
                                .seed = (int64_t)j->spec.sketch.seed};
}

/* What is that of this run alone, too. */
static ntk_status write_run(const job *j, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_identity_of_range("range", j->data, text));
  NTK_TRY(ntk_text_add(text, "dtype: %s\n", ntk_dtype_name(j->dtype)));
  NTK_TRY(ntk_identity_of_digest("samples", true, &j->sample_digests, text));
  NTK_TRY(ntk_identity_of_digest("values of the cotangents", j->cotangents.sides[0],
                                 &j->cotangent_digests, text));
  NTK_TRY(ntk_identity_of_machine(text));
done:
  return status;
}

/* Of the samples, which are read for it, and all else. */
static ntk_status identify(job *j) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_digests_create(j->context, j->data, j->dtype, &j->sample_digests));
  if (j->cotangents.sides[0])
    NTK_TRY(ntk_digests_create(j->context, j->cotangents.sides[0], j->dtype,
                               &j->cotangent_digests));
  status = write_identity(j, &j->identity);
  if (status == NTK_SUCCESS)
    status = write_run(j, &j->run);
  NTK_TRY(ntk_agree(j->context->comm, status));
  j->file.identity = j->identity.data;
  j->file.run = j->run.data;
done:
  return status;
}

/* On rank 0: is the file what this run would make? */
static ntk_status compare(const job *j) {
  ntk_status status = NTK_SUCCESS;
  const char *path = j->file.path, *const names[2] = {"/identity", "/run"};
  const char *const here[2] = {j->identity.data, j->run.data};
  char *there = NULL;
  int64_t block, part;
  NTK_TRY(ntk_features_read_tile(path, &block, &part));
  for (int i = 0; i < 2; i++) {
    ntk_free(&there);
    NTK_TRY(ntk_store_read_text(path, names[i], &there));
    NTK_TRY(ntk_identity_compare(j->context, path, there, here[i], "cannot be resumed"));
  }
done:
  ntk_free(&there);
  return status;
}

static ntk_status create_store(job *j, const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  ntk_text hosts = {0}, provenance = {0};
  NTK_TRY(ntk_hosts(j->context, &hosts));
  const ntk_origin origin = {.context = j->context,
                             .model = j->model,
                             .rows = j->data,
                             .digests = &j->sample_digests,
                             .format = "scantk-features 1",
                             .hosts = hosts.data,
                             .command_line = command_line};
  if (j->context->rank == 0)
    status = ntk_provenance_write(&origin, &provenance);
  NTK_TRY(ntk_agree(j->context->comm, status));
  j->file.provenance = provenance.data;
  NTK_TRY(ntk_features_store_create(j->context, &j->file, &j->store));
done:
  j->file.provenance = NULL;
  ntk_text_clear(&hosts);
  ntk_text_clear(&provenance);
  return status;
}

/* A new file, or that of the earlier run; no store where that is complete. */
static ntk_status open_store(job *j, const char *command_line) {
  ntk_store_state state;
  return j->resumes ? ntk_features_store_resume(j->context, &j->file, &state, &j->store)
                    : create_store(j, command_line);
}

/* ---- the run --------------------------------------------------------------------------
 */

/* Seeds of the outputs from `output` on. */
static ntk_seeds seeds_at(const job *j, int64_t output) {
  const int64_t bytes = (int64_t)ntk_dtype_bytes(j->dtype);
  return (ntk_seeds){(const char *)j->seeds + output * j->O * bytes,
                     has_own_seeds(j) ? j->outputs * j->O : 0};
}

/* A part of the outputs of the block in hand. */
static ntk_status run_part(job *j, int64_t first, int64_t n, int64_t output) {
  ntk_status status = NTK_SUCCESS;
  const int64_t o = least(j->spec.outputs, j->outputs - output);
  const ntk_tile tile = ntk_features_tile(&j->file, first, n, output, o);
  const int64_t row = o * j->spec.sketch.dim;
  const void *values = j->phi;
  double start = ntk_seconds();
  if (ntk_store_is_done(j->store, &tile))
    return NTK_SUCCESS;
  ntk_projector_project(j->projector, o, seeds_at(j, output), j->phi);
  j->halted = j->halted || j->context->stop == NTK_STOP_DROP;
  if (j->halted)
    return NTK_SUCCESS;
  if (j->rounded) {
    ntk_convert(NTK_F64, j->phi, NTK_F32, j->rounded, n * row);
    values = j->rounded;
  }
  const int64_t bad = ntk_find_nonfinite(j->dtype, values, n * row);
  NTK_REQUIRE(bad < 0, NTK_ERR_NONFINITE,
              "sample %" PRId64 ": a gradient is not a finite number",
              j->data->first + first + bad / row);
  start = ntk_phase_add(j->context, NTK_PHASE_SWEEP, start);
  NTK_TRY(ntk_store_write(j->store, &tile, values));
  (void)ntk_phase_add(j->context, NTK_PHASE_WRITE, start);
done:
  return status;
}

/* The outputs of its samples are written anew: no checksum vouches for those in the file.
 */
static ntk_status run_block(job *j, int64_t block) {
  ntk_status status = NTK_SUCCESS;
  const int64_t first = block * j->spec.samples;
  const int64_t n = least(j->spec.samples, ntk_data_samples(j->data) - first);
  const double start = ntk_seconds();
  NTK_TRY(ntk_data_slice(j->data, first, n, j->dtype, j->inputs));
  if (has_own_seeds(j))
    NTK_TRY(
        ntk_cotangents_read(&j->cotangents, 0, first, n, j->is_pseudo, j->dtype, j->seeds));
  (void)ntk_phase_add(j->context, NTK_PHASE_READ, start);
  NTK_TRY(
      ntk_projector_forward(j->projector, n, j->inputs, j->data->first + first, j->values));
  NTK_TRY(ntk_store_write_outputs(j->store, 0, first, n, j->values));
  for (int64_t output = 0; output < j->outputs && !j->halted; output += j->spec.outputs)
    NTK_TRY(run_part(j, first, n, output));
done:
  return status;
}

static int64_t blocks_of(const job *j) {
  return (ntk_data_samples(j->data) - 1) / j->spec.samples + 1;
}

static bool is_done(const job *j, int64_t block) {
  const int64_t first = block * j->spec.samples;
  for (int64_t output = 0; output < j->outputs; output += j->spec.outputs) {
    const ntk_tile tile = ntk_features_tile(&j->file, first, 1, output, 1);
    if (!ntk_store_is_done(j->store, &tile))
      return false;
  }
  return true;
}

/* Blocks that are done are dealt to the ranks like the others, apart from them. A vote in
 * each round of the ranks: 1, stop; 2, a rank has failed. */
static ntk_status run_rounds(job *j, bool of_done, ntk_vote *v, int *decided,
                             ntk_status *failure) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *c = j->context;
  const double start = ntk_seconds();
  int64_t k = 0;
  for (int64_t i = 0; i < blocks_of(j) && !*decided; i++) {
    if (is_done(j, i) != of_done)
      continue;
    if (k % c->size == 0) {
      const double share = (double)i / (double)blocks_of(j);
      ntk_say_progress(c, share, i > 0 ? (ntk_seconds() - start) * (1 - share) / share : 0);
      NTK_TRY(
          ntk_vote_next(v, *failure != NTK_SUCCESS ? 2 : j->halted || c->stop, decided));
    }
    if (k++ % c->size != c->rank || *decided || *failure != NTK_SUCCESS)
      continue;
    j->halted = j->halted || c->stop;
    if (!j->halted)
      *failure = run_block(j, i);
  }
done:
  return status;
}

/* A wish to stop that comes when all is done is none. */
static ntk_status run_blocks(job *j) {
  ntk_status status = NTK_SUCCESS, failure = NTK_SUCCESS;
  int decided = 0, last = 0;
  ntk_vote v;
  ntk_vote_begin(&v, j->context->comm);
  if (j->resumes)
    NTK_TRY(run_rounds(j, true, &v, &decided, &failure));
  NTK_TRY(run_rounds(j, false, &v, &decided, &failure));
  NTK_TRY(ntk_vote_finish(&v, failure != NTK_SUCCESS ? 2 : j->halted, &last));
  if (last == 2 || decided == 2)
    return ntk_agree(j->context->comm, failure);
  if (last == 0 && decided == 0)
    return NTK_SUCCESS;
  NTK_TRY(ntk_stop_obeyed(j->context));
  status = ntk_fail(NTK_STOPPED, "stopped (%s)", j->context->stopped_for);
done:
  return status;
}

/* How many samples are in blocks that this run has to do. */
static void count_samples(job *j) {
  const int64_t N = ntk_data_samples(j->data), block = j->spec.samples;
  j->computed = 0;
  for (int64_t i = 0; i < blocks_of(j); i++)
    if (!is_done(j, i))
      j->computed += least(block, N - i * block);
}

/* Seconds of the rank that took most: in all, and of projecting; the rate of the latter
 * over all ranks beside that of large products. */
static ntk_status report(const job *j, double start) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = j->context->comm;
  double seconds[2] = {ntk_seconds() - start, ntk_projector_seconds(j->projector)};
  double rates[2] = {0, seconds[1]}; /* of products; seconds of all */
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, seconds, 2, MPI_DOUBLE, MPI_MAX, comm));
  if (seconds[0] < 2 || seconds[1] <= 0)
    goto done;
  NTK_TRY(ntk_agree(comm, ntk_rates_gemm_now(j->dtype, &rates[0])));
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, rates, 2, MPI_DOUBLE, MPI_SUM, comm));
  const double dim = (double)j->spec.sketch.dim, N = (double)j->computed;
  const double rate = j->paths.flops * dim * N / rates[1]; /* of one rank */
  ntk_say(j->context, NTK_REPORT_INFO,
          "%.1f s, of which projecting %.1f s: %.4g GFLOP/s a rank, %.0f %% of large "
          "products; %.3g times the flops without factors",
          seconds[0], seconds[1], rate * 1e-9, 100 * rate * j->context->size / rates[0],
          j->paths.flops / j->paths.dense_flops);
done:
  return status;
}

static ntk_status run(job *j) {
  ntk_status status = NTK_SUCCESS;
  const double start = ntk_seconds();
  ntk_say(j->context, NTK_REPORT_INFO,
          "%" PRId64 " samples x %" PRId64 " outputs, %" PRId64 " parameters to %" PRId64
          "; blocks of %" PRId64 " samples x %" PRId64 " outputs",
          ntk_data_samples(j->data), j->outputs, j->paths.parameters, j->spec.sketch.dim,
          j->spec.samples, j->spec.outputs);
  count_samples(j);
  status = run_blocks(j);
  if (status != NTK_SUCCESS)
    status = ntk_store_abandon(&j->store, status);
  NTK_TRY(status);
  NTK_TRY(report(j, start));
  NTK_TRY(ntk_store_close(&j->store, true, NULL));
done:
  return status;
}

/* Everything up to the run; the output is looked at before any work. */
static ntk_status prepare(job *j, const char *options, const char *path) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = j->context;
  NTK_TRY(ntk_agree(context->comm, read_options(j, options)));
  NTK_TRY(ntk_agree(context->comm, ntk_model_check_weights(j->model)));
  NTK_TRY(ntk_model_check_parameters(j->model));
  NTK_TRY(ntk_data_fits(j->data, j->model));
  NTK_TRY(choose_outputs(j));
  describe_file(j, path);
  if (ntk_options_flag(j->options, "resume"))
    NTK_TRY(ntk_store_is_there(context, path, &j->resumes));
  if (!j->resumes)
    NTK_TRY(ntk_store_check(context, path, 0));
  NTK_TRY(identify(j));
  if (j->resumes && context->rank == 0)
    status = compare(j);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(ntk_weights_create(context, j->model->graph, j->dtype, &j->weights));
  NTK_TRY(ntk_agree(context->comm, ntk_paths_find(j->weights.net, j->outputs, &j->paths)));
  j->spec.paths = &j->paths;
  NTK_TRY(j->resumes ? take_block(j) : fit_block(j));
  j->file.block = j->spec.samples;
  j->file.part = j->spec.outputs;
  (void)ntk_memory_set_cap(ntk_memory_set_cap(0) + j->cap);
  j->is_capping = true;
  NTK_TRY(ntk_agree(context->comm, allocate(j)));
done:
  return status;
}

ntk_status ntk_features_to_file(ntk_model *model, ntk_data *data, const char *options,
                                const char *path, const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  job j = {.context = model->context, .model = model, .data = data};
  const int threads = ntk_blas_set_threads(1);
  NTK_TRY(prepare(&j, options, path));
  NTK_TRY(open_store(&j, command_line));
  if (j.store)
    NTK_TRY(run(&j));
done:
  if (j.store)
    status = ntk_store_abandon(&j.store, status);
  if (j.is_capping)
    (void)ntk_memory_set_cap(ntk_memory_set_cap(0) - j.cap);
  (void)ntk_blas_set_threads(threads);
  ntk_projector_destroy(&j.projector);
  ntk_paths_clear(&j.paths);
  ntk_weights_destroy(&j.weights);
  ntk_cotangents_close(&j.cotangents);
  ntk_free(&j.index);
  ntk_free(&j.inputs);
  ntk_free(&j.seeds);
  ntk_free(&j.values);
  ntk_free(&j.phi);
  ntk_free(&j.rounded);
  ntk_text_clear(&j.identity);
  ntk_text_clear(&j.run);
  ntk_digests_clear(&j.sample_digests);
  ntk_digests_clear(&j.cotangent_digests);
  ntk_options_destroy(&j.options);
  return status;
}

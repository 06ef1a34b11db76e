/* SPDX-License-Identifier: Apache-2.0 */
#include "base/context.h"
#include "base/memory.h"
#include "ntk/engine_parts.h"
#include <omp.h>
#include <string.h>

const char *ntk_algorithm_name(ntk_algorithm algorithm) {
  static const char *const names[] = {"jacobian", "ntvp", "structured"};
  return names[algorithm];
}

static size_t element(const ntk_engine *engine) {
  return ntk_dtype_bytes(engine->spec.network->net->dtype);
}

static int64_t input_size(const ntk_network *network) {
  return ntk_graph_size(network->graph, network->graph->inputs[0]);
}

static bool is_ntvp(const ntk_engine *engine) {
  return engine->spec.algorithm == NTK_ALGORITHM_NTVP;
}

/* Places of all groups in the buffer of a block; returns its elements. */
static int64_t place_block(const ntk_engine_spec *spec, int64_t n, int64_t o,
                           ntk_place *places) {
  const ntk_groups *groups = spec->network->groups;
  int64_t at = 0;
  for (int i = 0; i < groups->count; i++) {
    const ntk_place p =
        ntk_place_group(&groups->groups[i], spec->orders[i], spec->form, n, o, &at);
    if (places)
      places[i] = p;
  }
  return at;
}

int64_t ntk_block_bytes(const ntk_engine_spec *spec, int64_t n, int64_t o) {
  const int64_t elements =
      spec->algorithm == NTK_ALGORITHM_NTVP
          ? n * input_size(spec->network) + ntk_seed_elements(spec->network, n, o)
          : place_block(spec, n, o, NULL);
  return elements * (int64_t)ntk_dtype_bytes(spec->network->net->dtype);
}

int64_t ntk_engine_block_bytes(void *self, int64_t n, int64_t o) {
  const ntk_engine *engine = self;
  return ntk_block_bytes(&engine->spec, n, o);
}

/* ---- planning -------------------------------------------------------------------------
 */

static int64_t scratch_elements(const ntk_engine_spec *spec) {
  const ntk_network *network = spec->network;
  const int64_t n =
      spec->block < ntk_contract_samples(1) ? spec->block : ntk_contract_samples(1);
  int64_t most = 0;
  for (int i = 0; i < network->groups->count; i++) {
    const ntk_group *group = &network->groups->groups[i];
    const int64_t capture = ntk_capture_scratch(network->net, group, spec->orders[i]);
    const int64_t contract =
        ntk_contract_scratch(group, spec->orders[i], spec->form, n, spec->outputs_block);
    if (capture > most)
      most = capture;
    if (contract > most)
      most = contract;
  }
  return (most + 31) / 16 * 16;
}

static ntk_sweep_limits sweep_limits(const ntk_engine_spec *spec) {
  return (ntk_sweep_limits){.samples = spec->sweep_samples,
                            .cotangents = spec->outputs_block,
                            .own_seeds = !spec->network->seeds};
}

ntk_status ntk_engine_bytes(const ntk_engine_spec *spec, int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  const ntk_network *network = spec->network;
  const int64_t element_bytes = (int64_t)ntk_dtype_bytes(network->net->dtype);
  NTK_TRY(
      ntk_sweep_bytes(network->net, sweep_limits(spec), network->groups->wanted, bytes));
  *bytes +=
      spec->sweep_samples * (input_size(network) * element_bytes +
                             ntk_graph_outputs(network->graph) * (int64_t)sizeof(double));
  *bytes +=
      ntk_seed_elements(network, spec->sweep_samples, network->outputs) * element_bytes;
  *bytes += omp_get_max_threads() * scratch_elements(spec) * element_bytes;
  if (spec->algorithm == NTK_ALGORITHM_NTVP) {
    int64_t more;
    NTK_TRY(ntk_ntvp_bytes(spec, &more));
    *bytes += more;
  }
done:
  return status;
}

static ntk_status sweep_bytes(const ntk_network *network, int64_t samples, int64_t outputs,
                              int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  const ntk_sweep_limits limits = {
      .samples = samples, .cotangents = outputs, .own_seeds = !network->seeds};
  NTK_TRY(ntk_sweep_bytes(network->net, limits, network->groups->wanted, bytes));
  *bytes += ntk_seed_elements(network, samples, network->outputs) *
            (int64_t)ntk_dtype_bytes(network->net->dtype);
done:
  return status;
}

ntk_status ntk_engine_sweep_samples(const ntk_network *network, ntk_algorithm algorithm,
                                    int64_t block, int64_t outputs_block,
                                    int64_t *samples) {
  ntk_status status = NTK_SUCCESS;
  const bool ntvp = algorithm == NTK_ALGORITHM_NTVP;
  const int64_t limit = ntvp ? NTK_WORKSPACE_BYTES : NTK_SWEEP_BYTES;
  int64_t n = ntvp ? ntk_ntvp_batch(network, block, outputs_block) : block, one, two;
  /* what a sample takes, without what is taken once; the latter depends on the threads */
  NTK_TRY(sweep_bytes(network, 1, outputs_block, &one));
  NTK_TRY(sweep_bytes(network, 2, outputs_block, &two));
  while (n > 1 && n * (two - one) > limit)
    n = (n + 1) / 2;
  *samples = n;
done:
  return status;
}

static bool has_unwritten_parts(const ntk_engine *engine) {
  const ntk_groups *groups = engine->spec.network->groups;
  for (int i = 0; i < groups->count; i++) {
    const ntk_group *group = &groups->groups[i];
    if (group->section_count > 1 && engine->spec.orders[i] == NTK_ORDER_OUTSIDE_IN)
      return true;
    if (group->C % NTK_CHUNK != 0 && engine->spec.orders[i] == NTK_ORDER_LEFT_TO_RIGHT)
      return true; /* zeros behind the last channel */
    for (int s = 0; s < group->section_count; s++)
      for (int d = 0; d < group->d_count; d++)
        if (!ntk_sweep_is_delivered(engine->sweep, group->sections[s].d[d].root))
          return true;
  }
  return false;
}

ntk_status ntk_engine_create(const ntk_engine_spec *spec, ntk_engine **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_network *network = spec->network;
  const int64_t groups = network->groups->count;
  ntk_engine *engine = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *engine, &engine));
  engine->spec = *spec;
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, spec->sweep_samples * input_size(network),
                     element(engine), &engine->inputs));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP,
                     spec->sweep_samples * ntk_graph_outputs(network->graph),
                     sizeof(double), &engine->outputs));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP,
                     ntk_seed_elements(network, spec->sweep_samples, network->outputs),
                     element(engine), &engine->seeds));
  NTK_TRY(ntk_sweep_create(network->net, sweep_limits(spec), network->groups->wanted,
                           &engine->sweep));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, groups, sizeof(ntk_place), &engine->place1));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, groups, sizeof(double), &engine->group_seconds));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, groups, sizeof(int64_t), &engine->packed_at));
  engine->seconds_stride = (groups + 15) / 8 * 8;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, omp_get_max_threads() * engine->seconds_stride,
                     sizeof(double), &engine->thread_seconds));
  engine->scratch_stride = scratch_elements(spec);
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, omp_get_max_threads() * engine->scratch_stride,
                     element(engine), &engine->scratch));
  engine->needs_zero = has_unwritten_parts(engine);
  if (is_ntvp(engine))
    NTK_TRY(ntk_ntvp_create(engine));
  *out = engine;
  engine = NULL;
done:
  ntk_engine_destroy(&engine);
  return status;
}

void ntk_engine_destroy(ntk_engine **handle) {
  ntk_engine *engine = *handle;
  if (!engine)
    return;
  ntk_ntvp_destroy(engine);
  ntk_sweep_destroy(&engine->sweep);
  ntk_free(&engine->inputs);
  ntk_free(&engine->outputs);
  ntk_free(&engine->seeds);
  ntk_free(&engine->scratch);
  ntk_free(&engine->place1);
  ntk_free(&engine->packed_at);
  ntk_free(&engine->group_seconds);
  ntk_free(&engine->thread_seconds);
  ntk_free(handle);
}

const double *ntk_engine_group_seconds(ntk_engine *engine) {
  const int threads = omp_get_max_threads();
  for (int t = 0; t < threads; t++)
    for (int i = 0; i < engine->spec.network->groups->count; i++) {
      double *seconds = &engine->thread_seconds[t * engine->seconds_stride + i];
      engine->group_seconds[i] += *seconds / threads;
      *seconds = 0;
    }
  return engine->group_seconds;
}

double ntk_engine_forming_seconds(const ntk_engine *engine) {
  return engine->forming_seconds;
}

double ntk_engine_sweep_flops(const ntk_engine *engine, int64_t n, int64_t o) {
  return ntk_sweep_flops(engine->sweep, n, is_ntvp(engine) ? 0 : o);
}

double ntk_engine_swept_flops(const ntk_engine *engine) { return engine->swept_flops; }

/* ---- sweeping -------------------------------------------------------------------------
 */

/* A row block being swept. */
typedef struct swept {
  int side;
  int64_t first, n;  /* its samples */
  int64_t output, o; /* its outputs */
  char *buffer;
} swept;

/* One chunk of samples on its way into a block's buffer. */
typedef struct chunk {
  ntk_engine *engine;
  ntk_capture capture;
} chunk;

/* D into place; outside-in forms J of it at once, which is part of the contraction. */
static void capture_d(chunk *c, int i, int section, int part, ntk_array cotangent) {
  ntk_engine *engine = c->engine;
  const ntk_network *network = engine->spec.network;
  const double start = ntk_seconds();
  (network->net->dtype == NTK_F64 ? ntk_capture_d_f64 : ntk_capture_d_f32)(
      &c->capture, &network->groups->groups[i], &engine->place1[i], section, part,
      cotangent);
  if (engine->spec.orders[i] == NTK_ORDER_OUTSIDE_IN) {
    const double seconds = ntk_seconds() - start;
    engine->group_seconds[i] += seconds;
    engine->forming_seconds += seconds;
  }
}

static void take_cotangent(void *user, int value, ntk_array cotangent) {
  chunk *c = user;
  const ntk_groups *groups = c->engine->spec.network->groups;
  for (int i = 0; i < groups->count; i++) {
    const ntk_group *group = &groups->groups[i];
    for (int s = 0; s < group->section_count; s++)
      for (int d = 0; d < group->d_count; d++)
        if (group->sections[s].d[d].root == value)
          capture_d(c, i, s, d, cotangent);
  }
}

/* Reads the inputs of samples i0 .. i0 + n of the block, and their seeds where they have
 * their own. */
static ntk_status read_chunk(ntk_engine *engine, const swept *b, int64_t i0, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  const ntk_engine_spec *spec = &engine->spec;
  const ntk_samples *samples = &spec->sides[b->side];
  NTK_TRY(samples->read(samples->self, b->first + i0, n, spec->network->net->dtype,
                        engine->inputs));
  if (!spec->network->seeds)
    NTK_TRY(spec->seeds(spec->user, b->side, b->first + i0, n, engine->seeds));
done:
  return status;
}

/* Seeds of the block's outputs for the chunk in hand. */
static ntk_seeds seeds_of(const ntk_engine *engine, const swept *b) {
  const ntk_network *network = engine->spec.network;
  const int64_t O = ntk_graph_outputs(network->graph);
  const char *seeds = network->seeds ? network->seeds : engine->seeds;
  return (ntk_seeds){seeds + b->output * O * (int64_t)element(engine),
                     network->seeds ? 0 : network->outputs * O};
}

/* What a product needs of the chunk: [n, inputs] of all samples, then their seeds [n, o, O]
 * where they have their own. */
static void keep_samples(const ntk_engine *engine, const swept *b, int64_t i0, int64_t n) {
  const ntk_network *network = engine->spec.network;
  const size_t row = (size_t)input_size(network) * element(engine);
  const size_t seed = (size_t)ntk_seed_elements(network, 1, b->o) * element(engine);
  const ntk_seeds seeds = seeds_of(engine, b);
  memcpy(b->buffer + (size_t)i0 * row, engine->inputs, (size_t)n * row);
  for (int64_t i = 0; seed > 0 && i < n; i++)
    memcpy(b->buffer + (size_t)b->n * row + (size_t)(i0 + i) * seed,
           (const char *)seeds.data + i * seeds.outer * (int64_t)element(engine), seed);
}

static ntk_status sweep_chunk(ntk_engine *engine, const swept *b, int64_t i0, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  const ntk_engine_spec *spec = &engine->spec;
  const ntk_network *network = spec->network;
  const void *inputs = engine->inputs;
  chunk c = {.engine = engine,
             .capture = {.net = network->net,
                         .sweep = engine->sweep,
                         .buffer = b->buffer,
                         .i0 = i0,
                         .n = n,
                         .o = b->o,
                         .scratch = engine->scratch,
                         .scratch_stride = engine->scratch_stride}};
  NTK_TRY(read_chunk(engine, b, i0, n));
  NTK_TRY(ntk_sweep_forward(engine->sweep, n, &inputs,
                            spec->sides[b->side].base + b->first + i0));
  engine->swept_flops += ntk_engine_sweep_flops(engine, n, b->o);
  if (spec->outputs && b->output == 0) {
    ntk_sweep_outputs(engine->sweep, engine->outputs);
    NTK_TRY(spec->outputs(spec->user, b->side, b->first + i0, n, engine->outputs));
  }
  if (is_ntvp(engine)) {
    keep_samples(engine, b, i0, n);
    goto done;
  }
  for (int i = 0; i < network->groups->count; i++)
    (network->net->dtype == NTK_F64 ? ntk_capture_x_f64 : ntk_capture_x_f32)(
        &c.capture, &network->groups->groups[i], &engine->place1[i]);
  ntk_sweep_backward(engine->sweep, b->o, seeds_of(engine, b), false, take_cotangent, &c);
done:
  return status;
}

ntk_status ntk_engine_sweep(void *self, int side, int64_t first, int64_t n, int64_t output,
                            int64_t o, void *buffer) {
  ntk_status status = NTK_SUCCESS;
  ntk_engine *engine = self;
  const swept b = {side, first, n, output, o, buffer};
  const int64_t step = engine->spec.sweep_samples;
  if (!is_ntvp(engine)) {
    (void)place_block(&engine->spec, n, o, engine->place1);
    if (engine->needs_zero)
      memset(buffer, 0, (size_t)ntk_engine_block_bytes(engine, n, o));
  }
  for (int64_t i0 = 0; i0 < n; i0 += step)
    NTK_TRY(sweep_chunk(engine, &b, i0, n - i0 < step ? n - i0 : step));
done:
  return status;
}

/* ---- contraction ----------------------------------------------------------------------
 */

/* Elements of a row block of n samples and o outputs, packed; the places of its groups. */
static int64_t place_packed(const ntk_engine_spec *spec, int64_t n, int64_t o,
                            int64_t *at) {
  const ntk_groups *groups = spec->network->groups;
  int64_t elements = 0;
  for (int i = 0; i < groups->count; i++) {
    if (at)
      at[i] = elements;
    elements += ntk_strips_elements(&groups->groups[i], spec->orders[i], spec->form, n, o);
  }
  return elements;
}

int64_t ntk_packed_bytes(const ntk_engine_spec *spec, int64_t n, int64_t o) {
  if (spec->algorithm == NTK_ALGORITHM_NTVP) /* as it is */
    return ntk_block_bytes(spec, n, o);
  return place_packed(spec, n, o, NULL) *
         (int64_t)ntk_dtype_bytes(spec->network->net->dtype);
}

int64_t ntk_engine_packed_bytes(void *self, int64_t n, int64_t o) {
  const ntk_engine *engine = self;
  return ntk_packed_bytes(&engine->spec, n, o);
}

void ntk_engine_pack(void *self, int64_t n, int64_t o, const void *column, void *packed) {
  ntk_engine *engine = self;
  const ntk_engine_spec *spec = &engine->spec;
  const ntk_groups *groups = spec->network->groups;
  if (is_ntvp(engine)) {
    memcpy(packed, column, (size_t)ntk_packed_bytes(spec, n, o));
    return;
  }
  (void)place_block(spec, n, o, engine->place1);
  (void)place_packed(spec, n, o, engine->packed_at);
#pragma omp parallel
  for (int i = 0; i < groups->count; i++) {
    const ntk_packing packing = {.group = &groups->groups[i],
                                 .order = spec->orders[i],
                                 .form = spec->form,
                                 .place = &engine->place1[i],
                                 .block = column,
                                 .packed = (char *)packed +
                                           engine->packed_at[i] * (int64_t)element(engine),
                                 .n = n,
                                 .o = o};
    const ntk_strips strips =
        ntk_strips_of(packing.group, packing.order, packing.form, n, o);
#pragma omp for schedule(dynamic) nowait
    for (int64_t s = 0; s < (n + strips.samples - 1) / strips.samples; s++)
      (spec->network->net->dtype == NTK_F64 ? ntk_pack_f64 : ntk_pack_f32)(&packing, s);
  }
}

/* All groups for some row samples: no two threads add to the same rows of a tile. */
static void contract_rows(ntk_engine *engine, const ntk_tile *tile, const void *row,
                          const void *packed, bool mirror, double *acc, int64_t i0,
                          int64_t n) {
  const ntk_engine_spec *spec = &engine->spec;
  const ntk_network *network = spec->network;
  const size_t bytes = element(engine);
  double *seconds = engine->thread_seconds + omp_get_thread_num() * engine->seconds_stride;
  double start = ntk_seconds();
  for (int i = 0; i < network->groups->count; i++) {
    const ntk_pair pair = {
        .group = &network->groups->groups[i],
        .order = spec->orders[i],
        .form = spec->form,
        .place1 = &engine->place1[i],
        .block1 = row,
        .packed2 = (const char *)packed + engine->packed_at[i] * (int64_t)bytes,
        .n1 = tile->row_count,
        .o1 = tile->row_outputs,
        .n2 = tile->column_count,
        .o2 = tile->column_outputs,
        .output1 = tile->row_output,
        .output2 = tile->column_output,
        .constant = &network->constants[i],
        .mirror = mirror,
        .scale = spec->scale,
        .acc = acc,
        .scratch = (char *)engine->scratch +
                   (size_t)(omp_get_thread_num() * engine->scratch_stride) * bytes};
    (network->net->dtype == NTK_F64 ? ntk_contract_f64 : ntk_contract_f32)(&pair, i0, n);
    const double now = ntk_seconds();
    seconds[i] += now - start;
    start = now;
  }
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t pieces(int64_t all, int64_t size) { return (all + size - 1) / size; }

/* The row samples of a tile as `count` tasks that cut no unit of samples. */
typedef struct division {
  int64_t rows, unit, count;
} division;

/* Several tasks for each thread balance them; few samples are cut so far that every thread
 * has some. No task has more than scratch is for. */
static division divide(const ntk_engine_spec *spec, const ntk_tile *tile) {
  const int64_t outputs = spec->form == NTK_FORM_FULL ? tile->row_outputs : 1;
  const int64_t most = ntk_contract_samples(outputs), threads = omp_get_max_threads();
  const int64_t rows = tile->row_count, unit = NTK_PAIR_SAMPLES;
  if (rows < unit * threads || most < unit) {
    const int64_t shares = least(rows, threads), needed = pieces(rows, most);
    return (division){rows, 1, shares > needed ? shares : needed};
  }
  const int64_t units = pieces(rows, unit), share = units / (4 * threads);
  return (division){rows, unit, pieces(units, share > 1 ? least(share, most / unit) : 1)};
}

/* First sample of a task; the end, for that behind the last. */
static int64_t task_first(const division *d, int64_t number) {
  const int64_t units = pieces(d->rows, d->unit);
  return least(d->rows, number * units / d->count * d->unit);
}

/* One group holds all parameters. Sweeps are a chain of parallel regions, none of which has
 * work enough to stand beside. */
static ntk_status contract_ntvp(ntk_engine *engine, const ntk_tile *tile, const void *row,
                                const void *packed, double *acc, ntk_meanwhile meanwhile) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_meanwhile_do(meanwhile));
  const double start = ntk_seconds();
  status = ntk_ntvp_contract(engine, tile, row, packed, acc);
  engine->group_seconds[0] += ntk_seconds() - start;
done:
  return status;
}

ntk_status ntk_engine_contract(void *self, const ntk_tile *tile, const void *row,
                               const void *packed, bool mirror, double *acc,
                               ntk_meanwhile meanwhile) {
  ntk_status status = NTK_SUCCESS;
  ntk_engine *engine = self;
  const ntk_engine_spec *spec = &engine->spec;
  if (is_ntvp(engine))
    return contract_ntvp(engine, tile, row, packed, acc, meanwhile);
  const division rows = divide(spec, tile);
  (void)place_block(spec, tile->row_count, tile->row_outputs, engine->place1);
  (void)place_packed(spec, tile->column_count, tile->column_outputs, engine->packed_at);
#pragma omp parallel
  {
#pragma omp master
    status = ntk_meanwhile_do(meanwhile);
#pragma omp for schedule(dynamic)
    for (int64_t k = rows.count - 1; k >= 0; k--) { /* a triangle's longest come first */
      const int64_t i0 = task_first(&rows, k);
      contract_rows(engine, tile, row, packed, mirror, acc, i0,
                    task_first(&rows, k + 1) - i0);
    }
  }
  return status;
}

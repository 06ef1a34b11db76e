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
  return ntk_graph_inputs(network->graph);
}

static bool is_ntvp(const ntk_engine *engine) {
  return engine->spec.algorithm == NTK_ALGORITHM_NTVP;
}

static const ntk_split *split_of(const ntk_engine_spec *spec) {
  return spec->split ? spec->split : &spec->network->whole;
}

static ntk_order order_of(const ntk_engine_spec *spec, int piece) {
  return spec->orders[split_of(spec)->group[piece]];
}

/* Places of the pieces of depth d in the buffer of its share; returns its elements. Only
 * the pass in hand counts, here and below. */
static int64_t place_share(const ntk_engine_spec *spec, int d, int64_t n, int64_t o,
                           ntk_place *places) {
  const ntk_split *split = split_of(spec);
  const ntk_pieces mine = ntk_split_pieces(split, d, spec->pass);
  int64_t at = 0;
  for (int i = mine.first; i < mine.end; i++) {
    const ntk_place p =
        ntk_place_group(&split->pieces[i], order_of(spec, i), spec->form, n, o, &at);
    if (places)
      places[i] = p;
  }
  return at;
}

int64_t ntk_share_bytes(const ntk_engine_spec *spec, int d, int64_t n, int64_t o) {
  const int64_t elements =
      spec->algorithm == NTK_ALGORITHM_NTVP
          ? n * input_size(spec->network) + ntk_seed_elements(spec->network, n, o)
          : place_share(spec, d, n, o, NULL);
  return elements * (int64_t)ntk_dtype_bytes(spec->network->net->dtype);
}

int64_t ntk_block_bytes(const ntk_engine_spec *spec, int64_t n, int64_t o) {
  int64_t bytes = 0;
  for (int d = 0; d < split_of(spec)->shares; d++)
    bytes += ntk_share_bytes(spec, d, n, o);
  return bytes;
}

int64_t ntk_piece_bytes(const ntk_engine_spec *spec, int piece, int64_t n, int64_t o) {
  int64_t elements = 0;
  (void)ntk_place_group(&split_of(spec)->pieces[piece], order_of(spec, piece), spec->form,
                        n, o, &elements);
  return elements * (int64_t)ntk_dtype_bytes(spec->network->net->dtype);
}

int64_t ntk_engine_block_bytes(void *self, int d, int64_t n, int64_t o) {
  const ntk_engine *engine = self;
  return ntk_share_bytes(&engine->spec, d, n, o);
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

/* What is captured of a piece: a tie has two roles. */
static int members_of(const ntk_group *piece) { return piece->roles ? 2 : 1; }
static const ntk_group *member_of(const ntk_group *piece, int m) {
  return piece->roles ? &piece->roles[m] : piece;
}

/* Marks the values whose cotangents the pass in hand captures. */
static void mark_wanted(const ntk_engine_spec *spec, bool *wanted) {
  const ntk_split *split = split_of(spec);
  for (int share = 0; share < split->shares; share++) {
    const ntk_pieces p = ntk_split_pieces(split, share, spec->pass);
    for (int i = p.first; i < p.end; i++)
      for (int m = 0; m < members_of(&split->pieces[i]); m++) {
        const ntk_group *member = member_of(&split->pieces[i], m);
        for (int s = 0; s < member->section_count; s++)
          for (int d = 0; d < member->d_count; d++)
            wanted[member->sections[s].d[d].root] = true;
      }
  }
}

/* *out [values], to be freed; of a single pass those of all groups. */
static ntk_status wanted_of(const ntk_engine_spec *spec, bool **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_network *network = spec->network;
  const int64_t values = network->graph->value_count;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, values, sizeof(bool), out));
  if (split_of(spec)->passes > 1)
    mark_wanted(spec, *out);
  else
    memcpy(*out, network->groups->wanted, (size_t)values * sizeof(bool));
done:
  return status;
}

ntk_status ntk_engine_bytes(const ntk_engine_spec *spec, int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  const ntk_network *network = spec->network;
  const int64_t element_bytes = (int64_t)ntk_dtype_bytes(network->net->dtype);
  bool *wanted = NULL;
  NTK_TRY(wanted_of(spec, &wanted));
  NTK_TRY(ntk_sweep_bytes(network->net, sweep_limits(spec), wanted, bytes));
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
  ntk_free(&wanted);
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

static bool has_undelivered_parts(const ntk_engine *engine, const ntk_group *member) {
  for (int s = 0; s < member->section_count; s++)
    for (int d = 0; d < member->d_count; d++)
      if (!ntk_sweep_is_delivered(engine->sweep, member->sections[s].d[d].root))
        return true;
  return false;
}

static bool is_written_in_part(const ntk_engine *engine, int piece) {
  const ntk_group *group = &engine->split->pieces[piece];
  const ntk_order order = order_of(&engine->spec, piece);
  if ((group->section_count > 1 || group->one_hot) && order == NTK_ORDER_OUTSIDE_IN)
    return true;
  if (group->C % NTK_CHUNK != 0 && order == NTK_ORDER_LEFT_TO_RIGHT)
    return true; /* zeros behind the last channel */
  for (int m = 0; m < members_of(group); m++)
    if (has_undelivered_parts(engine, member_of(group, m)))
      return true;
  return false;
}

static bool has_unwritten_parts(const ntk_engine *engine) {
  for (int share = 0; share < engine->split->shares; share++) {
    const ntk_pieces p = ntk_split_pieces(engine->split, share, engine->spec.pass);
    for (int i = p.first; i < p.end; i++)
      if (is_written_in_part(engine, i))
        return true;
  }
  return false;
}

/* Sweeps go back to the groups of the pass in hand. */
static ntk_status make_sweep(ntk_engine *engine) {
  ntk_status status = NTK_SUCCESS;
  const ntk_engine_spec *spec = &engine->spec;
  bool *wanted = NULL;
  ntk_sweep_destroy(&engine->sweep);
  NTK_TRY(wanted_of(spec, &wanted));
  NTK_TRY(ntk_sweep_create(spec->network->net, sweep_limits(spec), wanted, &engine->sweep));
  engine->swept_pass = spec->pass;
  engine->needs_zero = has_unwritten_parts(engine);
done:
  ntk_free(&wanted);
  return status;
}

void ntk_engine_begin_pass(void *self, int pass) {
  ntk_engine *engine = self;
  engine->spec.pass = pass;
}

ntk_status ntk_engine_create(const ntk_engine_spec *spec, ntk_engine **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_network *network = spec->network;
  const int64_t groups = network->groups->count, pieces = split_of(spec)->count;
  ntk_engine *engine = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *engine, &engine));
  engine->spec = *spec;
  engine->split = split_of(spec);
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, spec->sweep_samples * input_size(network),
                     element(engine), &engine->inputs));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP,
                     spec->sweep_samples * ntk_graph_outputs(network->graph),
                     sizeof(double), &engine->outputs));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP,
                     ntk_seed_elements(network, spec->sweep_samples, network->outputs),
                     element(engine), &engine->seeds));
  NTK_TRY(make_sweep(engine));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, pieces, sizeof(ntk_place), &engine->place1));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, groups, sizeof(double), &engine->group_seconds));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, pieces, sizeof(int64_t), &engine->packed_at));
  engine->seconds_stride = (groups + 15) / 8 * 8;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, omp_get_max_threads() * engine->seconds_stride,
                     sizeof(double), &engine->thread_seconds));
  engine->scratch_stride = scratch_elements(spec);
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, omp_get_max_threads() * engine->scratch_stride,
                     element(engine), &engine->scratch));
  NTK_TRY(ntk_turns_create(omp_get_max_threads(), &engine->turns));
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
  ntk_turns_destroy(&engine->turns);
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

ntk_status ntk_sample_sweep_flops(const ntk_engine_spec *spec, double *flops) {
  ntk_status status = NTK_SUCCESS;
  ntk_sweep_limits limits = sweep_limits(spec);
  bool *wanted = NULL;
  if (spec->algorithm == NTK_ALGORITHM_NTVP)
    limits.cotangents = 0;
  NTK_TRY(wanted_of(spec, &wanted));
  NTK_TRY(ntk_sweep_planned_flops(spec->network->net, limits, wanted, flops));
  *flops /= (double)limits.samples;
done:
  ntk_free(&wanted);
  return status;
}

static double sweep_flops(const ntk_engine *engine, int64_t n, int64_t o) {
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
  void *const *shares;
} swept;

/* One chunk of samples on its way into a block's buffers. */
typedef struct chunk {
  ntk_engine *engine;
  const swept *block;
  ntk_capture capture;
  int value; /* the one whose cotangent is delivered */
  ntk_array cotangent;
} chunk;

static ntk_place member_place(const ntk_engine *engine, int i, int m) {
  const ntk_group *piece = &engine->split->pieces[i];
  return piece->roles ? ntk_place_role(piece, &engine->place1[i], m) : engine->place1[i];
}

/* D into place; outside-in forms J of it at once, which is part of the contraction. */
static void capture_d(chunk *c, int i, int m, int section, int part, ntk_array cotangent) {
  ntk_engine *engine = c->engine;
  const ntk_network *network = engine->spec.network;
  const ntk_place place = member_place(engine, i, m);
  const double start = ntk_seconds();
  (network->net->dtype == NTK_F64 ? ntk_capture_d_f64 : ntk_capture_d_f32)(
      &c->capture, member_of(&engine->split->pieces[i], m), &place, section, part,
      cotangent);
  if (order_of(&engine->spec, i) == NTK_ORDER_OUTSIDE_IN) {
    const double seconds = ntk_seconds() - start;
    engine->group_seconds[engine->split->group[i]] += seconds;
    engine->forming_seconds += seconds;
  }
}

/* Calls fn with every piece of the pass in hand and each of its members; their share's
 * buffer is c->capture's. */
static void for_members(chunk *c, void (*fn)(chunk *c, int i, int m)) {
  const ntk_split *split = c->engine->split;
  for (int share = 0; share < split->shares; share++) {
    const ntk_pieces p = ntk_split_pieces(split, share, c->engine->spec.pass);
    c->capture.buffer = c->block->shares[share];
    for (int i = p.first; i < p.end; i++)
      for (int m = 0; m < members_of(&split->pieces[i]); m++)
        fn(c, i, m);
  }
}

static void capture_delivered(chunk *c, int i, int m) {
  const ntk_group *member = member_of(&c->engine->split->pieces[i], m);
  for (int s = 0; s < member->section_count; s++)
    for (int d = 0; d < member->d_count; d++)
      if (member->sections[s].d[d].root == c->value)
        capture_d(c, i, m, s, d, c->cotangent);
}

static void take_cotangent(void *user, int value, ntk_array cotangent) {
  chunk *c = user;
  ntk_between_do(c->engine->spec.between);
  c->value = value;
  c->cotangent = cotangent;
  for_members(c, capture_delivered);
}

static void capture_x(chunk *c, int i, int m) {
  const ntk_engine *engine = c->engine;
  const ntk_place place = member_place(engine, i, m);
  (engine->spec.network->net->dtype == NTK_F64 ? ntk_capture_x_f64 : ntk_capture_x_f32)(
      &c->capture, member_of(&engine->split->pieces[i], m), &place);
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
  char *buffer = b->shares[0];
  memcpy(buffer + (size_t)i0 * row, engine->inputs, (size_t)n * row);
  for (int64_t i = 0; seed > 0 && i < n; i++)
    memcpy(buffer + (size_t)b->n * row + (size_t)(i0 + i) * seed,
           (const char *)seeds.data + i * seeds.outer * (int64_t)element(engine), seed);
}

/* Forward pass of a chunk whose inputs are read; its outputs are handed over. */
static ntk_status pass_forward(ntk_engine *engine, const swept *b, int64_t i0, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  const ntk_engine_spec *spec = &engine->spec;
  NTK_TRY(ntk_sweep_forward_rows(engine->sweep, n, engine->inputs,
                                 spec->sides[b->side].base + b->first + i0));
  if (spec->outputs && b->output == 0) {
    ntk_sweep_outputs(engine->sweep, engine->outputs);
    NTK_TRY(spec->outputs(spec->user, b->side, b->first + i0, n, engine->outputs));
  }
done:
  return status;
}

static ntk_status sweep_chunk(ntk_engine *engine, const swept *b, int64_t i0, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  const ntk_engine_spec *spec = &engine->spec;
  const ntk_network *network = spec->network;
  chunk c = {.engine = engine,
             .block = b,
             .capture = {.net = network->net,
                         .sweep = engine->sweep,
                         .i0 = i0,
                         .n = n,
                         .o = b->o,
                         .scratch = engine->scratch,
                         .scratch_stride = engine->scratch_stride}};
  NTK_TRY(read_chunk(engine, b, i0, n));
  ntk_between_do(spec->between);
  NTK_TRY(pass_forward(engine, b, i0, n));
  engine->swept_flops += sweep_flops(engine, n, b->o);
  if (is_ntvp(engine)) {
    keep_samples(engine, b, i0, n);
    goto done;
  }
  for_members(&c, capture_x);
  ntk_sweep_backward(engine->sweep, b->o, seeds_of(engine, b), false, take_cotangent, &c);
done:
  return status;
}

static void place_shares(ntk_engine *engine, const swept *b) {
  for (int d = 0; d < engine->split->shares; d++) {
    (void)place_share(&engine->spec, d, b->n, b->o, engine->place1);
    if (engine->needs_zero)
      memset(b->shares[d], 0, (size_t)ntk_share_bytes(&engine->spec, d, b->n, b->o));
  }
}

ntk_status ntk_engine_sweep(void *self, int side, int64_t first, int64_t n, int64_t output,
                            int64_t o, void *const *shares) {
  ntk_status status = NTK_SUCCESS;
  ntk_engine *engine = self;
  const swept b = {side, first, n, output, o, shares};
  const int64_t step = engine->spec.sweep_samples;
  if (!engine->sweep || engine->swept_pass != engine->spec.pass)
    NTK_TRY(make_sweep(engine));
  if (!is_ntvp(engine))
    place_shares(engine, &b);
  for (int64_t i0 = 0; i0 < n && !ntk_engine_gives_up(engine); i0 += step)
    NTK_TRY(sweep_chunk(engine, &b, i0, n - i0 < step ? n - i0 : step));
done:
  return status;
}

ntk_status ntk_engine_forward(ntk_engine *engine, int side, int64_t first, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  const swept b = {.side = side, .first = first, .n = n};
  const ntk_samples *samples = &engine->spec.sides[side];
  const int64_t step = engine->spec.sweep_samples;
  if (!engine->sweep) /* a pass before could not make its own */
    NTK_TRY(make_sweep(engine));
  for (int64_t i0 = 0; i0 < n; i0 += step) {
    const int64_t count = n - i0 < step ? n - i0 : step;
    NTK_TRY(samples->read(samples->self, first + i0, count,
                          engine->spec.network->net->dtype, engine->inputs));
    NTK_TRY(pass_forward(engine, &b, i0, count));
  }
done:
  return status;
}

/* ---- contraction ----------------------------------------------------------------------
 */

/* Elements of depth d's share of a row block of n samples and o outputs, packed; the places
 * of its pieces. */
static int64_t place_packed(const ntk_engine_spec *spec, int d, int64_t n, int64_t o,
                            int64_t *at) {
  const ntk_split *split = split_of(spec);
  const ntk_pieces mine = ntk_split_pieces(split, d, spec->pass);
  int64_t elements = 0;
  for (int i = mine.first; i < mine.end; i++) {
    if (at)
      at[i] = elements;
    elements += ntk_strips_elements(&split->pieces[i], order_of(spec, i), spec->form, n, o);
  }
  return elements;
}

int64_t ntk_packed_bytes(const ntk_engine_spec *spec, int d, int64_t n, int64_t o) {
  if (spec->algorithm == NTK_ALGORITHM_NTVP) /* as it is */
    return ntk_share_bytes(spec, d, n, o);
  return place_packed(spec, d, n, o, NULL) *
         (int64_t)ntk_dtype_bytes(spec->network->net->dtype);
}

int64_t ntk_engine_packed_bytes(void *self, int d, int64_t n, int64_t o) {
  const ntk_engine *engine = self;
  return ntk_packed_bytes(&engine->spec, d, n, o);
}

void ntk_engine_pack(void *self, int64_t n, int64_t o, const void *column, void *packed) {
  ntk_engine *engine = self;
  const ntk_engine_spec *spec = &engine->spec;
  const ntk_split *split = engine->split;
  const ntk_pieces mine = ntk_split_pieces(split, spec->depth, spec->pass);
  if (is_ntvp(engine)) {
    memcpy(packed, column, (size_t)ntk_packed_bytes(spec, spec->depth, n, o));
    return;
  }
  (void)place_share(spec, spec->depth, n, o, engine->place1);
  (void)place_packed(spec, spec->depth, n, o, engine->packed_at);
#pragma omp parallel
  for (int i = mine.first; i < mine.end; i++) {
    const ntk_packing packing = {.group = &split->pieces[i],
                                 .order = order_of(spec, i),
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

/* All pieces for some row samples: no two threads add to the same rows of a tile. */
static void contract_rows(ntk_engine *engine, const ntk_tile *tile, const void *row,
                          const void *packed, bool mirror, double *acc, int64_t i0,
                          int64_t n) {
  const ntk_engine_spec *spec = &engine->spec;
  const ntk_network *network = spec->network;
  const ntk_split *split = engine->split;
  const ntk_pieces mine = ntk_split_pieces(split, spec->depth, spec->pass);
  const size_t bytes = element(engine);
  double *seconds = engine->thread_seconds + omp_get_thread_num() * engine->seconds_stride;
  double start = ntk_seconds();
  for (int i = mine.first; i < mine.end; i++) {
    const ntk_pair pair = {
        .group = &split->pieces[i],
        .order = order_of(spec, i),
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
        .constant = &network->constants[split->group[i]],
        .mirror = mirror,
        .scale = spec->scale,
        .acc = acc + split->pieces[i].colour * spec->colour_stride,
        .scratch = (char *)engine->scratch +
                   (size_t)(omp_get_thread_num() * engine->scratch_stride) * bytes,
        .between = omp_get_thread_num() == 0 ? spec->between : NULL};
    (network->net->dtype == NTK_F64 ? ntk_contract_f64 : ntk_contract_f32)(&pair, i0, n);
    const double now = ntk_seconds();
    seconds[split->group[i]] += now - start;
    start = now;
  }
}

/* A group holds all parameters of a colour; they take as long. Sweeps are a chain of
 * parallel regions, none of which has work enough to stand beside. */
static ntk_status contract_ntvp(ntk_engine *engine, const ntk_tile *tile, const void *row,
                                const void *packed, double *acc, ntk_meanwhile meanwhile) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_meanwhile_do(meanwhile));
  const double start = ntk_seconds();
  status = ntk_ntvp_contract(engine, tile, row, packed, acc);
  const int groups = engine->spec.network->groups->count; /* at least one parameter */
  const double seconds = (ntk_seconds() - start) / groups;
  for (int i = 0; i < groups; i++)
    engine->group_seconds[i] += seconds;
done:
  return status;
}

/* Few rows are cut so far that every thread has some. */
static void begin_turns(ntk_engine *engine, const ntk_tile *tile, bool mirror) {
  const int64_t u = ntk_form_rows(engine->spec.form, tile->row_outputs);
  const int64_t most = ntk_contract_samples(u), wanted = (NTK_TASK_ROWS + u - 1) / u;
  const int64_t share = tile->row_count / engine->turns.threads;
  int64_t unit = wanted < most ? wanted : most;
  if (unit > share)
    unit = share > 1 ? share : 1;
  const ntk_turns_tile of = {.rows = tile->row_count,
                             .columns = tile->column_count,
                             .unit = unit,
                             .most = most,
                             .mirror = mirror};
  ntk_turns_begin(&engine->turns, &of, ntk_seconds());
}

static ntk_status join_late(ntk_engine *engine, ntk_meanwhile meanwhile) {
  const double began = ntk_seconds();
  const ntk_status status = ntk_meanwhile_do(meanwhile);
#pragma omp critical(ntk_engine_task)
  ntk_turns_join(&engine->turns, began, ntk_seconds());
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
  (void)place_share(spec, spec->depth, tile->row_count, tile->row_outputs, engine->place1);
  (void)place_packed(spec, spec->depth, tile->column_count, tile->column_outputs,
                     engine->packed_at);
  begin_turns(engine, tile, mirror);
#pragma omp parallel
  {
#pragma omp master
    status = join_late(engine, meanwhile);
    for (;;) {
      const int64_t thread = omp_get_thread_num();
      const double began = ntk_seconds();
      int64_t end, n;
#pragma omp critical(ntk_engine_task)
      {
        n = ntk_turns_take(&engine->turns, thread, began);
        end = engine->turns.left + n;
      }
      if (n == 0)
        break;
      if (!ntk_engine_gives_up(engine))
        contract_rows(engine, tile, row, packed, mirror, acc, end - n, n);
#pragma omp critical(ntk_engine_task)
      ntk_turns_taken(&engine->turns, thread, end, n, began, ntk_seconds());
    }
  }
  return status;
}

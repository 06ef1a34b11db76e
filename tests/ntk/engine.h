/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_NTK_ENGINE_H
#define TESTS_NTK_ENGINE_H

/* Kernels by the engine alone, tile by tile: one call makes the whole kernel of a network
 * in a given setup. */
#include "subject.h"

#include "ntk/engine.h"
#include "ntk/split.h"
#include <omp.h>

/* ---- one way to compute a kernel ---- */

typedef struct setup {
  ntk_algorithm algorithm;
  ntk_form form;
  ntk_dtype dtype;
  int order; /* forced where it is a candidate; -1: the cheapest everywhere */
  bool pseudo, symmetric;
  int64_t block, outputs_block, sweep_samples; /* 0: all of them */
  ntk_status meanwhile; /* how the work ends that is done while tiles are contracted */
  double *outputs;      /* NULL, or receives the outputs of side 0 [n1, O] */
  int shares;           /* of the groups, one after the other; 0: one */
  int passes;           /* over each share; 0: one */
} setup;

typedef struct side_view {
  const subject *subject;
  int side;
} side_view;

static inline ntk_status read_side(void *self, int64_t first, int64_t n, ntk_dtype dtype,
                                   void *out) {
  const side_view *v = self;
  const subject *s = v->subject;
  assert_true(first >= 0 && n > 0 && first + n <= s->count[v->side]);
  ntk_convert(NTK_F64, s->samples[v->side] + first * s->size, dtype, out, n * s->size);
  return NTK_SUCCESS;
}

/* Where the outputs of a computation go. */
typedef struct outputs_view {
  int64_t O;
  double *values;
} outputs_view;

static inline ntk_status keep_outputs(void *user, int side, int64_t first, int64_t n,
                                      const double *values) {
  const outputs_view *v = user;
  if (side == 0 && v->values)
    memcpy(v->values + first * v->O, values, (size_t)(n * v->O) * sizeof *values);
  return NTK_SUCCESS;
}

/* Identity over outputs, or their sum / sqrt(O). */
static inline ntk_network network_make(const subject *s, ntk_dtype dtype, bool jacobian,
                                       bool pseudo) {
  ntk_network network;
  double *seeds = doubles(s->O * s->O);
  for (int64_t o = 0; o < s->O; o++)
    seeds[pseudo ? o : o * s->O + o] = pseudo ? 1 / sqrt((double)s->O) : 1;
  ntk_net *net;
  succeed(ntk_net_create(s->model->graph, dtype, NULL, &net));
  succeed(
      ntk_network_create(net, jacobian, NTK_FORM_FULL, pseudo ? 1 : s->O, seeds, &network));
  free(seeds);
  return network;
}

static inline void network_free(ntk_network *network) {
  ntk_net *net = (ntk_net *)network->net;
  ntk_network_destroy(network);
  ntk_net_destroy(&net);
}

static const ntk_rates some_rates = {
    .gemm_flops = {4e10, 2e10}, .gemm_knee = {40, 30}, .copy_bytes = 8e9};

/* Everything of one computation. */
typedef struct computation {
  const subject *subject;
  const setup *setup;
  int64_t n1, n2, outputs, B, Q, blocks1, blocks2, parts;
  int shares, depth; /* of which it is the turn */
  ntk_engine *engine;
  char **rows, **columns; /* [blocks][parts] */
  double *acc, *kernel;
  int meanwhile; /* times that the other work was done in the contraction in hand */
  int betweens;  /* pauses between pieces of it, or of the sweep in hand */
} computation;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t parts_of(int64_t all, int64_t part) {
  return (all + part - 1) / part;
}

/* On the thread that asked. */
static inline void count_between(void *self) {
  computation *c = self;
  assert_int_equal(omp_get_thread_num(), 0);
  c->betweens++;
}

/* The share whose turn it is of a row block; those of others are swept and thrown away. */
static inline char *sweep_block(const computation *c, int side, int64_t i0, int64_t n,
                                int64_t o0, int64_t o) {
  void *shares[8];
  assert_in_range(c->shares, 1, 8);
  for (int d = 0; d < c->shares; d++) {
    shares[d] = malloc((size_t)ntk_engine_block_bytes(c->engine, d, n, o) + 1);
    assert_non_null(shares[d]);
  }
  succeed(ntk_engine_sweep(c->engine, side, i0, n, o0, o, shares));
  for (int d = 0; d < c->shares; d++)
    if (d != c->depth)
      free(shares[d]);
  return shares[c->depth];
}

static inline char **sweep_side(const computation *c, int side, int64_t n, int64_t blocks) {
  char **buffers = calloc((size_t)(blocks * c->parts), sizeof *buffers);
  assert_non_null(buffers);
  for (int64_t r = 0; r < blocks * c->parts; r++) {
    const int64_t i0 = r / c->parts * c->B, o0 = r % c->parts * c->Q;
    buffers[r] =
        sweep_block(c, side, i0, least(c->B, n - i0), o0, least(c->Q, c->outputs - o0));
  }
  return buffers;
}

/* Adds acc to the kernel (trace sums its parts), and for `transpose` its mirror image. */
static inline void place_tile(const computation *c, const ntk_tile *t, bool transpose) {
  const int64_t n1 = c->n1, n2 = c->n2, O = c->outputs;
  const bool full = c->setup->form == NTK_FORM_FULL;
  const bool trace = c->setup->form == NTK_FORM_TRACE;
  const double *value = c->acc;
  const int64_t outer = full || trace ? 1 : t->row_outputs;
  for (int64_t d = 0; d < outer; d++)
    for (int64_t i = t->row_first; i < t->row_first + t->row_count; i++)
      for (int64_t o = 0; o < (full ? t->row_outputs : 1); o++)
        for (int64_t j = t->column_first; j < t->column_first + t->column_count; j++)
          for (int64_t p = 0; p < (full ? t->column_outputs : 1); p++, value++) {
            const int64_t a = t->row_output + (full ? o : d), b = t->column_output + p;
            const int64_t at = full    ? ((i * O + a) * n2 + j) * O + b
                               : trace ? i * n2 + j
                                       : (a * n1 + i) * n2 + j;
            const int64_t mirrored = full    ? ((j * O + b) * n2 + i) * O + a
                                     : trace ? j * n2 + i
                                             : (a * n1 + j) * n2 + i;
            c->kernel[at] += *value;
            if (transpose)
              c->kernel[mirrored] += *value;
          }
}

/* Copies the lower half of each matrix of a mirrored tile up. */
static inline void mirror_tile(const computation *c, const ntk_tile *t) {
  const bool full = c->setup->form == NTK_FORM_FULL;
  const int64_t edge = t->row_count * (full ? t->row_outputs : 1);
  const int64_t count = c->setup->form == NTK_FORM_DIAGONAL ? t->row_outputs : 1;
  for (int64_t d = 0; d < count; d++)
    for (int64_t i = 0; i < edge; i++)
      for (int64_t j = i + 1; j < edge; j++)
        c->acc[(d * edge + i) * edge + j] = c->acc[(d * edge + j) * edge + i];
}

/* On the thread that asked for the contraction. */
static inline ntk_status count_meanwhile(void *self) {
  computation *c = self;
  assert_int_equal(omp_get_thread_num(), 0);
  c->meanwhile++;
  return c->setup->meanwhile;
}

static inline void contract_pair(computation *c, int64_t r, int64_t s) {
  const bool symmetric = c->setup->symmetric;
  const int64_t I = r / c->parts, J = s / c->parts, q = r % c->parts, p = s % c->parts;
  const bool mirror = symmetric && r == s;
  if (c->setup->form != NTK_FORM_FULL ? p != q : symmetric && I == J && q < p)
    return;
  if (symmetric && I < J)
    return;
  const ntk_tile t = {.row_first = I * c->B,
                      .row_count = least(c->B, c->n1 - I * c->B),
                      .row_output = q * c->Q,
                      .row_outputs = least(c->Q, c->outputs - q * c->Q),
                      .column_first = J * c->B,
                      .column_count = least(c->B, c->n2 - J * c->B),
                      .column_output = p * c->Q,
                      .column_outputs = least(c->Q, c->outputs - p * c->Q)};
  memset(c->acc, 0, (size_t)(c->n1 * c->n2 * c->outputs * c->outputs) * sizeof *c->acc);
  void *packed = malloc((size_t)ntk_engine_packed_bytes(c->engine, c->depth, t.column_count,
                                                        t.column_outputs) +
                        1);
  assert_non_null(packed);
  ntk_engine_pack(c->engine, t.column_count, t.column_outputs, c->columns[s], packed);
  c->meanwhile = c->betweens = 0;
  assert_int_equal(ntk_engine_contract(c->engine, &t, c->rows[r], packed, mirror, c->acc,
                                       (ntk_meanwhile){count_meanwhile, c}),
                   c->setup->meanwhile);
  assert_int_equal(c->meanwhile, 1);
  assert_true(c->betweens > 0 || omp_get_max_threads() > 1 || c->setup->meanwhile ||
              c->shares > 1);
  free(packed);
  if (mirror)
    mirror_tile(c, &t);
  place_tile(c, &t, symmetric && r != s);
}

static inline void run_tiles(computation *c) {
  const int64_t rows = c->blocks1 * c->parts, columns = c->blocks2 * c->parts;
  c->rows = sweep_side(c, 0, c->n1, c->blocks1);
  c->columns = c->setup->symmetric ? c->rows : sweep_side(c, 1, c->n2, c->blocks2);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t s = 0; s < columns; s++)
      contract_pair(c, r, s);
  for (int64_t s = 0; !c->setup->symmetric && s < columns; s++)
    free(c->columns[s]);
  if (!c->setup->symmetric)
    free(c->columns);
  for (int64_t r = 0; r < rows; r++)
    free(c->rows[r]);
  free(c->rows);
}

/* About as many pieces in each pass. */
static inline void divide(ntk_split *split, int passes) {
  int64_t *bytes = calloc((size_t)split->count + 1, sizeof *bytes);
  assert_non_null(bytes);
  for (int i = 0; i < split->count; i++)
    bytes[i] = 1;
  succeed(ntk_split_divide(split, bytes, passes));
  free(bytes);
}

/* The forced order, where the group has it; *forced counts such groups. */
static inline ntk_order *orders_make(const ntk_network *network,
                                     const ntk_cost_shape *shape, int order, int *forced) {
  ntk_order *orders = calloc((size_t)network->groups->count + 1, sizeof *orders);
  assert_non_null(orders);
  *forced = 0;
  for (int i = 0; i < network->groups->count; i++) {
    const ntk_group *group = &network->groups->groups[i];
    const ntk_constant *constant = &network->constants[i];
    orders[i] = ntk_order_choose(group, shape, &some_rates, constant);
    assert_true(ntk_order_is_candidate(group, orders[i], shape, constant));
    if (order < 0 || !ntk_order_is_candidate(group, (ntk_order)order, shape, constant))
      continue;
    orders[i] = (ntk_order)order;
    ++*forced;
  }
  return orders;
}

/* Predicted seconds of contracting each group. */
static inline double *seconds_make(const ntk_network *network, const ntk_cost_shape *shape,
                                   const ntk_order *orders) {
  double *seconds = doubles(network->groups->count);
  for (int i = 0; i < network->groups->count; i++)
    seconds[i] = ntk_cost_of(&network->groups->groups[i], orders[i], shape, &some_rates,
                             network->constants[i].count)
                     .seconds;
  return seconds;
}

/* It takes exactly the memory that it promised. */
static inline void engine_open(const ntk_engine_spec *spec, ntk_engine **engine) {
  int64_t bytes;
  const int64_t before = ntk_memory_used(NTK_MEMORY_SWEEP);
  succeed(ntk_engine_bytes(spec, &bytes));
  succeed(ntk_engine_create(spec, engine));
  assert_int_equal(ntk_memory_used(NTK_MEMORY_SWEEP) - before, bytes);
}

/* Elements of the kernel that a setup makes. */
static inline int64_t kernel_size(const subject *s, const setup *u) {
  const int64_t n1 = s->count[0], n2 = s->count[u->symmetric ? 0 : 1];
  const int64_t O = u->pseudo ? 1 : s->O;
  return n1 * n2 *
         (u->form == NTK_FORM_TRACE      ? 1
          : u->form == NTK_FORM_DIAGONAL ? O
                                         : O * O);
}

/* The kernel of side 0 against side 1 (symmetric: against itself): full [n1, o, n2, o],
 * trace (mean) [n1, n2], diagonal [o, n1, n2]; pseudo is full with one output. NULL where
 * no group has the forced order. */
static inline double *kernel_make(const subject *s, const setup *u) {
  computation c = {.subject = s, .setup = u, .n1 = s->count[0]};
  ntk_network network =
      network_make(s, u->dtype, u->algorithm != NTK_ALGORITHM_STRUCTURED, u->pseudo);
  side_view views[2] = {{s, 0}, {s, u->symmetric ? 0 : 1}};
  outputs_view outputs = {s->O, u->outputs};
  int forced;
  c.n2 = s->count[views[1].side];
  c.outputs = network.outputs;
  const int64_t most = c.n1 > c.n2 ? c.n1 : c.n2;
  c.B = u->block > 0 ? u->block : most;
  c.Q = u->outputs_block > 0 ? least(u->outputs_block, c.outputs) : c.outputs;
  c.blocks1 = parts_of(c.n1, c.B);
  c.blocks2 = parts_of(c.n2, c.B);
  c.parts = parts_of(c.outputs, c.Q);
  const ntk_cost_shape shape = {u->form,   u->dtype, c.n1, c.n2,
                                c.outputs, c.B,      c.Q,  u->symmetric};
  ntk_order *orders = orders_make(&network, &shape, u->order, &forced);
  double *seconds = seconds_make(&network, &shape, orders);
  ntk_split split;
  c.shares = u->shares > 1 ? u->shares : 1;
  succeed(ntk_split_create(network.groups, orders, seconds, &shape, c.shares, &split));
  if (u->passes > 1)
    divide(&split, u->passes);
  const ntk_between between = {count_between, &c};
  ntk_engine_spec spec = {.between = &between,
                          .split = c.shares > 1 || u->passes > 1 ? &split : NULL,
                          .network = &network,
                          .algorithm = u->algorithm,
                          .form = u->form,
                          .scale = u->form == NTK_FORM_TRACE ? 1 / (double)c.outputs : 1,
                          .block = least(c.B, most),
                          .outputs_block = c.Q,
                          .sweep_samples =
                              u->sweep_samples > 0 ? u->sweep_samples : least(c.B, most),
                          .orders = orders,
                          .sides = {{&views[0], 0, read_side}, {&views[1], 0, read_side}},
                          .outputs = keep_outputs,
                          .user = &outputs};
  if (u->order < 0 || forced > 0) {
    c.acc = doubles(c.n1 * c.n2 * c.outputs * c.outputs);
    c.kernel = doubles(kernel_size(s, u));
    for (; c.depth < c.shares; spec.depth = ++c.depth) {
      engine_open(&spec, &c.engine);
      for (int pass = 0; pass < split.passes; pass++) {
        ntk_engine_begin_pass(c.engine, pass);
        run_tiles(&c);
      }
      ntk_engine_destroy(&c.engine);
    }
    free(c.acc);
  }
  ntk_split_clear(&split);
  free(orders);
  free(seconds);
  network_free(&network);
  return c.kernel;
}

/* The form of a full kernel [n1, O, n2, O] that a setup asks for. */
static inline double *reduce(const subject *s, const setup *u, const double *full) {
  const int64_t n1 = s->count[0], n2 = s->count[u->symmetric ? 0 : 1], O = s->O;
  double *out = doubles(kernel_size(s, u));
  for (int64_t i = 0; i < n1; i++)
    for (int64_t j = 0; j < n2; j++)
      for (int64_t o = 0; o < O; o++)
        for (int64_t p = 0; p < O; p++) {
          const double value = full[((i * O + o) * n2 + j) * O + p];
          if (u->pseudo)
            out[i * n2 + j] += value / (double)O;
          else if (u->form == NTK_FORM_FULL)
            out[((i * O + o) * n2 + j) * O + p] = value;
          else if (u->form == NTK_FORM_TRACE && o == p)
            out[i * n2 + j] += value / (double)O;
          else if (o == p)
            out[(o * n1 + i) * n2 + j] = value;
        }
  return out;
}

#endif

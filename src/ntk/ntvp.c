/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "ntk/engine_parts.h"
#include <string.h>

/* NTK-vector products (Novak et al. 2022, section 3.2): the columns (m, p) of a tile are
 * directions in parameter space, d = J(x2)^T e; each is pushed through the tangent at x1.
 * A row block's "factors" are its samples; the sweeps are the contraction. Where parameters
 * have colours, the directions of each are pushed on their own. */

/* Elements of a direction that are zeros in place of other colours' parameters. */
static int64_t zero_elements(const ntk_net *net) {
  int64_t most = 0;
  for (int i = 0; ntk_net_colours(net) > 1 && i < net->graph->parameter_count; i++) {
    const int64_t size = ntk_graph_size(net->graph, net->graph->parameters[i]);
    most = size > most ? size : most;
  }
  return most;
}

int64_t ntk_ntvp_batch(const ntk_network *network, int64_t block, int64_t outputs_block) {
  const int64_t bytes = (int64_t)ntk_dtype_bytes(network->net->dtype);
  const int64_t P = ntk_graph_parameters(network->graph);
  int64_t n = block;
  for (; n > 1; n = (n + 1) / 2) {
    int64_t tangent_bytes;
    const ntk_sweep_limits limits = {.samples = n, .directions = n * outputs_block};
    if (n * outputs_block * P * bytes > NTK_WORKSPACE_BYTES)
      continue;
    if (ntk_sweep_bytes(network->net, limits, NULL, &tangent_bytes) != NTK_SUCCESS)
      continue;
    if (tangent_bytes <= NTK_WORKSPACE_BYTES)
      break;
  }
  return n;
}

ntk_status ntk_ntvp_bytes(const ntk_engine_spec *spec, int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  const ntk_network *network = spec->network;
  const int64_t n = spec->sweep_samples, directions = n * spec->outputs_block;
  const ntk_sweep_limits limits = {.samples = n, .directions = directions};
  NTK_TRY(ntk_sweep_bytes(network->net, limits, NULL, bytes));
  *bytes += directions *
            (ntk_graph_parameters(network->graph) + zero_elements(network->net) +
             n * ntk_graph_outputs(network->graph)) *
            (int64_t)ntk_dtype_bytes(network->net->dtype);
done:
  return status;
}

ntk_status ntk_ntvp_create(ntk_engine *engine) {
  ntk_status status = NTK_SUCCESS;
  const ntk_network *network = engine->spec.network;
  const ntk_graph *graph = network->graph;
  const size_t bytes = ntk_dtype_bytes(network->net->dtype);
  const int64_t n = engine->spec.sweep_samples;
  engine->directions = n * engine->spec.outputs_block;
  const ntk_sweep_limits limits = {.samples = n, .directions = engine->directions};
  NTK_TRY(ntk_sweep_create(network->net, limits, NULL, &engine->rows));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->parameter_count, sizeof *engine->jacobian,
                     &engine->jacobian));
  for (int i = 0; i < graph->parameter_count; i++)
    NTK_TRY(ntk_calloc(NTK_MEMORY_SWEEP,
                       engine->directions * ntk_graph_size(graph, graph->parameters[i]),
                       bytes, &engine->jacobian[i]));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->parameter_count, sizeof *engine->masked,
                     &engine->masked));
  NTK_TRY(ntk_calloc(NTK_MEMORY_SWEEP, engine->directions * zero_elements(network->net),
                     bytes, &engine->zeros));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, engine->directions * n * ntk_graph_outputs(graph),
                     bytes, &engine->tangents));
done:
  return status;
}

void ntk_ntvp_destroy(ntk_engine *engine) {
  if (engine->jacobian)
    for (int i = 0; i < engine->spec.network->graph->parameter_count; i++)
      ntk_free(&engine->jacobian[i]);
  ntk_free(&engine->jacobian);
  ntk_free(&engine->zeros);
  ntk_free(&engine->masked);
  ntk_free(&engine->tangents);
  ntk_sweep_destroy(&engine->rows);
}

/* Keeps the Jacobian of the columns' chunk: [m, p, P_l] for every parameter source. */
typedef struct columns_chunk {
  ntk_engine *engine;
  int64_t m, p;
} columns_chunk;

static void take_jacobian(void *user, int value, ntk_array cotangent) {
  const columns_chunk *c = user;
  const ntk_network *network = c->engine->spec.network;
  const ntk_graph *graph = network->graph;
  const size_t bytes = ntk_dtype_bytes(network->net->dtype);
  for (int i = 0; i < graph->parameter_count; i++) {
    if (graph->parameters[i] != value)
      continue;
    const int64_t size = ntk_graph_size(graph, value);
    for (int64_t j = 0; j < c->m * c->p; j++)
      memcpy(c->engine->jacobian[i] + (size_t)(j * size) * bytes,
             (const char *)cotangent.data +
                 (size_t)(j / c->p * cotangent.outer + j % c->p * cotangent.inner) * bytes,
             (size_t)size * bytes);
  }
}

/* Seeds of the outputs of a block for its samples i ..: the network's, or the block's own
 * behind its n samples. */
static ntk_seeds block_seeds(const ntk_engine *engine, const void *block, int64_t n,
                             int64_t output, int64_t o, int64_t i) {
  const ntk_network *network = engine->spec.network;
  const ntk_graph *graph = network->graph;
  const int64_t bytes = (int64_t)ntk_dtype_bytes(network->net->dtype);
  const int64_t O = ntk_graph_outputs(graph), size = ntk_graph_inputs(graph);
  if (network->seeds)
    return (ntk_seeds){(const char *)network->seeds + output * O * bytes, 0};
  return (ntk_seeds){(const char *)block + (n * size + i * o * O) * bytes, o * O};
}

/* One chunk of samples of each side. */
typedef struct product {
  ntk_engine *engine;
  const ntk_tile *tile;
  int64_t i0, n, j0, m;
  ntk_seeds seeds; /* of the rows */
  double *acc;     /* of the colour in hand */
} product;

/* seed[o] . tangent of direction d at sample i of the chunk. */
static double project(const product *c, int64_t o, int64_t d, int64_t i) {
  const ntk_network *network = c->engine->spec.network;
  const void *tangents = c->engine->tangents;
  const int64_t O = ntk_graph_outputs(network->graph);
  double sum = 0;
  for (int64_t k = 0; k < O; k++) {
    const int64_t s = i * c->seeds.outer + o * O + k, t = (d * c->n + i) * O + k;
    sum += network->net->dtype == NTK_F64
               ? ((const double *)c->seeds.data)[s] * ((const double *)tangents)[t]
               : (double)((const float *)c->seeds.data)[s] *
                     (double)((const float *)tangents)[t];
  }
  return sum;
}

static void add_tangents(const product *c) {
  const ntk_tile *tile = c->tile;
  const int64_t n1 = tile->row_count, o1 = tile->row_outputs;
  const int64_t n2 = tile->column_count, o2 = tile->column_outputs;
  const ntk_form form = c->engine->spec.form;
  const double scale = c->engine->spec.scale;
  for (int64_t i = 0; i < c->n; i++)
    for (int64_t j = 0; j < c->m; j++)
      for (int64_t p = 0; p < o2; p++) {
        if (form == NTK_FORM_FULL) {
          for (int64_t o = 0; o < o1; o++)
            c->acc[(((c->i0 + i) * o1 + o) * n2 + c->j0 + j) * o2 + p] +=
                scale * project(c, o, j * o2 + p, i);
          continue;
        }
        const double same = scale * project(c, p, j * o2 + p, i);
        const int64_t at = (c->i0 + i) * n2 + c->j0 + j;
        c->acc[form == NTK_FORM_TRACE ? at : p * n1 * n2 + at] += same;
      }
}

/* The tangents of each colour's directions, into its part of the tile. */
static void push_colours(product *c) {
  ntk_engine *engine = c->engine;
  const ntk_net *net = engine->spec.network->net;
  const ntk_graph *graph = net->graph;
  for (int colour = 0; colour < ntk_net_colours(net); colour++) {
    for (int i = 0; i < graph->parameter_count; i++) {
      const bool is_of = !net->colours || net->colours[graph->parameters[i]] == colour;
      engine->masked[i] = is_of ? engine->jacobian[i] : engine->zeros;
    }
    ntk_sweep_tangent(engine->rows, c->m * c->tile->column_outputs, engine->masked,
                      engine->tangents);
    add_tangents(c);
    c->acc += engine->spec.colour_stride;
  }
}

ntk_status ntk_ntvp_contract(ntk_engine *engine, const ntk_tile *tile, const void *row,
                             const void *column, double *acc) {
  ntk_status status = NTK_SUCCESS;
  const ntk_network *network = engine->spec.network;
  const ntk_graph *graph = network->graph;
  const int64_t bytes = (int64_t)ntk_dtype_bytes(network->net->dtype);
  const int64_t sample = ntk_graph_inputs(graph) * bytes;
  const int64_t step = engine->spec.sweep_samples;
  for (int64_t j0 = 0; j0 < tile->column_count && !ntk_engine_gives_up(engine);
       j0 += step) {
    const int64_t m = tile->column_count - j0 < step ? tile->column_count - j0 : step;
    const void *x2 = (const char *)column + j0 * sample;
    const columns_chunk c = {engine, m, tile->column_outputs};
    NTK_TRY(ntk_sweep_forward_rows(engine->sweep, m, x2,
                                   engine->spec.sides[1].base + tile->column_first + j0));
    ntk_sweep_backward(
        engine->sweep, c.p,
        block_seeds(engine, column, tile->column_count, tile->column_output, c.p, j0),
        false, take_jacobian, (void *)(uintptr_t)&c);
    for (int64_t i0 = 0; i0 < tile->row_count && !ntk_engine_gives_up(engine); i0 += step) {
      const int64_t n = tile->row_count - i0 < step ? tile->row_count - i0 : step;
      const void *x1 = (const char *)row + i0 * sample;
      ntk_between_do(engine->spec.between);
      product part = {.engine = engine,
                      .tile = tile,
                      .i0 = i0,
                      .n = n,
                      .j0 = j0,
                      .m = m,
                      .seeds = block_seeds(engine, row, tile->row_count, tile->row_output,
                                           tile->row_outputs, i0),
                      .acc = acc};
      NTK_TRY(ntk_sweep_forward_rows(engine->rows, n, x1,
                                     engine->spec.sides[0].base + tile->row_first + i0));
      push_colours(&part);
    }
  }
done:
  return status;
}

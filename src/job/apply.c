/* SPDX-License-Identifier: Apache-2.0 */
#include "job/apply.h"
#include "base/memory.h"
#include "dist/grid.h"
#include "dist/shares.h"
#include "job/plan_parts.h"
#include "tensor/blas.h"
#include <string.h>

/* Memory of the parameter vectors taken at a time, and of a sweep; one vector, one sample
 * may exceed them. */
static const int64_t vector_bytes = (int64_t)1 << 30, sweep_bytes = (int64_t)1 << 28;
enum { MOST_SAMPLES = 128, MOST_VECTORS = 64 };

struct ntk_apply {
  ntk_plan *plan;   /* borrowed */
  int64_t P, O, Q;  /* parameters, outputs of the network, cotangents */
  int64_t width;    /* numbers of a sample in a vector: Q, of a trace 1 */
  int64_t parts;    /* parameter vectors of a vector: 1, or Q where each output is apart */
  int64_t samples;  /* of one sweep */
  int64_t asked;    /* vectors at once, so far */
  int64_t settings; /* of parameters that the sweeps have */
  int64_t vectors;  /* taken at a time, at most */
  int64_t *first;   /* [parameters] element where each begins among P */
  double *cotangents; /* [Q, O] that all samples share; NULL: outputs are selected, or
                         samples have their own */
  double *own;        /* [samples, Q, O] those */
  ntk_sweep *sweep;
  void *inputs;      /* [samples, size of a sample] */
  void *seeds;       /* [samples, vectors, O] */
  double *wide;      /* [samples, vectors, O] seeds or tangents in f64 */
  void *tangents;    /* [vectors, samples, O] */
  double *sum;       /* [vectors, P] of this rank's samples */
  double *piece;     /* [vectors, largest share of P] of another rank */
  double *mine;      /* the same, of this rank */
  char **directions; /* [parameters][vectors, P_l] in the plan's type */
};

/* ---- making ---------------------------------------------------------------------------
 */

static size_t element(const ntk_apply *a) {
  return ntk_dtype_bytes(a->plan->numeric.dtype);
}

static bool selects(const ntk_plan *plan) {
  return !plan->cotangents.sides[0] && plan->numeric.reduction != NTK_REDUCE_PSEUDO;
}

/* Trace and diagonal are made of the kernels of single outputs, J_o J_o^T. */
static bool takes_apart(const ntk_plan *plan) {
  const ntk_reduction reduction = plan->numeric.reduction;
  return reduction == NTK_REDUCE_TRACE || reduction == NTK_REDUCE_DIAGONAL;
}

int64_t ntk_apply_width(const ntk_plan *plan) {
  return plan->numeric.reduction == NTK_REDUCE_TRACE ? 1 : plan->network.outputs;
}

int64_t ntk_apply_matrices(const ntk_plan *plan) {
  return plan->numeric.reduction == NTK_REDUCE_DIAGONAL ? plan->network.outputs : 1;
}

static ntk_status check_operation(const ntk_plan *plan, ntk_operation operation) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(
      operation == NTK_THETA || !takes_apart(plan), NTK_ERR_ARGUMENT,
      "--reduce %s: such a kernel is no product of two Jacobians: it can be applied, J and "
      "J^T alone cannot; choose none or pseudo for these",
      ntk_reduction_name(plan->numeric.reduction));
done:
  return status;
}

ntk_status ntk_apply_check(const ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = plan->model->graph;
  for (int i = 0; i < graph->output_count; i++)
    NTK_REQUIRE(graph->values[graph->outputs[i]].role == NTK_DATA, NTK_ERR_UNSUPPORTED,
                "output '%s' does not depend on the sample; choose another --output-name",
                graph->values[graph->outputs[i]].name);
done:
  return status;
}

static bool *parameters_wanted(const ntk_graph *graph) {
  bool *wanted = NULL;
  if (ntk_calloc(NTK_MEMORY_GENERAL, graph->value_count, sizeof *wanted, &wanted) !=
      NTK_SUCCESS)
    return NULL;
  for (int i = 0; i < graph->parameter_count; i++)
    wanted[graph->parameters[i]] = true;
  return wanted;
}

static ntk_sweep_limits limits_of(int64_t samples, int64_t vectors) {
  return (ntk_sweep_limits){.samples = samples,
                            .cotangents = vectors,
                            .directions = vectors,
                            .own_seeds = true,
                            .sums_samples = true};
}

/* As many vectors as their memory permits, then as many samples. */
static ntk_status choose_sizes(ntk_apply *a, const bool *wanted, int64_t vectors,
                               int64_t samples) {
  ntk_status status = NTK_SUCCESS;
  const int64_t each = a->P * (int64_t)(sizeof(double) + element(a));
  int64_t bytes;
  a->vectors = vectors < MOST_VECTORS ? vectors : MOST_VECTORS;
  a->samples = samples < MOST_SAMPLES ? samples : MOST_SAMPLES;
  while (a->vectors > 1 && a->vectors * each > vector_bytes)
    a->vectors = (a->vectors + 1) / 2;
  for (;;) {
    NTK_TRY(ntk_sweep_bytes(a->plan->weights.net, limits_of(a->samples, a->vectors), wanted,
                            &bytes));
    if (bytes <= sweep_bytes || (a->samples == 1 && a->vectors == 1))
      break;
    if (a->samples > 8 || a->vectors == 1)
      a->samples = (a->samples + 1) / 2;
    else
      a->vectors = (a->vectors + 1) / 2;
  }
done:
  return status;
}

/* The network's own seeds as f64. */
static ntk_status take_cotangents(ntk_apply *a) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = a->plan;
  if (selects(plan))
    return NTK_SUCCESS;
  if (!plan->network.seeds)
    return ntk_malloc(NTK_MEMORY_SWEEP, a->samples * a->Q * a->O, sizeof(double), &a->own);
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, a->Q * a->O, sizeof(double), &a->cotangents));
  ntk_convert(plan->numeric.dtype, plan->network.seeds, NTK_F64, a->cotangents,
              a->Q * a->O);
done:
  return status;
}

static ntk_status allocate_vectors(ntk_apply *a, const ntk_graph *graph) {
  ntk_status status = NTK_SUCCESS;
  const int64_t most = a->vectors * ntk_share_count(a->P, 0, a->plan->context->size);
  int64_t at = 0;
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, graph->parameter_count, sizeof *a->first, &a->first));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->parameter_count, sizeof *a->directions,
                     &a->directions));
  for (int i = 0; i < graph->parameter_count; i++) {
    const int64_t size = ntk_graph_size(graph, graph->parameters[i]);
    a->first[i] = at;
    at += size;
    NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, a->vectors * size, element(a), &a->directions[i]));
  }
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, a->vectors * a->P, sizeof(double), &a->sum));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, most, sizeof(double), &a->piece));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, most, sizeof(double), &a->mine));
done:
  return status;
}

static ntk_status allocate(ntk_apply *a, int64_t vectors, int64_t samples) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = a->plan;
  const ntk_graph *graph = plan->model->graph;
  bool *wanted = parameters_wanted(graph);
  NTK_REQUIRE(wanted, NTK_ERR_MEMORY, "not enough memory");
  NTK_TRY(choose_sizes(a, wanted, vectors, samples));
  NTK_TRY(ntk_sweep_create(plan->weights.net, limits_of(a->samples, a->vectors), wanted,
                           &a->sweep));
  const int64_t seeds = a->samples * a->vectors * a->O;
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, a->samples * ntk_graph_inputs(graph), element(a),
                     &a->inputs));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, seeds, element(a), &a->seeds));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, seeds, element(a), &a->tangents));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, seeds, sizeof(double), &a->wide));
  NTK_TRY(take_cotangents(a));
  NTK_TRY(allocate_vectors(a, graph));
done:
  ntk_free(&wanted);
  return status;
}

void ntk_apply_destroy(ntk_apply **handle) {
  ntk_apply *a = *handle;
  if (!a)
    return;
  ntk_sweep_destroy(&a->sweep);
  if (a->directions)
    for (int i = 0; i < a->plan->model->graph->parameter_count; i++)
      ntk_free(&a->directions[i]);
  ntk_free(&a->directions);
  ntk_free(&a->first);
  ntk_free(&a->cotangents);
  ntk_free(&a->own);
  ntk_free(&a->inputs);
  ntk_free(&a->seeds);
  ntk_free(&a->tangents);
  ntk_free(&a->wide);
  ntk_free(&a->sum);
  ntk_free(&a->piece);
  ntk_free(&a->mine);
  ntk_free(handle);
}

static ntk_data *side_of(const ntk_plan *plan, int side) {
  return side == 1 && plan->columns ? plan->columns : plan->rows;
}

static ntk_status make(ntk_plan *plan, int64_t vectors) {
  ntk_status status = NTK_SUCCESS;
  const int64_t rows = ntk_data_samples(side_of(plan, 0));
  const int64_t columns = ntk_data_samples(side_of(plan, 1));
  NTK_TRY(ntk_apply_check(plan));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *plan->apply, &plan->apply));
  plan->apply->plan = plan;
  plan->apply->asked = vectors;
  plan->apply->P = ntk_graph_parameters(plan->model->graph);
  plan->apply->O = ntk_graph_outputs(plan->model->graph);
  plan->apply->Q = plan->network.outputs;
  plan->apply->width = ntk_apply_width(plan);
  plan->apply->parts = takes_apart(plan) ? plan->network.outputs : 1;
  NTK_TRY(allocate(plan->apply, vectors, rows > columns ? rows : columns));
done:
  if (status != NTK_SUCCESS)
    ntk_apply_destroy(&plan->apply);
  return status;
}

/* One that takes as many vectors at a time, all parts of them, or as many as memory
 * permits. Collective. */
static ntk_status prepare(ntk_plan *plan, int64_t vectors) {
  ntk_status status = NTK_SUCCESS;
  if (takes_apart(plan))
    vectors *= plan->network.outputs;
  NTK_TRY(ntk_plan_refresh(plan));
  if (plan->apply &&
      (plan->apply->asked < vectors || plan->apply->settings != plan->settings))
    ntk_apply_destroy(&plan->apply);
  if (!plan->apply)
    status = make(plan, vectors > 0 ? vectors : 1);
  NTK_TRY(ntk_agree(plan->context->comm, status));
  plan->apply->settings = plan->settings;
done:
  return status;
}

/* ---- samples --------------------------------------------------------------------------
 */

static int64_t share_first(const ntk_plan *plan, int side) {
  return ntk_share_first(ntk_data_samples(side_of(plan, side)), plan->context->rank,
                         plan->context->size);
}

static int64_t share_count(const ntk_plan *plan, int side) {
  return ntk_share_count(ntk_data_samples(side_of(plan, side)), plan->context->rank,
                         plan->context->size);
}

/* A chunk of this rank's samples: i .. i + n of its share of a side. */
typedef struct chunk {
  int side;
  int64_t i, n;
} chunk;

/* The next chunk; false: there are no more. {.side} begins. */
static bool next(const ntk_apply *a, chunk *c) {
  const int64_t count = share_count(a->plan, c->side);
  c->i += c->n;
  c->n = count - c->i < a->samples ? count - c->i : a->samples;
  return c->n > 0;
}

static ntk_status forward(const ntk_apply *a, chunk c) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = a->plan;
  ntk_data *data = side_of(plan, c.side);
  const int64_t first = share_first(plan, c.side) + c.i;
  NTK_TRY(ntk_data_slice(data, first, c.n, plan->numeric.dtype, a->inputs));
  if (a->own)
    NTK_TRY(ntk_cotangents_read(&plan->cotangents, c.side, first, c.n,
                                plan->numeric.reduction == NTK_REDUCE_PSEUDO, NTK_F64,
                                a->own));
  NTK_TRY(ntk_sweep_forward_rows(a->sweep, c.n, a->inputs, data->first + first));
done:
  return status;
}

/* Rows of C of sample i of a chunk. */
static const double *cotangents_of(const ntk_apply *a, int64_t i) {
  return a->own ? a->own + i * a->Q * a->O : a->cotangents;
}

/* The cotangents that a part is of, up to the end: its own, or all of them. */
static int64_t first_of(const ntk_apply *a, int64_t part) {
  return a->parts > 1 ? part : 0;
}
static int64_t end_of(const ntk_apply *a, int64_t part) {
  return a->parts > 1 ? part + 1 : a->Q;
}

/* seed = C^T u of one sample, by the cotangents of a part. */
static void to_seed(const ntk_apply *a, int64_t i, int64_t part, const double *u,
                    double *seed) {
  const double *c = cotangents_of(a, i);
  memset(seed, 0, (size_t)a->O * sizeof *seed);
  for (int64_t q = first_of(a, part); q < end_of(a, part); q++) {
    const double by = u[a->width > 1 ? q : 0];
    if (!c) {
      seed[a->plan->output_index[q]] += by;
      continue;
    }
    for (int64_t k = 0; k < a->O; k++)
      seed[k] += c[q * a->O + k] * by;
  }
}

/* y += C t of one sample, likewise; a mean over the outputs is taken here. */
static void from_tangent(const ntk_apply *a, int64_t i, int64_t part, const double *t,
                         double *y) {
  const double *c = cotangents_of(a, i);
  for (int64_t q = first_of(a, part); q < end_of(a, part); q++) {
    double sum = c ? 0 : t[a->plan->output_index[q]];
    for (int64_t k = 0; c && k < a->O; k++)
      sum += c[q * a->O + k] * t[k];
    y[a->width > 1 ? q : 0] += a->plan->spec.scale * sum;
  }
}

/* ---- J^T ------------------------------------------------------------------------------
 */

/* A parameter's number among the graph's. */
static int number_of(const ntk_graph *graph, int value) {
  int i = 0;
  while (graph->parameters[i] != value)
    i++;
  return i;
}

/* Where the cotangents of a backward sweep go. */
typedef struct taker {
  const ntk_apply *apply;
  int64_t vectors; /* of the sweep */
} taker;

static void add_cotangent(void *user, int value, ntk_array cotangent) {
  const ntk_apply *a = ((taker *)user)->apply;
  const ntk_graph *graph = a->plan->model->graph;
  const int64_t size = ntk_graph_size(graph, value);
  double *to = a->sum + a->first[number_of(graph, value)];
  for (int64_t v = 0; v < ((taker *)user)->vectors; v++, to += a->P) {
    const double *wide = (const double *)cotangent.data + v * cotangent.inner;
    const float *narrow = (const float *)cotangent.data + v * cotangent.inner;
    const bool is_wide = a->plan->numeric.dtype == NTK_F64;
    for (int64_t e = 0; is_wide && e < size; e++)
      to[e] += wide[e];
    for (int64_t e = 0; !is_wide && e < size; e++)
      to[e] += (double)narrow[e];
  }
}

/* sum = J2^T u by this rank's samples, of the d parts from the first on; u [vectors,
 * columns, width]. */
static ntk_status pull_back(ntk_apply *a, int64_t first, int64_t d, const double *u) {
  ntk_status status = NTK_SUCCESS;
  const int64_t stride = share_count(a->plan, 1) * a->width;
  taker t = {.apply = a, .vectors = d};
  memset(a->sum, 0, (size_t)(d * a->P) * sizeof *a->sum);
  for (chunk c = {.side = 1}; next(a, &c);) {
    NTK_TRY(forward(a, c));
    for (int64_t i = 0; i < c.n; i++)
      for (int64_t v = 0; v < d; v++)
        to_seed(a, i, (first + v) % a->parts,
                u + (first + v) / a->parts * stride + (c.i + i) * a->width,
                a->wide + (i * d + v) * a->O);
    ntk_convert(NTK_F64, a->wide, a->plan->numeric.dtype, a->seeds, c.n * d * a->O);
    ntk_sweep_backward(a->sweep, d, (ntk_seeds){a->seeds, d * a->O}, false, add_cotangent,
                       &t);
  }
done:
  return status;
}

/* ---- J --------------------------------------------------------------------------------
 */

/* Elements first .. first + count of the v-th parameter vector, into the directions. */
static void place(const ntk_apply *a, int64_t v, int64_t first, int64_t count,
                  const double *values) {
  const ntk_graph *graph = a->plan->model->graph;
  for (int i = 0; i < graph->parameter_count; i++) {
    const int64_t size = ntk_graph_size(graph, graph->parameters[i]);
    const int64_t from = first > a->first[i] ? first : a->first[i];
    const int64_t end = a->first[i] + size, stop = first + count;
    const int64_t to = end < stop ? end : stop;
    if (to > from)
      ntk_convert(NTK_F64, values + (from - first), a->plan->numeric.dtype,
                  a->directions[i] + (v * size + from - a->first[i]) * (int64_t)element(a),
                  to - from);
  }
}

/* All ranks' shares of d parameter vectors. Collective. */
static ntk_status gather(ntk_apply *a, int64_t d, const double *mine) {
  ntk_status status = NTK_SUCCESS;
  const ntk_context *context = a->plan->context;
  for (int r = 0; r < context->size; r++) {
    const int64_t first = ntk_share_first(a->P, r, context->size);
    const int64_t count = ntk_share_count(a->P, r, context->size);
    const int64_t bytes = d * count * (int64_t)sizeof *mine;
    if (r == context->rank && bytes > 0)
      memcpy(a->piece, mine, (size_t)bytes);
    NTK_TRY(ntk_bcast(a->piece, bytes, r, context->comm));
    for (int64_t v = 0; v < d; v++)
      place(a, v, first, count, a->piece + v * count);
  }
done:
  return status;
}

/* y += J1 v of this rank's samples, [vectors, rows, width], along the directions. */
static ntk_status push_forward(ntk_apply *a, int64_t first, int64_t d, double *y) {
  ntk_status status = NTK_SUCCESS;
  const int64_t stride = share_count(a->plan, 0) * a->width;
  for (chunk c = {.side = 0}; next(a, &c);) {
    NTK_TRY(forward(a, c));
    ntk_sweep_tangent(a->sweep, d, (const void *const *)a->directions, a->tangents);
    ntk_convert(a->plan->numeric.dtype, a->tangents, NTK_F64, a->wide, d * c.n * a->O);
    for (int64_t v = 0; v < d; v++)
      for (int64_t i = 0; i < c.n; i++)
        from_tangent(a, i, (first + v) % a->parts, a->wide + (v * c.n + i) * a->O,
                     y + (first + v) / a->parts * stride + (c.i + i) * a->width);
  }
done:
  return status;
}

/* ---- the calls ------------------------------------------------------------------------
 */

void ntk_plan_get_shares(const ntk_plan *plan, ntk_shares *s) {
  const ntk_context *context = plan->context;
  const int64_t P = ntk_graph_parameters(plan->model->graph);
  *s = (ntk_shares){.outputs = ntk_apply_width(plan),
                    .row_first = share_first(plan, 0),
                    .rows = share_count(plan, 0),
                    .column_first = share_first(plan, 1),
                    .columns = share_count(plan, 1),
                    .parameter_first = ntk_share_first(P, context->rank, context->size),
                    .parameters = ntk_share_count(P, context->rank, context->size),
                    .all_parameters = P};
}

/* d parts of the vectors, the first of number `first`, at most a->vectors. */
static ntk_status apply_some(ntk_apply *a, ntk_operation operation, int64_t first,
                             int64_t d, const double *in, double *out) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = a->plan->context->comm;
  const int64_t at =
      first * ntk_share_count(a->P, a->plan->context->rank, a->plan->context->size);
  const double *parameters = operation == NTK_J ? in + at : a->mine;
  if (operation != NTK_J) {
    NTK_TRY(ntk_agree(comm, pull_back(a, first, d, in)));
    NTK_TRY(ntk_shares_sum(comm, d, a->P, a->sum, a->piece,
                           operation == NTK_JT ? out + at : a->mine));
  }
  if (operation != NTK_JT) {
    NTK_TRY(gather(a, d, parameters));
    NTK_TRY(ntk_agree(comm, push_forward(a, first, d, out)));
  }
done:
  return status;
}

static ntk_status check_finite(const ntk_plan *plan, const double *values, int64_t count) {
  ntk_status status = NTK_SUCCESS;
  if (ntk_find_nonfinite(NTK_F64, values, count) >= 0)
    status = ntk_fail(NTK_ERR_NONFINITE,
                      "applying the kernel: a result is not a finite number; --dtype f64 "
                      "reaches further");
  return ntk_agree(plan->context->comm, status);
}

ntk_status ntk_plan_apply(ntk_plan *plan, ntk_operation operation, int64_t vectors,
                          const double *in, double *out) {
  ntk_status status = NTK_SUCCESS;
  const int threads = ntk_blas_set_threads(1);
  ntk_shares s;
  ntk_plan_get_shares(plan, &s);
  const int64_t to = operation == NTK_JT ? s.parameters : s.rows * s.outputs;
  NTK_TRY(ntk_agree(plan->context->comm, check_operation(plan, operation)));
  NTK_TRY(prepare(plan, vectors));
  if (operation != NTK_JT && vectors * to > 0)
    memset(out, 0, (size_t)(vectors * to) * sizeof *out);
  const int64_t parts = vectors * plan->apply->parts, most = plan->apply->vectors;
  for (int64_t v = 0; v < parts; v += most)
    NTK_TRY(apply_some(plan->apply, operation, v, parts - v < most ? parts - v : most, in,
                       out));
  NTK_TRY(check_finite(plan, out, vectors * to));
done:
  (void)ntk_blas_set_threads(threads);
  return status;
}

static ntk_status select_outputs(ntk_apply *a, double *out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = a->plan;
  for (chunk c = {.side = 0}; next(a, &c);) {
    NTK_TRY(forward(a, c));
    ntk_sweep_outputs(a->sweep, a->wide);
    for (int64_t i = 0; i < c.n; i++)
      for (int64_t k = 0; k < plan->selected; k++)
        *out++ = a->wide[i * a->O + plan->output_index[k]];
  }
done:
  return status;
}

ntk_status ntk_plan_row_outputs(ntk_plan *plan, double *out) {
  ntk_status status = NTK_SUCCESS;
  const int threads = ntk_blas_set_threads(1);
  NTK_TRY(prepare(plan, 1));
  NTK_TRY(ntk_agree(plan->context->comm, select_outputs(plan->apply, out)));
done:
  (void)ntk_blas_set_threads(threads);
  return status;
}

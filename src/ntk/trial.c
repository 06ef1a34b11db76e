/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "ntk/trial.h"
#include "base/memory.h"
#include <inttypes.h>
#include <omp.h>
#include <string.h>
#include <time.h>

/* Of a trial: samples of a side, unless a task or a strip has more; rows of a thread at the
 * least; length of a row of J that tells for longer ones. */
enum { SAMPLES = 32, ROWS = 4, LENGTH = 8192 };
static const double most_bytes = 32 << 20, most_seconds = 0.02;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- names ----------------------------------------------------------------------------
 */

static ntk_status name_pixels(const ntk_x_part *x, ntk_text *name) {
  const ntk_window *w = x->use.window;
  ntk_status status = ntk_text_add(name, " pixels %" PRId64 ":", x->use.channels);
  for (int a = 0; a < 3 && status == NTK_SUCCESS; a++)
    status = ntk_text_add(name, "%s%" PRId64 "/%" PRId64 "/%" PRId64 "/%" PRId64,
                          a > 0 ? "x" : "", w->input[a], w->kernel[a], w->stride[a],
                          w->dilation[a]);
  return status;
}

static ntk_status name_role(const ntk_group *role, ntk_text *name) {
  return ntk_text_add(name, " role T %" PRId64 " K %" PRId64 "%s", role->T, role->K,
                      role->one_hot ? " one-hot" : "");
}

ntk_status ntk_trial_name(const ntk_trial *t, ntk_text *name) {
  static const char *const forms[] = {"full", "trace", "diagonal"};
  ntk_status status = NTK_SUCCESS;
  const ntk_group *g = t->group;
  NTK_TRY(ntk_text_add(
      name, "%s %s %s O %" PRId64 " G %" PRId64 " T %" PRId64 " K %" PRId64 " C %" PRId64,
      ntk_dtype_name(t->dtype), forms[t->form], ntk_order_name(t->order), t->outputs, g->G,
      g->T, g->K, g->C));
  if (t->order == NTK_ORDER_CONSTANT)
    NTK_TRY(ntk_text_add(name, " entries %" PRId64, t->constant->count));
  for (int r = 0; g->roles && r < 2; r++)
    NTK_TRY(name_role(&g->roles[r], name));
  for (int i = 0; i < g->x_count && t->order != NTK_ORDER_OUTSIDE_IN; i++)
    if (g->sections[0].x[i].pixels)
      NTK_TRY(name_pixels(&g->sections[0].x[i], name));
    else if (g->sections[0].x[i].use.one_hot)
      NTK_TRY(ntk_text_add(name, " one-hot %" PRId64, g->sections[0].x[i].K));
done:
  return status;
}

ntk_status ntk_trial_sweep_name(const ntk_network *network, int64_t o, ntk_text *name) {
  const ntk_graph *graph = network->graph;
  return ntk_text_add(
      name, "%s sweep O %" PRId64 " of %" PRId64 " nodes %d forward %.15g seeds %d",
      ntk_dtype_name(network->net->dtype), o, ntk_graph_outputs(graph), graph->node_count,
      ntk_net_forward_flops(network->net), network->seeds != NULL);
}

/* ---- contraction ----------------------------------------------------------------------
 */

/* What is tried, n row samples with m column samples, and its memory. */
typedef struct bench {
  const ntk_trial *trial;
  ntk_group group; /* rows of J are cut to LENGTH */
  double shortened;
  int64_t n, m, task; /* rows that are taken together */
  int64_t scratch_stride;
  ntk_place row_place, column_place;
  char *rows, *columns, *packed, *scratch;
  double *acc;
} bench;

static bool is_jacobian(const ntk_trial *t) {
  return t->group->unit_x || t->order == NTK_ORDER_OUTSIDE_IN;
}

static ntk_strips strips_of(const bench *b, int64_t m) {
  return ntk_strips_of(&b->group, b->trial->order, b->trial->form, m, b->trial->outputs);
}

static double block_bytes(const bench *b, int64_t n) {
  int64_t elements = 0;
  (void)ntk_place_group(&b->group, b->trial->order, b->trial->form, n, b->trial->outputs,
                        &elements);
  return (double)elements * (double)ntk_dtype_bytes(b->trial->dtype);
}

static int64_t block_of(const ntk_trial *t) { return t->block > 0 ? t->block : SAMPLES; }

static bool is_short(const bench *b, double pair_seconds) {
  return (double)(b->n * b->m) * pair_seconds <= most_seconds &&
         block_bytes(b, b->n) + 2 * block_bytes(b, b->m) <= most_bytes;
}

/* Tasks and strips as in a block, for those are what the products' speed hangs on; then
 * fewer columns down to one strip, and less of the longer side, until time and memory are
 * within the limits. */
static void choose_size(bench *b, double pair_seconds) {
  const ntk_trial *t = b->trial;
  const int64_t threads = omp_get_max_threads(), block = block_of(t);
  const int64_t strip = strips_of(b, block).samples;
  const int64_t task = least(ntk_contract_samples(ntk_form_rows(t->form, t->outputs)),
                             (block + threads - 1) / threads);
  b->n = most(SAMPLES, task * threads);
  b->m = most(SAMPLES, strip);
  while (!is_short(b, pair_seconds)) {
    const bool has_rows = b->n > ROWS * threads, has_columns = b->m > SAMPLES;
    int64_t *const side = b->m > strip || (has_columns && (b->m > b->n || !has_rows))
                              ? &b->m
                          : has_rows ? &b->n
                                     : NULL;
    if (!side)
      break;
    *side = (*side + 1) / 2;
  }
  b->task = least(task, (b->n + threads - 1) / threads);
}

static ntk_status allocate(bench *b) {
  ntk_status status = NTK_SUCCESS;
  const ntk_trial *t = b->trial;
  const size_t bytes = ntk_dtype_bytes(t->dtype);
  int64_t rows = 0, columns = 0;
  b->row_place = ntk_place_group(&b->group, t->order, t->form, b->n, t->outputs, &rows);
  b->column_place =
      ntk_place_group(&b->group, t->order, t->form, b->m, t->outputs, &columns);
  const int64_t packed =
      ntk_strips_elements(&b->group, t->order, t->form, b->m, t->outputs);
  const int64_t entries = t->form == NTK_FORM_FULL ? t->outputs * t->outputs : t->outputs;
  b->scratch_stride =
      (ntk_contract_scratch(&b->group, t->order, t->form, most(b->n, b->m), t->outputs) +
       31) /
      16 * 16;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, rows, bytes, &b->rows));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, columns, bytes, &b->columns));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, packed, bytes, &b->packed));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, omp_get_max_threads() * b->scratch_stride, bytes,
                     &b->scratch));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, b->n * b->m * entries, sizeof *b->acc, &b->acc));
  /* some small normal number in either type */
  memset(b->rows, 0x3c, (size_t)rows * bytes);
  memset(b->columns, 0x3c, (size_t)columns * bytes);
done:
  return status;
}

/* Of the calling thread at work: a machine with other work to do tells the same. */
static double busy_seconds(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double pack(const bench *b) {
  const ntk_trial *t = b->trial;
  const ntk_packing packing = {&b->group,  t->order,  t->form, &b->column_place,
                               b->columns, b->packed, b->m,    t->outputs};
  const int64_t samples = strips_of(b, b->m).samples;
  double seconds = 0;
#pragma omp parallel reduction(+ : seconds)
  {
    const double start = busy_seconds();
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < (b->m + samples - 1) / samples; i++)
      (t->dtype == NTK_F64 ? ntk_pack_f64 : ntk_pack_f32)(&packing, i);
    seconds += busy_seconds() - start;
  }
  return seconds / omp_get_max_threads();
}

static void contract_rows(const bench *b, int64_t i0) {
  const ntk_trial *t = b->trial;
  const int64_t scratch = omp_get_thread_num() * b->scratch_stride;
  const ntk_pair pair = {.group = &b->group,
                         .order = t->order,
                         .form = t->form,
                         .place1 = &b->row_place,
                         .block1 = b->rows,
                         .packed2 = b->packed,
                         .n1 = b->n,
                         .o1 = t->outputs,
                         .n2 = b->m,
                         .o2 = t->outputs,
                         .constant = t->constant,
                         .scale = 1,
                         .acc = b->acc,
                         .scratch =
                             b->scratch + scratch * (int64_t)ntk_dtype_bytes(t->dtype)};
  (t->dtype == NTK_F64 ? ntk_contract_f64 : ntk_contract_f32)(&pair, i0,
                                                              least(b->task, b->n - i0));
}

static double contract(const bench *b) {
  double seconds = 0;
#pragma omp parallel reduction(+ : seconds)
  {
    const double start = busy_seconds();
#pragma omp for schedule(dynamic) nowait
    for (int64_t i0 = 0; i0 < b->n; i0 += b->task)
      contract_rows(b, i0);
    seconds += busy_seconds() - start;
  }
  return seconds / omp_get_max_threads();
}

/* The first run brings memory into being and does not count; interference only ever slows.
 */
static double fastest(double (*run)(const bench *), const bench *b) {
  double seconds = run(b);
  const double first = seconds;
  for (int i = 0; i < 3; i++) {
    const double now = run(b);
    if (i == 0 || now < seconds)
      seconds = now;
    if (first > most_seconds)
      break;
  }
  return seconds;
}

/* By operations and bytes, in a block. */
static double pair_seconds(const bench *b, const ntk_rates *rates) {
  const ntk_trial *t = b->trial;
  const int64_t n = block_of(t);
  const ntk_cost_shape block = {.form = t->form,
                                .dtype = t->dtype,
                                .n1 = n,
                                .n2 = n,
                                .outputs = t->outputs,
                                .block = n,
                                .outputs_block = t->outputs};
  const ntk_rates plain = ntk_rates_untimed(rates);
  return ntk_cost_of(&b->group, t->order, &block, &plain, t->constant->count).seconds /
         (double)(n * n);
}

ntk_status ntk_trial_run(const ntk_trial *t, const ntk_rates *rates, double seconds[2]) {
  ntk_status status = NTK_SUCCESS;
  bench b = {.trial = t, .group = *t->group, .shortened = 1};
  if (is_jacobian(t)) {
    const int64_t length = b.group.G * b.group.K * b.group.C;
    b.group.G = b.group.T = b.group.K = 1;
    b.group.C = least(length, LENGTH);
    b.group.unit_x = true;
    b.group.one_hot = false;
    b.shortened = (double)length / (double)b.group.C;
  }
  choose_size(&b, pair_seconds(&b, rates));
  NTK_TRY(allocate(&b));
  seconds[1] = fastest(pack, &b) * b.shortened / (double)b.m;
  seconds[0] = fastest(contract, &b) * b.shortened / (double)(b.n * b.m);
done:
  ntk_free(&b.rows);
  ntk_free(&b.columns);
  ntk_free(&b.packed);
  ntk_free(&b.scratch);
  ntk_free(&b.acc);
  return status;
}

/* ---- sweeps ---------------------------------------------------------------------------
 */

static void drop(void *user, int value, ntk_array cotangent) {
  (void)user;
  (void)value;
  (void)cotangent;
}

static ntk_status sweep_size(const ntk_network *network, int64_t samples, int64_t o,
                             ntk_sweep_limits *limits) {
  ntk_status status = NTK_SUCCESS;
  int64_t bytes;
  *limits =
      (ntk_sweep_limits){.samples = samples, .cotangents = o, .own_seeds = !network->seeds};
  for (;; limits->samples = (limits->samples + 1) / 2) {
    NTK_TRY(ntk_sweep_bytes(network->net, *limits, network->groups->wanted, &bytes));
    if (limits->samples == 1 || (double)bytes <= most_bytes)
      break;
  }
done:
  return status;
}

/* [n, inputs] of some size; integers may be indices, which 0 always is. */
static void fill_inputs(const ntk_graph *graph, int64_t n, size_t bytes, char *to) {
  for (int64_t i = 0; i < n; i++)
    for (int k = 0; k < graph->input_count; k++) {
      const ntk_value *input = &graph->values[graph->inputs[k]];
      const size_t size = (size_t)ntk_shape_size(&input->shape) * bytes;
      memset(to, ntk_dtype_is_real(input->dtype) ? 0x3c : 0, size);
      to += size;
    }
}

ntk_status ntk_trial_sweep(const ntk_network *network, int64_t samples, int64_t o,
                           double seconds[2]) {
  ntk_status status = NTK_SUCCESS;
  const size_t bytes = ntk_dtype_bytes(network->net->dtype);
  const int64_t size = ntk_graph_inputs(network->graph);
  const int64_t outputs = ntk_graph_outputs(network->graph);
  ntk_sweep_limits limits;
  ntk_sweep *sweep = NULL;
  void *inputs = NULL, *seeds = NULL;
  NTK_TRY(sweep_size(network, samples, o, &limits));
  const int64_t n = limits.samples;
  NTK_TRY(ntk_sweep_create(network->net, limits, network->groups->wanted, &sweep));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n * size, bytes, &inputs));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n * o * outputs, bytes, &seeds));
  fill_inputs(network->graph, n, bytes, inputs);
  memset(seeds, 0x3c, (size_t)(n * o * outputs) * bytes);
  const ntk_seeds given = {network->seeds ? network->seeds : seeds,
                           network->seeds ? 0 : o * outputs};
  for (int i = 0; i < 2; i++) { /* the first brings memory into being */
    const double start = busy_seconds();
    NTK_TRY(ntk_sweep_forward_rows(sweep, n, inputs, 0));
    ntk_sweep_backward(sweep, o, given, false, drop, NULL);
    seconds[0] = (busy_seconds() - start) / (double)n;
  }
  seconds[1] = 0;
done:
  ntk_sweep_destroy(&sweep);
  ntk_free(&inputs);
  ntk_free(&seeds);
  return status;
}

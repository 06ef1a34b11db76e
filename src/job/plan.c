/* SPDX-License-Identifier: Apache-2.0 */
#include "job/plan.h"
#include "base/memory.h"
#include "io/store.h"
#include "job/calibrate.h"
#include "job/predict.h"
#include "job/trials.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

/* What Open MPI, HDF5, BLAS and the program take beside our own arrays. Measured: 30 MiB at
 * the start, 10 more with the buffers of BLAS (1 to 8 threads alike), 20 more for the
 * metadata of 400,000 tiles in HDF5; 9 for the product measured at the end. */
static const int64_t library_bytes = (int64_t)96 << 20;

static bool equals(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* ---- options into a numerical plan ----------------------------------------------------
 */

static ntk_reduction reduction_of(const char *word) {
  ntk_reduction r = NTK_REDUCE_NONE;
  while (!equals(word, ntk_reduction_name(r)))
    r++;
  return r;
}

static ntk_status parse_block(const char *text, int64_t *block, int64_t *outputs) {
  long long b = 0, q = 0;
  char rest;
  *block = *outputs = 0;
  if (!text)
    return NTK_SUCCESS;
  const int fields = strchr(text, 'x') ? sscanf(text, "%lldx%lld%c", &b, &q, &rest) - 1
                                       : sscanf(text, "%lld%c", &b, &rest);
  if (fields != 1 || b < 1 || q < 0 || (strchr(text, 'x') && q < 1))
    return ntk_fail(NTK_ERR_ARGUMENT, "--block: '%s' is not B or BxQ", text);
  *block = b;
  *outputs = q;
  return NTK_SUCCESS;
}

/* Cotangents that the kernel is of, [count, O]: the user's, selected outputs, or the sum of
 * either. NULL where samples or sides have their own. */
static ntk_status make_seeds(ntk_plan *plan, const ntk_numeric *p, double **seeds,
                             int64_t *count) {
  ntk_status status = NTK_SUCCESS;
  const int64_t O = ntk_graph_outputs(plan->model->graph);
  const ntk_cotangents *given = &plan->cotangents;
  const bool summed = p->reduction == NTK_REDUCE_PSEUDO;
  void *values = NULL;
  NTK_TRY(ntk_outputs_select(ntk_options_string(plan->options, "select-outputs"), O,
                             &plan->output_index, &plan->selected));
  plan->kernel_outputs = given->sides[0] ? given->count : plan->selected;
  *count = summed ? 1 : plan->kernel_outputs;
  if (given->sides[0] && !given->is_alike)
    goto done;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, *count * O, sizeof **seeds, seeds));
  if (given->is_alike) {
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, *count * O, ntk_dtype_bytes(p->dtype), &values));
    NTK_TRY(ntk_cotangents_read(given, 0, 0, 1, summed, p->dtype, values));
    ntk_convert(p->dtype, values, NTK_F64, *seeds, *count * O);
    goto done;
  }
  for (int64_t i = 0; i < plan->selected; i++) {
    if (summed)
      (*seeds)[plan->output_index[i]] = 1 / sqrt((double)plan->selected);
    else
      (*seeds)[i * O + plan->output_index[i]] = 1;
  }
done:
  ntk_free(&values);
  return status;
}

static ntk_status make_network(ntk_plan *plan, const ntk_numeric *numeric) {
  ntk_status status = NTK_SUCCESS;
  double *seeds = NULL;
  int64_t count;
  ntk_network_destroy(&plan->network);
  ntk_free(&plan->output_index);
  NTK_TRY(make_seeds(plan, numeric, &seeds, &count));
  NTK_TRY(ntk_network_create(plan->model->graph, numeric->dtype,
                             numeric->algorithm != NTK_ALGORITHM_STRUCTURED, count, seeds,
                             &plan->network));
done:
  ntk_free(&seeds);
  return status;
}

/* Seconds of the sweeps are alike for all; what differs is the contraction. */
static double structured_seconds(const ntk_plan *plan, const ntk_numeric *p) {
  const ntk_cost_shape shape = ntk_numeric_cost_shape(
      p, plan->shape.rows, plan->shape.columns, plan->shape.symmetric);
  double seconds = 0;
  for (int i = 0; i < plan->network.groups->count; i++)
    seconds += ntk_cost_of(&plan->network.groups->groups[i], p->orders[i], &shape,
                           &plan->rates, plan->network.constants[i].count)
                   .seconds;
  return seconds;
}

/* A tangent costs about two forward passes, a cotangent as much. */
static double ntvp_flops(const ntk_plan *plan, const ntk_numeric *p) {
  const double n1 = (double)plan->shape.rows, n2 = (double)plan->shape.columns;
  const double pairs = plan->shape.symmetric ? n1 * n2 / 2 : n1 * n2;
  return (double)p->outputs * ntk_net_forward_flops(plan->network.net) *
         (2 * pairs + 3 * pairs / (double)p->block);
}

static double ntvp_seconds(const ntk_plan *plan, const ntk_numeric *p) {
  return ntvp_flops(plan, p) / (NTK_SWEEP_SHARE * plan->rates.gemm_flops[p->dtype]);
}

/* What the options say of a plan; 0 for what is to be chosen. */
static ntk_status read_options(const ntk_plan *plan, ntk_numeric *p) {
  ntk_status status = NTK_SUCCESS;
  const ntk_options *o = plan->options;
  const char *algorithm = ntk_options_string(o, "algorithm");
  *p = (ntk_numeric){0};
  NTK_TRY(parse_block(ntk_options_string(o, "block"), &p->block, &p->outputs_block));
  p->reduction = reduction_of(ntk_options_string(o, "reduce"));
  p->dtype = equals(ntk_options_string(o, "dtype"), "f64") ? NTK_F64 : NTK_F32;
  p->trace_sum = equals(ntk_options_string(o, "trace-scale"), "sum");
  NTK_REQUIRE(p->reduction == NTK_REDUCE_TRACE || !ntk_options_given(o, "trace-scale"),
              NTK_ERR_ARGUMENT, "--trace-scale is for --reduce trace, not for %s",
              ntk_reduction_name(p->reduction));
  p->algorithm = equals(algorithm, "jacobian") ? NTK_ALGORITHM_JACOBIAN
                 : equals(algorithm, "ntvp")   ? NTK_ALGORITHM_NTVP
                                               : NTK_ALGORITHM_STRUCTURED;
done:
  return status;
}

/* Before rank 0 chooses, all ranks measure what it chooses by. */
static ntk_status try_orders(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  ntk_numeric p;
  status = read_options(plan, &p);
  if (status == NTK_SUCCESS)
    status = make_network(plan, &p);
  NTK_TRY(ntk_agree(plan->context->comm, status));
  if (p.algorithm != NTK_ALGORITHM_NTVP)
    NTK_TRY(ntk_trials_run(plan, &p));
done:
  return status;
}

static ntk_status choose_numeric(ntk_plan *plan, ntk_numeric *p) {
  ntk_status status = NTK_SUCCESS;
  int64_t block, outputs;
  NTK_TRY(read_options(plan, p));
  block = p->block;
  outputs = p->outputs_block;
  for (;;) {
    NTK_TRY(make_network(plan, p));
    ntk_numeric_clear(p);
    NTK_TRY(ntk_numeric_choose(&plan->network, plan->shape.rows, plan->shape.columns,
                               plan->shape.symmetric, &plan->rates, block, outputs, p));
    /* the best order per use contains the dense Jacobian; products may still be cheaper */
    if (!equals(ntk_options_string(plan->options, "algorithm"), "auto") ||
        p->algorithm == NTK_ALGORITHM_NTVP ||
        structured_seconds(plan, p) <= ntvp_seconds(plan, p))
      break;
    p->algorithm = NTK_ALGORITHM_NTVP;
  }
done:
  return status;
}

/* ---- plan files -----------------------------------------------------------------------
 */

static ntk_status require_same(const ntk_options *options, const char *name,
                               const char *planned) {
  const char *given = ntk_options_string(options, name);
  if (!ntk_options_given(options, name) || equals(given, planned) || equals(given, "auto"))
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT, "--%s %s: the plan of --plan has %s", name, given,
                  planned);
}

static ntk_status check_options(const ntk_plan *plan, const ntk_numeric *p) {
  ntk_status status = NTK_SUCCESS;
  const ntk_options *o = plan->options;
  int64_t block, outputs;
  NTK_TRY(require_same(o, "algorithm", ntk_algorithm_name(p->algorithm)));
  NTK_TRY(require_same(o, "reduce", ntk_reduction_name(p->reduction)));
  NTK_TRY(require_same(o, "dtype", ntk_dtype_name(p->dtype)));
  NTK_TRY(require_same(o, "trace-scale", p->trace_sum ? "sum" : "mean"));
  NTK_TRY(parse_block(ntk_options_string(o, "block"), &block, &outputs));
  NTK_REQUIRE((block == 0 || block == p->block) &&
                  (outputs == 0 || outputs == p->outputs_block || outputs > p->outputs),
              NTK_ERR_ARGUMENT, "--block %s: the plan of --plan has %" PRId64 "x%" PRId64,
              ntk_options_string(o, "block"), p->block, p->outputs_block);
done:
  return status;
}

/* A constant D may be one of other parameters' values only. */
static ntk_status check_orders(const ntk_plan *plan, const char *path,
                               const ntk_numeric *p) {
  const ntk_network *network = &plan->network;
  const ntk_cost_shape shape = ntk_numeric_cost_shape(
      p, plan->shape.rows, plan->shape.columns, plan->shape.symmetric);
  for (int i = 0; i < network->groups->count; i++) {
    const ntk_group *group = &network->groups->groups[i];
    if (!ntk_order_is_candidate(group, p->orders[i], &shape, &network->constants[i]))
      return ntk_fail(NTK_ERR_ARGUMENT, "%s: the plan's order %s does not suit %s here",
                      path, ntk_order_name(p->orders[i]), group->name);
  }
  return NTK_SUCCESS;
}

static ntk_status read_plan(ntk_plan *plan, const char *path, ntk_numeric *p) {
  ntk_status status = NTK_SUCCESS;
  int64_t size;
  char *text = NULL;
  if (ntk_store_is(path))
    NTK_TRY(ntk_store_read_plan(path, &text));
  else
    NTK_TRY(ntk_file_read(path, &text, &size));
  NTK_TRY(ntk_numeric_parse(text, path, p));
  NTK_TRY(check_options(plan, p));
  NTK_TRY(make_network(plan, p));
  NTK_REQUIRE(p->outputs == plan->network.outputs, NTK_ERR_ARGUMENT,
              "%s: the plan is for %" PRId64 " outputs, here are %" PRId64, path,
              p->outputs, plan->network.outputs);
  NTK_TRY(ntk_numeric_check(text, path, p, plan->network.groups));
  NTK_TRY(check_orders(plan, path, p));
done:
  ntk_free(&text);
  return status;
}

static ntk_status write_plan(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  bool good = file && fputs(text, file) >= 0;
  if (file)
    good = fclose(file) == 0 && good;
  return good ? NTK_SUCCESS : ntk_fail(NTK_ERR_FILE, "%s: cannot be written", path);
}

/* On rank 0: the plan as text. */
static ntk_status decide(ntk_plan *plan, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  ntk_numeric p = {0};
  const char *path = ntk_options_string(plan->options, "plan");
  const char *out = ntk_options_string(plan->options, "write-plan");
  if (path)
    NTK_TRY(read_plan(plan, path, &p));
  else
    NTK_TRY(choose_numeric(plan, &p));
  NTK_TRY(ntk_numeric_write(&p, plan->network.groups, text));
  if (out)
    NTK_TRY(write_plan(out, text->data));
done:
  ntk_numeric_clear(&p);
  return status;
}

/* Rank 0 decides, all read the same text. */
static ntk_status agree_on_plan(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = plan->context->comm;
  ntk_text text = {0};
  if (plan->context->rank == 0)
    status = decide(plan, &text);
  NTK_TRY(ntk_agree(comm, status));
  NTK_TRY(ntk_bcast_text(text.data, comm, &plan->text));
  status = ntk_numeric_parse(plan->text, "plan", &plan->numeric);
  if (status == NTK_SUCCESS && plan->context->rank != 0)
    status = make_network(plan, &plan->numeric);
  NTK_TRY(ntk_agree(comm, status));
done:
  ntk_text_clear(&text);
  return status;
}

/* ---- grid and memory ------------------------------------------------------------------
 */

static ntk_status choose_grid(ntk_plan *plan) {
  const char *text = ntk_options_string(plan->options, "grid");
  const int size = plan->context->size;
  int rows, columns;
  char rest;
  if (!text) {
    ntk_grid_choose(size, ntk_job_blocks(plan->shape.rows, plan->shape.block),
                    ntk_job_blocks(plan->shape.columns, plan->shape.block),
                    plan->shape.symmetric, &plan->layout.grid_rows,
                    &plan->layout.grid_columns);
    return NTK_SUCCESS;
  }
  if (sscanf(text, "%dx%d%c", &rows, &columns, &rest) != 2 || rows < 1 || columns < 1)
    return ntk_fail(NTK_ERR_ARGUMENT, "--grid: '%s' is not PrxPc, such as 2x3", text);
  if (rows > size / columns)
    return ntk_fail(NTK_ERR_ARGUMENT, "--grid: %s needs %lld ranks, there are %d", text,
                    (long long)rows * columns, size);
  plan->layout.grid_rows = rows;
  plan->layout.grid_columns = columns;
  return NTK_SUCCESS;
}

int64_t ntk_memory_terms_total(const ntk_memory_terms *m) {
  return m->parameters + m->panel + m->column + m->tiles + m->sweeps + m->libraries;
}

static int64_t planned_block_bytes(void *self, int64_t n, int64_t o) {
  return ntk_block_bytes(self, n, o);
}

static int64_t planned_packed_bytes(void *self, int64_t n, int64_t o) {
  return ntk_packed_bytes(self, n, o);
}

static void count_memory(ntk_plan *plan) {
  const ntk_worker worker = {.self = &plan->spec,
                             .block_bytes = planned_block_bytes,
                             .packed_bytes = planned_packed_bytes};
  const ntk_job_memory m = ntk_job_bytes(&plan->shape, &plan->layout, &worker);
  plan->memory.panel = m.panel;
  plan->memory.column = m.columns;
  plan->memory.tiles = m.tiles;
}

static int64_t held_by_readers(const ntk_plan *plan) {
  const ntk_data *const data[] = {plan->rows, plan->columns, plan->cotangents.sides[0],
                                  plan->cotangents.sides[1]};
  int64_t bytes = 0;
  for (int i = 0; i < 4; i++)
    if (data[i] && !(i == 1 && plan->columns == plan->rows))
      bytes += ntk_data_held_bytes(data[i]);
  return bytes;
}

/* Neither what is to come nor what has been (importing a model takes several times its
 * bytes) may exceed the cap. What has been differs a little from run to run. */
static ntk_status check_cap(const ntk_plan *plan, int64_t least) {
  const int64_t margin = (int64_t)4 << 20;
  if (least <= plan->cap && plan->peak_before <= plan->cap)
    return NTK_SUCCESS;
  if (least < plan->peak_before + margin)
    least = plan->peak_before + margin;
  return ntk_fail(NTK_ERR_MEMORY,
                  "a rank needs at least %" PRId64 "M of memory, the cap is %" PRId64
                  "M (%s); use --memory %" PRId64 "M%s",
                  (least >> 20) + 1, plan->cap >> 20, plan->cap_bound_by, (least >> 20) + 1,
                  least > plan->peak_before + margin ? " or a smaller --block" : "");
}

/* The largest panel that fits the cap. */
static ntk_status choose_panel(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const int64_t parts = ntk_job_blocks(plan->shape.outputs, plan->shape.outputs_block);
  const int64_t step = plan->shape.reduction == NTK_REDUCE_TRACE ? parts : 1;
  const int64_t all = ntk_grid_dealt(ntk_job_blocks(plan->shape.rows, plan->shape.block), 0,
                                     plan->layout.grid_rows) *
                      parts;
  plan->memory.parameters = ntk_memory_used_total();
  plan->memory.libraries = library_bytes + held_by_readers(plan);
  NTK_TRY(ntk_engine_bytes(&plan->spec, &plan->memory.sweeps));
  plan->memory.sweeps += /* outputs on their way to the file */
      plan->spec.sweep_samples * plan->selected * (int64_t)sizeof(double);
  plan->layout.panel = step;
  count_memory(plan);
  const int64_t least = ntk_memory_terms_total(&plan->memory);
  NTK_TRY(check_cap(plan, least));
  const int64_t unit = (plan->memory.panel + step - 1) / step;
  plan->layout.panel += unit > 0 ? (plan->cap - least) / unit / step * step : all;
  if (plan->layout.panel > all)
    plan->layout.panel = all;
  for (;; plan->layout.panel -= step) { /* accumulators may grow with the panel */
    count_memory(plan);
    if (plan->layout.panel <= step || ntk_memory_terms_total(&plan->memory) <= plan->cap)
      break;
  }
done:
  return status;
}

/* ---- the engine -----------------------------------------------------------------------
 */

static ntk_status read_rows(void *self, int64_t first, int64_t n, ntk_dtype dtype,
                            void *out) {
  ntk_data *data = self;
  const double start = ntk_seconds();
  const ntk_status status = ntk_data_slice(data, first, n, dtype, out);
  (void)ntk_phase_add(data->context, NTK_PHASE_READ, start);
  return status;
}

static ntk_status pass_outputs(void *user, int side, int64_t first, int64_t n,
                               const double *values) {
  ntk_plan *plan = user;
  if (!plan->outputs || (side == 1 && !plan->columns))
    return NTK_SUCCESS;
  return plan->outputs(plan->user, side, first, n, values);
}

/* Seeds of swept samples that have their own. */
static ntk_status read_seeds(void *user, int side, int64_t first, int64_t n, void *out) {
  ntk_plan *plan = user;
  const double start = ntk_seconds();
  const ntk_status status = ntk_cotangents_read(
      &plan->cotangents, side, first, n, plan->numeric.reduction == NTK_REDUCE_PSEUDO,
      plan->numeric.dtype, out);
  (void)ntk_phase_add(plan->context, NTK_PHASE_READ, start);
  return status;
}

static void make_spec(ntk_plan *plan) {
  const ntk_numeric *p = &plan->numeric;
  ntk_data *columns = plan->columns ? plan->columns : plan->rows;
  const int64_t most =
      plan->shape.rows > plan->shape.columns ? plan->shape.rows : plan->shape.columns;
  plan->spec = (ntk_engine_spec){
      .network = &plan->network,
      .algorithm = p->algorithm,
      .form = ntk_form_of(p->reduction),
      .scale =
          p->reduction == NTK_REDUCE_TRACE && !p->trace_sum ? 1 / (double)p->outputs : 1,
      .block = p->block < most ? p->block : most,
      .outputs_block = p->outputs_block,
      .sweep_samples = p->sweep_samples < most ? p->sweep_samples : most,
      .orders = p->orders,
      .sides = {{plan->rows, plan->rows->first, read_rows},
                {columns, columns->first, read_rows}},
      .outputs = pass_outputs,
      .seeds = read_seeds,
      .user = plan};
}

/* Of a group; products take all parameters at once. */
static ntk_cost cost_of(const ntk_plan *plan, int group) {
  const ntk_numeric *p = &plan->numeric;
  const ntk_cost_shape shape = ntk_numeric_cost_shape(
      p, plan->shape.rows, plan->shape.columns, plan->shape.symmetric);
  if (p->algorithm == NTK_ALGORITHM_NTVP)
    return (ntk_cost){.flops = ntvp_flops(plan, p),
                      .seconds = ntvp_seconds(plan, p),
                      .factor_bytes = (double)ntk_block_bytes(&plan->spec, 1, 1)};
  return ntk_cost_of(&plan->network.groups->groups[group], p->orders[group], &shape,
                     &plan->rates, plan->network.constants[group].count);
}

static ntk_status predict(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const ntk_groups *groups = plan->network.groups;
  const ntk_cost_shape shape = ntk_numeric_cost_shape(
      &plan->numeric, plan->shape.rows, plan->shape.columns, plan->shape.symmetric);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, groups->count, sizeof(double), &plan->predicted));
  for (int i = 0; i < groups->count; i++)
    plan->predicted[i] = cost_of(plan, i).seconds;
  if (plan->numeric.algorithm == NTK_ALGORITHM_STRUCTURED) {
    plan->minimal_flops = ntk_cost_minimal(groups, &shape);
  } else { /* the yardstick is that of the factors, whatever is used */
    ntk_groups *factored = NULL;
    NTK_TRY(ntk_groups_create(plan->network.net, false, &factored));
    plan->minimal_flops = ntk_cost_minimal(factored, &shape);
    ntk_groups_destroy(&factored);
  }
done:
  return status;
}

static ntk_status plan_locally(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(choose_grid(plan));
  make_spec(plan);
  NTK_TRY(choose_panel(plan));
  (void)ntk_memory_set_cap(ntk_memory_set_cap(0) + plan->cap);
  plan->is_capping = true;
  plan->threads = omp_get_max_threads();
  NTK_TRY(ntk_engine_create(&plan->spec, &plan->engine));
  NTK_TRY(predict(plan));
done:
  return status;
}

static void set_samples(ntk_plan *plan) {
  const ntk_data *columns = plan->columns ? plan->columns : plan->rows;
  plan->shape.rows = ntk_data_samples(plan->rows);
  plan->shape.columns = ntk_data_samples(columns);
  plan->shape.symmetric = !plan->columns;
  plan->shape.row_base = plan->rows->first;
  plan->shape.column_base = columns->first;
}

static void set_shape(ntk_plan *plan) {
  const ntk_numeric *p = &plan->numeric;
  plan->shape.reduction = p->reduction;
  plan->shape.dtype = p->dtype;
  plan->shape.outputs = p->outputs;
  plan->shape.block = p->block;
  plan->shape.outputs_block = p->outputs_block;
}

ntk_status ntk_plan_create(ntk_model *model, ntk_data *rows, ntk_data *columns,
                           const char *options, ntk_plan **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  const double start = ntk_seconds();
  const int blas_threads = ntk_blas_set_threads(1);
  ntk_plan *plan = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *plan, &plan));
  plan->context = context;
  plan->model = model;
  plan->rows = rows;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("plan"), options, &plan->options));
  /* other cotangents make the same samples another side */
  plan->columns =
      columns || !ntk_options_string(plan->options, "cotangents2") ? columns : rows;
  set_samples(plan);
  NTK_TRY(ntk_data_fits(rows, model));
  if (columns)
    NTK_TRY(ntk_data_fits(columns, model));
  NTK_TRY(ntk_cotangents_open(context, plan->options, model->graph, rows, columns,
                              &plan->cotangents));
  plan->cap = ntk_memory_default_cap(context->ranks_on_node, &plan->cap_bound_by);
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, &plan->cap, 1, MPI_INT64_T, MPI_MIN, context->comm));
  if (ntk_options_given(plan->options, "memory")) {
    plan->cap = ntk_options_bytes(plan->options, "memory");
    plan->cap_bound_by = "--memory";
  }
  NTK_TRY(ntk_calibrate(context, ntk_options_string(plan->options, "rates"),
                        ntk_options_flag(plan->options, "recalibrate"), &plan->rates));
  if (!ntk_options_string(plan->options, "plan"))
    NTK_TRY(try_orders(plan));
  NTK_TRY(agree_on_plan(plan));
  plan->peak_before = ntk_memory_resident_peak();
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &plan->peak_before, 1, MPI_INT64_T, MPI_MAX,
                            context->comm));
  set_shape(plan);
  NTK_TRY(ntk_agree(context->comm, plan_locally(plan)));
  /* ranks need not hold the same memory, but they walk the same panels */
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &plan->layout.panel, 1, MPI_INT64_T, MPI_MIN,
                            context->comm));
  count_memory(plan);
  *out = plan;
  plan = NULL;
done:
  (void)ntk_blas_set_threads(blas_threads);
  (void)ntk_phase_add(context, NTK_PHASE_PLAN, start);
  ntk_plan_destroy(&plan);
  return status;
}

void ntk_plan_destroy(ntk_plan **handle) {
  ntk_plan *plan = *handle;
  if (!plan)
    return;
  if (plan->is_capping)
    (void)ntk_memory_set_cap(ntk_memory_set_cap(0) - plan->cap);
  ntk_engine_destroy(&plan->engine);
  ntk_network_destroy(&plan->network);
  ntk_numeric_clear(&plan->numeric);
  ntk_rates_clear(&plan->rates);
  ntk_options_destroy(&plan->options);
  ntk_cotangents_close(&plan->cotangents);
  ntk_free(&plan->output_index);
  ntk_free(&plan->predicted);
  ntk_free(&plan->text);
  ntk_free(handle);
}

void ntk_plan_get_info(const ntk_plan *plan, ntk_plan_info *info) {
  const ntk_job_shape *s = &plan->shape;
  *info = (ntk_plan_info){.reduction = s->reduction,
                          .rows = s->rows,
                          .columns = s->columns,
                          .outputs = plan->kernel_outputs,
                          .block = s->block,
                          .outputs_block = s->outputs_block,
                          .tiles = ntk_job_tiles(s),
                          .element_bytes = (int)ntk_dtype_bytes(s->dtype),
                          .symmetric = s->symmetric,
                          .grid_rows = plan->layout.grid_rows,
                          .grid_columns = plan->layout.grid_columns,
                          .minimal_flops = plan->minimal_flops};
}

ntk_status ntk_plan_explain(const ntk_plan *plan, const double *measured) {
  ntk_status status = NTK_SUCCESS;
  const ntk_groups *groups = plan->network.groups;
  const ntk_numeric *p = &plan->numeric;
  ntk_text text = {0};
  NTK_TRY(ntk_text_add(&text,
                       "algorithm %s\n%-14s %8s %6s %8s %6s %12s %12s %10s %10s  %s\n",
                       ntk_algorithm_name(p->algorithm), "order", "T", "G", "K", "C",
                       "flops", "B/sample", "predicted", "measured", "parameters"));
  for (int i = 0; i < groups->count; i++) {
    const ntk_group *g = &groups->groups[i];
    const ntk_cost cost = cost_of(plan, i);
    const char *order =
        p->algorithm == NTK_ALGORITHM_NTVP ? "products" : ntk_order_name(p->orders[i]);
    NTK_TRY(ntk_text_add(
        &text,
        "%-14s %8" PRId64 " %6" PRId64 " %8" PRId64 " %6" PRId64 " %12.4g %12.4g %8.3g s ",
        order, g->T, g->G, g->K, g->C, cost.flops, cost.factor_bytes, plan->predicted[i]));
    if (measured)
      NTK_TRY(ntk_text_add(&text, "%8.3g s  ", measured[i]));
    else
      NTK_TRY(ntk_text_add(&text, "%10s  ", "-"));
    NTK_TRY(ntk_text_add(&text, "%.48s%s\n", g->name, strlen(g->name) > 48 ? "..." : ""));
  }
  NTK_TRY(ntk_text_add(&text, "minimal flops %.4g", plan->minimal_flops));
  ntk_say(plan->context, NTK_REPORT_RESULT, "%s", text.data);
done:
  ntk_text_clear(&text);
  return status;
}

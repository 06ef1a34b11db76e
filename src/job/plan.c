/* SPDX-License-Identifier: Apache-2.0 */
#include "job/plan.h"
#include "base/memory.h"
#include "base/memory_limit.h"
#include "base/options.h"
#include "job/apply.h"
#include "job/calibrate.h"
#include "job/plan_parts.h"
#include "job/tile.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <omp.h>
#include <string.h>

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
      .colour_stride = ntk_tile_most_elements(&plan->shape),
      .block = p->block < most ? p->block : most,
      .outputs_block = p->outputs_block,
      .sweep_samples = p->sweep_samples < most ? p->sweep_samples : most,
      .orders = p->orders,
      .sides = {{plan->rows, plan->rows->first, read_rows},
                {columns, columns->first, read_rows}},
      .outputs = pass_outputs,
      .seeds = read_seeds,
      .user = plan,
      .stop = &plan->context->stop,
      .between = &plan->context->between};
}

/* Of a group; those of products are alike. */
static ntk_cost cost_of(const ntk_plan *plan, int group) {
  const ntk_numeric *p = &plan->numeric;
  const ntk_cost_shape shape = ntk_numeric_cost_shape(
      p, plan->shape.rows, plan->shape.columns, plan->shape.symmetric);
  const int groups = plan->network.groups->count;
  if (p->algorithm == NTK_ALGORITHM_NTVP)
    return (ntk_cost){.flops = ntk_plan_ntvp_flops(plan, p) / groups,
                      .seconds = ntk_plan_ntvp_seconds(plan, p) / groups,
                      .factor_bytes = (double)ntk_block_bytes(&plan->spec, 1, 1)};
  return ntk_cost_of(&plan->network.groups->groups[group], p->orders[group], &shape,
                     &plan->rates, plan->network.constants[group].count);
}

/* Seconds of each group by plan->rates, and flops. */
static ntk_status predict(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const ntk_groups *groups = plan->network.groups;
  const ntk_cost_shape shape = ntk_numeric_cost_shape(
      &plan->numeric, plan->shape.rows, plan->shape.columns, plan->shape.symmetric);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, groups->count, sizeof(double), &plan->predicted));
  for (int i = 0; i < groups->count; i++) {
    const ntk_cost cost = cost_of(plan, i);
    plan->predicted[i] = cost.seconds;
    plan->forming += cost.forming_seconds;
    plan->contraction_flops += cost.flops;
  }
  NTK_TRY(ntk_sample_sweep_flops(&plan->spec, &plan->sweep_flops));
  plan->sweep_flops *= ntk_job_samples(&plan->shape) * (double)plan->shape.outputs /
                       (double)plan->shape.outputs_block;
  if (plan->numeric.algorithm == NTK_ALGORITHM_STRUCTURED) {
    plan->minimal_flops = ntk_cost_minimal(groups, &shape);
  } else { /* the yardstick is that of the factors, whatever is used */
    ntk_groups *factored = NULL;
    NTK_TRY(ntk_groups_create(plan->network.net, false, NULL, &factored));
    plan->minimal_flops = ntk_cost_minimal(factored, &shape);
    ntk_groups_destroy(&factored);
  }
done:
  return status;
}

static ntk_status plan_locally(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_plan_choose_layout(plan));
  (void)ntk_memory_set_cap(ntk_memory_set_cap(0) + plan->cap);
  plan->is_capping = true;
  plan->threads = omp_get_max_threads();
  NTK_TRY(ntk_engine_create(&plan->spec, &plan->engine));
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
  if (plan->groups.count > 0) {
    plan->shape.colours = plan->groups.colours;
    plan->shape.kernels = 1 + plan->groups.count;
    plan->shape.members = plan->groups.members;
  }
}

/* The least cap of all ranks, unless --memory names one. */
static ntk_status find_cap(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = plan->context;
  plan->cap = ntk_memory_default_cap(context->sharers, &plan->cap_bound_by);
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, &plan->cap, 1, MPI_INT64_T, MPI_MIN, context->comm));
  if (ntk_options_given(plan->options, "memory")) {
    plan->cap = ntk_options_bytes(plan->options, "memory");
    plan->cap_bound_by = "--memory";
  }
done:
  return status;
}

static ntk_status check_sides(ntk_plan *plan, ntk_data *columns) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_data_fits(plan->rows, plan->model));
  if (columns)
    NTK_TRY(ntk_data_fits(columns, plan->model));
  const char *const paths[2] = {ntk_options_string(plan->options, "cotangents"),
                                ntk_options_string(plan->options, "cotangents2")};
  NTK_TRY(ntk_cotangents_open(plan->context, paths,
                              ntk_options_string(plan->options, "select-outputs"),
                              plan->model->graph, plan->rows, columns, &plan->cotangents));
done:
  return status;
}

/* Parameters are told apart from the first network on. */
static ntk_status take_groups(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_named_groups_create(plan->options, plan->model->graph, &plan->groups));
  if (plan->groups.count > 0)
    plan->weights.net->colours = plan->groups.colour_of;
done:
  return status;
}

/* The file in which to go on, if rank 0 sees one. */
static ntk_status find_resumed(ntk_plan *plan, const char *output) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = plan->context;
  char *found = NULL;
  if (context->rank == 0 && output)
    status = ntk_store_find(output, &found);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(ntk_bcast_text(found ? found : "", context->comm, &plan->resumed));
  if (!*plan->resumed)
    ntk_free(&plan->resumed);
done:
  ntk_free(&found);
  return status;
}

ntk_status ntk_plan_begin(ntk_model *model, ntk_data *rows, ntk_data *columns,
                          const ntk_option *const tables[], const char *options,
                          const char *output, ntk_plan **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  ntk_plan *plan = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *plan, &plan));
  plan->context = context;
  plan->model = model;
  plan->rows = rows;
  plan->machine = (ntk_machine){
      .ranks = context->size, .ranks_per_node = context->ranks_on_node, .speed = 1};
  NTK_TRY(ntk_options_parse_texts(tables, options, &plan->options));
  /* other cotangents make the same samples another side */
  plan->columns =
      columns || !ntk_options_string(plan->options, "cotangents2") ? columns : rows;
  set_samples(plan);
  NTK_TRY(ntk_model_check_parameters(model));
  NTK_TRY(check_sides(plan, columns));
  NTK_TRY(find_cap(plan));
  NTK_TRY(ntk_calibrate(context, ntk_options_string(plan->options, "rates"),
                        ntk_options_flag(plan->options, "recalibrate"), &plan->rates));
  NTK_TRY(find_resumed(plan, output));
  NTK_TRY(ntk_model_settle(model));
  plan->settings = model->settings;
  NTK_TRY(ntk_plan_hold_weights(plan));
  NTK_TRY(ntk_agree(context->comm, take_groups(plan)));
  if (!ntk_plan_path(plan))
    NTK_TRY(ntk_plan_try_orders(plan));
  NTK_TRY(ntk_plan_decide(plan));
  plan->peak_before = ntk_memory_resident_peak();
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &plan->peak_before, 1, MPI_INT64_T, MPI_MAX,
                            context->comm));
  set_shape(plan);
  make_spec(plan);
  NTK_TRY(ntk_plan_count_fixed_memory(plan));
  NTK_TRY(ntk_agree(context->comm, predict(plan)));
  *out = plan;
  plan = NULL;
done:
  ntk_plan_destroy(&plan);
  return status;
}

ntk_status ntk_plan_create(ntk_model *model, ntk_data *rows, ntk_data *columns,
                           const char *options, ntk_plan **out) {
  return ntk_plan_resume(model, rows, columns, options, NULL, out);
}

ntk_status ntk_plan_resume(ntk_model *model, ntk_data *rows, ntk_data *columns,
                           const char *options, const char *path, ntk_plan **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  const ntk_option *const tables[] = {ntk_option_table("plan"), NULL};
  const double start = ntk_seconds();
  const int blas_threads = ntk_blas_set_threads(1);
  ntk_plan *plan = NULL;
  NTK_TRY(ntk_agree(context->comm, ntk_model_check_weights(model)));
  NTK_TRY(ntk_plan_begin(model, rows, columns, tables, options, path, &plan));
  NTK_TRY(ntk_agree(context->comm, plan_locally(plan)));
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
  ntk_apply_destroy(&plan->apply);
  ntk_split_clear(&plan->split);
  ntk_network_destroy(&plan->network);
  ntk_weights_destroy(&plan->weights);
  ntk_numeric_clear(&plan->numeric);
  ntk_rates_clear(&plan->rates);
  ntk_options_destroy(&plan->options);
  ntk_cotangents_close(&plan->cotangents);
  ntk_named_groups_clear(&plan->groups);
  ntk_free(&plan->output_index);
  ntk_free(&plan->predicted);
  ntk_free(&plan->text);
  ntk_free(&plan->resumed);
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
                          .grid_depth = plan->layout.grid_depth,
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

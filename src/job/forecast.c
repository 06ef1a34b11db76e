/* SPDX-License-Identifier: Apache-2.0 */
/* A plan in words or JSON, for this machine or one that is not there. */
#include "base/memory.h"
#include "base/memory_limit.h"
#include "base/options.h"
#include "io/space.h"
#include "job/identity.h"
#include "job/journal.h"
#include "job/plan_parts.h"
#include "job/predict.h"
#include "job/provenance.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <math.h>
#include <scantk/limit.h>
#include <string.h>

/* What is told; on rank 0. */
typedef struct forecast {
  ntk_plan *plan;
  ntk_prediction seconds;
  int64_t file_bytes;
  bool is_exact; /* the file's size */
  bool fits;
  int smallest_ranks; /* where it does not fit: the fewest with which it does, 0: none */
  double balance, mended;
  int64_t mending_block;
} forecast;

/* ---- the machine ----------------------------------------------------------------------
 */

/* Parameters that the ranks of its nodes share, instead of those of this run's. */
static void share_parameters(ntk_plan *plan) {
  const ntk_shared *const blocks[] = {plan->model->block, plan->weights.block};
  const ntk_machine *m = &plan->machine;
  const int ranks = m->ranks < m->ranks_per_node ? m->ranks : m->ranks_per_node;
  for (int i = 0; i < 2; i++) {
    const int64_t change =
        ntk_shared_part(blocks[i], ranks) - ntk_shared_part(blocks[i], blocks[i]->ranks);
    plan->memory.parameters += change;
    plan->peak_before += change;
  }
}

/* A machine that is so much faster at products is taken to be as much faster in all. */
static void describe_machine(ntk_plan *plan) {
  const ntk_options *o = plan->options;
  ntk_machine *m = &plan->machine;
  const bool here =
      !ntk_options_given(o, "ranks") && !ntk_options_given(o, "ranks-per-node");
  if (ntk_options_given(o, "ranks"))
    m->ranks = (int)ntk_options_int(o, "ranks");
  if (ntk_options_given(o, "ranks-per-node"))
    m->ranks_per_node = (int)ntk_options_int(o, "ranks-per-node");
  else if (!here && plan->context->ranks_on_node == plan->context->size)
    m->ranks_per_node = m->ranks;
  if (!here)
    share_parameters(plan);
  if (!here && !ntk_options_given(o, "memory"))
    plan->cap = ntk_memory_default_cap(m->ranks_per_node, &plan->cap_bound_by);
  if (ntk_options_given(o, "network"))
    m->network_bytes = 1e9 * ntk_options_real(o, "network");
  else if (m->ranks_per_node < m->ranks)
    m->network_bytes = 1e10;
  if (ntk_options_given(o, "disk"))
    m->disk_bytes = 1e9 * ntk_options_real(o, "disk");
  if (ntk_options_given(o, "gemm"))
    m->speed =
        1e9 * ntk_options_real(o, "gemm") / plan->rates.gemm_flops[plan->shape.dtype];
}

/* ---- what is found --------------------------------------------------------------------
 */

/* The exact size, or about that of a file too large for a temporary one. */
static ntk_status find_size(forecast *f, const char *path) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = f->plan;
  const ntk_origin origin = {.context = plan->context,
                             .model = plan->model,
                             .rows = plan->rows,
                             .columns = plan->columns,
                             .plan = plan};
  ntk_store_spec spec = ntk_plan_store_spec(plan, path ? path : "the kernel");
  const ntk_digests digests[2] = {{.sum = {0}}};
  ntk_text provenance = {0}, identity = {0};
  NTK_TRY(ntk_plan_takes_half(plan, plan->options, &spec.half));
  NTK_TRY(ntk_provenance_write(&origin, &provenance));
  NTK_TRY(ntk_identity_write(plan, digests, digests, &identity));
  spec.identity = identity.data;
  spec.provenance = provenance.data;
  spec.provenance_room = ntk_provenance_room(plan->model, provenance.length);
  status = ntk_store_measure(&spec, &f->file_bytes);
  f->is_exact = status == NTK_SUCCESS;
  if (status == NTK_ERR_FILE) {
    f->file_bytes = ntk_store_file_bytes(&spec);
    status = NTK_SUCCESS;
  }
done:
  ntk_text_clear(&provenance);
  ntk_text_clear(&identity);
  return status;
}

/* Does it fit on so many ranks? The plan is laid out for them. */
static bool fits_on(ntk_plan *plan, int ranks) {
  plan->machine.ranks = ranks;
  return ntk_plan_choose_layout(plan) == NTK_SUCCESS;
}

/* The fewest ranks on which it fits, 0 where that is not a matter of ranks. */
static int fewest_ranks(ntk_plan *plan) {
  const int asked = plan->machine.ranks, limit = 1 << 16;
  int bad = asked, good = 2 * asked;
  if (ntk_options_given(plan->options, "grid"))
    return 0;
  while (good <= limit && !fits_on(plan, good)) {
    bad = good;
    good *= 2;
  }
  while (good <= limit && good - bad > 1) {
    const int middle = bad + (good - bad) / 2;
    if (fits_on(plan, middle))
      good = middle;
    else
      bad = middle;
  }
  (void)fits_on(plan, asked);
  return good <= limit ? good : 0;
}

/* All of it, on rank 0. What does not fit is told all the same; the message stays. */
static ntk_status foresee(forecast *f, const char *path) {
  ntk_status status = NTK_SUCCESS;
  ntk_plan *plan = f->plan;
  describe_machine(plan);
  status = ntk_plan_choose_layout(plan);
  f->fits = status == NTK_SUCCESS;
  if (status == NTK_ERR_MEMORY) {
    f->smallest_ranks = fewest_ranks(plan);
    status = NTK_SUCCESS;
  }
  NTK_TRY(status);
  ntk_predict(plan, &f->seconds);
  f->balance = ntk_plan_balance(plan);
  f->mending_block = ntk_plan_mending_block(plan, &f->mended);
  NTK_TRY(find_size(f, path));
done:
  return status;
}

/* ---- words ----------------------------------------------------------------------------
 */

static ntk_status say_layout(const forecast *f, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = f->plan;
  const ntk_job_shape *s = &plan->shape;
  char passes[NTK_PASSES_TEXT];
  ntk_layout_passes_text(&plan->layout, passes);
  NTK_TRY(ntk_text_add(text,
                       "kernel   %" PRId64 " x %" PRId64 " samples%s, %" PRId64
                       " outputs, reduction %s, %s, algorithm %s\n",
                       s->rows, s->columns, s->symmetric ? " (x2 = x1)" : "",
                       plan->kernel_outputs, ntk_reduction_name(s->reduction),
                       ntk_dtype_name(s->dtype),
                       ntk_algorithm_name(plan->numeric.algorithm)));
  NTK_TRY(ntk_text_add(
      text,
      "ranks    %d, %d a node, grid %d x %d x %d, blocks of %" PRId64 " samples x %" PRId64
      " outputs, panels of %" PRId64 ", %" PRId64 " tiles%s%s, balance %.0f %%\n",
      plan->machine.ranks, plan->machine.ranks_per_node, plan->layout.grid_rows,
      plan->layout.grid_columns, plan->layout.grid_depth, s->block, s->outputs_block,
      plan->layout.panel, ntk_job_tiles(s), passes,
      plan->layout.recompute ? ", columns recomputed" : "", 100 * f->balance));
done:
  return status;
}

static ntk_status say_costs(const forecast *f, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = f->plan;
  const ntk_prediction *p = &f->seconds;
  const double all = ntk_prediction_seconds(p);
  NTK_TRY(ntk_text_add(text,
                       "time     %.4g s: reading %.4g, sweeps %.4g, exchange %.4g, "
                       "contraction %.4g, writing %.4g\n",
                       all, p->reading, p->sweeps, p->exchange, p->contraction,
                       p->writing));
  NTK_TRY(ntk_text_add(text, "flops    sweeps %.4g, contraction %.4g (at the least %.4g)\n",
                       plan->sweep_flops, plan->contraction_flops, plan->minimal_flops));
  NTK_TRY(ntk_text_add(text, "sent     %.4g bytes, %.4g a rank\n", p->sent_bytes,
                       p->sent_bytes / plan->machine.ranks));
done:
  return status;
}

static ntk_status say_space(const forecast *f, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = f->plan;
  const ntk_memory_terms *m = &plan->memory;
  NTK_TRY(
      ntk_text_add(text,
                   "memory   %" PRId64 "M of %" PRId64 "M a rank (%s): parameters %" PRId64
                   "M, panel %" PRId64 "M, columns %" PRId64 "M, sweeps %" PRId64
                   "M, tiles %" PRId64 "M, exchange %" PRId64 "M, libraries %" PRId64 "M\n",
                   ntk_plan_peak_bytes(plan) >> 20, plan->cap >> 20, plan->cap_bound_by,
                   m->parameters >> 20, m->panel >> 20, m->column >> 20, m->sweeps >> 20,
                   m->tiles >> 20, m->exchange >> 20, m->libraries >> 20));
  NTK_TRY(ntk_text_add(text, "file     %s%" PRId64 " bytes (%.4g GiB)\n",
                       f->is_exact ? "" : "about ", f->file_bytes,
                       (double)f->file_bytes / 1073741824.0));
  if (!f->fits && f->smallest_ranks > 0)
    NTK_TRY(ntk_text_add(text, "fits     on %d ranks, or with --memory %" PRId64 "M\n",
                         f->smallest_ranks, ntk_plan_cap_needed(plan)));
  else if (!f->fits)
    NTK_TRY(ntk_text_add(text, "fits     with --memory %" PRId64 "M\n",
                         ntk_plan_cap_needed(plan)));
done:
  return status;
}

static ntk_status say_words(const forecast *f, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(say_layout(f, text));
  NTK_TRY(say_costs(f, text));
  NTK_TRY(say_space(f, text));
done:
  return status;
}

/* ---- JSON -----------------------------------------------------------------------------
 */

/* A number; null where it is none or infinite. */
static ntk_status add_number(ntk_text *text, const char *name, double value) {
  return isfinite(value) ? ntk_text_add(text, "\"%s\": %.17g", name, value)
                         : ntk_text_add(text, "\"%s\": null", name);
}

static ntk_status add_memory(const ntk_plan *plan, ntk_text *text) {
  const ntk_memory_terms *m = &plan->memory;
  return ntk_text_add(
      text,
      " \"memory\": {\"parameters\": %" PRId64 ", \"panel\": %" PRId64
      ", \"columns\": %" PRId64 ", \"sweeps\": %" PRId64 ", \"tiles\": %" PRId64
      ", \"exchange\": %" PRId64 ", \"libraries\": %" PRId64 ", \"total\": %" PRId64
      ", \"cap\": %" PRId64 ", \"least\": %" PRId64 "},\n",
      m->parameters, m->panel, m->column, m->sweeps, m->tiles, m->exchange, m->libraries,
      ntk_plan_peak_bytes(plan), plan->cap, plan->least_bytes);
}

static ntk_status add_costs(const forecast *f, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = f->plan;
  const ntk_prediction *p = &f->seconds;
  NTK_TRY(ntk_text_add(text,
                       " \"seconds\": {\"reading\": %.9g, \"sweeps\": %.9g, "
                       "\"exchange\": %.9g, \"contraction\": %.9g, \"writing\": %.9g, "
                       "\"total\": %.9g},\n",
                       p->reading, p->sweeps, p->exchange, p->contraction, p->writing,
                       ntk_prediction_seconds(p)));
  NTK_TRY(ntk_text_add(text,
                       " \"flops\": {\"sweeps\": %.9g, \"contraction\": %.9g, "
                       "\"minimal\": %.9g},\n \"sent_bytes\": %.17g,\n",
                       plan->sweep_flops, plan->contraction_flops, plan->minimal_flops,
                       p->sent_bytes));
done:
  return status;
}

static ntk_status say_json(const forecast *f, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_plan *plan = f->plan;
  const ntk_job_shape *s = &plan->shape;
  NTK_TRY(ntk_text_add(text,
                       "{\"ranks\": %d, \"ranks_per_node\": %d, \"grid\": [%d, %d, %d], "
                       "\"block\": [%" PRId64 ", %" PRId64 "], \"panel\": %" PRId64
                       ", \"passes\": %d, \"tiles\": %" PRId64 ", \"columns\": \"%s\",\n",
                       plan->machine.ranks, plan->machine.ranks_per_node,
                       plan->layout.grid_rows, plan->layout.grid_columns,
                       plan->layout.grid_depth, s->block, s->outputs_block,
                       plan->layout.panel, plan->layout.passes, ntk_job_tiles(s),
                       plan->layout.recompute ? "recompute" : "send"));
  NTK_TRY(ntk_text_add(text,
                       " \"balance\": %.6g, \"mending_block\": %" PRId64
                       ", \"mended_balance\": %.6g,\n",
                       f->balance, f->mending_block, f->mended));
  NTK_TRY(add_costs(f, text));
  NTK_TRY(add_memory(plan, text));
  NTK_TRY(ntk_text_add(text,
                       " \"file_bytes\": %" PRId64 ", \"file_is_exact\": %s, \"fits\": %s, "
                       "\"smallest_ranks\": %d, ",
                       f->file_bytes, f->is_exact ? "true" : "false",
                       f->fits ? "true" : "false", f->smallest_ranks));
  NTK_TRY(add_number(text, "limit_seconds", ntk_limit_seconds_left()));
  NTK_TRY(ntk_text_add(text, "}\n"));
done:
  return status;
}

/* ---- all of it ------------------------------------------------------------------------
 */

static void warn_of_space(const forecast *f, const char *path) {
  const double space = path ? ntk_free_bytes(path) : INFINITY;
  if ((double)f->file_bytes > space)
    ntk_say(f->plan->context, NTK_REPORT_WARNING,
            "%s: the file needs %.3g GiB, its file system has %.3g GiB free; --reduce "
            "trace or, where x2 = x1, --store half makes it smaller",
            path, (double)f->file_bytes / 1073741824.0, space / 1073741824.0);
}

static ntk_status tell(ntk_plan *plan, const char *path, ntk_text *text, bool *fits) {
  ntk_status status = NTK_SUCCESS;
  const ntk_options *o = plan->options;
  forecast f = {.plan = plan};
  NTK_REQUIRE(!ntk_options_flag(o, "json") || !ntk_options_flag(o, "explain"),
              NTK_ERR_ARGUMENT, "--json and --explain: give one of them");
  NTK_TRY(foresee(&f, path));
  if (ntk_options_flag(o, "explain"))
    NTK_TRY(ntk_plan_explain(plan, NULL));
  NTK_TRY(ntk_options_flag(o, "json") ? say_json(&f, text) : say_words(&f, text));
  ntk_journal_warn(plan, ntk_prediction_seconds(&f.seconds));
  warn_of_space(&f, path);
  *fits = f.fits;
done:
  return status;
}

/* What does not fit fails as a run would. */
static ntk_status refuse(const ntk_plan *plan) {
  return ntk_fail(NTK_ERR_MEMORY,
                  "a rank needs at least %" PRId64 "M of memory, the cap is %" PRId64
                  "M (%s)",
                  ntk_plan_cap_needed(plan), plan->cap >> 20, plan->cap_bound_by);
}

ntk_status ntk_plan_describe(ntk_model *model, ntk_data *rows, ntk_data *columns,
                             const char *options, const char *path, char **text) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  const ntk_option *const tables[] = {ntk_option_table("plan"), ntk_option_table("output"),
                                      ntk_option_table("machine"),
                                      ntk_option_table("describe"), NULL};
  const int blas_threads = ntk_blas_set_threads(1);
  ntk_plan *plan = NULL;
  ntk_text told = {0};
  bool fits = true;
  NTK_TRY(ntk_plan_begin(model, rows, columns, tables, options, NULL, &plan));
  if (context->rank == 0)
    status = tell(plan, path, &told, &fits);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(ntk_bcast_text(told.data, context->comm, text));
  NTK_TRY(ntk_agree(context->comm, fits ? NTK_SUCCESS : refuse(plan)));
done:
  (void)ntk_blas_set_threads(blas_threads);
  ntk_text_clear(&told);
  ntk_plan_destroy(&plan);
  return status;
}

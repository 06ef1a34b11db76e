/* SPDX-License-Identifier: Apache-2.0 */
/* Grid and panel of a run, by ranks and memory; nothing here decides rounding. */
#include "base/memory.h"
#include "job/plan_parts.h"
#include "job/predict.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What MPI, HDF5, BLAS and the program take beside our own arrays: as much as they had at
 * the start, and what they take later (files, buffers, huge pages that arrays fill in
 * part).
 */
static int64_t library_bytes(const ntk_plan *plan) {
  return plan->context->resident_bytes + ((int64_t)28 << 20);
}

/* HDF5 keeps so much of the index of the file's tiles, measured up to 250,000 of them. */
static int64_t index_bytes(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  const int64_t parts = ntk_job_blocks(s->outputs, s->outputs_block);
  const double tiles = (double)ntk_job_blocks(s->rows, s->block) *
                       (double)ntk_job_blocks(s->columns, s->block) *
                       (double)(s->reduction == NTK_REDUCE_NONE       ? parts * parts
                                : s->reduction == NTK_REDUCE_DIAGONAL ? parts
                                                                      : 1);
  return (int64_t)fmin(400 * tiles, 20 * 1048576.0);
}

/* Of MPI, for messages by shared memory: measured with up to 8 ranks. */
static int64_t message_bytes(const ntk_machine *m) {
  const int64_t others = (m->ranks < m->ranks_per_node ? m->ranks : m->ranks_per_node) - 1;
  return others > 0 ? ((int64_t)2 << 20) + others * 131072 : 0;
}

/* ---- grids ----------------------------------------------------------------------------
 */

static ntk_status read_grid(const ntk_plan *plan, const char *text, ntk_layout *layout) {
  const int size = plan->machine.ranks;
  int rows = 0, columns = 0, depth = 1;
  char rest;
  const int fields = sscanf(text, "%dx%dx%d%c", &rows, &columns, &depth, &rest);
  if ((fields != 3 && (fields != 2 || sscanf(text, "%*dx%*d%c", &rest) == 1)) || rows < 1 ||
      columns < 1 || depth < 1)
    return ntk_fail(NTK_ERR_ARGUMENT,
                    "--grid: '%s' is not PrxPc or PrxPcxPd, such as 2x3 or 2x3x4", text);
  if (rows > size / columns / depth)
    return ntk_fail(NTK_ERR_ARGUMENT, "--grid: %s needs %.0f ranks, there are %d", text,
                    (double)rows * columns * depth, size);
  if (depth > 1 && plan->numeric.algorithm == NTK_ALGORITHM_NTVP)
    return ntk_fail(NTK_ERR_ARGUMENT,
                    "--grid: %s: NTK-vector products take all parameters at once; use "
                    "PrxPc",
                    text);
  *layout = (ntk_layout){.grid_rows = rows, .grid_columns = columns, .grid_depth = depth};
  return NTK_SUCCESS;
}

/* Deals the parameters over the depth of plan->layout. */
static ntk_status split(ntk_plan *plan) {
  const ntk_numeric *p = &plan->numeric;
  const ntk_cost_shape shape = ntk_numeric_cost_shape(
      p, plan->shape.rows, plan->shape.columns, plan->shape.symmetric);
  ntk_split_clear(&plan->split);
  plan->spec.split = &plan->split;
  plan->spec.depth = plan->context->rank % plan->layout.grid_depth;
  return ntk_split_create(plan->network.groups, p->orders, plan->predicted, &shape,
                          plan->layout.grid_depth, &plan->split);
}

int64_t ntk_memory_terms_total(const ntk_memory_terms *m) {
  return m->parameters + m->panel + m->column + m->tiles + m->sweeps + m->exchange +
         m->libraries;
}

/* Of sweeping every sample once, in all passes, and the most memory of a pass beyond that
 * of sweeping back to all groups at once, if any: its arrays lie in memory in another way.
 */
static ntk_status count_sweeps(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const ntk_job_shape *s = &plan->shape;
  const double swept = ntk_job_samples(s) * (double)s->outputs / (double)s->outputs_block;
  ntk_engine_spec spec = plan->spec;
  plan->pass_sweeps = 1;
  plan->pass_bytes = 0;
  if (plan->layout.passes == 1)
    return NTK_SUCCESS;
  plan->pass_sweeps = 0;
  for (spec.pass = 0; spec.pass < plan->layout.passes; spec.pass++) {
    double flops;
    int64_t bytes;
    NTK_TRY(ntk_sample_sweep_flops(&spec, &flops));
    NTK_TRY(ntk_engine_bytes(&spec, &bytes));
    plan->pass_sweeps += plan->sweep_flops > 0 ? flops * swept / plan->sweep_flops : 1;
    if (bytes - plan->engine_bytes > plan->pass_bytes)
      plan->pass_bytes = bytes - plan->engine_bytes;
  }
done:
  return status;
}

/* Divides the groups of each depth into passes. */
static ntk_status divide(ntk_plan *plan, int passes) {
  ntk_status status = NTK_SUCCESS;
  const ntk_engine_spec *spec = &plan->spec;
  int64_t *bytes = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, plan->split.count, sizeof *bytes, &bytes));
  for (int i = 0; i < plan->split.count; i++)
    bytes[i] = ntk_piece_bytes(spec, i, spec->block, spec->outputs_block);
  NTK_TRY(ntk_split_divide(&plan->split, bytes, passes));
  plan->layout.passes = plan->split.passes;
  NTK_TRY(count_sweeps(plan));
done:
  ntk_free(&bytes);
  return status;
}

static void begin_planned_pass(void *self, int pass) {
  ntk_engine_spec *spec = self;
  spec->pass = pass;
}

static int64_t planned_block_bytes(void *self, int d, int64_t n, int64_t o) {
  return ntk_share_bytes(self, d, n, o);
}

static int64_t planned_packed_bytes(void *self, int d, int64_t n, int64_t o) {
  return ntk_packed_bytes(self, d, n, o);
}

static ntk_status count_memory(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const ntk_worker worker = {.self = &plan->spec,
                             .block_bytes = planned_block_bytes,
                             .packed_bytes = planned_packed_bytes,
                             .begin_pass = begin_planned_pass};
  ntk_job_memory m;
  NTK_TRY(ntk_job_bytes(&plan->shape, &plan->layout, &worker, &m));
  plan->memory.panel = m.panel;
  plan->memory.column = m.columns;
  plan->memory.tiles = m.tiles;
  plan->memory.exchange = m.parts + m.books + message_bytes(&plan->machine);
  plan->memory.sweeps = plan->sweep_bytes + plan->pass_bytes;
done:
  plan->spec.pass = 0;
  return status;
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

/* What has been differs a little from run to run, what there is at the start too. */
static const int64_t peak_margin = (int64_t)4 << 20, run_to_run = (int64_t)1 << 20;

int64_t ntk_plan_peak_bytes(const ntk_plan *plan) {
  const int64_t total = ntk_memory_terms_total(&plan->memory);
  return total > plan->peak_before ? total : plan->peak_before + peak_margin;
}

int64_t ntk_plan_cap_needed(const ntk_plan *plan) {
  return ((plan->least_bytes + run_to_run) >> 20) + 1;
}

/* Neither what is to come nor what has been (trials, what was read) may exceed the cap. */
static ntk_status check_cap(ntk_plan *plan) {
  const int64_t least = plan->least_bytes;
  if (least <= plan->cap && plan->peak_before <= plan->cap)
    return NTK_SUCCESS;
  if (least < plan->peak_before + peak_margin)
    plan->least_bytes = plan->peak_before + peak_margin;
  const int64_t needed = ntk_plan_cap_needed(plan);
  return ntk_fail(NTK_ERR_MEMORY,
                  "a rank needs at least %" PRId64 "M of memory, the cap is %" PRId64
                  "M (%s); use --memory %" PRId64 "M%s",
                  needed, plan->cap >> 20, plan->cap_bound_by, needed,
                  least > plan->peak_before + peak_margin ? " or a smaller --block" : "");
}

static ntk_status panel_fits(ntk_plan *plan, int64_t panel, bool *fits) {
  ntk_status status = NTK_SUCCESS;
  plan->layout.panel = panel;
  NTK_TRY(count_memory(plan));
  *fits = ntk_memory_terms_total(&plan->memory) <= plan->cap;
done:
  return status;
}

static int64_t whole_panel(const ntk_plan *plan) {
  const ntk_job_shape *s = &plan->shape;
  return ntk_grid_dealt(ntk_job_blocks(s->rows, s->block), 0, plan->layout.grid_rows) *
         ntk_job_blocks(s->outputs, s->outputs_block);
}

/* The largest panel that fits the cap, else the smallest; plan->least_bytes are those of
 * the latter, or of the whole where that is all there is or fits. */
static ntk_status choose_panel(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const int64_t parts = ntk_job_blocks(plan->shape.outputs, plan->shape.outputs_block);
  const int64_t step = plan->shape.reduction == NTK_REDUCE_TRACE ? parts : 1;
  int64_t low = 1, high = whole_panel(plan) / step - 1; /* steps; low fits */
  bool fits;
  NTK_TRY(panel_fits(plan, whole_panel(plan), &fits));
  plan->least_bytes = ntk_memory_terms_total(&plan->memory);
  if (fits || high < low)
    goto done;
  NTK_TRY(panel_fits(plan, step, &fits));
  plan->least_bytes = ntk_memory_terms_total(&plan->memory);
  while (fits && low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    NTK_TRY(panel_fits(plan, middle * step, &fits));
    low = fits ? middle : low;
    high = fits ? high : middle - 1;
    fits = true;
  }
  NTK_TRY(panel_fits(plan, low * step, &fits));
done:
  return status;
}

/* What is predicted must be faster by so much to be chosen over what is simpler. */
static const double gain = 0.95, least_seconds_gained = 1;

static bool gains(double seconds, double than) {
  return seconds < gain * than && !(seconds > than - least_seconds_gained);
}

/* Columns are recomputed where that is faster, or is asked for. */
static ntk_status choose_columns(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const char *wish = ntk_options_string(plan->options, "columns");
  const bool either = !strcmp(wish, "auto") && plan->layout.grid_rows > 1;
  ntk_prediction sent, recomputed;
  plan->layout.recompute = !strcmp(wish, "recompute");
  NTK_TRY(choose_panel(plan));
  if (!either || plan->least_bytes > plan->cap)
    goto done;
  ntk_predict(plan, &sent);
  plan->layout.recompute = true;
  NTK_TRY(choose_panel(plan));
  ntk_predict(plan, &recomputed);
  plan->layout.recompute =
      gains(ntk_prediction_overlapped(&recomputed), ntk_prediction_overlapped(&sent));
  if (!plan->layout.recompute)
    NTK_TRY(choose_panel(plan));
done:
  return status;
}

void ntk_layout_passes_text(const ntk_layout *layout, char text[NTK_PASSES_TEXT]) {
  text[0] = '\0';
  if (ntk_layout_passes(layout) > 1)
    (void)snprintf(text, NTK_PASSES_TEXT, ", %d passes over the parameters",
                   layout->passes);
}

/* ---- the choice -----------------------------------------------------------------------
 */

/* Among layouts: the fastest that fits, in the order in which they are tried where none is
 * faster by what is worth it; where none fits, the one that needs least. */
typedef struct choice {
  int value; /* of what is chosen */
  double seconds;
  int64_t least;
} choice;
static const choice no_choice = {.value = 1, .seconds = INFINITY, .least = INT64_MAX};

static void consider(choice *c, const ntk_plan *plan, int value) {
  const int64_t needed = plan->least_bytes;
  const bool fits = needed <= plan->cap;
  ntk_prediction p;
  ntk_predict(plan, &p);
  const double seconds = fits ? ntk_prediction_seconds(&p) : INFINITY;
  if (fits ? gains(seconds, c->seconds) : isinf(c->seconds) && needed < c->least) {
    c->seconds = seconds;
    c->value = value;
  }
  c->least = needed < c->least ? needed : c->least;
}

/* A run that ends loses the tiles of a panel that wait for a later pass. */
static const double most_seconds_at_risk = 600;

static bool risks_much(const ntk_plan *plan) {
  ntk_prediction p;
  ntk_predict(plan, &p);
  const int64_t panels = ntk_job_blocks(whole_panel(plan), plan->layout.panel);
  return plan->layout.passes > 1 &&
         ntk_prediction_seconds(&p) > most_seconds_at_risk * (double)panels;
}

static ntk_status try_passes(ntk_plan *plan, int passes) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(divide(plan, passes));
  NTK_TRY(choose_columns(plan));
done:
  return status;
}

static const int passes_to_try[] = {2, 3, 4, 6, 8, 12, 16};

/* Where all rows do not fit with all of their factors, some of the factors at a time may.
 */
static ntk_status choose_passes(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const bool is_ntvp = plan->numeric.algorithm == NTK_ALGORITHM_NTVP;
  const bool is_wished = ntk_options_given(plan->options, "passes");
  const int first = is_wished ? (int)ntk_options_int(plan->options, "passes") : 1;
  choice best = no_choice, risky = no_choice; /* the latter if nothing else fits */
  NTK_REQUIRE(first == 1 || !is_ntvp, NTK_ERR_ARGUMENT,
              "--passes: NTK-vector products take all parameters at once; use 1");
  NTK_TRY(try_passes(plan, first));
  if (is_wished || is_ntvp ||
      (plan->least_bytes <= plan->cap && plan->layout.panel == whole_panel(plan)))
    goto done;
  consider(&best, plan, first);
  for (size_t i = 0; i < sizeof passes_to_try / sizeof *passes_to_try; i++) {
    const int passes = passes_to_try[i], before = plan->layout.passes;
    NTK_TRY(divide(plan, passes));
    if (plan->layout.passes == before)
      continue; /* no more of them make the largest smaller */
    NTK_TRY(choose_columns(plan));
    consider(risks_much(plan) ? &risky : &best, plan, passes);
  }
  const bool takes_risk =
      isinf(best.seconds) && (isfinite(risky.seconds) || risky.least < best.least);
  NTK_TRY(try_passes(plan, takes_risk ? risky.value : best.value));
done:
  return status;
}

/* A deeper grid sums in another order, so it must be worth that. */
static const int depths[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};

static ntk_status try_depth(ntk_plan *plan, int depth) {
  ntk_status status = NTK_SUCCESS;
  const ntk_job_shape *s = &plan->shape;
  plan->layout = (ntk_layout){.grid_depth = depth};
  ntk_grid_choose(plan->machine.ranks / depth, ntk_job_blocks(s->rows, s->block),
                  ntk_job_blocks(s->columns, s->block), s->symmetric,
                  &plan->layout.grid_rows, &plan->layout.grid_columns);
  NTK_TRY(split(plan));
  NTK_TRY(choose_passes(plan));
done:
  return status;
}

static ntk_status choose_depth(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const bool is_ntvp = plan->numeric.algorithm == NTK_ALGORITHM_NTVP;
  choice best = no_choice;
  for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
    if (depths[i] > plan->machine.ranks || (is_ntvp && depths[i] > 1))
      break;
    NTK_TRY(try_depth(plan, depths[i]));
    consider(&best, plan, depths[i]);
  }
  NTK_TRY(try_depth(plan, best.value));
done:
  return status;
}

ntk_status ntk_plan_count_fixed_memory(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  int64_t bytes[3] = {ntk_memory_used_total(),
                      library_bytes(plan) + index_bytes(plan) + held_by_readers(plan), 0};
  MPI_Comm comm = plan->context->comm;
  NTK_TRY(ntk_agree(comm, ntk_engine_bytes(&plan->spec, &bytes[2])));
  plan->engine_bytes = bytes[2];
  bytes[2] += /* outputs on their way to the file */
      plan->spec.sweep_samples * plan->selected * (int64_t)sizeof(double);
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, bytes, 3, MPI_INT64_T, MPI_MAX, comm));
  plan->memory.parameters = bytes[0];
  plan->memory.libraries = bytes[1];
  plan->sweep_bytes = bytes[2];
done:
  return status;
}

ntk_status ntk_plan_choose_layout(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const char *grid = ntk_options_string(plan->options, "grid");
  if (grid) {
    NTK_TRY(read_grid(plan, grid, &plan->layout));
    NTK_TRY(split(plan));
    NTK_TRY(choose_passes(plan));
  } else {
    NTK_TRY(choose_depth(plan));
  }
  NTK_TRY(check_cap(plan));
done:
  return status;
}

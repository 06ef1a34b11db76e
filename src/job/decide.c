/* SPDX-License-Identifier: Apache-2.0 */
/* The numerical plan of a run: from options and rates, or from a file; rank 0 decides. */
#include "base/memory.h"
#include "io/store.h"
#include "job/identity.h"
#include "job/plan_parts.h"
#include "job/predict.h"
#include "job/trials.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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
  NTK_TRY(ntk_outputs_select(ntk_options_string(plan->options, "select-outputs"), O,
                             &plan->output_index, &plan->selected));
  plan->kernel_outputs = given->sides[0] ? given->count : plan->selected;
  *count = summed ? 1 : plan->kernel_outputs;
  if (!given->sides[0] || given->is_alike)
    NTK_TRY(ntk_cotangents_seeds(given, plan->selected, plan->output_index, O, summed,
                                 p->dtype, seeds));
done:
  return status;
}

static ntk_status make_network(ntk_plan *plan, const ntk_numeric *numeric) {
  ntk_status status = NTK_SUCCESS;
  double *seeds = NULL;
  int64_t count;
  ntk_network_destroy(&plan->network);
  ntk_free(&plan->output_index);
  NTK_TRY(make_seeds(plan, numeric, &seeds, &count));
  NTK_TRY(
      ntk_network_create(plan->weights.net, numeric->algorithm != NTK_ALGORITHM_STRUCTURED,
                         ntk_form_of(numeric->reduction), count, seeds, &plan->network));
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

double ntk_plan_ntvp_flops(const ntk_plan *plan, const ntk_numeric *p) {
  const double n1 = (double)plan->shape.rows, n2 = (double)plan->shape.columns;
  const double pairs = plan->shape.symmetric ? n1 * n2 / 2 : n1 * n2;
  const double colours = ntk_net_colours(plan->network.net); /* each is pushed */
  return (double)p->outputs * ntk_net_forward_flops(plan->network.net) *
         (2 * colours * pairs + 3 * pairs / (double)p->block);
}

double ntk_plan_ntvp_seconds(const ntk_plan *plan, const ntk_numeric *p) {
  return ntk_plan_ntvp_flops(plan, p) /
         (NTK_SWEEP_SHARE * plan->rates.gemm_flops[p->dtype]);
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

ntk_status ntk_plan_try_orders(ntk_plan *plan) {
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
        structured_seconds(plan, p) <= ntk_plan_ntvp_seconds(plan, p))
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
  return ntk_fail(NTK_ERR_ARGUMENT, "--%s %s: the plan has %s", name, given, planned);
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
              NTK_ERR_ARGUMENT, "--block %s: the plan has %" PRId64 "x%" PRId64,
              ntk_options_string(o, "block"), p->block, p->outputs_block);
done:
  return status;
}

ntk_status ntk_plan_check_orders(const ntk_plan *plan, const char *path,
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

/* *text is to be freed. */
static ntk_status read_plan_text(const char *path, char **text) {
  int64_t size;
  return ntk_store_is(path) ? ntk_store_read_plan(path, text)
                            : ntk_file_read(path, text, &size);
}

static ntk_status read_text(const char *path, char **text, ntk_numeric *p) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(read_plan_text(path, text));
  NTK_TRY(ntk_numeric_parse(*text, path, p));
done:
  return status;
}

ntk_status ntk_plan_hold_weights(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const char *path = ntk_plan_path(plan);
  ntk_numeric p = {0};
  char *text = NULL;
  if (plan->context->rank == 0)
    status = path ? read_text(path, &text, &p) : read_options(plan, &p);
  NTK_TRY(ntk_agree(plan->context->comm, status));
  int dtype = p.dtype;
  NTK_TRY_MPI(MPI_Bcast(&dtype, 1, MPI_INT, 0, plan->context->comm));
  NTK_TRY(ntk_weights_create(plan->context, plan->model->graph, (ntk_dtype)dtype,
                             &plan->weights));
done:
  ntk_free(&text);
  ntk_numeric_clear(&p);
  return status;
}

static ntk_status read_plan(ntk_plan *plan, const char *path, ntk_numeric *p) {
  ntk_status status = NTK_SUCCESS;
  char *text = NULL;
  NTK_TRY(read_text(path, &text, p));
  NTK_TRY(check_options(plan, p));
  NTK_TRY(make_network(plan, p));
  NTK_REQUIRE(p->outputs == plan->network.outputs, NTK_ERR_ARGUMENT,
              "%s: the plan is for %" PRId64 " outputs, here are %" PRId64, path,
              p->outputs, plan->network.outputs);
  NTK_TRY(ntk_numeric_check(text, path, p, plan->network.groups));
  NTK_TRY(ntk_plan_check_orders(plan, path, p));
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

/* Is the file in which to go on of the kernel that is asked for? Where --plan is given, it
 * asks for what it says. */
static ntk_status check_resumed(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  const ntk_options *o = plan->options;
  const char *path = plan->resumed, *given = ntk_options_string(o, "plan");
  const bool any = !given && equals(ntk_options_string(o, "algorithm"), "auto");
  char *identity = NULL, *asked = NULL, *kept = NULL;
  ntk_numeric p = {0};
  ntk_text here = {0};
  NTK_TRY(ntk_store_read_text(path, "/identity", &identity));
  NTK_TRY(ntk_store_read_plan(path, &kept));
  NTK_TRY(read_options(plan, &p));
  if (given) {
    NTK_TRY(read_plan_text(given, &asked));
    NTK_TRY(ntk_numeric_parse(asked, given, &p));
  }
  NTK_TRY(ntk_outputs_select(ntk_options_string(o, "select-outputs"),
                             ntk_graph_outputs(plan->model->graph), &plan->output_index,
                             &plan->selected));
  NTK_TRY(ntk_identity_of_plan(plan, &p, any, &here));
  NTK_TRY(
      ntk_identity_compare(plan->context, path, identity, here.data, "cannot be resumed"));
  NTK_REQUIRE(!given || equals(asked, kept), NTK_ERR_ARGUMENT,
              "%s cannot be resumed: --plan %s is not the plan of the file", path, given);
done:
  ntk_text_clear(&here);
  ntk_numeric_clear(&p);
  ntk_free(&identity);
  ntk_free(&asked);
  ntk_free(&kept);
  return status;
}

const char *ntk_plan_path(const ntk_plan *plan) {
  return plan->resumed ? plan->resumed : ntk_options_string(plan->options, "plan");
}

/* On rank 0: the plan as text. */
static ntk_status decide(ntk_plan *plan, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  ntk_numeric p = {0};
  const char *path = ntk_plan_path(plan);
  const char *out = ntk_options_string(plan->options, "write-plan");
  if (plan->resumed)
    NTK_TRY(check_resumed(plan));
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

ntk_status ntk_plan_decide(ntk_plan *plan) {
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

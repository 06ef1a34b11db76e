/* SPDX-License-Identifier: Apache-2.0 */
/* sizes MODEL SAMPLES BLOCK REDUCTION: what the simulator must know of a kernel in f32, one
 * "name value" a line: the plan's block sizes, and flops and bytes as they grow with
 * samples and outputs. Of the samples only the number counts; BLOCK 0: as planned. */
#include "base/memory.h"
#include "job/calibrate.h"
#include "job/numeric.h"
#include "job/predict.h"
#include "onnx/model.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct kernel {
  int64_t samples;
  ntk_model *model;
  ntk_rates rates;
  ntk_net *net;
  ntk_network network;
  ntk_numeric numeric;
  ntk_engine_spec spec;
} kernel;

static ntk_status create_network(kernel *k) {
  ntk_status status = NTK_SUCCESS;
  const int64_t O = ntk_graph_outputs(k->model->graph);
  double *seeds = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, O * O, sizeof *seeds, &seeds));
  for (int64_t o = 0; o < O; o++)
    seeds[o * O + o] = 1;
  NTK_TRY(ntk_net_create(k->model->graph, NTK_F32, NULL, &k->net));
  NTK_TRY(ntk_network_create(k->net, false, NTK_FORM_FULL, O, seeds, &k->network));
done:
  ntk_free(&seeds);
  return status;
}

static ntk_status plan(ntk_context *context, const char *path, int64_t block, kernel *k) {
  ntk_status status = NTK_SUCCESS;
  ntk_numeric *p = &k->numeric;
  NTK_TRY(ntk_model_read(context, path, NULL, &k->model));
  NTK_TRY(ntk_calibrate(context, NULL, false, &k->rates));
  NTK_TRY(create_network(k));
  NTK_TRY(ntk_numeric_choose(&k->network, k->samples, k->samples, true, &k->rates, block, 0,
                             p));
  k->spec = (ntk_engine_spec){.network = &k->network,
                              .algorithm = p->algorithm,
                              .form = ntk_form_of(p->reduction),
                              .scale = 1,
                              .block = p->block < k->samples ? p->block : k->samples,
                              .outputs_block = p->outputs_block,
                              .sweep_samples = p->sweep_samples,
                              .orders = p->orders};
done:
  return status;
}

static double contraction_flops(const kernel *k) {
  const ntk_cost_shape shape =
      ntk_numeric_cost_shape(&k->numeric, k->samples, k->samples, true);
  double flops = 0;
  for (int i = 0; i < k->network.groups->count; i++)
    flops += ntk_cost_of(&k->network.groups->groups[i], k->numeric.orders[i], &shape,
                         &k->rates, k->network.constants[i].count)
                 .flops;
  return flops;
}

static double block_bytes(const kernel *k, int64_t n, int64_t o) {
  return (double)ntk_block_bytes(&k->spec, n, o);
}
static double packed_bytes(const kernel *k, int64_t n, int64_t o) {
  return (double)ntk_packed_bytes(&k->spec, 0, n, o);
}
/* A quantity's part for each sample, and for each sample and output. */
static void print_growth(const kernel *k, const char *name,
                         double (*of)(const kernel *, int64_t, int64_t)) {
  const int64_t n = k->spec.block, o = k->spec.outputs_block;
  const double all = of(k, n, o) / (double)n;
  const double output = o > 1 ? (all - of(k, n, 1) / (double)n) / (double)(o - 1) : 0;
  (void)printf("%s-sample %.17g\n%s-output %.17g\n", name, all - output * (double)o, name,
               output);
}

static ntk_status print(const kernel *k) {
  ntk_status status = NTK_SUCCESS;
  const ntk_numeric *p = &k->numeric;
  const double N = (double)k->samples, O = (double)p->outputs;
  double flops;
  int64_t bytes;
  NTK_TRY(ntk_sample_sweep_flops(&k->spec, &flops));
  NTK_TRY(ntk_engine_bytes(&k->spec, &bytes));
  (void)printf("reduction %d\nsamples %" PRId64 "\noutputs %" PRId64 "\nblock %" PRId64
               "\noutputs-block %" PRId64 "\n",
               (int)p->reduction, k->samples, p->outputs, p->block, p->outputs_block);
  (void)printf("pair-flops %.17g\n", contraction_flops(k) / (N * N / 2 * O) /
                                         (p->reduction == NTK_REDUCE_NONE ? O : 1));
  print_growth(k, "block-bytes", block_bytes);
  print_growth(k, "packed-bytes", packed_bytes);
  /* as many of a large product take as long */
  (void)printf("sweep-flops %.17g\n", flops / (double)p->outputs_block / NTK_SWEEP_SHARE);
  (void)printf("engine-bytes %" PRId64 "\nparameter-bytes %" PRId64 "\n", bytes,
               ntk_model_get_info(k->model).parameters * 4);
done:
  return status;
}

static ntk_status run(char **words) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = NULL;
  kernel k = {.samples = strtoll(words[2], NULL, 10)};
  k.numeric = (ntk_numeric){.algorithm = NTK_ALGORITHM_STRUCTURED, .dtype = NTK_F32};
  while (strcmp(words[4], ntk_reduction_name(k.numeric.reduction)) != 0)
    k.numeric.reduction++;
  NTK_TRY(ntk_context_create(MPI_COMM_SELF, NULL, &context));
  NTK_TRY(plan(context, words[1], strtoll(words[3], NULL, 10), &k));
  NTK_TRY(print(&k));
done:
  if (status != NTK_SUCCESS)
    (void)fprintf(stderr, "%s\n", ntk_context_error(context));
  ntk_network_destroy(&k.network);
  ntk_net_destroy(&k.net);
  ntk_numeric_clear(&k.numeric);
  ntk_rates_clear(&k.rates);
  ntk_model_destroy(&k.model);
  ntk_context_destroy(&context);
  return status;
}

int main(int count, char **words) {
  int threads;
  if (count != 5 || MPI_Init_thread(&count, &words, MPI_THREAD_FUNNELED, &threads) != 0)
    return 2;
  const int code = ntk_status_exit_code(run(words));
  (void)MPI_Finalize();
  return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "autodiff/sweep.h"
#include "base/memory.h"
#include "io/store.h"
#include "job/plan.h"
#include "job/provenance.h"
#include "job/weights.h"
#include "tensor/blas.h"

/* Samples of one sweep; ranks take such pieces in turn. */
enum { PIECE = 128 };

typedef struct pass {
  ntk_context *context;
  ntk_data *data;
  ntk_dtype dtype;
  int64_t O;
  ntk_weights weights;
  ntk_sweep *sweep;
  void *inputs;    /* [PIECE, size of a sample] */
  double *outputs; /* [PIECE, O] */
  ntk_store *store;
  int64_t correct;
} pass;

static ntk_status allocate(pass *p, const ntk_graph *graph) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = ntk_graph_inputs(graph);
  NTK_TRY(ntk_sweep_create(p->weights.net, (ntk_sweep_limits){.samples = PIECE}, NULL,
                           &p->sweep));
  NTK_TRY(
      ntk_malloc(NTK_MEMORY_SWEEP, PIECE * size, ntk_dtype_bytes(p->dtype), &p->inputs));
  NTK_TRY(ntk_malloc(NTK_MEMORY_SWEEP, PIECE * p->O, sizeof(double), &p->outputs));
done:
  return status;
}

static ntk_status count_correct(pass *p, int64_t first, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  int64_t labels[PIECE];
  if (p->data->labels != NTK_LABELS_CLASSES)
    return NTK_SUCCESS;
  NTK_TRY(ntk_data_labels(p->data, first, n, labels));
  for (int64_t i = 0; i < n; i++) {
    const double *row = p->outputs + i * p->O;
    int64_t best = 0;
    for (int64_t k = 1; k < p->O; k++)
      if (row[k] > row[best])
        best = k;
    p->correct += best == labels[i];
  }
done:
  return status;
}

static ntk_status run_pieces(pass *p) {
  ntk_status status = NTK_SUCCESS;
  const int64_t N = ntk_data_samples(p->data), stride = (int64_t)PIECE * p->context->size;
  for (int64_t i = (int64_t)PIECE * p->context->rank; i < N; i += stride) {
    const int64_t n = N - i < PIECE ? N - i : PIECE;
    NTK_TRY(ntk_data_slice(p->data, i, n, p->dtype, p->inputs));
    NTK_TRY(ntk_sweep_forward_rows(p->sweep, n, p->inputs, p->data->first + i));
    ntk_sweep_outputs(p->sweep, p->outputs);
    NTK_TRY(count_correct(p, i, n));
    NTK_TRY(ntk_store_write_outputs(p->store, 0, i, n, p->outputs));
  }
done:
  return status;
}

static ntk_status create_store(pass *p, const ntk_model *model, const char *path) {
  ntk_status status = NTK_SUCCESS;
  ntk_text hosts = {0}, provenance = {0};
  NTK_TRY(ntk_hosts(p->context, &hosts));
  const ntk_origin origin = {
      .context = p->context, .model = model, .rows = p->data, .hosts = hosts.data};
  if (p->context->rank == 0)
    status = ntk_provenance_write(&origin, &provenance);
  NTK_TRY(ntk_agree(p->context->comm, status));
  NTK_TRY(ntk_forward_store_create(p->context, path, p->data, p->O, p->dtype,
                                   provenance.data, &p->store));
done:
  ntk_text_clear(&hosts);
  ntk_text_clear(&provenance);
  return status;
}

ntk_status ntk_forward_to_file(ntk_model *model, ntk_data *data, const char *options,
                               const char *path, double *accuracy) {
  ntk_status status = NTK_SUCCESS;
  ntk_options *parsed = NULL;
  pass p = {.context = model->context, .data = data};
  const int threads = ntk_blas_set_threads(1);
  const int64_t bytes = ntk_data_samples(data) * ntk_graph_outputs(model->graph) * 8;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("forward"), options, &parsed));
  p.dtype = ntk_options_string(parsed, "dtype")[1] == '6' ? NTK_F64 : NTK_F32;
  p.O = ntk_graph_outputs(model->graph);
  status = ntk_model_check_weights(model);
  if (status == NTK_SUCCESS)
    status = ntk_data_refresh(data);
  NTK_TRY(ntk_agree(model->context->comm, status));
  NTK_TRY(ntk_model_settle(model));
  NTK_TRY(ntk_data_fits(data, model));
  NTK_TRY(ntk_store_check(p.context, path, bytes));
  NTK_TRY(ntk_weights_create(p.context, model->graph, p.dtype, &p.weights));
  NTK_TRY(ntk_agree(p.context->comm, allocate(&p, model->graph)));
  NTK_TRY(create_store(&p, model, path));
  status = ntk_agree(p.context->comm, run_pieces(&p));
  if (status != NTK_SUCCESS)
    status = ntk_store_abandon(&p.store, status);
  NTK_TRY(status);
  NTK_TRY(ntk_store_close(&p.store, true, NULL));
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, &p.correct, 1, MPI_INT64_T, MPI_SUM, p.context->comm));
  if (accuracy)
    *accuracy = data->labels == NTK_LABELS_CLASSES
                    ? (double)p.correct / (double)ntk_data_samples(data)
                    : -1;
done:
  (void)ntk_blas_set_threads(threads);
  ntk_sweep_destroy(&p.sweep);
  ntk_weights_destroy(&p.weights);
  ntk_free(&p.inputs);
  ntk_free(&p.outputs);
  ntk_options_destroy(&parsed);
  return status;
}

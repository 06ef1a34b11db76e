/* SPDX-License-Identifier: Apache-2.0 */
/* What a run says to machines: one JSON object each, NTK_REPORT_RECORD. */
#include "base/text.h"
#include "job/journal.h"
#include "job/predict.h"
#include "job/provenance.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <scantk/version.h>

static ntk_status begin(const char *event, ntk_text *text) {
  char date[32];
  return ntk_text_add(text, "{\"event\": \"%s\", \"time\": \"%s\"", event,
                      ntk_utc_now(date));
}

static ntk_status add_word(ntk_text *text, const char *name, const char *value) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, ", \"%s\": ", name));
  NTK_TRY(ntk_text_add_json(text, value));
done:
  return status;
}

/* A record is no reason to fail: without memory for it there is none. */
static void hand_over(const ntk_context *context, ntk_status status, ntk_text *text) {
  if (status == NTK_SUCCESS)
    ntk_say(context, NTK_REPORT_RECORD, "%s}", text->data);
  ntk_text_clear(text);
}

static ntk_status add_run(const ntk_context *c, const ntk_journal_start *start,
                          ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  char cores[NTK_CORES_TEXT];
  NTK_TRY(add_word(text, "version", ntk_version()));
  NTK_TRY(add_word(text, "command", start->command_line));
  NTK_TRY(add_word(text, "job", ntk_job_id()));
  NTK_TRY(add_word(text, "hosts", start->hosts));
  NTK_TRY(ntk_text_add(text, ", \"ranks\": %d, \"threads\": %d", c->size,
                       omp_get_max_threads()));
  (void)ntk_cores(cores);
  NTK_TRY(add_word(text, "cores", cores));
  NTK_TRY(add_word(text, "blas", ntk_blas_name()));
done:
  return status;
}

static ntk_status add_kernel(const ntk_plan *plan, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_job_shape *s = &plan->shape;
  const ntk_model_info info = ntk_model_get_info(plan->model);
  NTK_TRY(add_word(text, "model", plan->model->path));
  NTK_TRY(ntk_text_add(text,
                       ", \"parameters\": %" PRId64 ", \"samples\": [%" PRId64 ", %" PRId64
                       "], \"outputs\": %" PRId64 ", \"symmetric\": %s",
                       info.parameters, s->rows, s->columns, plan->kernel_outputs,
                       s->symmetric ? "true" : "false"));
  NTK_TRY(add_word(text, "reduction", ntk_reduction_name(s->reduction)));
  NTK_TRY(add_word(text, "dtype", ntk_dtype_name(s->dtype)));
  NTK_TRY(add_word(text, "algorithm", ntk_algorithm_name(plan->numeric.algorithm)));
  NTK_TRY(ntk_text_add(text,
                       ", \"grid\": [%d, %d, %d], \"block\": [%" PRId64 ", %" PRId64
                       "], \"panel\": %" PRId64 ", \"passes\": %d, \"tiles\": %" PRId64,
                       plan->layout.grid_rows, plan->layout.grid_columns,
                       plan->layout.grid_depth, s->block, s->outputs_block,
                       plan->layout.panel, plan->layout.passes, ntk_job_tiles(s)));
done:
  return status;
}

static ntk_status add_costs(const ntk_plan *plan, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_memory_terms *m = &plan->memory;
  ntk_prediction p;
  ntk_predict(plan, &p);
  NTK_TRY(ntk_text_add(text, ", \"memory\": {\"cap\": %" PRId64, plan->cap));
  NTK_TRY(add_word(text, "bound_by", plan->cap_bound_by));
  NTK_TRY(ntk_text_add(
      text,
      ", \"parameters\": %" PRId64 ", \"panel\": %" PRId64 ", \"column\": %" PRId64
      ", \"sweeps\": %" PRId64 ", \"tiles\": %" PRId64 ", \"exchange\": %" PRId64
      ", \"libraries\": %" PRId64 "}",
      m->parameters, m->panel, m->column, m->sweeps, m->tiles, m->exchange, m->libraries));
  NTK_TRY(ntk_text_add(text,
                       ", \"predicted\": {\"sweeps\": %.6g, \"contraction\": %.6g, "
                       "\"write\": %.6g}",
                       p.sweeps, p.contraction, p.writing));
done:
  return status;
}

static ntk_status add_output(const ntk_journal_start *start, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(add_word(text, "output", start->path));
  NTK_TRY(ntk_text_add(text, ", \"file_bytes\": %" PRId64, start->file_bytes));
  NTK_TRY(add_word(text, "store", start->half ? "half" : "full"));
  NTK_TRY(add_word(text, "file_system", start->file_system));
  if (isfinite(start->free_bytes))
    NTK_TRY(ntk_text_add(text, ", \"free_bytes\": %.0f", start->free_bytes));
  else
    NTK_TRY(add_word(text, "free_bytes", NULL));
done:
  return status;
}

void ntk_record_open(const ntk_plan *plan, const ntk_journal_start *start) {
  ntk_status status = NTK_SUCCESS;
  ntk_text text = {0};
  NTK_TRY(begin("header", &text));
  NTK_TRY(add_run(plan->context, start, &text));
  NTK_TRY(add_kernel(plan, &text));
  NTK_TRY(add_costs(plan, &text));
  NTK_TRY(add_output(start, &text));
done:
  hand_over(plan->context, status, &text);
}

void ntk_record_close(const ntk_plan *plan, const ntk_journal_end *end) {
  ntk_status status = NTK_SUCCESS;
  ntk_text text = {0};
  NTK_TRY(begin("phases", &text));
  NTK_TRY(ntk_text_add(&text, ", \"seconds\": {"));
  for (int i = 0; i < NTK_PHASES; i++)
    NTK_TRY(ntk_text_add(&text, "%s\"%s\": [%.6g, %.6g, %.6g]", i ? ", " : "",
                         ntk_phase_name((ntk_phase)i), end->phases[i].min,
                         end->phases[i].mean, end->phases[i].max));
  NTK_TRY(ntk_text_add(&text,
                       "}, \"whole\": %.6g, \"gflops\": %.6g, \"gemm_gflops\": %.6g, "
                       "\"swept_flops\": %.6g, \"sent_bytes\": %.17g, \"hidden\": %.4g, "
                       "\"minimal_flops\": %.17g, \"peak_bytes\": "
                       "[%" PRId64 ", %" PRId64 "]",
                       end->seconds, end->gflops, end->gemm_gflops, end->swept_flops,
                       end->sent_bytes, end->hidden, plan->minimal_flops,
                       end->least_peak_bytes, end->peak_bytes));
done:
  hand_over(plan->context, status, &text);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "job/provenance.h"
#include "base/memory.h"
#include "dist/shares.h"
#include "graph/graph.h"
#include "io/store.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <omp.h>
#include <scantk/version.h>
#include <string.h>
#include <time.h>

/* ---- digests --------------------------------------------------------------------------
 */

/* Adds a number of 128 bits, low and high. */
static void add_words(const uint64_t *number, uint64_t sum[2]) {
  const uint64_t low = sum[0] + number[0];
  sum[1] += number[1] + (low < sum[0]);
  sum[0] = low;
}

/* The sum of all ranks', on rank 0. */
static ntk_status add_ranks(const ntk_context *context, uint64_t sum[2]) {
  ntk_status status = NTK_SUCCESS;
  uint64_t(*sums)[2] = NULL;
  if (context->rank == 0)
    status = ntk_malloc(NTK_MEMORY_GENERAL, context->size, sizeof *sums, &sums);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY_MPI(MPI_Gather(sum, 2, MPI_UINT64_T, sums, 2, MPI_UINT64_T, 0, context->comm));
  for (int r = 1; sums && r < context->size; r++)
    add_words(sums[r], sum);
done:
  ntk_free(&sums);
  return status;
}

ntk_status ntk_digests_create(ntk_context *context, ntk_data *data, ntk_dtype dtype,
                              ntk_digests *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n = ntk_data_samples(data);
  const double start = ntk_seconds();
  ntk_digest_share *mine = &out->mine;
  mine->first = ntk_share_first(n, context->rank, context->size);
  mine->count = ntk_share_first(n, context->rank + 1, context->size) - mine->first;
  status = ntk_malloc(NTK_MEMORY_GENERAL, mine->count, sizeof *mine->values, &mine->values);
  if (status == NTK_SUCCESS)
    status = ntk_data_digest(data, mine->first, mine->count, dtype, mine->values);
  NTK_TRY(ntk_agree(context->comm, status));
  for (int64_t i = 0; i < mine->count; i++)
    add_words(mine->values[i], out->sum);
  NTK_TRY(add_ranks(context, out->sum));
done:
  (void)ntk_phase_add(context, NTK_PHASE_READ, start);
  return status;
}

void ntk_digests_clear(ntk_digests *digests) { ntk_free(&digests->mine.values); }

/* ---- hosts and time -------------------------------------------------------------------
 */

ntk_status ntk_hosts(ntk_context *context, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  char name[MPI_MAX_PROCESSOR_NAME + 1] = "";
  char(*names)[MPI_MAX_PROCESSOR_NAME + 1] = NULL;
  int length;
  NTK_TRY_MPI(MPI_Get_processor_name(name, &length));
  if (context->rank == 0)
    status = ntk_calloc(NTK_MEMORY_GENERAL, context->size, sizeof *names, &names);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY_MPI(MPI_Gather(name, (int)sizeof name, MPI_CHAR, names, (int)sizeof name,
                         MPI_CHAR, 0, context->comm));
  for (int i = 0; names && status == NTK_SUCCESS && i < context->size; i++) {
    int ranks = 1;
    if (!*names[i])
      continue;
    for (int k = i + 1; k < context->size; k++)
      if (strcmp(names[i], names[k]) == 0) {
        *names[k] = '\0';
        ranks++;
      }
    status = ntk_text_add(text, "%s%s x%d", text->length ? ", " : "", names[i], ranks);
  }
  NTK_TRY(ntk_agree(context->comm, status));
done:
  ntk_free(&names);
  return status;
}

const char *ntk_utc_now(char buffer[32]) {
  const time_t now = time(NULL);
  struct tm utc;
  (void)gmtime_r(&now, &utc);
  (void)strftime(buffer, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return buffer;
}

/* ---- JSON -----------------------------------------------------------------------------
 */

static ntk_status add_word(ntk_text *text, const char *name, const char *value) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "  \"%s\": ", name));
  NTK_TRY(ntk_text_add_json(text, value ? value : ""));
  NTK_TRY(ntk_text_add(text, ",\n"));
done:
  return status;
}

static ntk_status write_run(const ntk_origin *o, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  char date[32], mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length;
  (void)MPI_Get_library_version(mpi, &length);
  mpi[strcspn(mpi, "\n,")] = '\0';
  NTK_TRY(add_word(text, "format",
                   o->format ? o->format
                   : o->plan ? "scantk-kernel 1"
                             : "scantk-outputs 1"));
  NTK_TRY(add_word(text, "program", ntk_version()));
  NTK_TRY(add_word(text, "command", o->command_line));
  NTK_TRY(add_word(text, "date", ntk_utc_now(date)));
  NTK_TRY(add_word(text, "hosts", o->hosts));
  NTK_TRY(ntk_text_add(text, "  \"ranks\": %d,\n  \"threads\": %d,\n", o->context->size,
                       omp_get_max_threads()));
  NTK_TRY(add_word(text, "mpi", mpi));
  NTK_TRY(add_word(text, "hdf5", ntk_store_library()));
  NTK_TRY(add_word(text, "blas", ntk_blas_name()));
done:
  return status;
}

static ntk_status write_model(const ntk_model *m, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  bool first = true;
  NTK_TRY(add_word(text, "model", m->path));
  NTK_TRY(add_word(text, "model_sha256", m->sha256));
  NTK_TRY(add_word(text, "model_options", m->options));
  NTK_TRY(add_word(text, "batch_axis", m->batch_axis));
  NTK_TRY(add_word(text, "output_name", m->output));
  NTK_TRY(add_word(text, "parameters_file", m->parameters_path));
  NTK_TRY(add_word(text, "parameters_digest", m->parameter_digest));
  NTK_TRY(add_word(text, "other_tensors_digest", m->others_digest));
  NTK_TRY(ntk_text_add(text, "  \"parameters\": ["));
  for (int i = 0; i < m->source_count; i++) {
    if (!m->sources[i].is_parameter)
      continue;
    NTK_TRY(ntk_text_add(text, first ? "" : ", "));
    NTK_TRY(ntk_text_add_json(text, m->sources[i].name));
    first = false;
  }
  NTK_TRY(ntk_text_add(text, "]"));
done:
  return status;
}

static ntk_status write_data(const ntk_data *d, const char *name,
                             const ntk_digests *digests, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, ",\n  \"%s\": {\"path\": ", name));
  NTK_TRY(ntk_text_add_json(text, d->path));
  NTK_TRY(ntk_text_add(text, ", \"range\": [%" PRId64 ", %" PRId64 "]", d->first,
                       d->first + d->samples));
  if (digests)
    NTK_TRY(ntk_text_add(text, ", \"digest\": \"%016" PRIx64 "%016" PRIx64 "\"",
                         digests->sum[1], digests->sum[0]));
  NTK_TRY(ntk_text_add(text, "}"));
done:
  return status;
}

static ntk_status write_plan(const ntk_plan *p, ntk_text *text) {
  return ntk_text_add(
      text,
      ",\n  \"algorithm\": \"%s\",\n  \"dtype\": \"%s\",\n  \"reduction\": \"%s\",\n"
      "  \"reduction_scale\": \"%s\",\n  \"grid\": [%d, %d, %d],\n  \"block\": [%" PRId64
      ", %" PRId64 "],\n  \"memory_cap\": %" PRId64 ",\n  \"minimal_flops\": %.17g",
      ntk_algorithm_name(p->numeric.algorithm), ntk_dtype_name(p->numeric.dtype),
      ntk_reduction_name(p->numeric.reduction), p->numeric.trace_sum ? "sum" : "mean",
      p->layout.grid_rows, p->layout.grid_columns, p->layout.grid_depth, p->numeric.block,
      p->numeric.outputs_block, p->cap, p->minimal_flops);
}

ntk_status ntk_provenance_write(const ntk_origin *o, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "{\n"));
  NTK_TRY(write_run(o, text));
  NTK_TRY(write_model(o->model, text));
  NTK_TRY(write_data(o->rows, "inputs1", o->digests, text));
  if (o->columns)
    NTK_TRY(write_data(o->columns, "inputs2", o->digests ? o->digests + 1 : NULL, text));
  for (int side = 0; o->plan && side < 2; side++)
    if (o->plan->cotangents.sides[side])
      NTK_TRY(write_data(o->plan->cotangents.sides[side],
                         side == 0 ? "cotangents1" : "cotangents2",
                         &o->cotangent_digests[side], text));
  if (o->plan)
    NTK_TRY(write_plan(o->plan, text));
  if (o->plan) {
    NTK_TRY(ntk_text_add(text, ",\n  \"groups\": "));
    NTK_TRY(ntk_text_add_json(text, o->plan->groups.text));
  }
  NTK_TRY(ntk_text_add(text, "\n}\n"));
done:
  return status;
}

int64_t ntk_provenance_room(const ntk_model *model, int64_t length) {
  const int64_t unit = 16384;
  int64_t names = 0;
  for (int i = 0; i < model->source_count; i++)
    if (model->sources[i].is_parameter)
      names += (int64_t)strlen(model->sources[i].name) + 4; /* "", and a blank */
  return names + ntk_job_blocks(length - names + 1, unit) * unit;
}

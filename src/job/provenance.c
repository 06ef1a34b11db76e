/* SPDX-License-Identifier: Apache-2.0 */
#include "job/provenance.h"
#include "base/memory.h"
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

static int64_t share_start(int64_t n, int rank, int size) {
  return n / size * rank + (rank < n % size ? rank : n % size);
}

static ntk_status gather(ntk_context *context, int64_t n, uint64_t (*mine)[2],
                         ntk_digests *out) {
  ntk_status status = NTK_SUCCESS;
  int *counts = NULL, *offsets = NULL;
  MPI_Datatype pair = MPI_DATATYPE_NULL;
  status = ntk_malloc(NTK_MEMORY_GENERAL, context->size, sizeof *counts, &counts);
  if (status == NTK_SUCCESS)
    status = ntk_malloc(NTK_MEMORY_GENERAL, context->size, sizeof *offsets, &offsets);
  if (status == NTK_SUCCESS && context->rank == 0)
    status = ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof *out->each, &out->each);
  NTK_TRY(ntk_agree(context->comm, status));
  for (int r = 0; r < context->size; r++) {
    offsets[r] = (int)share_start(n, r, context->size);
    counts[r] = (int)share_start(n, r + 1, context->size) - offsets[r];
  }
  NTK_TRY_MPI(MPI_Type_contiguous(2, MPI_UINT64_T, &pair));
  NTK_TRY_MPI(MPI_Type_commit(&pair));
  NTK_TRY_MPI(MPI_Gatherv(mine, counts[context->rank], pair, out->each, counts, offsets,
                          pair, 0, context->comm));
done:
  if (pair != MPI_DATATYPE_NULL)
    (void)MPI_Type_free(&pair);
  ntk_free(&counts);
  ntk_free(&offsets);
  return status;
}

ntk_status ntk_digests_create(ntk_context *context, ntk_data *data, ntk_dtype dtype,
                              ntk_digests *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n = ntk_data_samples(data);
  const int64_t first = share_start(n, context->rank, context->size);
  const int64_t count = share_start(n, context->rank + 1, context->size) - first;
  const double start = ntk_seconds();
  uint64_t(*mine)[2] = NULL;
  NTK_REQUIRE(n <= INT32_MAX, NTK_ERR_UNSUPPORTED, "more than 2^31 samples");
  status = ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *mine, &mine);
  if (status == NTK_SUCCESS)
    status = ntk_data_digest(data, first, count, dtype, mine);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(gather(context, n, mine, out));
  for (int64_t i = 0; out->each && i < n; i++) {
    const uint64_t low = out->sum[0] + out->each[i][0];
    out->sum[1] += out->each[i][1] + (low < out->sum[0]);
    out->sum[0] = low;
  }
done:
  (void)ntk_phase_add(context, NTK_PHASE_READ, start);
  ntk_free(&mine);
  return status;
}

void ntk_digests_clear(ntk_digests *digests) { ntk_free(&digests->each); }

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
  NTK_TRY(add_word(text, "format", o->plan ? "scantk-kernel 1" : "scantk-outputs 1"));
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
  NTK_TRY(add_word(text, "parameters_digest", m->parameter_digest));
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
      "  \"reduction_scale\": \"%s\",\n  \"grid\": [%d, %d],\n  \"block\": [%" PRId64
      ", %" PRId64 "],\n  \"memory_cap\": %" PRId64 ",\n  \"minimal_flops\": %.17g",
      ntk_algorithm_name(p->numeric.algorithm), ntk_dtype_name(p->numeric.dtype),
      ntk_reduction_name(p->numeric.reduction), p->numeric.trace_sum ? "sum" : "mean",
      p->layout.grid_rows, p->layout.grid_columns, p->numeric.block,
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
  NTK_TRY(ntk_text_add(text, "\n}\n"));
done:
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "io/rows.h"
#include "base/memory.h"
#include "dist/shares.h"
#include "io/h5.h"
#include "io/results.h"
#include <unistd.h>

/* Rank 0's way with one file. */
typedef struct writer {
  ntk_context *context;
  const ntk_rows_spec *spec;
  ntk_results *results;
  double *share; /* of another rank */
} writer;

static int64_t elements_of(const ntk_rows *r, int64_t count) {
  return (r->vectors > 0 ? r->vectors : 1) * count * r->outputs;
}

static ntk_shape shape_of(const ntk_rows *r) {
  return r->vectors > 0 ? (ntk_shape){3, {r->vectors, r->rows, r->outputs}}
                        : (ntk_shape){2, {r->rows, r->outputs}};
}

static ntk_status put_arrays(const writer *w) {
  ntk_status status = NTK_SUCCESS;
  const ntk_rows_spec *s = w->spec;
  for (int i = 0; i < s->row_count; i++) {
    const ntk_shape shape = shape_of(&s->rows[i]);
    NTK_TRY(ntk_results_put(w->results, s->rows[i].name, NTK_F64, &shape, NULL));
  }
  for (int i = 0; i < s->list_count; i++) {
    const ntk_shape shape = {1, {s->lists[i].count}};
    NTK_TRY(
        ntk_results_put(w->results, s->lists[i].name, NTK_F64, &shape, s->lists[i].values));
  }
  for (int i = 0; i < s->note_count; i++)
    NTK_TRY(ntk_results_put_text(w->results, s->notes[i].name, s->notes[i].text));
done:
  return status;
}

static ntk_status begin(writer *w, const char *path) {
  ntk_status status = NTK_SUCCESS;
  static const char *const axes[] = {"ridge", ".", "."};
  int64_t bytes = 1 << 16;
  for (int i = 0; i < w->spec->row_count; i++)
    bytes += elements_of(&w->spec->rows[i], w->spec->rows[i].rows) * 8;
  NTK_TRY(ntk_results_create(path, w->spec->format, bytes, &w->results));
  if (w->spec->signal)
    NTK_TRY(ntk_results_plot(w->results, w->spec->signal, 3, axes));
  NTK_TRY(put_arrays(w));
done:
  return status;
}

static ntk_status put_share(const writer *w, const ntk_rows *r, const int64_t share[2],
                            const double *values) {
  return share[1] == 0 ? NTK_SUCCESS
                       : ntk_results_write(w->results, r->name, r->vectors > 0, share[0],
                                           share[1], values);
}

/* Rank 0 keeps on receiving where it could not write. */
static ntk_status take_shares(writer *w, const ntk_rows *r) {
  ntk_status status = NTK_SUCCESS, written = NTK_SUCCESS;
  MPI_Comm comm = w->context->comm;
  int64_t share[2] = {r->first, r->count};
  if (w->context->rank != 0) {
    NTK_TRY_MPI(MPI_Send(share, 2, MPI_INT64_T, 0, 0, comm));
    NTK_TRY(ntk_exchange(comm, r->values, elements_of(r, r->count) * 8, 0, NULL, 0, 0));
    goto done;
  }
  written = put_share(w, r, share, r->values);
  for (int rank = 1; rank < w->context->size; rank++) {
    NTK_TRY_MPI(MPI_Recv(share, 2, MPI_INT64_T, rank, 0, comm, MPI_STATUS_IGNORE));
    NTK_TRY(ntk_exchange(comm, NULL, 0, 0, w->share, elements_of(r, share[1]) * 8, rank));
    if (written == NTK_SUCCESS)
      written = put_share(w, r, share, w->share);
  }
  status = written;
done:
  return status;
}

static ntk_status find_room(writer *w) {
  ntk_status status = NTK_SUCCESS;
  int64_t most = 0;
  for (int i = 0; i < w->spec->row_count; i++) {
    const int64_t elements = elements_of(&w->spec->rows[i], w->spec->rows[i].count);
    most = elements > most ? elements : most;
  }
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, w->context->comm));
  if (w->context->rank == 0)
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, most, sizeof(double), &w->share));
done:
  return status;
}

ntk_status ntk_rows_write(ntk_context *context, const char *path,
                          const ntk_rows_spec *spec) {
  ntk_status status = NTK_SUCCESS;
  writer w = {.context = context, .spec = spec};
  NTK_TRY(ntk_agree(context->comm, find_room(&w)));
  if (context->rank == 0)
    status = begin(&w, path);
  NTK_TRY(ntk_agree(context->comm, status));
  for (int i = 0; i < spec->row_count; i++)
    NTK_TRY(ntk_agree(context->comm, take_shares(&w, &spec->rows[i])));
  NTK_TRY(ntk_agree(context->comm, ntk_results_close(&w.results, NTK_SUCCESS)));
done:
  status = ntk_results_close(&w.results, status);
  ntk_free(&w.share);
  return status;
}

/* ---- reading --------------------------------------------------------------------------
 */

static ntk_status open_array(const char *path, const char *name, hid_t *file,
                             hid_t *dataset) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(access(path, R_OK) == 0, NTK_ERR_FILE, "%s: cannot be read", path);
  NTK_OPEN_H5(path, *file, H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT));
  NTK_REQUIRE(ntk_h5_has(*file, name), NTK_ERR_FORMAT, "%s: there is no %s", path, name);
  NTK_OPEN_H5(path, *dataset, H5Dopen2(*file, name, H5P_DEFAULT));
done:
  return status;
}

ntk_status ntk_rows_shape(const char *path, const char *name, ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  hid_t file = 0, dataset = 0;
  NTK_TRY(open_array(path, name, &file, &dataset));
  NTK_TRY(ntk_h5_shape(path, dataset, shape));
done:
  ntk_h5_close(&dataset);
  ntk_h5_close(&file);
  return status;
}

ntk_status ntk_rows_read(const char *path, const char *name, int64_t first, int64_t count,
                         double *values) {
  ntk_status status = NTK_SUCCESS;
  hid_t file = 0, dataset = 0;
  int64_t at[NTK_MAX_DIMS] = {0};
  ntk_shape shape;
  NTK_TRY(open_array(path, name, &file, &dataset));
  NTK_TRY(ntk_h5_shape(path, dataset, &shape));
  if (count > 0) {
    at[shape.ndim - 2] = first;
    shape.dim[shape.ndim - 2] = count;
  }
  NTK_TRY(ntk_h5_read_box(path, dataset, shape.ndim, at, shape.dim, NTK_F64, values));
done:
  ntk_h5_close(&dataset);
  ntk_h5_close(&file);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Samples in the memory of ranks, read where they stand. */
#include "base/memory.h"
#include "io/source.h"

/* Bytes of another rank's rows that are fetched at a time. */
enum { PIECE_BYTES = 1 << 20 };

typedef struct rows_source {
  ntk_data_source source; /* first: it is a source */
  ntk_context *context;   /* borrowed */
  const char *rows;       /* of this rank */
  int64_t *starts;        /* [ranks + 1] number of each rank's first sample */
  int64_t row_bytes;
  MPI_Win window; /* MPI_WIN_NULL: this rank is alone */
  bool is_open;
} rows_source;

/* Elements of another rank's rows, from byte `at` of them on, piece by piece. */
static ntk_status fetch(const rows_source *s, int owner, int64_t at, int64_t count,
                        ntk_dtype dtype, char *to) {
  ntk_status status = NTK_SUCCESS;
  const ntk_dtype from = s->source.dtype;
  const int64_t bytes = (int64_t)ntk_dtype_bytes(from), most = PIECE_BYTES / bytes;
  char *piece = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, count < most ? count : most, (size_t)bytes, &piece));
  for (int64_t i = 0; i < count; i += most) {
    const int64_t n = count - i < most ? count - i : most;
    NTK_TRY_MPI(MPI_Get(piece, (int)(n * bytes), MPI_BYTE, owner,
                        (MPI_Aint)(at + i * bytes), (int)(n * bytes), MPI_BYTE, s->window));
    NTK_TRY_MPI(MPI_Win_flush(owner, s->window));
    ntk_convert(from, piece, dtype, to, n);
    to += n * (int64_t)ntk_dtype_bytes(dtype);
  }
done:
  ntk_free(&piece);
  return status;
}

/* The rank that has a row: of those that begin there the last, as the others have none. */
static int owner_of(const rows_source *s, int64_t row) {
  int low = 0, high = s->context->size;
  while (high - low > 1) {
    const int middle = low + (high - low) / 2;
    if (s->starts[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static ntk_status rows_read(ntk_data_source *source, int64_t first, int64_t count,
                            ntk_dtype dtype, void *out) {
  ntk_status status = NTK_SUCCESS;
  const rows_source *s = (const rows_source *)source;
  const int64_t size = ntk_shape_size(&source->shape), end = first + count;
  char *to = out;
  for (int64_t row = first; row < end;) {
    const int owner = owner_of(s, row);
    const int64_t next = s->starts[owner + 1] < end ? s->starts[owner + 1] : end;
    const int64_t at = (row - s->starts[owner]) * s->row_bytes, n = (next - row) * size;
    if (owner == s->context->rank)
      ntk_convert(source->dtype, s->rows + at, dtype, to, n);
    else
      NTK_TRY(fetch(s, owner, at, n, dtype, to));
    to += n * (int64_t)ntk_dtype_bytes(dtype);
    row = next;
  }
done:
  return status;
}

/* What the owner wrote is what others get. */
static ntk_status rows_refresh(ntk_data_source *source) {
  ntk_status status = NTK_SUCCESS;
  const rows_source *s = (const rows_source *)source;
  if (s->window != MPI_WIN_NULL)
    NTK_TRY_MPI(MPI_Win_sync(s->window));
done:
  return status;
}

static void rows_close(ntk_data_source *source) {
  rows_source *s = (rows_source *)source;
  if (s->is_open)
    (void)MPI_Win_unlock_all(s->window);
  if (s->window != MPI_WIN_NULL)
    (void)MPI_Win_free(&s->window);
  ntk_free(&s->starts);
  ntk_free(&s);
}

/* ---- making ---------------------------------------------------------------------------
 */

/* Collective; all ranks fail or none. */
static ntk_status open_window(rows_source *s, int64_t samples) {
  ntk_status status = NTK_SUCCESS;
  const int64_t bytes = samples * s->row_bytes;
  if (s->context->size == 1)
    return NTK_SUCCESS;
  NTK_TRY_MPI(MPI_Win_create(bytes > 0 ? (void *)(uintptr_t)s->rows : NULL, (MPI_Aint)bytes,
                             1, MPI_INFO_NULL, s->context->comm, &s->window));
  NTK_TRY_MPI(MPI_Win_set_errhandler(s->window, MPI_ERRORS_RETURN));
  NTK_TRY_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, s->window));
  s->is_open = true;
done:
  return ntk_agree(s->context->comm, status);
}

static ntk_status number_rows(rows_source *s, int64_t samples) {
  ntk_status status = NTK_SUCCESS;
  const int ranks = s->context->size;
  NTK_TRY_MPI(MPI_Allgather(&samples, 1, MPI_INT64_T, s->starts + 1, 1, MPI_INT64_T,
                            s->context->comm));
  for (int r = 0; r < ranks; r++)
    s->starts[r + 1] += s->starts[r];
  s->source.samples = s->starts[ranks];
  NTK_REQUIRE(s->source.samples > 0, NTK_ERR_ARGUMENT, "no rank has samples");
done:
  return status;
}

static ntk_status allocate(ntk_context *context, rows_source **out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, 1, sizeof **out, out));
  (*out)->window = MPI_WIN_NULL;
  (*out)->context = context;
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, (int64_t)context->size + 1, sizeof(int64_t),
                     &(*out)->starts));
done:
  return status;
}

ntk_status ntk_data_from_rows(ntk_context *context, int64_t samples, ntk_dtype dtype,
                              int ndim, const int64_t *dims, const void *rows,
                              ntk_data **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_shape shape;
  rows_source *s = NULL;
  NTK_TRY(ntk_data_check_samples(context, samples, false, dtype, ndim, dims, &shape));
  status = allocate(context, &s);
  if (status == NTK_SUCCESS && !rows && samples > 0)
    status = ntk_fail(NTK_ERR_ARGUMENT, "the rows are NULL");
  NTK_TRY(ntk_agree(context->comm, status));
  s->source = (ntk_data_source){.format = "rows in memory",
                                .dtype = dtype,
                                .shape = shape,
                                .read = rows_read,
                                .refresh = rows_refresh,
                                .close = rows_close};
  s->rows = rows;
  s->row_bytes = ntk_shape_size(&shape) * (int64_t)ntk_dtype_bytes(dtype);
  NTK_TRY(number_rows(s, samples));
  NTK_TRY(open_window(s, samples));
  status = ntk_data_of(context, &s->source, NTK_SUCCESS, "caller's rows", out);
  s = NULL;
done:
  if (s)
    rows_close(&s->source);
  return status;
}

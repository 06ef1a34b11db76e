/* SPDX-License-Identifier: Apache-2.0 */
/* Samples of the caller's: what is said of them, and those that a function makes. */
#include "base/memory.h"
#include "io/source.h"
#include <inttypes.h>
#include <string.h>

/* Bytes of samples of another type than is wanted, at least a sample. */
enum { PIECE_BYTES = 1 << 20 };

/* ---- what is said of them -------------------------------------------------------------
 */

static ntk_status check_locally(int64_t samples, ntk_dtype dtype, int ndim,
                                const int64_t *dims, ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  const int64_t most = INT64_MAX / 64;
  int64_t elements = samples > 1 ? samples : 1;
  NTK_REQUIRE(samples >= 0, NTK_ERR_ARGUMENT, "data of %" PRId64 " samples", samples);
  NTK_REQUIRE((unsigned)dtype < (unsigned)NTK_DTYPES, NTK_ERR_ARGUMENT,
              "data of no known type (%d)", (int)dtype);
  NTK_REQUIRE(ndim >= 0 && ndim <= NTK_MAX_DIMS && (dims || ndim == 0), NTK_ERR_ARGUMENT,
              "samples of %d axes; 0 to %d are possible", ndim, NTK_MAX_DIMS);
  for (int i = 0; i < ndim; i++) {
    NTK_REQUIRE(dims[i] > 0 && elements <= most / dims[i], NTK_ERR_ARGUMENT,
                "axis %d of the samples has the size %" PRId64, i, dims[i]);
    elements *= dims[i];
    shape->dim[i] = dims[i];
  }
done:
  return status;
}

ntk_status ntk_data_check_samples(const ntk_context *context, int64_t samples, bool alike,
                                  ntk_dtype dtype, int ndim, const int64_t *dims,
                                  ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  enum { FACTS = NTK_MAX_DIMS + 3 };
  int64_t mine[FACTS] = {0}, theirs[FACTS];
  *shape = (ntk_shape){.ndim = ndim};
  NTK_TRY(ntk_agree(context->comm, check_locally(samples, dtype, ndim, dims, shape)));
  memcpy(mine, shape->dim, sizeof shape->dim);
  mine[FACTS - 3] = ndim;
  mine[FACTS - 2] = (int64_t)dtype;
  mine[FACTS - 1] = alike ? samples : 0;
  memcpy(theirs, mine, sizeof theirs);
  NTK_TRY_MPI(MPI_Bcast(theirs, FACTS, MPI_INT64_T, 0, context->comm));
  if (memcmp(mine, theirs, sizeof mine) != 0)
    status = ntk_fail(NTK_ERR_ARGUMENT, "the samples are of another %s than on rank 0",
                      mine[FACTS - 2] != theirs[FACTS - 2]   ? "type"
                      : mine[FACTS - 1] != theirs[FACTS - 1] ? "number"
                                                             : "shape");
  NTK_TRY(ntk_agree(context->comm, status));
done:
  return status;
}

/* ---- from a function ------------------------------------------------------------------
 */

typedef struct function_source {
  ntk_data_source source; /* first: it is a source */
  ntk_samples_fn fn;
  void *user;
} function_source;

static ntk_status call(const function_source *s, int64_t first, int64_t count, void *out) {
  const ntk_status status = s->fn(first, count, out, s->user);
  if (status == NTK_SUCCESS)
    return NTK_SUCCESS;
  return ntk_fail(status,
                  "the caller's function for samples returned: %s (samples %" PRId64
                  " to %" PRId64 ")",
                  ntk_status_text(status), first, first + count - 1);
}

static ntk_status function_read(ntk_data_source *source, int64_t first, int64_t count,
                                ntk_dtype dtype, void *out) {
  ntk_status status = NTK_SUCCESS;
  const function_source *s = (const function_source *)source;
  const int64_t size = ntk_shape_size(&source->shape);
  const int64_t bytes = size * (int64_t)ntk_dtype_bytes(source->dtype);
  const int64_t piece = bytes < PIECE_BYTES ? PIECE_BYTES / bytes : 1;
  char *to = out, *values = NULL;
  if (dtype == source->dtype)
    return call(s, first, count, out);
  NTK_TRY(
      ntk_malloc(NTK_MEMORY_DATA, piece < count ? piece : count, (size_t)bytes, &values));
  for (int64_t i = 0; i < count; i += piece) {
    const int64_t n = count - i < piece ? count - i : piece;
    NTK_TRY(call(s, first + i, n, values));
    ntk_convert(source->dtype, values, dtype, to, n * size);
    to += n * size * (int64_t)ntk_dtype_bytes(dtype);
  }
done:
  ntk_free(&values);
  return status;
}

static void function_close(ntk_data_source *source) {
  function_source *s = (function_source *)source;
  ntk_free(&s);
}

ntk_status ntk_data_from_function(ntk_context *context, int64_t samples, ntk_dtype dtype,
                                  int ndim, const int64_t *dims, ntk_samples_fn fn,
                                  void *user, ntk_data **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_shape shape;
  function_source *s = NULL;
  NTK_TRY(ntk_data_check_samples(context, samples, true, dtype, ndim, dims, &shape));
  NTK_REQUIRE(samples > 0, NTK_ERR_ARGUMENT, "data of no samples");
  status = ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *s, &s);
  if (status == NTK_SUCCESS) {
    *s = (function_source){.source = {.format = "a function",
                                      .dtype = dtype,
                                      .samples = samples,
                                      .shape = shape,
                                      .read = function_read,
                                      .close = function_close},
                           .fn = fn,
                           .user = user};
    if (!fn)
      status = ntk_fail(NTK_ERR_ARGUMENT, "the function for samples is NULL");
  }
  status = ntk_data_of(context, (ntk_data_source *)s, status, "caller's function", out);
done:
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* numpy.savez: a zip archive of npy files. */
#include "base/memory.h"
#include "io/checkpoint.h"
#include "io/npy.h"
#include "io/zip.h"
#include <string.h>

/* Leaves the reading behind the header. */
static ntk_status read_header(ntk_checkpoint *c, int entry, ntk_npy *npy) {
  ntk_status status = NTK_SUCCESS;
  const ntk_zip_entry *e = &ntk_zip_entries(c->state)[entry];
  unsigned char *header = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, NTK_NPY_HEADER, 1, &header));
  NTK_TRY(ntk_zip_start(c->state, entry));
  NTK_TRY(ntk_zip_read(c->state, header, 12));
  NTK_REQUIRE(ntk_npy_is(header, 12), NTK_ERR_FORMAT, "%s: '%s' is not an npy file",
              c->path, e->name);
  const int64_t bytes = ntk_npy_bytes(header);
  NTK_REQUIRE(bytes >= 12 && bytes <= NTK_NPY_HEADER, NTK_ERR_FORMAT,
              "%s: '%s': truncated in the npy header", c->path, e->name);
  NTK_TRY(ntk_zip_read(c->state, header + 12, bytes - 12));
  NTK_TRY(ntk_npy_read(e->name, header, bytes, npy));
done:
  ntk_free(&header);
  return status;
}

static ntk_status add_entry(ntk_checkpoint *c, int entry) {
  ntk_status status = NTK_SUCCESS;
  const ntk_zip_entry *e = &ntk_zip_entries(c->state)[entry];
  ntk_npy npy = {0};
  ntk_named_array *array;
  int64_t bytes;
  NTK_TRY(read_header(c, entry, &npy));
  NTK_TRY(ntk_checkpoint_add(c, e->name, &array));
  const size_t length = strlen(array->name);
  if (length > 4 && strcmp(array->name + length - 4, ".npy") == 0)
    array->name[length - 4] = '\0';
  array->dtype = npy.dtype;
  array->half = npy.is_half ? NTK_F16 : NTK_NO_HALF;
  array->shape = npy.shape;
  array->from = entry;
  NTK_TRY(ntk_checkpoint_bytes(c, array, &bytes));
  NTK_REQUIRE(bytes == e->size - npy.start, NTK_ERR_FORMAT,
              "%s: damaged: '%s' has another length than its shape", c->path, array->name);
done:
  return status;
}

/* First axis fastest in `from`, last axis fastest in `to`. */
static void turn(const ntk_shape *shape, const char *from, char *to, size_t bytes) {
  int64_t index[NTK_MAX_DIMS] = {0}, stride[NTK_MAX_DIMS] = {1};
  const int64_t n = ntk_shape_size(shape);
  for (int d = 1; d < shape->ndim; d++)
    stride[d] = stride[d - 1] * shape->dim[d - 1];
  for (int64_t i = 0; i < n; i++) {
    int64_t at = 0;
    for (int d = 0; d < shape->ndim; d++)
      at += index[d] * stride[d];
    memcpy(to + i * (int64_t)bytes, from + at * (int64_t)bytes, bytes);
    for (int d = shape->ndim - 1; d >= 0 && ++index[d] == shape->dim[d]; d--)
      index[d] = 0;
  }
}

static ntk_status npz_read(ntk_checkpoint *c, const ntk_named_array *a, void *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_npy npy = {0};
  const int64_t n = ntk_shape_size(&a->shape);
  const size_t bytes = a->half != NTK_NO_HALF ? 2 : ntk_dtype_bytes(a->dtype);
  char *turned = NULL;
  /* halves into the back half of their place, from where they are widened */
  char *raw = (char *)out + (a->half != NTK_NO_HALF ? 2 * n : 0);
  NTK_TRY(read_header(c, (int)a->from, &npy));
  NTK_TRY(ntk_zip_read(c->state, raw, n * (int64_t)bytes));
  if (npy.swap)
    ntk_swap_elements((unsigned char *)raw, n, bytes);
  if (npy.is_fortran) {
    NTK_TRY(ntk_malloc(NTK_MEMORY_PARAMETERS, n, bytes, &turned));
    turn(&a->shape, raw, turned, bytes);
    memcpy(raw, turned, (size_t)n * bytes);
  }
  if (a->half != NTK_NO_HALF)
    ntk_half_widen(a->half, raw, out, n);
done:
  ntk_free(&turned);
  return status;
}

static void npz_close(void *state) {
  ntk_zip *zip = state;
  ntk_zip_close(&zip);
}

ntk_status ntk_npz_open(ntk_checkpoint *c) {
  ntk_status status = NTK_SUCCESS;
  ntk_zip *zip = NULL;
  NTK_TRY(ntk_zip_open(c->path, &zip));
  c->state = zip;
  c->read = npz_read;
  c->close = npz_close;
  for (int i = 0; i < ntk_zip_count(zip); i++)
    NTK_TRY(add_entry(c, i));
done:
  return status;
}

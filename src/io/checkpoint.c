/* SPDX-License-Identifier: Apache-2.0 */
#include "io/checkpoint.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/source.h"
#include <string.h>

static ntk_status open_format(ntk_checkpoint *c) {
  ntk_status status = NTK_SUCCESS;
  FILE *file = NULL;
  int64_t size;
  char start[9] = "";
  NTK_TRY(ntk_file_open(c->path, &file, &size));
  const size_t got = fread(start, 1, sizeof start, file);
  if (got >= 4 && memcmp(start, "PK", 2) == 0)
    NTK_TRY(ntk_npz_open(c));
  else if (ntk_hdf5_is(c->path))
    NTK_TRY(ntk_hdf5_arrays_open(c));
  else if (got == sizeof start && start[8] == '{')
    NTK_TRY(ntk_safetensors_open(c));
  else
    status = ntk_fail(NTK_ERR_FORMAT, "%s: neither npz nor HDF5 nor safetensors", c->path);
done:
  if (file)
    (void)fclose(file);
  return status;
}

ntk_status ntk_checkpoint_open(const char *path, ntk_checkpoint **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_checkpoint *c = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *c, &c));
  NTK_TRY(ntk_strdup(path, &c->path));
  NTK_TRY(open_format(c));
  *out = c;
  c = NULL;
done:
  ntk_checkpoint_close(&c);
  return status;
}

ntk_status ntk_checkpoint_read(ntk_checkpoint *c, int array, void *out) {
  return c->read(c, &c->arrays[array], out);
}

void ntk_checkpoint_close(ntk_checkpoint **handle) {
  ntk_checkpoint *c = *handle;
  if (!c)
    return;
  if (c->state)
    c->close(c->state);
  for (int i = 0; i < c->count; i++)
    ntk_free(&c->arrays[i].name);
  ntk_free(&c->arrays);
  ntk_free(&c->path);
  ntk_free(handle);
}

ntk_status ntk_checkpoint_add(ntk_checkpoint *c, const char *name,
                              ntk_named_array **array) {
  ntk_status status = NTK_SUCCESS;
  if ((c->count & (c->count - 1)) == 0) /* doubles at each power of two */
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, c->count > 0 ? 2 * (int64_t)c->count : 1,
                        sizeof *c->arrays, &c->arrays));
  *array = &c->arrays[c->count];
  **array = (ntk_named_array){0};
  NTK_TRY(ntk_strdup(name, &(*array)->name));
  c->count++;
done:
  return status;
}

ntk_status ntk_checkpoint_bytes(const ntk_checkpoint *c, const ntk_named_array *a,
                                int64_t *bytes) {
  bool fits = true;
  *bytes = a->half != NTK_NO_HALF ? 2 : (int64_t)ntk_dtype_bytes(a->dtype);
  for (int i = 0; i < a->shape.ndim; i++)
    fits = fits && a->shape.dim[i] >= 0 &&
           !__builtin_mul_overflow(*bytes, a->shape.dim[i], bytes);
  if (!fits)
    return ntk_fail(NTK_ERR_FORMAT, "%s: damaged: '%s' has an impossible shape", c->path,
                    a->name);
  return NTK_SUCCESS;
}

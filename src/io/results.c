/* SPDX-License-Identifier: Apache-2.0 */
#include "io/results.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/store_parts.h"
#include <unistd.h>

struct ntk_results {
  char *path;
  ntk_text fresh; /* OUTPUT.new */
  hid_t file;
  bool is_flushed; /* what was made so far */
};

static void forget(ntk_results **handle) {
  ntk_results *r = *handle;
  if (!r)
    return;
  ntk_h5_close(&r->file);
  ntk_free(&r->path);
  ntk_text_clear(&r->fresh);
  ntk_free(handle);
}

ntk_status ntk_results_create(const char *path, const char *format, int64_t bytes,
                              ntk_results **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_results *r = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *r, &r));
  NTK_TRY(ntk_strdup(path, &r->path));
  NTK_TRY(ntk_text_add(&r->fresh, "%s.new", path));
  NTK_TRY(ntk_h5_create(r->fresh.data, bytes, &r->file));
  NTK_TRY(ntk_h5_note(r->fresh.data, r->file, "format", 1, &format));
  *out = r;
  r = NULL;
done:
  forget(&r);
  return status;
}

ntk_status ntk_results_put(ntk_results *r, const char *name, ntk_dtype dtype,
                           const ntk_shape *shape, const void *values) {
  r->is_flushed = false;
  return ntk_h5_put(r->fresh.data, r->file, name, dtype, shape->ndim, shape->dim, values,
                    NULL);
}

ntk_status ntk_results_write(ntk_results *r, const char *name, int axis, int64_t first,
                             int64_t count, const double *values) {
  ntk_status status = NTK_SUCCESS;
  int64_t at[NTK_MAX_DIMS] = {0};
  ntk_shape shape;
  hid_t dataset = 0;
  if (!r->is_flushed)
    NTK_TRY_H5(r->fresh.data, H5Fflush(r->file, H5F_SCOPE_GLOBAL));
  r->is_flushed = true;
  NTK_OPEN_H5(r->fresh.data, dataset, H5Dopen2(r->file, name, H5P_DEFAULT));
  NTK_TRY(ntk_h5_shape(r->fresh.data, dataset, &shape));
  at[axis] = first;
  shape.dim[axis] = count;
  NTK_TRY(
      ntk_h5_write_box(r->fresh.data, dataset, shape.ndim, at, shape.dim, NTK_F64, values));
done:
  ntk_h5_close(&dataset);
  return status;
}

ntk_status ntk_results_put_text(ntk_results *r, const char *name, const char *text) {
  return ntk_h5_put_text(r->fresh.data, r->file, name, text, 0);
}

ntk_status ntk_results_plot(ntk_results *r, const char *signal, int count,
                            const char *const *axes) {
  return ntk_h5_note_plot(r->fresh.data, r->file, signal, count, axes);
}

ntk_status ntk_results_close(ntk_results **handle, ntk_status status) {
  ntk_results *r = *handle;
  if (!r)
    return status;
  if (status == NTK_SUCCESS) {
    NTK_TRY_H5(r->path, H5Fclose(r->file));
    r->file = 0;
    NTK_TRY(ntk_store_rename(r->fresh.data, r->path));
  }
done:
  ntk_h5_close(&r->file);
  if (status != NTK_SUCCESS)
    (void)unlink(r->fresh.data);
  forget(handle);
  return status;
}

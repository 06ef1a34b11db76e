/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/store_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <hdf5_hl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

const char *ntk_store_library(void) {
  static char version[32];
  unsigned major = 0, minor = 0, release = 0;
  (void)H5get_libversion(&major, &minor, &release);
  (void)snprintf(version, sizeof version, "%u.%u.%u", major, minor, release);
  return version;
}

/* ---- names and checks -----------------------------------------------------------------
 */

static ntk_status name_with(const char *path, const char *suffix, char **out) {
  const size_t bytes = strlen(path) + strlen(suffix) + 1;
  const ntk_status status = ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)bytes, 1, out);
  if (status == NTK_SUCCESS)
    (void)snprintf(*out, bytes, "%s%s", path, suffix);
  return status;
}

static bool exists(const char *path) {
  struct stat s;
  return lstat(path, &s) == 0;
}

static ntk_status refuse_existing(const char *path, const char *part) {
  if (exists(path))
    return ntk_fail(NTK_ERR_EXISTS, "%s exists; remove it or choose another --output",
                    path);
  if (exists(part))
    return ntk_fail(NTK_ERR_EXISTS, "%s, left by an unfinished run, exists; remove it",
                    part);
  return NTK_SUCCESS;
}

/* Only making the file tells for sure that it can be made. */
static ntk_status try_creating(const char *fresh) {
  const int file = open(fresh, O_CREAT | O_WRONLY, 0666);
  if (file < 0)
    return ntk_fail(NTK_ERR_FILE, "%s: cannot be created: %s", fresh, strerror(errno));
  (void)close(file);
  (void)unlink(fresh);
  return NTK_SUCCESS;
}

static ntk_status check_space(const char *path, int64_t bytes) {
  const double free_bytes = ntk_free_bytes(path);
  if ((double)bytes <= free_bytes)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_FILE,
                  "%s: the file needs %.3g GiB, its file system has %.3g GiB free; "
                  "--reduce trace makes it smaller",
                  path, (double)bytes / 1073741824.0, free_bytes / 1073741824.0);
}

ntk_status ntk_store_check(ntk_context *context, const char *path, int64_t file_bytes) {
  ntk_status status = NTK_SUCCESS;
  char *part = NULL, *fresh = NULL;
  if (context->rank == 0) {
    status = name_with(path, ".part", &part);
    if (status == NTK_SUCCESS)
      status = name_with(path, ".new", &fresh);
    if (status == NTK_SUCCESS)
      status = refuse_existing(path, part);
    if (status == NTK_SUCCESS)
      status = try_creating(fresh);
    if (status == NTK_SUCCESS)
      status = check_space(path, file_bytes);
  }
  NTK_TRY(ntk_agree(context->comm, status));
done:
  ntk_free(&part);
  ntk_free(&fresh);
  return status;
}

/* ---- creation -------------------------------------------------------------------------
 */

static ntk_status new_store(ntk_context *context, const char *path, ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *store, &store));
  store->context = context;
  *out = store;
  NTK_TRY(ntk_strdup(path, &store->path));
  NTK_TRY(name_with(path, ".new", &store->fresh));
  NTK_TRY(name_with(path, ".part", &store->part));
done:
  return status;
}

static ntk_status open_parallel(ntk_store *store) {
  ntk_status status = NTK_SUCCESS;
  hid_t access = 0;
  NTK_OPEN_H5(store->path, access, H5Pcreate(H5P_FILE_ACCESS));
  NTK_TRY_H5(store->path, H5Pset_fapl_mpio(access, store->context->comm, MPI_INFO_NULL));
  NTK_OPEN_H5(store->part, store->file, H5Fopen(store->part, H5F_ACC_RDWR, access));
done:
  ntk_h5_close(&access);
  return status;
}

static ntk_status open_dataset(ntk_store *store, const char *name, hid_t *dataset) {
  ntk_status status = NTK_SUCCESS;
  NTK_OPEN_H5(store->part, *dataset, H5Dopen2(store->file, name, H5P_DEFAULT));
done:
  return status;
}

static ntk_status open_kernel(ntk_store *store) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(open_parallel(store));
  NTK_TRY(open_dataset(store, "/kernel", &store->kernel));
  NTK_TRY(open_dataset(store, "/tiles/done", &store->done));
  NTK_TRY(open_dataset(store, "/tiles/checksum", &store->checksum));
  NTK_TRY(open_dataset(store, "/outputs1", &store->outputs_of[0]));
  NTK_TRY(open_dataset(store, "/outputs2", &store->outputs_of[1]));
done:
  return status;
}

static ntk_status rename_file(const char *from, const char *to) {
  if (rename(from, to) != 0)
    return ntk_fail(NTK_ERR_FILE, "%s: cannot be renamed to %s: %s", from, to,
                    strerror(errno));
  return NTK_SUCCESS;
}

static void forget(ntk_store **handle) {
  ntk_store *store = *handle;
  if (!store)
    return;
  ntk_h5_close(&store->kernel);
  ntk_h5_close(&store->done);
  ntk_h5_close(&store->checksum);
  ntk_h5_close(&store->outputs_of[0]);
  ntk_h5_close(&store->outputs_of[1]);
  ntk_h5_close(&store->file);
  ntk_free(&store->path);
  ntk_free(&store->fresh);
  ntk_free(&store->part);
  ntk_free(handle);
}

/* The outcome of opening on all ranks; a file that cannot be opened is not left. */
static ntk_status open_or_remove(const ntk_store *store, ntk_status opened) {
  const ntk_status status = ntk_agree(store->context->comm, opened);
  if (status != NTK_SUCCESS && store->context->rank == 0)
    (void)unlink(store->part);
  return status;
}

/* One process lays the file out; then all of them open it for their tiles. */
static ntk_status create_kernel(ntk_store *store, const ntk_store_spec *spec) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = store->context->comm;
  if (store->context->rank == 0) {
    status = refuse_existing(store->path, store->part);
    if (status == NTK_SUCCESS)
      status = ntk_store_lay_out(store->fresh, spec);
    if (status == NTK_SUCCESS)
      status = rename_file(store->fresh, store->part);
    if (status != NTK_SUCCESS)
      (void)unlink(store->fresh);
  }
  NTK_TRY(ntk_agree(comm, status));
  NTK_TRY(open_or_remove(store, open_kernel(store)));
done:
  return status;
}

ntk_status ntk_store_create(ntk_context *context, const ntk_store_spec *spec,
                            ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = NULL;
  NTK_TRY(ntk_agree(context->comm, new_store(context, spec->path, &store)));
  store->layout = ntk_store_layout_of(spec);
  store->dtype = spec->dtype;
  store->outputs = spec->network_outputs;
  NTK_TRY(create_kernel(store, spec));
  *out = store;
  store = NULL;
done:
  forget(&store);
  return status;
}

/* ---- outputs alone --------------------------------------------------------------------
 */

static ntk_status lay_out_forward(const char *path, const ntk_data *data, int64_t outputs,
                                  ntk_dtype dtype, const char *provenance) {
  ntk_status status = NTK_SUCCESS;
  const char *format = "scantk-outputs 1";
  const int64_t dim[2] = {data->samples, outputs};
  hid_t file = 0;
  NTK_TRY(ntk_h5_create(path, data->samples * (outputs + 1) * 8 + 65536, &file));
  NTK_TRY(ntk_h5_note(path, file, "format", 1, &format));
  NTK_TRY(ntk_h5_put(path, file, "/outputs", dtype, 2, dim, NULL, NULL));
  if (data->labels)
    NTK_TRY(ntk_h5_put(path, file, "/labels", NTK_I64, 1, dim, data->labels, NULL));
  if (data->targets)
    NTK_TRY(ntk_h5_put(path, file, "/labels", NTK_F64, data->targets->shape.ndim,
                       data->targets->shape.dim, data->targets->data, NULL));
  NTK_TRY(ntk_h5_put_text(path, file, "/provenance", provenance));
done:
  ntk_h5_close(&file);
  return status;
}

static ntk_status open_forward(ntk_store *store) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(open_parallel(store));
  NTK_TRY(open_dataset(store, "/outputs", &store->outputs_of[0]));
done:
  return status;
}

ntk_status ntk_forward_store_create(ntk_context *context, const char *path,
                                    const ntk_data *data, int64_t outputs, ntk_dtype dtype,
                                    const char *provenance, ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = NULL;
  NTK_TRY(ntk_agree(context->comm, new_store(context, path, &store)));
  store->dtype = dtype;
  store->outputs = outputs;
  if (context->rank == 0) {
    status = refuse_existing(path, store->part);
    if (status == NTK_SUCCESS)
      status = lay_out_forward(store->fresh, data, outputs, dtype, provenance);
    if (status == NTK_SUCCESS)
      status = rename_file(store->fresh, store->part);
    if (status != NTK_SUCCESS)
      (void)unlink(store->fresh);
  }
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(open_or_remove(store, open_forward(store)));
  *out = store;
  store = NULL;
done:
  forget(&store);
  return status;
}

/* ---- writing --------------------------------------------------------------------------
 */

static ntk_status write_tile(ntk_store *store, const ntk_tile *tile, const void *values) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout *l = &store->layout;
  int64_t first[NTK_STORE_AXES], count[NTK_STORE_AXES];
  const int64_t one[NTK_STORE_AXES] = {1, 1, 1, 1};
  const uint8_t mark = 1;
  size_t bytes = ntk_dtype_bytes(store->dtype);
  ntk_store_box(l, tile, first, count);
  NTK_TRY(ntk_h5_write_box(store->path, store->kernel, l->ndim, first, count, store->dtype,
                           values));
  for (int i = 0; i < l->ndim; i++) {
    bytes *= (size_t)count[i];
    first[i] /= l->chunk[i];
  }
  const uint64_t checksum = XXH3_64bits(values, bytes);
  NTK_TRY(ntk_h5_write_box(store->path, store->checksum, l->ndim, first, one, NTK_U64,
                           &checksum));
  NTK_TRY(ntk_h5_write_box(store->path, store->done, l->ndim, first, one, NTK_U8, &mark));
  store->written++;
done:
  return status;
}

ntk_status ntk_store_write(ntk_store *store, const ntk_tile *tile, const void *values) {
  const ntk_status status = write_tile(store, tile, values);
  if (status != NTK_SUCCESS)
    return ntk_fail(status, "%s (tile of samples %" PRId64 " and %" PRId64 ")",
                    ntk_fail_message(), tile->row_first, tile->column_first);
  return NTK_SUCCESS;
}

ntk_status ntk_store_write_outputs(ntk_store *store, int side, int64_t first, int64_t count,
                                   const double *values) {
  ntk_status status = NTK_SUCCESS;
  const int64_t at[2] = {first, 0}, size[2] = {count, store->outputs};
  NTK_TRY(
      ntk_h5_write_box(store->path, store->outputs_of[side], 2, at, size, NTK_F64, values));
  if (store->layout.ndim == 0)
    store->written += count;
done:
  return status;
}

/* ---- close ----------------------------------------------------------------------------
 */

static ntk_status note_facts(const char *path, hid_t file, const ntk_store_facts *facts) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_h5_note_number(path, file, "seconds", NTK_F64, &facts->seconds));
  NTK_TRY(ntk_h5_note_number(path, file, "gflops", NTK_F64, &facts->gflops));
  NTK_TRY(ntk_h5_note_number(path, file, "gemm_gflops", NTK_F64, &facts->gemm_gflops));
done:
  return status;
}

/* By one process, once all the others have closed the file. */
static ntk_status complete_file(const ntk_store *store, const ntk_store_facts *facts) {
  ntk_status status = NTK_SUCCESS;
  const uint8_t complete = 1;
  hid_t file = 0;
  NTK_OPEN_H5(store->part, file, H5Fopen(store->part, H5F_ACC_RDWR, H5P_DEFAULT));
  if (facts)
    NTK_TRY(note_facts(store->part, file, facts));
  if (store->layout.ndim > 0)
    NTK_TRY(ntk_h5_note_number(store->part, file, "complete", NTK_U8, &complete));
  NTK_TRY_H5(store->part, H5Fflush(file, H5F_SCOPE_GLOBAL));
  ntk_h5_close(&file);
  NTK_TRY(rename_file(store->part, store->path));
done:
  ntk_h5_close(&file);
  return status;
}

static ntk_status close_parallel(ntk_store *store) {
  ntk_status status = NTK_SUCCESS;
  hid_t file = store->file;
  store->file = 0;
  ntk_h5_close(&store->kernel);
  ntk_h5_close(&store->done);
  ntk_h5_close(&store->checksum);
  ntk_h5_close(&store->outputs_of[0]);
  ntk_h5_close(&store->outputs_of[1]);
  if (file > 0)
    NTK_TRY_H5(store->path, H5Fclose(file));
done:
  return status;
}

ntk_status ntk_store_close(ntk_store **handle, bool complete,
                           const ntk_store_facts *facts) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = *handle;
  int64_t written;
  if (!store)
    return NTK_SUCCESS;
  ntk_context *context = store->context;
  NTK_TRY(ntk_agree(context->comm, close_parallel(store)));
  NTK_TRY_MPI(
      MPI_Allreduce(&store->written, &written, 1, MPI_INT64_T, MPI_SUM, context->comm));
  if (context->rank == 0 && complete)
    status = complete_file(store, facts);
  else if (context->rank == 0 && (written == 0 || store->layout.ndim == 0))
    (void)unlink(store->part);
  NTK_TRY(ntk_agree(context->comm, status));
done:
  forget(handle);
  return status;
}

ntk_status ntk_store_abandon(ntk_store **store, ntk_status status) {
  char message[1024];
  (void)snprintf(message, sizeof message, "%s", ntk_fail_message());
  if (ntk_store_close(store, false, NULL) != NTK_SUCCESS)
    return ntk_fail(status, "%s", message);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/space.h"
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
    return ntk_fail(NTK_ERR_EXISTS, "%s, left by an unfinished run, exists; %sremove it",
                    part, ntk_store_has_tiles(path) ? "continue it with --resume or " : "");
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

ntk_status ntk_store_check_space(const char *path, int64_t bytes) {
  const double free_bytes = ntk_free_bytes(path);
  if ((double)bytes <= free_bytes)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_FILE,
                  "%s: the file needs %.3g GiB, its file system has %.3g GiB free; "
                  "--reduce trace or, where x2 = x1, --store half makes it smaller",
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
      status = ntk_store_check_space(path, file_bytes);
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
  store->hints = MPI_INFO_NULL;
  *out = store;
  NTK_TRY(ntk_strdup(path, &store->path));
  NTK_TRY(name_with(path, ".new", &store->fresh));
  NTK_TRY(name_with(path, ".part", &store->part));
done:
  return status;
}

static ntk_status take_hints(ntk_store *store, const char *const *hints) {
  ntk_status status = NTK_SUCCESS;
  char name[MPI_MAX_INFO_KEY];
  if (!hints || !*hints)
    return NTK_SUCCESS;
  NTK_TRY_MPI(MPI_Info_create(&store->hints));
  for (; *hints; hints++) {
    const size_t length = strcspn(*hints, "=");
    (void)snprintf(name, sizeof name, "%.*s", (int)length, *hints);
    NTK_TRY_MPI(MPI_Info_set(store->hints, name, *hints + length + 1));
  }
done:
  return status;
}

const char *ntk_store_name(char buffer[NTK_STORE_NAME], const char *prefix,
                           const char *name) {
  (void)snprintf(buffer, NTK_STORE_NAME, "%s%s", prefix, name);
  return buffer;
}

void ntk_store_prefix(char buffer[NTK_STORE_NAME], const ntk_store_spec *spec, int part) {
  (void)snprintf(buffer, NTK_STORE_NAME, "%s%s", part > 0 ? "/groups/" : "",
                 part > 0 ? spec->group_names[part - 1] : "");
}

/* A group's kernel in the file of the store. */
static ntk_status add_group(ntk_store *store, const ntk_store_spec *spec, int group) {
  ntk_status status = NTK_SUCCESS;
  char prefix[NTK_STORE_NAME];
  ntk_store *part = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *part, &part));
  store->groups[store->group_count++] = part;
  *part = (ntk_store){.context = store->context,
                      .path = store->path,
                      .part = store->part,
                      .layout = store->layout,
                      .set = store->set,
                      .dtype = store->dtype,
                      .hints = MPI_INFO_NULL};
  ntk_store_prefix(prefix, spec, group + 1);
  NTK_TRY(ntk_strdup(prefix, &part->prefix));
done:
  return status;
}

ntk_status ntk_store_new(ntk_context *context, const ntk_store_spec *spec,
                         ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(new_store(context, spec->path, out));
  NTK_TRY(take_hints(*out, spec->hints));
  (*out)->layout = ntk_store_layout_of(spec);
  (*out)->set = ntk_store_set(&(*out)->layout);
  (*out)->outputs_sets[0] = "/outputs1";
  (*out)->outputs_sets[1] = "/outputs2";
  (*out)->dtype = spec->dtype;
  (*out)->outputs = spec->network_outputs;
  NTK_TRY(ntk_strdup("", &(*out)->prefix));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, spec->groups, sizeof *(*out)->groups,
                     &(*out)->groups));
  for (int g = 0; g < spec->groups; g++)
    NTK_TRY(add_group(*out, spec, g));
done:
  return status;
}

ntk_status ntk_store_new_plain(ntk_context *context, const ntk_plain_file *file,
                               ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(new_store(context, file->path, out));
  if (file->tiles)
    (*out)->layout = *file->tiles;
  (*out)->set = file->set;
  (*out)->dtype = file->dtype;
  (*out)->outputs = file->outputs;
  for (int i = 0; i < 2; i++)
    (*out)->outputs_sets[i] = file->outputs_sets[i];
  NTK_TRY(ntk_strdup("", &(*out)->prefix));
done:
  return status;
}

static ntk_status open_parallel(ntk_store *store, const char *path, bool write) {
  ntk_status status = NTK_SUCCESS;
  hid_t access = 0;
  NTK_OPEN_H5(path, access, H5Pcreate(H5P_FILE_ACCESS));
  NTK_TRY_H5(path, H5Pset_fapl_mpio(access, store->context->comm, store->hints));
  NTK_OPEN_H5(path, store->file,
              H5Fopen(path, write ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access));
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

/* Why a write has failed: MPI-IO hides from HDF5 what the system said. error: of the last
 * system call, 0 if none. */
static const char *reason_of(const ntk_store *store, int error) {
  const char *reason = ntk_fail_message(); /* "OUTPUT: why" */
  const size_t length = strlen(store->path);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG || error == EIO)
    return strerror(error);
  if (ntk_free_bytes(store->path) < 1)
    return strerror(ENOSPC);
  const bool is_named = strncmp(reason, store->path, length) == 0 && reason[length] == ':';
  return is_named ? reason + length + 2 : reason;
}

/* Whatever was being written: one line says what, and why it failed. */
static ntk_status fail_write(const ntk_store *store, ntk_status status, const char *what) {
  const char *reason = reason_of(store, errno);
  return ntk_fail(status, "%s: write failed: %s (%s)", store->path, reason, what);
}

/* What samples are told apart by, written by all ranks, each its share. */
static ntk_status write_digests(const ntk_store *store, const ntk_store_spec *spec) {
  ntk_status status = NTK_SUCCESS;
  hid_t set = 0;
  errno = 0;
  for (int side = 0; side < 2; side++) {
    const ntk_digest_share *share = &spec->digests[side == 1 && spec->column_data];
    const int64_t first[2] = {share->first, 0}, count[2] = {share->count, 2};
    NTK_OPEN_H5(store->part, set,
                H5Dopen2(store->file, side == 0 ? "/digest1" : "/digest2", H5P_DEFAULT));
    NTK_TRY(ntk_h5_write_box(store->path, set, 2, first, count, NTK_U64, share->values));
    ntk_h5_close(&set);
  }
done:
  if (status != NTK_SUCCESS)
    status = fail_write(store, status, "digests");
  ntk_h5_close(&set);
  return status;
}

/* The data sets of a kernel, the whole or a group's. */
static ntk_status open_tiles(ntk_store *store, ntk_store *part) {
  ntk_status status = NTK_SUCCESS;
  const char *prefix = part->prefix;
  char name[NTK_STORE_NAME];
  NTK_TRY(open_dataset(store, ntk_store_name(name, prefix, part->set), &part->kernel));
  NTK_TRY(open_dataset(store, ntk_store_name(name, prefix, "/tiles/done"), &part->done));
  NTK_TRY(open_dataset(store, ntk_store_name(name, prefix, "/tiles/checksum"),
                       &part->checksum));
done:
  return status;
}

ntk_status ntk_store_open(ntk_store *store, const char *path, bool write) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *part;
  NTK_TRY(open_parallel(store, path, write));
  for (int k = 0; store->layout.ndim > 0 && (part = ntk_store_part(store, k)); k++)
    NTK_TRY(open_tiles(store, part));
  for (int i = 0; i < 2; i++)
    if (store->outputs_sets[i])
      NTK_TRY(open_dataset(store, store->outputs_sets[i], &store->outputs_of[i]));
done:
  return status;
}

ntk_status ntk_store_rename(const char *from, const char *to) {
  if (rename(from, to) != 0)
    return ntk_fail(NTK_ERR_FILE, "%s: cannot be renamed to %s: %s", from, to,
                    strerror(errno));
  return NTK_SUCCESS;
}

static void close_tiles(ntk_store *store) {
  ntk_store *part;
  for (int k = 0; (part = ntk_store_part(store, k)); k++) {
    ntk_h5_close(&part->kernel);
    ntk_h5_close(&part->done);
    ntk_h5_close(&part->checksum);
  }
}

void ntk_store_forget(ntk_store **handle) {
  ntk_store *store = *handle;
  if (!store)
    return;
  close_tiles(store);
  for (int g = 0; g < store->group_count; g++) {
    ntk_free(&store->groups[g]->prefix);
    ntk_free(&store->groups[g]->marks);
    ntk_free(&store->groups[g]);
  }
  ntk_free(&store->groups);
  ntk_free(&store->prefix);
  ntk_h5_close(&store->outputs_of[0]);
  ntk_h5_close(&store->outputs_of[1]);
  ntk_h5_close(&store->file);
  if (store->hints != MPI_INFO_NULL)
    (void)MPI_Info_free(&store->hints);
  ntk_free(&store->path);
  ntk_free(&store->fresh);
  ntk_free(&store->part);
  ntk_free(&store->marks);
  ntk_free(handle);
}

/* The outcome of opening on all ranks; a file that cannot be opened is not left. */
static ntk_status open_or_remove(const ntk_store *store, ntk_status opened) {
  const ntk_status status = ntk_agree(store->context->comm, opened);
  if (status != NTK_SUCCESS && store->context->rank == 0)
    (void)unlink(store->part);
  return status;
}

/* One process lays the file out, before all of them open it for their tiles. */
static ntk_status make_file(const ntk_store *store,
                            ntk_status (*lay_out)(const char *path, const void *spec),
                            const void *spec) {
  ntk_status status = NTK_SUCCESS;
  if (store->context->rank == 0) {
    status = refuse_existing(store->path, store->part);
    if (status == NTK_SUCCESS)
      status = lay_out(store->fresh, spec);
    if (status == NTK_SUCCESS)
      status = ntk_store_rename(store->fresh, store->part);
    if (status != NTK_SUCCESS)
      (void)unlink(store->fresh);
  }
  return ntk_agree(store->context->comm, status);
}

static ntk_status lay_out_kernel(const char *path, const void *user) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_spec *spec = user;
  NTK_TRY(ntk_store_lay_out(path, spec));
  if (spec->reserve)
    NTK_TRY(ntk_reserve(path));
done:
  return status;
}

static ntk_status create_kernel(ntk_store *store, const ntk_store_spec *spec) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(make_file(store, lay_out_kernel, spec));
  status = ntk_store_open(store, store->part, true);
  if (status == NTK_SUCCESS)
    status = write_digests(store, spec);
  NTK_TRY(open_or_remove(store, status));
done:
  return status;
}

ntk_status ntk_store_create(ntk_context *context, const ntk_store_spec *spec,
                            ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = NULL;
  NTK_TRY(ntk_agree(context->comm, ntk_store_new(context, spec, &store)));
  NTK_TRY(create_kernel(store, spec));
  *out = store;
  store = NULL;
done:
  ntk_store_forget(&store);
  return status;
}

/* ---- plain files ----------------------------------------------------------------------
 */

ntk_status ntk_store_create_plain(ntk_context *context, const ntk_plain_file *file,
                                  ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = NULL;
  NTK_TRY(ntk_agree(context->comm, ntk_store_new_plain(context, file, &store)));
  NTK_TRY(make_file(store, file->lay_out, file->spec));
  NTK_TRY(open_or_remove(store, ntk_store_open(store, store->part, true)));
  *out = store;
  store = NULL;
done:
  ntk_store_forget(&store);
  return status;
}

/* Of `forward`. */
typedef struct forward_spec {
  const ntk_data *data;
  int64_t outputs;
  ntk_dtype dtype;
  const char *provenance;
} forward_spec;

static ntk_status lay_out_forward(const char *path, const void *user) {
  ntk_status status = NTK_SUCCESS;
  const forward_spec *s = user;
  const char *format = "scantk-outputs 1";
  const int64_t dim[2] = {s->data->samples, s->outputs};
  hid_t file = 0, labels = 0;
  NTK_TRY(ntk_h5_create(path, s->data->samples * (s->outputs + 1) * 8 + 65536, &file));
  NTK_TRY(ntk_h5_note(path, file, "format", 1, &format));
  NTK_TRY(ntk_h5_put(path, file, "/outputs", s->dtype, 2, dim, NULL, NULL));
  NTK_TRY(ntk_store_put_labels(path, file, "/labels", s->data, &labels));
  NTK_TRY(ntk_h5_put_text(path, file, "/provenance", s->provenance, 0));
done:
  ntk_h5_close(&labels);
  ntk_h5_close(&file);
  return status;
}

ntk_status ntk_forward_store_create(ntk_context *context, const char *path,
                                    const ntk_data *data, int64_t outputs, ntk_dtype dtype,
                                    const char *provenance, ntk_store **out) {
  const forward_spec spec = {data, outputs, dtype, provenance};
  const ntk_plain_file file = {.path = path,
                               .outputs = outputs,
                               .outputs_sets = {"/outputs"},
                               .lay_out = lay_out_forward,
                               .spec = &spec};
  return ntk_store_create_plain(context, &file, out);
}

/* ---- writing --------------------------------------------------------------------------
 */

static ntk_status write_tile(ntk_store *store, const ntk_tile *tile, const void *values) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout *l = &store->layout;
  int64_t first[NTK_STORE_AXES], count[NTK_STORE_AXES];
  const int64_t one[NTK_STORE_AXES] = {1, 1, 1, 1, 1};
  const uint8_t mark = 1;
  size_t bytes = ntk_dtype_bytes(store->dtype);
  NTK_REQUIRE(ntk_store_holds(l, tile), NTK_ERR_INTERNAL,
              "%s: half a kernel has no place for this tile", store->path);
  ntk_store_box(l, tile, first, count);
  NTK_TRY(ntk_h5_write_box(store->path, store->kernel, l->ndim, first, count, store->dtype,
                           values));
  for (int i = 0; i < l->ndim; i++) {
    bytes *= (size_t)count[i];
    first[i] /= l->chunk[i];
  }
  const uint64_t checksum = XXH3_64bits(values, bytes);
  NTK_TRY(ntk_h5_write_box(store->path, store->checksum, l->marks, first, one, NTK_U64,
                           &checksum));
  NTK_TRY(ntk_h5_write_box(store->path, store->done, l->marks, first, one, NTK_U8, &mark));
  store->written += !store->marks || !store->marks[ntk_store_number(l, tile)];
done:
  return status;
}

const char *ntk_store_place(const ntk_store_layout *l, const ntk_tile *tile,
                            char text[NTK_STORE_PLACE]) {
  int64_t first[NTK_STORE_AXES], count[NTK_STORE_AXES];
  int length = 0;
  text[0] = '\0';
  ntk_store_box(l, tile, first, count);
  for (int i = 0; i < l->ndim; i++)
    if (l->axis[i][0] == 's' || l->tiles[i] > 1)
      length += snprintf(text + length, NTK_STORE_PLACE - (size_t)length, "%s%" PRId64,
                         length > 0 ? "," : "", first[i] / l->chunk[i]);
  return text;
}

ntk_status ntk_store_write(ntk_store *store, const ntk_tile *tile, const void *values) {
  char name[NTK_STORE_PLACE + 8], place[NTK_STORE_PLACE];
  errno = 0;
  const ntk_status status = write_tile(store, tile, values);
  if (status == NTK_SUCCESS)
    return NTK_SUCCESS;
  const int reason = errno;
  (void)snprintf(name, sizeof name, "tile %s",
                 ntk_store_place(&store->layout, tile, place));
  errno = reason;
  return fail_write(store, status, name);
}

ntk_status ntk_store_write_group(ntk_store *store, int group, const ntk_tile *tile,
                                 const void *values) {
  return ntk_store_write(store->groups[group], tile, values);
}

bool ntk_store_is_done(const ntk_store *store, const ntk_tile *tile) {
  if (!ntk_store_holds(&store->layout, tile)) /* nor is it wanted */
    return true;
  const int64_t number = ntk_store_number(&store->layout, tile);
  bool done = store->marks && store->marks[number];
  for (int g = 0; g < store->group_count && done; g++)
    done = store->groups[g]->marks[number];
  return done;
}

static ntk_status count(const ntk_store *part, int64_t *done) {
  ntk_status status = NTK_SUCCESS;
  const int64_t tiles = ntk_store_tiles(&part->layout);
  NTK_TRY_MPI(
      MPI_Allreduce(&part->written, done, 1, MPI_INT64_T, MPI_SUM, part->context->comm));
  for (int64_t i = 0; part->marks && i < tiles; i++)
    *done += part->marks[i];
done:
  return status;
}

ntk_status ntk_store_count(const ntk_store *store, int64_t *done, int64_t *tiles) {
  ntk_status status = NTK_SUCCESS;
  int64_t more;
  *tiles = (1 + store->group_count) * ntk_store_tiles(&store->layout);
  NTK_TRY(count(store, done));
  for (int g = 0; g < store->group_count; g++) {
    NTK_TRY(count(store->groups[g], &more));
    *done += more;
  }
done:
  return status;
}

ntk_status ntk_store_write_outputs(ntk_store *store, int side, int64_t first, int64_t count,
                                   const double *values) {
  ntk_status status = NTK_SUCCESS;
  const int64_t at[2] = {first, 0}, size[2] = {count, store->outputs};
  errno = 0;
  NTK_TRY(
      ntk_h5_write_box(store->path, store->outputs_of[side], 2, at, size, NTK_F64, values));
  if (store->layout.ndim == 0)
    store->written += count;
done:
  if (status != NTK_SUCCESS)
    status = fail_write(store, status, "outputs");
  return status;
}

ntk_status ntk_store_write_rows(ntk_store *store, int set, int ndim, const int64_t *first,
                                const int64_t *count, const double *values) {
  ntk_status status = NTK_SUCCESS;
  errno = 0;
  NTK_TRY(ntk_h5_write_box(store->path, store->outputs_of[set], ndim, first, count, NTK_F64,
                           values));
done:
  if (status != NTK_SUCCESS)
    status = fail_write(store, status, "rows");
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
  NTK_TRY(ntk_store_rename(store->part, store->path));
done:
  ntk_h5_close(&file);
  return status;
}

ntk_status ntk_store_shut(ntk_store *store) {
  ntk_status status = NTK_SUCCESS;
  hid_t file = store->file;
  store->file = 0;
  close_tiles(store);
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
  NTK_TRY(ntk_agree(context->comm, ntk_store_shut(store)));
  NTK_TRY_MPI(
      MPI_Allreduce(&store->written, &written, 1, MPI_INT64_T, MPI_SUM, context->comm));
  if (context->rank == 0 && complete)
    status = complete_file(store, facts);
  else if (context->rank == 0 && !store->marks && (written == 0 || store->layout.ndim == 0))
    (void)unlink(store->part);
  NTK_TRY(ntk_agree(context->comm, status));
done:
  ntk_store_forget(handle);
  return status;
}

/* How far a file has come that is left at a stop. */
static ntk_status tell_stop(const ntk_store *store) {
  ntk_status status = NTK_SUCCESS;
  int64_t done, tiles;
  NTK_TRY(ntk_store_count(store, &done, &tiles));
  status = ntk_fail(NTK_STOPPED, "stopped (%s) at %" PRId64 " of %" PRId64 " tiles",
                    store->context->stopped_for, done, tiles);
done:
  return status;
}

ntk_status ntk_store_abandon(ntk_store **store, ntk_status status) {
  char message[1024];
  if (*store && status == NTK_STOPPED && (*store)->layout.ndim > 0)
    status = tell_stop(*store);
  (void)snprintf(message, sizeof message, "%s", ntk_fail_message());
  if (ntk_store_close(store, false, NULL) != NTK_SUCCESS)
    return ntk_fail(status, "%s", message);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Going on with a kernel file. It is first looked at without being changed; what has to be
 * changed outside of tiles is changed by one process, as when the file is laid out. */
#include "base/memory.h"
#include "io/store_parts.h"
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* ---- looking --------------------------------------------------------------------------
 */

ntk_status ntk_store_check_tile(const ntk_store_source *source, int64_t number,
                                void *values, bool *good) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout *l = source->layout;
  const int64_t one[NTK_STORE_AXES] = {1, 1, 1, 1, 1};
  int64_t at[NTK_STORE_AXES], first[NTK_STORE_AXES], count[NTK_STORE_AXES];
  size_t bytes = ntk_dtype_bytes(source->dtype);
  uint64_t checksum;
  ntk_store_box_at(l, number, first, count);
  for (int i = 0; i < l->ndim; i++) {
    at[i] = first[i] / l->chunk[i];
    bytes *= (size_t)count[i];
  }
  NTK_TRY(ntk_h5_read_box(source->path, source->checksum, l->marks, at, one, NTK_U64,
                          &checksum));
  NTK_TRY(ntk_h5_read_box(source->path, source->kernel, l->ndim, first, count,
                          source->dtype, values));
  *good = XXH3_64bits(values, bytes) == checksum;
done:
  return status;
}

/* This rank's share of the tiles; wrong ones are unmarked. Who is to stop leaves the rest
 * for the next time. */
static ntk_status verify_share(ntk_store *store) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout *l = &store->layout;
  const ntk_store_source source = {store->path, l, store->dtype, store->kernel,
                                   store->checksum};
  const ntk_context *context = store->context;
  void *values = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, ntk_store_tile_elements(l),
                     ntk_dtype_bytes(store->dtype), &values));
  for (int64_t k = context->rank; k < ntk_store_tiles(l) && !context->stop;
       k += context->size) {
    bool good = true;
    if (store->marks[k])
      NTK_TRY(ntk_store_check_tile(&source, k, values, &good));
    store->marks[k] = store->marks[k] && good;
  }
done:
  ntk_free(&values);
  return status;
}

static ntk_status read_marks(ntk_store *store, int64_t *marked) {
  ntk_status status = NTK_SUCCESS;
  const ntk_store_layout *l = &store->layout;
  const int64_t zero[NTK_STORE_AXES] = {0}, tiles = ntk_store_tiles(l);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, tiles, 1, &store->marks));
  NTK_TRY(ntk_h5_read_box(store->path, store->done, l->marks, zero, l->tiles, NTK_U8,
                          store->marks));
  for (int64_t k = 0; k < tiles; k++) {
    store->marks[k] = store->marks[k] == 1;
    *marked += store->marks[k];
  }
done:
  return status;
}

/* A tile is done where all ranks find so. */
static ntk_status share_marks(ntk_store *store, ntk_store_state *state) {
  ntk_status status = NTK_SUCCESS;
  const int64_t piece = (int64_t)1 << 30;
  const int64_t tiles = ntk_store_tiles(&store->layout);
  for (int64_t k = 0; k < tiles; k += piece)
    NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, store->marks + k,
                              (int)(tiles - k < piece ? tiles - k : piece), MPI_UINT8_T,
                              MPI_MIN, store->context->comm));
  state->tiles += tiles;
  for (int64_t k = 0; k < tiles; k++)
    state->done += store->marks[k];
done:
  return status;
}

static ntk_status look(ntk_store *store, const char *path, ntk_store_state *state) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = store->context->comm;
  int64_t marked = 0;
  ntk_store *part;
  *state = (ntk_store_state){0};
  NTK_TRY(ntk_agree(comm, ntk_store_open(store, path, false)));
  for (int k = 0; (part = ntk_store_part(store, k)); k++) {
    NTK_TRY(ntk_agree(comm, read_marks(part, &marked)));
    NTK_TRY(ntk_agree(comm, verify_share(part)));
    NTK_TRY(share_marks(part, state));
  }
  state->wrong = marked - state->done;
  NTK_TRY(ntk_agree(comm, ntk_store_shut(store)));
done:
  return status;
}

/* ---- changing -------------------------------------------------------------------------
 */

/* Labels of a side, where the file has a place for such. */
static ntk_status rewrite_labels(const char *path, hid_t file, const char *name,
                                 const ntk_data *data) {
  ntk_status status = NTK_SUCCESS;
  const ntk_shape shape = ntk_store_labels_shape(data);
  hid_t labels = 0;
  ntk_shape found;
  if (data->labels == NTK_LABELS_NONE || !ntk_h5_has(file, name))
    goto done;
  NTK_OPEN_H5(path, labels, H5Dopen2(file, name, H5P_DEFAULT));
  NTK_TRY(ntk_h5_shape(path, labels, &found));
  if (ntk_shape_equal(&found, &shape))
    NTK_TRY(ntk_store_fill_labels(path, labels, data));
done:
  ntk_h5_close(&labels);
  return status;
}

static ntk_status rewrite_marks(const ntk_store *store, hid_t file) {
  ntk_status status = NTK_SUCCESS;
  const int64_t zero[NTK_STORE_AXES] = {0};
  char name[NTK_STORE_NAME];
  hid_t marks = 0;
  NTK_OPEN_H5(
      store->part, marks,
      H5Dopen2(file, ntk_store_name(name, store->prefix, "/tiles/done"), H5P_DEFAULT));
  NTK_TRY(ntk_h5_write_box(store->part, marks, store->layout.marks, zero,
                           store->layout.tiles, NTK_U8, store->marks));
done:
  ntk_h5_close(&marks);
  return status;
}

/* What is not yet allocated of the file must fit the file system. */
static ntk_status check_rest(const ntk_store *store, int64_t bytes) {
  struct stat s;
  if (stat(store->part, &s) != 0 || (int64_t)s.st_blocks * 512 >= bytes)
    return NTK_SUCCESS;
  return ntk_store_check_space(store->path, bytes - (int64_t)s.st_blocks * 512);
}

/* By one process. */
static ntk_status prepare_file(ntk_store *store, const ntk_store_rest *rest,
                               const ntk_store_state *state, bool was_complete) {
  ntk_status status = NTK_SUCCESS;
  const uint8_t complete = 0;
  ntk_store *part;
  hid_t file = 0;
  if (was_complete)
    NTK_TRY(ntk_store_rename(store->path, store->part));
  NTK_TRY(check_rest(store, rest->bytes));
  NTK_OPEN_H5(store->part, file, H5Fopen(store->part, H5F_ACC_RDWR, H5P_DEFAULT));
  NTK_TRY(ntk_h5_note_number(store->part, file, "complete", NTK_U8, &complete));
  for (int k = 0; state->wrong > 0 && (part = ntk_store_part(store, k)); k++)
    NTK_TRY(rewrite_marks(part, file));
  for (int i = 0; i < 2 && rest->labels[i]; i++)
    NTK_TRY(rewrite_labels(store->part, file, rest->labels[i], rest->data[i]));
  NTK_TRY_H5(store->part, H5Fflush(file, H5F_SCOPE_GLOBAL));
done:
  ntk_h5_close(&file);
  return status;
}

static void say(const ntk_store *store, const ntk_store_state *state, bool is_left_alone) {
  ntk_say(store->context, NTK_REPORT_INFO,
          "resumed %" PRId64 " of %" PRId64 " tiles are done%s", state->done, state->tiles,
          is_left_alone ? ": nothing is left to do" : "");
  if (state->wrong > 0)
    ntk_say(store->context, NTK_REPORT_WARNING,
            "%s: %" PRId64 " tiles that were marked as done are not what their checksums "
            "say and are computed anew",
            store->path, state->wrong);
}

/* Takes the store, *out is it or, where nothing is left to do, NULL. */
static ntk_status go_on(ntk_store *store, const ntk_store_rest *rest,
                        ntk_store_state *state, ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = store->context;
  struct stat s;
  int is_complete = stat(store->path, &s) == 0;
  NTK_TRY_MPI(MPI_Bcast(&is_complete, 1, MPI_INT, 0, context->comm));
  NTK_TRY(look(store, is_complete ? store->path : store->part, state));
  *out = NULL;
  const bool is_left_alone = is_complete && state->done == state->tiles;
  say(store, state, is_left_alone);
  if (is_left_alone)
    goto done;
  if (context->rank == 0)
    status = prepare_file(store, rest, state, is_complete);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(ntk_agree(context->comm, ntk_store_open(store, store->part, true)));
  *out = store;
  store = NULL;
done:
  ntk_store_forget(&store);
  return status;
}

ntk_status ntk_store_resume(ntk_context *context, const ntk_store_spec *spec,
                            ntk_store_state *state, ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = NULL;
  const ntk_store_rest rest = {
      .bytes = ntk_store_file_bytes(spec),
      .labels = {"/labels1", "/labels2"},
      .data = {spec->row_data, spec->column_data ? spec->column_data : spec->row_data}};
  NTK_TRY(ntk_agree(context->comm, ntk_store_new(context, spec, &store)));
  return go_on(store, &rest, state, out);
done:
  ntk_store_forget(&store);
  return status;
}

ntk_status ntk_store_resume_plain(ntk_context *context, const ntk_plain_file *file,
                                  const ntk_store_rest *rest, ntk_store_state *state,
                                  ntk_store **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_store *store = NULL;
  NTK_TRY(ntk_agree(context->comm, ntk_store_new_plain(context, file, &store)));
  return go_on(store, rest, state, out);
done:
  ntk_store_forget(&store);
  return status;
}

ntk_status ntk_store_is_there(ntk_context *context, const char *path, bool *there) {
  ntk_status status = NTK_SUCCESS;
  char *found = NULL;
  if (context->rank == 0)
    status = ntk_store_find(path, &found);
  NTK_TRY(ntk_agree(context->comm, status));
  int is_there = found != NULL;
  NTK_TRY_MPI(MPI_Bcast(&is_there, 1, MPI_INT, 0, context->comm));
  *there = is_there;
done:
  ntk_free(&found);
  return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "io/data.h"
#include "base/memory.h"
#include "io/source.h"
#include <errno.h>
#include <inttypes.h>
#include <scantk/options.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

static ntk_status file_of(const char *path, char **file) {
  const ntk_status status = ntk_strdup(path, file);
  char *colon = status == NTK_SUCCESS ? strstr(*file, ":/") : NULL;
  if (colon)
    *colon = '\0';
  return status;
}

ntk_status ntk_source_open(const char *path, const char *set, ntk_data_source **out) {
  ntk_status status = NTK_SUCCESS;
  struct stat s;
  char *file = NULL;
  NTK_TRY(file_of(path, &file));
  NTK_REQUIRE(stat(file, &s) == 0, NTK_ERR_FILE, "%s: %s", file, strerror(errno));
  NTK_REQUIRE(!S_ISDIR(s.st_mode), NTK_ERR_FILE, "%s: is a folder", file);
  if (ntk_hdf5_is(file)) {
    NTK_TRY(ntk_hdf5_open(path, set, out));
    goto done;
  }
  NTK_REQUIRE(strlen(file) == strlen(path), NTK_ERR_FORMAT,
              "%s: only HDF5 files have data sets inside", path);
  NTK_TRY(ntk_flat_open(path, out));
done:
  ntk_free(&file);
  return status;
}

void ntk_source_close(ntk_data_source **source) {
  if (*source)
    (*source)->close(*source);
  *source = NULL;
}

bool ntk_data_is(const char *path) {
  char *file = NULL;
  const bool good =
      file_of(path, &file) == NTK_SUCCESS && (ntk_hdf5_is(file) || ntk_flat_is(file));
  ntk_free(&file);
  return good;
}

static ntk_status open_range(ntk_data *data, const char *set, const char *options_text) {
  ntk_status status = NTK_SUCCESS;
  ntk_options *options = NULL;
  int64_t first, last;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("data"), options_text, &options));
  NTK_TRY(ntk_source_open(data->path, set, &data->source));
  data->total = data->samples = data->source->samples;
  data->dtype = data->source->dtype;
  data->shape = data->source->shape;
  NTK_REQUIRE(data->total > 0, NTK_ERR_FORMAT, "%s: there are no samples", data->path);
  NTK_REQUIRE(ntk_shape_size(&data->shape) > 0, NTK_ERR_FORMAT,
              "%s: the samples have no elements", data->path);
  if (ntk_options_range(options, "range", &first, &last)) {
    NTK_REQUIRE(last <= data->total, NTK_ERR_ARGUMENT,
                "range %" PRId64 ":%" PRId64 ": %s has %" PRId64 " samples", first, last,
                data->path, data->total);
    data->first = first;
    data->samples = last - first;
  }
  if (data->source->read_labels)
    NTK_TRY(data->source->read_labels(data->source, data->first, data->samples,
                                      &data->labels, &data->targets));
done:
  ntk_options_destroy(&options);
  return status;
}

static ntk_status open_data(ntk_context *context, const char *path, const char *set,
                            const char *options, ntk_data **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *data = NULL;
  status = ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *data, &data);
  if (status == NTK_SUCCESS)
    status = ntk_strdup(path, &data->path);
  if (status == NTK_SUCCESS) {
    const char *slash = strrchr(path, '/');
    data->context = context;
    data->row = "sample";
    status = ntk_strdup(slash && !strstr(path, ":/") ? slash + 1 : path, &data->name);
  }
  if (status == NTK_SUCCESS)
    status = open_range(data, set, options);
  NTK_TRY(ntk_agree(context->comm, status));
  *out = data;
  data = NULL;
done:
  ntk_data_destroy(&data);
  return status;
}

ntk_status ntk_data_read(ntk_context *context, const char *path, const char *options,
                         ntk_data **out) {
  return open_data(context, path, "/inputs", options, out);
}

ntk_status ntk_data_open(ntk_context *context, const char *path, const char *set,
                         ntk_data **out) {
  return open_data(context, path, set, NULL, out);
}

void ntk_data_destroy(ntk_data **handle) {
  ntk_data *data = *handle;
  if (!data)
    return;
  ntk_source_close(&data->source);
  ntk_free(&data->path);
  ntk_free(&data->name);
  ntk_free(&data->labels);
  ntk_tensor_destroy(&data->targets);
  ntk_free(handle);
}

int64_t ntk_data_samples(const ntk_data *data) { return data->samples; }

int64_t ntk_data_held_bytes(const ntk_data *data) { return data->source->held_bytes; }

ntk_status ntk_data_slice(ntk_data *data, int64_t first, int64_t count, ntk_dtype dtype,
                          void *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = ntk_shape_size(&data->shape);
  NTK_TRY(data->source->read(data->source, data->first + first, count, dtype, out));
  const int64_t bad = ntk_find_nonfinite(dtype, out, count * size);
  NTK_REQUIRE(bad < 0, NTK_ERR_NONFINITE,
              "%s: %s %" PRId64 " holds NaN or infinity (element %" PRId64 ")", data->path,
              data->row, data->first + first + bad / size, bad % size);
done:
  return status;
}

ntk_status ntk_data_digest(ntk_data *data, int64_t first, int64_t count, ntk_dtype dtype,
                           uint64_t (*digest)[2]) {
  ntk_status status = NTK_SUCCESS;
  const int64_t bytes = ntk_shape_size(&data->shape) * (int64_t)ntk_dtype_bytes(dtype);
  XXH3_state_t *state = XXH3_createState();
  char *values = NULL;
  NTK_REQUIRE(state, NTK_ERR_MEMORY, "out of memory");
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, bytes, 1, &values));
  for (int64_t i = 0; i < count; i++) {
    const int64_t index = first + i;
    NTK_TRY(ntk_data_slice(data, index, 1, dtype, values));
    (void)XXH3_128bits_reset(state);
    (void)XXH3_128bits_update(state, &index, sizeof index);
    (void)XXH3_128bits_update(state, values, (size_t)bytes);
    const XXH128_hash_t hash = XXH3_128bits_digest(state);
    digest[i][0] = hash.low64;
    digest[i][1] = hash.high64;
  }
done:
  (void)XXH3_freeState(state);
  ntk_free(&values);
  return status;
}

/* ---- description ----------------------------------------------------------------------
 */

static int64_t count_classes(const ntk_data *data) {
  int64_t most = -1;
  for (int64_t i = 0; data->labels && i < data->samples; i++)
    if (data->labels[i] > most)
      most = data->labels[i];
  return most + 1;
}

ntk_status ntk_data_describe(const ntk_data *data, bool json, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  char shape[NTK_SHAPE_TEXT];
  const char *labels = data->labels ? "classes" : data->targets ? "targets" : "none";
  (void)ntk_shape_text(&data->shape, shape);
  if (json) {
    NTK_TRY(ntk_text_add(text, "{\"kind\": \"data\", \"path\": "));
    NTK_TRY(ntk_text_add_json(text, data->path));
    NTK_TRY(ntk_text_add(text,
                         ", \"format\": \"%s\", \"samples\": %" PRId64
                         ", \"shape\": %s, \"type\": \"%s\", \"labels\": \"%s\", "
                         "\"classes\": %" PRId64 "}\n",
                         data->source->format, data->total, shape,
                         ntk_dtype_name(data->dtype), labels, count_classes(data)));
    goto done;
  }
  NTK_TRY(ntk_text_add(text,
                       "data        %s\nformat      %s\nsamples     %" PRId64
                       "\nsample      %s %s\nlabels      %s",
                       data->path, data->source->format, data->total,
                       ntk_dtype_name(data->dtype), shape, labels));
  if (data->labels)
    NTK_TRY(ntk_text_add(text, " 0 .. %" PRId64, count_classes(data) - 1));
  NTK_TRY(ntk_text_add(text, "\n"));
done:
  return status;
}

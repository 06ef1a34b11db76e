/* SPDX-License-Identifier: Apache-2.0 */
#include "io/data.h"
#include "base/memory.h"
#include "io/source.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <scantk/options.h>
#include <stdio.h>
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

/* The only input: /inputs, or the data set of its name where that is missing. */
static ntk_status open_only(const char *path, const char *set, const char *input,
                            ntk_data_source **source) {
  ntk_status status = NTK_SUCCESS;
  ntk_text name = {0};
  NTK_TRY(ntk_text_add(&name, "/%s", input ? input : ""));
  if (!input || ntk_hdf5_has(path, set) || !ntk_hdf5_has(path, name.data)) {
    NTK_TRY(ntk_source_open(path, set, source));
  } else {
    NTK_TRY(ntk_hdf5_open(path, name.data, source));
    if (strcmp(input, "labels") != 0)
      NTK_TRY(ntk_hdf5_find_labels(*source, "/labels"));
  }
done:
  ntk_text_clear(&name);
  return status;
}

static ntk_status open_source(ntk_data *data, const char *set, int count,
                              const char *const *inputs) {
  ntk_status status = NTK_SUCCESS;
  const bool several = count > 1;
  NTK_TRY(several ? ntk_inputs_open(data->path, count, inputs, &data->source)
                  : open_only(data->path, set, count ? inputs[0] : NULL, &data->source));
  data->dtype = data->source->dtype;
  data->shape = data->source->shape;
  data->only = (ntk_data_part){.dtype = data->dtype, .shape = data->shape};
  data->part_count = several ? data->source->part_count : 1;
  data->parts = several ? data->source->parts : &data->only;
done:
  return status;
}

static ntk_status open_range(ntk_data *data, const char *set, int count,
                             const char *const *inputs, const char *options_text) {
  ntk_status status = NTK_SUCCESS;
  ntk_options *options = NULL;
  int64_t first, last;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("data"), options_text, &options));
  NTK_TRY(open_source(data, set, count, inputs));
  data->total = data->samples = data->source->samples;
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
  data->labels = data->source->labels;
  data->target_shape = data->source->target_shape;
done:
  ntk_options_destroy(&options);
  return status;
}

static ntk_status open_data(ntk_context *context, const char *path, const char *set,
                            int count, const char *const *inputs, const char *options,
                            ntk_data **out) {
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
    status = open_range(data, set, count, inputs, options);
  NTK_TRY(ntk_agree(context->comm, status));
  *out = data;
  data = NULL;
done:
  ntk_data_destroy(&data);
  return status;
}

ntk_status ntk_data_read(ntk_context *context, const char *path, const char *options,
                         ntk_data **out) {
  return open_data(context, path, "/inputs", 0, NULL, options, out);
}

ntk_status ntk_data_read_inputs(ntk_context *context, const char *path, int count,
                                const char *const *inputs, const char *options,
                                ntk_data **out) {
  return open_data(context, path, "/inputs", count, inputs, options, out);
}

ntk_status ntk_data_open(ntk_context *context, const char *path, const char *set,
                         ntk_data **out) {
  return open_data(context, path, set, 0, NULL, NULL, out);
}

static ntk_status describe_source(ntk_data *data, const char *name) {
  ntk_status status = NTK_SUCCESS;
  const ntk_data_source *source = data->source;
  data->total = data->samples = source->samples;
  data->dtype = source->dtype;
  data->shape = source->shape;
  data->only = (ntk_data_part){.dtype = source->dtype, .shape = source->shape};
  data->part_count = 1;
  data->parts = &data->only;
  data->row = "sample";
  NTK_TRY(ntk_strdup(name, &data->path));
  NTK_TRY(ntk_strdup(name, &data->name));
done:
  return status;
}

ntk_status ntk_data_of(ntk_context *context, ntk_data_source *source, ntk_status made,
                       const char *name, ntk_data **out) {
  ntk_status status = made;
  ntk_data *data = NULL;
  if (status == NTK_SUCCESS)
    status = ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *data, &data);
  if (status == NTK_SUCCESS) {
    data->context = context;
    data->source = source;
    source = NULL;
    status = describe_source(data, name);
  }
  NTK_TRY(ntk_agree(context->comm, status));
  *out = data;
  data = NULL;
done:
  ntk_source_close(&source);
  ntk_data_destroy(&data);
  return status;
}

ntk_status ntk_data_refresh(ntk_data *data) {
  return data->source->refresh ? data->source->refresh(data->source) : NTK_SUCCESS;
}

void ntk_data_destroy(ntk_data **handle) {
  ntk_data *data = *handle;
  if (!data)
    return;
  ntk_source_close(&data->source);
  ntk_free(&data->path);
  ntk_free(&data->name);
  ntk_free(handle);
}

int64_t ntk_data_samples(const ntk_data *data) { return data->samples; }

int64_t ntk_data_held_bytes(const ntk_data *data) { return data->source->held_bytes; }

/* " of input 'x'" for the element of a row, where there are several. */
static const char *input_of(const ntk_data *data, int64_t element, char text[256]) {
  int k = 0;
  for (; k < data->part_count - 1 && element >= ntk_shape_size(&data->parts[k].shape); k++)
    element -= ntk_shape_size(&data->parts[k].shape);
  text[0] = '\0';
  if (data->part_count > 1)
    (void)snprintf(text, 256, " of input '%s'", data->parts[k].name);
  return text;
}

static double element_of(ntk_dtype dtype, const void *values, int64_t i) {
  return dtype == NTK_F64 ? ((const double *)values)[i]
                          : (double)((const float *)values)[i];
}

/* Integers that count are below what the type holds exactly. */
static ntk_status check_exact(const ntk_data *data, int64_t first, int64_t count,
                              ntk_dtype dtype, const void *values) {
  const int64_t row = ntk_shape_size(&data->shape);
  const double limit = dtype == NTK_F64 ? 0x1p53 : 0x1p24;
  char input[256];
  for (int64_t k = 0, at = 0; k < data->part_count; k++) {
    const int64_t size = ntk_shape_size(&data->parts[k].shape);
    for (int64_t i = 0; data->parts[k].is_exact && i < count * size; i++) {
      const int64_t element = i / size * row + at + i % size;
      if (fabs(element_of(dtype, values, element)) >= limit)
        return ntk_fail(NTK_ERR_ARGUMENT,
                        "%s: %s %" PRId64 ": an integer%s is %.0f, too large for %s%s",
                        data->path, data->row, data->first + first + i / size,
                        input_of(data, element % row, input),
                        element_of(dtype, values, element), ntk_dtype_name(dtype),
                        dtype == NTK_F32 ? "; try --dtype f64" : "");
    }
    at += size;
  }
  return NTK_SUCCESS;
}

ntk_status ntk_data_slice(ntk_data *data, int64_t first, int64_t count, ntk_dtype dtype,
                          void *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = ntk_shape_size(&data->shape);
  NTK_TRY(data->source->read(data->source, data->first + first, count, dtype, out));
  const int64_t bad = ntk_find_nonfinite(dtype, out, count * size);
  char input[256];
  NTK_REQUIRE(bad < 0, NTK_ERR_NONFINITE,
              "%s: %s %" PRId64 " holds NaN or infinity (element %" PRId64 "%s)",
              data->path, data->row, data->first + first + bad / size, bad % size,
              input_of(data, bad % size, input));
  NTK_TRY(check_exact(data, first, count, dtype, out));
done:
  return status;
}

ntk_status ntk_data_labels(const ntk_data *data, int64_t first, int64_t count, void *out) {
  return data->source->read_labels(data->source, data->first + first, count, out);
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

static ntk_status count_classes(const ntk_data *data, int64_t *classes) {
  ntk_status status = NTK_SUCCESS;
  int64_t labels[1024];
  const int64_t piece = sizeof labels / sizeof *labels;
  *classes = 0;
  for (int64_t i = 0; data->labels == NTK_LABELS_CLASSES && i < data->samples; i += piece) {
    const int64_t n = data->samples - i < piece ? data->samples - i : piece;
    NTK_TRY(ntk_data_labels(data, i, n, labels));
    for (int64_t k = 0; k < n; k++)
      *classes = labels[k] >= *classes ? labels[k] + 1 : *classes;
  }
done:
  return status;
}

ntk_status ntk_data_describe(const ntk_data *data, bool json, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  char shape[NTK_SHAPE_TEXT];
  static const char *const kinds[] = {"none", "classes", "targets"};
  const char *labels = kinds[data->labels];
  int64_t classes;
  NTK_TRY(count_classes(data, &classes));
  (void)ntk_shape_text(&data->shape, shape);
  if (json) {
    NTK_TRY(ntk_text_add(text, "{\"kind\": \"data\", \"path\": "));
    NTK_TRY(ntk_text_add_json(text, data->path));
    NTK_TRY(ntk_text_add(text,
                         ", \"format\": \"%s\", \"samples\": %" PRId64
                         ", \"shape\": %s, \"type\": \"%s\", \"labels\": \"%s\", "
                         "\"classes\": %" PRId64 "}\n",
                         data->source->format, data->total, shape,
                         ntk_dtype_name(data->dtype), labels, classes));
    goto done;
  }
  NTK_TRY(ntk_text_add(text,
                       "data        %s\nformat      %s\nsamples     %" PRId64
                       "\nsample      %s %s\nlabels      %s",
                       data->path, data->source->format, data->total,
                       ntk_dtype_name(data->dtype), shape, labels));
  if (data->labels == NTK_LABELS_CLASSES)
    NTK_TRY(ntk_text_add(text, " 0 .. %" PRId64, classes - 1));
  NTK_TRY(ntk_text_add(text, "\n"));
done:
  return status;
}

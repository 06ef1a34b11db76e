/* SPDX-License-Identifier: Apache-2.0 */
/* Conversion of images and labels into one HDF5 file of samples. */
#include "base/memory.h"
#include "base/random.h"
#include "io/data.h"
#include "io/h5.h"
#include "io/source.h"
#include <inttypes.h>
#include <math.h>
#include <scantk/options.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CHANNELS = 4096 };

typedef struct conversion {
  ntk_options *options;
  const char *path;
  ntk_data_source *images, *label_file;
  int64_t first, count; /* the range read */
  int64_t *labels;      /* [count] class numbers, NULL without */
  ntk_tensor *targets;  /* [count, ...] */
  int64_t *order;       /* [kept] samples of the range, as written */
  int64_t kept;
  ntk_shape shape;               /* of a sample as written */
  int permutation[NTK_MAX_DIMS]; /* axis of the source for each axis written */
  bool is_permuted, is_real;     /* values are computed with */
  double divide;
  int64_t channels; /* of --normalize, 0 without */
  double mean[MOST_CHANNELS], deviation[MOST_CHANNELS];
} conversion;

/* ---- options --------------------------------------------------------------------------
 */

/* Numbers separated by commas up to `end`; -1 where it is no such list. */
static int64_t parse_list(const char *text, char end, double *out, int64_t most) {
  int64_t n = 0;
  for (;;) {
    char *rest;
    if (n == most)
      return -1;
    out[n++] = strtod(text, &rest);
    if (rest == text)
      return -1;
    if (*rest == end)
      return n;
    if (*rest != ',')
      return -1;
    text = rest + 1;
  }
}

/* Are all n numbers integers from 0 to most? */
static bool are_indices(const double *number, int64_t n, double most) {
  for (int64_t i = 0; i < n; i++)
    if (!(number[i] >= 0 && number[i] <= most) || number[i] != floor(number[i]))
      return false;
  return true;
}

static ntk_status parse_normalize(conversion *c) {
  const char *text = ntk_options_string(c->options, "normalize");
  if (!text)
    return NTK_SUCCESS;
  const char *slash = strchr(text, '/');
  const int64_t means = slash ? parse_list(text, '/', c->mean, MOST_CHANNELS) : -1;
  c->channels = slash ? parse_list(slash + 1, '\0', c->deviation, MOST_CHANNELS) : -1;
  if (c->channels < 1 || means != c->channels)
    return ntk_fail(NTK_ERR_ARGUMENT, "--normalize: '%s' is not m1,m2,.../s1,s2,...", text);
  for (int64_t i = 0; i < c->channels; i++)
    if (!isfinite(c->mean[i]) || !isfinite(c->deviation[i]) || !(c->deviation[i] > 0))
      return ntk_fail(NTK_ERR_ARGUMENT, "--normalize: mean %g and deviation %g cannot be",
                      c->mean[i], c->deviation[i]);
  if (c->channels > 1 && (c->shape.ndim < 1 || c->shape.dim[0] != c->channels))
    return ntk_fail(NTK_ERR_SHAPE,
                    "--normalize has %" PRId64 " channels, a sample has %" PRId64,
                    c->channels, c->shape.ndim ? c->shape.dim[0] : 1);
  return NTK_SUCCESS;
}

static ntk_status parse_transpose(conversion *c) {
  const char *text = ntk_options_string(c->options, "transpose");
  double axis[NTK_MAX_DIMS];
  bool seen[NTK_MAX_DIMS] = {false};
  const int ndim = c->images->shape.ndim;
  c->shape = c->images->shape;
  if (!text)
    return NTK_SUCCESS;
  if (parse_list(text, '\0', axis, NTK_MAX_DIMS) != ndim ||
      !are_indices(axis, ndim, ndim - 1))
    return ntk_fail(NTK_ERR_ARGUMENT,
                    "--transpose: '%s' does not name the %d axes of a sample", text, ndim);
  for (int i = 0; i < ndim; i++) {
    const int a = (int)axis[i];
    if (seen[a])
      return ntk_fail(NTK_ERR_ARGUMENT, "--transpose: '%s' is no permutation of 0 .. %d",
                      text, ndim - 1);
    seen[a] = true;
    c->permutation[i] = a;
    c->shape.dim[i] = c->images->shape.dim[a];
  }
  c->is_permuted = true;
  return NTK_SUCCESS;
}

static ntk_status parse_values(conversion *c) {
  ntk_status status = NTK_SUCCESS;
  const bool divide = ntk_options_given(c->options, "divide");
  const bool scale = ntk_options_given(c->options, "scale");
  NTK_REQUIRE(!divide || !scale, NTK_ERR_ARGUMENT,
              "--scale is the same as --divide: give one of them");
  c->divide =
      divide || scale ? ntk_options_real(c->options, divide ? "divide" : "scale") : 1;
  NTK_TRY(parse_transpose(c));
  NTK_TRY(parse_normalize(c));
  c->is_real = divide || scale || c->channels > 0;
done:
  return status;
}

/* ---- what is taken --------------------------------------------------------------------
 */

/* Room for the labels of the range. */
static ntk_status allocate_labels(conversion *c, bool classes, const ntk_shape *target,
                                  void **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_shape shape = {target->ndim + 1, {c->count}};
  if (classes) {
    NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, c->count, sizeof *c->labels, &c->labels));
    *out = c->labels;
  } else {
    memcpy(shape.dim + 1, target->dim, sizeof(int64_t) * (size_t)target->ndim);
    NTK_TRY(ntk_tensor_create(NTK_F64, &shape, &c->targets));
    *out = c->targets->data;
  }
done:
  return status;
}

static ntk_status read_own_labels(conversion *c) {
  ntk_status status = NTK_SUCCESS;
  const ntk_data_source *s = c->images;
  void *out;
  if (s->labels == NTK_LABELS_NONE)
    return NTK_SUCCESS;
  NTK_TRY(allocate_labels(c, s->labels == NTK_LABELS_CLASSES, &s->target_shape, &out));
  NTK_TRY(s->read_labels(c->images, c->first, c->count, out));
done:
  return status;
}

static ntk_status read_labels(conversion *c) {
  ntk_status status = NTK_SUCCESS;
  const char *path = ntk_options_string(c->options, "labels");
  ntk_text inside = {0};
  ntk_data_source *s;
  void *out;
  if (!path)
    return read_own_labels(c);
  if (ntk_hdf5_is(path)) { /* no data set is named, and /inputs are no labels */
    NTK_TRY(ntk_text_add(&inside, "%s:/labels", path));
    path = inside.data;
  }
  NTK_TRY(ntk_source_open(path, "/inputs", &c->label_file));
  s = c->label_file;
  NTK_REQUIRE(s->samples == c->images->samples, NTK_ERR_SHAPE,
              "%s: %" PRId64 " labels for %" PRId64 " samples", path, s->samples,
              c->images->samples);
  const bool classes = ntk_shape_size(&s->shape) == 1 && !ntk_dtype_is_real(s->dtype);
  NTK_TRY(allocate_labels(c, classes, &s->shape, &out));
  NTK_TRY(s->read(s, c->first, c->count, classes ? NTK_I64 : NTK_F64, out));
done:
  ntk_text_clear(&inside);
  return status;
}

/* Keeps the samples of the classes named, which become 0, 1, ... */
static ntk_status keep_classes(conversion *c) {
  const char *text = ntk_options_string(c->options, "classes");
  double class[MOST_CHANNELS];
  if (!text)
    return NTK_SUCCESS;
  const int64_t n = parse_list(text, '\0', class, MOST_CHANNELS);
  if (n < 1 || !are_indices(class, n, 0x1p53))
    return ntk_fail(NTK_ERR_ARGUMENT, "--classes: '%s' is not a list such as 3,5", text);
  int64_t kept = 0;
  for (int64_t i = 0; i < c->kept; i++)
    for (int64_t k = 0; k < n; k++)
      if (c->labels[c->order[i]] == (int64_t) class[k]) {
        c->labels[c->order[i]] = k;
        c->order[kept++] = c->order[i];
        break;
      }
  c->kept = kept;
  return NTK_SUCCESS;
}

/* Fisher and Yates. */
static void shuffle(conversion *c) {
  const uint64_t seed = (uint64_t)ntk_options_int(c->options, "shuffle");
  for (int64_t i = c->kept - 1; i > 0; i--) {
    const int64_t k = (int64_t)(ntk_random_uniform(seed, 0, (uint64_t)i) * (double)(i + 1));
    const int64_t other = c->order[k];
    c->order[k] = c->order[i];
    c->order[i] = other;
  }
}

static ntk_status keep_per_class(conversion *c) {
  ntk_status status = NTK_SUCCESS;
  const int64_t most = ntk_options_int(c->options, "per-class");
  int64_t *seen = NULL, classes = 0, kept = 0;
  for (int64_t i = 0; i < c->kept; i++) {
    const int64_t label = c->labels[c->order[i]];
    NTK_REQUIRE(label >= 0 && label < (int64_t)1 << 24, NTK_ERR_FORMAT,
                "--per-class: label %" PRId64 " is not a class number", label);
    classes = label >= classes ? label + 1 : classes;
  }
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, classes, sizeof *seen, &seen));
  for (int64_t i = 0; i < c->kept; i++)
    if (seen[c->labels[c->order[i]]]++ < most)
      c->order[kept++] = c->order[i];
  c->kept = kept;
done:
  ntk_free(&seen);
  return status;
}

static ntk_status choose_samples(conversion *c) {
  ntk_status status = NTK_SUCCESS;
  int64_t last = c->images->samples;
  if (ntk_options_range(c->options, "range", &c->first, &last))
    NTK_REQUIRE(last <= c->images->samples, NTK_ERR_ARGUMENT,
                "--range %" PRId64 ":%" PRId64 ": there are %" PRId64 " samples", c->first,
                last, c->images->samples);
  c->count = c->kept = last - c->first;
  NTK_TRY(read_labels(c));
  const bool needs = ntk_options_given(c->options, "classes") ||
                     ntk_options_given(c->options, "per-class");
  NTK_REQUIRE(!needs || c->labels, NTK_ERR_ARGUMENT,
              "--classes and --per-class need class labels: give --labels");
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, c->count, sizeof *c->order, &c->order));
  for (int64_t i = 0; i < c->count; i++)
    c->order[i] = i;
  NTK_TRY(keep_classes(c));
  if (ntk_options_given(c->options, "shuffle"))
    shuffle(c);
  if (ntk_options_given(c->options, "per-class"))
    NTK_TRY(keep_per_class(c));
  NTK_REQUIRE(c->kept > 0, NTK_ERR_ARGUMENT, "no sample is left");
done:
  return status;
}

/* ---- values ---------------------------------------------------------------------------
 */

static void permute(const conversion *c, const char *from, char *to, size_t bytes) {
  int64_t stride[NTK_MAX_DIMS], at[NTK_MAX_DIMS] = {0};
  const int64_t size = ntk_shape_size(&c->shape);
  ntk_shape_strides(&c->images->shape, stride);
  for (int64_t i = 0; i < size; i++) {
    int64_t offset = 0;
    for (int a = 0; a < c->shape.ndim; a++)
      offset += at[a] * stride[c->permutation[a]];
    memcpy(to + (size_t)i * bytes, from + (size_t)offset * bytes, bytes);
    for (int a = c->shape.ndim - 1; a >= 0 && ++at[a] == c->shape.dim[a]; a--)
      at[a] = 0;
  }
}

static void compute(const conversion *c, double *values) {
  const int64_t size = ntk_shape_size(&c->shape);
  const int64_t each = c->channels > 0 ? size / c->channels : size;
  for (int64_t i = 0; i < size; i++) {
    values[i] /= c->divide;
    if (c->channels > 0)
      values[i] = (values[i] - c->mean[i / each]) / c->deviation[i / each];
  }
}

/* Where each sample of the range is written, -1: it is not. */
static ntk_status invert_order(const conversion *c, int64_t **out) {
  ntk_status status = NTK_SUCCESS;
  int64_t *place = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, c->count, sizeof *place, &place));
  for (int64_t i = 0; i < c->count; i++)
    place[i] = -1;
  for (int64_t i = 0; i < c->kept; i++)
    place[c->order[i]] = i;
  *out = place;
done:
  return status;
}

/* Sample by sample: read, permuted, scaled, written. In the order of the source: compressed
 * files have no fast way back. */
static ntk_status write_samples(const conversion *c, hid_t inputs, int ndim) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = ntk_shape_size(&c->shape);
  const ntk_dtype work = c->is_real ? NTK_F64 : c->images->dtype;
  const size_t bytes = ntk_dtype_bytes(work);
  char *values = NULL, *permuted = NULL;
  int64_t at[NTK_MAX_DIMS + 1] = {0}, count[NTK_MAX_DIMS + 1] = {1, size};
  int64_t *place = NULL;
  if (ndim == c->shape.ndim + 1)
    memcpy(count + 1, c->shape.dim, sizeof(int64_t) * (size_t)c->shape.ndim);
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, size, bytes, &values));
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, size, bytes, &permuted));
  NTK_TRY(invert_order(c, &place));
  for (int64_t i = 0; i < c->count; i++) {
    if (place[i] < 0)
      continue;
    NTK_TRY(c->images->read(c->images, c->first + i, 1, work, values));
    char *sample = values;
    if (c->is_permuted) {
      permute(c, values, permuted, bytes);
      sample = permuted;
    }
    if (c->is_real)
      compute(c, (double *)(void *)sample);
    at[0] = place[i];
    NTK_TRY(ntk_h5_write_box(c->path, inputs, ndim, at, count, work, sample));
  }
done:
  ntk_free(&place);
  ntk_free(&values);
  ntk_free(&permuted);
  return status;
}

/* The labels' data set as it will be; ndim 0: none. */
static ntk_dtype labels_shape(const conversion *c, ntk_shape *shape) {
  *shape = c->targets ? c->targets->shape : (ntk_shape){c->labels != NULL, {0}};
  shape->dim[0] = c->kept;
  return c->targets ? NTK_F64 : NTK_I64;
}

static ntk_status write_index(const conversion *c, hid_t dataset) {
  ntk_status status = NTK_SUCCESS;
  const int64_t zero = 0;
  int64_t *index = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, c->kept, sizeof *index, &index));
  for (int64_t i = 0; i < c->kept; i++)
    index[i] = c->first + c->order[i];
  NTK_TRY(ntk_h5_write_box(c->path, dataset, 1, &zero, &c->kept, NTK_I64, index));
done:
  ntk_free(&index);
  return status;
}

static ntk_status write_labels(const conversion *c, hid_t dataset) {
  ntk_status status = NTK_SUCCESS;
  const int64_t zero[NTK_MAX_DIMS] = {0};
  ntk_shape shape;
  const ntk_dtype dtype = labels_shape(c, &shape);
  const size_t bytes = (size_t)(ntk_shape_size(&shape) / c->kept) * ntk_dtype_bytes(dtype);
  const char *from = c->targets ? c->targets->data : (const char *)c->labels;
  char *rows = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, c->kept, bytes, &rows));
  for (int64_t i = 0; i < c->kept; i++)
    memcpy(rows + (size_t)i * bytes, from + (size_t)c->order[i] * bytes, bytes);
  NTK_TRY(ntk_h5_write_box(c->path, dataset, shape.ndim, zero, shape.dim, dtype, rows));
done:
  ntk_free(&rows);
  return status;
}

/* The axes of /inputs and the type of its elements. */
static ntk_dtype inputs_shape(const conversion *c, ntk_shape *shape) {
  const ntk_dtype from = c->images->dtype;
  *shape = (ntk_shape){2, {c->kept, ntk_shape_size(&c->shape)}};
  if (!ntk_options_flag(c->options, "flatten")) {
    shape->ndim = c->shape.ndim + 1;
    memcpy(shape->dim + 1, c->shape.dim, sizeof(int64_t) * (size_t)c->shape.ndim);
  }
  return c->is_real && from != NTK_F64 ? NTK_F32 : from;
}

/* Everything is made and flushed, then filled. */
static ntk_status fill_file(const conversion *c, const char *fresh, hid_t file) {
  ntk_status status = NTK_SUCCESS;
  const char *format = "scantk-data 1", *source = ntk_options_string(c->options, "images");
  ntk_shape shape, of_labels;
  const ntk_dtype dtype = inputs_shape(c, &shape);
  const ntk_dtype label_dtype = labels_shape(c, &of_labels);
  hid_t inputs = 0, index = 0, labels = 0;
  NTK_TRY(ntk_h5_note(fresh, file, "format", 1, &format));
  NTK_TRY(ntk_h5_note(fresh, file, "source", 1, &source));
  NTK_TRY(ntk_h5_put(fresh, file, "/inputs", dtype, shape.ndim, shape.dim, NULL, &inputs));
  NTK_TRY(ntk_h5_put(fresh, file, "/source_index", NTK_I64, 1, &c->kept, NULL, &index));
  if (of_labels.ndim > 0)
    NTK_TRY(ntk_h5_put(fresh, file, "/labels", label_dtype, of_labels.ndim, of_labels.dim,
                       NULL, &labels));
  NTK_TRY_H5(fresh, H5Fflush(file, H5F_SCOPE_GLOBAL));
  NTK_TRY(write_samples(c, inputs, shape.ndim));
  NTK_TRY(write_index(c, index));
  if (labels)
    NTK_TRY(write_labels(c, labels));
done:
  ntk_h5_close(&inputs);
  ntk_h5_close(&index);
  ntk_h5_close(&labels);
  return status;
}

/* Written beside its name and renamed when whole. */
static ntk_status write_file(const conversion *c, const char *fresh) {
  ntk_status status = NTK_SUCCESS;
  hid_t file = 0;
  ntk_shape shape, of_labels;
  const int64_t element = (int64_t)ntk_dtype_bytes(inputs_shape(c, &shape));
  (void)labels_shape(c, &of_labels);
  const int64_t bytes = ntk_shape_size(&shape) * element + c->kept * 8 +
                        (of_labels.ndim > 0 ? ntk_shape_size(&of_labels) * 8 : 0) + 4096;
  NTK_TRY(ntk_h5_create(fresh, bytes, &file));
  NTK_TRY(fill_file(c, fresh, file));
  NTK_TRY_H5(fresh, H5Fflush(file, H5F_SCOPE_GLOBAL));
  ntk_h5_close(&file);
  NTK_REQUIRE(rename(fresh, c->path) == 0, NTK_ERR_FILE, "%s: cannot be renamed to %s",
              fresh, c->path);
done:
  ntk_h5_close(&file);
  if (status != NTK_SUCCESS)
    (void)unlink(fresh);
  return status;
}

static ntk_status convert(conversion *c, const char *options) {
  ntk_status status = NTK_SUCCESS;
  ntk_text fresh = {0};
  NTK_TRY(ntk_options_parse_text(ntk_option_table("dataset"), options, &c->options));
  NTK_REQUIRE(ntk_options_given(c->options, "images"), NTK_ERR_ARGUMENT,
              "--images is missing: the file with the samples");
  NTK_REQUIRE(access(c->path, F_OK) != 0, NTK_ERR_EXISTS,
              "%s exists; remove it or choose another --output", c->path);
  NTK_TRY(ntk_source_open(ntk_options_string(c->options, "images"), "/inputs", &c->images));
  NTK_TRY(parse_values(c));
  NTK_TRY(choose_samples(c));
  NTK_TRY(ntk_text_add(&fresh, "%s.new", c->path));
  NTK_TRY(write_file(c, fresh.data));
done:
  ntk_text_clear(&fresh);
  return status;
}

ntk_status ntk_data_convert(ntk_context *context, const char *options, const char *path) {
  ntk_status status = NTK_SUCCESS;
  conversion *c = NULL;
  if (context->rank == 0) {
    status = ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *c, &c);
    if (status == NTK_SUCCESS) {
      c->path = path;
      status = convert(c, options);
      ntk_source_close(&c->images);
      ntk_source_close(&c->label_file);
      ntk_options_destroy(&c->options);
      ntk_free(&c->labels);
      ntk_free(&c->order);
      ntk_tensor_destroy(&c->targets);
    }
    ntk_free(&c);
  }
  return ntk_agree(context->comm, status);
}

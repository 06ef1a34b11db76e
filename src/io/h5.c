/* SPDX-License-Identifier: Apache-2.0 */
#include "io/h5.h"
#include "base/memory.h"
#include "io/space.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The innermost message of the stack says what went wrong: where the system did, in its
 * words alone. */
enum { MESSAGE_BYTES = 256 };
static herr_t take_innermost(unsigned n, const H5E_error2_t *error, void *user) {
  static const char label[] = "error message = '";
  const char *text = error->desc ? error->desc : "no message";
  const char *system = strstr(text, label);
  (void)n;
  text = system ? system + sizeof label - 1 : text;
  (void)snprintf(user, MESSAGE_BYTES, "%.*s", (int)strcspn(text, system ? "'" : "\n"),
                 text);
  return 1;
}

ntk_status ntk_fail_h5(const char *path, const char *call) {
  char message[MESSAGE_BYTES] = "no message";
  const char *start = strstr(call, "H5");
  (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, message);
  return ntk_fail(NTK_ERR_HDF5, "%s: %s (%.*s)", path, message, (int)strcspn(start, "("),
                  start);
}

void ntk_h5_close(hid_t *id) {
  H5E_BEGIN_TRY {
    if (*id > 0)
      (void)H5Idec_ref(*id);
  }
  H5E_END_TRY;
  *id = 0;
}

static bool can_be_written(const char *path, int64_t bytes) {
  static const char zeros[4096];
  const int file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0666);
  if (file < 0)
    return false;
  bool good = ftruncate(file, bytes) == 0;
  if (good && write(file, zeros, sizeof zeros) != sizeof zeros) {
    good = false;
    errno = ENOSPC; /* a short write says nothing */
  }
  const int reason = errno;
  good = close(file) == 0 && good;
  errno = reason;
  return good;
}

ntk_status ntk_h5_create_sparse(const char *path, int64_t bytes, hid_t *file) {
  ntk_status status = NTK_SUCCESS;
  hid_t access = 0;
  NTK_REQUIRE(can_be_written(path, bytes), NTK_ERR_FILE, "%s: cannot be written: %s", path,
              strerror(errno));
  NTK_OPEN_H5(path, access, H5Pcreate(H5P_FILE_ACCESS));
  NTK_TRY_H5(path, H5Pset_sieve_buf_size(access, 0));
  NTK_OPEN_H5(path, *file, H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access));
done:
  ntk_h5_close(&access);
  return status;
}

ntk_status ntk_h5_create(const char *path, int64_t bytes, hid_t *file) {
  ntk_status status = NTK_SUCCESS;
  const double space = ntk_free_bytes(path);
  NTK_REQUIRE((double)bytes <= space, NTK_ERR_FILE,
              "%s: the file needs %.3g GiB, its file system has %.3g GiB free", path,
              (double)bytes / 1073741824.0, space / 1073741824.0);
  NTK_TRY(ntk_h5_create_sparse(path, bytes, file));
done:
  return status;
}

hid_t ntk_h5_type(ntk_dtype dtype) {
  switch (dtype) {
  case NTK_F32:
    return H5T_NATIVE_FLOAT;
  case NTK_F64:
    return H5T_NATIVE_DOUBLE;
  case NTK_I64:
    return H5T_NATIVE_INT64;
  case NTK_I32:
    return H5T_NATIVE_INT32;
  case NTK_I16:
    return H5T_NATIVE_INT16;
  case NTK_I8:
    return H5T_NATIVE_INT8;
  case NTK_U64:
    return H5T_NATIVE_UINT64;
  case NTK_U32:
    return H5T_NATIVE_UINT32;
  case NTK_U16:
    return H5T_NATIVE_UINT16;
  default:
    return H5T_NATIVE_UINT8;
  }
}

/* Half floats are read as f32. */
static bool dtype_of(hid_t type, ntk_dtype *out) {
  const size_t bytes = H5Tget_size(type);
  const H5T_class_t class = H5Tget_class(type);
  if (class == H5T_FLOAT) {
    *out = bytes > 4 ? NTK_F64 : NTK_F32;
    return bytes <= 8;
  }
  if (class != H5T_INTEGER || bytes > 8)
    return false;
  static const ntk_dtype with_sign[] = {NTK_I8, NTK_I16, NTK_I32, NTK_I64};
  static const ntk_dtype without[] = {NTK_U8, NTK_U16, NTK_U32, NTK_U64};
  const int size = bytes > 4 ? 3 : bytes > 2 ? 2 : bytes > 1 ? 1 : 0;
  *out = H5Tget_sign(type) == H5T_SGN_NONE ? without[size] : with_sign[size];
  return true;
}

ntk_status ntk_h5_dtype(const char *path, hid_t dataset, ntk_dtype *out) {
  ntk_status status = NTK_SUCCESS;
  hid_t type = 0;
  NTK_OPEN_H5(path, type, H5Dget_type(dataset));
  NTK_REQUIRE(dtype_of(type, out), NTK_ERR_UNSUPPORTED,
              "%s: the elements are neither real (at most 64 bits) nor integer", path);
done:
  ntk_h5_close(&type);
  return status;
}

bool ntk_h5_has(hid_t file, const char *name) {
  htri_t there = -1;
  H5E_BEGIN_TRY { there = H5Oexists_by_name(file, name, H5P_DEFAULT); }
  H5E_END_TRY;
  return there > 0;
}

/* ---- data sets and attributes ---------------------------------------------------------
 */

static void to_hsize(int ndim, const int64_t *from, hsize_t *to) {
  for (int i = 0; i < ndim; i++)
    to[i] = (hsize_t)from[i];
}

ntk_status ntk_h5_put(const char *path, hid_t file, const char *name, ntk_dtype dtype,
                      int ndim, const int64_t *dim, const void *values, hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  hid_t space = 0, create = 0, dataset = 0;
  hsize_t size[NTK_MAX_DIMS];
  to_hsize(ndim, dim, size);
  NTK_OPEN_H5(path, space, H5Screate_simple(ndim, size, NULL));
  NTK_OPEN_H5(path, create, H5Pcreate(H5P_DATASET_CREATE));
  NTK_TRY_H5(path, H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY));
  NTK_OPEN_H5(
      path, dataset,
      H5Dcreate2(file, name, ntk_h5_type(dtype), space, H5P_DEFAULT, create, H5P_DEFAULT));
  if (values) {
    const int64_t zero[NTK_MAX_DIMS] = {0};
    NTK_TRY(ntk_h5_write_box(path, dataset, ndim, zero, dim, dtype, values));
  }
  if (out) {
    *out = dataset;
    dataset = 0;
  }
done:
  ntk_h5_close(&dataset);
  ntk_h5_close(&create);
  ntk_h5_close(&space);
  return status;
}

ntk_status ntk_h5_shape(const char *path, hid_t dataset, ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  hsize_t dim[H5S_MAX_RANK];
  hid_t space = 0;
  NTK_OPEN_H5(path, space, H5Dget_space(dataset));
  NTK_TRY_H5(path, shape->ndim = H5Sget_simple_extent_dims(space, dim, NULL));
  NTK_REQUIRE(shape->ndim <= NTK_MAX_DIMS, NTK_ERR_FORMAT, "%s: a data set of %d axes",
              path, shape->ndim);
  for (int i = 0; i < shape->ndim; i++) {
    NTK_REQUIRE(dim[i] <= INT64_MAX, NTK_ERR_FORMAT, "%s: an axis of %llu elements", path,
                (unsigned long long)dim[i]);
    shape->dim[i] = (int64_t)dim[i];
  }
  if (H5Sget_simple_extent_type(space) == H5S_NULL)
    *shape = (ntk_shape){1, {0}};
done:
  ntk_h5_close(&space);
  return status;
}

static ntk_status text_type(const char *path, size_t bytes, hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  hid_t type = 0;
  NTK_OPEN_H5(path, type, H5Tcopy(H5T_C_S1));
  NTK_TRY_H5(path, H5Tset_size(type, bytes));
  NTK_TRY_H5(path, H5Tset_cset(type, H5T_CSET_UTF8));
  *out = type;
  type = 0;
done:
  ntk_h5_close(&type);
  return status;
}

ntk_status ntk_h5_put_text(const char *path, hid_t file, const char *name, const char *text,
                           int64_t room) {
  ntk_status status = NTK_SUCCESS;
  const size_t bytes = strlen(text) + 1;
  hid_t type = 0, memory = 0, space = 0, dataset = 0;
  NTK_TRY(text_type(path, bytes, &memory));
  NTK_TRY(text_type(path, (size_t)room > bytes ? (size_t)room : bytes, &type));
  NTK_OPEN_H5(path, space, H5Screate(H5S_SCALAR));
  NTK_OPEN_H5(path, dataset,
              H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  NTK_TRY_H5(path, H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, text));
done:
  ntk_h5_close(&dataset);
  ntk_h5_close(&space);
  ntk_h5_close(&memory);
  ntk_h5_close(&type);
  return status;
}

/* Is a data space that of one element? Closes it. */
static bool is_single(hid_t *space) {
  const bool single = *space > 0 && H5Sget_simple_extent_npoints(*space) == 1;
  ntk_h5_close(space);
  return single;
}

ntk_status ntk_h5_get_text(const char *path, hid_t file, const char *name, char **text) {
  ntk_status status = NTK_SUCCESS;
  hid_t type = 0, memory = 0, dataset = 0, space = 0;
  char *buffer = NULL;
  NTK_OPEN_H5(path, dataset, H5Dopen2(file, name, H5P_DEFAULT));
  NTK_OPEN_H5(path, type, H5Dget_type(dataset));
  NTK_OPEN_H5(path, space, H5Dget_space(dataset));
  NTK_REQUIRE(H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
                  is_single(&space),
              NTK_ERR_FORMAT, "%s: %s is not one text of fixed length", path, name);
  const size_t bytes = H5Tget_size(type) + 1;
  NTK_TRY(text_type(path, bytes, &memory));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)bytes, 1, &buffer));
  NTK_TRY_H5(path, H5Dread(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer));
  *text = buffer;
  buffer = NULL;
done:
  ntk_free(&buffer);
  ntk_h5_close(&space);
  ntk_h5_close(&dataset);
  ntk_h5_close(&memory);
  ntk_h5_close(&type);
  return status;
}

ntk_status ntk_h5_note(const char *path, hid_t object, const char *name, int count,
                       const char *const *texts) {
  ntk_status status = NTK_SUCCESS;
  hid_t type = 0, space = 0, attribute = 0;
  const hsize_t dim = (hsize_t)count;
  size_t bytes = 1;
  char *cells = NULL;
  for (int i = 0; i < count; i++)
    if (strlen(texts[i]) + 1 > bytes)
      bytes = strlen(texts[i]) + 1;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, bytes, &cells));
  for (int i = 0; i < count; i++)
    memcpy(cells + (size_t)i * bytes, texts[i], strlen(texts[i]));
  NTK_TRY(text_type(path, bytes, &type));
  NTK_OPEN_H5(path, space,
              count == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &dim, NULL));
  NTK_OPEN_H5(path, attribute,
              H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
  NTK_TRY_H5(path, H5Awrite(attribute, type, cells));
done:
  ntk_free(&cells);
  ntk_h5_close(&attribute);
  ntk_h5_close(&space);
  ntk_h5_close(&type);
  return status;
}

ntk_status ntk_h5_note_number(const char *path, hid_t object, const char *name,
                              ntk_dtype dtype, const void *value) {
  ntk_status status = NTK_SUCCESS;
  hid_t space = 0, attribute = 0;
  const hid_t type = ntk_h5_type(dtype);
  NTK_OPEN_H5(path, space, H5Screate(H5S_SCALAR));
  if (H5Aexists(object, name) > 0)
    NTK_OPEN_H5(path, attribute, H5Aopen(object, name, H5P_DEFAULT));
  else
    NTK_OPEN_H5(path, attribute,
                H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
  NTK_TRY_H5(path, H5Awrite(attribute, type, value));
done:
  ntk_h5_close(&attribute);
  ntk_h5_close(&space);
  return status;
}

ntk_status ntk_h5_get_note(const char *path, hid_t object, const char *name, char *text,
                           size_t size) {
  ntk_status status = NTK_SUCCESS;
  hid_t attribute = 0, memory = 0, space = 0;
  NTK_OPEN_H5(path, attribute, H5Aopen(object, name, H5P_DEFAULT));
  NTK_OPEN_H5(path, space, H5Aget_space(attribute));
  NTK_REQUIRE(is_single(&space), NTK_ERR_FORMAT, "%s: the attribute %s is not one text",
              path, name);
  NTK_TRY(text_type(path, size, &memory));
  NTK_TRY_H5(path, H5Aread(attribute, memory, text));
  text[size - 1] = '\0';
done:
  ntk_h5_close(&space);
  ntk_h5_close(&memory);
  ntk_h5_close(&attribute);
  return status;
}

ntk_status ntk_h5_note_plot(const char *path, hid_t group, const char *signal, int count,
                            const char *const *axes) {
  ntk_status status = NTK_SUCCESS;
  const char *nexus = "NXdata";
  NTK_TRY(ntk_h5_note(path, group, "NX_class", 1, &nexus));
  NTK_TRY(ntk_h5_note(path, group, "signal", 1, &signal));
  NTK_TRY(ntk_h5_note(path, group, "axes", count, axes));
done:
  return status;
}

bool ntk_h5_get_number(hid_t object, const char *name, ntk_dtype dtype, void *value) {
  hid_t attribute = 0, space = 0;
  bool good = false;
  H5E_BEGIN_TRY {
    attribute = H5Aopen(object, name, H5P_DEFAULT);
    space = attribute > 0 ? H5Aget_space(attribute) : 0;
    good = is_single(&space) && H5Aread(attribute, ntk_h5_type(dtype), value) >= 0;
  }
  H5E_END_TRY;
  ntk_h5_close(&attribute);
  return good;
}

/* ---- boxes ----------------------------------------------------------------------------
 */

typedef struct box {
  const char *path;
  hid_t dataset;
  int ndim;
  ntk_dtype dtype;
  char *values;
  bool write;
} box;

static ntk_status move_piece(const box *b, const hsize_t *first, const hsize_t *count,
                             char *values) {
  ntk_status status = NTK_SUCCESS;
  hid_t file_space = 0, memory_space = 0;
  const hid_t type = ntk_h5_type(b->dtype);
  NTK_OPEN_H5(b->path, file_space, H5Dget_space(b->dataset));
  NTK_REQUIRE(H5Sget_simple_extent_ndims(file_space) == b->ndim &&
                  H5Sget_simple_extent_type(file_space) != H5S_NULL,
              NTK_ERR_FORMAT, "%s: a data set of %d axes, not %d", b->path,
              H5Sget_simple_extent_ndims(file_space), b->ndim);
  NTK_OPEN_H5(b->path, memory_space, H5Screate_simple(b->ndim, count, NULL));
  if (b->ndim > 0)
    NTK_TRY_H5(b->path,
               H5Sselect_hyperslab(file_space, H5S_SELECT_SET, first, NULL, count, NULL));
  if (b->write)
    NTK_TRY_H5(b->path,
               H5Dwrite(b->dataset, type, memory_space, file_space, H5P_DEFAULT, values));
  else
    NTK_TRY_H5(b->path,
               H5Dread(b->dataset, type, memory_space, file_space, H5P_DEFAULT, values));
done:
  ntk_h5_close(&memory_space);
  ntk_h5_close(&file_space);
  return status;
}

static ntk_status move_box(const box *b, const int64_t *first, const int64_t *count) {
  ntk_status status = NTK_SUCCESS;
  hsize_t at[NTK_MAX_DIMS] = {0}, size[NTK_MAX_DIMS] = {0};
  int64_t row_bytes = (int64_t)ntk_dtype_bytes(b->dtype);
  to_hsize(b->ndim, first, at);
  to_hsize(b->ndim, count, size);
  for (int i = 1; i < b->ndim; i++)
    row_bytes *= count[i];
  if (b->ndim == 0)
    return move_piece(b, at, size, b->values);
  if (row_bytes == 0)
    goto done;
  const int64_t limit = (int64_t)1 << 30;
  const int64_t step = row_bytes < limit ? limit / row_bytes : 1;
  for (int64_t i = 0; i < count[0]; i += step) {
    at[0] = (hsize_t)(first[0] + i);
    size[0] = (hsize_t)(count[0] - i < step ? count[0] - i : step);
    NTK_TRY(move_piece(b, at, size, b->values + i * row_bytes));
  }
done:
  return status;
}

ntk_status ntk_h5_read_box(const char *path, hid_t dataset, int ndim, const int64_t *first,
                           const int64_t *count, ntk_dtype dtype, void *values) {
  const box b = {path, dataset, ndim, dtype, values, false};
  return move_box(&b, first, count);
}

ntk_status ntk_h5_write_box(const char *path, hid_t dataset, int ndim, const int64_t *first,
                            const int64_t *count, ntk_dtype dtype, const void *values) {
  const box b = {path, dataset, ndim, dtype, (char *)(uintptr_t)values, true};
  return move_box(&b, first, count);
}

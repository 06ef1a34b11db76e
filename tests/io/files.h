/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TESTS_IO_FILES_H
#define NTK_TESTS_IO_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/context.h"
#include "base/memory.h"
#include "io/data.h"
#include "io/h5.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Files written by hand in a folder of their own, and what is checked in every test: one
 * line as message, nothing of HDF5 left open, nothing printed by it. */

static ntk_context *context;
static char folder[64];

static inline const char *path_of(const char *name) {
  static char paths[8][384];
  static int next;
  char *path = paths[next++ % 8];
  (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}
static inline bool is_there(const char *name) { return access(path_of(name), F_OK) == 0; }

/* Collective over the context, as is its end. */
static inline void make_folder(void) {
  (void)snprintf(folder, sizeof folder, P_tmpdir "/scantk_test_XXXXXX");
  if (ntk_context_rank(context) == 0)
    assert_non_null(mkdtemp(folder));
  assert_int_equal(MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, context->comm),
                   MPI_SUCCESS);
}
/* Removes the files of the folder. */
static inline void empty_folder(void) {
  DIR *d = opendir(folder);
  assert_non_null(d);
  for (struct dirent *e = readdir(d); e; e = readdir(d))
    if (e->d_name[0] != '.')
      (void)remove(path_of(e->d_name));
  (void)closedir(d);
}
static inline void remove_folder(void) {
  assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
  if (ntk_context_rank(context) != 0)
    return;
  empty_folder();
  assert_int_equal(rmdir(folder), 0);
}

/* ---- messages -------------------------------------------------------------------------
 */

static int printed_by_hdf5;
static inline herr_t count_prints(hid_t stack, void *user) {
  (void)stack;
  (void)user;
  printed_by_hdf5++;
  return 0;
}
static inline void watch_hdf5(void) {
  assert_true(H5Eset_auto2(H5E_DEFAULT, count_prints, NULL) >= 0);
}
/* Settings as they were, nothing printed, nothing open. */
static inline void check_hdf5(void) {
  H5E_auto2_t function = NULL;
  void *user;
  assert_true(H5Eget_auto2(H5E_DEFAULT, &function, &user) >= 0);
  assert_true(function == count_prints);
  assert_int_equal(printed_by_hdf5, 0);
  assert_true(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0);
}

/* The status is due, its message one line with `part` in it. */
static inline void check_failure(ntk_status status, ntk_status due, const char *part) {
  const char *message = ntk_fail_message();
  if (status != due || !*message || strchr(message, '\n') || !strstr(message, part))
    fail_msg("status %d for %d, message '%s' for '%s'", (int)status, (int)due, message,
             part);
}
static inline void check_success(ntk_status status) {
  if (status != NTK_SUCCESS)
    fail_msg("status %d, message '%s'", (int)status, ntk_fail_message());
}

/* Labels of all samples of the range, one number each. */
static inline void check_labels(const ntk_data *data, ntk_label_kind kind, int64_t size,
                                const double *due) {
  int64_t classes[64];
  double targets[64];
  assert_int_equal(data->labels, kind);
  assert_true(data->samples * size <= 64);
  for (int64_t first = 0; first < data->samples; first++) { /* of any slice */
    const int64_t n = data->samples - first;
    check_success(ntk_data_labels(data, first, n,
                                  kind == NTK_LABELS_CLASSES ? (void *)classes : targets));
    for (int64_t k = 0; k < n * size; k++)
      assert_true((kind == NTK_LABELS_CLASSES ? (double)classes[k] : targets[k]) ==
                  due[first * size + k]);
  }
}

/* ---- bytes ----------------------------------------------------------------------------
 */

static inline void put_file(const char *name, const void *bytes, size_t n, bool pack) {
  gzFile file = gzopen(path_of(name), pack ? "wb" : "wbT");
  assert_non_null(file);
  assert_int_equal(n == 0 ? 0 : gzwrite(file, bytes, (unsigned)n), (int)n);
  assert_int_equal(gzclose(file), Z_OK);
}

/* One value as an element of a file. */
static inline size_t encode(ntk_dtype dtype, bool big, double value, unsigned char *out) {
  const size_t bytes = ntk_dtype_bytes(dtype);
  unsigned char element[8];
  ntk_convert(NTK_F64, &value, dtype, element, 1);
  for (size_t i = 0; i < bytes; i++)
    out[i] = element[big ? bytes - 1 - i : i];
  return bytes;
}

/* Element i of all files here: it fits every type. */
static inline double value_of(ntk_dtype dtype, int64_t i) {
  const double n = (double)(i * 7 % 101);
  return dtype == NTK_BOOL                 ? (double)(i % 3 == 0)
         : ntk_dtype_is_real(dtype)        ? n / 8 - 5
         : ntk_dtype_name(dtype)[0] == 'i' ? n - 50
                                           : n;
}
static inline size_t encode_values(ntk_dtype dtype, bool big, int64_t n,
                                   unsigned char *out) {
  size_t bytes = 0;
  for (int64_t i = 0; i < n; i++)
    bytes += encode(dtype, big, value_of(dtype, i), out + bytes);
  return bytes;
}

static inline size_t encode_idx(ntk_dtype dtype, int ndim, const int64_t *dim,
                                unsigned char *out) {
  static const unsigned char codes[NTK_DTYPES] = {
      [NTK_U8] = 8,   [NTK_I8] = 9,   [NTK_I16] = 11,
      [NTK_I32] = 12, [NTK_F32] = 13, [NTK_F64] = 14};
  const unsigned char head[4] = {0, 0, codes[dtype], (unsigned char)ndim};
  size_t bytes = sizeof head;
  int64_t n = 1;
  memcpy(out, head, sizeof head);
  for (int i = 0; i < ndim; i++) {
    bytes += encode(NTK_U32, true, (double)dim[i], out + bytes);
    n *= dim[i];
  }
  return bytes + encode_values(dtype, true, n, out + bytes);
}

/* shape: as in Python; values of any type and order follow. */
static inline size_t encode_npy_header(int version, const char *descr, const char *shape,
                                       const char *fortran, unsigned char *out) {
  char text[256];
  const int start = version > 1 ? 12 : 10;
  int length =
      snprintf(text, sizeof text, "{'descr': %s, 'fortran_order': %s, 'shape': %s, }",
               descr, fortran, shape);
  while ((start + length + 1) % 64)
    text[length++] = ' ';
  text[length++] = '\n';
  memcpy(out, "\x93NUMPY", 6);
  out[6] = (unsigned char)version;
  out[7] = 0;
  (void)encode(version > 1 ? NTK_U32 : NTK_U16, false, length, out + 8);
  memcpy(out + start, text, (size_t)length);
  return (size_t)(start + length);
}

#endif

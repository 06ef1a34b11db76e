/* SPDX-License-Identifier: Apache-2.0 */
#include "io/files.h"
#include "io/source.h"
#include <float.h>
#include <math.h>
#include <xxhash.h>

/* Data sets of every format: values, labels, ranges, digests, and files that are no good.
 */

enum { MOST_BYTES = 65536, SAMPLES = 7, SIZE = 6 };
static unsigned char bytes[MOST_BYTES];

static ntk_data *read_data(const char *name, const char *options) {
  ntk_data *data = NULL;
  check_success(ntk_data_read(context, path_of(name), options, &data));
  return data;
}

/* All slices of the data, shorter and shorter, from the end to the beginning. */
static void check_slices(ntk_data *data, int64_t size, ntk_dtype dtype) {
  double wide[SAMPLES * 3072];
  float narrow[SAMPLES * 3072];
  assert_true(data->samples * size <= SAMPLES * 3072);
  for (int64_t n = data->samples; n > 0; n--)
    for (int64_t first = data->samples - n; first >= 0; first--) {
      check_success(ntk_data_slice(data, first, n, NTK_F64, wide));
      check_success(ntk_data_slice(data, first, n, NTK_F32, narrow));
      for (int64_t i = 0; i < n * size; i++) {
        const double due = value_of(dtype, (data->first + first) * size + i);
        assert_true(wide[i] == due && narrow[i] == (float)due);
      }
    }
}

/* A file of SAMPLES x 2 x 3 elements whose values are those of value_of. */
static void check_file(const char *name, ntk_dtype dtype, const char *format) {
  ntk_data *data = read_data(name, NULL);
  assert_string_equal(data->source->format, format);
  assert_int_equal(ntk_data_samples(data), SAMPLES);
  assert_int_equal(data->dtype, dtype);
  assert_int_equal(data->shape.ndim, 2);
  assert_true(data->shape.dim[0] == 2 && data->shape.dim[1] == 3);
  assert_string_equal(data->name, name);
  assert_int_equal(data->labels, NTK_LABELS_NONE);
  assert_true(ntk_data_is(path_of(name)));
  check_slices(data, SIZE, dtype);
  ntk_data_destroy(&data);
  data = read_data(name, "--range 2:5");
  assert_int_equal(ntk_data_samples(data), 3);
  assert_int_equal(data->total, SAMPLES);
  check_slices(data, SIZE, dtype);
  ntk_data_destroy(&data);
  ntk_data_destroy(&data); /* NULL-safe */
}

/* ---- formats --------------------------------------------------------------------------
 */

static const int64_t dims[3] = {SAMPLES, 2, 3};

static void idx(void **state) {
  (void)state;
  static const ntk_dtype types[] = {NTK_U8, NTK_I8, NTK_I16, NTK_I32, NTK_F32, NTK_F64};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    const size_t n = encode_idx(types[i], 3, dims, bytes);
    put_file("a-idx3-ubyte", bytes, n, false);
    check_file("a-idx3-ubyte", types[i], "IDX");
    put_file("a-idx3-ubyte.gz", bytes, n, true);
    check_file("a-idx3-ubyte.gz", types[i], "IDX");
  }
  put_file("b", bytes, encode_idx(NTK_U8, 1, dims, bytes), false);
  ntk_data *data = read_data("b", NULL);
  assert_int_equal(data->shape.ndim, 0);
  check_slices(data, 1, NTK_U8);
  ntk_data_destroy(&data);
}

static void npy(void **state) {
  (void)state;
  static const struct {
    const char *code;
    ntk_dtype dtype;
  } types[] = {{"f4", NTK_F32}, {"f8", NTK_F64}, {"i1", NTK_I8},  {"i2", NTK_I16},
               {"i4", NTK_I32}, {"i8", NTK_I64}, {"u1", NTK_U8},  {"u2", NTK_U16},
               {"u4", NTK_U32}, {"u8", NTK_U64}, {"b1", NTK_BOOL}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    for (int version = 1; version <= 3; version++)
      for (int big = 0; big < 2; big++) {
        char descr[16];
        const bool single = ntk_dtype_bytes(types[i].dtype) == 1;
        (void)snprintf(descr, sizeof descr, "'%c%s'",
                       single ? '|'
                       : big  ? '>'
                              : '<',
                       types[i].code);
        size_t n = encode_npy_header(version, descr, "(7, 2, 3)", "False", bytes);
        n += encode_values(types[i].dtype, big, SAMPLES * SIZE, bytes + n);
        put_file("a.npy", bytes, n, false);
        check_file("a.npy", types[i].dtype, "npy");
      }
  size_t n = encode_npy_header(1, "'<f8'", "(7,)", "False", bytes);
  n += encode_values(NTK_F64, false, SAMPLES, bytes + n);
  put_file("b.npy", bytes, n, false);
  ntk_data *data = read_data("b.npy", NULL);
  assert_int_equal(data->shape.ndim, 0);
  check_slices(data, 1, NTK_F64);
  ntk_data_destroy(&data);
}

static void check_cifar(int label_bytes, const char *format) {
  const size_t row = 3072 + (size_t)label_bytes;
  for (size_t i = 0; i < SAMPLES; i++) {
    bytes[i * row] = 99;
    bytes[i * row + (size_t)label_bytes - 1] = (unsigned char)(i * 3 % 10);
    for (size_t k = 0; k < 3072; k++)
      bytes[i * row + (size_t)label_bytes + k] =
          (unsigned char)value_of(NTK_U8, (int64_t)(i * 3072 + k));
  }
  put_file("c.bin", bytes, SAMPLES * row, false);
  for (int ranged = 0; ranged < 2; ranged++) {
    ntk_data *data = read_data("c.bin", ranged ? "--range 3:6" : NULL);
    assert_string_equal(data->source->format, format);
    assert_int_equal(data->shape.ndim, 3);
    assert_true(data->shape.dim[0] == 3 && data->shape.dim[1] == 32 &&
                data->shape.dim[2] == 32);
    check_slices(data, 3072, NTK_U8);
    double due[SAMPLES];
    for (int64_t i = 0; i < data->samples; i++)
      due[i] = (double)((data->first + i) * 3 % 10);
    check_labels(data, NTK_LABELS_CLASSES, 1, due);
    ntk_data_destroy(&data);
  }
}

static void cifar(void **state) {
  (void)state;
  check_cifar(1, "CIFAR-10");
  check_cifar(2, "CIFAR-100");
  /* an aeroplane before a dark sky is no IDX header */
  memset(bytes, 0, 3073);
  bytes[2] = 8;
  bytes[3] = 3;
  put_file("c.bin", bytes, 3073, false);
  ntk_data *data = read_data("c.bin", NULL);
  assert_string_equal(data->source->format, "CIFAR-10");
  ntk_data_destroy(&data);
}

/* A data set of a file type of its own. */
static void put_dataset(hid_t file, const char *name, hid_t type, ntk_dtype dtype, int ndim,
                        const int64_t *dim) {
  double values[256];
  hsize_t size[H5S_MAX_RANK];
  int64_t n = 1;
  for (int i = 0; i < ndim; i++) {
    size[i] = (hsize_t)dim[i];
    n *= dim[i];
  }
  for (int64_t i = 0; i < n && i < 256; i++)
    values[i] = value_of(dtype, i);
  hid_t links = H5Pcreate(H5P_LINK_CREATE), space = H5Screate_simple(ndim, size, NULL);
  assert_true(H5Pset_create_intermediate_group(links, 1) >= 0);
  hid_t set = H5Dcreate2(file, name, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(set > 0);
  if (n > 0 && n <= 256)
    assert_true(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >=
                0);
  assert_true(H5Dclose(set) >= 0 && H5Sclose(space) >= 0 && H5Pclose(links) >= 0);
}
static hid_t create_h5(const char *name) {
  hid_t file = H5Fcreate(path_of(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(file > 0);
  return file;
}

static void hdf5(void **state) {
  (void)state;
  const struct {
    hid_t type;
    ntk_dtype dtype;
  } types[] = {
      {H5T_IEEE_F32LE, NTK_F32}, {H5T_IEEE_F32BE, NTK_F32}, {H5T_IEEE_F64LE, NTK_F64},
      {H5T_IEEE_F64BE, NTK_F64}, {H5T_STD_I8LE, NTK_I8},    {H5T_STD_I16BE, NTK_I16},
      {H5T_STD_I32BE, NTK_I32},  {H5T_STD_I64BE, NTK_I64},  {H5T_STD_U8BE, NTK_U8},
      {H5T_STD_U16LE, NTK_U16},  {H5T_STD_U32BE, NTK_U32},  {H5T_STD_U64LE, NTK_U64}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    hid_t file = create_h5("a.h5");
    put_dataset(file, "/inputs", types[i].type, types[i].dtype, 3, dims);
    put_dataset(file, "/deep/down/x", types[i].type, types[i].dtype, 3, dims);
    assert_true(H5Fclose(file) >= 0);
    check_file("a.h5", types[i].dtype, "HDF5");
    ntk_data *data = read_data("a.h5:/deep/down/x", "--range 1:7");
    check_slices(data, SIZE, types[i].dtype);
    ntk_data_destroy(&data);
  }
}

/* Seven axes of a sample are the most. */
static void many_axes(void **state) {
  (void)state;
  const int64_t dim[NTK_MAX_DIMS] = {SAMPLES, 1, 2, 1, 1, 3, 1, 1};
  hid_t file = create_h5("a.h5");
  put_dataset(file, "/inputs", H5T_NATIVE_FLOAT, NTK_F32, NTK_MAX_DIMS, dim);
  put_dataset(file, "/labels", H5T_NATIVE_FLOAT, NTK_F32, NTK_MAX_DIMS, dim);
  assert_true(H5Fclose(file) >= 0);
  put_file("a", bytes, encode_idx(NTK_F32, NTK_MAX_DIMS, dim, bytes), false);
  for (int i = 0; i < 2; i++) {
    ntk_data *data = read_data(i ? "a" : "a.h5", NULL);
    assert_int_equal(data->shape.ndim, NTK_MAX_DIMS - 1);
    check_slices(data, SIZE, NTK_F32);
    assert_int_equal(data->labels, i == 0 ? NTK_LABELS_TARGETS : NTK_LABELS_NONE);
    ntk_data_destroy(&data);
  }
}

/* ---- labels ---------------------------------------------------------------------------
 */

/* Inputs with /labels of a type and shape, of which `size` numbers belong to a sample. */
static ntk_data *with_labels(hid_t type, ntk_dtype dtype, int ndim, const int64_t *dim,
                             const char *path, const char *options) {
  hid_t file = create_h5("l.h5");
  put_dataset(file, "/inputs", H5T_NATIVE_FLOAT, NTK_F32, 3, dims);
  put_dataset(file, "/labels", type, dtype, ndim, dim);
  assert_true(H5Fclose(file) >= 0);
  return read_data(path, options);
}

static void labels(void **state) {
  (void)state;
  const int64_t dim[3] = {SAMPLES, 1, 2}, pairs[2] = {SAMPLES, 2};
  for (int i = 0; i < 8; i++) {
    const char *options = i % 2 ? "--range 4:7" : NULL;
    const char *path = i % 2 ? "l.h5:/inputs" : "l.h5";
    const hid_t type = i < 4 ? H5T_STD_U16BE : H5T_IEEE_F32BE;
    const ntk_dtype dtype = i < 4 ? NTK_U16 : NTK_F32;
    ntk_data *data = with_labels(type, dtype, i % 4 < 2 ? 1 : 2, dim, path, options);
    double due[SAMPLES];
    for (int64_t k = 0; k < data->samples; k++)
      due[k] = value_of(dtype, data->first + k);
    check_labels(data, i < 4 ? NTK_LABELS_CLASSES : NTK_LABELS_TARGETS, 1, due);
    ntk_data_destroy(&data);
  }
  /* several integers a sample are targets */
  ntk_data *data = with_labels(H5T_STD_I32BE, NTK_I32, 2, pairs, "l.h5", "--range 1:4");
  assert_true(data->target_shape.ndim == 1 && data->target_shape.dim[0] == 2);
  double due[6];
  for (int64_t k = 0; k < 6; k++)
    due[k] = value_of(NTK_I32, 2 + k);
  check_labels(data, NTK_LABELS_TARGETS, 2, due);
  ntk_data_destroy(&data);
  data = NULL;
  hid_t file = create_h5("m.h5");
  put_dataset(file, "/inputs", H5T_NATIVE_FLOAT, NTK_F32, 3, dims);
  put_dataset(file, "/labels", H5T_NATIVE_INT, NTK_I32, 1, &(int64_t){SAMPLES - 1});
  assert_true(H5Fclose(file) >= 0);
  check_failure(ntk_data_read(context, path_of("m.h5"), NULL, &data), NTK_ERR_FORMAT,
                "6 labels for 7 samples");
  assert_null(data);
}

/* ---- digests --------------------------------------------------------------------------
 */

static void digests(void **state) {
  (void)state;
  uint64_t whole[SAMPLES][2], part[SAMPLES][2], ranged[SAMPLES][2], narrow[SAMPLES][2];
  double row[1 + SIZE];
  size_t n = encode_idx(NTK_F64, 3, dims, bytes);
  put_file("a", bytes, n, false);
  ntk_data *data = read_data("a", NULL), *range = read_data("a", "--range 2:6");
  check_success(ntk_data_digest(data, 0, SAMPLES, NTK_F64, whole));
  check_success(ntk_data_digest(data, 0, SAMPLES, NTK_F32, narrow));
  check_success(ntk_data_digest(data, 3, 2, NTK_F64, part));
  check_success(ntk_data_digest(range, 0, 4, NTK_F64, ranged));
  assert_memory_equal(part, whole + 3, sizeof whole[0] * 2);
  for (int64_t i = 0; i < SAMPLES; i++) {
    memcpy(row, &i, sizeof i); /* the index in the range, then the values */
    check_success(ntk_data_slice(data, i, 1, NTK_F64, row + 1));
    const XXH128_hash_t due = XXH3_128bits(row, sizeof row);
    assert_true(whole[i][0] == due.low64 && whole[i][1] == due.high64);
    assert_memory_not_equal(whole[i], narrow[i], sizeof whole[i]);
  }
  for (int i = 0; i < 4; i++)
    assert_memory_not_equal(ranged[i], whole[i + 2], sizeof whole[i]);
  ntk_data_destroy(&data);
  ntk_data_destroy(&range);
  bytes[n - 1] ^= 1; /* the last bit of the last element */
  put_file("a", bytes, n, false);
  data = read_data("a", NULL);
  check_success(ntk_data_digest(data, 0, SAMPLES, NTK_F64, part));
  assert_memory_equal(part, whole, sizeof whole[0] * (SAMPLES - 1));
  assert_memory_not_equal(part[SAMPLES - 1], whole[SAMPLES - 1], sizeof whole[0]);
  ntk_data_destroy(&data);
}

/* ---- files that are no good -----------------------------------------------------------
 */

static void non_finite_samples(void **state) {
  (void)state;
  const double bad[] = {NAN, INFINITY, -INFINITY, DBL_MAX};
  double values[SAMPLES * SIZE];
  uint64_t digest[SAMPLES][2];
  for (int i = 0; i < 4; i++) {
    const size_t n = encode_idx(NTK_F64, 3, dims, bytes);
    (void)encode(NTK_F64, true, bad[i], bytes + n - 8 * (SIZE + 2)); /* sample 5 */
    put_file("a", bytes, n, false);
    ntk_data *data = read_data("a", "--range 1:7");
    const ntk_dtype dtype = i == 3 ? NTK_F32 : NTK_F64;
    check_failure(ntk_data_slice(data, 2, 4, dtype, values), NTK_ERR_NONFINITE,
                  "a: sample 5 holds NaN or infinity (element 4)");
    check_failure(ntk_data_digest(data, 0, 6, dtype, digest), NTK_ERR_NONFINITE,
                  "sample 5 ");
    check_success(ntk_data_slice(data, 0, 4, dtype, values));
    if (i == 3) /* too large for f32 alone */
      check_success(ntk_data_slice(data, 0, 6, NTK_F64, values));
    ntk_data_destroy(&data);
  }
}

/* Reads all of a file; what was allocated is free again. */
static ntk_status try_reading(const char *name, const char *options) {
  const int64_t before = ntk_memory_used_total();
  ntk_data *data = NULL;
  float values[3072 * 2];
  ntk_status status = ntk_data_read(context, path_of(name), options, &data);
  assert_true(data == NULL || status == NTK_SUCCESS);
  for (int64_t i = 0; status == NTK_SUCCESS && i < data->samples; i++)
    status = ntk_data_slice(data, i, 1, NTK_F32, values);
  ntk_data_destroy(&data);
  assert_true(ntk_memory_used_total() == before);
  check_hdf5();
  return status;
}

/* The file cut at all lengths, or some of many. */
static void check_cuts(const char *name, size_t n) {
  const size_t step = n > 1000 ? n / 97 : 1;
  char cut[64];
  (void)snprintf(cut, sizeof cut, "cut-%s", name);
  check_success(try_reading(name, NULL));
  FILE *file = fopen(path_of(name), "rb");
  assert_non_null(file);
  assert_int_equal(fread(bytes, 1, n, file), n);
  (void)fclose(file);
  for (size_t length = 0; length < n; length += step) {
    put_file(cut, bytes, length, false);
    const ntk_status status = try_reading(cut, NULL);
    check_failure(status, status == NTK_ERR_HDF5 ? status : NTK_ERR_FORMAT, cut);
  }
}

static void truncated_files(void **state) {
  (void)state;
  static unsigned char noise[20000];
  size_t n = encode_idx(NTK_I16, 3, dims, bytes);
  put_file("idx", bytes, n, false);
  check_cuts("idx", n);
  n = encode_npy_header(1, "'<i2'", "(7, 2, 3)", "False", bytes);
  n += encode_values(NTK_I16, false, SAMPLES * SIZE, bytes + n);
  put_file("a.npy", bytes, n, false);
  check_cuts("a.npy", n);
  memset(bytes, 3, 3073 * 3);
  put_file("c.bin", bytes, 3073 * 3, false);
  check_cuts("c.bin", 3073 * 3 - 1);
  hid_t file = create_h5("a.h5");
  put_dataset(file, "/inputs", H5T_NATIVE_FLOAT, NTK_F32, 3, dims);
  assert_true(H5Fclose(file) >= 0);
  struct stat s;
  assert_int_equal(stat(path_of("a.h5"), &s), 0);
  check_cuts("a.h5", (size_t)s.st_size);
  /* compressed: only the checksum may be missing */
  const int64_t dim[2] = {1000, 17};
  n = encode_idx(NTK_U8, 2, dim, noise);
  for (size_t i = 12; i < n; i++)
    noise[i] = (unsigned char)(rand() & 255);
  put_file("idx.gz", noise, n, true);
  assert_int_equal(stat(path_of("idx.gz"), &s), 0);
  check_cuts("idx.gz", (size_t)s.st_size - 16);
}

static void put_npy(const char *descr, const char *shape, const char *fortran) {
  memset(bytes, 0, 1024);
  (void)encode_npy_header(1, descr, shape, fortran, bytes);
  put_file("bad.npy", bytes, 1024, false);
}

static void headers_of_npy(void **state) {
  (void)state;
  static const struct {
    const char *descr, *shape, *fortran;
    ntk_status due;
    const char *text;
  } cases[] = {
      {"'<f4'", "(7, 2)", "True", NTK_ERR_UNSUPPORTED, "Fortran order"},
      {"'<f2'", "(7, 2)", "False", NTK_ERR_UNSUPPORTED, "neither real"},
      {"'<c8'", "(7, 2)", "False", NTK_ERR_UNSUPPORTED, "neither real"},
      {"'<f16'", "(7, 2)", "False", NTK_ERR_UNSUPPORTED, "neither real"},
      {"'<i16'", "(7, 2)", "False", NTK_ERR_UNSUPPORTED, "neither real"},
      {"'<U8'", "(7, 2)", "False", NTK_ERR_UNSUPPORTED, "neither real"},
      {"[('a', '<f4')]", "(7, 2)", "False", NTK_ERR_UNSUPPORTED, "neither real"},
      {"'<f4'", "()", "False", NTK_ERR_FORMAT, "no axes"},
      {"'<f4'", "(0, 2)", "False", NTK_ERR_FORMAT, "no samples"},
      {"'<f4'", "(7, 0)", "False", NTK_ERR_FORMAT, "no elements"},
      {"'<f4'", "(-7, 2)", "False", NTK_ERR_FORMAT, "no shape"},
      {"'<f4'", "7", "False", NTK_ERR_FORMAT, "no shape"},
      {"'<f4'", "(7", "False", NTK_ERR_FORMAT, "no shape"},
      {"'<f4'", "(1, 1, 1, 1, 1, 1, 1, 1, 2)", "False", NTK_ERR_FORMAT, "too many axes"},
      {"'<f4'", "(4000000000, 4000000000)", "False", NTK_ERR_FORMAT, "damaged"},
      {"'<f4'", "(1, 4000000000, 4000000000)", "False", NTK_ERR_FORMAT, "damaged"},
      {"'<f4'", "(99999999999999999999,)", "False", NTK_ERR_FORMAT, "damaged"},
      {"'<f4'", "(400000000000, 4)", "False", NTK_ERR_FORMAT, "truncated"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    put_npy(cases[i].descr, cases[i].shape, cases[i].fortran);
    check_failure(try_reading("bad.npy", NULL), cases[i].due, cases[i].text);
    assert_non_null(strstr(ntk_fail_message(), "bad.npy"));
  }
}

static void headers_of_idx(void **state) {
  (void)state;
  const int64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, none[2] = {0, 4}, hollow[2] = {4, 0};
  const int64_t huge[4] = {1, 1, 1, 0};
  put_file("a", bytes, encode_idx(NTK_U8, 9, nine, bytes), false);
  check_failure(try_reading("a", NULL), NTK_ERR_FORMAT, "too many axes");
  put_file("a", bytes, encode_idx(NTK_U8, 2, none, bytes), false);
  check_failure(try_reading("a", NULL), NTK_ERR_FORMAT, "no samples");
  put_file("a", bytes, encode_idx(NTK_U8, 2, hollow, bytes), false);
  check_failure(try_reading("a", NULL), NTK_ERR_FORMAT, "no elements");
  (void)encode_idx(NTK_U8, 4, huge, bytes);
  memset(bytes + 4, 0xff, 12); /* (2^32 - 1)^3 */
  bytes[3] = 3;
  put_file("a", bytes, 1000, false);
  check_failure(try_reading("a", NULL), NTK_ERR_FORMAT, "damaged");
}

static void hdf5_without_data(void **state) {
  (void)state;
  const int64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, none[2] = {0, 4};
  hid_t file = create_h5("a.h5");
  hid_t text = H5Tcopy(H5T_C_S1), scalar = H5Screate(H5S_SCALAR);
  hid_t set = H5Dcreate2(file, "/scalar", H5T_NATIVE_INT, scalar, H5P_DEFAULT, H5P_DEFAULT,
                         H5P_DEFAULT);
  assert_true(H5Dclose(set) >= 0 && H5Sclose(scalar) >= 0);
  put_dataset(file, "/nine", H5T_NATIVE_INT, NTK_I32, 9, nine);
  put_dataset(file, "/text", text, NTK_F64, 1, &(int64_t){1000});
  put_dataset(file, "/none", H5T_NATIVE_INT, NTK_I32, 2, none);
  put_dataset(file, "/group/x", H5T_NATIVE_INT, NTK_I32, 1, dims);
  assert_true(H5Tclose(text) >= 0 && H5Fclose(file) >= 0);
  check_failure(try_reading("a.h5", NULL), NTK_ERR_FORMAT, "no data set /inputs");
  check_failure(try_reading("a.h5:/a/b", NULL), NTK_ERR_FORMAT, "no data set /a/b");
  check_failure(try_reading("a.h5:/scalar", NULL), NTK_ERR_FORMAT, "0 axes");
  check_failure(try_reading("a.h5:/nine", NULL), NTK_ERR_FORMAT, "9 axes");
  check_failure(try_reading("a.h5:/text", NULL), NTK_ERR_UNSUPPORTED, "neither real");
  check_failure(try_reading("a.h5:/none", NULL), NTK_ERR_FORMAT, "no samples");
  check_failure(try_reading("a.h5:/group", NULL), NTK_ERR_HDF5, "a.h5:/group");
}

static void files_that_are_none(void **state) {
  (void)state;
  static const char text[] = "These are the samples:\n1 2 3\n4 5 6\n";
  put_file("t.txt", text, sizeof text, false);
  check_failure(try_reading("t.txt", NULL), NTK_ERR_FORMAT, "t.txt: not HDF5, npy, IDX");
  check_failure(try_reading("t.txt:/inputs", NULL), NTK_ERR_FORMAT, "only HDF5");
  check_failure(try_reading("nothing", NULL), NTK_ERR_FILE, "nothing: No such file");
  check_failure(try_reading("nothing.h5:/x", NULL), NTK_ERR_FILE, "No such file");
  check_failure(try_reading(".", NULL), NTK_ERR_FILE, "is a folder");
  assert_false(ntk_data_is(path_of("t.txt")));
  assert_false(ntk_data_is(path_of("nothing")));
  assert_false(ntk_data_is(path_of(".")));
}

static void ranges_outside(void **state) {
  (void)state;
  put_file("a", bytes, encode_idx(NTK_U8, 3, dims, bytes), false);
  check_failure(try_reading("a", "--range 3:8"), NTK_ERR_ARGUMENT, "range 3:8");
  assert_non_null(strstr(ntk_fail_message(), "has 7 samples"));
  check_failure(try_reading("a", "--range 7:9"), NTK_ERR_ARGUMENT, "range 7:9");
  check_failure(try_reading("a", "--range 3:3"), NTK_ERR_ARGUMENT, "--range");
  check_failure(try_reading("a", "--colour red"), NTK_ERR_ARGUMENT, "--colour");
  check_success(try_reading("a", "--range 6:7"));
}

/* ---- description ----------------------------------------------------------------------
 */

static void descriptions(void **state) {
  (void)state;
  ntk_text text = {0};
  ntk_data *data = with_labels(H5T_STD_U8LE, NTK_U8, 1, dims, "l.h5", NULL);
  check_success(ntk_data_describe(data, false, &text));
  assert_non_null(strstr(text.data, "samples     7\n"));
  assert_non_null(strstr(text.data, "f32 [2, 3]\n"));
  assert_non_null(strstr(text.data, "classes 0 .. 42\n"));
  ntk_text_clear(&text);
  check_success(ntk_data_describe(data, true, &text));
  assert_non_null(strstr(text.data, "\"format\": \"HDF5\", \"samples\": 7, "
                                    "\"shape\": [2, 3], \"type\": \"f32\", "
                                    "\"labels\": \"classes\", \"classes\": 43}\n"));
  ntk_text_clear(&text);
  ntk_data_destroy(&data);
}

static int begin(void **state) {
  (void)state;
  make_folder();
  watch_hdf5();
  return 0;
}
static int end(void **state) {
  (void)state;
  check_hdf5();
  remove_folder();
  return 0;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {CASE(idx),
                                     CASE(npy),
                                     CASE(cifar),
                                     CASE(hdf5),
                                     CASE(many_axes),
                                     CASE(labels),
                                     CASE(digests),
                                     CASE(non_finite_samples),
                                     CASE(truncated_files),
                                     CASE(headers_of_npy),
                                     CASE(headers_of_idx),
                                     CASE(hdf5_without_data),
                                     CASE(files_that_are_none),
                                     CASE(ranges_outside),
                                     CASE(descriptions)};
  (void)MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  (void)MPI_Finalize();
  return failed;
}

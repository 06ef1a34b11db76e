/* SPDX-License-Identifier: Apache-2.0 */
#include "io/files.h"
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

/* Conversion into HDF5 with every option: what stands in the file, and what is left where
 * it fails: nothing. */

enum {
  SAMPLES = 12,
  CHANNELS = 2,
  HEIGHT = 3,
  WIDTH = 4,
  SIZE = CHANNELS * HEIGHT * WIDTH
};
static const int64_t dims[4] = {SAMPLES, CHANNELS, HEIGHT, WIDTH};
static unsigned char bytes[65536];

static int64_t label_of(int64_t sample) {
  return sample * sample % 5;
} /* 0 1 4 4 1 0 ... */
static double source(int64_t sample, int64_t i) {
  return value_of(NTK_U8, sample * SIZE + i);
}

static void put_sources(void) {
  put_file("x.gz", bytes, encode_idx(NTK_U8, 4, dims, bytes), true);
  const size_t n = encode_idx(NTK_U8, 1, dims, bytes);
  for (int64_t i = 0; i < SAMPLES; i++)
    bytes[n - SAMPLES + (size_t)i] = (unsigned char)label_of(i);
  put_file("y", bytes, n, false);
}

/* Options with the names of the sources in front. */
static ntk_status convert(const char *images, const char *labels, const char *options) {
  char text[1024];
  (void)snprintf(text, sizeof text, "--images %s%s%s %s", path_of(images),
                 labels ? " --labels " : "", labels ? path_of(labels) : "", options);
  return ntk_data_convert(context, text, path_of("d.h5"));
}

/* The file made from x and y, which replaces the last one. */
static ntk_data *converted(const char *options) {
  ntk_data *data = NULL;
  (void)remove(path_of("d.h5"));
  check_success(convert("x.gz", "y", options));
  assert_false(is_there("d.h5.new"));
  check_success(ntk_data_read(context, path_of("d.h5"), NULL, &data));
  return data;
}

static void read_sample(ntk_data *data, int64_t i, double *values) {
  assert_true(ntk_shape_size(&data->shape) == SIZE);
  check_success(ntk_data_slice(data, i, 1, NTK_F64, values));
}

static void read_index(int64_t n, int64_t *index) {
  const int64_t zero = 0;
  hid_t file = H5Fopen(path_of("d.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t set = H5Dopen2(file, "/source_index", H5P_DEFAULT);
  assert_true(file > 0 && set > 0);
  check_success(ntk_h5_read_box("d.h5", set, 1, &zero, &n, NTK_I64, index));
  assert_true(H5Dclose(set) >= 0 && H5Fclose(file) >= 0);
}

/* These samples in this order, as they are; labels[label] is what a label became. */
static void check_choice(const char *options, int64_t n, const int64_t *index,
                         const int64_t *labels) {
  double values[SIZE];
  int64_t found[SAMPLES];
  double due[SAMPLES];
  ntk_data *data = converted(options);
  assert_int_equal(data->total, n);
  assert_int_equal(data->dtype, NTK_U8);
  read_index(n, found);
  for (int64_t k = 0; k < n; k++) {
    assert_true(found[k] == index[k]);
    due[k] = (double)labels[label_of(index[k])];
    read_sample(data, k, values);
    for (int64_t i = 0; i < SIZE; i++)
      assert_true(values[i] == source(index[k], i));
  }
  check_labels(data, NTK_LABELS_CLASSES, 1, due);
  ntk_data_destroy(&data);
}

static const int64_t same[5] = {0, 1, 2, 3, 4};
static const int64_t all[SAMPLES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

/* ---- which samples --------------------------------------------------------------------
 */

static void choices(void **state) {
  (void)state;
  /* labels 0 1 4 4 1 0 1 4 4 1 0 1 */
  check_choice("", SAMPLES, all, same);
  check_choice("--range 2:9", 7, all + 2, same);
  check_choice("--per-class 2", 6, (int64_t[]){0, 1, 2, 3, 4, 5}, same);
  check_choice("--per-class 2 --range 2:9", 5, (int64_t[]){2, 3, 4, 5, 6}, same);
  check_choice("--per-class 100", SAMPLES, all, same);
  check_choice("--classes 4,0", 7, (int64_t[]){0, 2, 3, 5, 7, 8, 10},
               (int64_t[]){1, -1, -1, -1, 0});
  check_choice("--classes 4,0 --per-class 1 --range 1:11", 2, (int64_t[]){2, 5},
               (int64_t[]){1, -1, -1, -1, 0});
}

static void shuffled(void **state) {
  (void)state;
  int64_t first[SAMPLES], again[SAMPLES], other[SAMPLES], few[SAMPLES];
  ntk_data *data = converted("--shuffle 3");
  read_index(SAMPLES, first);
  ntk_data_destroy(&data);
  data = converted("--shuffle 3");
  read_index(SAMPLES, again);
  ntk_data_destroy(&data);
  data = converted("--shuffle 4");
  read_index(SAMPLES, other);
  ntk_data_destroy(&data);
  assert_memory_equal(first, again, sizeof first);
  assert_memory_not_equal(first, other, sizeof first);
  assert_memory_not_equal(first, all, sizeof first);
  int seen[SAMPLES] = {0};
  for (int i = 0; i < SAMPLES; i++)
    seen[first[i]]++;
  for (int i = 0; i < SAMPLES; i++)
    assert_int_equal(seen[i], 1);
  check_choice("--shuffle 3", SAMPLES, first, same); /* values and labels with them */
  /* the first of each class in the new order */
  int64_t count[5] = {0}, n = 0;
  for (int i = 0; i < SAMPLES; i++)
    if (count[label_of(first[i])]++ < 2)
      few[n++] = first[i];
  check_choice("--shuffle 3 --per-class 2", n, few, same);
}

/* ---- values ---------------------------------------------------------------------------
 */

/* Of each sample, value `from(i)` of the source computed with, as f32 where not u8. */
static void check_values(const char *options, double divide, const double *mean,
                         const double *deviation, const int *axes, bool flat) {
  static const int identity[3] = {0, 1, 2};
  const int64_t stride[3] = {HEIGHT * WIDTH, WIDTH, 1};
  double values[SIZE];
  ntk_data *data = converted(options);
  const bool computed = divide != 1 || mean;
  axes = axes ? axes : identity;
  assert_int_equal(data->dtype, computed ? NTK_F32 : NTK_U8);
  assert_int_equal(data->shape.ndim, flat ? 1 : 3);
  for (int a = 0; a < 3 && !flat; a++)
    assert_true(data->shape.dim[a] == dims[1 + axes[a]]);
  for (int64_t k = 0; k < SAMPLES; k++) {
    read_sample(data, k, values);
    int64_t at = 0;
    for (int64_t a = 0; a < dims[1 + axes[0]]; a++)
      for (int64_t b = 0; b < dims[1 + axes[1]]; b++)
        for (int64_t c = 0; c < dims[1 + axes[2]]; c++) {
          double due =
              source(k, a * stride[axes[0]] + b * stride[axes[1]] + c * stride[axes[2]]);
          due /= divide;
          if (mean)
            due = (due - mean[a]) / deviation[a];
          assert_true(values[at++] == (double)(float)due);
        }
  }
  ntk_data_destroy(&data);
}

static void computed_values(void **state) {
  (void)state;
  const double means[4] = {0.5, 0.25, 3, -1}, deviations[4] = {0.125, 2, 1, 0.3};
  const double one[4] = {0.1, 0.1, 0.1, 0.1}, tenth[4] = {0.4, 0.4, 0.4, 0.4};
  const int last_first[3] = {2, 0, 1}, first_last[3] = {1, 2, 0};
  check_values("--divide 255", 255, NULL, NULL, NULL, false);
  check_values("--scale 255", 255, NULL, NULL, NULL, false);
  check_values("--normalize 0.5,0.25/0.125,2", 1, means, deviations, NULL, false);
  check_values("--divide 100 --normalize 0.5,0.25/0.125,2", 100, means, deviations, NULL,
               false);
  check_values("--normalize 0.1/0.4", 1, one, tenth, NULL, false);
  check_values("--flatten", 1, NULL, NULL, NULL, true);
  check_values("--transpose 2,0,1", 1, NULL, NULL, last_first, false);
  check_values("--transpose 1,2,0 --flatten", 1, NULL, NULL, first_last, true);
  /* the channels are those of the axes as written */
  check_values("--transpose 2,0,1 --normalize 0.5,0.25,3,-1/0.125,2,1,0.3 --divide 7", 7,
               means, deviations, last_first, false);
  check_values("--flatten --normalize 0.5,0.25/0.125,2", 1, means, deviations, NULL, true);
}

/* Reals keep their type. */
static void real_sources(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    const ntk_dtype dtype = i ? NTK_F64 : NTK_F32;
    double values[SIZE];
    ntk_data *data = NULL;
    put_file("r", bytes, encode_idx(dtype, 4, dims, bytes), false);
    check_success(convert("r", NULL, "--divide 3"));
    check_success(ntk_data_read(context, path_of("d.h5"), NULL, &data));
    assert_int_equal(data->dtype, dtype);
    assert_int_equal(data->labels, NTK_LABELS_NONE);
    read_sample(data, 5, values);
    for (int64_t k = 0; k < SIZE; k++) {
      const double due = value_of(dtype, 5 * SIZE + k) / 3;
      assert_true(values[k] == (i ? due : (double)(float)due));
    }
    ntk_data_destroy(&data);
    (void)remove(path_of("d.h5"));
  }
}

/* ---- labels ---------------------------------------------------------------------------
 */

/* Real labels, or several a sample, are targets; they go with their samples. */
static void targets(void **state) {
  (void)state;
  const int64_t pairs[2] = {SAMPLES, 2};
  for (int i = 0; i < 2; i++) {
    const ntk_dtype dtype = i ? NTK_I16 : NTK_F32;
    int64_t index[SAMPLES];
    ntk_data *data = NULL;
    put_file("t", bytes, encode_idx(dtype, 2, pairs, bytes), false);
    check_success(convert("x.gz", "t", "--range 1:10 --shuffle 1"));
    check_success(ntk_data_read(context, path_of("d.h5"), NULL, &data));
    read_index(9, index);
    double due[18];
    for (int64_t k = 0; k < 18; k++)
      due[k] = value_of(dtype, index[k / 2] * 2 + k % 2);
    check_labels(data, NTK_LABELS_TARGETS, 2, due);
    ntk_data_destroy(&data);
    (void)remove(path_of("d.h5"));
  }
}

/* A file with labels of its own, here one made before, named as their file or not, and what
 * is noted in it. */
static void labels_of_the_images(void **state) {
  (void)state;
  char text[64] = "";
  ntk_data *data = converted("");
  ntk_data_destroy(&data);
  assert_int_equal(rename(path_of("d.h5"), path_of("e.h5")), 0);
  for (int named = 0; named < 2; named++) {
    (void)remove(path_of("d.h5"));
    check_success(convert("e.h5", named ? "e.h5" : NULL, "--range 3:8 --classes 1,4"));
    check_success(ntk_data_read(context, path_of("d.h5"), NULL, &data));
    assert_int_equal(data->total, 4); /* 3 4 6 7 */
    const double due[4] = {1, 0, 0, 1};
    check_labels(data, NTK_LABELS_CLASSES, 1, due);
    ntk_data_destroy(&data);
  }
  hid_t file = H5Fopen(path_of("d.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t note = H5Aopen(file, "format", H5P_DEFAULT), type = H5Aget_type(note);
  assert_true(H5Tis_variable_str(type) == 0 && H5Tget_size(type) < sizeof text);
  assert_true(H5Aread(note, type, text) >= 0);
  assert_string_equal(text, "scantk-data 1");
  assert_true(H5Tclose(type) >= 0 && H5Aclose(note) >= 0 && H5Fclose(file) >= 0);
}

/* ---- what fails -----------------------------------------------------------------------
 */

static void check_nothing_left(void) {
  assert_false(is_there("d.h5"));
  assert_false(is_there("d.h5.new"));
  check_hdf5();
}

static void refused_options(void **state) {
  (void)state;
  static const struct {
    const char *labels, *options;
    ntk_status due;
    const char *text;
  } cases[] = {
      {"y", "--divide 2 --scale 2", NTK_ERR_ARGUMENT, "give one of them"},
      {"y", "--divide 0", NTK_ERR_ARGUMENT, "--divide"},
      {"y", "--divide x", NTK_ERR_ARGUMENT, "--divide"},
      {"y", "--normalize 0.5", NTK_ERR_ARGUMENT, "--normalize"},
      {"y", "--normalize 1,2/1", NTK_ERR_ARGUMENT, "--normalize"},
      {"y", "--normalize 1,2/1,a", NTK_ERR_ARGUMENT, "--normalize"},
      {"y", "--normalize 1,2/1,0", NTK_ERR_ARGUMENT, "--normalize"},
      {"y", "--normalize 1,nan/1,1", NTK_ERR_ARGUMENT, "--normalize"},
      {"y", "--normalize 1,1/1,inf", NTK_ERR_ARGUMENT, "--normalize"},
      {"y", "--normalize 1,2,3/1,1,1", NTK_ERR_SHAPE, "3 channels, a sample has 2"},
      {"y", "--transpose 0,1", NTK_ERR_ARGUMENT, "--transpose"},
      {"y", "--transpose 0,1,1", NTK_ERR_ARGUMENT, "--transpose"},
      {"y", "--transpose 0,1,3", NTK_ERR_ARGUMENT, "--transpose"},
      {"y", "--transpose 0,1,1e300", NTK_ERR_ARGUMENT, "--transpose"},
      {"y", "--transpose 0,1,1.5", NTK_ERR_ARGUMENT, "--transpose"},
      {"y", "--range 5:13", NTK_ERR_ARGUMENT, "--range 5:13: there are 12 samples"},
      {"y", "--classes 7", NTK_ERR_ARGUMENT, "no sample is left"},
      {"y", "--classes 1,x", NTK_ERR_ARGUMENT, "--classes"},
      {"y", "--classes 1.5", NTK_ERR_ARGUMENT, "--classes"},
      {"y", "--classes -1", NTK_ERR_ARGUMENT, "--classes"},
      {"y", "--classes nan", NTK_ERR_ARGUMENT, "--classes"},
      {"y", "--per-class 0", NTK_ERR_ARGUMENT, "--per-class"},
      {"y", "--shuffle x", NTK_ERR_ARGUMENT, "--shuffle"},
      {"y", "--colour red", NTK_ERR_ARGUMENT, "--colour"},
      {NULL, "--classes 1", NTK_ERR_ARGUMENT, "give --labels"},
      {NULL, "--per-class 1", NTK_ERR_ARGUMENT, "give --labels"},
      {"few", "", NTK_ERR_SHAPE, "few: 5 labels for 12 samples"},
      {"large", "--per-class 1", NTK_ERR_FORMAT, "is not a class number"},
      {"real", "--per-class 1", NTK_ERR_ARGUMENT, "need class labels"},
      {"nothing", "", NTK_ERR_FILE, "nothing: No such file"}};
  const int64_t five[1] = {5};
  put_file("few", bytes, encode_idx(NTK_U8, 1, five, bytes), false);
  put_file("real", bytes, encode_idx(NTK_F32, 1, dims, bytes), false);
  const size_t n = encode_idx(NTK_I32, 1, dims, bytes);
  bytes[n - 4] = 0x7f;
  put_file("large", bytes, n, false);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const int64_t before = ntk_memory_used_total();
    check_failure(convert("x.gz", cases[i].labels, cases[i].options), cases[i].due,
                  cases[i].text);
    check_nothing_left();
    assert_true(ntk_memory_used_total() == before);
  }
  check_failure(convert("nothing", NULL, ""), NTK_ERR_FILE, "nothing: No such file");
  check_failure(ntk_data_convert(context, NULL, path_of("d.h5")), NTK_ERR_ARGUMENT,
                "--images is missing");
  check_nothing_left();
}

static void outputs_that_cannot_be(void **state) {
  (void)state;
  ntk_data *data = converted("");
  ntk_data_destroy(&data);
  struct stat before, after;
  assert_int_equal(stat(path_of("d.h5"), &before), 0);
  check_failure(convert("x.gz", "y", ""), NTK_ERR_EXISTS, "d.h5 exists");
  assert_int_equal(stat(path_of("d.h5"), &after), 0);
  assert_true(before.st_ino == after.st_ino && before.st_size == after.st_size);
  char text[512];
  (void)snprintf(text, sizeof text, "--images %s", path_of("x.gz"));
  check_failure(ntk_data_convert(context, text, path_of("no/d.h5")), NTK_ERR_FILE,
                "no/d.h5.new: ");
  assert_non_null(strstr(ntk_fail_message(), "No such file"));
  /* what a killed run left is replaced */
  (void)remove(path_of("d.h5"));
  put_file("d.h5.new", "old", 3, false);
  data = converted("");
  ntk_data_destroy(&data);
}

/* Images that end in the middle, and a disk that is full. */
static void failures_on_the_way(void **state) {
  (void)state;
  static unsigned char noise[20000];
  const int64_t dim[2] = {100, 150};
  const size_t n = encode_idx(NTK_U8, 2, dim, noise);
  for (size_t i = 12; i < n; i++)
    noise[i] = (unsigned char)(rand() & 255);
  put_file("z.gz", noise, n, true);
  assert_int_equal(truncate(path_of("z.gz"), 9000), 0);
  check_failure(convert("z.gz", NULL, ""), NTK_ERR_FORMAT, "z.gz: ");
  check_nothing_left();
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  put_file("z", noise, n, false);
  (void)signal(SIGXFSZ, SIG_IGN);
  for (rlim_t most = 0; most < 15000; most += 2500) {
    const struct rlimit less = {most, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
    const ntk_status status = convert("z", NULL, "");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    check_failure(status, NTK_ERR_FILE, "d.h5.new: cannot be written: File too large");
    check_nothing_left();
  }
  check_success(convert("z", NULL, ""));
}

static int begin(void **state) {
  (void)state;
  make_folder();
  watch_hdf5();
  put_sources();
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
  const struct CMUnitTest tests[] = {CASE(choices),
                                     CASE(shuffled),
                                     CASE(computed_values),
                                     CASE(real_sources),
                                     CASE(targets),
                                     CASE(labels_of_the_images),
                                     CASE(refused_options),
                                     CASE(outputs_that_cannot_be),
                                     CASE(failures_on_the_way)};
  (void)MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  (void)MPI_Finalize();
  return failed;
}

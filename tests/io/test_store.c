/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 6 */
#include "io/kernel_files.h"
#include <hdf5_hl.h>
#include <math.h>
#include <xxhash.h>

/* Kernel files: written by all ranks, reread with HDF5 alone; and what is told of them. */

static hid_t file;

static hid_t open_set(const char *name) {
  hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
  assert_true(set > 0);
  return set;
}
/* All elements of a data set of these sizes. */
static void read_all(const char *name, hid_t type, int ndim, const int64_t *dim,
                     void *values) {
  hsize_t size[NTK_MAX_DIMS];
  hid_t set = open_set(name), space = H5Dget_space(set);
  assert_int_equal(H5Sget_simple_extent_ndims(space), ndim);
  assert_true(H5Sget_simple_extent_dims(space, size, NULL) >= 0);
  for (int i = 0; i < ndim; i++)
    assert_true((int64_t)size[i] == dim[i]);
  assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  assert_true(H5Sclose(space) >= 0 && H5Dclose(set) >= 0);
}

/* ---- the kernel and its marks ---------------------------------------------------------
 */

/* Sizes, tile sizes and names of the axes of a reduction. */
typedef struct axes {
  int ndim;
  int64_t dim[4], tile[4];
  const char *name[4];
} axes;

static axes axes_of(const ntk_store_spec *s) {
  const int64_t O = s->outputs, Q = least_of(s->outputs_block, O);
  const int64_t b1 = least_of(s->block, s->rows), b2 = least_of(s->block, s->columns);
  if (s->reduction == NTK_REDUCE_NONE)
    return (axes){4,
                  {s->rows, O, s->columns, O},
                  {b1, Q, b2, Q},
                  {"sample1", "output1", "sample2", "output2"}};
  if (s->reduction == NTK_REDUCE_DIAGONAL)
    return (axes){
        3, {O, s->rows, s->columns}, {Q, b1, b2}, {"output1", "sample1", "sample2"}};
  return (axes){2, {s->rows, s->columns}, {b1, b2}, {"sample1", "sample2"}};
}

static double element(const ntk_store_spec *s, const int64_t at[4]) {
  if (s->reduction == NTK_REDUCE_NONE)
    return entry(s, at[0], at[1], at[2], at[3]);
  if (s->reduction == NTK_REDUCE_DIAGONAL)
    return entry(s, at[1], at[0], at[2], at[0]);
  return entry(s, at[0], 0, at[1], 0);
}

static void check_kernel(const ntk_store_spec *s) {
  static double values[MOST_TILE];
  const axes a = axes_of(s);
  hsize_t chunk[4];
  int64_t at[4] = {0}, n = 1;
  for (int i = 0; i < a.ndim; i++)
    n *= a.dim[i];
  assert_true(n <= MOST_TILE);
  read_all("/kernel", H5T_NATIVE_DOUBLE, a.ndim, a.dim, values);
  for (int64_t k = 0; k < n; k++) {
    assert_true(values[k] == element(s, at));
    for (int i = a.ndim - 1; i >= 0 && ++at[i] == a.dim[i]; i--)
      at[i] = 0;
  }
  hid_t set = open_set("/kernel"), create = H5Dget_create_plist(set),
        type = H5Dget_type(set);
  assert_int_equal(H5Pget_chunk(create, 4, chunk), a.ndim);
  for (int i = 0; i < a.ndim; i++)
    assert_true((int64_t)chunk[i] == a.tile[i]);
  assert_true(H5Tequal(type, s->dtype == NTK_F64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT) >
              0);
  assert_int_equal(H5Pget_nfilters(create), 0);
  assert_true(H5Tclose(type) >= 0 && H5Pclose(create) >= 0 && H5Dclose(set) >= 0);
}

/* Every mark is set; checksums are those of the tiles as they were handed over. */
static void check_marks(const ntk_store_spec *s) {
  static double values[MOST_TILE];
  static uint64_t checksum[4096];
  static uint8_t done[4096];
  const axes a = axes_of(s);
  int64_t tiles[4], all = 1, k;
  ntk_tile t;
  for (int i = 0; i < a.ndim; i++)
    all *= tiles[i] = blocks_of(a.dim[i], a.tile[i]);
  assert_true(all <= 4096);
  read_all("/tiles/done", H5T_NATIVE_UINT8, a.ndim, tiles, done);
  read_all("/tiles/checksum", H5T_NATIVE_UINT64, a.ndim, tiles, checksum);
  for (k = 0; tile_at(s, k, &t); k++) {
    const int64_t I = t.row_first / s->block, J = t.column_first / s->block;
    const int64_t q = t.row_output / s->outputs_block,
                  p = t.column_output / s->outputs_block;
    const int64_t at = a.ndim == 4   ? ((I * tiles[1] + q) * tiles[2] + J) * tiles[3] + p
                       : a.ndim == 3 ? (q * tiles[1] + I) * tiles[2] + J
                                     : I * tiles[1] + J;
    const size_t bytes = (size_t)fill_tile(s, &t, values) * ntk_dtype_bytes(s->dtype);
    assert_int_equal(done[at], 1);
    assert_true(checksum[at] == XXH3_64bits(values, bytes));
  }
  assert_true(k == all);
}

/* ---- scales ---------------------------------------------------------------------------
 */

typedef struct scale_values {
  int64_t count, values[MOST_SAMPLES];
} scale_values;

static herr_t read_scale(hid_t set, unsigned axis, hid_t scale, void *user) {
  (void)set;
  (void)axis;
  scale_values *v = user;
  hid_t space = H5Dget_space(scale);
  v->count = H5Sget_simple_extent_npoints(space);
  (void)H5Sclose(space);
  if (v->count > MOST_SAMPLES)
    return -1;
  return H5Dread(scale, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, v->values);
}

/* The one scale of an axis holds the original indices of every step-th sample or output. */
static void check_scale(const ntk_store_spec *s, hid_t set, int axis, const char *name,
                        int64_t dim, int64_t step) {
  scale_values v;
  int visited = 0;
  const int side = side_of(s, name[6] == '2');
  assert_int_equal(H5DSget_num_scales(set, (unsigned)axis), 1);
  assert_true(H5DSiterate_scales(set, (unsigned)axis, &visited, read_scale, &v) >= 0);
  assert_true(v.count == blocks_of(dim, step));
  for (int64_t i = 0; i < v.count; i++)
    assert_true(v.values[i] == (name[0] == 's'    ? sides[side].first + i * step
                                : s->output_index ? output_index[i * step]
                                                  : i * step));
}

static void check_scales(const ntk_store_spec *s) {
  const axes a = axes_of(s);
  static const char *const marks[] = {"/tiles/done", "/tiles/checksum"};
  hid_t set = open_set("/kernel");
  for (int i = 0; i < a.ndim; i++)
    check_scale(s, set, i, a.name[i], a.dim[i], 1);
  assert_true(H5Dclose(set) >= 0);
  for (int m = 0; m < 2; m++) {
    set = open_set(marks[m]);
    for (int i = 0; i < a.ndim; i++)
      check_scale(s, set, i, a.name[i], a.dim[i], a.tile[i]);
    assert_true(H5Dclose(set) >= 0);
  }
  for (int side = 0; side < 2; side++) {
    set = open_set(side ? "/outputs2" : "/outputs1");
    check_scale(s, set, 0, side ? "sample2" : "sample1", side ? s->columns : s->rows, 1);
    check_scale(s, set, 1, side ? "output2" : "output1", s->outputs, 1);
    assert_true(H5Dclose(set) >= 0);
    set = open_set(side ? "/labels2" : "/labels1");
    check_scale(s, set, 0, side ? "sample2" : "sample1", side ? s->columns : s->rows, 1);
    assert_true(H5Dclose(set) >= 0);
  }
}

/* ---- the rest -------------------------------------------------------------------------
 */

static void check_sides(const ntk_store_spec *s) {
  for (int side = 0; side < 2; side++) {
    const int64_t rows = side ? s->columns : s->rows, dim[2] = {rows, s->outputs};
    const int from = side_of(s, side);
    double outputs[MOST_SAMPLES * MOST_OUTPUTS];
    int64_t labels[MOST_SAMPLES];
    uint64_t digests[MOST_SAMPLES][2];
    read_all(side ? "/outputs2" : "/outputs1", H5T_NATIVE_DOUBLE, 2, dim, outputs);
    for (int64_t i = 0; i < rows * s->outputs; i++)
      assert_true(outputs[i] == output_of(side, i / s->outputs, i % s->outputs));
    read_all(side ? "/labels2" : "/labels1", H5T_NATIVE_INT64, 1, &rows, labels);
    assert_memory_equal(labels, labels_of[from], sizeof *labels * (size_t)rows);
    read_all(side ? "/digest2" : "/digest1", H5T_NATIVE_UINT64, 2,
             (const int64_t[]){rows, 2}, digests);
    assert_memory_equal(digests, digests_of[from], sizeof *digests * (size_t)rows);
  }
}

/* Text of fixed length in a data set (object) or an attribute of it (name). */
static void check_text(const char *object, const char *name, const char *due) {
  char text[256] = "";
  hid_t at = H5Oopen(file, object, H5P_DEFAULT);
  hid_t note = name ? H5Aopen(at, name, H5P_DEFAULT) : 0;
  hid_t type = name ? H5Aget_type(note) : H5Dget_type(at);
  assert_true(H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0);
  assert_true(H5Tget_cset(type) == H5T_CSET_UTF8 && H5Tget_size(type) < sizeof text);
  assert_true((name ? H5Aread(note, type, text)
                    : H5Dread(at, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text)) >= 0);
  assert_string_equal(text, due);
  assert_true((!name || H5Aclose(note) >= 0) && H5Tclose(type) >= 0 && H5Oclose(at) >= 0);
}
static double number_note(const char *name) {
  double value = NAN;
  assert_true(ntk_h5_get_number(file, name, NTK_F64, &value));
  return value;
}

static void check_notes(const ntk_store_spec *s) {
  static const char *const reductions[] = {"none", "trace", "diagonal", "pseudo"};
  check_text("/", "format", "scantk-kernel 1");
  check_text("/", "NX_class", "NXdata");
  check_text("/", "signal", "kernel");
  check_text("/", "reduction", reductions[s->reduction]);
  check_text("/kernel", "long_name", "neural tangent kernel");
  check_text("/plan", NULL, plan_text);
  check_text("/provenance", NULL, provenance_text);
  assert_true(number_note("complete") == 1);
  assert_true(number_note("symmetric") == s->symmetric);
  assert_true(number_note("seconds") == 2.5 && number_note("gflops") == 30 &&
              number_note("gemm_gflops") == 40);
}

static void check_file(const ntk_store_spec *s) {
  struct stat found;
  int64_t measured = 0;
  if (ntk_context_rank(context) == 0) {
    file = H5Fopen(s->path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file > 0);
    check_kernel(s);
    check_marks(s);
    check_scales(s);
    check_sides(s);
    check_notes(s);
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(stat(s->path, &found), 0);
    assert_true(llabs((long long)found.st_size - ntk_store_file_bytes(s)) <= 65536);
    ntk_store_spec other = *s; /* of a run whose provenance is shorter */
    other.provenance = s->provenance_room > 0 ? "{}" : s->provenance;
    check_success(ntk_store_measure(&other, &measured));
    assert_int_equal(measured, found.st_size);
  }
  check_hdf5();
}

static void check_reduction(ntk_reduction reduction) {
  static const int64_t sizes[][5] = {/* N1 N2 O B Q */
                                     {7, 5, 5, 3, 2},
                                     {6, 9, 4, 3, 2},
                                     {5, 4, 3, 100, 100},
                                     {1, 1, 1, 1, 1},
                                     {11, 3, 3, 1, 1}};
  const ntk_store_facts facts = {2.5, 30, 40};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int symmetric = 0; symmetric < 2; symmetric++) {
      ntk_store_spec s =
          spec_of(reduction, symmetric, i % 2 ? NTK_F64 : NTK_F32, sizes[i][0], sizes[i][1],
                  sizes[i][2], sizes[i][3], sizes[i][4]);
      s.output_index = i == 1 ? NULL : output_index;
      s.provenance_room = symmetric ? 250 : 0;
      make_file(&s, &facts);
      check_file(&s);
      remove_file("K.h5");
    }
}

static void full_kernels(void **state) {
  (void)state;
  check_reduction(NTK_REDUCE_NONE);
}
static void traces(void **state) {
  (void)state;
  check_reduction(NTK_REDUCE_TRACE);
}
static void diagonals(void **state) {
  (void)state;
  check_reduction(NTK_REDUCE_DIAGONAL);
}
static void pseudo_kernels(void **state) {
  (void)state;
  check_reduction(NTK_REDUCE_PSEUDO);
}

/* Real targets in place of classes; none at all. */
static void labels_of_other_kinds(void **state) {
  (void)state;
  ntk_store_spec s = spec_of(NTK_REDUCE_TRACE, false, NTK_F64, 4, 3, 2, 2, 2);
  ntk_data_source targets_source = {.labels = NTK_LABELS_TARGETS,
                                    .read_labels = give_labels};
  double found[8];
  for (int i = 0; i < 8; i++)
    targets_of[i] = i / 3.0;
  sides[0].labels = NTK_LABELS_TARGETS;
  sides[0].target_shape = (ntk_shape){1, {2}};
  sides[0].source = &targets_source;
  sides[1].labels = NTK_LABELS_NONE;
  make_file(&s, NULL);
  if (ntk_context_rank(context) == 0) {
    file = H5Fopen(s.path, H5F_ACC_RDONLY, H5P_DEFAULT);
    read_all("/labels1", H5T_NATIVE_DOUBLE, 2, (const int64_t[]){4, 2}, found);
    assert_memory_equal(found, targets_of, sizeof found);
    assert_false(ntk_h5_has(file, "/labels2"));
    assert_true(H5Fclose(file) >= 0);
  }
}

/* ---- what is told ---------------------------------------------------------------------
 */

/* The number behind `key` in a text. */
static double number_after(const char *text, const char *key) {
  const char *found = strstr(text, key);
  if (!found)
    fail_msg("no '%s' in:\n%s", key, text);
  return strtod(found + strlen(key), NULL);
}

/* Trace and extreme entries of the diagonal. */
static double diagonal(const ntk_store_spec *s, double *least, double *most) {
  const int64_t outputs =
      s->reduction == NTK_REDUCE_NONE || s->reduction == NTK_REDUCE_DIAGONAL ? s->outputs
                                                                             : 1;
  double trace = 0;
  *least = INFINITY;
  *most = -INFINITY;
  for (int64_t n = 0; n < s->rows; n++)
    for (int64_t o = 0; o < outputs; o++) {
      const double x = entry(s, n, o, n, o);
      trace += x;
      *least = fmin(*least, x);
      *most = fmax(*most, x);
    }
  return trace;
}

/* "least 3.5 at sample 4, output 2" names an entry of that value. */
static void check_place(const ntk_store_spec *s, const char *text, const char *key,
                        double due) {
  double value;
  long long n = -1, o = 0;
  const char *found = strstr(text, key);
  assert_non_null(found);
  const int fields =
      sscanf(found + strlen(key), "%lf at sample %lld, output %lld", &value, &n, &o);
  assert_int_equal(
      fields,
      s->reduction == NTK_REDUCE_NONE || s->reduction == NTK_REDUCE_DIAGONAL ? 3 : 2);
  assert_true(value == due && entry(s, n, o, n, o) == due);
}

static void describe(const char *path, bool json, ntk_text *text) {
  ntk_text_clear(text);
  check_success(ntk_store_describe(path, json, text));
}

/* Adds to one element with plain HDF5. */
static void change_element(const ntk_store_spec *s, const hsize_t *at, double change) {
  const axes a = axes_of(s);
  const hsize_t one[4] = {1, 1, 1, 1};
  double value;
  file = H5Fopen(s->path, H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t set = open_set("/kernel"), space = H5Dget_space(set),
        memory = H5Screate_simple(a.ndim, one, NULL);
  assert_true(H5Sselect_hyperslab(space, H5S_SELECT_SET, at, NULL, one, NULL) >= 0);
  assert_true(H5Dread(set, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, &value) >= 0);
  value += change;
  assert_true(H5Dwrite(set, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, &value) >= 0);
  assert_true(H5Sclose(memory) >= 0 && H5Sclose(space) >= 0 && H5Dclose(set) >= 0 &&
              H5Fclose(file) >= 0);
}

/* An element off the diagonal of the matrix, in a tile off it or on it. */
static void check_asymmetry(const ntk_store_spec *s) {
  const hsize_t far4[4] = {6, 1, 0, 4}, near4[4] = {1, 2, 0, 2}, same4[4] = {6, 0, 6, 4};
  const hsize_t far3[3] = {4, 0, 6}, near3[3] = {1, 2, 1}, pair[2] = {6, 2};
  const hsize_t *const places[3][3] = {
      {pair, pair, pair}, {far3, near3, far3}, {far4, near4, same4}};
  ntk_text text = {0};
  for (int i = 0; i < 3; i++) {
    const hsize_t *at = places[axes_of(s).ndim - 2][i];
    change_element(s, at, 0.25);
    describe(s->path, false, &text);
    assert_non_null(strstr(text.data, "symmetry    NOT to the bit (largest |K - K^T| is "
                                      "0.25;"));
    describe(s->path, true, &text);
    assert_true(number_after(text.data, "\"asymmetry\": ") == 0.25);
    change_element(s, at, -0.25);
  }
  describe(s->path, false, &text);
  assert_non_null(strstr(text.data, "symmetry    to the bit"));
  ntk_text_clear(&text);
}

static void check_words(const ntk_store_spec *s) {
  static const char *const reductions[] = {"none", "trace", "diagonal", "pseudo"};
  double least, most;
  const double trace = diagonal(s, &least, &most);
  char line[64];
  ntk_text text = {0};
  describe(s->path, false, &text);
  (void)snprintf(line, sizeof line, "reduction   %s\n", reductions[s->reduction]);
  assert_non_null(strstr(text.data, line));
  assert_null(strstr(text.data, "NOT"));
  assert_true(fabs(number_after(text.data, "trace       ") - trace) < 1e-6);
  check_place(s, text.data, "least ", least);
  check_place(s, text.data, "most  ", most);
  assert_non_null(strstr(text.data, "contraction 30 GFLOP/s, 75 %"));
  assert_non_null(strstr(text.data, provenance_text));
  describe(s->path, true, &text);
  assert_true(fabs(number_after(text.data, "\"trace\": ") - trace) < 1e-10);
  assert_true(number_after(text.data, "\"asymmetry\": ") == 0);
  assert_true(number_after(text.data, "\"diagonal\": [") == least);
  assert_true(number_after(text.data, "\"gemm_gflops\": ") == 40);
  assert_true(number_after(text.data, "\"tiles\": ") ==
              number_after(text.data, "\"done\": "));
  assert_non_null(strstr(text.data, "\"complete\": true"));
  assert_non_null(strstr(text.data, "\"symmetric\": true"));
  assert_non_null(strstr(text.data, ", \"provenance\": {\"program\""));
  ntk_text_clear(&text);
}

static void symmetric_kernels_are_described(void **state) {
  (void)state;
  const ntk_store_facts facts = {2.5, 30, 40};
  for (int reduction = 0; reduction < 4; reduction++) {
    const ntk_store_spec s =
        spec_of((ntk_reduction)reduction, true, NTK_F32, 7, 7, 5, 3, 2);
    make_file(&s, &facts);
    if (ntk_context_rank(context) == 0) {
      const int64_t before = ntk_memory_used_total();
      assert_true(ntk_store_is(s.path));
      check_words(&s);
      check_asymmetry(&s);
      assert_true(ntk_memory_used_total() == before);
      check_hdf5();
    }
    remove_file("K.h5");
  }
}

/* Not all of many pairs are read; nothing is said of symmetry where there is none. */
static void other_kernels_are_described(void **state) {
  (void)state;
  ntk_text text = {0};
  for (int symmetric = 0; symmetric < 2; symmetric++) {
    const ntk_store_spec s = spec_of(NTK_REDUCE_TRACE, symmetric, NTK_F64, 40, 39, 3, 2, 3);
    make_file(&s, NULL);
    if (ntk_context_rank(context) == 0) {
      describe(s.path, false, &text);
      if (symmetric)
        assert_non_null(strstr(text.data, "53 of 210 pairs of tiles compared"));
      else
        assert_null(strstr(text.data, "symmetry"));
      assert_null(strstr(text.data, "GFLOP/s"));
      assert_non_null(strstr(text.data, "tiles       400 of 400 done\n"));
      char *plan = NULL;
      check_success(ntk_store_read_plan(s.path, &plan));
      assert_string_equal(plan, plan_text);
      ntk_free(&plan);
    }
    remove_file("K.h5");
  }
  ntk_text_clear(&text);
}

static int run(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
  const struct CMUnitTest tests[] = {CASE(full_kernels),
                                     CASE(traces),
                                     CASE(diagonals),
                                     CASE(pseudo_kernels),
                                     CASE(labels_of_other_kinds),
                                     CASE(symmetric_kernels_are_described),
                                     CASE(other_kernels_are_described)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
int main(void) { return with_ranks(run); }

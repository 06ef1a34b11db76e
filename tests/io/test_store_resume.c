/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 6 */
#include "io/kernel_files.h"

/* Going on with kernel files: what is done is found, what is wrong is found out, a complete
 * file is left alone. */

static int rank;

static ntk_store_spec common_spec(ntk_reduction reduction) {
  return spec_of(reduction, false, NTK_F32, 9, 7, 3, 2, 2);
}

static int64_t count_tiles(const ntk_store_spec *s) {
  int64_t tiles = 0;
  ntk_tile t;
  while (tile_at(s, tiles, &t))
    tiles++;
  return tiles;
}

/* A file with every third tile. */
static void make_part(const ntk_store_spec *s) {
  ntk_store *store = NULL;
  check_success(ntk_store_create(context, s, &store));
  check_success(write_tiles(store, s, 3));
  check_success(ntk_store_close(&store, false, NULL));
  check_files(false, true);
}

/* On rank 0: one element of a tile becomes another. */
static void spoil(const char *name, const ntk_store_spec *s, int64_t tile) {
  ntk_tile t = {0};
  const float other = 12345;
  barrier();
  if (rank == 0) {
    hid_t file = H5Fopen(path_of(name), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "/kernel", H5P_DEFAULT);
    assert_true(tile_at(s, tile, &t));
    const int64_t full[4] = {t.row_first, t.row_output, t.column_first, t.column_output};
    const int64_t pair[2] = {t.row_first, t.column_first}, one[4] = {1, 1, 1, 1};
    const bool is_full = s->reduction == NTK_REDUCE_NONE;
    check_success(ntk_h5_write_box("K", set, is_full ? 4 : 2, is_full ? full : pair, one,
                                   NTK_F32, &other));
    assert_true(H5Dclose(set) >= 0 && H5Fclose(file) >= 0);
  }
  barrier();
}

/* The tiles that are not yet done, dealt to the ranks. */
static ntk_status write_rest(ntk_store *store, const ntk_store_spec *s) {
  static double values[MOST_TILE];
  ntk_status status = NTK_SUCCESS;
  ntk_tile t;
  for (int64_t k = 0; status == NTK_SUCCESS && tile_at(s, k, &t); k++)
    if (k % ntk_context_size(context) == rank && !ntk_store_is_done(store, &t)) {
      (void)fill_tile(s, &t, values);
      status = ntk_store_write(store, &t, values);
    }
  return status;
}

static void check_count(const ntk_store *store, int64_t done, int64_t tiles) {
  int64_t found, all;
  check_success(ntk_store_count(store, &found, &all));
  assert_true(found == done && all == tiles);
}

/* Nothing is done now, and nothing wrong. */
static void check_complete(const ntk_store_spec *s) {
  ntk_store *store = NULL;
  ntk_store_state state;
  check_files(true, false);
  check_success(ntk_store_resume(context, s, &state, &store));
  assert_null(store);
  assert_true(state.done == state.tiles && state.tiles == count_tiles(s));
  assert_true(state.wrong == 0);
  check_files(true, false);
}

static void go_on(ntk_reduction reduction) {
  const ntk_store_spec s = common_spec(reduction);
  const int64_t tiles = count_tiles(&s), before = ntk_memory_used_total();
  const int64_t marked = (tiles + 2) / 3;
  ntk_store *store = NULL;
  ntk_store_state state;
  ntk_tile t;
  make_part(&s);
  spoil("K.h5.part", &s, 3);
  for (int wrong = 1; wrong >= 0; wrong--) { /* the second time the mark is gone */
    check_success(ntk_store_resume(context, &s, &state, &store));
    assert_true(state.tiles == tiles && state.done == marked - 1 && state.wrong == wrong);
    for (int64_t k = 0; tile_at(&s, k, &t); k++)
      assert_int_equal(ntk_store_is_done(store, &t), k % 3 == 0 && k != 3);
    check_count(store, marked - 1, tiles);
    if (wrong)
      check_success(ntk_store_close(&store, false, NULL)); /* nothing done: it stays */
    check_files(false, true);
  }
  check_success(write_rest(store, &s));
  check_count(store, tiles, tiles);
  check_success(write_outputs(store, &s));
  check_success(ntk_store_close(&store, true, NULL));
  check_complete(&s);
  check_hdf5();
  assert_true(ntk_memory_used_total() == before);
  remove_file("K.h5");
}

static void unfinished_files(void **state) {
  (void)state;
  go_on(NTK_REDUCE_NONE);
  go_on(NTK_REDUCE_TRACE);
}

/* It is no longer complete, and no longer named so, until the tile is right again. */
static void damaged_complete_files(void **state) {
  (void)state;
  const ntk_store_spec s = common_spec(NTK_REDUCE_NONE);
  ntk_store *store = NULL;
  ntk_store_state found;
  make_file(&s, NULL);
  spoil("K.h5", &s, 5);
  check_success(ntk_store_resume(context, &s, &found, &store));
  assert_true(found.wrong == 1 && found.done == found.tiles - 1);
  check_files(false, true);
  check_success(write_rest(store, &s));
  check_success(ntk_store_close(&store, true, NULL));
  check_complete(&s);
}

static void labels_are_rewritten(void **state) {
  (void)state;
  const ntk_store_spec s = common_spec(NTK_REDUCE_NONE);
  ntk_store *store = NULL;
  ntk_store_state found;
  int64_t labels[MOST_SAMPLES];
  make_part(&s);
  for (int64_t i = 0; i < s.columns; i++)
    labels_of[1][i] += 100;
  check_success(ntk_store_resume(context, &s, &found, &store));
  check_success(ntk_store_close(&store, false, NULL));
  if (rank == 0) {
    hid_t file = H5Fopen(path_of("K.h5.part"), H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "/labels2", H5P_DEFAULT);
    check_success(
        ntk_h5_read_box("K", set, 1, (int64_t[]){0}, &s.columns, NTK_I64, labels));
    for (int64_t i = 0; i < s.columns; i++)
      assert_true(labels[i] == labels_of[1][i] && labels[i] >= 100);
    assert_true(H5Dclose(set) >= 0 && H5Fclose(file) >= 0);
  }
}

static void files_that_are_not_there(void **state) {
  (void)state;
  const ntk_store_spec s = common_spec(NTK_REDUCE_NONE);
  ntk_store *store = NULL;
  ntk_store_state found;
  char *name = NULL;
  check_success(ntk_store_find(s.path, &name));
  assert_null(name);
  check_failure(ntk_store_resume(context, &s, &found, &store), NTK_ERR_HDF5, "K.h5.part");
  assert_null(store);
  make_part(&s);
  check_success(ntk_store_find(s.path, &name));
  assert_non_null(strstr(name, "K.h5.part"));
  ntk_free(&name);
  check_success(ntk_store_read_text(s.path, "/identity", &name));
  assert_string_equal(name, s.identity);
  ntk_free(&name);
  check_failure(ntk_store_read_text(s.path, "/nothing", &name), NTK_ERR_FORMAT, "/nothing");
}

static int run(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
  const struct CMUnitTest tests[] = {CASE(unfinished_files), CASE(damaged_complete_files),
                                     CASE(labels_are_rewritten),
                                     CASE(files_that_are_not_there)};
  rank = ntk_context_rank(context);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
int main(void) { return with_ranks(run); }

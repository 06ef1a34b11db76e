/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 6 */
#include "io/kernel_files.h"
#include "io/store_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* Kernel files that are refused, left unfinished, or cannot be written: the same status on
 * all ranks, a line that names the file, nothing left that should not be. */

static int rank, size;

static ntk_store_spec common_spec(void) {
  return spec_of(NTK_REDUCE_NONE, true, NTK_F64, 9, 9, 3, 2, 2);
}
static void put_empty(const char *name) {
  barrier();
  if (rank == 0)
    put_file(name, "old", 3, false);
  barrier();
}

/* Both the check before all work and the creation. */
static void refused(const ntk_store_spec *s, ntk_status due, const char *text) {
  const int64_t before = ntk_memory_used_total();
  ntk_store *store = NULL;
  check_failure(ntk_store_create(context, s, &store), due, text);
  assert_null(store);
  assert_true(ntk_memory_used_total() == before);
  check_failure(ntk_store_check(context, s->path, ntk_store_file_bytes(s)), due, text);
  check_hdf5();
}

static void existing_files(void **state) {
  (void)state;
  const ntk_store_spec s = common_spec();
  put_empty("K.h5");
  refused(&s, NTK_ERR_EXISTS, "K.h5 exists");
  check_files(true, false);
  remove_file("K.h5");
  put_empty("K.h5.part");
  refused(&s, NTK_ERR_EXISTS, "K.h5.part, left by an unfinished run, exists");
  check_files(false, true);
  remove_file("K.h5.part");
  /* also a link that leads nowhere */
  if (rank == 0)
    assert_int_equal(symlink(path_of("nowhere"), s.path), 0);
  barrier();
  refused(&s, NTK_ERR_EXISTS, "K.h5 exists");
  remove_file("K.h5");
}

/* What a run left that was killed while it laid out the file. */
static void a_stale_new_file_is_replaced(void **state) {
  (void)state;
  const ntk_store_spec s = common_spec();
  ntk_store *store = NULL;
  put_empty("K.h5.new");
  check_success(ntk_store_create(context, &s, &store));
  check_files(false, true);
  check_success(ntk_store_close(&store, false, NULL));
  put_empty("K.h5.new");
  make_file(&s, NULL);
}

static void folders_that_cannot_be_written(void **state) {
  (void)state;
  char path[384];
  ntk_store_spec s = common_spec();
  s.path = path;
  (void)snprintf(path, sizeof path, "%s/no/K.h5", folder);
  refused(&s, NTK_ERR_FILE, "/no/K.h5.new: cannot be ");
  assert_non_null(strstr(ntk_fail_message(), "No such file or directory"));
  put_empty("file");
  (void)snprintf(path, sizeof path, "%s/file/K.h5", folder);
  refused(&s, NTK_ERR_FILE, "/file/K.h5.new: cannot be ");
  assert_non_null(strstr(ntk_fail_message(), "Not a directory"));
}

static void too_large_files(void **state) {
  (void)state;
  ntk_store_spec s = common_spec();
  s.rows = s.columns = 4000000;
  s.outputs = 1000;
  s.block = 100;
  s.outputs_block = 10;
  assert_true(ntk_store_file_bytes(&s) == INT64_MAX);
  refused(&s, NTK_ERR_FILE, "K.h5");
  assert_non_null(strstr(ntk_fail_message(), "GiB free"));
  assert_non_null(strstr(ntk_fail_message(), "--reduce"));
  check_files(false, false);
  /* less than the space, more than a chunk may have; found before there is a file */
  s.rows = s.columns = 8192;
  s.outputs = s.outputs_block = 10;
  s.block = 8192;
  ntk_store *store = NULL;
  put_empty("K.h5.new");
  check_failure(ntk_store_create(context, &s, &store), NTK_ERR_ARGUMENT,
                "K.h5: a tile of 50 GiB; HDF5 takes chunks below 4 GiB");
  assert_non_null(strstr(ntk_fail_message(), "--block"));
  check_files(false, false);
  s.block = 23171; /* squared, times 8: just above 4 GiB */
  s.rows = s.columns = 23171;
  s.reduction = NTK_REDUCE_TRACE;
  check_failure(ntk_store_create(context, &s, &store), NTK_ERR_ARGUMENT, "a tile of 4 GiB");
  assert_null(store);
  check_files(false, false);
}

/* ---- unfinished -----------------------------------------------------------------------
 */

static void check_unfinished(const ntk_store_spec *s, int64_t step) {
  int64_t tiles = 0, done = 0;
  ntk_tile t;
  char line[128];
  ntk_text text = {0};
  while (tile_at(s, tiles, &t))
    done += tiles++ % step == 0;
  assert_true(ntk_store_is(s->path));
  check_success(ntk_store_describe(s->path, false, &text));
  (void)snprintf(line, sizeof line, "tiles       %d of %d done; NOT complete\n", (int)done,
                 (int)tiles);
  assert_non_null(strstr(text.data, line));
  assert_non_null(strstr(text.data, "K.h5.part\n"));
  assert_null(strstr(text.data, "symmetry"));
  assert_null(strstr(text.data, "GFLOP/s"));
  ntk_text_clear(&text);
  check_success(ntk_store_describe(s->path, true, &text));
  assert_non_null(strstr(text.data, "\"complete\": false"));
  ntk_text_clear(&text);
  char *plan = NULL;
  check_success(ntk_store_read_plan(s->path, &plan));
  assert_string_equal(plan, plan_text);
  ntk_free(&plan);
}

static void check_unfinished_tiles(const ntk_store_spec *s, int64_t step) {
  static double values[MOST_TILE], found[MOST_TILE];
  int64_t first[4], count[4];
  ntk_tile t;
  hid_t file = H5Fopen(path_of("K.h5.part"), H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t set = H5Dopen2(file, "/kernel", H5P_DEFAULT);
  assert_true(set > 0);
  for (int64_t k = 0; tile_at(s, k * step, &t); k++) {
    const int64_t n = fill_tile(s, &t, values);
    memcpy(first, (int64_t[]){t.row_first, t.row_output, t.column_first, t.column_output},
           sizeof first);
    memcpy(count, (int64_t[]){t.row_count, t.row_outputs, t.column_count, t.column_outputs},
           sizeof count);
    check_success(ntk_h5_read_box("K", set, 4, first, count, s->dtype, found));
    assert_memory_equal(found, values, (size_t)n * ntk_dtype_bytes(s->dtype));
  }
  assert_true(H5Dclose(set) >= 0 && H5Fclose(file) >= 0);
}

static void unfinished_files_stay(void **state) {
  (void)state;
  const ntk_store_spec s = common_spec();
  ntk_store *store = NULL;
  check_success(ntk_store_create(context, &s, &store));
  check_success(write_tiles(store, &s, 3));
  check_success(ntk_store_close(&store, false, NULL));
  assert_null(store);
  check_files(false, true);
  if (rank == 0) {
    check_unfinished(&s, 3);
    check_unfinished_tiles(&s, 3);
  }
}

/* Outputs alone are not worth a file. */
static void nothing_is_left_of_nothing(void **state) {
  (void)state;
  const ntk_store_spec s = common_spec();
  for (int outputs = 0; outputs < 2; outputs++) {
    ntk_store *store = NULL;
    check_success(ntk_store_create(context, &s, &store));
    if (outputs)
      check_success(write_outputs(store, &s));
    check_success(ntk_store_close(&store, false, NULL));
    check_success(ntk_store_close(&store, false, NULL)); /* NULL-safe */
    check_files(false, false);
  }
}

/* ---- a disk that takes no more --------------------------------------------------------
 */

/* From here on this rank can write the beginning of a file alone: as on a full disk, what
 * is there can be changed, here the head of HDF5, but no element is taken. */
static void limit_files(bool limited) {
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = limited ? 1024 : limit.rlim_max;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void check_named(ntk_status status) {
  check_failure(status, NTK_ERR_HDF5, "K.h5: ");
  assert_non_null(strstr(ntk_fail_message(), "(tile "));
}

/* The ranks that cannot write say so; closing ends on all ranks; what was written stays. */
static void fail_on(bool limited, bool after_some) {
  const ntk_store_spec s = common_spec();
  const int64_t before = ntk_memory_used_total();
  ntk_store *store = NULL;
  check_success(ntk_store_create(context, &s, &store));
  if (after_some)
    check_success(write_tiles(store, &s, 5));
  barrier();
  limit_files(limited);
  const ntk_status status = write_tiles(store, &s, 1);
  if (limited)
    check_named(status);
  else
    check_success(status);
  const ntk_status agreed = ntk_agree(context->comm, status);
  assert_int_equal(agreed, NTK_ERR_HDF5);
  check_named(agreed);
  const ntk_status closed = ntk_store_close(&store, false, NULL);
  limit_files(false);
  check_success(closed);
  assert_null(store);
  check_hdf5();
  assert_true(ntk_memory_used_total() == before);
  int64_t some = !limited || after_some, all;
  assert_int_equal(MPI_Allreduce(&some, &all, 1, MPI_INT64_T, MPI_SUM, context->comm),
                   MPI_SUCCESS);
  check_files(false, all > 0);
  if (rank == 0 && after_some)
    check_unfinished_tiles(&s, 5);
  remove_file("K.h5.part");
}

static void writes_that_fail(void **state) {
  (void)state;
  (void)signal(SIGXFSZ, SIG_IGN);
  for (int after_some = 0; after_some < 2; after_some++) {
    for (int failing = 0; failing < size; failing++)
      fail_on(rank == failing, after_some);
    fail_on(true, after_some);
  }
}

/* ---- space and hints ------------------------------------------------------------------
 */

static int refusal; /* of the next reservations, 0: they are made */
static int64_t reserved;

/* In place of the system's. */
int posix_fallocate(int fd, off_t offset, off_t length) {
  if (refusal)
    return refusal;
  reserved = length;
  return syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
}

static int64_t taken_by(const char *name) {
  struct stat s;
  assert_int_equal(stat(path_of(name), &s), 0);
  return (int64_t)s.st_blocks * 512;
}

static void space_is_reserved(void **state) {
  (void)state;
  ntk_store_spec s = common_spec();
  const int64_t kernel = 9 * 9 * 3 * 3 * 8;
  s.reserve = true;
  reserved = 0;
  ntk_store *store = NULL;
  check_success(ntk_store_create(context, &s, &store));
  if (rank == 0)
    assert_true(reserved > kernel && taken_by("K.h5.part") >= reserved);
  else
    assert_true(reserved == 0);
  check_success(write_tiles(store, &s, 1));
  check_success(ntk_store_close(&store, true, NULL));
  check_files(true, false);
}

static void reservations_that_fail(void **state) {
  (void)state;
  static const int reasons[] = {ENOSPC, EOPNOTSUPP};
  const int64_t before = ntk_memory_used_total();
  ntk_store_spec s = common_spec();
  s.reserve = true;
  for (int i = 0; i < 2; i++) {
    ntk_store *store = NULL;
    refusal = reasons[i];
    const ntk_status status = ntk_store_create(context, &s, &store);
    refusal = 0;
    check_failure(status, NTK_ERR_FILE, "K.h5.new: --reserve: ");
    assert_non_null(strstr(ntk_fail_message(), strerror(reasons[i])));
    assert_null(store);
    check_files(false, false);
    check_hdf5();
    assert_true(ntk_memory_used_total() == before);
  }
}

/* What HDF5 opened the file with. */
static void hints_reach_mpi(void **state) {
  (void)state;
  static const char *const hints[] = {"striping_factor=16", "romio_cb_write=a=b", NULL};
  static const char *const names[] = {"striping_factor", "romio_cb_write"};
  static const char *const values[] = {"16", "a=b"};
  ntk_store_spec s = common_spec();
  ntk_store *store = NULL;
  MPI_Comm comm;
  MPI_Info info;
  char found[64];
  int given;
  s.hints = hints;
  check_success(ntk_store_create(context, &s, &store));
  hid_t access = H5Fget_access_plist(store->file);
  assert_true(H5Pget_fapl_mpio(access, &comm, &info) >= 0);
  assert_true(info != MPI_INFO_NULL);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(MPI_Info_get(info, names[i], 63, found, &given), MPI_SUCCESS);
    assert_true(given);
    assert_string_equal(found, values[i]);
  }
  (void)MPI_Info_free(&info);
  (void)MPI_Comm_free(&comm);
  assert_true(H5Pclose(access) >= 0);
  check_success(ntk_store_close(&store, false, NULL));
}

/* ---- outputs alone --------------------------------------------------------------------
 */

static ntk_store *create_forward(const ntk_store_spec *s) {
  ntk_store *store = NULL;
  check_success(ntk_forward_store_create(context, s->path, s->row_data, s->outputs,
                                         s->dtype, provenance_text, &store));
  check_files(false, true);
  return store;
}

static void outputs_alone(void **state) {
  (void)state;
  const ntk_store_spec s = common_spec();
  double values[MOST_OUTPUTS];
  for (int complete = 0; complete < 2; complete++) {
    ntk_store *store = create_forward(&s);
    for (int64_t n = rank; n < s.rows; n += size) {
      for (int64_t o = 0; o < s.outputs; o++)
        values[o] = output_of(0, n, o);
      check_success(ntk_store_write_outputs(store, 0, n, 1, values));
    }
    check_success(ntk_store_close(&store, complete, NULL));
    check_files(complete, false);
  }
  if (rank == 0) {
    ntk_text text = {0};
    hid_t file = H5Fopen(s.path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "/outputs", H5P_DEFAULT);
    for (int64_t n = 0; n < s.rows; n++) {
      check_success(ntk_h5_read_box("K", set, 2, (int64_t[]){n, 0},
                                    (int64_t[]){1, s.outputs}, NTK_F64, values));
      for (int64_t o = 0; o < s.outputs; o++)
        assert_true(values[o] == output_of(0, n, o));
    }
    assert_true(ntk_h5_has(file, "/labels") && ntk_h5_has(file, "/provenance"));
    assert_true(H5Dclose(set) >= 0 && H5Fclose(file) >= 0);
    assert_false(ntk_store_is(s.path)); /* no kernel */
    check_failure(ntk_store_describe(s.path, false, &text), NTK_ERR_FORMAT, "K.h5");
  }
  barrier();
  ntk_store *store = NULL;
  check_failure(ntk_forward_store_create(context, s.path, s.row_data, s.outputs, s.dtype,
                                         provenance_text, &store),
                NTK_ERR_EXISTS, "K.h5 exists");
  assert_null(store);
}

/* ---- reading what is none -------------------------------------------------------------
 */

static void files_that_are_no_kernels(void **state) {
  (void)state;
  ntk_text text = {0};
  char *plan = NULL;
  if (rank != 0)
    return;
  put_file("text", "K(x, y)", 7, false);
  static const char *const names[] = {"nothing", "text", "."};
  static const ntk_status what[] = {NTK_ERR_FILE, NTK_ERR_FORMAT, NTK_ERR_FORMAT};
  for (size_t i = 0; i < 3; i++) {
    const char *path = path_of(names[i]);
    assert_false(ntk_store_is(path));
    check_failure(ntk_store_describe(path, false, &text), what[i], names[i]);
    check_failure(ntk_store_read_plan(path, &plan), NTK_ERR_HDF5, names[i]);
    assert_null(strstr(ntk_fail_message(), ".part"));
  }
  assert_null(text.data);
  assert_null(plan);
}

static int run(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
  const struct CMUnitTest tests[] = {CASE(existing_files),
                                     CASE(a_stale_new_file_is_replaced),
                                     CASE(folders_that_cannot_be_written),
                                     CASE(too_large_files),
                                     CASE(unfinished_files_stay),
                                     CASE(nothing_is_left_of_nothing),
                                     CASE(writes_that_fail),
                                     CASE(space_is_reserved),
                                     CASE(reservations_that_fail),
                                     CASE(hints_reach_mpi),
                                     CASE(outputs_alone),
                                     CASE(files_that_are_no_kernels)};
  rank = ntk_context_rank(context);
  size = ntk_context_size(context);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
int main(void) { return with_ranks(run); }

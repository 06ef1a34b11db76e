/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 4 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "dist/shared.h"
#include <string.h>

static ntk_context *context;

static unsigned char byte_of(int64_t i, int salt) {
  return (unsigned char)(i * 2654435761 >> 7 ^ salt);
}

static void write_bytes(ntk_shared *shared, int salt) {
  for (int64_t i = 0; i < shared->bytes; i++)
    shared->data[i] = (char)byte_of(i, salt);
}

static void check_bytes(const ntk_shared *shared, int salt) {
  for (int64_t i = 0; i < shared->bytes; i++)
    if ((unsigned char)shared->data[i] != byte_of(i, salt))
      fail_msg("byte %lld of %lld", (long long)i, (long long)shared->bytes);
}

/* Nothing, what is too small to be shared, and what is shared where several ranks are. */
static const int64_t sizes[] = {0, 1, 1000, (int64_t)1 << 20, 5000001};
enum { SIZES = sizeof sizes / sizeof *sizes };

static bool is_window(int64_t bytes) {
  return bytes >= 1 << 20 && ntk_context_size(context) > 1;
}

/* All see what their writer wrote, also when it writes again. */
static void all_see_it(void **state) {
  (void)state;
  for (int k = 0; k < SIZES; k++) {
    ntk_shared *shared = NULL;
    int writer, writers;
    assert_int_equal(ntk_shared_create(context, sizes[k], &shared), NTK_SUCCESS);
    assert_true((uintptr_t)shared->data % 64 == 0);
    assert_int_equal(shared->bytes, sizes[k]);
    writer = shared->is_writer;
    assert_int_equal(MPI_Allreduce(&writer, &writers, 1, MPI_INT, MPI_SUM, context->comm),
                     MPI_SUCCESS);
    assert_int_equal(writers, is_window(sizes[k]) ? 1 : ntk_context_size(context));
    assert_true(ntk_context_rank(context) > 0 || writer);
    for (int salt = 1; salt < 3; salt++) {
      if (shared->is_writer)
        write_bytes(shared, salt);
      assert_int_equal(ntk_shared_publish(shared, NTK_SUCCESS), NTK_SUCCESS);
      check_bytes(shared, salt);
      assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
    }
    ntk_shared_destroy(&shared);
    ntk_shared_destroy(&shared);
  }
}

/* What rank 0 alone wrote comes to all. */
static void it_spreads(void **state) {
  (void)state;
  for (int k = 0; k < SIZES; k++) {
    ntk_shared *shared = NULL;
    assert_int_equal(ntk_shared_create(context, sizes[k], &shared), NTK_SUCCESS);
    if (ntk_context_rank(context) == 0)
      write_bytes(shared, 5);
    assert_int_equal(ntk_shared_spread(shared, NTK_SUCCESS), NTK_SUCCESS);
    check_bytes(shared, 5);
    ntk_shared_destroy(&shared);
  }
}

/* Each rank counts its part; the cap is one on that. */
static void it_is_counted_in_parts(void **state) {
  (void)state;
  const int64_t bytes = (int64_t)12 << 20, before = ntk_memory_used_total();
  const int64_t part = bytes / ntk_context_size(context);
  ntk_shared *shared = NULL;
  assert_int_equal(ntk_shared_create(context, bytes, &shared), NTK_SUCCESS);
  assert_int_equal(ntk_memory_used(NTK_MEMORY_PARAMETERS), part);
  ntk_shared_destroy(&shared);
  assert_int_equal(ntk_memory_used_total(), before);
  /* one rank has too little: all fail, with its message */
  const bool last = ntk_context_rank(context) == ntk_context_size(context) - 1;
  (void)ntk_memory_set_cap(last ? before + part - 1 : 0);
  assert_int_equal(ntk_shared_create(context, bytes, &shared), NTK_ERR_MEMORY);
  assert_non_null(strstr(ntk_fail_message(), "for parameters"));
  assert_null(shared);
  (void)ntk_memory_set_cap(0);
  assert_int_equal(ntk_memory_used_total(), before);
}

/* Failing to write is everybody's failure. */
static void failures_are_agreed_on(void **state) {
  (void)state;
  for (int spread = 0; spread < 2; spread++) {
    ntk_shared *shared = NULL;
    ntk_status status = NTK_SUCCESS;
    assert_int_equal(ntk_shared_create(context, (int64_t)3 << 20, &shared), NTK_SUCCESS);
    if (ntk_context_rank(context) == 0)
      status = ntk_fail(NTK_ERR_FILE, "no such weights");
    status =
        spread ? ntk_shared_spread(shared, status) : ntk_shared_publish(shared, status);
    assert_int_equal(status, NTK_ERR_FILE);
    assert_non_null(strstr(ntk_fail_message(), "no such weights"));
    ntk_shared_destroy(&shared);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_see_it), cmocka_unit_test(it_spreads),
      cmocka_unit_test(it_is_counted_in_parts), cmocka_unit_test(failures_are_agreed_on)};
  (void)MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  (void)MPI_Finalize();
  return failed;
}

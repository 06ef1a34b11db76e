/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/context.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- memory ---------------------------------------------------------------------------
 */

static void blocks_are_aligned_and_counted(void **state) {
  (void)state;
  static const int64_t sizes[] = {0, 1, 63, 64, 65, 4097};
  const int64_t before = ntk_memory_used_total();
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char *a = NULL;
    double *b = NULL;
    assert_int_equal(ntk_malloc(NTK_MEMORY_SWEEP, sizes[i], 1, &a), NTK_SUCCESS);
    assert_int_equal(ntk_calloc(NTK_MEMORY_TILES, sizes[i], sizeof *b, &b), NTK_SUCCESS);
    assert_non_null(a);
    assert_true((uintptr_t)a % 64 == 0 && (uintptr_t)b % 64 == 0);
    for (int64_t k = 0; k < sizes[i]; k++)
      assert_true(b[k] == 0);
    memset(a, 1, (size_t)sizes[i]);
    assert_true(ntk_memory_used(NTK_MEMORY_SWEEP) == sizes[i]);
    assert_true(ntk_memory_used(NTK_MEMORY_TILES) == sizes[i] * 8);
    assert_true(ntk_memory_used_total() == before + sizes[i] * 9);
    assert_true(ntk_memory_peak_total() >= before + sizes[i] * 9);
    ntk_free(&a);
    ntk_free(&b);
    ntk_free(&b); /* NULL-safe */
    assert_null(a);
  }
  assert_true(ntk_memory_used_total() == before);
  assert_true(ntk_memory_peak_total() >= before + 9 * 4097);
}

static void too_large_is_refused(void **state) {
  (void)state;
  const int64_t before = ntk_memory_used_total();
  char mark, *block = &mark;
  assert_int_equal(ntk_malloc(NTK_MEMORY_GENERAL, INT64_MAX / 4, 8, &block),
                   NTK_ERR_MEMORY);
  assert_non_null(strstr(ntk_fail_message(), "too large"));
  assert_int_equal(ntk_malloc(NTK_MEMORY_GENERAL, INT64_MAX, 1, &block), NTK_ERR_MEMORY);
  assert_int_equal(ntk_calloc(NTK_MEMORY_GENERAL, -1, 1, &block), NTK_ERR_MEMORY);
  /* no overflow, yet more than the address space */
  assert_int_equal(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)1 << 61, 1, &block),
                   NTK_ERR_MEMORY);
  assert_non_null(strstr(ntk_fail_message(), "no 2199023255552.0 MiB"));
  assert_ptr_equal(block, &mark);
  assert_true(ntk_memory_used_total() == before);
  assert_true(ntk_memory_peak_total() < (int64_t)1 << 60);
}

static void nothing_goes_beyond_the_cap(void **state) {
  (void)state;
  enum { MIB = 1 << 20 };
  const int64_t before = ntk_memory_used_total(), peak = ntk_memory_peak_total();
  const int64_t most = before + 4 * MIB;
  char *a = NULL, *b = NULL;
  assert_true(ntk_memory_set_cap(most) == 0);
  assert_int_equal(ntk_malloc(NTK_MEMORY_FACTORS, 3 * MIB, 1, &a), NTK_SUCCESS);
  assert_int_equal(ntk_malloc(NTK_MEMORY_TILES, MIB + 1, 1, &b), NTK_ERR_MEMORY);
  assert_null(b);
  assert_non_null(strstr(ntk_fail_message(), "1.0 MiB for tiles"));
  assert_non_null(strstr(ntk_fail_message(), "cap of 4.0 MiB"));
  assert_null(strchr(ntk_fail_message(), '\n'));
  assert_true(ntk_memory_used(NTK_MEMORY_TILES) == 0);
  assert_true(ntk_memory_used_total() == before + 3 * MIB);
  assert_true(ntk_memory_peak_total() <= (peak > most ? peak : most));
  assert_int_equal(ntk_malloc(NTK_MEMORY_TILES, MIB, 1, &b), NTK_SUCCESS);
  assert_int_equal(ntk_realloc(NTK_MEMORY_TILES, 2 * MIB, 1, &b), NTK_ERR_MEMORY);
  assert_non_null(b); /* kept */
  ntk_free(&b);
  assert_true(ntk_memory_set_cap(1) == most); /* less than is in use */
  assert_int_equal(ntk_malloc(NTK_MEMORY_DATA, 1, 1, &b), NTK_ERR_MEMORY);
  ntk_free(&a);
  assert_true(ntk_memory_set_cap(0) == 1);
  assert_int_equal(ntk_malloc(NTK_MEMORY_DATA, 8 * MIB, 1, &b), NTK_SUCCESS);
  ntk_free(&b);
  assert_true(ntk_memory_used_total() == before);
}

/* Of what `ranks` processes share a process counts its part, in the peaks too. */
static void shared_memory_counts_in_parts(void **state) {
  (void)state;
  enum { MIB = 1 << 20 };
  const int64_t before = ntk_memory_used_total(), alone = ntk_memory_resident_peak();
  assert_int_equal(ntk_memory_share(NTK_MEMORY_PARAMETERS, 64 * (int64_t)MIB, 4),
                   NTK_SUCCESS);
  assert_true(ntk_memory_used_total() == before + 16 * MIB);
  char *pages = mmap(NULL, 64 * (size_t)MIB, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(pages != MAP_FAILED);
  memset(pages, 1, 64 * (size_t)MIB);
  const int64_t peak = ntk_memory_resident_peak() - alone;
  assert_true(peak > 15 * MIB && peak < 20 * MIB);
  assert_true(ntk_memory_set_cap(before + 17 * MIB) == 0);
  assert_int_equal(ntk_memory_share(NTK_MEMORY_PARAMETERS, 4 * MIB, 2), NTK_ERR_MEMORY);
  assert_non_null(strstr(ntk_fail_message(), "2.0 MiB for parameters"));
  assert_true(ntk_memory_set_cap(0) == before + 17 * MIB);
  assert_int_equal(munmap(pages, 64 * (size_t)MIB), 0);
  ntk_memory_unshare(NTK_MEMORY_PARAMETERS, 64 * (int64_t)MIB, 4);
  assert_true(ntk_memory_used_total() == before);
}

static void lists_grow_and_shrink(void **state) {
  (void)state;
  const int64_t before = ntk_memory_used_total();
  int *list = NULL;
  for (int n = 1; n <= 100; n++) {
    assert_int_equal(ntk_realloc(NTK_MEMORY_GENERAL, n, sizeof *list, &list), NTK_SUCCESS);
    list[n - 1] = n;
  }
  assert_int_equal(ntk_realloc(NTK_MEMORY_GENERAL, 50, sizeof *list, &list), NTK_SUCCESS);
  for (int i = 0; i < 50; i++)
    assert_int_equal(list[i], i + 1);
  int *const kept = list;
  assert_int_equal(ntk_realloc(NTK_MEMORY_GENERAL, -1, sizeof *list, &list),
                   NTK_ERR_MEMORY);
  assert_ptr_equal(list, kept);
  assert_true(ntk_memory_used_total() == before + 50 * (int64_t)sizeof *list);
  ntk_free(&list);
  assert_true(ntk_memory_used_total() == before);
}

/* ---- text -----------------------------------------------------------------------------
 */

static void text_grows(void **state) {
  (void)state;
  const int64_t before = ntk_memory_used_total();
  ntk_text text = {0};
  for (int i = 0; i < 1000; i++)
    assert_int_equal(ntk_text_add(&text, "%d,", i), NTK_SUCCESS);
  assert_true(text.length == 10 * 2 + 90 * 3 + 900 * 4);
  assert_true((int64_t)strlen(text.data) == text.length && text.length < text.capacity);
  char *c = text.data;
  for (int i = 0; i < 1000; i++, c++)
    assert_int_equal(strtol(c, &c, 10), i);
  ntk_text_clear(&text);
  assert_int_equal(ntk_text_add(&text, "%s", ""), NTK_SUCCESS);
  assert_string_equal(text.data, "");
  ntk_text_clear(&text);
  assert_true(ntk_memory_used_total() == before);
}

static void json_is_escaped(void **state) {
  (void)state;
  ntk_text text = {0};
  assert_int_equal(ntk_text_add_json(&text, "a\"b\\c\n\t\x01/\xc3\xa9"), NTK_SUCCESS);
  assert_string_equal(text.data, "\"a\\\"b\\\\c\\u000a\\u0009\\u0001/\xc3\xa9\"");
  ntk_text_clear(&text);
}

static void globs(void **state) {
  (void)state;
  assert_true(ntk_glob_match("*", "layers.0/weight"));
  assert_true(ntk_glob_match("layers.*.weight", "layers.0.weight"));
  assert_true(ntk_glob_match("conv?", "conv1"));
  assert_true(ntk_glob_match("conv[12]", "conv2"));
  assert_false(ntk_glob_match("conv[12]", "conv3"));
  assert_false(ntk_glob_match("conv?", "conv10"));
  assert_false(ntk_glob_match("weight", "layers.0.weight"));
  assert_false(ntk_glob_match("layers", "layers.0"));
}

static void files_are_read_whole(void **state) {
  (void)state;
  static const char content[] = "a\0b\n";
  const int64_t before = ntk_memory_used_total();
  char path[] = P_tmpdir "/scantk_test_XXXXXX", *bytes = NULL;
  int64_t size = -1;
  FILE *file = fdopen(mkstemp(path), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(content, 1, 4, file), 4);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(ntk_file_read(path, &bytes, &size), NTK_SUCCESS);
  assert_true(size == 4);
  assert_memory_equal(bytes, content, 5);
  ntk_free(&bytes);
  (void)remove(path);
  assert_int_equal(ntk_file_read(path, &bytes, &size), NTK_ERR_FILE);
  assert_non_null(strstr(ntk_fail_message(), path));
  assert_non_null(strstr(ntk_fail_message(), "No such file"));
  assert_int_equal(ntk_file_read(P_tmpdir, &bytes, &size), NTK_ERR_FILE);
  assert_true(ntk_memory_used_total() == before);
}

/* ---- random numbers -------------------------------------------------------------------
 */

/* Philox4x64-10 as in Salmon, Moraes, Dror, Shaw, SC11, written a second time. */
static void philox(const uint64_t counter[4], const uint64_t key[2], uint64_t out[4]) {
  uint64_t c[4], k[2] = {key[0], key[1]};
  memcpy(c, counter, sizeof c);
  for (int round = 0; round < 10; round++) {
    const unsigned __int128 a = (unsigned __int128)0xD2E7470EE14C6C93 * c[0];
    const unsigned __int128 b = (unsigned __int128)0xCA5A826395121157 * c[2];
    const uint64_t next[4] = {(uint64_t)(b >> 64) ^ c[1] ^ k[0], (uint64_t)b,
                              (uint64_t)(a >> 64) ^ c[3] ^ k[1], (uint64_t)a};
    memcpy(c, next, sizeof c);
    k[0] += 0x9E3779B97F4A7C15;
    k[1] += 0xBB67AE8584CAA73B;
  }
  memcpy(out, c, sizeof c);
}

/* The rows "philox4x64 10" of the file kat_vectors of Random123: counter, key, result. */
static const uint64_t known[3][10] = {
    {0, 0, 0, 0, 0, 0, 0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b,
     0x7e68b68aec7ba23b},
    {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
     0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0},
    {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89,
     0x452821e638d01377, 0xbe5466cf34e90c6c, 0xa528f45403e61d95, 0x38c72dbd566e9788,
     0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6}};

static void bits_are_those_of_philox(void **state) {
  (void)state;
  uint64_t out[4];
  for (int i = 0; i < 3; i++) {
    philox(known[i], known[i] + 4, out);
    assert_memory_equal(out, known[i] + 6, sizeof out);
  }
  for (uint64_t i = 0; i < 300; i++) {
    const uint64_t seed = i % 5 * 0x123456789abcdef, stream = i % 7 << 33, index = i << 40;
    const uint64_t counter[4] = {index, stream, 0, 0}, key[2] = {seed, 0x5ca47c};
    philox(counter, key, out);
    assert_true(ntk_random_bits(seed, stream, index) == out[0]);
  }
}

/* Sums over n draws of one stream, in standard deviations of the true law; 5 would happen
 * once in two million. */
static void moments(void **state) {
  (void)state;
  enum { COUNT = 100000 };
  double u1 = 0, u2 = 0, n1 = 0, n2 = 0, n3 = 0, n4 = 0, across = 0;
  for (uint64_t i = 0; i < COUNT; i++) {
    const double u = ntk_random_uniform(11, 3, i), z = ntk_random_normal(11, 4, i);
    assert_true(u > 0 && u < 1 && isfinite(z));
    u1 += u - 0.5;
    u2 += (u - 0.5) * (u - 0.5) - 1.0 / 12;
    n1 += z;
    n2 += z * z - 1;
    n3 += z * z * z;
    n4 += z * z * z * z - 3;
    across += z * ntk_random_normal(11, 5, i);
  }
  const double root = sqrt((double)COUNT);
  assert_true(fabs(u1) / root < 5 * sqrt(1.0 / 12));
  assert_true(fabs(u2) / root < 5 * sqrt(1.0 / 180));
  assert_true(fabs(n1) / root < 5);
  assert_true(fabs(n2) / root < 5 * sqrt(2));
  assert_true(fabs(n3) / root < 5 * sqrt(15));
  assert_true(fabs(n4) / root < 5 * sqrt(96));
  assert_true(fabs(across) / root < 5);
}

/* ---- status and messages --------------------------------------------------------------
 */

static void statuses(void **state) {
  (void)state;
  static const struct {
    ntk_status status;
    int code;
  } codes[] = {{NTK_SUCCESS, 0},           {NTK_ERR_ARGUMENT, 2},    {NTK_ERR_SHAPE, 2},
               {NTK_ERR_NO_PARAMETERS, 2}, {NTK_ERR_FILE, 1},        {NTK_ERR_FORMAT, 1},
               {NTK_ERR_EXISTS, 1},        {NTK_ERR_UNSUPPORTED, 1}, {NTK_ERR_MEMORY, 1},
               {NTK_ERR_MPI, 1},           {NTK_ERR_HDF5, 1},        {NTK_ERR_INTERNAL, 1},
               {NTK_ERR_NONFINITE, 3},     {NTK_ERR_NUMERICAL, 3},   {NTK_STOPPED, 75}};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    assert_int_equal(ntk_status_exit_code(codes[i].status), codes[i].code);
    assert_true(strlen(ntk_status_text(codes[i].status)) > 3);
  }
  assert_int_equal(ntk_status_exit_code((ntk_status)99), 1);
  assert_string_equal(ntk_status_text((ntk_status)99), "unknown status");
}

static void messages_may_quote_the_last(void **state) {
  (void)state;
  assert_int_equal(ntk_fail(NTK_ERR_FILE, "%s", "first"), NTK_ERR_FILE);
  assert_int_equal(ntk_fail(NTK_ERR_FORMAT, "then: %s", ntk_fail_message()),
                   NTK_ERR_FORMAT);
  assert_string_equal(ntk_context_error(NULL), "then: first");
}

typedef struct heard {
  int count;
  ntk_report last;
  char *text;
} heard;

static void hear(const ntk_report *report, void *user) {
  heard *h = user;
  h->count++;
  h->last = *report;
  ntk_free(&h->text);
  assert_int_equal(ntk_strdup(report->text, &h->text), NTK_SUCCESS);
}

static void reports_of_any_length(void **state) {
  (void)state;
  const int64_t before = ntk_memory_used_total();
  heard h = {0};
  ntk_context *context = NULL;
  assert_int_equal(ntk_context_create(MPI_COMM_SELF, NULL, &context), NTK_SUCCESS);
  assert_int_equal(ntk_context_rank(context), 0);
  assert_int_equal(ntk_context_size(context), 1);
  ntk_say(context, NTK_REPORT_INFO, "nobody listens");
  ntk_context_report(context, hear, &h);
  ntk_text long_text = {0};
  for (int length = 1000; length < 40000; length = length * 5 / 4 + 1) {
    while (long_text.length < length)
      assert_int_equal(ntk_text_add(&long_text, "%c", 'a' + (int)(long_text.length % 26)),
                       NTK_SUCCESS);
    ntk_say(context, NTK_REPORT_RESULT, "%s|%d", long_text.data, length);
    char end[16];
    (void)snprintf(end, sizeof end, "|%d", length);
    assert_memory_equal(h.text, long_text.data, (size_t)length);
    assert_string_equal(h.text + length, end);
    assert_int_equal(h.last.kind, NTK_REPORT_RESULT);
  }
  const int count = h.count;
  ntk_say_progress(context, 0.25, 12);
  assert_int_equal(h.count, count + 1);
  assert_int_equal(h.last.kind, NTK_REPORT_PROGRESS);
  assert_true(h.last.fraction == 0.25 && h.last.seconds_left == 12);
  ntk_text_clear(&long_text);
  ntk_free(&h.text);
  ntk_context_destroy(&context);
  ntk_context_destroy(&context);
  assert_true(ntk_memory_used_total() == before);
}

static void contexts_refuse_unknown_options(void **state) {
  (void)state;
  ntk_context *context = NULL;
  assert_int_equal(ntk_context_create(MPI_COMM_SELF, "--colour red", &context),
                   NTK_ERR_ARGUMENT);
  assert_null(context);
  assert_non_null(strstr(ntk_context_error(NULL), "--colour"));
}

static void phases_add_up(void **state) {
  (void)state;
  ntk_context *context = NULL;
  ntk_phase_row rows[NTK_PHASES];
  assert_int_equal(ntk_context_create(MPI_COMM_SELF, "", &context), NTK_SUCCESS);
  const double now = ntk_seconds();
  assert_true(ntk_phase_add(context, NTK_PHASE_SWEEP, now - 2) >= now);
  (void)ntk_phase_add(context, NTK_PHASE_SWEEP, now - 3);
  assert_int_equal(ntk_phase_reduce(context, rows), NTK_SUCCESS);
  assert_true(rows[NTK_PHASE_SWEEP].mean >= 5 && rows[NTK_PHASE_SWEEP].mean < 6);
  assert_true(rows[NTK_PHASE_SWEEP].min == rows[NTK_PHASE_SWEEP].max);
  assert_true(rows[NTK_PHASE_WRITE].max == 0);
  assert_string_equal(ntk_phase_name(NTK_PHASE_SWEEP), "sweeps");
  ntk_phase_reset(context);
  assert_true(context->phase_seconds[NTK_PHASE_SWEEP] == 0);
  ntk_context_destroy(&context);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(blocks_are_aligned_and_counted),
                                     cmocka_unit_test(too_large_is_refused),
                                     cmocka_unit_test(nothing_goes_beyond_the_cap),
                                     cmocka_unit_test(shared_memory_counts_in_parts),
                                     cmocka_unit_test(lists_grow_and_shrink),
                                     cmocka_unit_test(text_grows),
                                     cmocka_unit_test(json_is_escaped),
                                     cmocka_unit_test(globs),
                                     cmocka_unit_test(files_are_read_whole),
                                     cmocka_unit_test(bits_are_those_of_philox),
                                     cmocka_unit_test(moments),
                                     cmocka_unit_test(statuses),
                                     cmocka_unit_test(messages_may_quote_the_last),
                                     cmocka_unit_test(reports_of_any_length),
                                     cmocka_unit_test(contexts_refuse_unknown_options),
                                     cmocka_unit_test(phases_add_up)};
  (void)MPI_Init(&argc, &argv);
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  (void)MPI_Finalize();
  return failed;
}

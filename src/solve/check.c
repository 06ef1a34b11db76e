/* SPDX-License-Identifier: Apache-2.0 */
/* Do the files belong together? */
#include "base/memory.h"
#include "base/text.h"
#include "io/store.h"
#include "solve/solve.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *ntk_solve_identity(const char *text, const char *name, int *length) {
  const size_t size = strlen(name);
  for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
    if (strncmp(line, name, size) == 0 && strncmp(line + size, ": ", 2) == 0) {
      *length = (int)strcspn(line + size + 2, "\n");
      return line + size + 2;
    }
  *length = 0;
  return NULL;
}

static bool is_none(const char *value) { return !value || strncmp(value, "none", 4) == 0; }

/* The value of a line for the columns of a kernel, which are its rows where it has none of
 * their own. */
static const char *of_columns(const char *text, const char *columns, const char *rows,
                              int *length) {
  const char *value = ntk_solve_identity(text, columns, length);
  return is_none(value) ? ntk_solve_identity(text, rows, length) : value;
}

static bool same(const char *a, int na, const char *b, int nb) {
  return na == nb && (a ? b && memcmp(a, b, (size_t)na) == 0 : !b);
}

/* ---- the kernel -----------------------------------------------------------------------
 */

/* Rows and columns are the same samples also where they were given twice. */
static bool is_square(const ntk_solve *s) {
  int rows, columns;
  const char *a = ntk_solve_identity(s->identity, "samples of the rows", &rows);
  const char *b = ntk_solve_identity(s->identity, "samples of the columns", &columns);
  return s->facts->symmetric ||
         (a && s->facts->rows == s->facts->columns && same(a, rows, b, columns));
}

ntk_status ntk_solve_check_kernel(ntk_solve *s) {
  if (is_square(s))
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT,
                  "%s: a kernel of %" PRId64 " samples with %" PRId64
                  " others; --kernel takes one of the training samples with themselves, "
                  "--test-kernel one with them as columns",
                  s->facts->path, s->facts->rows, s->facts->columns);
}

/* ---- the test kernel ------------------------------------------------------------------
 */

/* What stands for a group in the line "groups: NAME=GLOB,GLOB; ..."; NULL: nothing. */
static const char *find_group(const char *identity, const char *group, int *length) {
  int all;
  const char *at = ntk_solve_identity(identity, "groups", &all), *last = at + all;
  const size_t size = strlen(group);
  while (at && at < last) {
    const char *next = strstr(at, "; ");
    const char *end = next && next < last ? next : last;
    *length = (int)(end - at);
    if (strncmp(at, group, size) == 0 && at[size] == '=')
      return at;
    at = end == next ? end + 2 : last;
  }
  *length = 0;
  return NULL;
}

/* Both of the same parameters. */
static ntk_status compare_groups(const ntk_solve *s, const char *path) {
  int a = 0, b = 0;
  const char *ours = s->group ? find_group(s->identity, s->group, &a) : NULL;
  const char *theirs = s->group ? find_group(s->test_identity, s->group, &b) : NULL;
  if (same(ours, a, theirs, b))
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT,
                  "%s does not belong to %s: group %.*s there, %.*s in the kernel", path,
                  s->facts->path, b < 80 ? b : 80, theirs ? theirs : "", a < 80 ? a : 80,
                  ours ? ours : "");
}

static ntk_status compare_lines(const ntk_solve *s, const char *path) {
  static const char *const lines[] = {"model",
                                      "batch axis",
                                      "shape of the input",
                                      "parameters",
                                      "values of the parameters",
                                      "other tensors given with --parameters",
                                      "outputs",
                                      "cotangents",
                                      "reduction",
                                      "trace-scale",
                                      "dtype"};
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    int a, b;
    const char *ours = ntk_solve_identity(s->identity, lines[i], &a);
    const char *theirs = ntk_solve_identity(s->test_identity, lines[i], &b);
    if (!same(ours, a, theirs, b))
      return ntk_fail(NTK_ERR_ARGUMENT,
                      "%s does not belong to %s: %s: %.*s there, %.*s in the kernel", path,
                      s->facts->path, lines[i], b < 80 ? b : 80, theirs ? theirs : "",
                      a < 80 ? a : 80, ours ? ours : "");
  }
  return NTK_SUCCESS;
}

/* Its columns must be the training samples, with the same cotangents. */
static ntk_status compare_columns(const ntk_solve *s, const ntk_kernel_facts *test) {
  static const char *const pairs[][3] = {
      {"samples of the columns", "samples of the rows", "training samples"},
      {"values of the cotangents2", "values of the cotangents", "cotangents"}};
  if (test->columns != s->facts->rows)
    return ntk_fail(NTK_ERR_ARGUMENT,
                    "%s does not belong to %s: %" PRId64 " columns, the kernel has %" PRId64
                    " training samples",
                    test->path, s->facts->path, test->columns, s->facts->rows);
  for (int i = 0; i < 2; i++) {
    int a, b;
    const char *ours = ntk_solve_identity(s->identity, pairs[i][1], &a);
    const char *theirs = of_columns(s->test_identity, pairs[i][0], pairs[i][1], &b);
    if (!same(ours, a, theirs, b))
      return ntk_fail(NTK_ERR_ARGUMENT,
                      "%s does not belong to %s: its columns are not of the kernel's %s",
                      test->path, s->facts->path, pairs[i][2]);
  }
  return NTK_SUCCESS;
}

/* ---- samples in both ------------------------------------------------------------------
 */

/* Path of the samples of a file's rows, and which of them. */
typedef struct origin {
  char *text; /* owned; *path stands in it */
  const char *path;
  long long first, last;
} origin;

static ntk_status find_origin(const char *file, const char *identity, origin *out) {
  ntk_status status = NTK_SUCCESS;
  int length;
  NTK_TRY(ntk_store_read_text(file, "/provenance", &out->text));
  char *at = strstr(out->text, "\"inputs1\": {\"path\": \"");
  const char *range = ntk_solve_identity(identity, "range", &length);
  if (at && range && sscanf(range, "%lld:%lld", &out->first, &out->last) == 2) {
    at += strlen("\"inputs1\": {\"path\": \"");
    out->path = at;
    (void)ntk_json_string(&at);
  }
done:
  return status;
}

/* By place in the same file. */
static ntk_status count_by_place(const ntk_solve *s, const char *test, int64_t *common) {
  ntk_status status = NTK_SUCCESS;
  origin a = {0}, b = {0};
  NTK_TRY(find_origin(s->facts->path, s->identity, &a));
  NTK_TRY(find_origin(test, s->test_identity, &b));
  if (a.path && b.path && strcmp(a.path, b.path) == 0) {
    const long long first = a.first > b.first ? a.first : b.first;
    const long long last = a.last < b.last ? a.last : b.last;
    *common = last > first ? last - first : 0;
  }
done:
  ntk_free(&a.text);
  ntk_free(&b.text);
  return status;
}

/* By values, of those at the same number: digests contain it. */
static ntk_status count_by_digest(const ntk_solve *s, int64_t rows, int64_t *common) {
  ntk_status status = NTK_SUCCESS;
  enum { PIECE = 4096 };
  uint64_t a[PIECE][2], b[PIECE][2];
  const int64_t all = rows < s->facts->rows ? rows : s->facts->rows;
  for (int64_t i = 0; i < all; i += PIECE) {
    const int64_t n = all - i < PIECE ? all - i : PIECE;
    NTK_TRY(ntk_kernel_read_side(s->kernel, "digest", 0, i, n, NTK_U64, a));
    NTK_TRY(ntk_kernel_read_side(s->test, "digest", 0, i, n, NTK_U64, b));
    for (int64_t k = 0; k < n; k++)
      *common += a[k][0] == b[k][0] && a[k][1] == b[k][1];
  }
done:
  return status;
}

/* On rank 0. */
static ntk_status say_common(const ntk_solve *s, const ntk_kernel_facts *test) {
  ntk_status status = NTK_SUCCESS;
  int64_t by_place = 0, by_digest = 0;
  NTK_TRY(count_by_place(s, test->path, &by_place));
  NTK_TRY(count_by_digest(s, test->rows, &by_digest));
  const int64_t common = by_place > by_digest ? by_place : by_digest;
  if (common > 0)
    ntk_say(s->context, NTK_REPORT_WARNING,
            "%" PRId64 " of %" PRId64 " test samples are among the training samples",
            common, test->rows);
done:
  return status;
}

ntk_status ntk_solve_check_test(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *test = ntk_kernel_get_facts(s->test);
  NTK_TRY(compare_lines(s, test->path));
  NTK_TRY(compare_groups(s, test->path));
  NTK_TRY(compare_columns(s, test));
  if (s->context->rank == 0)
    status = say_common(s, test);
  NTK_TRY(ntk_agree(s->context->comm, status));
done:
  return status;
}

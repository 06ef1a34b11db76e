/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/status.h"
#include <scantk/options.h>
#include <stdio.h>
#include <string.h>

static const ntk_option things[] = {
    {"quiet", NTK_OPTION_FLAG, NULL, 0, 0, NULL, false, "say nothing"},
    {"name", NTK_OPTION_STRING, NULL, 0, 0, "WORD", false, "a name"},
    {"width", NTK_OPTION_INT, "64", 1, 1024, NULL, false, "neurons"},
    {"shift", NTK_OPTION_INT, NULL, 0, 0, NULL, false, "any integer"},
    {"variance", NTK_OPTION_REAL, "0.5", 0, 2, NULL, false, "of weights"},
    {"dtype", NTK_OPTION_CHOICE, "f32", 0, 0, "f32|f64", false, "type"},
    {"memory", NTK_OPTION_BYTES, NULL, 0, 0, NULL, false, "cap"},
    {"range", NTK_OPTION_RANGE, NULL, 0, 0, NULL, false, "samples"},
    {"freeze", NTK_OPTION_STRING, NULL, 0, 0, "GLOB", true, "left out"},
    {.name = NULL}};
static const ntk_option others[] = {
    {"output", NTK_OPTION_STRING, NULL, 0, 0, "FILE", false, "result"}, {.name = NULL}};
static const ntk_option *const both[] = {things, others, NULL};

static ntk_options *parsed(const char *text) {
  ntk_options *options = NULL;
  assert_int_equal(ntk_options_parse_text(things, text, &options), NTK_SUCCESS);
  return options;
}

/* Refused with exactly this line; nothing is written or kept. */
static void refused(const char *text, const char *line) {
  const int64_t before = ntk_memory_used_total();
  ntk_options *options = NULL;
  assert_int_equal(ntk_options_parse_text(things, text, &options), NTK_ERR_ARGUMENT);
  assert_string_equal(ntk_fail_message(), line);
  assert_null(options);
  assert_true(ntk_memory_used_total() == before);
}

static void defaults_are_applied(void **state) {
  (void)state;
  ntk_options *o = parsed(NULL);
  int64_t first = -7, last = -7;
  assert_false(ntk_options_flag(o, "quiet"));
  assert_false(ntk_options_given(o, "width"));
  assert_null(ntk_options_string(o, "name"));
  assert_true(ntk_options_int(o, "width") == 64);
  assert_true(ntk_options_real(o, "variance") == 0.5);
  assert_string_equal(ntk_options_string(o, "dtype"), "f32");
  assert_true(ntk_options_bytes(o, "memory") == 0);
  assert_false(ntk_options_range(o, "range", &first, &last));
  assert_true(first == -7 && last == -7);
  assert_null(ntk_options_repeated(o, "freeze", 0));
  ntk_options_destroy(&o);
  assert_null(o);
  ntk_options_destroy(&o);
}

static void values_are_read(void **state) {
  (void)state;
  ntk_options *o = parsed("--quiet --name=a=b --width 1024 --shift -3 --variance 1.5e-1 "
                          "--dtype f64\t--range 2:17 --freeze w* --freeze=b*");
  int64_t first, last;
  assert_true(ntk_options_flag(o, "quiet"));
  assert_string_equal(ntk_options_string(o, "name"), "a=b");
  assert_true(ntk_options_given(o, "width"));
  assert_true(ntk_options_int(o, "width") == 1024);
  assert_true(ntk_options_int(o, "shift") == -3);
  assert_true(ntk_options_real(o, "variance") == 0.15);
  assert_string_equal(ntk_options_string(o, "dtype"), "f64");
  assert_true(ntk_options_range(o, "range", &first, &last));
  assert_true(first == 2 && last == 17);
  assert_string_equal(ntk_options_repeated(o, "freeze", 0), "w*");
  assert_string_equal(ntk_options_repeated(o, "freeze", 1), "b*");
  assert_null(ntk_options_repeated(o, "freeze", 2));
  ntk_options_destroy(&o);
}

static void unknown_options(void **state) {
  (void)state;
  refused("--widht 3", "unknown option --widht; did you mean --width?");
  refused("--dtyp=f32", "unknown option --dtyp; did you mean --dtype?");
  refused("--widthwise 3", "unknown option --widthwise; --help lists the options");
  refused("--output x", "unknown option --output; --help lists the options");
  refused("-w 3", "unknown option -w; options start with --");
  refused("--", "unknown option --; --help lists the options");
  refused("word", "unexpected argument 'word'");
}

static void bad_values(void **state) {
  (void)state;
  refused("--width", "--width: a value is missing");
  refused("--name --quiet", "--name: a value is missing before --quiet");
  refused("--name -o", "--name: a value is missing before -o");
  refused("--quiet=yes", "--quiet takes no value");
  refused("--width=", "--width: '' is not an integer");
  refused("--width 3x", "--width: '3x' is not an integer");
  refused("--width ' 3'", "--width: ' 3' is not an integer");
  refused("--width 3.5", "--width: '3.5' is not an integer");
  refused("--shift 99999999999999999999",
          "--shift: '99999999999999999999' is not an integer");
  refused("--variance 1,5", "--variance: '1,5' is not a number");
  refused("--variance nan", "--variance: 'nan' is not a number");
  refused("--variance 1e999", "--variance: '1e999' is not a number");
  refused("--width 0", "--width: 0 is outside 1 .. 1024");
  refused("--width 1025", "--width: 1025 is outside 1 .. 1024");
  refused("--variance -1e-9", "--variance: -1e-9 is outside 0 .. 2");
  refused("--dtype f16", "--dtype: 'f16' is not one of f32|f64");
  refused("--dtype f", "--dtype: 'f' is not one of f32|f64");
  refused("--dtype=", "--dtype: '' is not one of f32|f64");
  refused("--dtype f32|f64", "--dtype: 'f32|f64' is not one of f32|f64");
}

static void given_twice(void **state) {
  (void)state;
  refused("--width 3 --width 3", "--width is given twice");
  refused("--quiet --quiet", "--quiet is given twice");
}

static void ranges(void **state) {
  (void)state;
  static const char *const bad[] = {
      "3",    "3:",    ":3",   "3:3",  "4:3",
      "-1:3", "1:2:3", "1:2x", "1: 2", "0:99999999999999999999"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[64], line[128];
    (void)snprintf(text, sizeof text, "--range='%s'", bad[i]);
    (void)snprintf(line, sizeof line, "--range: '%s' is not a range a:b with 0 <= a < b",
                   bad[i]);
    refused(text, line);
  }
  ntk_options *o = parsed("--range 0:9223372036854775807");
  int64_t first, last;
  assert_true(ntk_options_range(o, "range", &first, &last));
  assert_true(first == 0 && last == INT64_MAX);
  ntk_options_destroy(&o);
}

static void sizes(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t bytes;
  } good[] = {{"0", 0},
              {"123", 123},
              {"512M", (int64_t)512 << 20},
              {"4G", (int64_t)4 << 30},
              {"4g", (int64_t)4 << 30},
              {"4GiB", (int64_t)4 << 30},
              {"2kB", 2048},
              {"1.5T", (int64_t)3 << 39},
              {"1P", (int64_t)1 << 50}};
  static const char *const bad[] = {"",   "G",  "4X",  "4GG",  "-4G",
                                    "4 ", " 4", "4 G", "1e30", "inf"};
  char text[64], line[128];
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    (void)snprintf(text, sizeof text, "--memory %s", good[i].text);
    ntk_options *o = parsed(text);
    assert_true(ntk_options_bytes(o, "memory") == good[i].bytes);
    ntk_options_destroy(&o);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    (void)snprintf(text, sizeof text, "--memory='%s'", bad[i]);
    (void)snprintf(line, sizeof line, "--memory: '%s' is not a size such as 512M or 4G",
                   bad[i]);
    refused(text, line);
  }
}

static void command_lines(void **state) {
  (void)state;
  const char *const argv[] = {"in", "--name", "it's here", "-o", "a b.h5", "-"};
  ntk_options *o = NULL;
  assert_int_equal(ntk_options_parse(both, 6, argv, 2, &o), NTK_SUCCESS);
  assert_string_equal(ntk_options_positional(o, 0), "in");
  assert_string_equal(ntk_options_positional(o, 1), "-");
  assert_null(ntk_options_positional(o, 2));
  assert_string_equal(ntk_options_string(o, "output"), "a b.h5");
  /* the text holds the options of one table */
  assert_string_equal(ntk_options_text(o, others), "--output='a b.h5'");
  assert_string_equal(ntk_options_text(o, things), "--name='it''s here'");
  ntk_options_destroy(&o);
  assert_int_equal(ntk_options_parse(both, 6, argv, 1, &o), NTK_ERR_ARGUMENT);
  assert_string_equal(ntk_fail_message(), "unexpected argument '-'");
}

/* What ntk_options_text writes is read back as the same values. */
static void text_round_trip(void **state) {
  (void)state;
  static const char *const values[] = {"plain",          "",    "a b", "'",    "''",
                                       "it's",           " x ", "=",   "--up", "a='",
                                       "tab\tnew\nline", "\\"};
  enum { COUNT = sizeof values / sizeof *values };
  const char *argv[2 * COUNT + 3];
  char words[COUNT][32];
  int argc = 0;
  argv[argc++] = "--quiet";
  argv[argc++] = "--width=7";
  for (int i = 0; i < COUNT; i++) {
    (void)snprintf(words[i], sizeof words[i], "--freeze=%s", values[i]);
    argv[argc++] = words[i];
  }
  ntk_options *o = NULL;
  assert_int_equal(ntk_options_parse(both, argc, argv, 0, &o), NTK_SUCCESS);
  ntk_options *again = parsed(ntk_options_text(o, things));
  assert_true(ntk_options_flag(again, "quiet"));
  assert_true(ntk_options_int(again, "width") == 7);
  for (int i = 0; i < COUNT; i++)
    assert_string_equal(ntk_options_repeated(again, "freeze", i), values[i]);
  assert_null(ntk_options_repeated(again, "freeze", COUNT));
  assert_string_equal(ntk_options_text(o, others), "");
  ntk_options_destroy(&o);
  ntk_options_destroy(&again);
  refused("--name 'open", "options: a quote (') is not closed");
}

static void help_lists_every_row(void **state) {
  (void)state;
  static const ntk_option nothing[] = {{.name = NULL}};
  char whole[4096], cut[40], empty[4] = "abc";
  const int length = ntk_options_help(things, whole, sizeof whole);
  assert_int_equal(length, (int)strlen(whole));
  for (const ntk_option *o = things; o->name; o++) {
    char name[32];
    (void)snprintf(name, sizeof name, "  --%s ", o->name);
    assert_non_null(strstr(whole, name));
    assert_non_null(strstr(whole, o->help));
  }
  assert_non_null(strstr(whole, "neurons (default 64)\n"));
  assert_non_null(strstr(whole, "--dtype f32|f64 "));
  assert_non_null(strstr(whole, "--freeze GLOB "));
  /* as snprintf: the full length and what fits */
  assert_int_equal(ntk_options_help(things, cut, sizeof cut), length);
  assert_int_equal(strlen(cut), sizeof cut - 1);
  assert_memory_equal(cut, whole, sizeof cut - 1);
  assert_int_equal(ntk_options_help(nothing, empty, sizeof empty), 0);
  assert_string_equal(empty, "");
}

/* Rows of the library's own tables: defaults pass their own checks, names differ. */
static void library_tables_are_sound(void **state) {
  (void)state;
  static const char *const objects[] = {"context", "family", "dataset", "model",   "data",
                                        "plan",    "output", "forward", "describe"};
  for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
    const ntk_option *table = ntk_option_table(objects[i]);
    assert_non_null(table);
    for (const ntk_option *o = table; o->name; o++) {
      for (const ntk_option *p = table; p < o; p++)
        assert_string_not_equal(o->name, p->name);
      if (!o->default_text)
        continue;
      char text[128];
      ntk_options *options = NULL;
      (void)snprintf(text, sizeof text, "--%s='%s'", o->name, o->default_text);
      assert_int_equal(ntk_options_parse_text(table, text, &options), NTK_SUCCESS);
      ntk_options_destroy(&options);
    }
  }
  assert_null(ntk_option_table("nothing"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(defaults_are_applied),
                                     cmocka_unit_test(values_are_read),
                                     cmocka_unit_test(unknown_options),
                                     cmocka_unit_test(bad_values),
                                     cmocka_unit_test(given_twice),
                                     cmocka_unit_test(ranges),
                                     cmocka_unit_test(sizes),
                                     cmocka_unit_test(command_lines),
                                     cmocka_unit_test(text_round_trip),
                                     cmocka_unit_test(help_lists_every_row),
                                     cmocka_unit_test(library_tables_are_sound)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "job/numeric.h"
#include <stdio.h>
#include <string.h>

static char first[] = "conv1.weight conv1.bias", second[] = "fc.weight", third[] = "x y";
static ntk_group members[] = {{.G = 2, .T = 784, .K = 25, .C = 6, .name = first},
                              {.G = 1, .T = 1, .K = 84, .C = 10, .name = second},
                              {.G = 1, .T = 1, .K = 84, .C = 10, .name = third}};
static const ntk_groups groups = {.count = 3, .groups = members};
static ntk_order orders[] = {NTK_ORDER_LEFT_TO_RIGHT, NTK_ORDER_CONSTANT,
                             NTK_ORDER_OUTSIDE_IN};
static const ntk_numeric plan = {.algorithm = NTK_ALGORITHM_STRUCTURED,
                                 .reduction = NTK_REDUCE_TRACE,
                                 .trace_sum = true,
                                 .dtype = NTK_F64,
                                 .outputs = (int64_t)1 << 40,
                                 .block = 48,
                                 .outputs_block = 7,
                                 .sweep_samples = 5,
                                 .group_count = 3,
                                 .orders = orders};

static char *written(const ntk_numeric *p) {
  ntk_text text = {0};
  assert_int_equal(ntk_numeric_write(p, &groups, &text), NTK_SUCCESS);
  return text.data;
}

static void text_is_as_documented(void **state) {
  (void)state;
  char *text = written(&plan);
  assert_string_equal(text,
                      "scantk-plan 1\n"
                      "algorithm structured\n"
                      "reduce trace\n"
                      "trace-scale sum\n"
                      "dtype f64\n"
                      "outputs 1099511627776\n"
                      "block 48\n"
                      "outputs-block 7\n"
                      "sweep 5\n"
                      "groups 3\n"
                      "order left-to-right G 2 T 784 K 25 C 6 conv1.weight conv1.bias\n"
                      "order constant G 1 T 1 K 84 C 10 fc.weight\n"
                      "order outside-in G 1 T 1 K 84 C 10 x y\n");
  ntk_free(&text);
}

/* Every word of every list, and back. */
static void text_round_trip(void **state) {
  (void)state;
  const int64_t before = ntk_memory_used_total();
  for (int i = 0; i < 3 * 4 * 2 * 2 * NTK_ORDERS; i++) {
    ntk_order mine[3] = {(ntk_order)(i / 48), NTK_ORDER_INSIDE_OUT, NTK_ORDER_CONSTANT};
    ntk_numeric p = plan, q = {0};
    p.algorithm = (ntk_algorithm)(i % 3);
    p.reduction = (ntk_reduction)(i / 3 % 4);
    p.dtype = (ntk_dtype)(i / 12 % 2);
    p.trace_sum = i / 24 % 2;
    p.orders = mine;
    char *text = written(&p);
    assert_int_equal(ntk_numeric_parse(text, "plan.txt", &q), NTK_SUCCESS);
    assert_int_equal(q.algorithm, p.algorithm);
    assert_int_equal(q.reduction, p.reduction);
    assert_int_equal(q.dtype, p.dtype);
    assert_int_equal(q.trace_sum, p.trace_sum);
    assert_true(q.outputs == p.outputs && q.block == 48 && q.outputs_block == 7 &&
                q.sweep_samples == 5 && q.group_count == 3);
    for (int k = 0; k < 3; k++)
      assert_int_equal(q.orders[k], mine[k]);
    assert_int_equal(ntk_numeric_check(text, "plan.txt", &q, &groups), NTK_SUCCESS);
    ntk_numeric_clear(&q);
    ntk_free(&text);
  }
  assert_true(ntk_memory_used_total() == before);
}

/* The plan's text with one word replaced is refused. */
static void bad_texts_are_refused(void **state) {
  (void)state;
  static const char *const changes[][2] = {{"scantk-plan 1", "scantk-plan 2"},
                                           {"structured", "magic"},
                                           {"reduce trace", "reduce some"},
                                           {"trace-scale sum", "trace-scale max"},
                                           {"dtype f64", "dtype i64"},
                                           {"outputs 1099511627776", "outputs 0"},
                                           {"\nblock 48", "\nblock -1"},
                                           {"outputs-block 7", "outputs-block 0"},
                                           {"sweep 5", "sweep 0"},
                                           {"sweep 5", "sweep x"},
                                           {"groups 3", "groups 4"},
                                           {"groups 3", "groups 2"},
                                           {"groups 3", "groups -1"},
                                           {"order constant", "order sideways"}};
  const int64_t before = ntk_memory_used_total();
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    char *text = written(&plan), changed[1024];
    ntk_numeric p = {0};
    const char *at = strstr(text, changes[i][0]);
    assert_non_null(at);
    (void)snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text,
                   changes[i][1], at + strlen(changes[i][0]));
    assert_int_equal(ntk_numeric_parse(changed, "p.txt", &p), NTK_ERR_FORMAT);
    assert_memory_equal(ntk_fail_message(), "p.txt: ", 7);
    assert_null(p.orders);
    ntk_free(&text);
  }
  ntk_numeric p;
  assert_int_equal(ntk_numeric_parse("", "p.txt", &p), NTK_ERR_FORMAT);
  assert_true(ntk_memory_used_total() == before);
}

/* A plan is for one network: names and sizes of its groups. */
static void plans_of_other_networks_are_refused(void **state) {
  (void)state;
  char *text = written(&plan);
  ntk_numeric p;
  assert_int_equal(ntk_numeric_parse(text, "p.txt", &p), NTK_SUCCESS);
  ntk_group other[3];
  const ntk_groups others = {.count = 3, .groups = other}, fewer = {2, members, NULL};
  assert_int_equal(ntk_numeric_check(text, "p.txt", &p, &fewer), NTK_ERR_ARGUMENT);
  memcpy(other, members, sizeof other);
  other[1].K = 85;
  assert_int_equal(ntk_numeric_check(text, "p.txt", &p, &others), NTK_ERR_ARGUMENT);
  assert_string_equal(ntk_fail_message(),
                      "p.txt: the plan is for another network (no group fc.weight)");
  memcpy(other, members, sizeof other);
  other[0].name = second;
  assert_int_equal(ntk_numeric_check(text, "p.txt", &p, &others), NTK_ERR_ARGUMENT);
  /* the order of a group is that of its own line */
  other[0] = members[1];
  other[1] = members[0];
  other[2] = members[2];
  assert_int_equal(ntk_numeric_check(text, "p.txt", &p, &others), NTK_ERR_ARGUMENT);
  ntk_numeric_clear(&p);
  ntk_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(text_is_as_documented),
                                     cmocka_unit_test(text_round_trip),
                                     cmocka_unit_test(bad_texts_are_refused),
                                     cmocka_unit_test(plans_of_other_networks_are_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

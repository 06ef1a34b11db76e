/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "graph/graph.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void convert_saturates(void **state) {
  (void)state;
  const double from[] = {-1e30, -1.9, 0.5, 127.9, 1e30, NAN};
  const int8_t to_i8[] = {-128, -1, 0, 127, 127, 0};
  const uint8_t to_u8[] = {0, 0, 0, 127, 255, 0}, to_bool[] = {1, 1, 1, 1, 1, 1};
  int8_t i8[6];
  uint8_t u8[6];
  ntk_convert(NTK_F64, from, NTK_I8, i8, 6);
  assert_memory_equal(i8, to_i8, sizeof i8);
  ntk_convert(NTK_F64, from, NTK_U8, u8, 6);
  assert_memory_equal(u8, to_u8, sizeof u8);
  ntk_convert(NTK_F64, from, NTK_BOOL, u8, 6);
  assert_memory_equal(u8, to_bool, sizeof u8);
  const uint64_t large = UINT64_MAX;
  int64_t i64;
  double f64;
  ntk_convert(NTK_U64, &large, NTK_I64, &i64, 1);
  assert_true(i64 == INT64_MAX);
  ntk_convert(NTK_U64, &large, NTK_F64, &f64, 1);
  assert_true(f64 == 0x1p64);
}

/* Small numbers survive any pair of types, also past one internal piece. */
static void convert_keeps_small_numbers(void **state) {
  (void)state;
  enum { COUNT = 1300 };
  int64_t first[COUNT], last[COUNT];
  char a[COUNT * 8], b[COUNT * 8];
  for (int i = 0; i < COUNT; i++)
    first[i] = i % 100;
  for (ntk_dtype from = NTK_F32; from < NTK_BOOL; from++)
    for (ntk_dtype to = NTK_F32; to < NTK_BOOL; to++) {
      ntk_convert(NTK_I64, first, from, a, COUNT);
      ntk_convert(from, a, to, b, COUNT);
      ntk_convert(to, b, NTK_I64, last, COUNT);
      assert_memory_equal(first, last, sizeof first);
    }
}

static void nonfinite_is_found(void **state) {
  (void)state;
  enum { COUNT = 9000 };
  float *x = calloc(COUNT, sizeof *x);
  double *y = calloc(COUNT, sizeof *y);
  assert_true(ntk_find_nonfinite(NTK_F32, x, COUNT) == -1);
  assert_true(ntk_find_nonfinite(NTK_F64, y, COUNT) == -1);
  x[8999] = NAN;
  x[5000] = -INFINITY;
  y[4095] = NAN;
  assert_true(ntk_find_nonfinite(NTK_F32, x, COUNT) == 5000);
  assert_true(ntk_find_nonfinite(NTK_F64, y, COUNT) == 4095);
  free(x);
  free(y);
}

static void shapes_broadcast(void **state) {
  (void)state;
  const ntk_shape a = {3, {4, 1, 5}}, b = {2, {3, 1}}, c = {1, {2}}, scalar = {0, {0}};
  const ntk_shape ab = {3, {4, 3, 5}};
  ntk_shape out;
  char text[NTK_SHAPE_TEXT];
  assert_int_equal(ntk_shape_broadcast(&a, &b, &out), NTK_SUCCESS);
  assert_true(ntk_shape_equal(&out, &ab));
  assert_int_equal(ntk_shape_broadcast(&scalar, &a, &out), NTK_SUCCESS);
  assert_true(ntk_shape_equal(&out, &a));
  assert_int_equal(ntk_shape_broadcast(&a, &c, &out), NTK_ERR_SHAPE);
  assert_string_equal(ntk_shape_text(&a, text), "[4, 1, 5]");
  assert_true(ntk_shape_size(&scalar) == 1);
}

/* A product past 64 bits is a size that no allocation grants. */
static void sizes_do_not_wrap(void **state) {
  (void)state;
  const int64_t big = (int64_t)1 << 40;
  const ntk_shape wide = {3, {big, big, big}}, empty = {4, {big, big, big, 0}};
  ntk_tensor *tensor = NULL;
  assert_true(ntk_shape_size(&wide) == INT64_MAX);
  assert_true(ntk_shape_size(&empty) == 0);
  assert_int_equal(ntk_tensor_create(NTK_F64, &wide, &tensor), NTK_ERR_MEMORY);
  assert_null(tensor);
}

static void graph_grows_and_is_freed(void **state) {
  (void)state;
  const int64_t before = ntk_memory_used_total();
  ntk_graph *graph = NULL;
  int index;
  assert_int_equal(ntk_graph_create(&graph), NTK_SUCCESS);
  for (int i = 0; i < 37; i++) {
    char name[32];
    snprintf(name, sizeof name, "value%d", i);
    assert_int_equal(ntk_graph_add_value(graph, name, &index), NTK_SUCCESS);
    assert_int_equal(index, i);
    assert_int_equal(ntk_graph_add_node(graph, name, NULL, 2, 1, &index), NTK_SUCCESS);
    assert_int_equal(index, i);
  }
  assert_string_equal(graph->values[36].name, "value36");
  assert_int_equal(graph->values[36].producer, -1);
  assert_int_equal(graph->nodes[17].inputs[1], -1);
  assert_true(ntk_graph_size(graph, 5) == 1);
  ntk_graph_destroy(&graph);
  assert_null(graph);
  assert_true(ntk_memory_used_total() == before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convert_saturates),  cmocka_unit_test(convert_keeps_small_numbers),
      cmocka_unit_test(nonfinite_is_found), cmocka_unit_test(shapes_broadcast),
      cmocka_unit_test(sizes_do_not_wrap),  cmocka_unit_test(graph_grows_and_is_freed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

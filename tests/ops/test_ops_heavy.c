/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/harness_checks.h"
#include "ops/heavy_cases.h"

static void heavy_tangents_are_differences(void **state) {
  (void)state;
  each_case(CASES, cases, check_tangents);
}

static void heavy_cotangents_are_adjoint(void **state) {
  (void)state;
  each_case(CASES, cases, check_cotangents);
}

static void heavy_types_agree(void **state) {
  (void)state;
  each_case(CASES, cases, check_types);
}

static void heavy_uses_give_the_jacobian(void **state) {
  (void)state;
  assert_int_equal(count_uses(CASES, cases), 108);
}

static void heavy_passes_are_scaled_identities(void **state) {
  (void)state;
  assert_int_equal(count_passes(CASES, cases), 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(heavy_tangents_are_differences),
      cmocka_unit_test(heavy_cotangents_are_adjoint),
      cmocka_unit_test(heavy_types_agree),
      cmocka_unit_test(heavy_uses_give_the_jacobian),
      cmocka_unit_test(heavy_passes_are_scaled_identities),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/harness_checks.h"
#include "ops/light_cases.h"

static void light_tangents_are_differences(void **state) {
  (void)state;
  each_case(CASES, cases, check_tangents);
}

static void light_cotangents_are_adjoint(void **state) {
  (void)state;
  each_case(CASES, cases, check_cotangents);
}

static void light_types_agree(void **state) {
  (void)state;
  each_case(CASES, cases, check_types);
}

static void light_uses_give_the_jacobian(void **state) {
  (void)state;
  assert_int_equal(count_uses(CASES, cases), 55);
}

static void light_passes_are_scaled_identities(void **state) {
  (void)state;
  assert_int_equal(count_passes(CASES, cases), 55);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(light_tangents_are_differences),
      cmocka_unit_test(light_cotangents_are_adjoint),
      cmocka_unit_test(light_types_agree),
      cmocka_unit_test(light_uses_give_the_jacobian),
      cmocka_unit_test(light_passes_are_scaled_identities),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

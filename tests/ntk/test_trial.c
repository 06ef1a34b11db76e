/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "ntk/trial.h"
#include <mpi.h>

/* Trials: measured seconds by shape, kept among the rates, and costs that rest on them. */

static ntk_context *context;

static ntk_cost_shape shape_of(ntk_form form, ntk_dtype dtype, int64_t n, int64_t outputs) {
  return (ntk_cost_shape){form, dtype, n, n, outputs, 32, outputs, true};
}

static const ntk_timing *timing_of(const ntk_rates *rates, const ntk_trial *trial) {
  ntk_text name = {0};
  succeed(ntk_trial_name(trial, &name));
  const ntk_timing *timing = ntk_rates_find(rates, name.data);
  ntk_text_clear(&name);
  return timing;
}

static void add(ntk_rates *rates, const ntk_trial *trial, double pair, double pack) {
  ntk_text name = {0};
  succeed(ntk_trial_name(trial, &name));
  succeed(ntk_rates_add(rates, name.data, (double[2]){pair, pack}));
  ntk_text_clear(&name);
}

/* Each order of each group runs, in both types and all forms, odd sizes and pixels among
 * them. */
static void every_order_can_be_tried(void **state) {
  (void)state;
  bool seen[NTK_ORDERS] = {false};
  for (int n = 0; n < GOLDEN; n++) {
    subject s = subject_golden(context, golden[n]);
    const ntk_dtype dtype = n % 2 ? NTK_F64 : NTK_F32;
    const ntk_form form = (ntk_form)(n % 3);
    ntk_network network = network_make(&s, dtype, false, false);
    const ntk_cost_shape shape = shape_of(form, dtype, 1000, s.O);
    for (int i = 0; i < network.groups->count; i++)
      for (int o = 0; o < NTK_ORDERS; o++) {
        const ntk_trial trial = {&network.groups->groups[i], (ntk_order)o, form, dtype, s.O,
                                 &network.constants[i],      n % 4 * 40};
        double seconds[2] = {-1, -1};
        if (!ntk_order_is_candidate(trial.group, trial.order, &shape, trial.constant))
          continue;
        succeed(ntk_trial_run(&trial, &some_rates, seconds));
        assert_true(seconds[0] > 0 && seconds[0] < 1 && seconds[1] >= 0 && seconds[1] < 1);
        seen[o] = true;
      }
    double seconds[2];
    succeed(ntk_trial_sweep(&network, 4, s.O, seconds));
    assert_true(seconds[0] > 0 && seconds[0] < 1);
    network_free(&network);
    subject_free(&s);
  }
  for (int o = 0; o < NTK_ORDERS; o++)
    assert_true(seen[o]);
}

/* More outputs take longer, about as their square: what is measured is the work. */
static void seconds_follow_the_work(void **state) {
  (void)state;
  const ntk_constant none = {0};
  const ntk_group g = {.G = 1, .T = 1, .K = 64, .row_K = 64, .C = 2048};
  double few[2], many[2];
  ntk_trial trial = {&g, NTK_ORDER_INSIDE_OUT, NTK_FORM_FULL, NTK_F32, 2, &none, 0};
  succeed(ntk_trial_run(&trial, &some_rates, few));
  trial.outputs = 32;
  succeed(ntk_trial_run(&trial, &some_rates, many));
  assert_true(many[0] > 10 * few[0]);
}

static void names_tell_shapes_apart(void **state) {
  (void)state;
  const ntk_constant none = {0};
  ntk_group a = {.G = 1, .T = 9, .K = 5, .row_K = 5, .C = 20, .name = "a"}, b = a;
  ntk_rates rates = some_rates;
  b.name = "b";
  ntk_trial trial = {&a, NTK_ORDER_INSIDE_OUT, NTK_FORM_FULL, NTK_F32, 3, &none, 0};
  add(&rates, &trial, 1, 2);
  trial.group = &b;
  assert_non_null(timing_of(&rates, &trial));
  b.C = 21;
  assert_null(timing_of(&rates, &trial));
  trial.group = &a;
  trial.outputs = 4;
  assert_null(timing_of(&rates, &trial));
  trial.outputs = 3;
  trial.dtype = NTK_F64;
  assert_null(timing_of(&rates, &trial));
  trial.dtype = NTK_F32;
  trial.form = NTK_FORM_TRACE;
  assert_null(timing_of(&rates, &trial));
  trial.form = NTK_FORM_FULL;
  add(&rates, &trial, 3, 4); /* in place of the first */
  assert_int_equal(rates.timing_count, 1);
  assert_true(timing_of(&rates, &trial)->seconds[0] == 3);
  ntk_rates_clear(&rates);
}

/* Pairs, and columns packed; halved where x2 = x1; parts of the outputs. */
static void costs_rest_on_timings(void **state) {
  (void)state;
  const ntk_constant none = {0};
  const ntk_group g = {.G = 1, .T = 9, .K = 5, .row_K = 5, .C = 20};
  ntk_rates rates = some_rates;
  ntk_trial trial = {&g, NTK_ORDER_INSIDE_OUT, NTK_FORM_FULL, NTK_F32, 3, &none, 0};
  ntk_cost_shape shape = shape_of(NTK_FORM_FULL, NTK_F32, 1000, 6);
  shape.outputs_block = 3;
  add(&rates, &trial, 1e-3, 0.5);
  assert_true(fabs(ntk_cost_of(&g, NTK_ORDER_INSIDE_OUT, &shape, &rates, 0).seconds -
                   (1000 * 1000 / 2 * 4 * 1e-3 + 1000 * 2 * 0.5)) < 1e-9);
  shape.symmetric = false;
  assert_true(fabs(ntk_cost_of(&g, NTK_ORDER_INSIDE_OUT, &shape, &rates, 0).seconds -
                   (1000 * 1000 * 4 * 1e-3 + 1000 * 2 * 0.5)) < 1e-9);
  /* what was measured decides */
  for (int o = NTK_ORDER_OUTSIDE_IN; o <= NTK_ORDER_LEFT_TO_RIGHT; o++) {
    for (int k = NTK_ORDER_OUTSIDE_IN; k <= NTK_ORDER_LEFT_TO_RIGHT; k++) {
      trial.order = (ntk_order)k;
      add(&rates, &trial, k == o ? 1e-3 : 2e-3, 0);
    }
    assert_int_equal(ntk_order_choose(&g, &shape, &rates, &none), o);
  }
  ntk_rates_clear(&rates);
}

static void timings_survive_as_text(void **state) {
  (void)state;
  ntk_rates rates = some_rates, read = {0};
  ntk_text text = {0};
  succeed(ntk_rates_add(&rates, "f32 full this O 3", (double[2]){1.5e-7, 2.25}));
  succeed(ntk_rates_add(&rates, "f32 sweep that", (double[2]){3, 0}));
  succeed(ntk_rates_write(&rates, &text));
  succeed(ntk_rates_parse(text.data, "rates", &read));
  assert_int_equal(read.timing_count, 2);
  assert_true(ntk_rates_find(&read, "f32 full this O 3")->seconds[0] == 1.5e-7);
  assert_true(ntk_rates_find(&read, "f32 full this O 3")->seconds[1] == 2.25);
  assert_true(ntk_rates_find(&read, "f32 sweep that")->seconds[0] == 3);
  assert_null(ntk_rates_find(&read, "f32 full this O"));
  static const char *const bad[] = {"timing 1 2\n", "timing 1 x name\n", "timing nan 2 n\n",
                                    "timing -1 2 n\n"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    ntk_text worse = {0};
    ntk_rates none = {0};
    succeed(ntk_text_add(&worse, "%s%s", text.data, bad[i]));
    assert_int_equal(ntk_rates_parse(worse.data, "rates", &none), NTK_ERR_FORMAT);
    assert_int_equal(none.timing_count, 0);
    ntk_text_clear(&worse);
  }
  ntk_rates_clear(&rates);
  ntk_rates_clear(&read);
  ntk_text_clear(&text);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_order_can_be_tried), cmocka_unit_test(seconds_follow_the_work),
      cmocka_unit_test(names_tell_shapes_apart), cmocka_unit_test(costs_rest_on_timings),
      cmocka_unit_test(timings_survive_as_text)};
  MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_SELF, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}

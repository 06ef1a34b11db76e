/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include <mpi.h>

/* Costs of the orders, the choice between them, and the rates they rest on. */

static ntk_context *context;

static ntk_cost_shape shape_of(ntk_form form, int64_t n, int64_t outputs, bool symmetric) {
  return (ntk_cost_shape){form, NTK_F32, n, n, outputs, 128, outputs, symmetric};
}

/* FCN 784-1024-1024-1024-10 (design section 4): sum over layers of 2 (K + O^2 C + O^2),
 * for half of the pairs where x2 = x1. */
static void minimal_cost_of_an_fcn(void **state) {
  (void)state;
  const double layers =
      (784 + 102400 + 100) + 2 * (1024 + 102400 + 100) + (1024 + 1000 + 100);
  const double pairs = 4096.0 * 4096.0;
  subject s =
      subject_generated(context, "fcn", "--width 1024 --depth 3 --outputs 10", 1, 1);
  ntk_network network = network_make(&s, NTK_F32, false, false);
  ntk_cost_shape shape = shape_of(NTK_FORM_FULL, 4096, 10, true);
  const double symmetric = ntk_cost_minimal(network.groups, &shape) / pairs;
  assert_true(fabs(symmetric - layers) < 1e-6);
  assert_true(fabs(symmetric - 0.3125e6) < 100);
  shape.symmetric = false;
  assert_true(fabs(ntk_cost_minimal(network.groups, &shape) / pairs - 2 * layers) < 1e-6);
  /* trace: 2 (K + O C + 1) */
  shape.form = NTK_FORM_TRACE;
  assert_true(fabs(ntk_cost_minimal(network.groups, &shape) / pairs -
                   2 * (784 + 3 * 1024 + 3 * 10240 + 100 + 4)) < 1e-6);
  network_free(&network);
  subject_free(&s);
}

/* A 3x3 convolution with many positions and few samples is cheapest outside-in:
 * 2 (N1 + N2) O T K C + 2 N1 N2 O^2 K C; q, k and v count one by one. */
static void minimal_cost_by_hand(void **state) {
  (void)state;
  subject s = subject_golden(context, "ties");
  ntk_network network = network_make(&s, NTK_F64, false, false);
  ntk_groups one = {.count = 1, .groups = network.groups->groups};
  ntk_cost_shape shape = shape_of(NTK_FORM_FULL, 8, 3, false);
  const double O = 3, T = 64, K = 9, C = 4;
  assert_true(ntk_cost_minimal(&one, &shape) ==
              2 * 16 * O * T * K * C + 2 * 64 * O * O * K * C);
  network_free(&network);
  subject_free(&s);
  s = subject_golden(context, "attention");
  network = network_make(&s, NTK_F64, false, false);
  one.groups = &network.groups->groups[1];
  assert_int_equal(one.groups->d_count, 3);
  shape = shape_of(NTK_FORM_DIAGONAL, 1000, 3, false);
  /* diagonal, each of the three: outside-in, 2 O K C a pair, against 2 (T^2 K + O T^2 C +
   * O T^2); the formation of J on top */
  assert_true(ntk_cost_minimal(&one, &shape) == 3 * (2 * 2000 * 3 * 4 * 64 + 2e6 * 3 * 64));
  network_free(&network);
  subject_free(&s);
}

static void chosen_order_is_cheapest(void **state) {
  (void)state;
  bool seen[NTK_ORDERS] = {false};
  for (int n = 0; n < GOLDEN; n++) {
    subject s = subject_golden(context, golden[n]);
    ntk_network network = network_make(&s, NTK_F32, false, false);
    for (int form = 0; form <= NTK_FORM_DIAGONAL; form++)
      for (int i = 0; i < network.groups->count; i++) {
        const ntk_group *g = &network.groups->groups[i];
        const ntk_constant *constant = &network.constants[i];
        const ntk_cost_shape shape = shape_of((ntk_form)form, 10000, s.O, true);
        const ntk_order best = ntk_order_choose(g, &shape, &some_rates, constant);
        const double least_seconds =
            ntk_cost_of(g, best, &shape, &some_rates, constant->count).seconds;
        seen[best] = true;
        assert_true(ntk_order_is_candidate(g, best, &shape, constant));
        assert_true(g->unit_x == false || best == NTK_ORDER_OUTSIDE_IN);
        for (int o = 0; o < NTK_ORDERS; o++) {
          if (!ntk_order_is_candidate(g, (ntk_order)o, &shape, constant))
            continue;
          const ntk_cost c =
              ntk_cost_of(g, (ntk_order)o, &shape, &some_rates, constant->count);
          assert_true(isfinite(c.seconds) && c.seconds > 0 && c.seconds >= least_seconds);
          assert_true(c.flops > 0 && c.bytes > 0 && c.factor_bytes > 0);
        }
      }
    network_free(&network);
    subject_free(&s);
  }
  assert_true(seen[NTK_ORDER_OUTSIDE_IN] && seen[NTK_ORDER_INSIDE_OUT] &&
              seen[NTK_ORDER_CONSTANT]);
}

static void candidates_are_limited(void **state) {
  (void)state;
  const ntk_constant none = {0};
  ntk_group g = {.G = 1, .T = 1024, .K = 27, .C = 64};
  ntk_cost_shape shape = shape_of(NTK_FORM_FULL, 1000, 10, false);
  assert_true(ntk_order_is_candidate(&g, NTK_ORDER_INSIDE_OUT, &shape, &none));
  assert_true(ntk_order_is_candidate(&g, NTK_ORDER_LEFT_TO_RIGHT, &shape, &none));
  assert_false(ntk_order_is_candidate(&g, NTK_ORDER_CONSTANT, &shape, &none));
  shape.form = NTK_FORM_TRACE;
  assert_false(ntk_order_is_candidate(&g, NTK_ORDER_LEFT_TO_RIGHT, &shape, &none));
  shape.form = NTK_FORM_FULL;
  g.T = 20000; /* A of one pair of samples: 20000^2 * 4 bytes = 1.6 GB */
  assert_false(ntk_order_is_candidate(&g, NTK_ORDER_INSIDE_OUT, &shape, &none));
  assert_true(ntk_order_is_candidate(&g, NTK_ORDER_OUTSIDE_IN, &shape, &none));
  g = (ntk_group){.G = 1, .T = 1, .K = 1, .C = 64, .unit_x = true};
  for (int o = 0; o < NTK_ORDERS; o++)
    assert_int_equal(ntk_order_is_candidate(&g, (ntk_order)o, &shape, &none),
                     o == NTK_ORDER_OUTSIDE_IN);
}

/* The last block and the last part of the outputs are smaller than the others, and theirs
 * is the same scratch. */
static void scratch_suits_smaller_blocks(void **state) {
  (void)state;
  static const int64_t positions[] = {1, 7, 49, 100, 385};
  for (int k = 0; k < 5; k++)
    for (int o = 1; o <= 500; o += 1 + o / 2)
      for (int64_t n = 1; n <= 800; n += 1 + n / 16)
        for (int order = 0; order < NTK_ORDERS; order++)
          for (int form = NTK_FORM_FULL; form <= NTK_FORM_DIAGONAL; form++) {
            const ntk_group g = {.G = 1, .T = positions[k], .K = 3, .row_K = 3, .C = 2};
            const int64_t scratch =
                ntk_contract_scratch(&g, (ntk_order)order, (ntk_form)form, n, o);
            for (int64_t m = 1; m <= n; m += 1 + m / 4)
              for (int64_t q = 1; q <= o; q += 1 + q / 4)
                assert_true(ntk_contract_scratch(&g, (ntk_order)order, (ntk_form)form, m,
                                                 q) <= scratch);
          }
}

/* A block of any size and its strips take the same place. */
static void strips_fill_their_place(void **state) {
  (void)state;
  const ntk_group g = {.G = 2, .T = 9, .K = 5, .row_K = 5, .C = 20};
  for (int order = 0; order < NTK_ORDERS; order++)
    for (int form = NTK_FORM_FULL; form <= NTK_FORM_DIAGONAL; form++)
      for (int64_t n = 1; n < 100; n++) {
        const ntk_order k = (ntk_order)order;
        const ntk_form f = (ntk_form)form;
        const ntk_strips whole = ntk_strips_of(&g, k, f, n, 3);
        int64_t elements = 0;
        for (int64_t i = 0; i < n; i += whole.samples)
          elements += ntk_strips_of(&g, k, f, n - i, 3).size;
        assert_true(whole.samples >= 1 && whole.samples <= n);
        assert_int_equal(elements, ntk_strips_elements(&g, k, f, n, 3));
      }
}

static void rates_survive_as_text(void **state) {
  (void)state;
  ntk_rates measured, read;
  ntk_text text = {0};
  succeed(ntk_rates_measure(&measured));
  for (int type = 0; type < 2; type++) {
    assert_true(measured.gemm_flops[type] > 1e8 && measured.gemm_flops[type] < 1e15);
    assert_true(measured.gemm_knee[type] >= 0 && measured.gemm_knee[type] < 1e4);
    assert_true(ntk_rates_gemm(&measured, (ntk_dtype)type, 1000, 1000, 1000) >=
                2e9 / measured.gemm_flops[type]);
  }
  assert_true(measured.copy_bytes > 1e7);
  succeed(ntk_rates_write(&measured, &text));
  succeed(ntk_rates_parse(text.data, "rates", &read));
  for (int type = 0; type < 2; type++) {
    assert_true(fabs(read.gemm_flops[type] / measured.gemm_flops[type] - 1) < 1e-5);
    assert_true(fabs(read.gemm_knee[type] - measured.gemm_knee[type]) <=
                1e-5 * measured.gemm_knee[type]);
  }
  ntk_text_clear(&text);
  static const char *const bad[] = {
      "", "scantk-rates 2\n", "scantk-rates 1\nsgemm 1e9\n",
      "scantk-rates 1\nsgemm 1e9\ndgemm 0\nsgemm_knee 1\ndgemm_knee 1\ncopy 1e9\n",
      "scantk-rates 1\nsgemm 1e9\ndgemm nan\nsgemm_knee 1\ndgemm_knee 1\ncopy 1e9\n"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(ntk_rates_parse(bad[i], "rates", &read), NTK_ERR_FORMAT);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(minimal_cost_of_an_fcn),
                                     cmocka_unit_test(minimal_cost_by_hand),
                                     cmocka_unit_test(chosen_order_is_cheapest),
                                     cmocka_unit_test(candidates_are_limited),
                                     cmocka_unit_test(scratch_suits_smaller_blocks),
                                     cmocka_unit_test(strips_fill_their_place),
                                     cmocka_unit_test(rates_survive_as_text)};
  MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_SELF, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}

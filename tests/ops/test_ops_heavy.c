/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/heavy_cases.h"

#include <omp.h>

/* Operands shared by the samples: none, all but the data, all but operand 1, all. */
static const unsigned sharings[] = {0, ~1u, ~2u, ~0u};
enum { SHARINGS = 4, N = 3, Q = 2 };

/* Calls a check for all cases, sharings and layouts (dense, with gaps), naming the case. */
typedef void (*check_fn)(const heavy *h, unsigned shared, int64_t gap);
static void each_case(check_fn check) {
  for (int threads = 1; threads <= 3; threads += 2)
    for (int i = 0; i < CASES; i++)
      for (int s = 0; s < SHARINGS; s++)
        for (int64_t gap = 0; gap <= 5; gap += 5) {
          omp_set_num_threads(threads);
          heavy h = heavy_make(&cases[i]);
          check(&h, sharings[s], gap);
          heavy_free(&h);
        }
}

/* Moves the operands: in + h dx[direction], all samples with their own elements. */
static void moved(const heavy *h, const ntk_array *in, const ntk_array *dx, int64_t d,
                  double step, ntk_array *out) {
  for (int i = 0; i < h->operands; i++) {
    out[i] = (ntk_array){NULL, 0, 0};
    if (!in[i].data)
      continue;
    out[i] = block_make(N, 0, h->size[i], 0, 0).a;
    for (int64_t n = 0; n < N; n++)
      for (int64_t e = 0; e < h->size[i]; e++)
        at(out[i], n, 0)[e] =
            at(in[i], n, 0)[e] + (dx[i].data ? step * at(dx[i], d, n)[e] : 0);
  }
}

/* jvp against central differences: the operands of `mask` move. */
static void check_tangent(const heavy *h, const ntk_array *in, unsigned shared, int64_t gap,
                          unsigned mask) {
  ntk_array dx[OPERANDS] = {{0}}, up[OPERANDS], down[OPERANDS];
  const double step = 1e-5;
  for (int i = 0; i < h->operands; i++)
    if (in[i].data && mask >> i & 1)
      dx[i] = block_make(Q, shared >> i & 1 ? 0 : N, h->size[i], gap, 20 + (uint64_t)i).a;
  ntk_array y = block_make(N, 0, h->y_size, gap, 1).a,
            dy = block_make(Q, N, h->y_size, gap, 2).a;
  ntk_array y_up = block_make(N, 0, h->y_size, 0, 1).a,
            y_down = block_make(N, 0, h->y_size, 0, 1).a;
  heavy_forward(h, N, in, y);
  heavy_jvp(h, Q, N, in, y, dx, dy);
  for (int64_t d = 0; d < Q; d++) {
    moved(h, in, dx, d, step, up);
    moved(h, in, dx, d, -step, down);
    heavy_forward(h, N, up, y_up);
    heavy_forward(h, N, down, y_down);
    for (int64_t n = 0; n < N; n++)
      for (int64_t e = 0; e < h->y_size; e++)
        near(at(dy, d, n)[e], (at(y_up, n, 0)[e] - at(y_down, n, 0)[e]) / (2 * step), 2e-8);
    arrays_free(h->operands, up);
    arrays_free(h->operands, down);
  }
  arrays_free(h->operands, dx);
  arrays_free(4, (ntk_array[]){y, dy, y_up, y_down});
}

static void check_tangents(const heavy *h, unsigned shared, int64_t gap) {
  ntk_array in[OPERANDS];
  operands_make(h, N, shared, gap, in);
  for (int i = 0; i < h->operands; i++)
    if (in[i].data)
      check_tangent(h, in, shared, gap, 1u << i);
  check_tangent(h, in, shared, gap, ~0u);
  arrays_free(h->operands, in);
}

static void heavy_tangents_are_differences(void **state) {
  (void)state;
  each_case(check_tangents);
}

/* <dy, J v> = <J^T dy, v>, J^T dy being added to what is there, or not. */
static void check_cotangent(const heavy *h, int operand, const ntk_array *in, int64_t gap,
                            bool add) {
  ntk_array tangent[OPERANDS] = {{0}};
  ntk_array y = block_make(N, 0, h->y_size, gap, 1).a;
  const int64_t dx_gap = add ? gap : 0, dy_gap = gap - dx_gap; /* one is dense */
  ntk_array dy = block_make(N, Q, h->y_size, dy_gap, 3).a;
  ntk_array dx = block_make(N, Q, h->size[operand], dx_gap, 4).a;
  ntk_array old = block_make(N, Q, h->size[operand], dx_gap, 4).a;
  ntk_array jv = block_make(1, N, h->y_size, 0, 5).a;
  tangent[operand] = block_make(1, N, h->size[operand], 0, 6).a;
  heavy_forward(h, N, in, y);
  heavy_jvp(h, 1, N, in, y, tangent, jv);
  heavy_vjp(h, operand, N, Q, in, y, dy, dx, add);
  for (int64_t n = 0; n < N; n++)
    for (int64_t o = 0; o < Q; o++) {
      double left = 0, right = 0;
      for (int64_t e = 0; e < h->y_size; e++)
        left += at(dy, n, o)[e] * at(jv, 0, n)[e];
      for (int64_t e = 0; e < h->size[operand]; e++)
        right += (at(dx, n, o)[e] - (add ? at(old, n, o)[e] : 0)) *
                 at(tangent[operand], 0, n)[e];
      near(left, right, 1e-12);
      for (int64_t e = 0; e < dx_gap; e++) /* nothing is written behind */
        near(at(dx, n, o)[h->size[operand] + e], at(old, n, o)[h->size[operand] + e], 0);
    }
  arrays_free(h->operands, tangent);
  arrays_free(5, (ntk_array[]){y, dy, dx, old, jv});
}

static void check_cotangents(const heavy *h, unsigned shared, int64_t gap) {
  ntk_array in[OPERANDS];
  operands_make(h, N, shared, gap, in);
  for (int i = 0; i < h->operands; i++)
    for (int add = 0; add < 2 && in[i].data; add++)
      check_cotangent(h, i, in, gap, add);
  arrays_free(h->operands, in);
}

static void heavy_cotangents_are_adjoint(void **state) {
  (void)state;
  each_case(check_cotangents);
}

/* X [n, g, t, k] of a use, as the description says. */
static double *factor_x(const heavy *h, const ntk_use *u, int operand, const ntk_array *in,
                        int64_t *ld) {
  const int64_t T = u->T1 * u->T2, gap = u->x_custom ? 3 : 0;
  *ld = u->K + gap;
  double *x = malloc((size_t)(N * u->G * T * *ld) * sizeof *x);
  assert_non_null(x);
  if (u->x_custom) {
    void *work = work_make(h, N, 1);
    assert_true(u->x_key != 0);
    h->node->op->kernels[NTK_F64]->factor_x(h->node, operand, N, in[u->x_operand], x, *ld,
                                            work);
    free(work);
    return x;
  }
  for (int64_t i = 0; i < N * u->G * T * u->K; i++) {
    const int64_t k = i % u->K, t = i / u->K % T, g = i / u->K / T % u->G;
    const int64_t n = i / u->K / T / u->G;
    const int64_t place = g * u->xg + t / u->T2 * u->xt1 + t % u->T2 * u->xt2 + k * u->xk;
    if (u->x_operand >= 0)
      assert_true(place >= 0 && place < h->size[u->x_operand]);
    x[i] = u->x_operand < 0 ? 1 : at(in[u->x_operand], n, 0)[place];
  }
  return x;
}

/* sum over t of X D, laid out by wg, wk, wc, is the vjp to the operand; each element of the
 * operand is met once. */
static void check_factors(const heavy *h, const ntk_use *u, int operand,
                          const ntk_array *in) {
  int64_t ld, met = 0;
  const int64_t T = u->T1 * u->T2;
  double *x = factor_x(h, u, operand, in, &ld);
  ntk_array y = block_make(N, 0, h->y_size, 0, 1).a,
            dy = block_make(N, Q, h->y_size, 0, 2).a;
  ntk_array dx = block_make(N, Q, h->size[operand], 0, 3).a;
  char *seen = calloc((size_t)h->size[operand], 1);
  heavy_forward(h, N, in, y);
  heavy_vjp(h, operand, N, Q, in, y, dy, dx, false);
  assert_true(u->G * u->K * u->C == h->size[operand]);
  for (int64_t i = 0; i < N * Q * u->G * u->K * u->C; i++) {
    const int64_t c = i % u->C, k = i / u->C % u->K, g = i / u->C / u->K % u->G;
    const int64_t o = i / u->C / u->K / u->G % Q, n = i / u->C / u->K / u->G / Q;
    const int64_t place = g * u->wg + k * u->wk + c * u->wc;
    double sum = 0;
    for (int64_t t = 0; t < T; t++) {
      const int64_t from = g * u->dg + t / u->T2 * u->dt1 + t % u->T2 * u->dt2 + c * u->dc;
      assert_true(from >= 0 && from < h->y_size);
      sum += x[((n * u->G + g) * T + t) * ld + k] * at(dy, n, o)[from];
    }
    assert_true(place >= 0 && place < h->size[operand]);
    met += !seen[place];
    seen[place] = 1;
    near(u->scale * sum, at(dx, n, o)[place], 1e-12);
  }
  assert_true(met == h->size[operand]);
  free(x);
  free(seen);
  arrays_free(3, (ntk_array[]){y, dy, dx});
}

/* How many operands of all cases must be described: a description that refuses all would
 * pass the comparison. */
static void heavy_uses_give_the_jacobian(void **state) {
  (void)state;
  int described = 0;
  for (int i = 0; i < CASES; i++) {
    heavy h = heavy_make(&cases[i]);
    for (int operand = 0; operand < h.operands; operand++) {
      ntk_use use;
      ntk_array in[OPERANDS];
      if (h.node->inputs[operand] < 0 || !h.node->op->use ||
          !h.node->op->use(h.graph, h.node, operand, &use))
        continue;
      described++;
      operands_make(&h, N, 0, 0, in);
      check_factors(&h, &use, operand, in);
      arrays_free(h.operands, in);
    }
    heavy_free(&h);
  }
  assert_int_equal(described, 87);
}

/* Where an operand passes, the vjp is s times the cotangent. */
static void heavy_passes_are_scaled_identities(void **state) {
  (void)state;
  int passing = 0;
  for (int i = 0; i < CASES; i++) {
    heavy h = heavy_make(&cases[i]);
    for (int operand = 0; operand < h.operands; operand++) {
      double s;
      ntk_array in[OPERANDS];
      if (h.node->inputs[operand] < 0 || !h.node->op->passes ||
          !h.node->op->passes(h.graph, h.node, operand, &s))
        continue;
      passing++;
      operands_make(&h, N, 0, 0, in);
      ntk_array y = block_make(N, 0, h.y_size, 0, 1).a;
      ntk_array dy = block_make(N, Q, h.y_size, 0, 2).a;
      ntk_array dx = block_make(N, Q, h.size[operand], 0, 3).a;
      heavy_forward(&h, N, in, y);
      heavy_vjp(&h, operand, N, Q, in, y, dy, dx, false);
      assert_true(h.size[operand] == h.y_size);
      for (int64_t e = 0; e < N * Q * h.y_size; e++)
        near(((double *)dx.data)[e], s * ((double *)dy.data)[e], 1e-15);
      arrays_free(h.operands, in);
      arrays_free(3, (ntk_array[]){y, dy, dx});
    }
    heavy_free(&h);
  }
  assert_int_equal(passing, 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(heavy_tangents_are_differences),
      cmocka_unit_test(heavy_cotangents_are_adjoint),
      cmocka_unit_test(heavy_uses_give_the_jacobian),
      cmocka_unit_test(heavy_passes_are_scaled_identities),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

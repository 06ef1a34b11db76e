/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_OPS_HARNESS_CHECKS_H
#define TESTS_OPS_HARNESS_CHECKS_H

/* What holds for every operator: tangents are differences, cotangents their adjoints, f32
 * agrees with f64, and descriptions (use, passes) give the Jacobian. */
#include "ops/harness.h"

#include <omp.h>

/* Operands shared by the samples: none, all but the data, all but operand 1, all. */
static const unsigned sharings[] = {0, ~1u, ~2u, ~0u};
enum { SHARINGS = 4, N = 3, Q = 2 };

/* Calls a check for all cases, sharings and layouts (dense, with gaps). */
typedef void (*check_fn)(const op_test *h, unsigned shared, int64_t gap);
static void each_case(int count, const op_case *cases, check_fn check) {
  for (int threads = 1; threads <= 3; threads += 2)
    for (int i = 0; i < count; i++)
      for (int s = 0; s < SHARINGS; s++)
        for (int64_t gap = 0; gap <= 5; gap += 5) {
          omp_set_num_threads(threads);
          op_test h = op_make(&cases[i]);
          check(&h, sharings[s], gap);
          op_free(&h);
        }
}

/* Moves the operands: in + h dx[direction], all samples with their own elements. */
static void moved(const op_test *h, const ntk_array *in, const ntk_array *dx, int64_t d,
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
static void check_tangent(const op_test *h, const ntk_array *in, unsigned shared,
                          int64_t gap, unsigned mask) {
  ntk_array dx[OPERANDS] = {{0}}, up[OPERANDS], down[OPERANDS];
  const double step = 1e-5;
  for (int i = 0; i < h->operands; i++)
    if (op_varies(h, i) && mask >> i & 1)
      dx[i] = block_make(Q, shared >> i & 1 ? 0 : N, h->size[i], gap, 20 + (uint64_t)i).a;
  ntk_array y = block_make(N, 0, h->y_size, gap, 1).a,
            dy = block_make(Q, N, h->y_size, gap, 2).a;
  ntk_array y_up = block_make(N, 0, h->y_size, 0, 1).a,
            y_down = block_make(N, 0, h->y_size, 0, 1).a;
  op_forward(h, N, in, y);
  op_jvp(h, Q, N, in, y, dx, dy);
  for (int64_t d = 0; d < Q; d++) {
    moved(h, in, dx, d, step, up);
    moved(h, in, dx, d, -step, down);
    op_forward(h, N, up, y_up);
    op_forward(h, N, down, y_down);
    for (int64_t n = 0; n < N; n++)
      for (int64_t e = 0; e < h->y_size; e++)
        near(at(dy, d, n)[e], (at(y_up, n, 0)[e] - at(y_down, n, 0)[e]) / (2 * step), 2e-8);
    arrays_free(h->operands, up);
    arrays_free(h->operands, down);
  }
  arrays_free(h->operands, dx);
  arrays_free(4, (ntk_array[]){y, dy, y_up, y_down});
}

static void check_tangents(const op_test *h, unsigned shared, int64_t gap) {
  ntk_array in[OPERANDS];
  operands_make(h, N, shared, gap, in);
  for (int i = 0; i < h->operands; i++)
    if (op_varies(h, i))
      check_tangent(h, in, shared, gap, 1u << i);
  check_tangent(h, in, shared, gap, ~0u);
  arrays_free(h->operands, in);
}

/* <dy, J v> = <J^T dy, v>, J^T dy being added to what is there, or not; dy is one for all
 * samples, or not. */
static void check_cotangent(const op_test *h, int operand, const ntk_array *in, int64_t gap,
                            bool add, bool shared) {
  ntk_array tangent[OPERANDS] = {{0}};
  ntk_array y = block_make(N, 0, h->y_size, gap, 1).a;
  const int64_t dx_gap = add ? gap : 0, dy_gap = gap - dx_gap; /* one is dense */
  ntk_array dy = block_make(shared ? 0 : N, Q, h->y_size, dy_gap, 3).a;
  ntk_array dx = block_make(N, Q, h->size[operand], dx_gap, 4).a;
  ntk_array old = block_make(N, Q, h->size[operand], dx_gap, 4).a;
  ntk_array jv = block_make(1, N, h->y_size, 0, 5).a;
  tangent[operand] = block_make(1, N, h->size[operand], 0, 6).a;
  op_forward(h, N, in, y);
  op_jvp(h, 1, N, in, y, tangent, jv);
  op_vjp(h, operand, N, Q, in, y, dy, dx, add);
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

static void check_cotangents(const op_test *h, unsigned shared, int64_t gap) {
  ntk_array in[OPERANDS];
  operands_make(h, N, shared, gap, in);
  for (int i = 0; i < h->operands; i++)
    for (int way = 0; way < 4 && op_varies(h, i); way++)
      check_cotangent(h, i, in, gap, way & 1, way & 2);
  arrays_free(h->operands, in);
}

/* X [n, g, t, k] of a use, as the description says. */
static double *factor_x(const op_test *h, const ntk_use *u, int operand,
                        const ntk_array *in, int64_t *ld) {
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
    if (u->one_hot)
      x[i] = trunc(x[i]) + (trunc(x[i]) < 0 ? (double)u->K : 0) == (double)k;
  }
  return x;
}

/* D[g,t,c] of a cotangent, as the description says: an element, or a tap of a patch. */
static double factor_d(const op_test *h, const ntk_use *u, int64_t g, int64_t t, int64_t c,
                       const double *dy) {
  const ntk_window *w = u->d_window;
  int64_t at = g * u->dg + t / u->T2 * u->dt1;
  if (!w) {
    at += t % u->T2 * u->dt2 + c * u->dc;
  } else {
    int64_t tap = c % ntk_window_taps(w), pixel = t % u->T2, step = 1;
    at += c / ntk_window_taps(w) * ntk_window_plane(w);
    for (int a = 2; a >= 0; a--) {
      const int64_t place = pixel % w->output[a] * w->stride[a] +
                            tap % w->kernel[a] * w->dilation[a] - w->pad_begin[a];
      if (place < 0 || place >= w->input[a])
        return 0;
      at += place * step;
      step *= w->input[a];
      pixel /= w->output[a];
      tap /= w->kernel[a];
    }
  }
  assert_true(at >= 0 && at < h->y_size);
  return dy[at];
}

/* sum over t of X D, laid out by wg, wk, wc, is the vjp to the operand; each element of the
 * operand is met once. */
static void check_factors(const op_test *h, const ntk_use *u, int operand,
                          const ntk_array *in) {
  int64_t ld, met = 0;
  const int64_t T = u->T1 * u->T2;
  double *x = factor_x(h, u, operand, in, &ld);
  ntk_array y = block_make(N, 0, h->y_size, 0, 1).a,
            dy = block_make(N, Q, h->y_size, 0, 2).a;
  ntk_array dx = block_make(N, Q, h->size[operand], 0, 3).a;
  char *seen = calloc((size_t)h->size[operand], 1);
  op_forward(h, N, in, y);
  op_vjp(h, operand, N, Q, in, y, dy, dx, false);
  assert_true(u->G * u->K * u->C == h->size[operand]);
  for (int64_t i = 0; i < N * Q * u->G * u->K * u->C; i++) {
    const int64_t c = i % u->C, k = i / u->C % u->K, g = i / u->C / u->K % u->G;
    const int64_t o = i / u->C / u->K / u->G % Q, n = i / u->C / u->K / u->G / Q;
    const int64_t place = g * u->wg + k * u->wk + c * u->wc;
    double sum = 0;
    for (int64_t t = 0; t < T; t++)
      sum += x[((n * u->G + g) * T + t) * ld + k] * factor_d(h, u, g, t, c, at(dy, n, o));
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

/* Compares all described uses; how many there are, since a description that refuses all
 * would pass the comparison. */
static inline int count_uses(int count, const op_case *cases) {
  int described = 0;
  for (int i = 0; i < count; i++) {
    op_test h = op_make(&cases[i]);
    for (int operand = 0; operand < h.operands; operand++) {
      ntk_use use;
      ntk_array in[OPERANDS];
      if (!op_varies(&h, operand) || !h.node->op->use ||
          !h.node->op->use(h.graph, h.node, operand, &use))
        continue;
      described++;
      operands_make(&h, N, 0, 0, in);
      check_factors(&h, &use, operand, in);
      arrays_free(h.operands, in);
    }
    op_free(&h);
  }
  return described;
}

/* Where an operand passes, the vjp is s times the cotangent. */
static inline void check_pass(const op_test *h, int operand, double s) {
  ntk_array in[OPERANDS];
  operands_make(h, N, 0, 0, in);
  ntk_array y = block_make(N, 0, h->y_size, 0, 1).a;
  ntk_array dy = block_make(N, Q, h->y_size, 0, 2).a;
  ntk_array dx = block_make(N, Q, h->size[operand], 0, 3).a;
  op_forward(h, N, in, y);
  op_vjp(h, operand, N, Q, in, y, dy, dx, false);
  assert_true(h->size[operand] == h->y_size);
  for (int64_t e = 0; e < N * Q * h->y_size; e++)
    near(((double *)dx.data)[e], s * ((double *)dy.data)[e], 1e-15);
  arrays_free(h->operands, in);
  arrays_free(3, (ntk_array[]){y, dy, dx});
}

static inline int count_passes(int count, const op_case *cases) {
  int passing = 0;
  for (int i = 0; i < count; i++) {
    op_test h = op_make(&cases[i]);
    for (int operand = 0; operand < h.operands; operand++) {
      double s;
      if (!op_varies(&h, operand) || !h.node->op->passes ||
          !h.node->op->passes(h.graph, h.node, operand, &s))
        continue;
      passing++;
      check_pass(&h, operand, s);
    }
    op_free(&h);
  }
  return passing;
}

/* ---- f32 ---- */

static ntk_array narrowed(ntk_array wide, int64_t count) {
  float *data = malloc((size_t)(count + 1) * sizeof *data);
  assert_non_null(data);
  ntk_convert(NTK_F64, wide.data, NTK_F32, data, count);
  return (ntk_array){data, wide.outer, wide.inner};
}

/* The f32 result, and frees both. */
static void same_result(op_block expected, ntk_array got) {
  for (int64_t i = 0; i < expected.count; i++)
    near(((double *)expected.a.data)[i], (double)((float *)got.data)[i], 3e-5);
  free(expected.a.data);
  free(got.data);
}

static void compare_types(const op_test *h, int operand, unsigned shared, int64_t gap) {
  const ntk_kernels *f32 = h->node->op->kernels[NTK_F32];
  ntk_array in[OPERANDS], narrow[OPERANDS], dx[OPERANDS] = {{0}},
                                            narrow_dx[OPERANDS] = {{0}};
  void *work = work_make(h, N, Q);
  operands_make(h, N, shared, gap, in);
  for (int i = 0; i < h->operands; i++)
    narrow[i] =
        in[i].data ? narrowed(in[i], in[i].outer ? N * in[i].outer : h->size[i]) : in[i];
  op_block y = block_make(N, 0, h->y_size, gap, 1);
  op_block dy = block_make(N, Q, h->y_size, gap, 2);
  op_block back = block_make(N, Q, h->size[operand], gap, 3);
  op_block tangent = block_make(Q, N, h->size[operand], gap, 4);
  op_block jv = block_make(Q, N, h->y_size, gap, 5);
  ntk_array y32 = narrowed(y.a, y.count), dy32 = narrowed(dy.a, dy.count);
  ntk_array back32 = narrowed(back.a, back.count);
  ntk_array tangent32 = narrowed(tangent.a, tangent.count);
  ntk_array jv32 = narrowed(jv.a, jv.count);
  dx[operand] = tangent.a;
  narrow_dx[operand] = tangent32;
  op_forward(h, N, in, y.a);
  op_vjp(h, operand, N, Q, in, y.a, dy.a, back.a, true);
  op_jvp(h, Q, N, in, y.a, dx, jv.a);
  f32->forward(h->node, N, narrow, &y32, work);
  f32->vjp(h->node, operand, N, Q, narrow, &y32, dy32, back32, true, work);
  f32->jvp(h->node, Q, N, narrow, &y32, narrow_dx, jv32, work);
  same_result(y, y32);
  same_result(back, back32);
  same_result(jv, jv32);
  same_result(dy, dy32);
  same_result(tangent, tangent32);
  arrays_free(h->operands, in);
  arrays_free(h->operands, narrow);
  free(work);
}

static void check_types(const op_test *h, unsigned shared, int64_t gap) {
  for (int operand = 0; operand < h->operands; operand++)
    if (op_varies(h, operand))
      compare_types(h, operand, shared, gap);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/block.h"

const char *ntk_order_name(ntk_order order) {
  static const char *const names[] = {
#define NTK_ORDER_TEXT(name, text) text,
      NTK_ORDER_LIST(NTK_ORDER_TEXT)
#undef NTK_ORDER_TEXT
  };
  return names[order];
}

ntk_form ntk_form_of(ntk_reduction reduction) {
  switch (reduction) {
  case NTK_REDUCE_TRACE:
    return NTK_FORM_TRACE;
  case NTK_REDUCE_DIAGONAL:
    return NTK_FORM_DIAGONAL;
  default:
    return NTK_FORM_FULL;
  }
}

static int64_t take(int64_t *at, int64_t elements) {
  const int64_t start = *at;
  *at += (elements + 15) / 16 * 16;
  return start;
}

ntk_place ntk_place_group(const ntk_group *group, ntk_order order, ntk_form form, int64_t n,
                          int64_t o, int64_t *at) {
  const int64_t G = group->G, T = group->T, K = group->K, C = group->C;
  ntk_place p = {.x = -1, .d = -1, .j = -1};
  if (order == NTK_ORDER_OUTSIDE_IN && !group->unit_x) {
    p.j = take(at, n * o * G * C * K);
    p.jn = form == NTK_FORM_DIAGONAL ? G * C * K : o * G * C * K;
    p.jo = form == NTK_FORM_DIAGONAL ? n * G * C * K : G * C * K;
    return p;
  }
  if (!group->unit_x) {
    p.x = take(at, G * n * T * K);
    p.xg = n * T * K;
    p.xn = T * K;
    p.xt = K;
  }
  if (order == NTK_ORDER_CONSTANT)
    return p;
  p.d = take(at, G * n * o * T * C);
  p.dg = n * o * T * C;
  switch (form) {
  case NTK_FORM_FULL:
    p.dn = o * T * C;
    p.d_o = T * C;
    p.dt = C;
    break;
  case NTK_FORM_TRACE:
    p.dn = T * o * C;
    p.dt = o * C;
    p.d_o = C;
    break;
  case NTK_FORM_DIAGONAL:
    p.d_o = n * T * C;
    p.dn = T * C;
    p.dt = C;
    break;
  }
  return p;
}

int64_t ntk_capture_scratch(const ntk_net *net, const ntk_group *group) {
  int64_t patches = 0;
  for (int s = 0; s < group->section_count; s++)
    for (int i = 0; i < group->x_count; i++) {
      const ntk_x_part *x = &group->sections[s].x[i];
      const ntk_node *node = &net->graph->nodes[x->node];
      if (x->value < 0 || !x->use.x_custom || !node->op->workspace)
        continue;
      const int64_t work = node->op->workspace(net->graph, node, 1, 1);
      if (work > patches)
        patches = work;
    }
  return group->G * group->T * group->K + group->C * group->T + patches;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t ntk_window_samples(int64_t rows_per_sample, int64_t n) {
  const int64_t fit = NTK_E_ROWS / rows_per_sample < 1 ? 1 : NTK_E_ROWS / rows_per_sample;
  const int64_t windows = (n + fit - 1) / fit;
  return windows > 0 ? (n + windows - 1) / windows : 1; /* all alike: they go to threads */
}

/* Most rows of a window of up to n samples: the last block or part of the outputs may be
 * smaller than the others, and its windows then hold more samples than theirs. */
static int64_t window_rows(int64_t rows_per_sample, int64_t n) {
  return rows_per_sample > NTK_E_ROWS ? rows_per_sample
                                      : least(NTK_E_ROWS, n * rows_per_sample);
}

int64_t ntk_contract_scratch(const ntk_group *group, ntk_order order, ntk_form form,
                             int64_t n, int64_t o) {
  const bool has_x = !group->unit_x && order != NTK_ORDER_OUTSIDE_IN;
  const int64_t T = has_x ? group->T : 1;
  const int64_t rows = window_rows(form == NTK_FORM_FULL ? o * T : T, n); /* of E */
  const int64_t a = window_rows(T, n);                                    /* of A */
  switch (order) {
  case NTK_ORDER_LEFT_TO_RIGHT:
    return T * T + o * T * group->C + o * o; /* A, F and R of one pair */
  case NTK_ORDER_CONSTANT:
    return a * a;
  default:
    return rows * rows + a * a + rows; /* E, A and a row of A, expanded */
  }
}

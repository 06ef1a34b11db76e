/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/block.h"
#include "ntk/pixels.h"
#include "ntk/tie.h"

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

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t take(int64_t *at, int64_t elements) {
  const int64_t start = *at;
  *at += (elements + 15) / 16 * 16;
  return start;
}

static int64_t chunks_of(int64_t C) { return (C + NTK_CHUNK - 1) / NTK_CHUNK; }

static void place_d(const ntk_group *group, ntk_order order, ntk_form form, int64_t n,
                    int64_t o, ntk_place *p, int64_t *at) {
  const int64_t T = group->T, C = group->C;
  if (order == NTK_ORDER_LEFT_TO_RIGHT) {
    p->dt = o * NTK_CHUNK;
    p->d_o = NTK_CHUNK;
    p->dchunk = T * o * NTK_CHUNK;
    p->dn = chunks_of(C) * p->dchunk;
  } else if (form == NTK_FORM_TRACE) {
    p->dn = o * T * C;
    p->d_o = C;
    p->dt = o * C;
  } else {
    const bool by_sample = form == NTK_FORM_FULL && T == 1;
    p->dn = by_sample ? o * C : T * C;
    p->d_o = by_sample ? C : n * T * C;
    p->dt = C;
  }
  p->dg = order == NTK_ORDER_LEFT_TO_RIGHT ? n * p->dn : n * o * T * C;
  p->d = take(at, group->G * p->dg);
}

/* Strides of X in a block of n samples. */
static void set_x_strides(const ntk_group *group, int64_t n, ntk_place *p) {
  p->xt = group->row_K;
  p->xn = group->T * p->xt;
  p->xg = n * p->xn;
  p->pixels_n = group->pixel_size;
  p->pixels_g = n * p->pixels_n;
}

ntk_place ntk_place_role(const ntk_group *tie, const ntk_place *place, int r) {
  const ntk_group *role = &tie->roles[r];
  ntk_place p = {.x = place->role_x[r],
                 .pixels = place->role_pixels[r],
                 .d = place->role_d[r],
                 .dt = role->C,
                 .d_o = role->T * role->C,
                 .j = -1};
  p.dn = place->o * p.d_o;
  p.dg = place->n * p.dn;
  set_x_strides(role, place->n, &p);
  return p;
}

static ntk_place place_tie(const ntk_group *tie, ntk_order order, int64_t n, int64_t o,
                           int64_t *at) {
  ntk_place p = {.x = -1, .pixels = -1, .d = -1, .j = -1, .n = n, .o = o};
  for (int r = 0; r < 2; r++) {
    const ntk_group *role = &tie->roles[r];
    const int64_t samples = role->G * n;
    p.role_x[r] = take(at, samples * role->T * role->row_K);
    p.role_pixels[r] = take(at, samples * role->pixel_size);
    p.role_d[r] =
        ntk_tie_lacks_d(order, r) ? -1 : take(at, samples * o * role->T * role->C);
  }
  return p;
}

ntk_place ntk_place_group(const ntk_group *group, ntk_order order, ntk_form form, int64_t n,
                          int64_t o, int64_t *at) {
  const int64_t G = group->G, K = group->K, C = group->C;
  ntk_place p = {.x = -1, .pixels = -1, .d = -1, .j = -1};
  if (group->roles)
    return place_tie(group, order, n, o, at);
  if (order == NTK_ORDER_OUTSIDE_IN && !group->unit_x) {
    p.j = take(at, n * o * G * C * K);
    p.jn = form == NTK_FORM_DIAGONAL ? G * C * K : o * G * C * K;
    p.jo = form == NTK_FORM_DIAGONAL ? n * G * C * K : G * C * K;
    return p;
  }
  if (!group->unit_x) {
    set_x_strides(group, n, &p);
    p.x = take(at, G * p.xg);
    p.pixels = take(at, G * p.pixels_g);
  }
  if (order != NTK_ORDER_CONSTANT)
    place_d(group, order, form, n, o, &p, at);
  return p;
}

int64_t ntk_capture_x_elements(const ntk_group *group) {
  return (group->G * group->T * ntk_formed_K(group) + 15) / 16 * 16;
}

/* Patches that one output's D is taken from, of the part that has most. */
static int64_t patches_of_d(const ntk_group *group) {
  int64_t elements = 0;
  for (int s = 0; s < group->section_count; s++)
    for (int d = 0; d < group->d_count; d++) {
      const ntk_d_layout *l = &group->sections[s].d[d].layout;
      if (l->window) /* columns at both ends may be of channels that are not all ours */
        elements = most(elements, l->T1 * l->T2 * (l->C + 2 * ntk_window_taps(l->window)));
    }
  return elements;
}

int64_t ntk_capture_scratch(const ntk_net *net, const ntk_group *group, ntk_order order) {
  const bool forms = order == NTK_ORDER_OUTSIDE_IN && !group->unit_x;
  if (group->roles)
    return most(ntk_capture_scratch(net, &group->roles[0], order),
                ntk_capture_scratch(net, &group->roles[1], order));
  int64_t after =
      forms ? ntk_packed(ntk_formed_K(group), group->T) + group->C * group->T : 0;
  after += patches_of_d(group);
  for (int s = 0; s < group->section_count; s++)
    for (int i = 0; i < group->x_count; i++) {
      const ntk_x_part *x = &group->sections[s].x[i];
      const ntk_node *node = &net->graph->nodes[x->node];
      if (x->value < 0 || !x->use.x_custom || !node->op->workspace)
        continue;
      const int64_t work = node->op->workspace(net->graph, node, 1, 1);
      if (work > after)
        after = work;
    }
  return ntk_capture_x_elements(group) + after;
}

/* ---- strips ---------------------------------------------------------------------------
 */

enum {
  STRIP_COLUMNS = 384, /* of a product */
  F_ELEMENTS = 8192    /* of F = A D: left-to-right's second product reads it at once */
};

int64_t ntk_chunks_at_once(const ntk_group *group, int64_t o) {
  return least(chunks_of(group->C), most(1, F_ELEMENTS / (group->T * o * NTK_CHUNK)));
}

static bool is_jacobian(const ntk_group *group, ntk_order order) {
  return group->unit_x || order == NTK_ORDER_OUTSIDE_IN;
}

static int64_t strip_samples(const ntk_group *group, ntk_order order, ntk_form form,
                             int64_t o) {
  const int64_t T = group->T, u = ntk_form_rows(form, o);
  if (group->roles)
    return ntk_tie_samples(group);
  if (is_jacobian(group, order) || (order == NTK_ORDER_INSIDE_OUT && T == 1))
    return most(1, STRIP_COLUMNS / u);
  if (order == NTK_ORDER_LEFT_TO_RIGHT)
    return most(1, least(NTK_PAIR_SAMPLES, 256 / T));
  return most(1, STRIP_COLUMNS / 2 / T);
}

/* Of the parts that are not rows. */
static int64_t packed_pixels(const ntk_group *group, int64_t m) {
  int64_t elements = 0;
  for (int i = 0; i < group->x_count; i++) {
    const ntk_x_part *x = &group->sections[0].x[i];
    if (x->use.one_hot)
      elements += ntk_packed(m * group->T, 2);
    for (int64_t c = 0; x->pixels && c < ntk_pixel_classes(x->use.window); c++)
      elements +=
          ntk_packed(m * ntk_pixel_class_at(x->use.window, c).count, x->use.channels);
  }
  return elements;
}

static int64_t packed_d(const ntk_group *group, ntk_order order, ntk_form form, int64_t m,
                        int64_t o) {
  const int64_t T = group->T, C = group->C;
  if (is_jacobian(group, order)) {
    const int64_t length = group->K * C; /* G is counted outside */
    return form == NTK_FORM_FULL    ? ntk_packed(m * o, length)
           : form == NTK_FORM_TRACE ? ntk_packed(m, o * length)
                                    : o * ntk_packed(m, length);
  }
  if (order == NTK_ORDER_CONSTANT)
    return 0;
  if (order == NTK_ORDER_LEFT_TO_RIGHT)
    return m * chunks_of(C) * NTK_CHUNK * T * o;
  if (form == NTK_FORM_TRACE)
    return ntk_packed(m * T, o * C);
  return form == NTK_FORM_FULL && T == 1 ? ntk_packed(m * o, C) : o * ntk_packed(m * T, C);
}

static ntk_strips strips_of(const ntk_group *group, ntk_order order, ntk_form form,
                            int64_t m, int64_t o) {
  if (group->roles) {
    const int64_t size = ntk_tie_strip_of(group, order, m, o).size;
    return (ntk_strips){.samples = m, .d = size, .size = group->G * size};
  }
  ntk_strips s = {.samples = m, .d = packed_d(group, order, form, m, o)};
  if (!is_jacobian(group, order)) {
    s.x = ntk_packed(m * group->T, group->row_K);
    s.pixels = packed_pixels(group, m);
  }
  s.size = group->G * (s.x + s.pixels + s.d);
  return s;
}

ntk_strips ntk_strips_of(const ntk_group *group, ntk_order order, ntk_form form, int64_t n,
                         int64_t o) {
  return strips_of(group, order, form, least(strip_samples(group, order, form, o), n), o);
}

int64_t ntk_strips_elements(const ntk_group *group, ntk_order order, ntk_form form,
                            int64_t n, int64_t o) {
  const ntk_strips whole = ntk_strips_of(group, order, form, n, o);
  const int64_t rest = n % whole.samples;
  return n / whole.samples * whole.size +
         (rest > 0 ? strips_of(group, order, form, rest, o).size : 0);
}

/* ---- scratch --------------------------------------------------------------------------
 */

int64_t ntk_contract_samples(int64_t rows) {
  return most(1, 2 * (int64_t)STRIP_COLUMNS / rows);
}

/* Of one pair of samples: the Gram of a class of pixels for a whole strip, and what its
 * shifts take. */
static int64_t pixels_scratch(const ntk_group *group, int64_t m) {
  int64_t elements = 0;
  for (int i = 0; i < group->x_count; i++) {
    const ntk_x_part *x = &group->sections[0].x[i];
    if (!x->pixels)
      continue;
    const int64_t count = ntk_pixel_class_at(x->use.window, 0).count; /* the largest */
    elements = most(elements, count * m * count + ntk_pixels_scratch(x->use.window));
  }
  return elements;
}

int64_t ntk_contract_scratch(const ntk_group *group, ntk_order order, ntk_form form,
                             int64_t n, int64_t o) {
  const int64_t T = group->T, m = least(strip_samples(group, order, form, 1), n);
  if (group->roles)
    return ntk_tie_scratch(group, o);
  if (is_jacobian(group, order))
    return 0;
  if (order == NTK_ORDER_LEFT_TO_RIGHT)
    return NTK_PAIR_SAMPLES * m * (T * T + o * o * NTK_CHUNK) +
           most(most(F_ELEMENTS, T * o * NTK_CHUNK), pixels_scratch(group, m));
  if (T > 1)
    return T * m * T + pixels_scratch(group, m);
  int64_t elements = 0; /* of S, and expanded; fewer outputs leave room for more samples */
  for (int64_t u = 1; u <= ntk_form_rows(form, o); u++)
    elements = most(elements, least(n, ntk_contract_samples(u)) *
                                  least(n, strip_samples(group, order, form, u)) * (1 + u));
  return elements;
}

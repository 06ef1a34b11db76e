/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/micro.h"
#include "ntk/pixels.h"
#include "ntk/tie.h"
#include <string.h>

/* Strips of the column side, packed: see ntk_strips in block.h. */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Samples j0 .. j0 + m of a group. */
typedef struct strip {
  const ntk_packing *p;
  const NTK_REAL(ntk_micro) * micro;
  int64_t j0, m;
} strip;

static void pack(const strip *s, int64_t count, int64_t k, const real *from, real *to) {
  s->micro->pack(count, k, from, k, count, 0, to);
}

/* X of one g; returns what follows. */
static real *pack_x(const strip *s, int64_t g, real *to) {
  const ntk_group *group = s->p->group;
  const ntk_place *place = s->p->place;
  const real *block = s->p->block;
  const int64_t rows = s->m * group->T;
  pack(s, rows, group->row_K, block + place->x + g * place->xg + s->j0 * place->xn, to);
  return to + ntk_packed(rows, group->row_K);
}

/* Pixels of a class, all samples side by side: their rows are no regular sequence. */
static real *pack_class(const strip *s, const real *pixels, int64_t channels,
                        const ntk_pixel_class *k, real *to) {
  const int64_t stride = s->p->group->pixel_size, count = s->m * k->count;
  s->micro->pack(count, channels, pixels + k->first * channels, channels, k->count, stride,
                 to);
  return to + ntk_packed(count, channels);
}

/* Indices of all samples side by side, then the scales. */
static real *pack_indices(const strip *s, const ntk_group *group, const real *from,
                          real *to) {
  const int64_t T = group->T, columns = s->m * T;
  for (int64_t j = 0; j < s->m; j++, from += group->pixel_size) {
    memcpy(to + j * T, from, (size_t)T * sizeof(real));
    memcpy(to + columns + j * T, from + T, (size_t)T * sizeof(real));
  }
  return to + ntk_packed(columns, 2);
}

static real *pack_pixels(const strip *s, int64_t g, real *to) {
  const ntk_group *group = s->p->group;
  const ntk_place *place = s->p->place;
  const real *block = s->p->block;
  for (int i = 0; i < group->x_count; i++) {
    const ntk_x_part *x = &group->sections[0].x[i];
    const real *from =
        block + place->pixels + g * place->pixels_g + s->j0 * place->pixels_n + x->at;
    if (x->use.one_hot)
      to = pack_indices(s, group, from, to);
    for (int64_t c = 0; x->pixels && c < ntk_pixel_classes(x->use.window); c++) {
      const ntk_pixel_class k = ntk_pixel_class_at(x->use.window, c);
      to = pack_class(s, from, x->use.channels, &k, to);
    }
  }
  return to;
}

static real *pack_d(const strip *s, int64_t g, real *to) {
  const ntk_group *group = s->p->group;
  const ntk_place *place = s->p->place;
  const int64_t T = group->T, C = group->C, o = s->p->o;
  const real *d = (const real *)s->p->block + place->d + g * place->dg + s->j0 * place->dn;
  if (s->p->order == NTK_ORDER_CONSTANT)
    return to;
  if (s->p->order == NTK_ORDER_LEFT_TO_RIGHT) {
    const int64_t chunks = place->dn / place->dchunk, step = ntk_chunks_at_once(group, o);
    for (int64_t j = 0; j < s->m; j++)
      for (int64_t c = 0; c < chunks; c += step) {
        const int64_t n = least(step, chunks - c);
        s->micro->pack_chunks(n, T, o, d + j * place->dn + c * place->dchunk, to);
        to += n * place->dchunk;
      }
    return to;
  }
  const bool trace = s->p->form == NTK_FORM_TRACE;
  const bool by_sample = s->p->form == NTK_FORM_FULL && T == 1;
  const int64_t count = trace || by_sample ? 1 : o, k = trace ? o * C : C;
  const int64_t rows = s->m * T * (by_sample ? o : 1);
  for (int64_t v = 0; v < count; v++) {
    pack(s, rows, k, d + v * place->d_o, to);
    to += ntk_packed(rows, k);
  }
  return to;
}

static void pack_jacobians(const strip *s, real *to) {
  const ntk_group *group = s->p->group;
  const ntk_place *place = s->p->place;
  const int64_t length = group->G * group->K * group->C, o = s->p->o;
  const real *j = (const real *)s->p->block + (group->unit_x ? place->d : place->j);
  if (s->p->form == NTK_FORM_FULL)
    pack(s, s->m * o, length, j + s->j0 * o * length, to);
  else if (s->p->form == NTK_FORM_TRACE)
    pack(s, s->m, o * length, j + s->j0 * o * length, to);
  else
    for (int64_t v = 0; v < o; v++)
      pack(s, s->m, length, j + (v * s->p->n + s->j0) * length,
           to + v * ntk_packed(s->m, length));
}

/* Vectors packed, or as they are. */
static void pack_or_copy(const strip *s, bool packs, int64_t count, int64_t k,
                         const real *from, real *to) {
  if (packs)
    pack(s, count, k, from, to);
  else
    memcpy(to, from, (size_t)(count * k) * sizeof *to);
}

static void pack_tie(const strip *s, int64_t g, const ntk_tie_strip *at, real *to) {
  const ntk_packing *p = s->p;
  for (int r = 0; r < 2; r++) {
    const ntk_group *role = &p->group->roles[r];
    const ntk_place place = ntk_place_role(p->group, p->place, r);
    const real *block = p->block;
    if (role->one_hot)
      pack_indices(s, role,
                   block + place.pixels + g * place.pixels_g + s->j0 * place.pixels_n,
                   to + at->x[r]);
    else
      pack_or_copy(s, ntk_tie_packs_x(p->group, p->order, r), s->m * role->T, role->row_K,
                   block + place.x + g * place.xg + s->j0 * place.xn, to + at->x[r]);
    if (!ntk_tie_lacks_d(p->order, r))
      pack_or_copy(s, ntk_tie_packs_d(p->group, r), s->m * p->o * role->T, role->C,
                   block + place.d + g * place.dg + s->j0 * place.dn, to + at->d[r]);
  }
}

void NTK_REAL(ntk_pack)(const ntk_packing *p, int64_t number) {
  const ntk_group *group = p->group;
  const ntk_strips strips = ntk_strips_of(group, p->order, p->form, p->n, p->o);
  const int64_t j0 = number * strips.samples;
  const strip s = {p, NTK_REAL(ntk_micro_get)(), j0, least(strips.samples, p->n - j0)};
  real *to = (real *)p->packed + number * strips.size;
  if (group->unit_x || p->order == NTK_ORDER_OUTSIDE_IN) {
    pack_jacobians(&s, to);
    return;
  }
  if (group->roles) {
    const ntk_tie_strip at = ntk_tie_strip_of(group, p->order, s.m, p->o);
    for (int64_t g = 0; g < group->G; g++)
      pack_tie(&s, g, &at, to + g * at.size);
    return;
  }
  for (int64_t g = 0; g < group->G; g++)
    to = pack_d(&s, g, pack_pixels(&s, g, pack_x(&s, g, to)));
}
